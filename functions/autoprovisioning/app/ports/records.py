"""The small documents: runs, guard, held plans, leases, events of no single user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from autoprovisioning.domain.events import Event
from autoprovisioning.domain.guard import GuardState
from autoprovisioning.domain.holds import Hold
from autoprovisioning.domain.runs import AskedRun, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who adopts an account, with which change; a user who tries again claims it anew."""

    user_id: str
    change_id: str


class Records(Protocol):
    """The small documents: runs, guard, holds, leases, events of no single user."""

    def put_run(self, run: Run) -> None:
        """Store a run's record whole."""

    def run(self, connection_id: str, run_id: str) -> Run | None:
        """Read a run's record."""

    def open_runs(self, connection_id: str) -> Sequence[Run]:
        """Return the runs in state OBSERVING or PLANNED."""

    def put_asked(self, asked: AskedRun) -> None:
        """Store that a run was asked for."""

    def asked(self, connection_id: str, request_id: str) -> AskedRun | None:
        """Read that; one that has expired may be there for some time."""

    def run_asked_for(self, connection_id: str, request_id: str) -> Run | None:
        """Return the first run that was opened because of a request."""

    def change_run(self, connection_id: str, run_id: str, edit: Callable[[Run], Run | None]) -> Run | None:
        """Apply `edit` to a run's own fields (never `done` and `counts`, which commits add to) by compare-and-set."""

    def change_guard(self, connection_id: str, edit: Callable[[GuardState], GuardState | None]) -> GuardState | None:
        """Apply `edit` to the guard by compare-and-set; None from `edit` changes nothing and is returned.

        It has room for every reservation that `ROOM` admits.
        """

    def hold(self, connection_id: str, digest: str) -> Hold | None:
        """Read a held plan with its members."""

    def holds(self, connection_id: str) -> Sequence[Hold]:
        """Return the held plans that wait, are approved, or keep somebody by rejection, newest first, with members."""

    def put_hold(self, connection_id: str, hold: Hold, raised: Event | None = None) -> None:
        """Store a held plan, and the event that tells of it."""

    def change_hold(
        self,
        connection_id: str,
        digest: str,
        edit: Callable[[Hold], Hold | None],
        tell: Callable[[Hold, Hold], Event | None] | None = None,
    ) -> Hold | None:
        """Apply `edit` to a held plan's verdicts by compare-and-set, never to its members; None changes nothing.

        The event that `tell` makes of before and after, if any, is stored with the change, or neither is.
        """

    def claim_account(self, connection_id: str, scim_id: str, claim: Claim, instead_of: Claim | None = None) -> Claim:
        """Claim an account for adoption and return the claim in force: another's, where they came first.

        The user's own earlier claim is replaced, and so is `instead_of`, provided that it is in force still.
        """

    def swept(self, connection_id: str) -> frozenset[str]:
        """Return what `put_swept` stored."""

    def put_swept(self, connection_id: str, names: frozenset[str]) -> None:
        """Remember which differences the scope sweep published; an unbounded set is cut short."""

    def record(self, connection_id: str, events: Sequence[Event]) -> None:
        """Append events that belong to no roster change."""

    def lease(self, name: str, holder: str, now: datetime, length: timedelta) -> int | None:
        """Take a lease and return its fence (grows with each holder), or None while another holds it."""

    def release(self, name: str, holder: str) -> None:
        """Give a lease back early."""
