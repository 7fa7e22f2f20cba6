"""A move whose new account waits in a held plan: the old connection neither plans nor counts a suspension meanwhile."""

from __future__ import annotations

import pytest

from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.domain.guard import Kind
from autoprovisioning.domain.holds import Hold, HoldState
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.settings import VolumeLimit
from tests.support.in_memory import FakeKeeper
from tests.support.scenario import Office
from tests.support.settings import with_settings
from tests.unit.provisioning.test_moves import SECOND
from tests.unit.runs.test_decided_plans import ADMIN, DAY, company, run, suspended

MOVED = [f"x{number}" for number in range(60)]


@pytest.fixture
def moved() -> tuple[Office, FakeKeeper]:
    """Sixty of c1 move to c2, which holds their creation; c1 could take the access of all of them."""
    office = company(80)
    office.services.connections.change(
        "c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=1000, share=1000.0))
    )
    other = office.connect("c2", SECOND, shared=False)
    run(office)
    run(office, DAY)  # its first run is over
    for user_id in MOVED:
        office.leave(user_id)
        office.directory.memberships[SECOND.id].add(user_id)
    run(office, DAY)
    return office, other


def waiting(office: Office, connection_id: str) -> list[Hold]:
    holds = office.services.holds.standing(connection_id)
    return [hold for hold in holds if hold.state is HoldState.WAITING]


def taken(office: Office) -> int:
    return len(office.desk.store.guards["c1"].current(Kind.TAKING, office.desk.clock.now))


@pytest.mark.parametrize("decided", [None, "reject"])
def test_whoever_is_not_let_in_by_a_held_plan_is_no_leaver_of_the_old_connection(moved, decided):
    office, other = moved
    assert [hold.counts() for hold in waiting(office, "c2")] == [{"create": 60}]
    if decided:
        decide_hold(office.services, "c2", waiting(office, "c2")[0].digest, decided, ADMIN)
    office.desk.clock.advance(DAY)
    planned = office.plan(RunKind.FULL).planned
    office.work_off()
    assert (planned, taken(office), suspended(office), len(other.accounts)) == ({}, 0, 0, 0)
    assert waiting(office, "c1") == []


def test_once_they_are_let_in_the_old_accounts_are_suspended(moved):
    office, other = moved
    decide_hold(office.services, "c2", waiting(office, "c2")[0].digest, "approve", ADMIN)
    run(office)
    run(office)
    assert (len(other.accounts), suspended(office), taken(office)) == (60, 60, 60)


def test_who_leaves_the_new_scope_too_loses_access_at_once(moved):
    office, _other = moved
    run(office)
    office.directory.memberships[SECOND.id].clear()
    run(office)
    assert (suspended(office), waiting(office, "c2")) == (60, [])
