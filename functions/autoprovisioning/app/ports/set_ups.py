"""The set-ups of connections that are under way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol


class SetUps(Protocol):
    """The set-ups that were begun and whose end was not noted: what an interrupted one left behind is cleaned up."""

    def begin(self, connection_id: str, now: datetime) -> None:
        """Note that a token is about to be stored for a connection that is not there yet."""

    def begun(self) -> Mapping[str, datetime]:
        """Return them by connection id, with their beginning."""

    def end(self, connection_id: str) -> None:
        """Note that a set-up ended, with a connection or without any token."""
