"""The roster: who is provisioned on a connection, in what state.

An Entry is what we know of one directory user on one connection. `version` grows with every recorded decision; a
change planned on an older version is dropped and the user looked at again, so a stale plan never undoes a newer
decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


class Status(StrEnum):
    """The state of the account as we last left or found it."""

    NONE = "none"  # no account known
    ACTIVE = "active"
    SUSPENDED = "suspended"  # by us
    DELETED = "deleted"  # by us (Keeper locks on DELETE)
    LOCKED = "locked"  # by someone else: left as it is, reported


class Action(StrEnum):
    """What a change does to the account."""

    CREATE = "create"  # look up, adopt if adoptable, else create
    UPDATE = "update"
    SUSPEND = "suspend"
    UNSUSPEND = "unsuspend"
    DELETE = "delete"

    @property
    def deprovisions(self) -> bool:
        """Say whether it takes access away: counted by the volume guard."""
        return self in (Action.SUSPEND, Action.DELETE)

    @property
    def rereads(self) -> bool:
        """Say whether the user must be read again, alone, right before it is carried out."""
        return self in (Action.SUSPEND, Action.DELETE, Action.UNSUSPEND)


class Trigger(StrEnum):
    """Why a user is deprovisioned, in the console's order."""

    APP_OFF = "app_off"
    SUSPENDED = "suspended"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Mark:
    """A SCIM call may be under way; once `until` has passed its outcome is unknown and the account is fetched first.

    `sent` digests what an update sends (`accounts.one_by_one`), to be compared with what the account then shows; empty
    for other actions, and in marks that were stored before it was kept.
    """

    change_id: str
    message_id: str
    action: Action
    until: datetime
    again: bool = False  # someone asked to look again meanwhile
    sent: str = ""

    def live(self, now: datetime) -> bool:
        """Say whether the holder may still be working."""
        return now < self.until


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the last attempt failed; retried from `next_attempt`, at once when the user changes (`about` differs)."""

    code: str
    text: str  # at most 200 characters
    attempts: int
    first: datetime
    next_attempt: datetime
    about: str  # what was attempted: action and whole fingerprint

    @property
    def trying(self) -> bool:
        """Say whether the attempt is made again at once: nobody is told of a failure yet."""
        return self.attempts <= AT_ONCE and self.next_attempt <= self.first


TEXT_LIMIT = 200
AT_ONCE = 2  # attempts that say nothing of the user and are made again at once; the next one is that user's failure
FIRST_RETRY = timedelta(minutes=15)
LAST_RETRY = timedelta(hours=24)


def failed(previous: Failure | None, code: str, text: str, about: str, now: datetime, *, at_once: int = 0) -> Failure:
    """Count one more failed attempt: 15 minutes, doubling to 24 hours, starting over when the user changed.

    The first `at_once` attempts are made again without a wait.
    """
    again = previous if previous is not None and previous.about == about else None
    attempts = again.attempts + 1 if again else 1
    first = again.first if again else now
    waits = attempts - at_once - 1
    due = now + min(FIRST_RETRY * 2 ** min(waits, 10), LAST_RETRY) if waits >= 0 else first
    return Failure(code, text[:TEXT_LIMIT], attempts, first, due, about)


@dataclass(frozen=True, slots=True)
class Entry:
    """One directory user on one connection."""

    user_id: str
    version: int = 0
    email: str = ""  # the userName last applied, or the primary address last seen
    scim_id: str = ""
    fingerprint: str = ""
    status: Status = Status.NONE
    in_scope: bool = False  # as last proven by a complete listing or a direct answer
    timers: Mapping[Trigger, datetime] = field(default_factory=dict)  # when each trigger was first seen
    frozen_at: datetime | None = None  # archived since: timers stand still
    mark: Mark | None = None
    pending: bool = False  # something waits for the connection to be reauthorized
    held: Action | None = None  # the volume guard refused this action
    failure: Failure | None = None
    last_action_at: datetime | None = None
    gone: bool = False  # the directory user is deleted
    applied_by: str = ""  # the change that wrote attributes last: its event holds what the account has
    held_by: Trigger | None = None  # why `held` was due: what another trigger makes due is another matter
    missing_since: datetime | None = None  # a complete listing lacked the user, and nothing told of this one alone
    shown: str | None = None  # `remembered`: what Keeper made of what we wrote last; None where it has not shown that
