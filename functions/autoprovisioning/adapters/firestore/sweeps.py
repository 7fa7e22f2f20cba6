"""What the scope sweep published last, one document a connection."""

from __future__ import annotations

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.database import Database, fields_of
from autoprovisioning.decoding import built
from autoprovisioning.document_kinds import SWEEP

KEPT = 50_000  # names of 16 characters: below 1 MiB


class FirestoreSweeps:
    """The Sweeps port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, connection_id: str) -> frozenset[str]:
        """Return the differences that the scope sweep published last."""
        fields = fields_of(self._database.get(self._sweep(connection_id)))
        SWEEP.check(fields)
        return msgspec.msgpack.decode(fields["names"], type=built(frozenset[str])) if fields else frozenset()

    def put(self, connection_id: str, names: frozenset[str]) -> None:
        """Remember them, as many as one document holds."""
        batch = self._database.client.batch()
        batch.set(self._sweep(connection_id), SWEEP.stamped({"names": msgspec.msgpack.encode(sorted(names)[:KEPT])}))
        self._database.write(batch, 1)

    def _sweep(self, connection_id: str) -> firestore.DocumentReference:
        return self._database.home(connection_id).collection("sweep").document("state")
