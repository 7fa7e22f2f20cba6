"""The records of runs, one document each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.database import Database, fields_of, is_id
from autoprovisioning.document_kinds import RUN
from autoprovisioning.domain.runs import Run, RunState

RUNS_KEPT = timedelta(days=90)
OPEN = (RunState.OBSERVING.value, RunState.PLANNED.value)


class FirestoreRuns:
    """The Runs port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, run: Run) -> None:
        """Store a run's own fields; `done` and `counts` belong to the commits that add to them."""
        batch = self._database.client.batch()
        batch.set(self._run(run.connection_id, run.id), _own_fields(run), merge=True)
        self._database.write(batch, 1)

    def get(self, connection_id: str, run_id: str) -> Run | None:
        """Read a run's record."""
        if not is_id(run_id):
            return None
        snapshot = self._database.get(self._run(connection_id, run_id))
        return run_of(connection_id, snapshot) if snapshot.exists else None

    def open(self, connection_id: str) -> Sequence[Run]:
        """Return the runs that are observing or planned."""
        query = self._runs(connection_id).where(filter=firestore.FieldFilter("state", "in", list(OPEN)))
        return [run_of(connection_id, snapshot) for snapshot in self._database.stream(query)]

    def latest(self, connection_id: str, limit: int) -> Sequence[Run]:
        """Return the latest runs, newest first."""
        query = self._runs(connection_id).order_by("started", direction=firestore.Query.DESCENDING).limit(limit)
        return [run_of(connection_id, snapshot) for snapshot in self._database.stream(query)]

    def change(self, connection_id: str, run_id: str, edit: Callable[[Run], Run | None]) -> Run | None:
        """Compare-and-set a run's own fields."""
        changed: list[Run] = []

        def apply(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            changed.clear()
            wanted = edit(run_of(connection_id, snapshot)) if snapshot.exists else None
            if wanted is None:
                return None
            changed.append(wanted)
            return _own_fields(wanted)

        self._database.edit(self._run(connection_id, run_id), apply)
        return changed[0] if changed else None

    def asked_for(self, connection_id: str, request_id: str) -> Run | None:
        """Return the first of the runs that carry the request: one, or a few where its message came again."""
        query = self._runs(connection_id).where(filter=firestore.FieldFilter("request", "==", request_id))
        found = [run_of(connection_id, snapshot) for snapshot in self._database.stream(query)]
        return min(found, key=lambda run: (run.started, run.id), default=None)

    def _run(self, connection_id: str, run_id: str) -> firestore.DocumentReference:
        return self._runs(connection_id).document(run_id)

    def _runs(self, connection_id: str) -> firestore.CollectionReference:
        return self._database.home(connection_id).collection("runs")


def _own_fields(run: Run) -> dict[str, Any]:
    fields = msgspec.to_builtins(run, builtin_types=(datetime,))
    for name in ("id", "connection_id", "done", "counts", "seats_exhausted"):
        del fields[name]
    return RUN.stamped({**fields, "expires": run.started + RUNS_KEPT})


def run_of(connection_id: str, snapshot: firestore.DocumentSnapshot) -> Run:
    """Return the run a document holds."""
    return RUN.read({**fields_of(snapshot), "id": snapshot.id, "connection_id": connection_id}, Run)
