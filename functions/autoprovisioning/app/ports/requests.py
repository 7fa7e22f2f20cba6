"""What administrators ask a worker for, and the many lines that a preview answers with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from autoprovisioning.app.ports.reports import Page
from autoprovisioning.domain.requests import Preview, R, RequestKind, S, WorkRequest


class Requests(Protocol):
    """Requests of all kinds. Whoever stores them deletes one some time after it expired."""

    def open(self, request: WorkRequest[S, R]) -> WorkRequest[S, R]:
        """Store a request, and return it; one with its id that stands is returned instead, and left alone."""

    def put(self, request: WorkRequest[S, R]) -> None:
        """Store how far a request is, whole; an answer stays, but for another answer."""

    def get(self, kind: RequestKind[S, R], connection_id: str, request_id: str) -> WorkRequest[S, R] | None:
        """Read one of this kind; it may have expired."""


class Would(StrEnum):
    """What would happen to a user, in the order in which a preview lists it."""

    DELETE = "delete"
    SUSPEND = "suspend"
    UNSUSPEND = "unsuspend"
    CREATE = "create"
    ADOPT = "adopt"
    DOUBT = "doubt"  # an account under their address may be somebody else's: an administrator may confirm it
    UPDATE = "update"
    FAIL = "fail"
    WAIT = "wait"  # a deprovisioning timer would run: suspended or deleted later, by the policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One user of a preview."""

    would: Would
    user_id: str
    email: str
    detail: str = ""  # the attributes that would change, the trigger, or why it would fail
    scim_id: str = ""  # of the account to adopt, of the one in doubt, or of one under an alias that is left alone


class PreviewLines(Protocol):
    """The lines of previews, up to one for everybody; they expire with the preview."""

    def put(self, preview: Preview, lines: Iterable[Line]) -> None:
        """Store all of them, in place of any stored before."""

    def page(self, preview: Preview, would: Would | None, cursor: str, limit: int) -> Page[Line]:
        """Return a page of them, of one kind or of all, reading only that part; raises BadInput("cursor")."""

    def every(self, preview: Preview) -> Iterator[Line]:
        """Stream them."""
