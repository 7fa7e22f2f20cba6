"""The simulated customer: users, organizational units, groups and memberships, and the rules the API applies to them.

Sources: the Admin SDK discovery document (directory_v1) and its guides (manage users, search users, groups, limits).
"""

from __future__ import annotations

import copy
import itertools
import re
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

UNDELETABLE = timedelta(days=20)
ROOT_UNIT = "id:03ouroot"
_CLAUSE = re.compile(r"(?P<field>[\w.]+)(?P<op>=|:)(?P<value>'[^']*'|\"[^\"]*\"|\S+)")
_BEGINNING = re.compile(r"email:([^\s'\"*]+)\*")
User = dict[str, Any]


class Refused(Exception):
    """An error in Google's shape."""

    def __init__(self, status: int, reason: str, message: str, domain: str = "global") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.domain = domain


def not_found(what: str) -> Refused:
    """Return the 404 that the API answers for an unknown key."""
    return Refused(404, "notFound", f"Resource Not Found: {what}")


class Customer:
    """Users by id, with an index of addresses; organizational units and groups by id; members by group.

    Units are those that the state names and those that users are in, with the ones above them: where Google would
    refuse a user in a unit that does not exist, the unit is made here.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self.id: str = state.get("customer", "C0simulated")
        self.domains: list[dict[str, Any]] = state.get("domains", [])
        self.users: dict[str, User] = {}
        self.units: dict[str, str] = {unit["orgUnitId"]: unit["orgUnitPath"] for unit in state.get("orgUnits", [])}
        self.deleted: dict[str, User] = {}
        self.groups: dict[str, dict[str, Any]] = {}
        self.members: dict[str, dict[str, dict[str, Any]]] = {}
        self._addresses: dict[str, str] = {}
        self._answers: dict[tuple[Any, ...], list[Any]] = {}  # to listings, until anything changes: they have pages
        self._ids = itertools.count(118_000_000_000_000_000_000)
        self._version = itertools.count(1)
        for user in state.get("users", []):
            self._store(user)
        for user in state.get("deletedUsers", []):
            self.deleted[user["id"]] = {"kind": "admin#directory#user", "customerId": self.id, **user}
        for group in state.get("groups", []):
            self.groups[group["id"]] = group
            self.members[group["id"]] = {}
        for group_id, members in state.get("members", {}).items():
            self.members.setdefault(group_id, {}).update({member["id"]: member for member in members})

    def state(self) -> dict[str, Any]:
        """Return everything, in the fixture's shape."""
        return {
            "customer": self.id,
            "domains": self.domains,
            "orgUnits": [{"orgUnitId": unit_id, "orgUnitPath": path} for unit_id, path in self.units.items()],
            "users": list(self.users.values()),
            "deletedUsers": list(self.deleted.values()),
            "groups": list(self.groups.values()),
            "members": {group_id: list(members.values()) for group_id, members in self.members.items()},
        }

    def user(self, key: str) -> User:
        """Find a user by id, primary address or alias."""
        found = self.users.get(key) or self.users.get(self._addresses.get(key.casefold(), ""))
        if found is None:
            raise not_found("userKey")
        return found

    def shown(self, key: str) -> User:
        """Find a user as users.get does: one who may still be undeleted is answered with 412 (firezone pull 15169)."""
        gone = self.deleted.get(key)
        if gone is not None and _undeletable(gone):
            raise Refused(412, "conditionNotMet", "User is deleted.")
        return self.user(key)

    def insert(self, body: User) -> User:
        """Create a user."""
        if not body.get("primaryEmail"):
            raise Refused(400, "required", "Invalid Input: primary_user_email")
        self._check_free(body["primaryEmail"], None)
        user = {"suspended": False, "archived": False, "orgUnitPath": "/", **body}
        user.setdefault("id", str(next(self._ids)))
        user.setdefault("creationTime", _now())
        return self._store(user)

    def update(self, key: str, body: User) -> User:
        """Patch a user; a rename keeps the old address as an alias."""
        user = copy.deepcopy(self.user(key))
        was_suspended, was_archived, old = user.get("suspended"), user.get("archived"), user["primaryEmail"]
        for name, value in body.items():
            if name == "name" and isinstance(value, dict):
                user["name"] = {**user.get("name", {}), **value}
                user["name"].pop("fullName", None)
            elif name == "customSchemas" and isinstance(value, dict):
                schemas = user.setdefault("customSchemas", {})
                for schema, fields in value.items():
                    schemas[schema] = {**schemas.get(schema, {}), **fields}
            elif name not in ("id", "kind", "etag"):
                user[name] = value
        if user["primaryEmail"].casefold() != old.casefold():
            self._check_free(user["primaryEmail"], user["id"])
            aliases = [
                alias for alias in user.get("aliases", []) if alias.casefold() != user["primaryEmail"].casefold()
            ]
            user["aliases"] = [*aliases, old]
            user["emails"] = [
                {"address": user["primaryEmail"], "primary": True},
                *[{"address": alias} for alias in user["aliases"]],
            ]
        _stamp(user, bool(was_suspended), bool(was_archived))
        return self._store(user)

    def delete(self, key: str) -> User:
        """Delete a user: restorable for 20 days, out of every group."""
        self._answers.clear()
        user = self.user(key)
        del self.users[user["id"]]
        for address in (user["primaryEmail"], *user.get("aliases", [])):
            self._addresses.pop(address.casefold(), None)
        for members in self.members.values():
            members.pop(user["id"], None)
        self.deleted[user["id"]] = {**user, "deletionTime": _now()}
        return user

    def undelete(self, user_id: str, org_unit: str) -> User:
        """Restore a deleted user, by id only."""
        user = self.deleted.pop(user_id, None)
        if user is None:
            raise not_found("userKey")
        self._check_free(user["primaryEmail"], user_id)
        user = {**user, "orgUnitPath": org_unit or "/"}
        user.pop("deletionTime", None)
        return self._store(user)

    def alias(self, key: str, address: str, *, add: bool) -> None:
        """Add or remove an alias."""
        user = copy.deepcopy(self.user(key))
        aliases = [item for item in user.get("aliases", []) if item.casefold() != address.casefold()]
        if add:
            self._check_free(address, user["id"])
            aliases.append(address)
        else:
            self._addresses.pop(address.casefold(), None)
        user["aliases"] = aliases
        self._store(user)

    def listed(self, query: str, *, deleted: bool, domain: str) -> list[User]:
        """Return the users that a query matches, by their primary address."""
        if deleted:  # which ones are listed depends on the time
            return sorted(self._matching(query, deleted=True, domain=domain), key=_by_address)
        known = self._answers.get(("users", query, domain))
        if known is None:
            begun = _BEGINNING.fullmatch(query) if not domain else None
            found = (
                self._beginning(begun[1].casefold()) if begun else self._matching(query, deleted=False, domain=domain)
            )
            known = sorted(found, key=_by_address)
            self._answers["users", query, domain] = known
        return known

    def _beginning(self, letters: str) -> list[User]:
        """Return the users with an address that begins so, as `_matching` does, without a look at everybody."""
        index = self._answers.get(("index",))
        if index is None:
            index = self._answers["index",] = sorted(self._addresses.items())
        found: dict[str, User] = {}
        for address, user_id in index[bisect_left(index, (letters, "")) :]:
            if not address.startswith(letters):
                break
            found[user_id] = self.users[user_id]
        return list(found.values())

    def _matching(self, query: str, *, deleted: bool, domain: str) -> Iterator[User]:
        clauses = [match.groupdict() for match in _CLAUSE.finditer(query)]
        if query.strip() and not clauses:
            raise Refused(400, "invalid", "Invalid Input: query")
        for user in (self.deleted if deleted else self.users).values():
            if deleted and not _undeletable(user):
                continue
            if domain and not user["primaryEmail"].casefold().endswith("@" + domain.casefold()):
                continue
            if all(_matches(user, clause) for clause in clauses):
                yield user

    def org_units(self) -> list[dict[str, Any]]:
        """Return the organizational units by path, without the root, as the API lists them."""
        ids = {path: unit_id for unit_id, path in self.units.items()}
        return [self._as_unit(path, ids) for path in sorted(ids)]

    def add_unit(self, body: dict[str, Any]) -> dict[str, Any]:
        """Create an organizational unit."""
        path = _joined(body.get("parentOrgUnitPath", "/"), body["name"])
        if path in self.units.values():
            raise Refused(400, "invalid", "Invalid Ou Id")
        self._place(path)
        return self.unit(path)

    def change_unit(self, key: str, body: dict[str, Any]) -> dict[str, Any]:
        """Rename or move an organizational unit; what is below it, and everybody in it, goes with it."""
        self._answers.clear()
        old = self.unit(key)["orgUnitPath"]
        parent, _, name = old.rpartition("/")
        new = _joined(body.get("parentOrgUnitPath", parent), body.get("name", name))
        if (new != old and new in self.units.values()) or new.startswith(f"{old}/"):
            raise Refused(400, "invalid", "Invalid Ou Id")
        self._place(new.rpartition("/")[0])
        self.units = {unit_id: _moved(path, old, new) for unit_id, path in self.units.items()}
        for user in (*self.users.values(), *self.deleted.values()):
            user["orgUnitPath"] = _moved(user.get("orgUnitPath", "/"), old, new)
        return self.unit(new)

    def delete_unit(self, key: str) -> None:
        """Delete an organizational unit that contains no users and no units."""
        unit = self.unit(key)
        inside = (*self.units.values(), *(f"{user['orgUnitPath']}/" for user in self.users.values()))
        if any(path.startswith(f"{unit['orgUnitPath']}/") for path in inside):
            raise Refused(412, "conditionNotMet", "The organizational unit is not empty.")
        del self.units[unit["orgUnitId"]]

    def unit(self, key: str) -> dict[str, Any]:
        """Find an organizational unit by id, or by its path, with or without the leading slash."""
        ids = {path: unit_id for unit_id, path in self.units.items()}
        path = self.units.get(key, "/" + key.lstrip("/"))
        if path not in ids:
            raise Refused(404, "notFound", "Org unit not found")
        return self._as_unit(path, ids)

    def _place(self, path: str) -> None:
        """Make sure that a unit exists, and those above it; its id does not depend on names, which may change."""
        parts = path.strip("/").split("/")
        for depth in range(1, len(parts) + 1) if parts[0] else ():
            above = "/" + "/".join(parts[:depth])
            if above not in self.units.values():
                number = zlib.crc32(above.encode())
                while f"id:03ou{number:08x}" in self.units:
                    number += 1
                self.units[f"id:03ou{number:08x}"] = above

    @staticmethod
    def _as_unit(path: str, ids: dict[str, str]) -> dict[str, Any]:
        parent, _, name = path.rpartition("/")
        return {
            "kind": "admin#directory#orgUnit",
            "name": name,
            "orgUnitPath": path,
            "orgUnitId": ids[path],
            "parentOrgUnitPath": parent or "/",
            "parentOrgUnitId": ids.get(parent, ROOT_UNIT),
        }

    def group(self, key: str) -> dict[str, Any]:
        """Find a group by id, address or alias."""
        if key in self.groups:
            return self.groups[key]
        for group in self.groups.values():
            if key.casefold() in (address.casefold() for address in (group["email"], *group.get("aliases", []))):
                return group
        raise not_found("groupKey")

    def add_group(self, body: dict[str, Any]) -> dict[str, Any]:
        """Create a group."""
        group = {"id": f"0{next(self._ids):x}", "name": body["email"], **body}
        self.groups[group["id"]] = group
        self.members[group["id"]] = {}
        return group

    def delete_group(self, key: str) -> None:
        """Delete a group, also as a member of others."""
        self._answers.clear()
        group = self.group(key)
        del self.groups[group["id"]]
        del self.members[group["id"]]
        for members in self.members.values():
            members.pop(group["id"], None)

    def add_member(self, key: str, body: dict[str, Any]) -> dict[str, Any]:
        """Put a user, a group or somebody from outside into a group."""
        self._answers.clear()
        group_id = self.group(key)["id"]
        name = body.get("id") or body.get("email", "")
        if name in self.users or name.casefold() in self._addresses:
            user = self.user(name)
            member = {"id": user["id"], "email": user["primaryEmail"], "type": "USER", "status": "ACTIVE"}
        elif name in self.groups or any(group["email"].casefold() == name.casefold() for group in self.groups.values()):
            group = self.group(name)
            member = {"id": group["id"], "email": group["email"], "type": "GROUP"}
        else:
            member = {"id": body.get("id", str(next(self._ids))), "email": body.get("email", ""), "type": "USER"}
        member["role"] = body.get("role", "MEMBER")
        self.members[group_id][member["id"]] = member
        return member

    def remove_member(self, key: str, member_key: str) -> dict[str, Any]:
        """Take a member out of a group; returns who it was."""
        self._answers.clear()
        members = self.members[self.group(key)["id"]]
        for member_id, member in list(members.items()):
            if member_key.casefold() in (member_id.casefold(), member.get("email", "").casefold()):
                return members.pop(member_id)
        raise not_found("memberKey")

    def members_of(self, key: str, *, derived: bool) -> list[dict[str, Any]]:
        """List members; derived ones replace nested groups, each once, cycles cut."""
        group_id = self.group(key)["id"]
        if not derived:
            return list(self.members[group_id].values())
        known = self._answers.get(("members", group_id))
        if known is None:
            known = self._answers["members", group_id] = self._derived(group_id)
        return known

    def _derived(self, group_id: str) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        todo, met = [group_id], {group_id}
        while todo:
            for member in self.members.get(todo.pop(), {}).values():
                if member.get("type") == "GROUP":
                    if member["id"] not in met:
                        met.add(member["id"])
                        todo.append(member["id"])
                else:
                    found.setdefault(member["id"], member)
        return list(found.values())

    def groups_of(self, key: str) -> list[dict[str, Any]]:
        """List the groups that have a user, by id or address, or a group, by address, as a direct member."""
        try:
            member_id = self.user(key)["id"]
        except Refused:
            if key in self.groups:
                raise
            member_id = self.group(key)["id"]
        return [self.groups[group_id] for group_id, members in self.members.items() if member_id in members]

    def _check_free(self, address: str, user_id: str | None) -> None:
        holder = self._addresses.get(address.casefold())
        if holder is not None and holder != user_id:
            raise Refused(409, "duplicate", "Entity already exists.")

    def _store(self, user: User) -> User:
        self._answers.clear()
        name = user.get("name", {})
        if name and "fullName" not in name:
            name["fullName"] = " ".join(filter(None, (name.get("givenName"), name.get("familyName"))))
        user["kind"] = "admin#directory#user"
        user["customerId"] = self.id
        user["etag"] = f'"v{next(self._version)}"'
        user.setdefault("emails", [{"address": user["primaryEmail"], "primary": True}])
        self._place(user.setdefault("orgUnitPath", "/"))
        user.setdefault("isAdmin", False)
        user.setdefault("isDelegatedAdmin", False)
        self.users[user["id"]] = user
        for address in (user["primaryEmail"], *user.get("aliases", [])):
            self._addresses[address.casefold()] = user["id"]
        return user


def _by_address(user: User) -> str:
    return str(user["primaryEmail"]).casefold()


def _undeletable(user: User) -> bool:
    return datetime.now(UTC) - datetime.fromisoformat(user["deletionTime"]) <= UNDELETABLE


def _stamp(user: User, was_suspended: bool, was_archived: bool) -> None:
    for flag, time, before in (
        ("suspended", "suspensionTime", was_suspended),
        ("archived", "archivalTime", was_archived),
    ):
        if user.get(flag) and not before:
            user[time] = _now()
        elif not user.get(flag):
            user.pop(time, None)
    if user.get("suspended"):
        user.setdefault("suspensionReason", "ADMIN")
    else:
        user.pop("suspensionReason", None)


def _joined(parent: str, name: str) -> str:
    return f"{parent.rstrip('/')}/{name}"


def _moved(path: str, old: str, new: str) -> str:
    """Return the new path of what is at or below a moved unit; any other path is returned unchanged."""
    return new + path[len(old) :] if f"{path}/".startswith(f"{old}/") else path


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _matches(user: User, clause: dict[str, str]) -> bool:
    field, value = clause["field"], clause["value"].strip("'\"")
    if field in ("isSuspended", "isArchived", "isAdmin", "isDelegatedAdmin"):
        name = {"isSuspended": "suspended", "isArchived": "archived"}.get(field, field)
        return bool(user.get(name)) == (value.lower() == "true")
    if field == "orgUnitPath":
        path = value.rstrip("/") + "/"
        return (str(user.get("orgUnitPath", "/")).rstrip("/") + "/").startswith(path)
    if field == "email":
        return _text_matches([user["primaryEmail"], *user.get("aliases", [])], clause["op"], value)
    if field in ("givenName", "familyName", "name"):
        name = user.get("name", {})
        texts = [name.get("fullName", "")] if field == "name" else [name.get(field, "")]
        return _text_matches(texts, clause["op"], value)
    if field == "externalId":
        return _text_matches([item.get("value", "") for item in user.get("externalIds", [])], clause["op"], value)
    raise Refused(400, "invalid", "Invalid Input: query")


def _text_matches(texts: Iterable[str], op: str, value: str) -> bool:
    wanted = value.casefold()
    if op == ":" and wanted.endswith("*"):
        return any(text.casefold().startswith(wanted[:-1]) for text in texts)
    if op == ":":
        return any(wanted in text.casefold() for text in texts)
    return any(text.casefold() == wanted for text in texts)
