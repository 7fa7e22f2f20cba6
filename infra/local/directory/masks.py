"""Partial responses: the `fields` parameter (Admin SDK, performance page), compiled once per mask."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from infra.local.directory.customer import Refused

Mask = dict[str, "Mask"]
Shape = dict[str, "Shape | None"]  # None: whatever is below may be selected

NAME: Shape = dict.fromkeys("displayName familyName fullName givenName".split())
USER: Shape = dict.fromkeys(
    "addresses agreedToTerms aliases archivalTime archived changePasswordAtNextLogin creationTime customSchemas "
    "customerId deletionTime emails etag externalIds gender guestAccountInfo hashFunction id ims "
    "includeInGlobalAddressList ipWhitelisted isAdmin isDelegatedAdmin isEnforcedIn2Sv isEnrolledIn2Sv isGuestUser "
    "isMailboxSetup keywords kind languages lastLoginTime locations nonEditableAliases notes orgUnitPath organizations "
    "password phones posixAccounts primaryEmail recoveryEmail recoveryPhone relations sshPublicKeys suspended "
    "suspensionReason suspensionTime thumbnailPhotoEtag thumbnailPhotoUrl websites".split()
) | {"name": NAME}
GROUP: Shape = dict.fromkeys(
    "adminCreated aliases description directMembersCount email etag externalIds id kind name nonEditableAliases".split()
)
MEMBER: Shape = dict.fromkeys("delivery_settings email etag id kind role status type".split())
UNIT: Shape = dict.fromkeys(
    "blockInheritance description etag kind name orgUnitId orgUnitPath parentOrgUnitId parentOrgUnitPath".split()
)
_ENVELOPE: Shape = dict.fromkeys(("etag", "kind", "nextPageToken"))
SHAPES: dict[str, Shape] = {
    "users.get": USER,
    "users.list": {**_ENVELOPE, "trigger_event": None, "users": USER},
    "orgunits.get": UNIT,
    "orgunits.list": {"etag": None, "kind": None, "organizationUnits": UNIT},
    "groups.get": GROUP,
    "groups.list": {**_ENVELOPE, "groups": GROUP},
    "members.list": {**_ENVELOPE, "members": MEMBER},
    "members.hasMember": {"isMember": None},
}


@lru_cache(maxsize=256)
def compiled(fields: str) -> Mask:
    """Read `a,b/c,items(d,e/f)`; an empty mask selects everything below."""
    mask, rest = _list(fields, 0)
    if rest != len(fields):
        raise Refused(400, "invalidParameter", f"Invalid field selection {fields[rest:]}")
    return mask


def _list(text: str, at: int) -> tuple[Mask, int]:
    mask: Mask = {}
    while True:
        at = _item(text, at, mask)
        if at >= len(text) or text[at] != ",":
            return mask, at
        at += 1


def _item(text: str, at: int, mask: Mask) -> int:
    start = at
    while at < len(text) and text[at] not in ",()/":
        at += 1
    name = text[start:at].strip()
    if not name:
        raise Refused(400, "invalidParameter", f"Invalid field selection {text}")
    child = mask.setdefault(name, {})
    if at < len(text) and text[at] == "/":
        return _item(text, at + 1, child)
    if at < len(text) and text[at] == "(":
        inner, at = _list(text, at + 1)
        if at >= len(text) or text[at] != ")":
            raise Refused(400, "invalidParameter", f"Invalid field selection {text}")
        child.update(inner)
        at += 1
    return at


def check(mask: Mask, shape: Shape | None) -> None:
    """Refuse a mask that names a field which the resource does not have, as the API does."""
    if shape is None:
        return
    for name, child in mask.items():
        if name == "*":
            continue
        if name not in shape:
            raise Refused(400, "invalidParameter", f"Invalid field selection {name}")
        check(child, shape[name])


def select(value: Any, mask: Mask) -> Any:
    """Return the part of a value that a mask selects."""
    if not mask or "*" in mask:
        return value
    if isinstance(value, list):
        return [select(item, mask) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: select(value[name], child) for name, child in mask.items() if name in value}
