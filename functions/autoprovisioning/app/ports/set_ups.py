"""The set-ups of connections, and the switches of their tokens, that are under way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol


class SetUps(Protocol):
    """The set-ups that were begun and whose end was not noted: what is left of an interrupted one can be cleaned up."""

    def begin(self, connection_id: str, now: datetime) -> None:
        """Note that a token is about to be stored for a connection that may not exist: not yet, or soon no more."""

    def begun(self) -> Mapping[str, datetime]:
        """Return them by connection id, with the time they began."""

    def end(self, connection_id: str) -> None:
        """Note that it ended: a connection names the token, or none is left."""
