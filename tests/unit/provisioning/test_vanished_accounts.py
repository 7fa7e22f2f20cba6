"""Accounts that vanish from Keeper, come back, or are somebody else's: nobody wrongly in or out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.domain.entry import ACCOUNT, Status
from autoprovisioning.domain.errors import SeatsExhausted
from autoprovisioning.domain.mapping import AttributeMapping
from autoprovisioning.domain.runs import RunKind
from tests.support.builders import active, notice
from tests.support.scenario import GROUP, LATER, person


def test_a_lock_does_not_outlive_its_account(scenario):
    (account,) = scenario.keeper.of("u1")
    scenario.keeper.accounts[account.scim_id] = replace(account, active=False)
    scenario.plan(RunKind.DRIFT)
    scenario.work_off()
    assert scenario.entry("u1").status is Status.LOCKED
    del scenario.keeper.accounts[account.scim_id]
    scenario.plan(RunKind.DRIFT)
    scenario.work_off()
    assert (scenario.entry("u1").status, active(scenario, "u1")) == (Status.ACTIVE, [True])


def test_an_address_that_was_given_up_finds_no_account(scenario):
    scenario.keeper.faults.append(SeatsExhausted("428"))
    scenario.hire("u4", "dan@example.com")
    notice(scenario, "u4", "add")
    scenario.directory.live["u4"] = person("u4", "daniel@example.com", "Dan")
    scenario.directory.live["u5"] = person("u5", "dan@example.com", "Other")
    invited = scenario.keeper.seed("dan@example.com")
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    assert scenario.keeper.accounts[invited.scim_id].external_id == ""
    assert active(scenario, "u4") == [True]


def test_a_leavers_vanished_account_is_not_found_in_a_newcomers(scenario):
    (account,) = scenario.keeper.of("u1")
    del scenario.keeper.accounts[account.scim_id]
    scenario.delete("u1")
    scenario.hire("u4", "ada@example.com")
    scenario.keeper.seed("ada@example.com")
    notice(scenario, "u1", "delete")
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    assert (active(scenario, "u4"), active(scenario, "u1")) == ([], [])
    assert scenario.entry("u4").failure.code == "adoption_in_doubt"  # as long as the leaver is listed with the address


def test_a_suspended_account_recreated_in_keeper_is_suspended_again(scenario):
    scenario.suspend("u1")
    notice(scenario, "u1")
    (account,) = scenario.keeper.of("u1")
    del scenario.keeper.accounts[account.scim_id]
    scenario.keeper.seed("ada@example.com", "u1")
    scenario.rename("u1", "New name")
    notice(scenario, "u1")
    assert (scenario.entry("u1").status, active(scenario, "u1")) == (Status.SUSPENDED, [False])


def test_coming_back_does_not_lift_a_lock_that_somebody_else_put_on_a_new_account(scenario):
    scenario.suspend("u1")
    notice(scenario, "u1")
    (account,) = scenario.keeper.of("u1")
    del scenario.keeper.accounts[account.scim_id]
    scenario.keeper.seed("ada@example.com", active=False)
    scenario.restore("u1")
    notice(scenario, "u1")
    assert (scenario.entry("u1").status, active(scenario, "u1")) == (Status.LOCKED, [False])


@pytest.mark.parametrize("returns", [True, False])
def test_an_account_found_in_place_of_a_suspended_one_gets_all_attributes(scenario, returns):
    """What was written to the one that vanished says nothing of it."""
    if returns:
        scenario.suspend("u1")
        notice(scenario, "u1")
    (account,) = scenario.keeper.of("u1")
    del scenario.keeper.accounts[account.scim_id]
    scenario.keeper.seed("ada@example.com", "u1")
    (scenario.restore if returns else scenario.suspend)("u1")
    notice(scenario, "u1")
    user = scenario.directory.live["u1"]
    (found,) = scenario.keeper.of("u1")
    assert (found.active, found.attributes) == (returns, AttributeMapping().apply(user.profile))


def test_nobody_gets_a_new_account_whose_scope_cannot_be_told_alone(scenario):
    (account,) = scenario.keeper.of("u1")
    del scenario.keeper.accounts[account.scim_id]
    scenario.leave("u1")
    scenario.rename("u1", "Grace")
    notice(scenario, "u1")  # the directory says that u1 is no member, which alone proves nothing
    assert (scenario.keeper.of("u1"), scenario.entry("u1").drift) == ([], (ACCOUNT,))
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    assert (scenario.keeper.of("u1"), scenario.entry("u1").status) == ([], Status.SUSPENDED)


def test_a_run_that_cannot_tell_the_scope_gives_nobody_a_new_account(scenario):
    (account,) = scenario.keeper.of("u1")
    del scenario.keeper.accounts[account.scim_id]
    scenario.rename("u1", "Grace")
    scenario.leave("u1")
    scenario.directory.unreadable.add(GROUP.id)
    scenario.plan()
    scenario.work_off()
    assert (scenario.keeper.of("u1"), scenario.entry("u1").drift) == ([], (ACCOUNT,))


def test_who_is_back_in_scope_is_given_the_account_that_vanished_meanwhile(scenario):
    (account,) = scenario.keeper.of("u1")
    del scenario.keeper.accounts[account.scim_id]
    scenario.leave("u1")
    scenario.rename("u1", "Grace")
    notice(scenario, "u1")
    scenario.join("u1")
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    assert active(scenario, "u1") == [True]
