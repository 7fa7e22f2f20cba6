"""The audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from autoprovisioning.domain.events import Event


class Audit(Protocol):
    """The audit of each connection. Most events are written by the commits that they tell of."""

    def record(self, connection_id: str, events: Sequence[Event]) -> None:
        """Append events that belong to no other write."""
