"""The roster: who is provisioned on a connection, in what state.

An Entry is what we know of one directory user on one connection. `version` grows with every recorded decision; a
change planned on an older version is dropped and the user looked at again, so a stale plan never undoes a newer
decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum


class Status(StrEnum):
    """The state of the account as we last left or found it."""

    NONE = "none"  # no account known
    ACTIVE = "active"
    SUSPENDED = "suspended"  # by us
    LOCKED = "locked"  # found so, and by no record of ours: an observation, which may be outdated


class Action(StrEnum):
    """What a change does to the account."""

    CREATE = "create"  # look up, adopt if adoptable, else create
    UPDATE = "update"
    SUSPEND = "suspend"
    UNSUSPEND = "unsuspend"
    DELETE = "delete"
    RECREATE = "recreate"  # an account that vanished from Keeper; planned and guarded as such, carried out as CREATE
    UNLOCK = "unlock"  # what somebody else locked: only as an administrator approved it, however few there are
    LOCK = "lock"  # an account that nobody provisions: on no roster, and so no part of what a run plans

    @property
    def deprovisions(self) -> bool:
        """Say whether it takes access away."""
        return self in (Action.SUSPEND, Action.DELETE)

    @property
    def writes(self) -> bool:
        """Say whether it writes attributes."""
        return self in (Action.CREATE, Action.UPDATE, Action.RECREATE)

    @property
    def rereads(self) -> bool:
        """Say whether the user must be read again, alone, right before it is carried out."""
        return self in (Action.SUSPEND, Action.DELETE, Action.UNSUSPEND, Action.UNLOCK, Action.RECREATE)


class Trigger(StrEnum):
    """Why a user is deprovisioned, in the console's order."""

    APP_OFF = "app_off"
    SUSPENDED = "suspended"
    DELETED = "deleted"


# What of an account somebody may change in Keeper, besides its attributes: that it exists, its access, whose it is.
ACCOUNT, ACCESS, EXTERNAL_ID = "account", "active", "externalId"
GROUPS = "groups"  # teams, as SCIM calls them: never in an entry's `drift`, since nothing of them is repaired


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """How long a trigger has lasted.

    `since` is when it began: the directory's own time where it tells, else when it was first seen. It stays for as long
    as the trigger lasts: what administrators decide about a trigger is kept under it. `accrued` is what had passed
    when the timer last stood still; from `running_since` on it runs by the connection's clock, None while it does not.
    """

    since: datetime
    accrued: timedelta = timedelta()
    running_since: datetime | None = None

    @property
    def ran(self) -> bool:
        """Say whether it ever did."""
        return self.running_since is not None or self.accrued > timedelta()

    def elapsed(self, at: datetime) -> timedelta:
        """Return how long it has run when the connection's clock shows that."""
        return self.accrued + max(at - (self.running_since or at), timedelta())

    def running(self, at: datetime) -> Timer:
        """Return the timer as it goes on, or as it does already."""
        return self if self.running_since is not None else replace(self, running_since=at)

    def stopped(self, at: datetime) -> Timer:
        """Return the timer as it stands still, or as it does already."""
        return self if self.running_since is None else Timer(since=self.since, accrued=self.elapsed(at))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A SCIM call may be under way; once `until` has passed its outcome is unknown and the account is fetched first.

    `sent` digests what an update sends (`accounts.one_by_one`), to be compared with what the account then shows; empty
    for other actions, and in marks that were stored before it was kept.
    """

    change_id: str
    message_id: str
    action: Action
    until: datetime
    sent: str = ""

    def live(self, now: datetime) -> bool:
        """Say whether the holder may still be working."""
        return now < self.until

    def wait(self, now: datetime) -> float:
        """Return the seconds to wait for a live mark to run out, at least one."""
        return max(1.0, (self.until - now).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """A membership of ours that Keeper's own listing does not show.

    It was sent at `since` and waits; or, `seen`, it was shown, and is missed since then: somebody ended it in Keeper.
    """

    team_id: str
    since: datetime
    seen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
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
    attempts, first = 1, now
    if previous is not None and previous.about == about:
        attempts, first = previous.attempts + 1, previous.first
    waits = attempts - at_once - 1
    due = now + min(FIRST_RETRY * 2 ** min(waits, 10), LAST_RETRY) if waits >= 0 else first
    return Failure(code=code, text=text[:TEXT_LIMIT], attempts=attempts, first=first, next_attempt=due, about=about)


def live_mark(entry: Entry | None, now: datetime) -> Mark | None:
    """Return the mark of an entry whose holder may still be working, None where there is none."""
    mark = entry.mark if entry is not None else None
    return mark if mark is not None and mark.live(now) else None


def addressees(roster: Mapping[str, Entry]) -> dict[str, str]:
    """Return who has which address, casefolded, as last applied: address -> directory id."""
    return {entry.email.casefold(): user_id for user_id, entry in roster.items() if entry.scim_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One directory user on one connection."""

    user_id: str
    version: int = 0
    email: str = ""  # the userName last applied, or the primary address last seen
    scim_id: str = ""
    fingerprint: str = ""
    status: Status = Status.NONE
    in_scope: bool = False  # as last proven by a complete listing or a direct answer
    timers: Mapping[Trigger, Timer] = field(default_factory=dict)  # of the triggers seen
    mark: Mark | None = None
    pending: bool = False  # something waits for the connection to be reauthorized
    failure: Failure | None = None
    last_action_at: datetime | None = None
    gone: bool = False  # the directory user is deleted
    applied_by: str = ""  # the change that wrote attributes last: its event holds what the account has
    missing_since: datetime | None = None  # a complete listing lacked the user, and nothing told of this one alone
    deleted: bool = False  # suspended by a DELETE of ours: Keeper locks on it, and it is not sent again
    drift: tuple[str, ...] = ()  # what a listing of Keeper found changed there and is still to be repaired, by name
    taken_over: bool = False  # only to be deprovisioned: nothing of the account was written yet
    # LOCKED: when it was last found so, which names what is approved. SUSPENDED: when we locked it, where that was
    # kept. NONE: what was lost was locked by us until then.
    locked_at: datetime | None = None
    shown: str | None = None  # `remembered`: what Keeper made of what we wrote last; None where it has not shown that
    teams: tuple[str, ...] = ()  # ids of those that we put the account into and have not taken it out of, sorted
    asked: tuple[str, ...] = ()  # of those that it may have been put into: the answer is not known
    unseen: tuple[Unseen, ...] = ()  # of `teams`, those that no listing of Keeper has shown yet, or shows any more
    again: bool = False  # somebody who met a live mark asked for another look, and nobody has looked since

    @property
    def quiet(self) -> bool:
        """Say whether nothing of the user waits: for a time, an attempt, an outcome, a listing, a look, a repair."""
        waits = self.timers or self.failure or self.mark or self.pending or self.missing_since
        return not (waits or self.again or self.drift)

    @property
    def entitled(self) -> bool:
        """Say whether the directory entitles the user to an account: in scope, and nothing begun to take it away."""
        return self.in_scope and not self.timers

    @property
    def sent_teams(self) -> tuple[str, ...]:
        """The teams that the account is in by our doing, or may be."""
        return tuple(sorted({*self.teams, *self.asked})) if self.asked else self.teams  # twice for everybody in a run

    def reopened(self) -> Entry:
        """Return the entry of an account that Keeper shows active: no lock of it is left."""
        return replace(self, status=Status.ACTIVE, deleted=False, locked_at=None)

    def locked(self, at: datetime | None) -> Entry:
        """Return the entry of an account that somebody else locked, found so at that time."""
        return replace(self, status=Status.LOCKED, deleted=False, locked_at=at)

    def drifted(self, *names: str) -> Entry:
        """Return the entry with more that somebody else changed in Keeper."""
        return replace(self, drift=tuple(dict.fromkeys((*self.drift, *names))))

    def without_drift(self, name: str) -> Entry:
        """Return the entry with that as it was left."""
        return replace(self, drift=tuple(each for each in self.drift if each != name)) if self.drift else self
