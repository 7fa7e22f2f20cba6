"""SCIM resources: render what we send, read what Keeper returns. Pure.

Attribute paths are those of `domain.accounts`; emails, phoneNumbers and addresses are written whole, so a PATCH that
names one of their parts must name all mapped parts. One that would leave an e-mail entry without its address is an
error of the caller's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from autoprovisioning.adapters.scim.names import NAMES, spelled, spelling
from autoprovisioning.adapters.scim.protocol import unusable_id
from autoprovisioning.domain.accounts import LONGEST_ID, Account, Attributes, Value, Write, id_problem
from autoprovisioning.domain.errors import Permanent
from autoprovisioning.domain.keeper import PatchDialect
from autoprovisioning.domain.scim_user import ENTERPRISE, attribute_of, family_of, typed_families

CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
MANAGER = f"{ENTERPRISE}:manager"
_NOT_MAPPED = frozenset({"id", "externalId", "active"})
_LONGEST = 1024  # characters of a userName or externalId that are kept: no value of ours is as long
_NO_VALUE = "(not text)"  # still an externalId: whatever it is, the account is somebody's
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:?\d\d)?", re.ASCII)

Json = dict[str, Any]


def create_body(write: Write) -> Json:
    """Render the User resource of a POST (RFC 7644 3.3); attributes without a value are left out."""
    body: Json = {"schemas": [CORE], "externalId": write.external_id, "active": True}
    body |= _nested({target: value for target, value in write.attributes.items() if value is not None})
    if ENTERPRISE in body:
        body["schemas"] = [CORE, ENTERPRISE]
    if write.joins:
        body["groups"] = _teams(write.joins)  # since Keeper's Backend 16.9.10; its users' teams are not read only
    return body


def patch_body(write: Write, dialect: PatchDialect) -> Json:
    """Render a PATCH (RFC 7644 3.5.2): one operation per attribute, or in the dialect that Keeper documents."""
    _check_emails(write.attributes)
    if dialect is PatchDialect.KEEPER:
        return {"schemas": [PATCH_OP], "Operations": [*_in_keepers_dialect(write), *_team_operations(write)]}
    operations: list[Json] = []
    if write.external_id is not None:
        operations.append({"op": "replace", "path": "externalId", "value": write.external_id})
    operations += _operations(write.attributes)
    if write.active is not None:
        operations.append({"op": "replace", "path": "active", "value": write.active})
    return {"schemas": [PATCH_OP], "Operations": [*operations, *_team_operations(write)]}


def _team_operations(write: Write) -> list[Json]:
    """Render memberships as Keeper's pages and both of its tools do: `remove` has the teams as its value, too."""
    changes = (("remove", write.leaves), ("add", write.joins))
    return [{"op": op, "path": "groups", "value": _teams(teams)} for op, teams in changes if teams]


def _teams(team_ids: Iterable[str]) -> list[Json]:
    return [{"value": team_id} for team_id in team_ids]


def _check_emails(attributes: Attributes) -> None:
    parts = [target for target, value in attributes.items() if target.startswith("emails.") and value is not None]
    if parts and attributes.get("emails.value") is None:
        raise ValueError(
            f"A PATCH of {', '.join(sorted(parts))} must hold emails.value too: the entry is replaced whole"
        )


def _operations(attributes: Attributes) -> list[Json]:
    operations: list[Json] = []
    whole: dict[str, dict[str, Value]] = {}
    for target, value in attributes.items():
        family = family_of(target)
        if family:
            whole.setdefault(family, {})[target] = value
        elif target == f"{MANAGER}.value":
            operations.append(_replaced(MANAGER, None if value is None else _manager(str(value))))
        else:
            operations.append(_replaced(target, value))
    for family, parts in whole.items():
        entries = _nested({target: value for target, value in parts.items() if value is not None}).get(family)
        operations.append(_replaced(family, entries))
    return operations


def _replaced(path: str, value: object) -> Json:
    return {"op": "remove", "path": path} if value is None else {"op": "replace", "path": path, "value": value}


def _manager(scim_id: str) -> Json:
    """Render a manager; the reference is required by the schema of RFC 7643 8.7.1, in the form of its example."""
    return {"value": scim_id, "$ref": f"../Users/{quote(scim_id, safe='')}"}


def _in_keepers_dialect(write: Write) -> list[Json]:
    """Render what Keeper's pages and tools send: attributes in one object, `active` as a text under its path.

    Source: docs.keeper.io, "Using SCIM API Provisioning" (locking), and Commander's `scim push` (attributes).
    """
    attributes = _dotted(write)
    operations: list[Json] = [{"op": "replace", "value": attributes}] if attributes else []
    if write.active is not None:
        operations.append({"op": "Replace", "path": "active", "value": "true" if write.active else "false"})
    return operations


def _dotted(write: Write) -> Json:
    """Render attributes with dotted keys in one object; what has no value any more becomes an empty string.

    A main e-mail address is left out beside a userName if it is the only one: Keeper mirrors the one into the other.
    """
    value: Json = {}
    if write.external_id is not None:
        value["externalId"] = write.external_id
    plain = {target: item for target, item in write.attributes.items() if not family_of(target)}
    value |= {target: "" if item is None else item for target, item in plain.items()}
    families = {family_of(target) for target in write.attributes} - {""}
    if "userName" in write.attributes and not any(_typed_email(target) for target in write.attributes):
        families.discard("emails")
    nested = _nested({target: item for target, item in write.attributes.items() if item is not None})
    return value | {family: nested.get(family, []) for family in sorted(families)}


def _typed_email(target: str) -> bool:
    found = attribute_of(target)
    return found is not None and found.family == "emails" and bool(found.type)


def _nested(attributes: Mapping[str, Value]) -> Json:
    """Assemble flat attributes into a resource."""
    body: Json = {}
    entries: dict[tuple[str, str], Json] = {}
    for target, value in attributes.items():
        attribute = attribute_of(target)
        if attribute is not None and attribute.family:
            whose = (attribute.family, attribute.type)
            if whose not in entries:
                entries[whose] = {"type": attribute.type} if attribute.type else {}
                family = body.setdefault(attribute.family, [])
                family.insert(len(family) if attribute.type else 0, entries[whose])  # some servers take the first
            entries[whose][attribute.part] = value
        elif target == f"{MANAGER}.value":
            body.setdefault(ENTERPRISE, {})["manager"] = _manager(str(value))
        elif target.startswith(ENTERPRISE + ":"):
            _deep(body.setdefault(ENTERPRISE, {}), target[len(ENTERPRISE) + 1 :], value)
        else:
            _deep(body, target, value)
    return body


def _deep(body: Json, path: str, value: Value) -> None:
    *parents, leaf = path.split(".")
    for parent in parents:
        body = body.setdefault(parent, {})
    body[leaf] = value


def read_account(resource: Mapping[str, Any]) -> Account | None:
    """Read a User resource leniently; None for one without an id.

    Raises:
        Permanent: its id cannot be used.
    """
    account = read_listed(resource)
    if account.flaw and spelled(resource).get("id") not in (None, ""):
        raise Permanent(account.flaw)
    return None if account.flaw else account


def read_listed(resource: Mapping[str, Any]) -> Account:
    """Read a User resource of a listing: one whose id cannot be used has a flaw, and does not count as absent."""
    resource = spelled(resource)
    scim_id = _text(resource.get("id"))
    problem = "it is not text" if scim_id == _NO_VALUE else id_problem(scim_id)
    return Account(
        scim_id="" if problem else scim_id,
        user_name=_text(resource.get("userName"))[:_LONGEST],
        external_id=_text(resource.get("externalId"))[:_LONGEST],
        active=_boolean(resource.get("active"), default=True),
        attributes=_flat(resource),
        created=_created(resource.get("meta")),
        flaw=str(unusable_id(problem)) if problem else "",
        teams=_team_ids(resource.get("groups")),
    )


def _team_ids(groups: object) -> tuple[str, ...] | None:
    """Read `groups` of a user (RFC 7643 4.1.2), which is not told by every server; what has no id is passed over."""
    if not isinstance(groups, list):
        return None
    found = (spelled(each).get("value") for each in groups if isinstance(each, Mapping))
    return tuple(sorted({value for value in found if isinstance(value, str) and 0 < len(value) <= LONGEST_ID}))


def _text(value: object) -> str:
    """Read a text, or the number that some servers send instead."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _NO_VALUE


def _created(meta: object) -> datetime | None:
    """Read meta.created (RFC 7643 3.1, a DateTime as in RFC 3339); one that cannot be read is as good as none."""
    if not isinstance(meta, Mapping):
        return None
    text = meta.get("created") or spelled(meta).get("created")
    if not isinstance(text, str) or len(text) > _LONGEST or not _TIME.fullmatch(text):
        return None
    try:
        at = datetime.fromisoformat(text.upper())
        return (at.replace(tzinfo=UTC) if at.tzinfo is None else at).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _flat(resource: Mapping[str, Any]) -> dict[str, Value]:
    flat: dict[str, Value] = {
        name: value for name, value in resource.items() if isinstance(value, str) and name not in _NOT_MAPPED
    }
    _flatten(flat, "name.", resource.get("name"))
    extension = resource.get(ENTERPRISE)
    _flatten(flat, f"{ENTERPRISE}:", extension)
    if isinstance(extension, Mapping):
        _flatten(flat, f"{ENTERPRISE}:manager.", spelled(extension).get("manager"))
    email = _main_email(resource.get("emails"))
    _flatten(flat, "emails.", email)
    if email:
        flat["emails.primary"] = _boolean(email.get("primary"), default=True)
    for family in typed_families():
        entries = resource.get(family)
        for entry in entries if isinstance(entries, list) else ():
            kind = spelled(entry).get("type") if isinstance(entry, Mapping) else None
            if isinstance(kind, str) and 0 < len(kind) <= _LONGEST:
                _flatten(flat, f'{family}[type eq "{kind}"].', entry)
    return flat


def _flatten(flat: dict[str, Value], prefix: str, value: object) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, str):
                flat[prefix + (name if name in NAMES else spelling(name))] = item


def _main_email(emails: object) -> Mapping[str, Any]:
    entries = [spelled(entry) for entry in emails if isinstance(entry, dict)] if isinstance(emails, list) else []
    if len(entries) > 1:
        entries = [entry for entry in entries if _boolean(entry.get("primary"), default=False)] or entries
    return entries[0] if entries else {}


def _boolean(value: object, *, default: bool) -> bool:
    """Read a JSON boolean, or the string that some servers send instead, in any case."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return default
