"""A move whose new account waits in a held plan: the old connection neither plans nor counts a suspension meanwhile."""

from __future__ import annotations

import pytest

from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.domain.guard import Kind
from autoprovisioning.domain.holds import Hold, HoldState
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.settings import VolumeLimit
from tests.support.in_memory import FakeKeeper
from tests.support.scenario import Scenario
from tests.support.settings import with_settings
from tests.unit.provisioning.test_moves import SECOND
from tests.unit.runs.test_decided_plans import ADMIN, DAY, company, run, suspended

MOVED = [f"x{number}" for number in range(60)]


@pytest.fixture
def moved() -> tuple[Scenario, FakeKeeper]:
    """Sixty of c1 move to c2, which holds their creation; c1 could take the access of all of them."""
    scenario = company(80)
    scenario.services.connections.change(
        "c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=1000, share=1000.0))
    )
    other = scenario.connect("c2", SECOND, shared=False)
    run(scenario)
    run(scenario, DAY)  # its first run is over
    for user_id in MOVED:
        scenario.leave(user_id)
        scenario.directory.memberships[SECOND.id].add(user_id)
    run(scenario, DAY)
    return scenario, other


def waiting(scenario: Scenario, connection_id: str) -> list[Hold]:
    holds = scenario.services.holds.standing(connection_id)
    return [hold for hold in holds if hold.state is HoldState.WAITING]


def taken(scenario: Scenario) -> int:
    return len(scenario.fakes.store.guards["c1"].current(Kind.TAKING, scenario.fakes.clock.now))


@pytest.mark.parametrize("decided", [None, "reject"])
def test_whoever_is_not_let_in_by_a_held_plan_is_no_leaver_of_the_old_connection(moved, decided):
    scenario, other = moved
    assert [hold.counts() for hold in waiting(scenario, "c2")] == [{"create": 60}]
    if decided:
        decide_hold(scenario.services, "c2", waiting(scenario, "c2")[0].digest, decided, ADMIN)
    scenario.fakes.clock.advance(DAY)
    planned = scenario.plan(RunKind.FULL).planned
    scenario.work_off()
    assert (planned, taken(scenario), suspended(scenario), len(other.accounts)) == ({}, 0, 0, 0)
    assert waiting(scenario, "c1") == []


def test_once_they_are_let_in_the_old_accounts_are_suspended(moved):
    scenario, other = moved
    decide_hold(scenario.services, "c2", waiting(scenario, "c2")[0].digest, "approve", ADMIN)
    run(scenario)
    run(scenario)
    assert (len(other.accounts), suspended(scenario), taken(scenario)) == (60, 60, 60)


def test_who_leaves_the_new_scope_too_loses_access_at_once(moved):
    scenario, _other = moved
    run(scenario)
    scenario.directory.memberships[SECOND.id].clear()
    run(scenario)
    assert (suspended(scenario), waiting(scenario, "c2")) == (60, [])
