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
from tests.support.scenario import ADDRESSES, LATER, Office, person

A, B, C, D, _ = ADDRESSES  # u1 to u3 have the first three of them


def readdressed(office: Office, **addresses: str) -> None:
    """Give users addresses in one go, as if all notifications had been lost."""
    for user_id, address in addresses.items():
        user = office.directory.live[user_id]
        known = replace(user, primary_email=address, aliases=())
        office.directory.live[user_id] = person(user_id, address, user.profile["name"]["givenName"], known)


def held(office: Office) -> dict[str, str]:
    """Return which address each of the users has in Keeper."""
    return {user_id: account.user_name for user_id in ("u1", "u2", "u3") for account in office.keeper.of(user_id)}


def run(office: Office) -> None:
    office.desk.clock.advance(MINUTE)  # far less than what a failure waits for
    office.run()


def failures(office: Office) -> int:
    return sum(event.name is EventName.FAILED for event in office.desk.store.events["c1"].values())


CIRCLES = {
    "swap": {"u1": B, "u2": A},
    "three": {"u1": B, "u2": C, "u3": A},
}


@pytest.mark.parametrize("circle", CIRCLES.values(), ids=CIRCLES)
@pytest.mark.parametrize("through", ["run", "looks"])
def test_a_circle_is_refused_in_words_and_costs_no_one_their_access(office, circle, through):
    before = held(office)
    readdressed(office, **circle)
    if through == "looks":
        for user_id in circle:
            notice(office, user_id)
    for _ in range(3):
        run(office)
    assert held(office) == before
    assert all(account.active for account in office.keeper.accounts.values())
    assert failures(office) == len(circle), "it is not sent again while nothing has changed"
    for user_id, address in circle.items():
        told = office.entry(user_id)
        holder = next(other for other, name in before.items() if name == address)
        assert told.failure.text == (
            f"{address} is still the address of user {holder}. This is tried again once that account has another one: "
            "after a swap, give one of the two a third address in the directory for a while."
        )
        assert (told.failure.code, told.pending) == ("address_taken", False)


@pytest.mark.parametrize("circle", CIRCLES.values(), ids=CIRCLES)
@pytest.mark.parametrize("through", ["run", "look"])
def test_a_circle_heals_once_one_of_its_users_has_a_third_address(office, circle, through):
    readdressed(office, **circle)
    run(office)
    readdressed(office, u1="third@example.com")
    if through == "look":
        notice(office, "u1")
    for _ in circle:
        run(office)
    readdressed(office, u1=circle["u1"])
    run(office)
    assert held(office) == {**dict(zip(("u1", "u2", "u3"), ADDRESSES, strict=False)), **circle}
    assert not any(office.entry(user_id).failure or office.entry(user_id).pending for user_id in circle)


def test_a_chain_arrives_in_one_run(office):
    readdressed(office, u1=B, u2=C, u3=D)
    run(office)
    assert held(office) == {"u1": B, "u2": C, "u3": D}
    assert failures(office) == 0


def test_a_chain_whose_links_come_one_by_one_in_the_wrong_order_arrives_with_the_runs(office):
    readdressed(office, u1=B, u2=C, u3=D)
    for user_id in ("u1", "u2", "u3"):
        notice(office, user_id)
    for _ in range(2):
        run(office)
    assert held(office) == {"u1": B, "u2": C, "u3": D}


def test_an_address_whose_user_is_suspended_is_waited_for_and_an_account_outside_the_roster_is_not_named(office):
    office.suspend("u2")
    run(office)
    office.keeper.seed(D, "u99")
    readdressed(office, u1=B, u3=D)
    run(office)
    assert f"{B} is still the address of user u2" in office.entry("u1").failure.text
    assert office.entry("u3").failure.text == "409"
    before = failures(office)
    run(office)
    assert failures(office) == before
    office.desk.clock.advance(LATER)
    office.run()
    assert failures(office) == before + 2, "and tried again when its time has come"


def test_a_failure_that_waits_for_its_next_attempt_waits_for_nothing_else():
    failure = failed(None, AddressTaken.code, "taken", about(Action.UPDATE, {**ADA, "userName": B}, "u2"), NOW)
    known = entry(failure=failure, pending=True)
    for holder, waits in (("u2", True), (None, True), ("", False), ("u3", False)):
        wanted = replace(seen(), desired={**ADA, "userName": B}, holder=holder)
        decision = decide(known, wanted, rules(), NOW + SECOND)
        assert (action_of(decision) is None, isinstance(decision, BackOff)) == (waits, waits), holder
        assert not waits or not decision.noted.pending
