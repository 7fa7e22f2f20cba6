"""How many requests may be under way: additive increase, multiplicative decrease, and a pause for everybody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

FLOOR = 1
GROW_AFTER = 8  # successes for one more request at once
SETTLE = 0.5  # seconds in which a burst of refusals counts as one


class Pace:
    """The pace of one client; lives on the event loop."""

    def __init__(self, start: int, ceiling: int) -> None:
        self._limit = float(start)
        self._ceiling = float(ceiling)
        self._busy = 0
        self._paused_until = 0.0
        self._shrunk_at = 0.0
        self._successes = 0
        self._room = asyncio.Condition()

    @property
    def limit(self) -> int:
        """Return how many requests may be under way now."""
        return max(FLOOR, int(self._limit))

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for room, and for a pause to end."""
        async with self._room:
            await self._room.wait_for(lambda: self._busy < self.limit)
            self._busy += 1
        try:
            while (wait := self._paused_until - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            yield
        finally:
            async with self._room:
                self._busy -= 1
                self._room.notify_all()

    def succeeded(self) -> None:
        """Note a success: grow slowly."""
        self._successes += 1
        if self._successes >= GROW_AFTER:
            self._successes = 0
            self._limit = min(self._ceiling, self._limit + 1)

    def refused(self, wait: float) -> None:
        """Note a 429, 503 or "throttled": halve, once for a burst, and pause everybody."""
        now = time.monotonic()
        if now - self._shrunk_at > SETTLE:
            self._limit = max(float(FLOOR), self._limit / 2)
            self._shrunk_at = now
        self._successes = 0
        self._paused_until = max(self._paused_until, now + wait)
