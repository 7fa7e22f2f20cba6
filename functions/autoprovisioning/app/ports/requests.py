"""What administrators ask a worker for, and read the answer of later: previews, and inquiries about one user."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from autoprovisioning.app.ports.reports import Page
from autoprovisioning.domain.accounts import Account
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.settings import Settings


def question_id(actor: Actor, *subject: str) -> str:
    """Name what this administrator asks: whoever asks the same again while it waits means the same document."""
    asked = json.dumps([actor.directory_id or actor.address, *subject])
    return hashlib.blake2b(asked.encode(), digest_size=16).hexdigest()


class PreviewState(StrEnum):
    """How far a preview is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


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
class Preview:
    """What a connection would do with these settings: asked for by an administrator, computed by `reconcile`.

    `edition` is the connection's when it was asked for, so that saving it is refused if that changed since.
    `counts` are by `Would`, and "unchanged"; `held` says that all it deprovisions would be held.
    """

    id: str
    connection_id: str
    edition: int
    settings: Settings
    asked_by: str
    asked_at: datetime
    expires: datetime
    state: PreviewState = PreviewState.WAITING
    finished: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    held: bool = False
    notes: tuple[str, ...] = ()
    problem: str = ""  # why it failed

    @property
    def computing(self) -> bool:
        """Say whether it is still to be computed."""
        return self.state in (PreviewState.WAITING, PreviewState.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One user of a preview."""

    would: Would
    user_id: str
    email: str
    detail: str = ""  # the attributes that would change, the trigger, or why it would fail
    scim_id: str = ""  # of the account to adopt, of the one in doubt, or of one under an alias that is left alone


class Previews(Protocol):
    """Previews, which expire by themselves."""

    def open(self, preview: Preview, since: datetime) -> Preview:
        """Store a preview that was asked for, and return it.

        One with its id that was asked for after `since`, and is not computed yet, is returned instead and left alone.
        """

    def put(self, preview: Preview) -> None:
        """Store a preview's own fields."""

    def get(self, connection_id: str, preview_id: str) -> Preview | None:
        """Read one; None where there is none, or it expired."""

    def fill(self, preview: Preview, lines: Iterable[Line]) -> None:
        """Store its lines, then the preview itself, so that one that is done is whole."""

    def lines(self, preview: Preview, would: Would | None, cursor: str, limit: int) -> Page[Line]:
        """Return a page of its lines, of one kind or of all, reading only that part; raises BadInput("cursor")."""

    def every_line(self, preview: Preview) -> Iterator[Line]:
        """Stream its lines."""


class InquiryKind(StrEnum):
    """EXPLAIN: look into Keeper, change nothing. PROVISION: converge the user now, then look."""

    EXPLAIN = "explain"
    PROVISION = "provision"


class InquiryState(StrEnum):
    """How far an inquiry is."""

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing a worker did for this user."""

    at: datetime
    text: str
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """A question about one user that only a worker can answer: it alone reads the access token.

    `account` is the user's account in Keeper as found at the end, None where there is none.
    """

    id: str
    connection_id: str
    user_id: str
    kind: InquiryKind
    asked_by: str
    asked_at: datetime
    expires: datetime
    state: InquiryState = InquiryState.WAITING
    finished: datetime | None = None
    steps: tuple[Step, ...] = ()
    account: Account | None = None
    problem: str = ""
    asked_by_id: str = ""  # directory id


class Inquiries(Protocol):
    """Inquiries, which expire by themselves."""

    def open(self, inquiry: Inquiry, since: datetime) -> Inquiry:
        """Store an inquiry that was asked, and return it.

        One with its id that was asked after `since`, and still waits, is returned instead and left alone.
        """

    def put(self, inquiry: Inquiry) -> None:
        """Store an inquiry whole."""

    def get(self, connection_id: str, inquiry_id: str) -> Inquiry | None:
        """Read one; None where there is none, or it expired."""
