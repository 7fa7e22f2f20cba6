"""A run: one reconciliation of one connection, from its plan to its last recorded batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from .causes import Cause
from .changes import PlannedChange

Counts = Mapping[str, int]  # created, updated, suspended, unsuspended, deleted, adopted, failed, held, unchanged ...
ARCHIVED = "archived"  # among a run's counts: archived people who keep their access; not where nobody was listed
UNSENT = "unsent"  # ... those of the failed ones of which nothing was sent
UNDER_ALIASES = "under_aliases"  # ... new accounts beside one under an alias of their user
UNSETTLED = "unsettled"  # among a run's counts: what was planned, and left to a look of its own
OUTCOMES = ("created", "adopted", "updated", "suspended", "unsuspended", "deleted", "failed", UNSETTLED)
KEEP_ACCESS = "keep_access"  # ... and leavers who keep theirs: their suspension is held, or waits for whole listings


class RunKind(StrEnum):
    """What a run looks at: everybody, the members of the scope groups, or who differs in Keeper's own listing."""

    FULL = "full"
    SWEEP = "sweep"
    DRIFT = "drift"


class RunState(StrEnum):
    """How far a run is. Every one but the first two is an end, and DONE alone says that nothing is left.

    PLANNED: batches are out. DONE: whatever was planned is settled, be it as a failure or as held. UNSETTLED: every
    batch is recorded, but the outcome of some changes is not known yet. SUPERSEDED: closed with work left, which the
    next run does.
    """

    OBSERVING = "observing"  # listing and planning; from here on what is decided of anybody is recorded
    PLANNED = "planned"
    DONE = "done"
    UNSETTLED = "unsettled"
    SUPERSEDED = "superseded"
    REFUSED = "refused"  # the directory or Keeper could not be read; nothing was planned


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The record of one run.

    `edition` is the connection's when the run began: what was planned for other settings is not carried out. `counts`
    say what became of it: created, updated ..., failed, held, unchanged, unsettled, and the outside requests by name.
    """

    id: str
    connection_id: str
    kind: RunKind
    fence: int
    started: datetime
    state: RunState = RunState.OBSERVING
    finished: datetime | None = None
    batches: int = 0
    done: Mapping[str, int] = field(default_factory=dict)  # finished batch -> batches that carry on with its rest
    planned: Counts = field(default_factory=dict)
    counts: Counts = field(default_factory=dict)
    seats_exhausted: bool = False
    complete: bool = True  # every listing was read to its end, Keeper's too, and none was empty beside active accounts
    notes: tuple[str, ...] = ()
    last_progress: datetime | None = None
    edition: int = 0
    request: str = ""  # id of the request (`domain/requests.py`) because of which it was opened

    @property
    def unsettled(self) -> int:
        """How many of the changes and looks planned its batches left to a look of their own."""
        return self.counts.get(UNSETTLED, 0)

    @property
    def to_do(self) -> int:
        """How many people it planned a change or a look for."""
        return sum(self.planned.values())

    @property
    def settled(self) -> int:
        """For how many of them it is known what became of it: as far as it can be told, since not every look counts."""
        if self.ended:
            return self.to_do
        return min(sum(self.counts.get(name, 0) for name in OUTCOMES), self.to_do)

    @property
    def ended(self) -> bool:
        """Say whether nothing more is done for it."""
        return self.state not in (RunState.OBSERVING, RunState.PLANNED)

    @property
    def batches_left(self) -> int:
        """How many batches are not done, each with those that carry on with its rest.

        A batch that carries on with nobody's rest does not count: its worker died before it recorded the one before,
        which was then done to its end.
        """
        return sum(not self._finished(str(number)) for number in range(1, self.batches + 1))

    def _finished(self, number: str) -> bool:
        while self.done.get(number):
            number += "+"
        return number in self.done


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a complete listing proved about one user, carried with "look again"."""

    missing: bool = False  # a complete listing of the customer lacks the id
    left: tuple[str, ...] = ()  # connections of which no complete derived listing of a scope group has the id
    listed: bool = False  # the listing of the customer has the user
    joined: tuple[str, ...] = ()  # connections of which a listing of a scope group has the id, which was in none before
    left_teams: tuple[str, ...] = ()  # groups that are teams, of which a complete derived listing lacks the id


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """ "Look at user X again": all a notification or a plan says of a user whose access may change.

    Nothing that it says of who acted is believed: `cause` is shown as what Google reported, beside who looked.
    """

    user_id: str
    event: str = ""  # add, update, delete, undelete, makeAdmin, or sync of a new channel; empty from our own runs
    evidence: Evidence = field(default_factory=Evidence)
    asked_at: datetime | None = None
    channel: str = ""  # the notification channel it came through
    inquiry: str = ""  # "<connection>/<inquiry>" of an administrator who waits for the answer; with the event
    # "provision" the user is converged, else only looked into, so that this is known when the inquiry has expired
    retry_failures: bool = False  # an administrator asked for the run: do not wait for the next attempt
    cause: Cause | None = None  # what the audit log reported
    # Ids of groups that are teams, which the user joined or left: the directory is asked whether they are a member. A
    # version that does not know them leaves the memberships to a run.
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Part of a run, at most 500 writes and 1 MiB; `looks` are converged one by one.

    `fence` is the run's: the version before this one drops a batch that has another.
    """

    connection_id: str
    run_id: str
    fence: int
    number: str
    changes: tuple[PlannedChange, ...] = ()
    looks: tuple[Look, ...] = ()
