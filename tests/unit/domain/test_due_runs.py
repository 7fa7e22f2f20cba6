"""Runs that are due later: rounded up, few, and made once for all that were due."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from autoprovisioning.domain.due_runs import FARTHEST, GRID, KEPT, DueRun, added, due, due_now, ripe, struck
from autoprovisioning.domain.runs import RunKind
from tests.support.builders import MINUTE, NOW, SECOND

SWEEP, FULL = RunKind.SWEEP, RunKind.FULL
moments = st.integers(0, 3600).map(lambda seconds: NOW + seconds * SECOND)
kinds = st.sampled_from([SWEEP, FULL])


@given(kinds, moments, st.integers(0, 40))
def test_a_run_is_due_at_the_next_point_of_the_grid_and_never_too_early(kind, now, minutes):
    wait = minutes * MINUTE
    (run,) = due(kind, now, wait)
    assert now + min(wait, FARTHEST) <= run.at < now + min(wait, FARTHEST) + GRID[kind]
    assert run.at.timestamp() % GRID[kind].total_seconds() == 0


def test_a_full_run_does_what_a_sweep_does():
    both = due_now(SWEEP, NOW) | due_now(FULL, NOW)
    assert ripe(both, NOW) == {FULL}
    assert ripe(due_now(SWEEP, NOW), NOW) == {SWEEP}
    assert ripe(due(SWEEP, NOW, MINUTE), NOW) == frozenset()


def test_a_run_that_nobody_makes_is_given_up():
    """As after a rollback to a version that knows none of them."""
    run = due_now(SWEEP, NOW)
    assert ripe(run, NOW + KEPT - SECOND) == {SWEEP}
    assert ripe(run, NOW + KEPT) == frozenset()


@given(st.lists(st.tuples(kinds, moments, st.integers(0, 40)), max_size=60), moments)
def test_however_many_are_asked_for_few_are_stored_and_none_is_lost(asked, now):
    known = frozenset[DueRun]()
    for kind, at, minutes in asked:
        known = added(known, due(kind, at, minutes * MINUTE) | due_now(kind, at), now)
    assert sum(run.at <= now for run in known) <= 2
    for kind in (SWEEP, FULL):
        if any(each is kind and at <= now for each, at, _ in asked):
            assert any(run.kind is kind and run.at <= now for run in known)
    wanted = {run for kind, at, minutes in asked for run in due(kind, at, minutes * MINUTE)}
    assert {run for run in wanted if now < run.at <= now + FARTHEST} <= known


def test_a_time_that_only_a_wrong_clock_gives_is_dropped():
    assert added([], due_now(SWEEP, NOW + timedelta(days=9)), NOW) == frozenset()


def test_what_became_due_after_a_run_began_is_left():
    known = due_now(SWEEP, NOW) | due_now(SWEEP, NOW + SECOND) | due_now(FULL, NOW)
    assert struck(known, SWEEP, NOW) == due_now(SWEEP, NOW + SECOND) | due_now(FULL, NOW)
