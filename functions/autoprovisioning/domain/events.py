"""Events: the audit of a connection, one per change, in the words of Google's admin log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from .accounts import Value
from .causes import Cause, Origin, Source
from .entry import EXTERNAL_ID, Action, Entry, Failure


class EventName(StrEnum):
    """What happened. The first five are Google's admin-log names; a failure is any of them that did not succeed."""

    CREATED = "Create User By Auto Provisioning"
    UPDATED = "Update Auto Provisioned User"
    SUSPENDED = "Suspend Auto Provisioned User"
    UNSUSPENDED = "Unsuspend Auto Provisioned User"
    DELETED = "Delete Auto Provisioned User"
    ADOPTED = "Adopt User By Auto Provisioning"
    FAILED = "Failures"
    HELD = "Hold Auto Provisioning"
    CONFIGURED = "Configure Auto Provisioning"
    PAUSED = "Pause Auto Provisioning"
    REAUTHORIZED = "Reauthorize Auto Provisioning"


# What usage counts: what was done to users, and what failed.
USAGE = (
    EventName.CREATED,
    EventName.UPDATED,
    EventName.SUSPENDED,
    EventName.UNSUSPENDED,
    EventName.DELETED,
    EventName.ADOPTED,
    EventName.FAILED,
)


class TeamUsage(StrEnum):
    """What usage counts of teams, of which Google's words know nothing: memberships by person and team."""

    JOINED = "joined"
    LEFT = "left"
    CREATED = "created"
    ADOPTED = "adopted"
    RENAMED = "renamed"


NAME_OF: Mapping[Action, EventName] = {
    Action.CREATE: EventName.CREATED,
    Action.UPDATE: EventName.UPDATED,
    Action.SUSPEND: EventName.SUSPENDED,
    Action.UNSUSPEND: EventName.UNSUSPENDED,
    Action.DELETE: EventName.DELETED,
    Action.RECREATE: EventName.CREATED,
    Action.UNLOCK: EventName.UNSUSPENDED,
    Action.LOCK: EventName.SUSPENDED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who did something: an administrator, by address and directory id; else "run <id>" or "notification <id>" alone.

    The address is the one at that time; the id still identifies the person if the address has changed hands.
    """

    address: str
    directory_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the audit; `id` is the change id, so recording it twice is recording it once.

    `changed` is what was sent, "active" for access given or taken. `before` has the previous values of exactly those
    attributes, as far as known: None if none is, {} for a new account. `after` is every mapped attribute from then on,
    kept so that the next change knows the values before it; empty for a change that wrote no attributes.
    """

    id: str
    at: datetime
    name: EventName
    actor: str  # "run <id>", "notification <id>", or the administrator's address
    user_id: str = ""
    email: str = ""
    attempted: Action | None = None
    changed: Mapping[str, Value] = field(default_factory=dict)  # attribute -> value after the change
    before: Mapping[str, Value] | None = None  # attribute -> value before it
    after: Mapping[str, Value] = field(default_factory=dict)  # every mapped attribute after it: what the next one meets
    reason: str = ""
    code: str = ""  # of a failure
    seconds: float = 0.0  # from decision to Keeper's answer
    recovered: bool = False  # found out after a crash, from the account itself
    actor_id: str = ""  # directory id of the administrator, empty where none acted
    cause: Cause | None = None  # what Google reported, and made us look
    source: Source | None = None  # what told of the change; None where an administrator asked, or it is not known
    latency: float = 0.0  # seconds from the source's own time of the change to when its outcome was known
    teams: tuple[str, ...] = ()  # ids of those that it is about
    joined: tuple[str, ...] = ()  # names of the teams that the user was put into
    left: tuple[str, ...] = ()  # ... and taken out of

    @property
    def unsent(self) -> bool:
        """Say whether a change failed before anything of it was sent to Keeper."""
        return self.name is EventName.FAILED and self.attempted is not None and not self.seconds

    @property
    def team_usage(self) -> Mapping[TeamUsage, int]:
        """Count what it says of teams."""
        if not self.teams:
            return {}
        written = {*self.changed} if self.name is EventName.CONFIGURED else set()
        adopted, named = EXTERNAL_ID in written, TEAM in written and EXTERNAL_ID not in written
        had_one = bool((self.before or {}).get(TEAM))
        counts = {
            TeamUsage.JOINED: len(self.joined),
            TeamUsage.LEFT: len(self.left),
            TeamUsage.CREATED: int(named and not had_one),
            TeamUsage.ADOPTED: int(adopted),
            TeamUsage.RENAMED: int(named and had_one),
        }
        return {each: count for each, count in counts.items() if count}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What every line of the audit begins with: which it is, when it happened, who did it, and what made us look."""

    id: str
    at: datetime
    by: Actor
    origin: Origin | None = None


EDITED = "Edited"  # the reason of a line about an edit of the settings
TURNED_ON_FOR_CHOSEN = "Turned on for chosen people only"
CHOSE_OTHERS = "Changed who the pilot is for"
ENDED_PILOT = "Turned on for everybody"
TURNED_OFF_PILOT = "Turned off, which ended the pilot"
# Each made the connection's edition grow.
EDITS = (EDITED, TURNED_ON_FOR_CHOSEN, CHOSE_OTHERS, ENDED_PILOT, TURNED_OFF_PILOT)
TEAM = "team"  # what is changed of a team: its name
KEEPER = Actor(address="keeper")
RUN = Actor(address="run")
_NOTHING: Mapping[str, Value] = MappingProxyType({})


def _line(stamp: Stamp, name: EventName, **rest: Any) -> Event:
    by, origin = stamp.by, stamp.origin
    if origin is not None:
        latency = max(0.0, (stamp.at - origin.since).total_seconds())
        rest |= {"cause": origin.cause, "source": origin.source, "latency": round(latency, 3)}
    return Event(id=stamp.id, at=stamp.at, name=name, actor=by.address, actor_id=by.directory_id, **rest)


def configured(
    stamp: Stamp, what: str, was: Mapping[str, Value] = _NOTHING, becomes: Mapping[str, Value] = _NOTHING
) -> Event:
    """Record what was done to a connection, with the settings that differ."""
    differing = sorted(key for key in {*was, *becomes} if was.get(key) != becomes.get(key))
    changed = {key: becomes.get(key) for key in differing}
    before = {key: was.get(key) for key in differing}
    return _line(stamp, EventName.CONFIGURED, changed=changed, before=before, reason=what)


def of_team(
    stamp: Stamp,
    what: str,
    team_id: str,
    was: Mapping[str, Value] = _NOTHING,
    becomes: Mapping[str, Value] = _NOTHING,
) -> Event:
    """Record what was done about a team, with what of it differs: its name, or its externalId if it was adopted."""
    return replace(configured(stamp, what, was, becomes), teams=(team_id,))


def decided_about(stamp: Stamp, what: str, was: str, becomes: str) -> Event:
    """Record a decision about a held plan, also one about further members of an approved plan."""
    return _line(stamp, EventName.CONFIGURED, changed={"held plan": becomes}, before={"held plan": was}, reason=what)


def paused(stamp: Stamp, reason: str) -> Event:
    """Record that a connection waits for a new access token."""
    return _line(stamp, EventName.PAUSED, reason=reason)


def reauthorized(stamp: Stamp, reason: str, was: Mapping[str, Value], becomes: Mapping[str, Value]) -> Event:
    """Record that a new access token is in force."""
    return _line(stamp, EventName.REAUTHORIZED, changed=becomes, before=was, reason=reason)


def held(stamp: Stamp, reason: str) -> Event:
    """Record that a plan is held, asked about again, or over."""
    return _line(stamp, EventName.HELD, reason=reason)


def taken_over(stamp: Stamp, user_id: str, email: str, reason: str) -> Event:
    """Record that an account is on the roster from now on, though nothing was changed in Keeper."""
    return _line(stamp, EventName.ADOPTED, user_id=user_id, email=email, reason=reason)


def not_taken_over(stamp: Stamp, user_id: str, email: str) -> Event:
    """Record that an account that was taken over went to another user at the same moment, and is on no roster."""
    reason = "Not taken over after all: a worker was adopting this account for another user at that moment."
    return _line(stamp, EventName.CONFIGURED, user_id=user_id, email=email, reason=reason)


def failed_change(stamp: Stamp, entry: Entry, action: Action | None, failure: Failure) -> Event:
    """Record a failure that did not come from the answer to a write."""
    whom = {"user_id": entry.user_id, "email": entry.email, "attempted": action}
    return _line(stamp, EventName.FAILED, **whom, reason=failure.text, code=failure.code)


def changed(stamp: Stamp, name: EventName, user_id: str, **what: Any) -> Event:
    """Record the outcome of a change; `what` are the other fields of an event."""
    return _line(stamp, name, user_id=user_id, **what)
