"""Previews and their lines, which expire."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from autoprovisioning.adapters.firestore.database import Database
from autoprovisioning.app.ports import Clock
from autoprovisioning.app.reports import Line, Page, Preview, Would


class FirestorePreviews:
    """The Previews port."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def put(self, preview: Preview) -> None:
        """Store a preview's own fields."""
        raise NotImplementedError

    def get(self, connection_id: str, preview_id: str) -> Preview | None:
        """Read one."""
        raise NotImplementedError

    def fill(self, preview: Preview, lines: Iterable[Line]) -> None:
        """Store its lines, then the preview itself."""
        raise NotImplementedError

    def lines(self, preview: Preview, would: Would | None, cursor: str, limit: int) -> Page[Line]:
        """Return a page of its lines."""
        raise NotImplementedError

    def every_line(self, preview: Preview) -> Iterator[Line]:
        """Stream its lines."""
        raise NotImplementedError
