"""Leases, for work that only one process may do at a time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol


class Leases(Protocol):
    """Leases by name; each has one holder, who loses it unless it is prolonged."""

    def take(self, name: str, holder: str, now: datetime, length: timedelta) -> int | None:
        """Take or prolong a lease and return its fence (it grows with each holder), or None while another holds it."""

    def release(self, name: str, holder: str) -> None:
        """Release a lease early."""
