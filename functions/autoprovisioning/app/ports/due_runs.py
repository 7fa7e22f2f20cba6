"""The runs that were asked for and not made yet."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from autoprovisioning.domain.due_runs import DueRun
from autoprovisioning.domain.runs import RunKind


class DueRuns(Protocol):
    """What is due now or later; `domain/due_runs.py` says what is kept of it."""

    def all(self) -> Collection[DueRun]:
        """Return them."""

    def add(self, runs: Collection[DueRun], now: datetime) -> None:
        """Store more."""

    def strike(self, kind: RunKind, until: datetime) -> None:
        """Remove those of a kind that were due until then: one was made for all of them."""
