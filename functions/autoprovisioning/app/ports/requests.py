"""What administrators ask a worker for, and the many lines that a preview answers with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from autoprovisioning.app.ports.reports import Page
from autoprovisioning.domain.requests import Line, Preview, R, RequestKind, S, WorkRequest, Would


class Requests(Protocol):
    """Requests of all kinds. Whoever stores them deletes one some time after it expired."""

    def open(self, request: WorkRequest[S, R]) -> WorkRequest[S, R]:
        """Store a request, and return it; if one with its id still stands, that is returned instead, and left alone."""

    def put(self, request: WorkRequest[S, R]) -> None:
        """Store how far a request is, all of it; an answer is only replaced by another answer."""

    def get(self, kind: RequestKind[S, R], connection_id: str, request_id: str) -> WorkRequest[S, R] | None:
        """Read one of this kind; it may have expired."""


class PreviewLines(Protocol):
    """The lines of previews, up to one for everybody; they expire with the preview."""

    def put(self, preview: Preview, lines: Iterable[Line]) -> None:
        """Store all of them, in place of any stored before."""

    def page(self, preview: Preview, would: Would | None, cursor: str, limit: int) -> Page[Line]:
        """Return a page of them, of one kind or of all, reading only that part; raises BadInput("cursor")."""

    def every(self, preview: Preview) -> Iterator[Line]:
        """Stream them."""
