"""What the last listings showed of the directory's size, in one document."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.database import Database, fields_of
from autoprovisioning.decoding import built
from autoprovisioning.document_kinds import LISTINGS
from autoprovisioning.domain.listing_parts import Listings


class _Stored(msgspec.Struct):
    sizes: bytes = msgspec.msgpack.encode({})  # encoded: a map's keys would be indexed one by one
    whole_at: datetime | None = None
    doubted_at: datetime | None = None
    waited: float | None = None  # seconds
    unread: tuple[str, ...] = ()


class FirestoreListings:
    """The ListingSizes port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self) -> Listings:
        """Return what was stored last."""
        stored = LISTINGS.read(fields_of(self._database.get(self._document())), _Stored)
        sizes = msgspec.msgpack.decode(stored.sizes, type=built(dict[str, int]))
        waited = None if stored.waited is None else timedelta(seconds=stored.waited)
        return Listings(
            sizes=sizes,
            whole_at=stored.whole_at,
            doubted_at=stored.doubted_at,
            waited=waited,
            unread=stored.unread,
        )

    def put(self, listings: Listings) -> None:
        """Store it whole."""
        sizes = msgspec.msgpack.encode(dict(listings.sizes))
        waited = None if listings.waited is None else listings.waited.total_seconds()
        fields = {
            "sizes": sizes,
            "whole_at": listings.whole_at,
            "doubted_at": listings.doubted_at,
            "waited": waited,
            "unread": list(listings.unread),
        }
        batch = self._database.client.batch()
        batch.set(self._document(), LISTINGS.stamped(fields))
        self._database.write(batch, 1)

    def _document(self) -> firestore.DocumentReference:
        return self._database.client.collection("listings").document("state")
