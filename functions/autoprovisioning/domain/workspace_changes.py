"""What entries of Workspace's audit log say was changed: whom to look at again, or whom a listing must find.

Two shapes reach us for a change of a group's members, as duplicates of each other: the Admin log's
(admin.googleapis.com, an event with parameters) and Groups Enterprise's (cloudidentity.googleapis.com, a delta of
roles). Both name addresses, no ids. Names of events: the Admin SDK Reports API's appendices "User Settings" and "Group
Settings". Nothing here is believed: it only decides where to look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from .runs import RunKind

ADMIN = "admin.googleapis.com"
GROUPS = "cloudidentity.googleapis.com"
UPDATE_MEMBERSHIP = "google.apps.cloudidentity.groups.v1.MembershipsService.UpdateMembership"
LONGEST_ADDRESS = 320  # characters; RFC 5321 4.5.3.1 allows a path of 256
MOST_EVENTS = 100  # that are read of one entry; Google sends one


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminEvent:
    """One event of an Admin log entry, with its parameters by name."""

    name: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipDelta:
    """What a Groups Enterprise entry says: the group and the member as <type>:<address>, and whether a role went."""

    group: str
    member: str
    removes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """What is read of an entry of the audit log. Who and when are as Google reported them."""

    service: str
    method: str
    actor: str = ""
    at: datetime | None = None
    events: tuple[AdminEvent, ...] = ()
    membership: MembershipDelta | None = None


class MemberType(StrEnum):
    """What a member is, as Groups Enterprise says; the Admin log gives an address alone."""

    USER = "user"
    GROUP = "group"
    UNTOLD = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChanged:
    """Something of a user was changed; `name` is what Google's log calls it.

    `addresses` are theirs, the likelier one first. `event` is the one that a notification of it would have.
    `may_enter`: somebody on no roster may be in scope from now on.
    """

    name: str
    addresses: tuple[str, ...]
    event: str
    may_enter: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberChanged:
    """A member was added to a group or removed from it, or has another role there: `name` as the admin log calls it."""

    name: str
    group: str
    member: str
    type: MemberType
    removed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyChanged:
    """More was changed than the entry names: `finds` is what finds it."""

    finds: RunKind


Change = UserChanged | MemberChanged | ManyChanged


# Events after which somebody who has no account may be due one; named as the notification of the same change.
ENTER = {
    "CREATE_USER": "add",
    "UNDELETE_USER": "undelete",
    "MOVE_USER_TO_ORG_UNIT": "update",
    "UNSUSPEND_USER": "update",
    "UNARCHIVE_USER": "update",
}
# Events that change what is decided about a user, or a field that can be mapped. CHANGE_PASSWORD and the like do not.
OTHERS = {
    "DELETE_USER": "delete",
    **dict.fromkeys(
        (
            "SUSPEND_USER",
            "ARCHIVE_USER",
            "RENAME_USER",
            "ADD_NICKNAME",
            "REMOVE_NICKNAME",
            "CHANGE_DISPLAY_NAME",
            "CHANGE_FIRST_NAME",
            "CHANGE_LAST_NAME",
            "ADD_RECOVERY_EMAIL",
            "CHANGE_RECOVERY_EMAIL",
            "REMOVE_RECOVERY_EMAIL",
            "ADD_RECOVERY_PHONE",
            "CHANGE_RECOVERY_PHONE",
            "REMOVE_RECOVERY_PHONE",
            "GRANT_ADMIN_PRIVILEGE",
            "REVOKE_ADMIN_PRIVILEGE",
        ),
        "update",
    ),
}
FIELD_CHANGED = "CHANGE_USER_"  # ..._PHONE_NUMBER, ..._ORGANIZATION, ..._CUSTOM_FIELD and others
MEMBERS = {"ADD_GROUP_MEMBER": False, "UPDATE_GROUP_MEMBER": False, "REMOVE_GROUP_MEMBER": True}
MANY = {
    "GROUP_MEMBER_BULK_UPLOAD": RunKind.SWEEP,
    "DELETE_GROUP": RunKind.SWEEP,  # it may have been nested in a scope group: nobody can ask any more
    "USERS_BULK_UPLOAD": RunKind.FULL,
}


def changes_of(entry: LogEntry) -> tuple[Change, ...]:
    """Return what an entry says was changed; nothing for entries of other services, and for events that do not matter.

    An event that lacks what it needs says nothing.
    """
    if entry.service == ADMIN:
        return tuple(_told_by_admin(entry))
    if entry.service == GROUPS and entry.method == UPDATE_MEMBERSHIP and entry.membership is not None:
        return tuple(_told_by_groups(entry.membership))
    return ()


def tells_of_users(entry: LogEntry) -> bool:
    """Say whether an entry reports a change of a user, as a notification of the directory would, too."""
    return any(isinstance(change, UserChanged) for change in changes_of(entry))


def _told_by_admin(entry: LogEntry) -> Iterator[Change]:
    for event in entry.events[:MOST_EVENTS]:
        user, group = (_address(event.parameters.get(name, "")) for name in ("USER_EMAIL", "GROUP_EMAIL"))
        if event.name in MANY:
            yield ManyChanged(finds=MANY[event.name])
        elif event.name in MEMBERS:
            if user and group:
                removed = MEMBERS[event.name]
                yield MemberChanged(name=event.name, group=group, member=user, type=MemberType.UNTOLD, removed=removed)
        elif user and event.name in ENTER:
            yield UserChanged(name=event.name, addresses=(user,), event=ENTER[event.name], may_enter=True)
        elif user and (event.name in OTHERS or event.name.startswith(FIELD_CHANGED)):
            addresses = (
                (_address(event.parameters.get("NEW_VALUE", "")), user) if event.name == "RENAME_USER" else (user,)
            )
            told = OTHERS.get(event.name, "update")
            told_of = tuple(filter(None, addresses))
            yield UserChanged(name=event.name, addresses=told_of, event=told, may_enter=False)


def _told_by_groups(delta: MembershipDelta) -> Iterator[Change]:
    group_type, _, group = delta.group.partition(":")
    member_type, _, member = delta.member.partition(":")
    group, member = _address(group), _address(member)
    if group and member and group_type == MemberType.GROUP and member_type in (MemberType.USER, MemberType.GROUP):
        name = "REMOVE_GROUP_MEMBER" if delta.removes else "ADD_GROUP_MEMBER"
        yield MemberChanged(name=name, group=group, member=member, type=MemberType(member_type), removed=delta.removes)


def _address(text: str) -> str:
    """Return an address as it is compared, "" for what is none."""
    text = text.strip().casefold()
    name, at, domain = text.rpartition("@")
    usable = name and at and domain and len(text) <= LONGEST_ADDRESS and text.isprintable() and " " not in text
    return text if usable else ""
