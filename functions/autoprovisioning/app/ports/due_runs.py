"""The runs that were asked for and not made yet, and what was reported of those whom they may find."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Protocol

from autoprovisioning.domain.causes import Cause
from autoprovisioning.domain.due_runs import DueRun
from autoprovisioning.domain.runs import RunKind

NO_CAUSES: Mapping[str, Cause] = MappingProxyType({})


class DueRuns(Protocol):
    """What is due now or later; `domain/due_runs.py` says what is kept of it."""

    def all(self) -> Collection[DueRun]:
        """Return them."""

    def add(self, runs: Collection[DueRun], now: datetime, causes: Mapping[str, Cause] = NO_CAUSES) -> None:
        """Store more, and what was reported of users, by directory id: the latest of each (`causes.kept`)."""

    def causes(self) -> Mapping[str, Cause]:
        """Return what was reported of users, by directory id."""

    def strike(self, kind: RunKind, until: datetime) -> None:
        """Remove those of a kind that were due until then: one was made for all of them."""
