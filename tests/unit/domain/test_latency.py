"""Latencies in buckets: a percentile is told to within a quarter."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from autoprovisioning.domain.latency import BUCKETS, FIRST, GROWTH, Latencies, bucket_of


@given(st.lists(st.floats(0, 10_000), min_size=1, max_size=50), st.sampled_from([0.5, 0.95]))
def test_a_percentile_is_rounded_up_by_at_most_a_quarter(seconds, share):
    counts: dict[int, int] = {}
    for each in seconds:
        counts[bucket_of(each)] = counts.get(bucket_of(each), 0) + 1
    rank = max(1, -int(-share * len(seconds) // 1))
    exact = sorted(seconds)[rank - 1]
    told = Latencies(counts=counts).percentile(share)
    assert exact <= told * 1.000001
    assert told <= max(FIRST, exact * GROWTH * 1.000001)


def test_there_are_as_many_buckets_as_said_and_nothing_gives_no_percentile():
    assert bucket_of(timedelta(days=400).total_seconds()) == BUCKETS - 1
    assert (Latencies().changes, Latencies().percentile(0.95)) == (0, 0.0)
