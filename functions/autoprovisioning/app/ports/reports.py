"""What the console reads about what happened.

No method reads the whole roster: every answer comes from small documents that the workers keep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Generic, Protocol, TypeVar

from autoprovisioning.domain.causes import Source
from autoprovisioning.domain.connections import Deleted
from autoprovisioning.domain.event_search import EventOrder, Filters
from autoprovisioning.domain.events import Event, EventName, TeamUsage
from autoprovisioning.domain.holds import HoldState
from autoprovisioning.domain.latency import Latencies
from autoprovisioning.domain.runs import Run

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Part of a list; `cursor` asks for what follows, empty at the end.

    Of a list that had to be looked through, `looked` is how many were, and `reached` how far back (or on) that went.
    """

    items: tuple[T, ...] = ()
    cursor: str = ""
    looked: int = 0
    reached: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """A user whose last attempt failed: why, and when it is tried again."""

    user_id: str
    email: str
    code: str
    reason: str
    attempted: str
    attempts: int
    first: datetime
    next_attempt: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCause:
    """How many users are failing for one reason, which the code names."""

    code: str
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayUsage:
    """One day's events (UTC), counted by name, and what they say of teams."""

    day: date
    counts: Mapping[EventName, int] = field(default_factory=dict)
    teams: Mapping[TeamUsage, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperAnswers:
    """How Keeper answered: changes carried out, how many of them failed, and the seconds they took together.

    `unsent` counts the changes that failed before anything was sent: a mandatory attribute without a value, say.
    `latencies` tell, for each source, how long those that succeeded took from its own time of the change
    (`domain/causes.py::Origin`).
    """

    changes: int = 0
    failed: int = 0
    seconds: float = 0.0
    unsent: int = 0
    latencies: Mapping[Source, Latencies] = field(default_factory=dict)

    @property
    def attempted(self) -> int:
        """How many changes were due, sent or not."""
        return self.changes + self.unsent

    @property
    def came_to_nothing(self) -> int:
        """How many of them failed."""
        return self.failed + self.unsent


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingUsers:
    """Users with a change that waits for a retry or a new token, and since when the longest has waited."""

    count: int = 0
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPlan:
    """A held plan in a list: the affected users are counted, by action and by what became of each, not named."""

    digest: str
    state: HoldState
    raised_at: datetime
    reason: str
    counts: Mapping[str, int]
    decided_by: str = ""
    decided_at: datetime | None = None
    standings: Mapping[str, int] = field(default_factory=dict)


class EventReports(Protocol):
    """The audit of a connection, newest first unless another order is asked for."""

    def events(
        self, connection_id: str, filters: Filters, cursor: str, limit: int, *, order: EventOrder = EventOrder.NEWEST
    ) -> Page[Event]:
        """Return a page of the audit; raises BadInput("cursor") for one we did not make.

        What no index answers is looked for among a bounded number of events: a page may be empty and have a cursor. The
        oldest first, a page always has a cursor unless there was nothing yet: readers go on from there later.
        """

    def every_event(self, connection_id: str, filters: Filters) -> Iterator[Event]:
        """Stream the audit, for an export; memory does not grow with it."""


class UserReports(Protocol):
    """Users who fail or wait now, newest first."""

    def failures(self, connection_id: str, cursor: str, limit: int, code: str = "") -> Page[Failing]:
        """Return a page of the users who are failing, all or those with one code; raises BadInput("cursor")."""

    def every_failure(self, connection_id: str, code: str = "") -> Iterator[Failing]:
        """Stream the users who are failing, all or those with one code."""

    def causes(self, connection_id: str) -> Sequence[FailureCause]:
        """Count the users who are failing by code, most first."""

    def failing_users(self, connection_id: str) -> int:
        """Count the users who are failing."""

    def waiting(self, connection_id: str) -> WaitingUsers:
        """Count the users who wait."""


class UsageReports(Protocol):
    """How much was done, and how Keeper answered."""

    def usage(self, connection_id: str, first: date, last: date) -> Sequence[DayUsage]:
        """Return one entry for each day from first to last, oldest first, those without events included."""

    def pace(self, connection_id: str, since: datetime) -> KeeperAnswers:
        """Sum up Keeper's answers since then, to the full hour, and how long changes took to get there."""


class PlanReports(Protocol):
    """Held plans, newest first."""

    def plans_held(self, connection_id: str) -> int:
        """Count the held plans that wait for a decision."""

    def decided(self, connection_id: str) -> Sequence[HeldPlan]:
        """Return the plans that are being carried out by approval, or keep somebody by rejection."""

    def holds(self, connection_id: str, cursor: str, limit: int) -> Page[HeldPlan]:
        """Return a page of the plans except those that ended undecided; raises BadInput("cursor")."""


class HistoryReports(Protocol):
    """Runs, and connections that are gone, newest first."""

    def runs(self, connection_id: str, cursor: str, limit: int) -> Page[Run]:
        """Return a page of the runs; raises BadInput("cursor")."""

    def deleted(self, cursor: str, limit: int) -> Page[Deleted]:
        """Return a page of the connections whose configuration was deleted; raises BadInput("cursor")."""


class Reports(EventReports, UserReports, UsageReports, PlanReports, HistoryReports, Protocol):
    """What happened on a connection: everything that pages and API show without reading a roster."""
