"""How long changes took from their source's own time to Keeper, counted in buckets that can be added up.

Bucket n holds what took up to 0.1 s times 1.25 to the n: a percentile is told to within a quarter, and 60 buckets reach
from a tenth of a second to half a day. Whatever takes longer is in the last one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

FIRST, GROWTH, BUCKETS = 0.1, 1.25, 60


def bucket_of(seconds: float) -> int:
    """Return the bucket that a latency is counted in."""
    if seconds <= FIRST:
        return 0
    return min(BUCKETS - 1, math.ceil(math.log(seconds / FIRST, GROWTH)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """How many changes took how long, by bucket."""

    counts: Mapping[int, int] = field(default_factory=dict)

    @property
    def changes(self) -> int:
        """How many changes there were."""
        return sum(self.counts.values())

    def percentile(self, share: float) -> float:
        """Return the seconds within which this share of the changes was done, rounded up to a bucket; 0 for none."""
        rank, seen = share * self.changes, 0
        for bucket, count in sorted(self.counts.items()):
            seen += count
            if seen >= rank:
                return FIRST * GROWTH**bucket
        return 0.0
