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


def lock(office, user_id: str, *, locked: bool = True) -> None:
    """Have somebody lock or unlock the account in Keeper."""
    (account,) = office.keeper.of(user_id)
    office.keeper.accounts[account.scim_id] = replace(account, active=not locked)


def write(office, connection, known: Entry | None) -> None:
    """Have a roster say that of u1, or nothing."""
    office.services.roster.commit(connection, ["u1"], lambda _known: (Edit(entries={"u1": known}), None))


def drift(office) -> None:
    office.desk.clock.advance(LATER)
    office.plan(RunKind.DRIFT)
    office.work_off()


def waiting(office):
    return [hold for hold in office.services.holds.standing("c1") if hold.state is HoldState.WAITING]


def decided(office, *, approve: bool) -> None:
    (hold,) = waiting(office)
    decide_hold(office.services, "c1", hold.digest, "approve" if approve else "reject", BOSS)
    office.desk.clock.advance(LATER)
    office.run()


def test_a_locked_account_of_somebody_entitled_is_to_be_unlocked_as_approved_only():
    decision = decide(entry(Status.LOCKED, locked_at=NOW), seen(), rules(), NOW)
    assert (action_of(decision), action_of(decision).asks, trigger_of(decision)) == (Action.UNLOCK, True, None)
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
def test_unlocked_in_keeper_and_suspended_in_the_directory_loses_access_at_once(office, told):
    lock(office, "u1")
    drift(office)
    assert office.entry("u1").status is Status.LOCKED
    lock(office, "u1", locked=False)
    office.suspend("u1")
    office.desk.clock.advance(LATER)
    if told == "notification":
        notice(office, "u1")
    else:
        office.run()
    assert (office.entry("u1").status, active(office, "u1")) == (Status.SUSPENDED, [False])


def test_a_locked_account_that_keeper_does_not_show_fails_once_at_each_look(office, monkeypatch):
    lock(office, "u1")
    drift(office)

    def refuse(_accounts: FakeAccounts, _scim_id: str) -> None:
        raise Rejected("Keeper refuses to show it")

    monkeypatch.setattr(FakeAccounts, "get", refuse)
    for attempts in (1, 2, 3):
        office.desk.clock.advance(DAY)
        notice(office, "u1")
        failure = office.entry("u1").failure
        assert (failure.code, failure.attempts) == (Rejected.code, attempts)


def test_one_who_stays_locked_is_not_asked_for_by_every_run(office):
    lock(office, "u1")
    drift(office)
    office.suspend("u1")
    office.desk.clock.advance(LATER)
    office.run()
    kept = office.entry("u1")
    assert kept.status is Status.LOCKED
    office.desk.clock.advance(LATER)
    run = office.plan()
    assert (dict(run.planned), office.entry("u1"), active(office, "u1")) == ({}, kept, [False])


def test_a_lock_is_raised_and_lifted_as_approved(office):
    lock(office, "u1")
    drift(office)
    (hold,) = waiting(office)
    assert [(member.user_id, member.action) for member in hold.members] == [("u1", "unlock")]
    assert "1 unlocking" in hold.reason
    notice(office, "u1")
    assert active(office, "u1") == [False]
    decided(office, approve=True)
    assert (office.entry("u1").status, active(office, "u1")) == (Status.ACTIVE, [True])
    (event,) = [each for each in office.desk.store.events["c1"].values() if each.attempted is Action.UNLOCK]
    assert (event.name, dict(event.changed)) == (EventName.UNSUSPENDED, {"active": True})
    assert "approved" in event.reason


def test_a_lock_that_is_rejected_stays(office):
    lock(office, "u1")
    drift(office)
    decided(office, approve=False)
    for _ in range(3):
        drift(office)
    assert (waiting(office), active(office, "u1")) == ([], [False])


def test_an_account_that_carries_another_directory_id_is_not_unlocked(office):
    lock(office, "u1")
    drift(office)
    (account,) = office.keeper.of("u1")
    office.keeper.accounts[account.scim_id] = replace(account, external_id="somebody-else")
    decided(office, approve=True)
    assert office.keeper.accounts[account.scim_id].active is False


def test_our_own_lock_found_by_a_lost_roster_is_asked_for(office):
    office.suspend("u1")
    office.reconcile_to_the_end()
    write(office, office.connection, None)
    office.restore("u1")
    office.reconcile_to_the_end()
    assert (office.entry("u1").status, active(office, "u1")) == (Status.LOCKED, [False])
    decided(office, approve=True)
    assert active(office, "u1") == [True]


@pytest.mark.parametrize("then", ["run", "notification"])
def test_a_lock_that_another_roster_of_ours_records_is_lifted_when_its_user_returns(office, then):
    office.suspend("u1")
    office.reconcile_to_the_end()
    other = replace(office.connection, id="c2", order=9, state=State.OFF, revision=0)
    office.services.connections.create(other)
    known = office.entry("u1")
    write(office, other, replace(known, scim_id="elsewhere"))
    write(office, office.connection, None)
    office.restore("u1")
    if then == "notification":
        notice(office, "u1")
    else:
        office.desk.clock.advance(LATER)
        office.run()
    assert (office.entry("u1").status, active(office, "u1")) == (Status.ACTIVE, [True])


def test_one_wrong_404_neither_drops_a_leaver_nor_makes_our_lock_a_strangers(office):
    office.suspend("u1")
    office.reconcile_to_the_end()
    (account,) = office.keeper.of("u1")
    office.rename("u1", "Grace")
    hidden = office.keeper.accounts.pop(account.scim_id)
    office.desk.clock.advance(LATER)
    office.run()
    assert office.entry("u1").status is Status.SUSPENDED
    office.keeper.accounts[account.scim_id] = hidden
    office.restore("u1")
    office.reconcile_to_the_end()
    assert (office.entry("u1").status, active(office, "u1")) == (Status.ACTIVE, [True])


def test_what_was_lost_of_somebody_whom_we_had_locked_is_found_as_our_lock(office):
    office.suspend("u1")
    office.reconcile_to_the_end()
    known = office.entry("u1")
    change = Change(id="c1", entry=known, action=Action.UNSUSPEND, email=known.email, scim_id=known.scim_id)
    lost = recorded(known, Outcome(change=change), NOW)
    assert (lost.status, lost.scim_id, lost.locked_at) == (Status.NONE, "", NOW)
    write(office, office.connection, lost)
    office.restore("u1")
    notice(office, "u1")
    assert (office.entry("u1").status, active(office, "u1")) == (Status.ACTIVE, [True])


def test_a_leaver_whose_account_vanished_is_found_by_drift_if_it_was_only_hidden(office):
    policy = Deprovisioning(app_off=Delays(), suspended=Delays(), deleted=Delays())
    office.services.connections.change("c1", lambda current: with_settings(current, deprovisioning=policy))
    (account,) = office.keeper.of("u1")
    office.suspend("u1")
    hidden = office.keeper.accounts.pop(account.scim_id)
    office.desk.clock.advance(LATER)
    office.run()
    kept = office.entry("u1")
    assert (kept.status, kept.scim_id) == (Status.SUSPENDED, account.scim_id)
    office.keeper.accounts[account.scim_id] = hidden
    drift(office)
    assert active(office, "u1") == [False]


@pytest.mark.parametrize("seen_by", ["drift", "an approved look"])
def test_nobody_is_asked_to_unlock_what_carries_another_directory_id(office, seen_by):
    (account,) = office.keeper.of("u1")
    if seen_by == "drift":
        office.keeper.accounts[account.scim_id] = replace(account, external_id="somebody-else")
    office.keeper.accounts[account.scim_id] = replace(office.keeper.accounts[account.scim_id], active=False)
    drift(office)
    if seen_by != "drift":
        office.keeper.accounts[account.scim_id] = replace(account, active=False, external_id="somebody-else")
        decided(office, approve=True)
    for _ in range(2):
        office.desk.clock.advance(2 * DAY)
        office.run()
        drift(office)
    known = office.entry("u1")
    assert (waiting(office), known.status, known.drift) == ([], Status.LOCKED, (EXTERNAL_ID,))
    office.keeper.accounts[account.scim_id] = replace(account, active=False)  # mended
    drift(office)
    decided(office, approve=True)
    assert active(office, "u1") == [True]
