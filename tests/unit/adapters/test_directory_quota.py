"""How many requests a process sends to the directory, by a clock of the test's own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from autoprovisioning.adapters.directory.quota import FLOOR, RECOVERY, Quota

SHARE = 600.0  # a minute


class Time:
    """Seconds that pass when somebody sleeps, or the test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def quota(time: Time) -> Quota:
    return Quota(SHARE, time.clock, time.sleep)


def passed(quota: Quota, time: Time, requests: int) -> float:
    """Return the seconds that so many requests took."""
    began = time.now
    for _ in range(requests):
        assert quota.take(60) is None
    return time.now - began


def test_a_minutes_share_may_go_at_once_and_then_as_many_as_there_is_time_for(quota, time):
    assert passed(quota, time, 600) == 0
    assert passed(quota, time, 600) == pytest.approx(60)
    time.now += 3600
    assert passed(quota, time, 600) == 0
    assert passed(quota, time, 1) == pytest.approx(0.1)


def test_whoever_would_wait_for_too_long_is_told_how_long_and_takes_nothing(quota, time):
    passed(quota, time, 600)
    for _ in range(3):
        assert quota.take(0.05) == pytest.approx(0.1)
    assert passed(quota, time, 1) == pytest.approx(0.1)


def test_a_refusal_halves_the_rate_and_a_burst_of_them_counts_once(quota, time):
    time.now += 1
    for _ in range(8):
        quota.refused()
    assert quota.rate == pytest.approx(SHARE / 2)
    assert passed(quota, time, 1) > 0, "nothing may go at once"
    for _ in range(20):
        time.now += 1
        quota.refused()
    assert quota.rate == pytest.approx(FLOOR, rel=0.1)


def test_the_rate_recovers_with_the_time_and_never_beyond_the_share(quota, time):
    time.now += 1
    quota.refused()
    time.now += RECOVERY / 4
    assert quota.rate == pytest.approx(SHARE * 0.75)
    time.now += RECOVERY
    assert quota.rate == SHARE


def test_a_share_below_what_is_always_tried_is_that(time):
    assert Quota(1, time.clock, time.sleep).rate == FLOOR


def test_many_threads_share_it():
    waits: list[float] = []
    lock = threading.Lock()

    def sleep(seconds: float) -> None:
        with lock:
            waits.append(seconds)

    quota = Quota(SHARE, lambda: 0.0, sleep)
    with ThreadPoolExecutor(8) as several:
        list(several.map(lambda _: quota.take(60), range(700)))
    assert sorted(waits) == [pytest.approx(0.1 * turn) for turn in range(1, 101)]
