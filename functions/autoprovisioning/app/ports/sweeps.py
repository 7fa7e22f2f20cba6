"""What the scope sweep published last."""

from __future__ import annotations

from typing import Protocol


class Sweeps(Protocol):
    """The names of the differences that a connection's last scope sweep published."""

    def get(self, connection_id: str) -> frozenset[str]:
        """Return what `put` stored."""

    def put(self, connection_id: str, names: frozenset[str]) -> None:
        """Store them in place of those before; an unbounded set is cut short."""
