"""The volume guard's reservations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from autoprovisioning.domain.guard import GuardState


class Guard(Protocol):
    """The reservations of each connection's volume guard. It has room for every reservation that `ROOM` admits."""

    def change(self, connection_id: str, edit: Callable[[GuardState], GuardState | None]) -> GuardState | None:
        """Apply `edit` to the guard by compare-and-set; None from `edit` changes nothing and is returned."""
