"""Failures in a row over all users: when a server fails whatever it is asked, nothing more is sent for a while."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable

from autoprovisioning.domain.errors import Transient

STOP_AFTER = 8  # requests that failed twice, with no success of any between: a burst is survived
STOP_FOR = 30.0  # seconds in which nothing is sent


class Streak:
    """The reads, or the writes, of one client: it belongs to all threads and calls, as the server's trouble does.

    Requests are distinguished, so that one user whose requests all fail never stops the others. After a stop a request
    goes out again: if it fails the stop goes on, and any success ends it.
    """

    def __init__(self, stop_for: float = STOP_FOR, clock: Callable[[], float] = time.monotonic) -> None:
        self._stop_for = stop_for
        self._clock = clock
        self._once: set[Hashable] = set()
        self._again: set[Hashable] = set()
        self._until = -math.inf
        self._succeeded_at = -math.inf
        self._problem = ""

    def succeeded(self) -> None:
        """Note an answer."""
        self._succeeded_at = self._clock()
        if self._once:
            self._once.clear()
            self._again.clear()
            self._until = -math.inf

    def succeeded_since(self, began: float) -> bool:
        """Say whether anything was answered since then (monotonic seconds)."""
        return self._succeeded_at >= began

    def failed(self, request: Hashable, problem: str) -> None:
        """Note a failure of a request, whatever names it."""
        self._problem = problem
        if len(self._again) < STOP_AFTER:
            (self._again if request in self._once else self._once).add(request)
        if len(self._again) >= STOP_AFTER:
            self._until = self._clock() + self._stop_for

    def stop(self) -> Transient | None:
        """Return why nothing may be sent now."""
        left = self._until - self._clock()
        if left <= 0:
            return None
        return Transient(f"Keeper fails every request ({self._problem}): it is left alone", retry_after=left)
