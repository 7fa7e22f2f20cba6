"""The accounts of the simulated node, and Keeper's rules about them.

Sources: docs.keeper.io "API Provisioning with SCIM", "Using SCIM API Provisioning", release notes Backend 17.6.0.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")
_FILTERED = re.compile(r'(?P<name>[\w:.]+)\[(?P<key>\w+) eq "(?P<value>[^"]*)"\](?:\.(?P<sub>\w+))?\Z', re.IGNORECASE)
_READ_ONLY = frozenset({"id", "meta", "schemas", "groups"})  # who is in which team: infra/local/keeper/teams.py


class Refused(Exception):
    """A SCIM error (RFC 7644 3.12)."""

    def __init__(self, status: int, detail: str, scim_type: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.scim_type = scim_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalization:
    """How the node changes the values that it stores, as other servers do."""

    lower_case: bool = False  # userName
    trim: bool = False
    nfc: bool = False
    longest: int | None = None  # characters; addresses, ids and phone numbers are not cut
    bare_phones: bool = False  # without blanks and punctuation
    dropped: tuple[str, ...] = ()  # attributes that are accepted and never shown

    def of(self, value: Any, name: str = "") -> Any:
        """Return what is stored of a value; `name` is the attribute's."""
        if isinstance(value, dict):
            value = value if name else {key: item for key, item in value.items() if key not in self.dropped}
            return {key: self.of(item, name if key == "value" else key) for key, item in value.items()}
        if isinstance(value, list):
            return [self.of(item, name) for item in value]
        if not isinstance(value, str) or name in _READ_ONLY or name == "externalId":
            return value
        value = value.strip() if self.trim else value
        value = unicodedata.normalize("NFC", value) if self.nfc else value
        if name == "phoneNumbers":
            return re.sub(r"[^\d+]", "", value) if self.bare_phones else value
        if name in ("userName", "emails"):
            return value.lower() if self.lower_case else value
        return value[: self.longest]


AS_SENT = Normalization()


@dataclass(slots=True, eq=False, kw_only=True)
class Node:
    """Accounts by id, and the node's limits."""

    seats: int | None = None
    reserved_domains: list[str] = field(default_factory=list)  # empty: every domain
    taken_addresses: set[str] = field(default_factory=set)  # elsewhere in Keeper
    normalization: Normalization = AS_SENT
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)  # those of the same Keeper, this one included
    invited: set[str] = field(default_factory=set)  # who were created by SCIM and have not accepted, on all nodes
    _by_name: dict[str, str] = field(default_factory=dict)
    ids: Any = field(default_factory=lambda: itertools.count(970404910858250))

    def __post_init__(self) -> None:
        self.nodes.append(self)

    def beside(self) -> Node:
        """Return a new node of the same Keeper: addresses and ids are unique across all of its nodes."""
        return Node(nodes=self.nodes, ids=self.ids, invited=self.invited)

    def leave(self) -> None:
        """Stop being a node of this Keeper."""
        self.nodes.remove(self)

    def refill(self, fresh: Node) -> None:
        """Use the accounts of another node instead of its own."""
        self.accounts = fresh.accounts
        self._by_name = {str(account["userName"]).casefold(): name for name, account in fresh.accounts.items()}
        if len(self.nodes) == 1:
            self.ids = fresh.ids

    def take(self, scim_id: str) -> None:
        """Move an account here from another node, as the Admin Console does; it keeps its id."""
        for node in self.nodes:
            if node is not self and scim_id in node.accounts:
                account = node.accounts[scim_id]
                node.remove(scim_id)
                self.store(scim_id, account)
                return
        raise Refused(404, "Not Found")

    def create(self, resource: dict[str, Any]) -> dict[str, Any]:
        """POST: invite a user; 409, 428 and 400 as documented."""
        name = _user_name(resource)
        self._check_free(name, None)
        if self.seats is not None and len(self.accounts) >= self.seats:
            raise Refused(428, "Number of licensed seats was exceeded")
        account = {key: value for key, value in resource.items() if key not in _READ_ONLY}
        account["active"] = _boolean(resource.get("active", True))
        account["userName"] = name
        account.setdefault("displayName", name)
        created = self.store(str(next(self.ids)), account)
        self.invited.add(created["id"])
        return created

    def has_keys(self, scim_id: str) -> bool:
        """Say whether a team's key can be encrypted for the user of an account: accepted, and not locked."""
        account = self.anywhere(scim_id)
        return account is not None and account["active"] and scim_id not in self.invited

    def anywhere(self, scim_id: str) -> dict[str, Any] | None:
        """Return an account of any node of this Keeper, None where it is gone."""
        return next((node.accounts[scim_id] for node in self.nodes if scim_id in node.accounts), None)

    def store(self, scim_id: str, account: dict[str, Any]) -> dict[str, Any]:
        """Keep an account, mirroring userName into emails."""
        if self.normalization != AS_SENT:
            account = self.normalization.of(account)
        account["id"] = scim_id
        account["schemas"] = [CORE, ENTERPRISE] if ENTERPRISE in account else [CORE]
        known = account.get("meta") or self.accounts.get(scim_id, {}).get("meta") or {}
        account["meta"] = {"resourceType": "User", "created": known.get("created", _now())}
        _mirror(account, "userName")
        self.accounts[scim_id] = account
        self._by_name[str(account["userName"]).casefold()] = scim_id
        return account

    def get(self, scim_id: str) -> dict[str, Any]:
        """Return an account; 404 after re-creation under another id."""
        if scim_id not in self.accounts:
            raise Refused(404, "Not Found")
        return self.accounts[scim_id]

    def holder(self, name: str) -> str | None:
        """Return the id of the account under a userName, compared without case."""
        return self._by_name.get(name.casefold())

    def by_name(self, name: str) -> list[dict[str, Any]]:
        """Return the account under a userName, compared without case."""
        scim_id = self.holder(name)
        return [self.accounts[scim_id]] if scim_id in self.accounts and scim_id is not None else []

    def replace(self, scim_id: str, resource: dict[str, Any]) -> dict[str, Any]:
        """PUT: what is left out is cleared."""
        current = self.get(scim_id)
        fresh = {key: value for key, value in resource.items() if key not in _READ_ONLY}
        fresh.setdefault("active", current.get("active", True))
        fresh["active"] = _boolean(fresh["active"])
        return self._changed(scim_id, current, fresh, "userName")

    def patch(self, scim_id: str, request: dict[str, Any]) -> dict[str, Any]:
        """PATCH: path form and path-less objects with dotted keys; all operations or none."""
        current = self.get(scim_id)
        fresh = _copy(current)
        source = "userName"
        for operation in operations_of(request):
            path = apply_operation(fresh, operation)
            if path.split(".")[0].split("[")[0].casefold() == "emails":
                source = "emails"
        return self._changed(scim_id, current, fresh, source)

    def lock(self, scim_id: str) -> None:
        """DELETE: Keeper locks the account and keeps it."""
        self.get(scim_id)["active"] = False

    def remove(self, scim_id: str) -> None:
        """Delete for good, as Keeper's Admin Console does."""
        account = self.accounts.pop(scim_id, None)
        if account is not None:
            self._by_name.pop(str(account["userName"]).casefold(), None)

    def recreate(self, scim_id: str) -> str:
        """Delete and re-create in the Admin Console: a new id, no externalId."""
        account = _copy(self.get(scim_id))
        self.remove(scim_id)
        account.pop("externalId", None)
        account.pop("meta")
        account["active"] = True
        fresh = str(next(self.ids))
        self.store(fresh, account)
        return fresh

    def _changed(self, scim_id: str, current: dict[str, Any], fresh: dict[str, Any], source: str) -> dict[str, Any]:
        if source == "emails" and fresh.get("userName") == current.get("userName"):
            _mirror(fresh, "emails")
        name = _user_name(fresh)
        self._check_free(name, scim_id)
        old = str(current["userName"]).casefold()
        if self._by_name.get(old) == scim_id:
            del self._by_name[old]
        return self.store(scim_id, fresh)

    def _check_free(self, name: str, scim_id: str | None) -> None:
        domain = name.rpartition("@")[2].casefold()
        if self.reserved_domains and domain not in (item.casefold() for item in self.reserved_domains):
            raise Refused(400, f"The domain {domain} is not reserved by this enterprise", "invalidValue")
        holders = [holder for node in self.nodes if (holder := node.holder(name)) is not None]
        if any(holder != scim_id for holder in holders) or name.casefold() in self.taken_addresses:
            raise Refused(409, "Email already taken", "uniqueness")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _user_name(resource: dict[str, Any]) -> str:
    name = resource.get("userName")
    if not isinstance(name, str) or not _EMAIL.match(name):
        raise Refused(400, "userName must be a valid e-mail address", "invalidValue")
    return name


def _mirror(account: dict[str, Any], source: str) -> None:
    """Keep userName and the primary e-mail equal: updating either modifies the other."""
    emails = account.get("emails")
    entries = [entry for entry in emails if isinstance(entry, dict)] if isinstance(emails, list) else []
    if source == "emails" and entries and entries[0].get("value"):
        account["userName"] = entries[0]["value"]
        return
    if entries:
        entries[0]["value"] = account["userName"]
    else:
        account["emails"] = [{"primary": True, "value": account["userName"], "type": "work"}]


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise Refused(400, "active must be true or false", "invalidValue")


def operations_of(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the operations of a PATCH."""
    operations = request.get("Operations")
    if not isinstance(operations, list) or not operations:
        raise Refused(400, "Operations must be a non-empty array", "invalidSyntax")
    if not all(isinstance(operation, dict) for operation in operations):
        raise Refused(400, "An operation must be an object", "invalidSyntax")
    return operations


def apply_operation(account: dict[str, Any], operation: dict[str, Any]) -> str:
    """Apply one operation to a resource; returns its path."""
    op = str(operation.get("op", "")).lower()
    if op not in ("add", "replace", "remove"):
        raise Refused(400, f"Unknown op {operation.get('op')!r}", "invalidSyntax")
    path, value = operation.get("path"), operation.get("value")
    if path:
        _set(account, str(path), None if op == "remove" else value, remove=op == "remove")
        return str(path)
    if op == "remove":
        raise Refused(400, "remove needs a path", "noTarget")
    if not isinstance(value, dict):
        raise Refused(400, "Without a path the value must be an object", "invalidValue")
    for key, item in value.items():
        _set(account, key, item, remove=False)
    return "emails" if "emails" in value and "userName" not in value else ""


def _set(account: dict[str, Any], path: str, value: Any, *, remove: bool) -> None:
    filtered = _FILTERED.match(path)
    if filtered:
        _set_filtered(account, filtered, value, remove=remove)
        return
    target: dict[str, Any] = account
    if path.lower() == ENTERPRISE.lower():
        _set_extension(account, value, remove=remove)
        return
    if path.lower().startswith(ENTERPRISE.lower() + ":"):
        target, path = account.setdefault(ENTERPRISE, {}), path[len(ENTERPRISE) + 1 :]
    *parents, leaf = path.split(".")
    for parent in parents:
        target = target.setdefault(_spelled(target, parent), {})
        if not isinstance(target, dict):
            raise Refused(400, f"{path} is not a path", "invalidPath")
    leaf = _spelled(target, leaf)
    if leaf in _READ_ONLY:
        raise Refused(400, f"{leaf} is read only", "mutability")
    if remove:
        target.pop(leaf, None)
    else:
        target[leaf] = _boolean(value) if leaf == "active" else value


def _set_extension(account: dict[str, Any], value: Any, *, remove: bool) -> None:
    """Set or remove the enterprise extension as a whole: its URN alone is a path too (RFC 7644 3.10)."""
    if remove:
        account.pop(ENTERPRISE, None)
    elif isinstance(value, dict):
        account[ENTERPRISE] = {**account.get(ENTERPRISE, {}), **value}
    else:
        raise Refused(400, "The extension's value must be an object", "invalidValue")


def _set_filtered(account: dict[str, Any], match: re.Match[str], value: Any, *, remove: bool) -> None:
    entries = account.get(match["name"])
    found = [
        entry
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and str(entry.get(match["key"])) == match["value"]
    ]
    if not found:
        raise Refused(400, "No entry matches the filter", "noTarget")
    for entry in found:
        if match["sub"] and remove:
            entry.pop(match["sub"], None)
        elif match["sub"]:
            entry[match["sub"]] = value
        elif remove:
            account[match["name"]].remove(entry)
        else:
            entry.update(value)


def _spelled(target: dict[str, Any], name: str) -> str:
    """Return an attribute's spelling: names are compared without case (RFC 7643 2.1)."""
    known = ("userName", "displayName", "externalId", "active", "emails", "name", "givenName", "familyName")
    lowered = name.lower()
    return next((key for key in (*target, *known) if key.lower() == lowered), name)
