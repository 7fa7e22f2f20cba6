"""The runs that are due later, in one document: there are at most some dozen."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.database import Database, fields_of
from autoprovisioning.document_kinds import DUE_RUNS
from autoprovisioning.domain.due_runs import GRID, DueRun, DueRunSet, added, struck
from autoprovisioning.domain.runs import RunKind


class _Times(msgspec.Struct):
    sweep: list[datetime] = []
    full: list[datetime] = []


class FirestoreDueRuns:
    """The DueRuns port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Collection[DueRun]:
        """Return them."""
        return _runs(fields_of(self._database.get(self._document())))

    def add(self, runs: Collection[DueRun], now: datetime) -> None:
        """Store more; nothing is written if all of them are stored."""
        self._edit(lambda known: added(known, runs, now))

    def strike(self, kind: RunKind, until: datetime) -> None:
        """Remove those that were due until then."""
        self._edit(lambda known: struck(known, kind, until))

    def _edit(self, change: Callable[[DueRunSet], DueRunSet]) -> None:
        def apply(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            known = _runs(fields_of(snapshot))
            changed = change(known)
            return DUE_RUNS.stamped(_fields(changed)) if changed != known else None

        self._database.edit(self._document(), apply)

    def _document(self) -> firestore.DocumentReference:
        return self._database.client.collection("due_runs").document("state")


def _runs(fields: dict[str, Any]) -> DueRunSet:
    times = DUE_RUNS.read(fields, _Times)
    found = {RunKind.SWEEP: times.sweep, RunKind.FULL: times.full}
    return frozenset(DueRun(kind=kind, at=at) for kind, several in found.items() for at in several)


def _fields(runs: Collection[DueRun]) -> dict[str, Any]:
    return {kind.value: sorted(run.at for run in runs if run.kind is kind) for kind in GRID}
