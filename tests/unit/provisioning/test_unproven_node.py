"""A node that was reauthorized without proof: each account to be made there is approved, until the node is proven."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.app.administration.tokens import reauthorize
from autoprovisioning.domain.accounts import Account
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.entry import Status
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.holds import Hold
from autoprovisioning.domain.runs import RunKind
from tests.support.builders import notice
from tests.support.scenario import Scenario
from tests.unit.runs.test_decided_plans import ADMIN, QUARTER, company, plans, run


def again(scenario: Scenario, *, override: bool = True) -> None:
    """Reauthorize, with a token that Keeper takes."""
    scenario.services.connections.change("c1", lambda current: replace(current, state=State.PAUSED))
    scenario.keeper.accepts.add("another")
    reauthorize(scenario.services, "c1", "another", ADMIN, override=override)


def drift(scenario: Scenario) -> None:
    scenario.fakes.clock.advance(QUARTER)
    scenario.plan(RunKind.DRIFT)
    scenario.work_off()


@pytest.fixture
def emptied() -> Scenario:
    """Eight people whose accounts are gone, on a node that was taken on trust; two were never known to have one."""
    scenario = company(5)
    scenario.keeper.accounts.clear()
    again(scenario)
    drift(scenario)
    for number in (20, 21):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    run(scenario)
    assert scenario.keeper.accounts == {}
    assert sorted([*hold.counts().items()] for hold in plans(scenario)) == [[("create", 2)], [("recreate", 8)]]
    return scenario


def test_what_was_planned_before_is_not_made_there_when_its_batch_is_delivered_late():
    scenario = company(5)
    scenario.hire("x20", "x20@example.com")
    scenario.plan()
    late, scenario.fakes.queue.batches = scenario.fakes.queue.batches, []
    scenario.keeper.accounts.clear()
    again(scenario)
    for batch in late:
        scenario.apply(batch)
    assert scenario.keeper.accounts == {}
    run(scenario)
    assert [hold.counts() for hold in plans(scenario)] == [{"create": 1}]


def of(scenario: Scenario, action: str) -> Hold:
    (hold,) = [hold for hold in plans(scenario) if hold.members[0].action == action]
    return hold


def decide(scenario: Scenario, action: str, choice: str, *users: str) -> None:
    decide_hold(scenario.services, "c1", of(scenario, action).digest, choice, ADMIN, users=users or None)


def made(scenario: Scenario) -> set[str]:
    return {account.external_id for account in scenario.keeper.accounts.values()}


def test_who_approves_one_account_lets_no_other_one_go(emptied):
    decide(emptied, "recreate", "approve", "x0")
    for _ in range(2):
        run(emptied)
        drift(emptied)
        for user_id in ("x1", "x20"):
            notice(emptied, user_id)
    assert made(emptied) == {"x0"}
    assert emptied.connection.unproven is not None
    with pytest.raises(BadInput, match="none of this connection's accounts"):
        again(emptied, override=False)


def test_approving_all_that_is_to_be_made_proves_the_node(emptied):
    decide(emptied, "recreate", "approve")
    run(emptied)
    assert emptied.connection.unproven is not None
    decide(emptied, "create", "approve")
    run(emptied)
    assert (len(emptied.keeper.accounts), emptied.connection.unproven) == (10, None)
    emptied.hire("x22", "x22@example.com")
    run(emptied)
    assert len(emptied.keeper.accounts) == 11


def test_an_account_that_was_known_before_proves_the_node_and_a_rejection_outlives_that(emptied):
    decide(emptied, "create", "reject", "x20")
    known = emptied.entry("u1")
    emptied.keeper.accounts[known.scim_id] = Account(
        scim_id=known.scim_id, user_name=known.email, external_id="u1", active=True
    )
    drift(emptied)
    run(emptied)
    run(emptied)
    assert emptied.connection.unproven is None
    assert "x21" in made(emptied)
    assert "x20" not in made(emptied)
    assert emptied.entry("x20") is None or emptied.entry("x20").status is Status.NONE
