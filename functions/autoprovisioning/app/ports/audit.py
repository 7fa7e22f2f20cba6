"""The audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from autoprovisioning.domain.accounts import Attributes
from autoprovisioning.domain.events import Event


class Audit(Protocol):
    """The audit of each connection. Most events are written by the commits that they describe."""

    def record(self, connection_id: str, events: Sequence[Event]) -> None:
        """Append events that belong to no other write."""

    def applied(self, connection_id: str, change_ids: Sequence[str]) -> dict[str, Attributes]:
        """Return, by change id, the attributes that accounts had after these changes; unknown ones are left out."""
