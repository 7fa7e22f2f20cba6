"""What administrators ask a worker for, in memory, for tests of the use cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from autoprovisioning.app.ports.reports import Page
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.requests import AnyRequest, Line, Preview, Would


@dataclass
class StoredRequests:
    """The requests of each connection, and the lines of those that are previews."""

    requests: dict[str, dict[str, AnyRequest]] = field(default_factory=lambda: defaultdict(dict))
    lines: dict[str, dict[str, tuple[Line, ...]]] = field(default_factory=lambda: defaultdict(dict))

    def forget(self, connection_id: str) -> None:
        self.requests.pop(connection_id, None)
        self.lines.pop(connection_id, None)


class FakeRequests:
    """The Requests port."""

    def __init__(self, stored: StoredRequests) -> None:
        self._requests = stored.requests

    def open(self, request: AnyRequest) -> AnyRequest:
        known = self.get(request.kind, request.connection_id, request.id)
        if known is not None and known.stands(request.asked_at):
            return known
        self._requests[request.connection_id][request.id] = request
        return request

    def put(self, request: AnyRequest) -> None:
        known = self.get(request.kind, request.connection_id, request.id)
        if known is None or known.gives_way_to(request):
            self._requests[request.connection_id][request.id] = request

    def get(self, kind: Any, connection_id: str, request_id: str) -> Any:
        request = self._requests[connection_id].get(request_id)
        return request if request is not None and request.kind == kind else None


class FakePreviewLines:
    """The PreviewLines port."""

    def __init__(self, stored: StoredRequests) -> None:
        self._lines = stored.lines

    def put(self, preview: Preview, lines: Iterable[Line]) -> None:
        self._lines[preview.connection_id][preview.id] = tuple(lines)

    def page(self, preview: Preview, would: Would | None, cursor: str, limit: int) -> Page[Line]:
        if cursor and not cursor.isdecimal():
            raise BadInput("cursor", "it was not made here", "Start again with the first page.")
        start = int(cursor or 0)
        wanted = [line for line in self.every(preview) if would in (None, line.would)]
        return Page(
            items=tuple(wanted[start : start + limit]), cursor=str(start + limit) if start + limit < len(wanted) else ""
        )

    def every(self, preview: Preview) -> Iterator[Line]:
        return iter(self._lines[preview.connection_id].get(preview.id, ()))
