"""The records of runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from autoprovisioning.domain.runs import Run


class Runs(Protocol):
    """The records of runs. `done` and `counts` of a run belong to the roster commits that add to them."""

    def put(self, run: Run) -> None:
        """Store a run's own fields."""

    def get(self, connection_id: str, run_id: str) -> Run | None:
        """Read a run's record."""

    def open(self, connection_id: str) -> Sequence[Run]:
        """Return the runs in state OBSERVING or PLANNED."""

    def latest(self, connection_id: str, limit: int) -> Sequence[Run]:
        """Return the latest runs, newest first."""

    def change(self, connection_id: str, run_id: str, edit: Callable[[Run], Run | None]) -> Run | None:
        """Apply `edit` to a run's own fields by compare-and-set; None from `edit` changes nothing and is returned."""

    def asked_for(self, connection_id: str, request_id: str) -> Run | None:
        """Return the first run that was opened because of a request."""
