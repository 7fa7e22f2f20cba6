"""Inquiries, which expire."""

from __future__ import annotations

from autoprovisioning.adapters.firestore.database import Database
from autoprovisioning.app.ports import Clock
from autoprovisioning.app.reports import Inquiry


class FirestoreInquiries:
    """The Inquiries port."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def put(self, inquiry: Inquiry) -> None:
        """Store an inquiry whole."""
        raise NotImplementedError

    def get(self, connection_id: str, inquiry_id: str) -> Inquiry | None:
        """Read one."""
        raise NotImplementedError
