"""Deprovisioning: how long users keep their account after a trigger, and when what is due.

Per trigger an account is suspended after and/or deleted after a number of days; 0 is Google's "within 24 hours" and
means at the next look, None is never. Deleting must come later than suspending.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from .errors import BadInput
from .roster import Trigger

WITHIN_24_HOURS = 0
LONGEST_DAYS = 3650


@dataclass(frozen=True, slots=True)
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
            problem = f"{self.delete_after} days is not later than suspending after {self.suspend_after}"
            raise BadInput(f"deprovisioning.{name}.delete_after", problem, "Delete later than you suspend.")


@dataclass(frozen=True, slots=True)
class Deprovisioning:
    """The policy of a connection: delays for each of the three triggers."""

    app_off: Delays = field(default_factory=Delays)
    suspended: Delays = field(default_factory=Delays)
    deleted: Delays = field(default_factory=Delays)

    def of(self, trigger: Trigger) -> Delays:
        """Return the delays of one trigger."""
        match trigger:
            case Trigger.APP_OFF:
                return self.app_off
            case Trigger.SUSPENDED:
                return self.suspended
            case Trigger.DELETED:
                return self.deleted

    def check(self) -> None:
        """Refuse a policy whose delays are out of range or in the wrong order (BadInput names the field)."""
        for trigger in Trigger:
            self.of(trigger).check(trigger.value)


@dataclass(frozen=True, slots=True)
class Due:
    """When the earliest suspension and deletion fall due; None is never.

    `suspend_by` and `delete_by` name the trigger: of several that are due the one seen last, since what was decided
    about an older reason (a rejected plan) says nothing about a newer one.
    """

    suspend: datetime | None = None
    suspend_by: Trigger | None = None
    delete: datetime | None = None
    delete_by: Trigger | None = None


def observe(
    timers: Mapping[Trigger, datetime], triggers: Mapping[Trigger, datetime | None], now: datetime
) -> dict[Trigger, datetime]:
    """Carry on the timers of triggers still seen, start those of new ones, drop the rest.

    `triggers` maps each trigger seen now to the directory's own time for it, where the directory says. A running timer
    that is later than that has stood still meanwhile; one that is earlier belongs to another time: the user returned
    in between, unseen, and the trigger began anew.
    """
    seen: dict[Trigger, datetime] = {}
    for trigger, told in triggers.items():
        running = timers.get(trigger)
        started = told if told is not None and told <= now else now
        seen[trigger] = max(running, started) if running is not None and told is not None else running or started
    return seen


Span = tuple[datetime, datetime]


def standing_still(since: datetime, spans: Iterable[Span], now: datetime) -> timedelta:
    """Return how much of the time since then fell into spans in which timers stand still (connection off)."""
    total = timedelta()
    for start, end in spans:
        total += max(timedelta(), min(end, now) - max(start, since))
    return total


def due(policy: Deprovisioning, timers: Mapping[Trigger, datetime], frozen: Iterable[Span], now: datetime) -> Due:
    """Tell when suspension and deletion fall due; with several triggers the earliest wins."""
    spans = tuple(frozen)
    suspend: list[_At] = []
    delete: list[_At] = []
    for trigger, since in timers.items():
        started = since + standing_still(since, spans, now)
        delays = policy.of(trigger)
        if delays.suspend_after is not None:
            suspend.append((started + timedelta(days=delays.suspend_after), since, trigger))
        if delays.delete_after is not None:
            delete.append((started + timedelta(days=delays.delete_after), since, trigger))
    return Due(*_earliest(suspend, now), *_earliest(delete, now))


_At = tuple[datetime, datetime, Trigger]  # due at, seen since, by


def _earliest(candidates: list[_At], now: datetime) -> tuple[datetime | None, Trigger | None]:
    if not candidates:
        return None, None
    at, _, trigger = min(candidates)
    due_now = [(since, other) for when, since, other in candidates if when <= now]
    return at, max(due_now)[1] if due_now else trigger
