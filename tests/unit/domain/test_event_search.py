"""Which events are wanted, and whether an index says so."""

from __future__ import annotations

import pytest

from autoprovisioning.domain.event_search import Filters, Outcome
from autoprovisioning.domain.events import EventName

UPDATED, FAILED = EventName.UPDATED, EventName.FAILED


@pytest.mark.parametrize(
    ("filters", "indexed", "sought"),
    [
        (Filters(), set(), False),
        (Filters(names=[UPDATED], user="u1", actor="run r1"), {UPDATED}, False),
        (Filters(outcome=Outcome.FAILED), {FAILED}, False),
        (Filters(outcome=Outcome.FAILED, names=[UPDATED]), {FAILED}, True),
        (Filters(outcome=Outcome.FAILED, names=[UPDATED, FAILED]), {FAILED}, False),
        (Filters(outcome=Outcome.DONE), {*EventName} - {FAILED}, False),
        (Filters(outcome=Outcome.DONE, names=[UPDATED, FAILED]), {UPDATED}, False),
        (Filters(outcome=Outcome.DONE, names=[FAILED]), {FAILED}, True),
        (Filters(person="ada"), set(), True),
        (Filters(by="admin"), set(), True),
        (Filters(text="x"), set(), True),
    ],
)
def test_an_index_answers_what_it_can(filters, indexed, sought):
    assert (filters.indexed, filters.sought) == (indexed, sought)
    assert len(filters.indexed) <= 30  # of a query with `in`
