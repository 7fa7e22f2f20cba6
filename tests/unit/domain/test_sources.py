"""Sources of changes: which one is silent while another speaks, and when the sweep may be left out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from autoprovisioning.domain.sources import (
    CALLED,
    NOTHING,
    SILENT,
    SPOKEN,
    STALE,
    AllHeard,
    Feed,
    Heard,
    arrives,
    heard,
    hour_of,
    silent_beside,
    swept_lately,
)
from tests.support.builders import NOW

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
EVERY = timedelta(hours=1)


def spoke(*ago: timedelta, user: bool = True) -> Heard:
    known = NOTHING
    for each in ago:
        known = heard(known, NOW - each, user=user)
    return known


def told(**sources: Heard) -> AllHeard:
    return {Feed(name): known for name, known in sources.items()}


def test_what_was_heard_later_or_out_of_order_is_kept_once():
    known = spoke(3 * HOUR, HOUR, 2 * HOUR, HOUR)
    assert known.latest == NOW - HOUR
    assert known.hours == {hour_of(NOW - number * HOUR) for number in (1, 2, 3)}
    assert heard(known, NOW, user=False) == Heard(latest=NOW, hours=known.hours)


def test_hours_are_forgotten_after_two_days():
    assert len(spoke(*(number * HOUR for number in range(100))).hours) == 48


@pytest.mark.parametrize(
    ("silent", "hours", "says"),
    [
        (NOTHING, SPOKEN, True),
        (NOTHING, SPOKEN - 1, False),
        (spoke(10 * HOUR), SPOKEN, True),
        (spoke(HOUR), SPOKEN, False),
        (spoke(HOUR, user=False), SPOKEN, False),  # anything that it told shows that it is alive
    ],
)
def test_a_source_is_silent_once_another_spoke_in_many_hours_since(silent, hours, says):
    assert silent_beside(silent, spoke(*(number * HOUR for number in range(hours)))) is says


@pytest.mark.parametrize(
    ("entries", "notifications", "says"),
    [
        (NOTHING, NOTHING, False),
        (spoke(MINUTE, user=False), NOTHING, True),
        (spoke(STALE), NOTHING, False),
        (spoke(10 * HOUR), spoke(*(number * HOUR for number in range(SPOKEN))), False),
        (spoke(10 * HOUR), spoke(MINUTE), True),
    ],
)
def test_entries_arrive_as_long_as_nothing_says_that_they_do_not(entries, notifications, says):
    assert arrives(told(audit_log=entries, notifications=notifications), NOW) is says
    assert SILENT > STALE


@pytest.mark.parametrize(
    ("last", "left_out"),
    [(None, False), (MINUTE, True), (EVERY - CALLED, True), (EVERY - MINUTE, False), (EVERY, False)],
)
def test_a_sweep_is_left_out_while_one_was_made_lately_and_entries_arrive(last, left_out):
    made = NOTHING if last is None else spoke(last, user=False)
    assert swept_lately(told(sweep=made, audit_log=spoke(MINUTE)), NOW, EVERY) is left_out
    assert not swept_lately(told(sweep=made), NOW, EVERY)
