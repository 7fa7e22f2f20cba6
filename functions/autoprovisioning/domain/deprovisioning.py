"""Deprovisioning: how long users keep their account after a trigger, and when what is due.

Per trigger an account is suspended after and/or deleted after a number of days; 0 is Google's "within 24 hours" and
means at the next look, None is never. Deleting must come later than suspending.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from .entry import Timer, Trigger
from .errors import BadInput

WITHIN_24_HOURS = 0
LONGEST_DAYS = 3650
NEVER = datetime.max.replace(tzinfo=UTC)  # later than any other time
CLOCKS_APART = timedelta(minutes=5)  # at most: the directory's, and that of whoever saw a trigger first


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """Days until the account is suspended and until it is deleted; None is never."""

    suspend_after: int | None = WITHIN_24_HOURS
    delete_after: int | None = None

    def check(self, name: str) -> None:
        """Refuse delays that are out of range or in the wrong order.

        Raises:
            BadInput: naming the field.
        """
        for part, days in (("suspend_after", self.suspend_after), ("delete_after", self.delete_after)):
            if days is not None and not 0 <= days <= LONGEST_DAYS:
                mend = f"Use 0 for within 24 hours, a number of days up to {LONGEST_DAYS}, or null for never."
                raise BadInput(f"deprovisioning.{name}.{part}", f"{days} is out of range", mend)
        if self.suspend_after is not None and self.delete_after is not None and self.delete_after <= self.suspend_after:
            problem = (
                f"day {self.delete_after} is not later than day {self.suspend_after}, when the account is suspended"
            )
            raise BadInput(f"deprovisioning.{name}.delete_after", problem, "Delete later than you suspend.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deprovisioning:
    """The policy of a connection: delays for each of the three triggers."""

    app_off: Delays = field(default_factory=Delays)
    suspended: Delays = field(default_factory=Delays)
    deleted: Delays = field(default_factory=Delays)

    def of(self, trigger: Trigger) -> Delays:
        """Return the delays of one trigger."""
        return {
            Trigger.APP_OFF: self.app_off,
            Trigger.SUSPENDED: self.suspended,
            Trigger.DELETED: self.deleted,
        }[trigger]

    def check(self) -> None:
        """Refuse a policy whose delays are out of range or in the wrong order (BadInput names the field)."""
        for trigger in Trigger:
            self.of(trigger).check(trigger.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """When the earliest suspension and deletion fall due, which may be NEVER.

    `suspend_by` and `delete_by` name the trigger: of several that are due the one seen last, since what was decided
    about an older reason (a rejected plan) says nothing about a newer one.
    """

    suspend: datetime = NEVER
    suspend_by: Trigger | None = None
    delete: datetime = NEVER
    delete_by: Trigger | None = None


Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """A connection's own clock, by which timers run: it stands still while the connection is off.

    `stood` is for how long it has stood still in all, up to the `last` time, which is over; `off_since` is since when
    it stands still now.
    """

    stood: timedelta = timedelta()
    last: Span | None = None
    off_since: datetime | None = None

    def at(self, moment: datetime) -> datetime:
        """Return what it shows at a moment; before the last time that it stood still, earlier ones are not told apart.

        Whatever begins while a connection is on is seen within minutes, and has a timer that runs by this clock before
        the connection is turned off twice.
        """
        if self.off_since is not None:
            moment = min(moment, self.off_since)
        if self.last is None or moment >= self.last[1]:
            return moment - self.stood
        start, end = self.last
        return min(moment, start) - (self.stood - (end - start))

    def stood_by(self, timer: Timer, moment: datetime) -> bool:
        """Say whether it stood still after a timer began, and the moment is not before that."""
        return self.last is not None and timer.since < self.last[1] and moment >= self.last[0]

    def stopped(self, now: datetime) -> Clock:
        """Return the clock of a connection that is turned off."""
        return replace(self, off_since=self.off_since or now)

    def started(self, now: datetime) -> Clock:
        """Return the clock of a connection that is turned on."""
        if self.off_since is None:
            return self
        return Clock(stood=self.stood + (now - self.off_since), last=(self.off_since, now))


def observe(
    timers: Mapping[Trigger, Timer],
    triggers: Mapping[Trigger, datetime | None],
    clock: Clock,
    now: datetime,
    *,
    standing: Collection[Trigger] = (),
    left_out: Collection[Span] = (),
) -> dict[Trigger, Timer]:
    """Carry on the timers of triggers still seen, start those of new ones, drop the rest.

    `triggers` maps each trigger seen now to the directory's own time for it, where the directory says; the timers of
    those `standing` stand still, and stood still while the user was `left_out`, even if nobody saw that. What the
    directory dates later than its timer, and not before the connection was off, ended then, unseen, and began again. No
    other later time is believed: if one moved at each look, nothing would ever fall due.
    """

    def timer(trigger: Trigger, told: datetime | None) -> Timer:
        since, known = min(told or now, now), timers.get(trigger)
        stands = trigger in standing
        if known is None or (
            told and not stands and since - known.since > CLOCKS_APART and clock.stood_by(known, since)
        ):
            known = Timer(since=since, running_since=None if stands else clock.at(since))
        for start, end in left_out:  # a timer that was stopped for it, and runs again, does so from its end or later
            over = clock.at(min(end, now))
            if known.running_since is not None and known.running_since < over.replace(microsecond=0):  # as it is stored
                known = known.stopped(clock.at(start)).running(over)
        return known.stopped(clock.at(now)) if stands else known.running(clock.at(now))

    return {trigger: timer(trigger, told) for trigger, told in triggers.items()}


def due(policy: Deprovisioning, timers: Mapping[Trigger, Timer], clock: Clock, now: datetime) -> Due:
    """Tell when suspension and deletion fall due; with several triggers the earliest wins.

    Nothing falls due by a timer that stands still; while the connection is off it is as if it were turned on now.
    """
    running = [
        (now - timer.elapsed(clock.at(now)), timer.since, trigger)
        for trigger, timer in timers.items()
        if timer.running_since is not None
    ]

    def earliest(after: Callable[[Delays], int | None]) -> tuple[datetime, Trigger | None]:
        dates = [
            (started + timedelta(days=days), since, trigger)
            for started, since, trigger in running
            if (days := after(policy.of(trigger))) is not None
        ]
        at, _, first = min(dates, default=(NEVER, NEVER, None))
        due_now = [(since, trigger) for when, since, trigger in dates if when <= now]
        return at, max(due_now, default=(at, first))[1]

    suspend, suspend_by = earliest(lambda delays: delays.suspend_after)
    delete, delete_by = earliest(lambda delays: delays.delete_after)
    return Due(suspend=suspend, suspend_by=suspend_by, delete=delete, delete_by=delete_by)
