"""What was heard of the sources of changes."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from autoprovisioning.domain.sources import AllHeard, Feed


class Sources(Protocol):
    """Notes of when each source was heard; `domain/sources.py` says what they are for."""

    def all(self) -> AllHeard:
        """Return what is known of those that were ever heard."""

    def hear(self, source: Feed, at: datetime, *, user: bool) -> None:
        """Note that one was heard; `user`: it reported a change of a user."""
