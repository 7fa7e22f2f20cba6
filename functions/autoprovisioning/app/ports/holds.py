"""The held plans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from autoprovisioning.domain.events import Event
from autoprovisioning.domain.holds import Hold


class Holds(Protocol):
    """The held plans of a connection, by the digest of their members."""

    def get(self, connection_id: str, digest: str) -> Hold | None:
        """Read a held plan with its members."""

    def standing(self, connection_id: str) -> Sequence[Hold]:
        """Return the held plans that wait, are approved, or keep somebody by rejection, newest first, with members."""

    def put(self, connection_id: str, hold: Hold, raised: Event | None = None) -> None:
        """Store a held plan, and the event that reports it."""

    def change(
        self,
        connection_id: str,
        digest: str,
        edit: Callable[[Hold], Hold | None],
        tell: Callable[[Hold, Hold], Event | None] | None = None,
    ) -> Hold | None:
        """Apply `edit` to a held plan's verdicts by compare-and-set, never to its members; None changes nothing.

        The event that `tell` makes of before and after, if any, is stored with the change, or neither is.
        """
