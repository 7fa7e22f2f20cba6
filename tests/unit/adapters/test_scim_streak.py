"""Failures in a row over all users, and how the pace follows them."""

from __future__ import annotations

from autoprovisioning.adapters.scim.pace import Pace
from autoprovisioning.adapters.scim.streak import STOP_AFTER, STOP_FOR, Streak


def failing(times: int, users: int, streak: Streak) -> Streak:
    for _ in range(times):
        for user in range(users):
            streak.failed(user, "HTTP 500")
    return streak


def test_many_requests_that_failed_twice_with_no_success_between_stop_all():
    stop = failing(2, STOP_AFTER, Streak()).stop()
    assert stop is not None
    assert "HTTP 500" in str(stop)
    assert stop.retry_after is not None
    assert STOP_FOR - 1 < stop.retry_after <= STOP_FOR


def test_a_burst_stops_nothing_and_neither_does_one_user_who_always_fails():
    assert failing(1, 100, Streak()).stop() is None
    assert failing(100, STOP_AFTER - 1, Streak()).stop() is None


def test_a_success_begins_anew():
    streak = failing(2, STOP_AFTER - 1, Streak())
    streak.succeeded()
    assert failing(2, STOP_AFTER - 1, streak).stop() is None
    assert failing(2, STOP_AFTER, streak).stop() is not None
    streak.succeeded()
    assert streak.stop() is None


def test_after_a_stop_one_more_failure_stops_again_and_a_success_ends_it():
    now = 1000.0
    streak = failing(2, STOP_AFTER, Streak(clock=lambda: now))
    now += STOP_FOR - 1
    assert streak.stop() is not None
    now += 1
    assert streak.stop() is None, "something is sent again, to see"
    streak.failed("another", "HTTP 502")
    assert "502" in str(streak.stop())
    streak.succeeded()
    assert streak.stop() is None


def test_it_knows_whether_anybody_was_answered_since():
    streak = Streak(clock=lambda: 1000.0)
    assert not streak.succeeded_since(1000.0)
    streak.succeeded()
    assert streak.succeeded_since(1000.0)
    assert not streak.succeeded_since(1000.1)


def test_failures_halve_the_pace_once_for_a_burst_and_pause_nobody():
    pace = Pace(32, 64)
    for _ in range(20):
        pace.failed()
    assert pace.limit == 16
    assert pace._paused_until == 0.0
