"""How many batches of a run are left, by what was recorded of them."""

from __future__ import annotations

import pytest

from autoprovisioning.domain.runs import Run, RunKind
from tests.support.in_memory import START


@pytest.mark.parametrize(
    ("done", "left"),
    [
        ({}, 2),
        ({"1": 0}, 1),
        ({"1": 0, "2": 0}, 0),
        ({"1": 1, "2": 0}, 1),
        ({"1": 1, "1+": 0}, 1),
        ({"1": 1, "1+": 1, "2": 0}, 1),
        ({"1": 1, "1+": 1, "1++": 0, "2": 0}, 0),
        ({"1": 0, "1+": 0}, 1),  # the worker of 1 died once the rest was published, and found nothing left to do
        ({"1+": 0, "2": 0}, 1),  # recorded before the batch that it carries on
        ({"1": 1, "1+": 0, "2": 1}, 1),
    ],
)
def test_a_batch_is_left_until_it_and_what_carries_it_on_are_recorded(done, left):
    run = Run(id="r1", connection_id="c1", kind=RunKind.FULL, fence=1, started=START, batches=2, done=done)
    assert run.batches_left == left
