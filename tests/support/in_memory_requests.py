"""Previews and inquiries in memory, for tests of the use cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from autoprovisioning.app.ports.execution import Clock
from autoprovisioning.app.ports.reports import Page
from autoprovisioning.app.ports.requests import Inquiry, InquiryState, Line, Preview, Would
from autoprovisioning.domain.errors import BadInput


class FakePreviews:
    """The Previews port."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._previews: dict[tuple[str, str], Preview] = {}
        self._lines: dict[tuple[str, str], tuple[Line, ...]] = {}

    def open(self, preview: Preview, since: datetime) -> Preview:
        known = self.get(preview.connection_id, preview.id)
        if known is not None and known.computing and known.asked_at > since:
            return known
        self._lines.pop((preview.connection_id, preview.id), None)
        self.put(preview)
        return preview

    def put(self, preview: Preview) -> None:
        self._previews[preview.connection_id, preview.id] = preview

    def get(self, connection_id: str, preview_id: str) -> Preview | None:
        preview = self._previews.get((connection_id, preview_id))
        return preview if preview is not None and self._clock() < preview.expires else None

    def fill(self, preview: Preview, lines: Iterable[Line]) -> None:
        self._lines[preview.connection_id, preview.id] = tuple(lines)
        self.put(preview)

    def lines(self, preview: Preview, would: Would | None, cursor: str, limit: int) -> Page[Line]:
        if cursor and not cursor.isdecimal():
            raise BadInput("cursor", "it was not made here", "Start again with the first page.")
        start = int(cursor or 0)
        wanted = [line for line in self.every_line(preview) if would in (None, line.would)]
        return Page(
            items=tuple(wanted[start : start + limit]), cursor=str(start + limit) if start + limit < len(wanted) else ""
        )

    def every_line(self, preview: Preview) -> Iterator[Line]:
        return iter(self._lines.get((preview.connection_id, preview.id), ()))


class FakeInquiries:
    """The Inquiries port."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._inquiries: dict[tuple[str, str], Inquiry] = {}

    def open(self, inquiry: Inquiry, since: datetime) -> Inquiry:
        known = self.get(inquiry.connection_id, inquiry.id)
        if known is not None and known.state is InquiryState.WAITING and known.asked_at > since:
            return known
        self.put(inquiry)
        return inquiry

    def put(self, inquiry: Inquiry) -> None:
        self._inquiries[inquiry.connection_id, inquiry.id] = inquiry

    def get(self, connection_id: str, inquiry_id: str) -> Inquiry | None:
        inquiry = self._inquiries.get((connection_id, inquiry_id))
        return inquiry if inquiry is not None and self._clock() < inquiry.expires else None
