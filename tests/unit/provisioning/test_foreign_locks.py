"""Locks in Keeper: ours where any roster of ours says so, else somebody's, lifted only as an administrator approves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.domain.changes import Change, Outcome, recorded
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.decision import decide
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import EXTERNAL_ID, Action, Entry, Status
from autoprovisioning.domain.errors import Rejected
from autoprovisioning.domain.events import Actor, EventName
from autoprovisioning.domain.holds import HoldState
from autoprovisioning.domain.runs import RunKind
from tests.support.builders import DAY, IN_A_WEEK, MINUTE, NOW, active, entry, notice, rules, seen
from tests.support.decisions import action_of, trigger_of, unsure
from tests.support.in_memory import FakeAccounts
from tests.support.scenario import LATER
from tests.support.settings import with_settings

BOSS = Actor(address="boss@example.com")


def lock(scenario, user_id: str, *, locked: bool = True) -> None:
    """Have somebody lock or unlock the account in Keeper."""
    (account,) = scenario.keeper.of(user_id)
    scenario.keeper.accounts[account.scim_id] = replace(account, active=not locked)


def write(scenario, connection, known: Entry | None) -> None:
    """Have a roster say that of u1, or nothing."""
    scenario.services.roster.commit(connection, ["u1"], lambda _known: (Edit(entries={"u1": known}), None))


def drift(scenario) -> None:
    scenario.fakes.clock.advance(LATER)
    scenario.plan(RunKind.DRIFT)
    scenario.work_off()


def waiting(scenario):
    return [hold for hold in scenario.services.holds.standing("c1") if hold.state is HoldState.WAITING]


def decided(scenario, *, approve: bool) -> None:
    (hold,) = waiting(scenario)
    decide_hold(scenario.services, "c1", hold.digest, "approve" if approve else "reject", BOSS)
    scenario.fakes.clock.advance(LATER)
    scenario.run()


def test_a_locked_account_of_somebody_entitled_is_to_be_unlocked_as_approved_only():
    decision = decide(entry(Status.LOCKED, locked_at=NOW), seen(), rules(), NOW)
    assert (action_of(decision), trigger_of(decision)) == (Action.UNLOCK, None)
    assert action_of(decide(entry(Status.LOCKED), seen(in_scope=None), rules(), NOW)) is None


@pytest.mark.parametrize(("presence", "in_scope"), [(Presence.SUSPENDED, True), (Presence.ACTIVE, False)])
def test_a_locked_account_of_whoever_loses_access_is_asked_for_once_when_that_is_due(presence, in_scope):
    what = seen(presence, in_scope, since=NOW)
    known = decide(entry(Status.LOCKED), what, rules(IN_A_WEEK), NOW)
    assert (action_of(known), unsure(known)) == (None, False)
    due = decide(known.noted, what, rules(IN_A_WEEK), NOW + 7 * DAY)
    assert (action_of(due), unsure(due)) == (None, True)
    asked = replace(due.noted, locked_at=NOW + 7 * DAY + MINUTE)
    assert not unsure(decide(asked, what, rules(IN_A_WEEK), NOW + 8 * DAY))
    assert action_of(decide(asked, what, rules(IN_A_WEEK), NOW + 30 * DAY)) is None


@pytest.mark.parametrize("told", ["notification", "run"])
def test_unlocked_in_keeper_and_suspended_in_the_directory_loses_access_at_once(scenario, told):
    lock(scenario, "u1")
    drift(scenario)
    assert scenario.entry("u1").status is Status.LOCKED
    lock(scenario, "u1", locked=False)
    scenario.suspend("u1")
    scenario.fakes.clock.advance(LATER)
    if told == "notification":
        notice(scenario, "u1")
    else:
        scenario.run()
    assert (scenario.entry("u1").status, active(scenario, "u1")) == (Status.SUSPENDED, [False])


def test_a_locked_account_that_keeper_does_not_show_fails_once_at_each_look(scenario, monkeypatch):
    lock(scenario, "u1")
    drift(scenario)

    def refuse(_accounts: FakeAccounts, _scim_id: str) -> None:
        raise Rejected("Keeper refuses to show it")

    monkeypatch.setattr(FakeAccounts, "get", refuse)
    for attempts in (1, 2, 3):
        scenario.fakes.clock.advance(DAY)
        notice(scenario, "u1")
        failure = scenario.entry("u1").failure
        assert (failure.code, failure.attempts) == (Rejected.code, attempts)


def test_one_who_stays_locked_is_not_asked_for_by_every_run(scenario):
    lock(scenario, "u1")
    drift(scenario)
    scenario.suspend("u1")
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    kept = scenario.entry("u1")
    assert kept.status is Status.LOCKED
    scenario.fakes.clock.advance(LATER)
    run = scenario.plan()
    assert (dict(run.planned), scenario.entry("u1"), active(scenario, "u1")) == ({}, kept, [False])


def test_a_lock_is_raised_and_lifted_as_approved(scenario):
    lock(scenario, "u1")
    drift(scenario)
    (hold,) = waiting(scenario)
    assert [(member.resource, member.action) for member in hold.members] == [("u1", "unlock")]
    assert "1 unlock" in hold.reason
    notice(scenario, "u1")
    assert active(scenario, "u1") == [False]
    decided(scenario, approve=True)
    assert (scenario.entry("u1").status, active(scenario, "u1")) == (Status.ACTIVE, [True])
    (event,) = [each for each in scenario.fakes.store.events["c1"].values() if each.attempted is Action.UNLOCK]
    assert (event.name, dict(event.changed)) == (EventName.UNSUSPENDED, {"active": True})
    assert "approved" in event.reason


def test_a_lock_that_is_rejected_stays(scenario):
    lock(scenario, "u1")
    drift(scenario)
    decided(scenario, approve=False)
    for _ in range(3):
        drift(scenario)
    assert (waiting(scenario), active(scenario, "u1")) == ([], [False])


def test_an_account_that_carries_another_directory_id_is_not_unlocked(scenario):
    lock(scenario, "u1")
    drift(scenario)
    (account,) = scenario.keeper.of("u1")
    scenario.keeper.accounts[account.scim_id] = replace(account, external_id="somebody-else")
    decided(scenario, approve=True)
    assert scenario.keeper.accounts[account.scim_id].active is False


def test_our_own_lock_found_by_a_lost_roster_is_asked_for(scenario):
    scenario.suspend("u1")
    scenario.reconcile_to_the_end()
    write(scenario, scenario.connection, None)
    scenario.restore("u1")
    scenario.reconcile_to_the_end()
    assert (scenario.entry("u1").status, active(scenario, "u1")) == (Status.LOCKED, [False])
    decided(scenario, approve=True)
    assert active(scenario, "u1") == [True]


@pytest.mark.parametrize("then", ["run", "notification"])
def test_a_lock_that_another_roster_of_ours_records_is_lifted_when_its_user_returns(scenario, then):
    scenario.suspend("u1")
    scenario.reconcile_to_the_end()
    other = replace(scenario.connection, id="c2", order=9, state=State.OFF, revision=0)
    scenario.services.connections.create(other)
    known = scenario.entry("u1")
    write(scenario, other, replace(known, scim_id="elsewhere"))
    write(scenario, scenario.connection, None)
    scenario.restore("u1")
    if then == "notification":
        notice(scenario, "u1")
    else:
        scenario.fakes.clock.advance(LATER)
        scenario.run()
    assert (scenario.entry("u1").status, active(scenario, "u1")) == (Status.ACTIVE, [True])


def test_one_wrong_404_neither_drops_a_leaver_nor_makes_our_lock_a_strangers(scenario):
    scenario.suspend("u1")
    scenario.reconcile_to_the_end()
    (account,) = scenario.keeper.of("u1")
    scenario.rename("u1", "Grace")
    hidden = scenario.keeper.accounts.pop(account.scim_id)
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    assert scenario.entry("u1").status is Status.SUSPENDED
    scenario.keeper.accounts[account.scim_id] = hidden
    scenario.restore("u1")
    scenario.reconcile_to_the_end()
    assert (scenario.entry("u1").status, active(scenario, "u1")) == (Status.ACTIVE, [True])


def test_what_was_lost_of_somebody_whom_we_had_locked_is_found_as_our_lock(scenario):
    scenario.suspend("u1")
    scenario.reconcile_to_the_end()
    known = scenario.entry("u1")
    change = Change(id="c1", entry=known, action=Action.UNSUSPEND, email=known.email, scim_id=known.scim_id)
    lost = recorded(known, Outcome(change=change), NOW)
    assert (lost.status, lost.scim_id, lost.locked_at) == (Status.NONE, "", NOW)
    write(scenario, scenario.connection, lost)
    scenario.restore("u1")
    notice(scenario, "u1")
    assert (scenario.entry("u1").status, active(scenario, "u1")) == (Status.ACTIVE, [True])


def test_a_leaver_whose_account_vanished_is_found_by_drift_if_it_was_only_hidden(scenario):
    policy = Deprovisioning(app_off=Delays(), suspended=Delays(), deleted=Delays())
    scenario.services.connections.change("c1", lambda current: with_settings(current, deprovisioning=policy))
    (account,) = scenario.keeper.of("u1")
    scenario.suspend("u1")
    hidden = scenario.keeper.accounts.pop(account.scim_id)
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    kept = scenario.entry("u1")
    assert (kept.status, kept.scim_id) == (Status.SUSPENDED, account.scim_id)
    scenario.keeper.accounts[account.scim_id] = hidden
    drift(scenario)
    assert active(scenario, "u1") == [False]


@pytest.mark.parametrize("seen_by", ["drift", "an approved look"])
def test_nobody_is_asked_to_unlock_what_carries_another_directory_id(scenario, seen_by):
    (account,) = scenario.keeper.of("u1")
    if seen_by == "drift":
        scenario.keeper.accounts[account.scim_id] = replace(account, external_id="somebody-else")
    scenario.keeper.accounts[account.scim_id] = replace(scenario.keeper.accounts[account.scim_id], active=False)
    drift(scenario)
    if seen_by != "drift":
        scenario.keeper.accounts[account.scim_id] = replace(account, active=False, external_id="somebody-else")
        decided(scenario, approve=True)
    for _ in range(2):
        scenario.fakes.clock.advance(2 * DAY)
        scenario.run()
        drift(scenario)
    known = scenario.entry("u1")
    assert (waiting(scenario), known.status, known.drift) == ([], Status.LOCKED, (EXTERNAL_ID,))
    scenario.keeper.accounts[account.scim_id] = replace(account, active=False)  # mended
    drift(scenario)
    decided(scenario, approve=True)
    assert active(scenario, "u1") == [True]
