"""A preview of a connection that users leave for another one says what the next run does to them."""

from __future__ import annotations

import pytest

from autoprovisioning.app.ports.requests import Would
from autoprovisioning.domain.directory_user import Group
from autoprovisioning.domain.entry import Status
from tests.support.previewing import OUT, at, everything
from tests.support.scenario import GROUP, LATER, Office

SECOND = Group(id="g2", email="sales@example.com", name="Sales")


def leaving(*, shared: bool) -> Office:
    """u1 has left c1's scope for c2's."""
    office = Office()
    office.connect("c2", SECOND, shared=shared)
    office.run()
    office.leave("u1")
    office.directory.memberships[SECOND.id].add("u1")
    office.desk.clock.advance(LATER)
    return office


def test_a_move_that_nothing_stands_in_the_way_of_is_told_and_done():
    office = leaving(shared=False)
    before = everything(office)
    _, lines = at(office).preview()
    assert everything(office) == before
    assert [(line.would, line.user_id, line.detail) for line in lines] == [(Would.SUSPEND, "u1", OUT)]
    office.run()
    assert office.entry("u1").status is Status.SUSPENDED
    assert office.entry("u1", "c2").status is Status.ACTIVE


def test_a_move_that_waits_for_an_administrator_leaves_the_account_as_it_is_and_the_preview_says_so():
    office = leaving(shared=True)
    office.run()
    done, lines = at(office).preview()
    assert (lines, done.result.counts) == ([], {"unchanged": 3})
    office.run()
    assert office.entry("u1").status is Status.ACTIVE


@pytest.mark.parametrize("shared", [True, False])
def test_who_is_in_both_scopes_is_in_neither_list(shared):
    office = leaving(shared=shared)
    office.directory.memberships[GROUP.id].add("u1")
    done, lines = at(office).preview()
    assert lines == []
    assert any("several connections, kept by the one that has them: 1" in note for note in done.result.notes)
