"""What somebody else changed in Keeper: one document a connection, with the latest changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.database import Database, fields_of
from autoprovisioning.decoding import built
from autoprovisioning.document_kinds import KEEPER_CHANGES
from autoprovisioning.domain.keeper_changes import KeeperChange, with_newer

MOST_BYTES = 900_000  # a document has 1 MiB at most; a change has some 300 bytes

_changes = msgspec.msgpack.Decoder(built(list[KeeperChange]))


class FirestoreKeeperChanges:
    """The KeeperChanges port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, connection_id: str, changes: Sequence[KeeperChange], now: datetime) -> None:
        """Write the document anew; the oldest that no longer fit are left out."""

        def change(snapshot: firestore.DocumentSnapshot) -> dict[str, Any]:
            kept = with_newer(_read(snapshot), changes, now)
            packed = msgspec.msgpack.encode(kept)
            while len(packed) > MOST_BYTES:
                kept = kept[: len(kept) * MOST_BYTES // len(packed)]
                packed = msgspec.msgpack.encode(kept)
            return KEEPER_CHANGES.stamped({"changes": packed})

        self._database.edit(self._document(connection_id), change)

    def get(self, connection_id: str) -> Sequence[KeeperChange]:
        """Read one document."""
        return _read(self._database.get(self._document(connection_id)))

    def _document(self, connection_id: str) -> firestore.DocumentReference:
        return self._database.home(connection_id).collection("keeper_changes").document("latest")


def _read(snapshot: firestore.DocumentSnapshot) -> list[KeeperChange]:
    fields = fields_of(snapshot)
    KEEPER_CHANGES.check(fields)
    return _changes.decode(fields["changes"]) if fields else []
