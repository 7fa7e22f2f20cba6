"""What drift runs found that somebody else changed in Keeper."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from autoprovisioning.domain.keeper_changes import KeeperChange


class KeeperChanges(Protocol):
    """The latest changes that somebody else made in Keeper (`domain/keeper_changes.py::with_newer` says which)."""

    def add(self, connection_id: str, changes: Sequence[KeeperChange], now: datetime) -> None:
        """Add those of one run, by compare-and-set."""

    def get(self, connection_id: str) -> Sequence[KeeperChange]:
        """Return those of a connection, newest first."""
