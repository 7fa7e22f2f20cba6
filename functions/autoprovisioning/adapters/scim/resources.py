"""SCIM resources: render what we send, read what Keeper returns. Pure.

Attribute paths are those of `domain.accounts`; emails, phoneNumbers and addresses are written whole, so a PATCH that
names one of their parts must name all mapped parts. One that would leave an e-mail entry without its address is an
error of the caller's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from autoprovisioning.domain.accounts import Account, Attributes, Value, Write
from autoprovisioning.domain.connections import PatchDialect

CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
_TYPED = re.compile(r'(?P<family>phoneNumbers|addresses)\[type eq "(?P<type>[^"]+)"\]\.(?P<part>\w+)\Z')
MANAGER = f"{ENTERPRISE}:manager"
_NOT_MAPPED = frozenset({"id", "externalId", "active"})
_FAMILIES = ("phoneNumbers", "addresses")

Json = dict[str, Any]


def create_body(write: Write) -> Json:
    """Render the User resource of a POST (RFC 7644 3.3); attributes without a value are left out."""
    body: Json = {"schemas": [CORE], "externalId": write.external_id, "active": True}
    body |= _nested({target: value for target, value in write.attributes.items() if value is not None})
    if ENTERPRISE in body:
        body["schemas"] = [CORE, ENTERPRISE]
    return body


def patch_body(write: Write, dialect: PatchDialect) -> Json:
    """Render a PATCH (RFC 7644 3.5.2): one operation per attribute, or in the dialect that Keeper documents."""
    _check_emails(write.attributes)
    if dialect is PatchDialect.KEEPER:
        return {"schemas": [PATCH_OP], "Operations": _in_keepers_dialect(write)}
    operations: list[Json] = []
    if write.external_id is not None:
        operations.append({"op": "replace", "path": "externalId", "value": write.external_id})
    operations += _operations(write.attributes)
    if write.active is not None:
        operations.append({"op": "replace", "path": "active", "value": write.active})
    return {"schemas": [PATCH_OP], "Operations": operations}


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
        family = _family(target)
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

    E-mail addresses are left out beside a userName: Keeper mirrors the one into the other.
    """
    value: Json = {}
    if write.external_id is not None:
        value["externalId"] = write.external_id
    plain = {target: item for target, item in write.attributes.items() if not _family(target)}
    value |= {target: "" if item is None else item for target, item in plain.items()}
    families = {_family(target) for target in write.attributes} - {""}
    if "userName" in write.attributes:
        families.discard("emails")
    nested = _nested({target: item for target, item in write.attributes.items() if item is not None})
    return value | {family: nested.get(family, []) for family in sorted(families)}


def _family(target: str) -> str:
    if target.startswith("emails."):
        return "emails"
    match = _TYPED.match(target)
    return match["family"] if match else ""


def _nested(attributes: Mapping[str, Value]) -> Json:
    """Assemble flat attributes into a resource."""
    body: Json = {}
    for target, value in attributes.items():
        typed = _TYPED.match(target)
        if typed:
            entry = _entry(body.setdefault(typed["family"], []), typed["type"])
            entry[typed["part"]] = value
        elif target == f"{MANAGER}.value":
            body.setdefault(ENTERPRISE, {})["manager"] = _manager(str(value))
        elif target.startswith(ENTERPRISE + ":"):
            _deep(body.setdefault(ENTERPRISE, {}), target[len(ENTERPRISE) + 1 :], value)
        elif target.startswith("emails."):
            emails = body.setdefault("emails", [{}])
            emails[0][target.partition(".")[2]] = value
        else:
            _deep(body, target, value)
    return body


def _entry(entries: list[Json], kind: str) -> Json:
    for entry in entries:
        if entry["type"] == kind:
            return entry
    entries.append({"type": kind})
    return entries[-1]


def _deep(body: Json, path: str, value: Value) -> None:
    *parents, leaf = path.split(".")
    for parent in parents:
        body = body.setdefault(parent, {})
    body[leaf] = value


def read_account(resource: Mapping[str, Any]) -> Account | None:
    """Read a User resource leniently; None for one without an id."""
    scim_id = resource.get("id")
    if scim_id in (None, ""):
        return None
    external_id = resource.get("externalId")
    return Account(
        str(scim_id),
        str(resource.get("userName") or ""),
        "" if external_id is None else str(external_id),
        _boolean(resource.get("active"), default=True),
        _flat(resource),
        _created(resource.get("meta")),
    )


def _created(meta: object) -> datetime | None:
    """Read meta.created (RFC 7643 3.1: a DateTime); one that cannot be read is as good as none."""
    text = meta.get("created") if isinstance(meta, Mapping) else None
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


def _flat(resource: Mapping[str, Any]) -> dict[str, Value]:
    plain = {name: value for name, value in resource.items() if isinstance(value, str)}
    flat: dict[str, Value] = {name: value for name, value in plain.items() if name not in _NOT_MAPPED}
    _flatten(flat, "name.", resource.get("name"))
    extension = resource.get(ENTERPRISE)
    _flatten(flat, f"{ENTERPRISE}:", extension)
    if isinstance(extension, Mapping):
        _flatten(flat, f"{ENTERPRISE}:manager.", extension.get("manager"))
    email = _main_email(resource.get("emails"))
    _flatten(flat, "emails.", email)
    if email:
        flat["emails.primary"] = _boolean(email.get("primary"), default=True)
    for family in _FAMILIES:
        entries = resource.get(family)
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, Mapping) and entry.get("type"):
                _flatten(flat, f'{family}[type eq "{entry["type"]}"].', entry)
    return flat


def _flatten(flat: dict[str, Value], prefix: str, value: object) -> None:
    if isinstance(value, Mapping):
        flat |= {prefix + str(name): item for name, item in value.items() if isinstance(item, str)}


def _main_email(emails: object) -> Mapping[str, Any]:
    entries = [entry for entry in emails if isinstance(entry, Mapping)] if isinstance(emails, list) else []
    primary = [entry for entry in entries if _boolean(entry.get("primary"), default=False)]
    return (primary or entries or [{}])[0]


def _boolean(value: object, *, default: bool) -> bool:
    """Read a JSON boolean, or the string that some servers send instead, in any case."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return default
