"""This process's share of the Directory API's quota: a token bucket that the API's own refusals make smaller.

Documented are 2,400 requests a minute for each administrator acted for, which all functions share, and limits of
concurrent requests for each operation and each customer, of unknown size (Admin SDK, limits page). No process knows
what the others send: each keeps to its share, and to less for some minutes after a refusal.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FLOOR = 60.0  # requests a minute that are always tried
SETTLE = 1.0  # seconds in which a burst of refusals counts as one
RECOVERY = 600.0  # seconds in which nothing, without a refusal, would grow to the whole share
MINUTE = 60.0


class Quota:
    """Lets so many requests a minute go, whoever sends them; a minute's share may go at once.

    `clock` (seconds) and `sleep` are the process's own; tests pass others.
    """

    def __init__(
        self,
        a_minute: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._share = max(FLOOR, float(a_minute))
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._rate = self._share  # requests a minute
        self._left = self._share  # that may go at once; below zero are those who wait already
        self._at = clock()
        self._refused_at = self._at - SETTLE

    @property
    def rate(self) -> float:
        """Return how many requests a minute may go now."""
        with self._lock:
            self._pass()
            return self._rate

    def take(self, patience: float) -> float | None:
        """Wait for the turn of one request; returns the wait that would be too long, None once it may go."""
        with self._lock:
            self._pass()
            wait = max(0.0, (1 - self._left) * MINUTE / self._rate)
            if wait > patience:
                return wait
            self._left -= 1
        if wait:
            self._sleep(wait)
        return None

    def refused(self) -> None:
        """Note that the API refused a request because of a limit: half the rate, once for a burst, and no reserve."""
        with self._lock:
            self._pass()
            self._left = min(self._left, 0.0)
            if self._at - self._refused_at >= SETTLE:
                self._rate = max(FLOOR, self._rate / 2)
                self._refused_at = self._at

    def _pass(self) -> None:
        now = self._clock()
        passed = max(0.0, now - self._at)
        self._at = now
        self._left = min(self._share, self._left + passed * self._rate / MINUTE)
        self._rate = min(self._share, self._rate + passed * self._share / RECOVERY)
