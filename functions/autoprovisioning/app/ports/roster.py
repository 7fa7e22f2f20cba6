"""The rosters of all connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.runs import Counts

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a commit adds to the record of a run: `counts` are incremented, `done` names a batch that is finished.

    `continued` counts the batches published to carry on with the rest of the finished one.
    """

    run_id: str
    at: datetime | None  # None: counted, but nothing of the run was settled
    counts: Counts = field(default_factory=dict)
    done: str = ""
    continued: int = 0
    seats_exhausted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What one roster commit writes, all or nothing; None removes an entry."""

    entries: Mapping[str, Entry | None] = field(default_factory=dict)
    events: Sequence[Event] = ()
    progress: Progress | None = None


class RosterReader(Protocol):
    """What rosters say; one that was not begun has no entries."""

    def entry(self, connection: Connection, user_id: str) -> Entry | None:
        """Read one entry."""

    def entries(self, connection: Connection, user_ids: Iterable[str]) -> dict[str, Entry]:
        """Read the entries of these users, of those who have one."""

    def load(self, connection: Connection) -> dict[str, Entry]:
        """Read every entry of a connection."""


class Roster(RosterReader, Protocol):
    """The rosters of all connections, written by compare-and-set.

    A failure in an entry is mirrored to failures/{user}, one that is pending to pending/{user}, and events count into
    the day's usage, in the same commit.
    """

    def begin(self, connection: Connection, expected: int) -> Connection:
        """Lay a roster out for so many users and later ones, unless it was begun; returns the connection as it is then.

        A connection that is gone meanwhile is returned as if it existed: nothing that is written for it stays.
        """

    def as_stored(self, connection: Connection, user_ids: Iterable[str]) -> list[str]:
        """Return the users in an order that keeps together those whose entries are written together."""

    def commit(
        self,
        connection: Connection,
        user_ids: Iterable[str],
        edit: Callable[[Mapping[str, Entry]], tuple[Edit, T]],
    ) -> T:
        """Read the entries of these users, let `edit` decide from them, write its Edit; retried on contention.

        `edit` is pure and may be called again with newer entries; it gets the entries of the users named (those that
        exist). An Edit without entries, events and progress writes nothing. Raises Contention.
        """

    def commit_in_parts(
        self,
        connection: Connection,
        user_ids: Iterable[str],
        edit: Callable[[Sequence[str], Mapping[str, Entry]], tuple[Edit, T]],
    ) -> list[T]:
        """Commit for many users who need not be written all or nothing: one commit may not hold them all.

        `edit` is called for each part with its users, each of whom is in exactly one, and their entries; the results
        are those of the parts. After an error the parts before it stay written.
        """
