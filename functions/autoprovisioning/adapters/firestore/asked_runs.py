"""The runs that administrators asked for, one document each."""

from __future__ import annotations

from google.cloud import firestore

from autoprovisioning.adapters.firestore.database import Database, fields_of, is_id
from autoprovisioning.adapters.firestore.schema import REQUEST
from autoprovisioning.domain.runs import AskedRun


class FirestoreAskedRuns:
    """The AskedRuns port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, asked: AskedRun) -> None:
        """Store that a run was asked for; `expires` is its TTL field."""
        batch = self._database.client.batch()
        fields = {"asked_by": asked.asked_by, "asked_at": asked.asked_at, "expires": asked.expires}
        batch.set(self._asked(asked.connection_id, asked.id), REQUEST.stamped(fields))
        self._database.write(batch, 1)

    def get(self, connection_id: str, request_id: str) -> AskedRun | None:
        """Read one document."""
        if not is_id(request_id):
            return None
        fields = fields_of(self._database.get(self._asked(connection_id, request_id)))
        return REQUEST.read({**fields, "id": request_id, "connection_id": connection_id}, AskedRun) if fields else None

    def _asked(self, connection_id: str, request_id: str) -> firestore.DocumentReference:
        return self._database.home(connection_id).collection("run_requests").document(request_id)
