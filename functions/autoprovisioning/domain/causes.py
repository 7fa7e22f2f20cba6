"""What made us look at a user: which source told of them, since when, and what Google reported of who changed what.

A cause is a hint, never proof. An entry of the audit log only made us look; the look decided, and may have met more
than that one change. Nothing is decided by a cause, and whoever may publish an entry can write any.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from .directory_user import Presence

LONGEST_ADDRESS = 254  # characters; RFC 5321 4.5.3.1 allows a path of 256, with its brackets
LONGEST_EVENT = 64
GOOGLE = "Google System"  # as Google's log names it where nobody acted: in dynamic groups, say
# What Workspace allows in an address, and Google Cloud in one of a service account: no sign that a page, a terminal or
# a spreadsheet could take for anything else.
ADDRESS = re.compile(r"[a-z0-9][a-z0-9._'+-]*@[a-z0-9][a-z0-9.-]*")
EVENT = re.compile(r"[A-Z][A-Z_]*")
# As what the directory shows a user for as long as it lags behind what was reported.
NOT_YET = {
    "SUSPEND_USER": frozenset({Presence.ACTIVE}),
    "ARCHIVE_USER": frozenset({Presence.ACTIVE, Presence.SUSPENDED}),
    "UNSUSPEND_USER": frozenset({Presence.SUSPENDED}),
    "UNARCHIVE_USER": frozenset({Presence.ARCHIVED}),
}
ADDED = "ADD_GROUP_MEMBER"
LEFT, JOINED = frozenset({"REMOVE_GROUP_MEMBER"}), frozenset({ADDED, "UPDATE_GROUP_MEMBER"})
KEPT = timedelta(minutes=20)  # for a sweep that has still to find the change
MOST_KEPT = 100  # causes


class Source(StrEnum):
    """What told of a change: an entry of the audit log, a notification of the directory, or our own listings."""

    EVENT = "event"
    NOTIFICATION = "notification"
    RUN = "run"  # of any kind, sweeps included


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What Google reported that somebody did in Workspace: `event` is the name that its admin log has for it.

    `actor` is an address or "Google System", `group` an address; each is empty where it was not told, or unfit.
    """

    at: datetime
    event: str = ""
    actor: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which source made us look, and since when a change waits, by the source's own time.

    Of an entry of the audit log that is Google's time of the change; of a notification, which has none, when it came
    in; of a run or a sweep, when it found the difference.
    """

    source: Source
    since: datetime
    cause: Cause | None = None


def checked(cause: Cause | None) -> Cause | None:
    """Return a cause without what does not fit; None where there is none, or none with a time."""
    if cause is None or cause.at.tzinfo is None:
        return None
    try:
        at = cause.at.astimezone(UTC)
    except OverflowError:  # at the edge of the calendar: neither a page nor the database could take it
        return None
    event = cause.event if len(cause.event) <= LONGEST_EVENT and EVENT.fullmatch(cause.event) else ""
    actor = GOOGLE if cause.actor.strip().casefold() == GOOGLE.casefold() else _address(cause.actor)
    return replace(cause, at=at, event=event, actor=actor, group=_address(cause.group))


def _address(text: str) -> str:
    text = text.strip().casefold()
    return text if len(text) <= LONGEST_ADDRESS and ADDRESS.fullmatch(text) else ""


def kept(known: Mapping[str, Cause], more: Mapping[str, Cause], now: datetime) -> dict[str, Cause]:
    """Return both, by directory id: of each user the latest, of the last minutes, and not more than may be stored."""
    latest = dict(known)
    for user_id, cause in more.items():
        if user_id not in latest or latest[user_id].at <= cause.at:
            latest[user_id] = cause
    recent = {user_id: cause for user_id, cause in latest.items() if now - KEPT < cause.at <= now + KEPT}
    return dict(sorted(recent.items(), key=lambda item: (item[1].at, item[0]))[-MOST_KEPT:])


def of_difference(causes: Mapping[str, Cause], user_id: str, *, left: bool) -> Cause | None:
    """Return what was reported of somebody whom a sweep found to have joined, or to have left; else None."""
    cause = causes.get(user_id)
    return cause if cause is not None and cause.event in (LEFT if left else JOINED) else None
