"""What the console reads and asks for, as ports: reports on what happened, previews, and inquiries about one user.

No method reads the whole roster: every answer comes from small documents that the workers keep.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from autoprovisioning.app.configure import Settings
from autoprovisioning.domain.accounts import Account
from autoprovisioning.domain.connections import Deleted
from autoprovisioning.domain.events import Actor, Event, EventName
from autoprovisioning.domain.holds import HoldState
from autoprovisioning.domain.runs import Run

T = TypeVar("T")


def question_id(actor: Actor, *subject: str) -> str:
    """Name what this administrator asks: whoever asks the same again while it waits means the same document."""
    asked = json.dumps([actor.directory_id or actor.address, *subject])
    return hashlib.blake2b(asked.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Part of a list; `cursor` asks for what follows, empty at the end."""

    items: tuple[T, ...] = ()
    cursor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which events are wanted; empty fields do not restrict.

    `user` is a directory id, or the address that the user had then; `actor` is an administrator's address,
    "run <id>" or "notification <id>"; `since` is included, `until` is not.
    """

    name: EventName | None = None
    user: str = ""
    actor: str = ""
    since: datetime | None = None
    until: datetime | None = None


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
class DayUsage:
    """One day's events (UTC), counted by name."""

    day: date
    counts: Mapping[EventName, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How Keeper answered: changes carried out, how many of them failed, and the seconds they took together.

    `unsent` counts the changes that failed before anything was sent: a mandatory attribute without a value, say.
    """

    changes: int = 0
    failed: int = 0
    seconds: float = 0.0
    unsent: int = 0

    @property
    def attempted(self) -> int:
        """How many changes were due, sent or not."""
        return self.changes + self.unsent

    @property
    def came_to_nothing(self) -> int:
        """How many of them failed."""
        return self.failed + self.unsent


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Users with a change that waits for a retry or a new token, and since when the longest has waited."""

    count: int = 0
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPlan:
    """A held plan in a list: the users it affects are counted, by action and by what became of each, not named."""

    digest: str
    state: HoldState
    raised_at: datetime
    reason: str
    counts: Mapping[str, int]
    decided_by: str = ""
    decided_at: datetime | None = None
    standings: Mapping[str, int] = field(default_factory=dict)


class Reports(Protocol):
    """What happened on a connection. Lists are newest first."""

    def events(self, connection_id: str, filters: Filters, cursor: str, limit: int) -> Page[Event]:
        """Return a page of the audit; raises BadInput("cursor") for one we did not make."""

    def every_event(self, connection_id: str, filters: Filters) -> Iterator[Event]:
        """Stream the audit, for an export; memory does not grow with it."""

    def failures(self, connection_id: str, cursor: str, limit: int) -> Page[Failing]:
        """Return a page of the users who fail now; raises BadInput("cursor")."""

    def every_failure(self, connection_id: str) -> Iterator[Failing]:
        """Stream the users who fail now."""

    def failing_users(self, connection_id: str) -> int:
        """Count the users who fail now."""

    def usage(self, connection_id: str, first: date, last: date) -> Sequence[DayUsage]:
        """Return one entry for each day from first to last, oldest first, those without events included."""

    def pace(self, connection_id: str, since: datetime) -> Pace:
        """Sum up Keeper's answers since then, to the full hour."""

    def waiting(self, connection_id: str) -> Waiting:
        """Count the users who wait."""

    def plans_held(self, connection_id: str) -> int:
        """Count the held plans that wait for a decision."""

    def decided(self, connection_id: str) -> Sequence[HeldPlan]:
        """Return the plans that are being carried out by approval, or keep somebody by rejection, newest first."""

    def holds(self, connection_id: str, cursor: str, limit: int) -> Page[HeldPlan]:
        """Return a page of the plans but those that ended undecided; raises BadInput("cursor")."""

    def runs(self, connection_id: str, cursor: str, limit: int) -> Page[Run]:
        """Return a page of the runs; raises BadInput("cursor")."""

    def deleted(self, cursor: str, limit: int) -> Page[Deleted]:
        """Return a page of the connections whose configuration was deleted; raises BadInput("cursor")."""


class PreviewState(StrEnum):
    """How far a preview is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Would(StrEnum):
    """What would happen to a user, in the order in which a preview lists it."""

    DELETE = "delete"
    SUSPEND = "suspend"
    UNSUSPEND = "unsuspend"
    CREATE = "create"
    ADOPT = "adopt"
    DOUBT = "doubt"  # an account under their address may be somebody else's: an administrator may confirm it
    UPDATE = "update"
    FAIL = "fail"
    WAIT = "wait"  # a deprovisioning timer would run: suspended or deleted later, by the policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a connection would do with these settings: asked for by an administrator, computed by `reconcile`.

    `edition` is the connection's when it was asked for, so that saving it is refused if that changed since.
    `counts` are by `Would`, and "unchanged"; `held` says that all it deprovisions would be held.
    """

    id: str
    connection_id: str
    edition: int
    settings: Settings
    asked_by: str
    asked_at: datetime
    expires: datetime
    state: PreviewState = PreviewState.WAITING
    finished: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    held: bool = False
    notes: tuple[str, ...] = ()
    problem: str = ""  # why it failed

    @property
    def computing(self) -> bool:
        """Say whether it is still to be computed."""
        return self.state in (PreviewState.WAITING, PreviewState.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One user of a preview."""

    would: Would
    user_id: str
    email: str
    detail: str = ""  # the attributes that would change, the trigger, or why it would fail
    scim_id: str = ""  # of the account to adopt, of the one in doubt, or of one under an alias that is left alone


class Previews(Protocol):
    """Previews, which expire by themselves."""

    def open(self, preview: Preview, since: datetime) -> Preview:
        """Store a preview that was asked for, and return it.

        One with its id that was asked for after `since`, and is not computed yet, is returned instead and left alone.
        """

    def put(self, preview: Preview) -> None:
        """Store a preview's own fields."""

    def get(self, connection_id: str, preview_id: str) -> Preview | None:
        """Read one; None where there is none, or it expired."""

    def fill(self, preview: Preview, lines: Iterable[Line]) -> None:
        """Store its lines, then the preview itself, so that one that is done is whole."""

    def lines(self, preview: Preview, would: Would | None, cursor: str, limit: int) -> Page[Line]:
        """Return a page of its lines, of one kind or of all, reading only that part; raises BadInput("cursor")."""

    def every_line(self, preview: Preview) -> Iterator[Line]:
        """Stream its lines."""


class InquiryKind(StrEnum):
    """EXPLAIN: look into Keeper, change nothing. PROVISION: converge the user now, then look."""

    EXPLAIN = "explain"
    PROVISION = "provision"


class InquiryState(StrEnum):
    """How far an inquiry is."""

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing a worker did for this user."""

    at: datetime
    text: str
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """A question about one user that only a worker can answer: it alone reads the access token.

    `account` is the user's account in Keeper as found at the end, None where there is none.
    """

    id: str
    connection_id: str
    user_id: str
    kind: InquiryKind
    asked_by: str
    asked_at: datetime
    expires: datetime
    state: InquiryState = InquiryState.WAITING
    finished: datetime | None = None
    steps: tuple[Step, ...] = ()
    account: Account | None = None
    problem: str = ""
    asked_by_id: str = ""  # directory id


class Inquiries(Protocol):
    """Inquiries, which expire by themselves."""

    def open(self, inquiry: Inquiry, since: datetime) -> Inquiry:
        """Store an inquiry that was asked, and return it.

        One with its id that was asked after `since`, and still waits, is returned instead and left alone.
        """

    def put(self, inquiry: Inquiry) -> None:
        """Store an inquiry whole."""

    def get(self, connection_id: str, inquiry_id: str) -> Inquiry | None:
        """Read one; None where there is none, or it expired."""
