"""When each source of changes was heard, one small document each."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.database import Database, fields_of
from autoprovisioning.document_kinds import SOURCE
from autoprovisioning.domain.sources import AllHeard, Feed, Heard, heard


class _Note(msgspec.Struct):
    latest: datetime | None = None
    hours: list[datetime] = []


class FirestoreSources:
    """The Sources port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> AllHeard:
        """Return what is known; a source of a later version is none that this one knows."""
        found = self._database.stream(self._database.client.collection("sources"))
        known = {each.value for each in Feed}
        return {Feed(each.id): _heard(fields_of(each)) for each in found if each.id in known}

    def hear(self, source: Feed, at: datetime, *, user: bool) -> None:
        """Note that one was heard."""

        def apply(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            known = _heard(fields_of(snapshot))
            changed = heard(known, at, user=user)
            if changed == known:
                return None
            return SOURCE.stamped({"latest": changed.latest, "hours": sorted(changed.hours)})

        self._database.edit(self._database.client.collection("sources").document(source.value), apply)


def _heard(fields: dict[str, Any]) -> Heard:
    note = SOURCE.read(fields, _Note)
    return Heard(latest=note.latest, hours=frozenset(note.hours))
