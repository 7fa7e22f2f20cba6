"""The runs that are due later, in one document: there are at most some dozen."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.database import Database, fields_of
from autoprovisioning.app.ports.due_runs import NO_CAUSES
from autoprovisioning.decoding import built
from autoprovisioning.document_kinds import DUE_RUNS
from autoprovisioning.domain.causes import Cause, kept
from autoprovisioning.domain.due_runs import GRID, DueRun, DueRunSet, added, struck
from autoprovisioning.domain.runs import RunKind

Causes = Mapping[str, Cause]


class _Times(msgspec.Struct):
    sweep: list[datetime] = []
    full: list[datetime] = []
    causes: str = "{}"  # one JSON text: of a map Firestore would index every user


class FirestoreDueRuns:
    """The DueRuns port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Collection[DueRun]:
        """Return them."""
        return _runs(self._stored())

    def causes(self) -> Causes:
        """Return what was reported of users."""
        return _causes(self._stored())

    def add(self, runs: Collection[DueRun], now: datetime, causes: Causes = NO_CAUSES) -> None:
        """Store more; nothing is written if all of them are stored."""
        self._edit(lambda known: added(known, runs, now), lambda known: kept(known, causes, now))

    def strike(self, kind: RunKind, until: datetime) -> None:
        """Remove those that were due until then."""
        self._edit(lambda known: struck(known, kind, until), lambda known: known)

    def _edit(self, change: Callable[[DueRunSet], DueRunSet], tell: Callable[[Causes], Causes]) -> None:
        def apply(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            times = _read(fields_of(snapshot))
            known, told = _runs(times), _causes(times)
            changed, telling = change(known), tell(told)
            if (changed, telling) == (known, told):
                return None
            return DUE_RUNS.stamped({**_fields(changed), "causes": msgspec.json.encode(telling).decode()})

        self._database.edit(self._document(), apply)

    def _stored(self) -> _Times:
        return _read(fields_of(self._database.get(self._document())))

    def _document(self) -> firestore.DocumentReference:
        return self._database.client.collection("due_runs").document("state")


def _read(fields: dict[str, Any]) -> _Times:
    return DUE_RUNS.read(fields, _Times)


def _runs(times: _Times) -> DueRunSet:
    found = {RunKind.SWEEP: times.sweep, RunKind.FULL: times.full}
    return frozenset(DueRun(kind=kind, at=at) for kind, several in found.items() for at in several)


def _causes(times: _Times) -> Causes:
    return msgspec.json.decode(times.causes, type=built(dict[str, Cause]))


def _fields(runs: Collection[DueRun]) -> dict[str, Any]:
    return {kind.value: sorted(run.at for run in runs if run.kind is kind) for kind in GRID}
