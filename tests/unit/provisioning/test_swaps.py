"""Addresses that pass from user to user: chains arrive, circles are refused in words and heal once one user moves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.domain.decision import BackOff, about, decide
from autoprovisioning.domain.entry import Action, failed
from autoprovisioning.domain.errors import AddressTaken
from autoprovisioning.domain.events import EventName
from tests.support.builders import ADA, MINUTE, NOW, SECOND, entry, notice, rules, seen
from tests.support.decisions import action_of
from tests.support.scenario import ADDRESSES, LATER, Scenario, person

A, B, C, D, _ = ADDRESSES  # u1 to u3 have the first three of them


def readdressed(scenario: Scenario, **addresses: str) -> None:
    """Give users addresses in one go, as if all notifications had been lost."""
    for user_id, address in addresses.items():
        user = scenario.directory.live[user_id]
        known = replace(user, primary_email=address, aliases=())
        scenario.directory.live[user_id] = person(user_id, address, user.profile["name"]["givenName"], known)


def held(scenario: Scenario) -> dict[str, str]:
    """Return which address each of the users has in Keeper."""
    return {user_id: account.user_name for user_id in ("u1", "u2", "u3") for account in scenario.keeper.of(user_id)}


def run(scenario: Scenario) -> None:
    scenario.fakes.clock.advance(MINUTE)  # far less than what a failure waits for
    scenario.run()


def failures(scenario: Scenario) -> int:
    return sum(event.name is EventName.FAILED for event in scenario.fakes.store.events["c1"].values())


CIRCLES = {
    "swap": {"u1": B, "u2": A},
    "three": {"u1": B, "u2": C, "u3": A},
}


@pytest.mark.parametrize("circle", CIRCLES.values(), ids=CIRCLES)
@pytest.mark.parametrize("through", ["run", "looks"])
def test_a_circle_is_refused_in_words_and_costs_no_one_their_access(scenario, circle, through):
    before = held(scenario)
    readdressed(scenario, **circle)
    if through == "looks":
        for user_id in circle:
            notice(scenario, user_id)
    for _ in range(3):
        run(scenario)
    assert held(scenario) == before
    assert all(account.active for account in scenario.keeper.accounts.values())
    assert failures(scenario) == len(circle), "it is not sent again while nothing has changed"
    for user_id, address in circle.items():
        told = scenario.entry(user_id)
        holder = next(other for other, name in before.items() if name == address)
        assert told.failure.text == (
            f"{address} is still the address of user {holder}. This is retried once that account has another address: "
            "after a swap, give one of the two a third address in the directory for a while."
        )
        assert (told.failure.code, told.pending) == ("address_taken", False)


@pytest.mark.parametrize("circle", CIRCLES.values(), ids=CIRCLES)
@pytest.mark.parametrize("through", ["run", "look"])
def test_a_circle_heals_once_one_of_its_users_has_a_third_address(scenario, circle, through):
    readdressed(scenario, **circle)
    run(scenario)
    readdressed(scenario, u1="third@example.com")
    if through == "look":
        notice(scenario, "u1")
    for _ in circle:
        run(scenario)
    readdressed(scenario, u1=circle["u1"])
    run(scenario)
    assert held(scenario) == {**dict(zip(("u1", "u2", "u3"), ADDRESSES, strict=False)), **circle}
    assert not any(scenario.entry(user_id).failure or scenario.entry(user_id).pending for user_id in circle)


def test_a_chain_arrives_in_one_run(scenario):
    readdressed(scenario, u1=B, u2=C, u3=D)
    run(scenario)
    assert held(scenario) == {"u1": B, "u2": C, "u3": D}
    assert failures(scenario) == 0


def test_a_chain_whose_links_come_one_by_one_in_the_wrong_order_arrives_with_the_runs(scenario):
    readdressed(scenario, u1=B, u2=C, u3=D)
    for user_id in ("u1", "u2", "u3"):
        notice(scenario, user_id)
    for _ in range(2):
        run(scenario)
    assert held(scenario) == {"u1": B, "u2": C, "u3": D}


def test_an_address_whose_user_is_suspended_is_waited_for_and_an_account_outside_the_roster_is_not_named(scenario):
    scenario.suspend("u2")
    run(scenario)
    scenario.keeper.seed(D, "u99")
    readdressed(scenario, u1=B, u3=D)
    run(scenario)
    assert f"{B} is still the address of user u2" in scenario.entry("u1").failure.text
    assert scenario.entry("u3").failure.text == "409"
    before = failures(scenario)
    run(scenario)
    assert failures(scenario) == before
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    assert failures(scenario) == before + 2, "and tried again when its time has come"


def test_a_failure_that_waits_for_its_next_attempt_waits_for_nothing_else():
    failure = failed(None, AddressTaken.code, "taken", about(Action.UPDATE, {**ADA, "userName": B}, "u2"), NOW)
    known = entry(failure=failure, pending=True)
    for holder, waits in (("u2", True), (None, True), ("", False), ("u3", False)):
        wanted = replace(seen(), desired={**ADA, "userName": B})
        decision = decide(known, wanted, rules(holder={B: holder}.get), NOW + SECOND)
        assert (action_of(decision) is None, isinstance(decision, BackOff)) == (waits, waits), holder
        assert not waits or not decision.noted.pending
