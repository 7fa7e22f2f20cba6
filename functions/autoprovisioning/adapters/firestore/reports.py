"""What happened on a connection, read from small documents that the workers keep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime

from autoprovisioning.adapters.firestore.database import Database
from autoprovisioning.app.reports import DayUsage, Failing, Filters, Pace, Page, Waiting
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.runs import Run


class FirestoreReports:
    """The Reports port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def events(self, connection_id: str, filters: Filters, cursor: str, limit: int) -> Page[Event]:
        """Return a page of the audit."""
        raise NotImplementedError

    def every_event(self, connection_id: str, filters: Filters) -> Iterator[Event]:
        """Stream the audit."""
        raise NotImplementedError

    def failures(self, connection_id: str, cursor: str, limit: int) -> Page[Failing]:
        """Return a page of the users who fail now."""
        raise NotImplementedError

    def every_failure(self, connection_id: str) -> Iterator[Failing]:
        """Stream the users who fail now."""
        raise NotImplementedError

    def usage(self, connection_id: str, first: date, last: date) -> Sequence[DayUsage]:
        """Return one entry for each day."""
        raise NotImplementedError

    def pace(self, connection_id: str, since: datetime) -> Pace:
        """Sum up Keeper's answers since then."""
        raise NotImplementedError

    def waiting(self, connection_id: str) -> Waiting:
        """Count the users who wait."""
        raise NotImplementedError

    def runs(self, connection_id: str, limit: int) -> Sequence[Run]:
        """Return the latest runs."""
        raise NotImplementedError
