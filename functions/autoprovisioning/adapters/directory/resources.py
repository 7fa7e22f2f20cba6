"""What the Directory API's resources mean; pure.

What a decision depends on is believed only in the type that directory_v1's discovery document gives it: the string
"false" is not a boolean. An item that cannot be read makes its user UNKNOWN, or its listing incomplete, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from autoprovisioning.domain.directory_user import DirectoryUser, Presence, full_name, to_the_second
from autoprovisioning.domain.scope import Group
from autoprovisioning.domain.texts import USER_ID, folded

LONGEST_ID = 256


def user_of(item: Mapping[str, Any], profile: Mapping[str, Any] | None = None, shown: int = 0) -> DirectoryUser:
    """Read a user whose id was checked; a flag that is left out is not set.

    `profile` is the item as the user is to keep it, `shown` the number that stands for it: else they are made here.
    """
    archived, suspended = item.get("archived", False), item.get("suspended", False)
    untold = ""
    presence, since = Presence.ACTIVE, None
    if not (isinstance(archived, bool) and isinstance(suspended, bool)):
        presence = Presence.UNKNOWN
        untold = "The directory does not say whether the user is suspended or archived."
    elif archived:
        presence, since = Presence.ARCHIVED, _time(item.get("archivalTime"))
    elif suspended:
        presence, since = Presence.SUSPENDED, _time(item.get("suspensionTime"))
    unit = text_of(item, "orgUnitPath")
    return DirectoryUser(
        id=item["id"],
        primary_email=text_of(item, "primaryEmail"),
        presence=presence,
        org_unit_path=unit if unit.startswith("/") else "",
        aliases=tuple(texts_of(item, "aliases")) if "aliases" in item else (),
        since=since,
        is_admin=item.get("isAdmin") is True,
        is_delegated_admin=item.get("isDelegatedAdmin") is True,
        profile=item if profile is None else profile,
        created=_time(item.get("creationTime")),
        untold=untold,
        full_name=full_name(item),
        shown=shown or hash(msgspec.json.encode(item)),
    )


def unknown(user_id: str, untold: str) -> DirectoryUser:
    """Return a user about whom the directory says nothing, and why."""
    return DirectoryUser(id=user_id, primary_email="", presence=Presence.UNKNOWN, org_unit_path="", untold=untold)


def deleted_user_of(item: Mapping[str, Any]) -> DirectoryUser:
    """Read an item of showDeleted whose id was checked."""
    since = _time(item.get("deletionTime"))
    return DirectoryUser(
        id=str(item["id"]), primary_email=text_of(item, "primaryEmail"), presence=Presence.DELETED, since=since
    )


def group_of(item: Mapping[str, Any]) -> Group | None:
    """Read a group; None where it has no id."""
    group_id = text_of(item, "id")
    known = 0 < len(group_id) <= LONGEST_ID
    return Group(id=group_id, email=text_of(item, "email"), name=text_of(item, "name")) if known else None


def is_user_id(value: object) -> bool:
    """Say whether a value is the id of a user, as the directory makes them."""
    return isinstance(value, str) and USER_ID.fullmatch(value) is not None


def has_address(item: Mapping[str, Any], address: str) -> bool:
    """Say whether a user or a group has an address, as the primary one or an alias."""
    own = (text_of(item, "primaryEmail"), text_of(item, "email"))
    known = (*own, *texts_of(item, "aliases"), *texts_of(item, "nonEditableAliases"))
    return address.casefold() in {each.casefold() for each in known}


def begins_with(item: Mapping[str, Any], text: str) -> bool:
    """Say whether a user's or a group's name or address begins with a text, accents and case apart."""
    wanted = folded(text)
    name = item.get("name")
    names = name if isinstance(name, dict) else {"fullName": name}
    given, family, full = (folded(text_of(names, key)) for key in ("givenName", "familyName", "fullName"))
    addresses = (text_of(item, "primaryEmail"), text_of(item, "email"), *texts_of(item, "aliases"))
    if any(each.startswith(wanted) for each in (given, family, full, *map(folded, addresses))):
        return True
    first, _, rest = wanted.partition(" ")
    return bool(rest) and given.startswith(first) and family.startswith(rest)


def text_of(item: Mapping[str, Any], name: str) -> str:
    """Return a field that must be a string; "" if it is not one."""
    value = item.get(name)
    return value if isinstance(value, str) else ""


def texts_of(item: Mapping[str, Any], name: str) -> Iterator[str]:
    """Return the strings of a field that must be a list of them."""
    values = item.get(name)
    return (value for value in values if isinstance(value, str)) if isinstance(values, list) else iter(())


def _time(value: object) -> datetime | None:
    """Read an RFC 3339 time; a nonsensical one is as good as none, and so is one before there was a Workspace.

    A timer that began in 1970 would be due at once, and one in the year 1 cannot be stored. Google returns
    milliseconds: a time that was stored would differ from what is read again.
    """
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if at is None or not 2000 <= at.year < 2100:
        return None
    return to_the_second(at if at.tzinfo is not None else at.replace(tzinfo=UTC))


def milliseconds_of(value: object) -> datetime | None:
    """Read a Unix time in milliseconds, which Google sends as a string or a number; None for one out of range."""
    text = str(value) if isinstance(value, str | int) else ""
    if not text.isdecimal() or len(text) > len("253402300799000"):  # the end of the year 9999
        return None
    try:
        return datetime.fromtimestamp(int(text) / 1000, UTC)
    except (ValueError, OverflowError):
        return None
