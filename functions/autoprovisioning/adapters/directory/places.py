"""How many requests may be under way at once, whoever sends them; whoever has waited longest goes first.

A `threading.Semaphore` lets those go on who come back at once: a listing that waits for its next page could wait until
another one has ended.
"""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType


class Places:
    """So many places, each held for the length of a `with`."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count
        self._waiting: deque[threading.Event] = deque()

    @property
    def waiting(self) -> int:
        """Count those who wait."""
        return len(self._waiting)

    def __enter__(self) -> None:
        """Wait for a place."""
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = threading.Event()
            self._waiting.append(turn)
        turn.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the place to whoever waits first."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1
