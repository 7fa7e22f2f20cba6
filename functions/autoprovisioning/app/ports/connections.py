"""Configuration and state of the connections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from autoprovisioning.domain.connections import Connection, Deleted
from autoprovisioning.domain.events import Event

T = TypeVar("T")


Telling = Callable[[T, T], Event]  # what the audit says about a change, from before and after


class DeletedConnections(Protocol):
    """Connections that no longer exist."""

    def deleted(self) -> Sequence[Deleted]:
        """Return the connections whose configuration was deleted, latest first: their audit is still there."""

    def purge(self, connection_id: str) -> None:
        """Forget everything about a connection but its events, its usage and its tombstone."""


class Connections(DeletedConnections, Protocol):
    """Configuration and state of the connections."""

    def all(self) -> Sequence[Connection]:
        """Return every connection, in their order."""

    def get(self, connection_id: str) -> Connection | None:
        """Read one connection."""

    def create(self, connection: Connection, event: Event | None = None) -> None:
        """Store a new one, and the event with it; raises Stale if the id was ever used."""

    def change(
        self,
        connection_id: str,
        edit: Callable[[Connection], Connection | None],
        tell: Telling[Connection] | None = None,
    ) -> Connection | None:
        """Apply `edit` by compare-and-set, growing `revision`; None from `edit` changes nothing and is returned.

        The event that `tell` makes of before and after is stored with the change, or neither is.
        """
