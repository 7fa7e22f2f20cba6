"""A preview of a connection that users leave for another one says what the next run does to them."""

from __future__ import annotations

import pytest

from autoprovisioning.domain.entry import Status
from autoprovisioning.domain.requests import Would
from autoprovisioning.domain.scope import Group
from tests.support.previewing import OUT, at, everything
from tests.support.scenario import GROUP, LATER, Scenario

SECOND = Group(id="g2", email="sales@example.com", name="Sales")


def leaving(*, shared: bool) -> Scenario:
    """u1 has left c1's scope for c2's."""
    scenario = Scenario()
    scenario.connect("c2", SECOND, shared=shared)
    scenario.run()
    scenario.leave("u1")
    scenario.directory.memberships[SECOND.id].add("u1")
    scenario.fakes.clock.advance(LATER)
    return scenario


def test_a_move_that_nothing_stands_in_the_way_of_is_told_and_done():
    scenario = leaving(shared=False)
    before = everything(scenario)
    _, lines = at(scenario).preview()
    assert everything(scenario) == before
    assert [(line.would, line.user_id, line.detail) for line in lines] == [(Would.SUSPEND, "u1", OUT)]
    scenario.run()
    assert scenario.entry("u1").status is Status.SUSPENDED
    assert scenario.entry("u1", "c2").status is Status.ACTIVE


def test_a_move_that_waits_for_an_administrator_leaves_the_account_as_it_is_and_the_preview_says_so():
    scenario = leaving(shared=True)
    scenario.run()
    done, lines = at(scenario).preview()
    assert (lines, done.result.counts) == ([], {"unchanged": 3})
    scenario.run()
    assert scenario.entry("u1").status is Status.ACTIVE


@pytest.mark.parametrize("shared", [True, False])
def test_who_is_in_both_scopes_is_in_neither_list(shared):
    scenario = leaving(shared=shared)
    scenario.directory.memberships[GROUP.id].add("u1")
    done, lines = at(scenario).preview()
    assert lines == []
    assert any("several connections, kept by the one that has them: 1" in note for note in done.result.notes)
