"""Accounts that vanish from Keeper, come back, or are somebody else's: nobody wrongly in or out."""

from __future__ import annotations

from dataclasses import replace

from autoprovisioning.domain.entry import ACCOUNT, Status
from autoprovisioning.domain.errors import SeatsExhausted
from autoprovisioning.domain.runs import RunKind
from tests.support.builders import active, notice
from tests.support.scenario import LATER, person


def test_a_lock_does_not_outlive_its_account(office):
    (account,) = office.keeper.of("u1")
    office.keeper.accounts[account.scim_id] = replace(account, active=False)
    office.plan(RunKind.DRIFT)
    office.work_off()
    assert office.entry("u1").status is Status.LOCKED
    del office.keeper.accounts[account.scim_id]
    office.plan(RunKind.DRIFT)
    office.work_off()
    assert (office.entry("u1").status, active(office, "u1")) == (Status.ACTIVE, [True])


def test_an_address_that_was_given_up_finds_no_account(office):
    office.keeper.faults.append(SeatsExhausted("428"))
    office.hire("u4", "dan@example.com")
    notice(office, "u4", "add")
    office.directory.live["u4"] = person("u4", "daniel@example.com", "Dan")
    office.directory.live["u5"] = person("u5", "dan@example.com", "Other")
    invited = office.keeper.seed("dan@example.com")
    office.desk.clock.advance(LATER)
    office.run()
    assert office.keeper.accounts[invited.scim_id].external_id == ""
    assert active(office, "u4") == [True]


def test_a_leavers_vanished_account_is_not_found_in_a_newcomers(office):
    (account,) = office.keeper.of("u1")
    del office.keeper.accounts[account.scim_id]
    office.delete("u1")
    office.hire("u4", "ada@example.com")
    office.keeper.seed("ada@example.com")
    notice(office, "u1", "delete")
    office.desk.clock.advance(LATER)
    office.run()
    assert (active(office, "u4"), active(office, "u1")) == ([], [])
    assert office.entry("u4").failure.code == "adoption_in_doubt"  # as long as the leaver is listed with the address


def test_a_suspended_account_recreated_in_keeper_is_suspended_again(office):
    office.suspend("u1")
    notice(office, "u1")
    (account,) = office.keeper.of("u1")
    del office.keeper.accounts[account.scim_id]
    office.keeper.seed("ada@example.com", "u1")
    office.rename("u1", "New name")
    notice(office, "u1")
    assert (office.entry("u1").status, active(office, "u1")) == (Status.SUSPENDED, [False])


def test_coming_back_does_not_lift_a_lock_that_somebody_else_put_on_a_new_account(office):
    office.suspend("u1")
    notice(office, "u1")
    (account,) = office.keeper.of("u1")
    del office.keeper.accounts[account.scim_id]
    office.keeper.seed("ada@example.com", active=False)
    office.restore("u1")
    notice(office, "u1")
    assert (office.entry("u1").status, active(office, "u1")) == (Status.LOCKED, [False])


def test_nobody_gets_a_new_account_whose_scope_cannot_be_told_alone(office):
    (account,) = office.keeper.of("u1")
    del office.keeper.accounts[account.scim_id]
    office.leave("u1")
    office.rename("u1", "Grace")
    notice(office, "u1")  # the directory says that u1 is no member, which alone proves nothing
    assert (office.keeper.of("u1"), office.entry("u1").drift) == ([], (ACCOUNT,))
    office.desk.clock.advance(LATER)
    office.run()
    assert (office.keeper.of("u1"), office.entry("u1").status) == ([], Status.SUSPENDED)


def test_who_is_back_in_scope_is_given_the_account_that_vanished_meanwhile(office):
    (account,) = office.keeper.of("u1")
    del office.keeper.accounts[account.scim_id]
    office.leave("u1")
    office.rename("u1", "Grace")
    notice(office, "u1")
    office.join("u1")
    office.desk.clock.advance(LATER)
    office.run()
    assert active(office, "u1") == [True]
