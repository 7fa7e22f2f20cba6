"""In Bulk or one by one: what was timed decides, and is timed again after a while."""

from __future__ import annotations

import pytest

from autoprovisioning.adapters.scim.bulk import BulkSizes
from autoprovisioning.adapters.scim.ways import REMEMBERED, TRIAL, Ways


def ways(bulk: float | None = None, alone: float | None = None) -> Ways:
    timed = Ways()
    if bulk is not None:
        timed.bulk.note(bulk, 0)
    if alone is not None:
        timed.alone.note(alone, 0)
    return timed


@pytest.mark.parametrize(
    ("timed", "bulk_at_best", "alone_at_best", "in_bulk"),
    [
        (ways(), 0, 0.002, True),
        (ways(bulk=0.1), 0.001, 0.002, True),  # no other way can be faster
        (ways(bulk=0.004), 0.003, 0.002, False),  # it may be: it is tried
        (ways(bulk=0.004, alone=0.003), 0.003, 0.002, False),
        (ways(bulk=0.004, alone=0.005), 0.003, 0.002, True),
        (ways(bulk=0.004, alone=0.0039), 0.003, 0.002, True),  # as good as the same
    ],
)
def test_the_faster_way_is_taken(timed, bulk_at_best, alone_at_best, in_bulk):
    assert timed.prefers_bulk(bulk_at_best, alone_at_best, 1) is in_bulk


def test_one_call_tries_the_other_way_and_those_beside_it_go_on():
    timed = ways(bulk=0.004)
    assert [timed.prefers_bulk(0.003, 0.002, at) for at in (1, 2, 3)] == [False, True, True]
    assert not timed.prefers_bulk(0.003, 0.002, 1 + TRIAL), "it told nothing: another one tries"
    timed.alone.note(0.003, 2)
    assert not timed.prefers_bulk(0.003, 0.002, 3)


def test_the_slower_way_is_tried_again_after_a_while():
    timed = ways(bulk=0.004, alone=0.003)
    assert not timed.prefers_bulk(0.003, 0.002, REMEMBERED - 1)
    assert timed.prefers_bulk(0.003, 0.002, REMEMBERED), "Bulk is tried"
    timed.bulk.note(0.002, REMEMBERED)
    assert not timed.prefers_bulk(0.003, 0.002, REMEMBERED + 1), "and then the other way"
    timed.alone.note(0.003, REMEMBERED + 1)
    assert timed.prefers_bulk(0.003, 0.002, REMEMBERED + 2)


def test_the_best_of_what_is_remembered_counts():
    timed = ways(bulk=0.004)
    timed.bulk.note(0.006, 1)
    assert timed.bulk.seconds == 0.004
    timed.bulk.note(0.006, REMEMBERED)
    assert timed.bulk.seconds == 0.006


def test_what_bulk_takes_at_best_follows_from_its_operations():
    sizes = BulkSizes()
    sizes.operation = 0
    assert sizes.at_best(250, 0.05, 32) == pytest.approx(0.05 / 250), "one way there and back"
    sizes.operation = 0.001
    assert sizes.at_best(250, 0.05, 32) == pytest.approx((0.05 + 0.1) / 250)  # three requests of a hundred
    sizes.operation = 0.01
    assert sizes.at_best(250, 0.05, 32) == pytest.approx((0.05 + 25 * 0.01) / 250)  # ten requests
    assert sizes.at_best(250, 0.05, 32) < 8 * 0.05 / 250, "one by one takes longer, 32 at once"
    sizes.operation = 0.04
    assert sizes.at_best(250, 0.05, 5) == pytest.approx(5 * (0.05 + 10 * 0.04) / 250)  # 25 requests, five at once
