"""How many requests may be under way: additive increase, multiplicative decrease, and a pause for everybody."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

FLOOR = 1
GROW_AFTER = 8  # successes for one more request at once
SETTLE = 0.5  # seconds in which a burst of refusals counts as one


class Pace:
    """The pace of one client; lives on the event loop, so that nothing here needs a lock.

    Whoever waits is served in order, one wake-up for each place that becomes free.
    """

    def __init__(self, start: int, ceiling: int) -> None:
        self._limit = float(start)
        self.ceiling = max(start, ceiling)
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._paused_until = 0.0
        self._shrunk_at = -math.inf
        self._successes = 0

    @property
    def limit(self) -> int:
        """Return how many requests may be under way now."""
        return max(FLOOR, int(self._limit))

    @asynccontextmanager
    async def slot(self, patience: float = math.inf) -> AsyncIterator[None]:
        """Wait for room, then for a pause to end, but not for a pause longer than `patience` seconds."""
        await self._enter()
        try:
            impatient = time.monotonic() + patience
            while (wait := min(self._paused_until, impatient) - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            yield
        finally:
            self._busy -= 1
            self._admit()

    async def _enter(self) -> None:
        if self._busy < self.limit and not self._waiting:
            self._busy += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the place was already ours: hand it on
                self._busy -= 1
                self._admit()
            raise

    def _admit(self) -> None:
        while self._waiting and self._busy < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._busy += 1
                turn.set_result(None)

    def succeeded(self) -> None:
        """Note a success: grow slowly."""
        self._successes += 1
        if self._successes >= GROW_AFTER:
            self._successes = 0
            self._limit = min(float(self.ceiling), self._limit + 1)
            self._admit()

    def refused(self, wait: float) -> None:
        """Note a 429, 503 or "throttled": halve, once for a burst, and pause everybody."""
        self.failed()
        self._paused_until = max(self._paused_until, time.monotonic() + wait)

    def failed(self) -> None:
        """Note any other 5xx, a timeout or a lost connection: halve, once for a burst."""
        now = time.monotonic()
        if now - self._shrunk_at > SETTLE:
            self._limit = max(float(FLOOR), self._limit / 2)
            self._shrunk_at = now
        self._successes = 0
