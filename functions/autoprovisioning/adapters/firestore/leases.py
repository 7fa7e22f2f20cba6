"""Leases, one document each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud import firestore

from autoprovisioning.adapters.firestore.database import Database, fields_of
from autoprovisioning.document_kinds import LEASE


class FirestoreLeases:
    """The Leases port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, name: str, holder: str, now: datetime, length: timedelta) -> int | None:
        """Take a lease by compare-and-set: a free or an expired one, with the next fence, or prolong our own."""
        taken: list[int] = []

        def apply(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            taken.clear()
            fields = fields_of(snapshot)
            LEASE.check(fields)
            ours = fields.get("holder") == holder
            if fields and not ours and fields["until"] > now:
                return None
            fence = fields["fence"] if ours else fields.get("fence", 0) + 1
            taken.append(fence)
            return LEASE.stamped({"holder": holder, "until": now + length, "fence": fence})

        self._database.edit(self._database.client.collection("leases").document(name), apply)
        return taken[0] if taken else None

    def release(self, name: str, holder: str) -> None:
        """Release a lease early: it expires at the time it was taken, the fence stays."""

        def apply(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            fields = fields_of(snapshot)
            LEASE.check(fields)
            return {"holder": "", "until": datetime.fromtimestamp(0, UTC)} if fields.get("holder") == holder else None

        self._database.edit(self._database.client.collection("leases").document(name), apply)
