"""`make sync` while it waits: progress goes to stderr, and a run that makes no progress is given up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from autoprovisioning.domain.runs import Run, RunKind, RunState
from infra.local import sync
from infra.local.sync import exit_status
from tests.support.builders import MINUTE, NOW

OBSERVING = Run(id="r1", connection_id="keeper", kind=RunKind.FULL, fence=1, started=NOW)
HALF = replace(OBSERVING, state=RunState.PLANNED, batches=2, done={"1": 0}, counts={"created": 500})
DONE = replace(HALF, state=RunState.DONE, finished=NOW, done={"1": 0, "2": 0})


def wait(stages: list[Run | None], now: timedelta = MINUTE) -> tuple[Run | None, list[str]]:
    """Wait for a run that is found at these stages, one after the other; returns how it ended, and what was told."""
    looks: Iterator[Run | None] = iter(stages)
    fakes = SimpleNamespace(runs=SimpleNamespace(get=lambda *_: next(looks)), clock=lambda: NOW + now)
    said: list[str] = []
    return sync._finished(fakes, "keeper", "r1", said.append), said


@pytest.fixture
def told_at_each_look(monkeypatch):
    monkeypatch.setattr(sync, "TOLD_EVERY", 0.0)
    monkeypatch.setattr(sync, "POLL", 0.0)


def test_how_far_the_run_is_is_told_while_it_is_waited_for(told_at_each_look):
    ended, said = wait([OBSERVING, HALF, DONE])
    assert ended == DONE
    assert said == [
        "keeper: reading the directory and planning",
        "keeper: 1 of 2 batches done; 500 created",
    ]


def test_a_quick_run_says_nothing(monkeypatch):
    monkeypatch.setattr(sync, "POLL", 0.0)
    assert wait([OBSERVING, HALF, DONE]) == (DONE, [])


def test_a_run_that_went_away_with_its_connection_is_not_waited_for(told_at_each_look):
    assert wait([OBSERVING, None])[0] is None


def test_a_run_of_which_nothing_is_recorded_any_more_is_given_up(told_at_each_look):
    with pytest.raises(SystemExit, match="The run r1 is stuck"):
        wait([HALF] * 9, now=36 * MINUTE)


KEPT = "Leavers who keep their access: 7 (held, or waiting for complete listings: 5; failing: 2)."
MAYBE = "Leavers who may have kept it, since the outcome of their change is unknown: at most 3."


@pytest.mark.parametrize(
    ("planned", "counts", "attempted", "said"),
    [
        ({"suspend": 3}, {"suspended": 3}, ["update"], []),
        ({}, {"keep_access": 5}, ["suspend", "delete", "create"], [KEPT]),
        ({"suspend": 4, "update": 9}, {"suspended": 1, "unsettled": 8}, [], [MAYBE]),
        ({"suspend": 4, "delete": 2, "update": 9}, {"updated": 9, "unsettled": 3}, [], [MAYBE]),
    ],
)
def test_how_many_leavers_keep_their_access_is_told(planned, counts, attempted, said):
    told: list[str] = []
    failing = [SimpleNamespace(attempted=name) for name in attempted]
    sync._tell_leavers([replace(DONE, planned=planned, counts=counts)], failing, told.append)
    assert told == said


@pytest.mark.parametrize(
    ("summary", "undone", "paused", "status"),
    [
        ({"failed": 0, "held": 0}, False, False, 0),
        ({"failed": 1, "held": 0}, False, False, 1),
        ({"failed": 0, "held": 0}, True, False, 1),
        ({"failed": 1, "held": 1}, True, False, 2),
        ({"failed": 1, "held": 1}, True, True, 3),
    ],
)
def test_the_highest_exit_status_that_applies_is_taken(summary, undone, paused, status):
    assert exit_status(summary, undone=undone, paused=paused) == status
