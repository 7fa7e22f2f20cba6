"""Whether this node takes writes faster in Bulk or one by one, as far as this process has measured it.

What Bulk saves is the way there and back, for each write but the first of a request; what it costs is that the server
works through a request's operations one after the other. Where an operation takes long, requests of their own, side by
side, are faster. Only the node can tell, so both ways are timed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

REMEMBERED = 600.0  # seconds: then both are timed again, since a server may have become another
TRIAL = 60.0  # seconds, at most, in which one call tries to send one by one; the others go on in Bulk
CLEARLY = 0.9  # times what Bulk takes: below that one by one is faster, and not by accident


@dataclass(slots=True)
class Timed:
    """The seconds that a write took at best in one way, and since when, on the monotonic clock, that is remembered."""

    seconds: float = math.inf
    since: float = -math.inf

    def note(self, seconds: float, now: float) -> None:
        """Take another measurement."""
        if not self.known(now):
            self.seconds, self.since = math.inf, now
        self.seconds = min(self.seconds, seconds)

    def known(self, now: float) -> bool:
        """Say whether anything is remembered."""
        return now - self.since < REMEMBERED


@dataclass(slots=True)
class Ways:
    """Both ways, each as the seconds that a write took when many were written at once."""

    bulk: Timed = field(default_factory=Timed)
    alone: Timed = field(default_factory=Timed)
    trying_until: float = -math.inf

    def prefers_bulk(self, bulk_at_best: float, alone_at_best: float, now: float) -> bool:
        """Say which way to go; one call tries the other way, unless Bulk is faster even at the other's best.

        `bulk_at_best` are the seconds a write as its operations have been timed, 0 where none was; `alone_at_best`
        those that the way there and back leaves at least.
        """
        if bulk_at_best <= alone_at_best or not self.bulk.known(now):
            return True
        if self.alone.known(now):
            return self.alone.seconds > CLEARLY * self.bulk.seconds
        if now < self.trying_until:
            return True
        self.trying_until = now + TRIAL
        return False
