"""The set-ups under way, each in a document of its own: the connection's would use up its id."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.database import Database, fields_of
from autoprovisioning.document_kinds import SET_UP


class _SetUp(msgspec.Struct):
    begun: datetime


class FirestoreSetUps:
    """The SetUps port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, connection_id: str, now: datetime) -> None:
        """Note it."""
        batch = self._database.client.batch()
        batch.set(self._collection().document(connection_id), SET_UP.stamped({"begun": now}))
        self._database.write(batch, 1)

    def begun(self) -> Mapping[str, datetime]:
        """Read the notes: there are none, except for set-ups that are under way or were cut short."""
        found = self._database.stream(self._collection())
        return {snapshot.id: SET_UP.read(fields_of(snapshot), _SetUp).begun for snapshot in found}

    def end(self, connection_id: str) -> None:
        """Remove the note."""
        batch = self._database.client.batch()
        batch.delete(self._collection().document(connection_id))
        self._database.write(batch, 1)

    def _collection(self) -> firestore.CollectionReference:
        return self._database.client.collection("set_ups")
