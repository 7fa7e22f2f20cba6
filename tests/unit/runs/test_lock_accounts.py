"""Accounts that nobody provisions are locked only as chosen and approved, looked at before, and unlocked again."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from autoprovisioning.app.administration.configure import turn_off
from autoprovisioning.app.administration.held_plans import decide_hold, review_of
from autoprovisioning.app.administration.ignore_accounts import ignore
from autoprovisioning.app.administration.lock_accounts import choose, foresee, unlock
from autoprovisioning.app.administration.take_over import take_over
from autoprovisioning.app.ports.claims import Claim
from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.app.provisioning.claiming import claim
from autoprovisioning.domain.accounts import Account
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.entry import Action, Entry, Mark
from autoprovisioning.domain.errors import (
    BadInput,
    ReauthorizationRequired,
    Stale,
    Throttled,
    Transient,
    Unresolved,
    WrongState,
)
from autoprovisioning.domain.events import Actor, EventName
from autoprovisioning.domain.holds import Hold, HoldState, Standing
from autoprovisioning.domain.locks import ENTITLED, GONE, LOCKED, OTHERWISE, PROVISIONED, UNLISTED
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.scope import Group
from autoprovisioning.domain.settings import VolumeLimit
from tests.support.in_memory import FakeAccounts
from tests.support.scenario import LATER, Scenario, person
from tests.support.settings import with_settings

ANN, BOB = Actor(address="ann@example.com", directory_id="u8"), Actor(address="bob@example.com", directory_id="u9")
OLD, ROBOT = "k90", "k91"


def account(scenario: Scenario, scim_id: str = OLD) -> Account:
    return scenario.fakes.keeper.accounts[scim_id]


def change(scenario: Scenario, scim_id: str = OLD, **what: object) -> None:
    scenario.fakes.keeper.accounts[scim_id] = replace(account(scenario, scim_id), **what)


def run(scenario: Scenario, kind: RunKind = RunKind.FULL, after: timedelta = LATER) -> None:
    scenario.fakes.clock.advance(after)
    scenario.plan(kind)
    scenario.work_off()


def events(scenario: Scenario, name: EventName) -> list[str]:
    told = scenario.fakes.store.events["c1"].values()
    return [event.reason for event in told if event.name is name and "nobody provisions" in event.reason]


def state(scenario: Scenario, hold: Hold) -> tuple[HoldState, list[Standing]]:
    known = scenario.services.holds.get("c1", hold.digest)
    assert known is not None
    return known.state, [verdict.standing for verdict in known.verdicts]


def approve(scenario: Scenario, hold: Hold) -> None:
    scenario.fakes.clock.advance(timedelta(minutes=1))
    decide_hold(scenario.services, "c1", hold.digest, "approve", BOB)


def chosen(scenario: Scenario, *accounts: str) -> Hold:
    return choose(scenario.services, "c1", accounts or (OLD,), ANN)


@pytest.fixture
def moved(scenario):
    """A leaver from before the move whom nobody knows, and a service account: both active, on no roster."""
    for scim_id, name in ((OLD, "old@example.com"), (ROBOT, "robot@example.com")):
        scenario.fakes.keeper.accounts[scim_id] = Account(
            scim_id=scim_id, user_name=name, external_id="", active=True, attributes={"userName": name}
        )
    run(scenario, RunKind.DRIFT)
    return scenario


def test_nothing_is_locked_before_a_decision_and_then_only_what_was_chosen(moved):
    hold = chosen(moved)
    assert (hold.state, [member.trigger for member in hold.members]) == (HoldState.WAITING, ["old@example.com"])
    for kind in (RunKind.FULL, RunKind.DRIFT):
        run(moved, kind)
    assert state(moved, hold) == (HoldState.WAITING, [Standing.WAITING])
    assert account(moved).active
    approve(moved, hold)
    run(moved)
    assert (account(moved).active, account(moved, ROBOT).active) == (False, True)
    assert state(moved, hold) == (HoldState.CLOSED, [Standing.DONE])
    [told] = events(moved, EventName.SUSPENDED)
    assert told.endswith("was locked: ann@example.com chose it, bob@example.com approved")


def test_it_is_one_plan_that_grows_and_says_what_it_would_do(moved):
    chosen(moved)
    both = chosen(moved, ROBOT)
    assert [each.digest for each in moved.services.holds.standing("c1")] == [both.digest]
    connection = moved.services.connections.get("c1")
    approval = review_of(moved.services, connection, both)
    assert approval.title == "2 accounts that nobody provisions would be locked"
    assert [each.person.email for each in approval.everybody] == ["old@example.com", "robot@example.com"]
    assert "as an administrator chose" in both.reason
    assert "limit" not in both.reason


def test_a_plan_beyond_the_limit_says_so(moved):
    moved.services.connections.change("c1", lambda known: with_settings(known, limit=VolumeLimit(minimum=1)))
    assert "more than the limit of 1 within 24 hours" in chosen(moved, OLD, ROBOT).reason


def test_a_rejected_one_stays_active(moved):
    hold = chosen(moved)
    decide_hold(moved.services, "c1", hold.digest, "reject", BOB)
    run(moved)
    assert (account(moved).active, state(moved, hold)) == (True, (HoldState.REJECTED, [Standing.REJECTED]))


def test_an_approval_that_nothing_came_of_ends_after_a_day_and_is_asked_again(moved):
    hold = chosen(moved)
    approve(moved, hold)
    moved.fakes.clock.advance(timedelta(hours=25))
    run(moved)
    assert (account(moved).active, state(moved, hold)[1]) == (True, [Standing.EXPIRED])
    [again] = moved.services.holds.standing("c1")
    assert (again.digest != hold.digest, again.members) == (True, hold.members)


def test_a_withdrawn_approval_locks_nothing(moved):
    hold = chosen(moved)
    approve(moved, hold)
    decide_hold(moved.services, "c1", hold.digest, "withdraw", BOB)
    run(moved)
    assert (account(moved).active, state(moved, hold)) == (True, (HoldState.WAITING, [Standing.WITHDRAWN]))


def _leave(scenario: Scenario) -> None:
    del scenario.fakes.keeper.accounts[OLD]


def _entitled_by_alias(scenario: Scenario) -> None:
    user = scenario.fakes.directory.live["u1"]
    scenario.fakes.directory.live["u1"] = replace(user, aliases=("old@example.com",))


@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [
        (lambda scenario: change(scenario, active=False), LOCKED),
        (lambda scenario: change(scenario, user_name="another@example.com"), OTHERWISE),
        (lambda scenario: change(scenario, external_id="x"), OTHERWISE),
        (_leave, GONE),
        (_entitled_by_alias, ENTITLED),
    ],
)
def test_what_changed_meanwhile_is_no_longer_due_and_says_why(moved, meanwhile, why):
    hold = chosen(moved)
    approve(moved, hold)
    meanwhile(moved)
    run(moved)
    assert state(moved, hold) == (HoldState.CLOSED, [Standing.NOT_DUE])
    assert [told.partition(": ")[2] for told in events(moved, EventName.CONFIGURED)][-1] == why
    assert moved.services.unprovisioned.locks("c1")[OLD].ended == why
    assert events(moved, EventName.SUSPENDED) == []


def test_an_account_that_is_taken_over_meanwhile_is_the_roster_s(moved):
    moved.fakes.directory.live["u7"] = DirectoryUser(
        id="u7", primary_email="old@example.com", presence=Presence.ARCHIVED
    )
    moved.fakes.clock.advance(timedelta(days=2))
    run(moved, RunKind.DRIFT)
    hold = chosen(moved)
    assert take_over(moved.services, "c1", [OLD], ANN) == 1
    approve(moved, hold)
    run(moved)
    assert (account(moved).active, state(moved, hold)[1]) == (True, [Standing.NOT_DUE])
    assert moved.services.unprovisioned.locks("c1")[OLD].ended == PROVISIONED


def test_whoever_is_about_to_adopt_the_account_comes_first(moved):
    hold = chosen(moved)
    approve(moved, hold)
    until = moved.fakes.clock() + timedelta(days=1)
    mark = Mark(change_id="x", message_id="m", action=Action.CREATE, until=until)
    entries = {"u7": Entry(user_id="u7", email="seven@example.com", mark=mark, version=1)}
    moved.services.roster.commit(moved.connection, ["u7"], lambda _known: (Edit(entries=entries), None))
    assert claim(moved.services, moved.connection, OLD, Claim(user_id="u7", change_id="x"))
    run(moved)
    assert (account(moved).active, state(moved, hold)[1]) == (True, [Standing.APPROVED])


def test_nobody_adopts_an_account_while_it_is_being_locked(moved):
    chosen(moved)
    now, worker = moved.fakes.clock(), Claim(user_id="u7", change_id="x")
    assert claim(moved.services, moved.connection, OLD, Claim(user_id="", change_id="c9"))

    def marked(until: datetime) -> None:
        moved.services.unprovisioned.change_locks(
            "c1", lambda known: ({OLD: known[OLD].marked("c9", until, "bob@example.com")}, ())
        )

    marked(now + LATER)
    assert not claim(moved.services, moved.connection, OLD, worker)
    marked(now)
    assert claim(moved.services, moved.connection, OLD, worker)


def test_one_that_a_later_drift_run_does_not_find_ends_undecided(moved):
    hold = chosen(moved)
    change(moved, active=False)
    run(moved, RunKind.DRIFT)
    assert state(moved, hold)[1] == [Standing.NOT_DUE]
    assert moved.services.unprovisioned.locks("c1")[OLD].ended == UNLISTED


def test_if_the_directory_does_not_tell_it_waits(moved, monkeypatch):
    hold = chosen(moved)
    approve(moved, hold)

    def fails(_address: str) -> DirectoryUser | None:
        raise Transient("503")

    with monkeypatch.context() as patch:
        patch.setattr(moved.fakes.directory, "by_address", fails)
        run(moved)
    assert (account(moved).active, state(moved, hold)[1]) == (True, [Standing.APPROVED])
    note = max(moved.fakes.store.runs["c1"].values(), key=lambda each: each.started).notes[-1]
    assert note.startswith("Accounts that nobody provisions, still to be locked or unlocked: 1")
    run(moved)
    assert not account(moved).active


@pytest.mark.parametrize(("unread", "ended"), [(True, ""), (False, ENTITLED)])
def test_one_answer_that_denies_a_membership_locks_nobody(moved, monkeypatch, unread, ended):
    hold = chosen(moved)
    approve(moved, hold)
    newcomer = replace(person("u7", "new@example.com", "New"), aliases=("old@example.com",))
    moved.directory.live["u7"] = newcomer
    moved.directory.memberships["g1"].add("u7")
    monkeypatch.setattr(moved.directory, "is_member", lambda _group, _user: False)
    if unread:
        moved.directory.unreadable.add("g1")
    run(moved)
    assert (account(moved).active, moved.services.unprovisioned.locks("c1")[OLD].ended) == (True, ended)


def test_a_lost_answer_is_found_out_and_told_once(moved):
    hold = chosen(moved)
    approve(moved, hold)
    moved.fakes.keeper.faults.append(Unresolved("lost"))
    change(moved)
    run(moved)
    change(moved, active=False)  # it had arrived
    run(moved)
    assert state(moved, hold)[1] == [Standing.DONE]
    assert len(events(moved, EventName.SUSPENDED)) == 1


def test_what_was_locked_so_is_unlocked_with_one_click_and_told(moved):
    hold = chosen(moved)
    approve(moved, hold)
    run(moved)
    moved.fakes.clock.advance(timedelta(days=3))
    unlock(moved.services, "c1", OLD, BOB)
    with pytest.raises(BadInput, match="not locked by this connection"):
        unlock(moved.services, "c1", OLD, BOB)
    run(moved)
    assert (account(moved).active, moved.services.unprovisioned.locks("c1")) == (True, {})
    assert events(moved, EventName.UNSUSPENDED)[0].endswith("unlocked again: bob@example.com asked for it")


def test_what_was_not_locked_so_is_not_unlocked(moved):
    chosen(moved)
    with pytest.raises(BadInput, match="not locked by this connection"):
        unlock(moved.services, "c1", OLD, BOB)


@pytest.mark.parametrize("accounts", [[], ["k404"], [ROBOT], [f"k{number}" for number in range(101)]])
def test_only_what_is_listed_and_not_ignored_can_be_chosen(moved, accounts):
    ignore(moved.services, "c1", [ROBOT], "Payroll", ANN)
    with pytest.raises(BadInput):
        foresee(moved.services, "c1", accounts)


def test_choosing_again_what_waits_changes_nothing(moved):
    hold, known = chosen(moved), moved.services.unprovisioned.locks("c1")
    moved.fakes.clock.advance(LATER)
    told = len(moved.fakes.store.events["c1"])
    assert chosen(moved) == hold
    assert (moved.services.unprovisioned.locks("c1"), len(moved.fakes.store.events["c1"])) == (known, told)


def test_the_account_of_an_entitled_person_cannot_be_chosen(moved):
    _entitled_by_alias(moved)
    assert [each.owner.entitled for each in foresee(moved.services, "c1", [OLD, ROBOT])] == [True, False]
    with pytest.raises(BadInput, match="entitles"):
        chosen(moved, OLD, ROBOT)
    assert moved.services.unprovisioned.locks("c1") == {}


@pytest.mark.parametrize("becomes", [{"state": State.OFF}, {"pilot": {"u1": "ada@example.com"}}])
def test_a_connection_that_is_off_or_a_pilot_entitles_as_well(moved, becomes):
    other = Group(id="g2", email="other@example.com", name="Other")
    moved.connect("c2", other, shared=False)
    moved.directory.live["u7"] = person("u7", "old@example.com", "Old")
    moved.directory.memberships["g2"].add("u7")
    moved.services.connections.change("c2", lambda known: replace(known, **becomes))
    assert [each.owner.entitled for each in foresee(moved.services, "c1", [OLD, ROBOT])] == [True, False]


def test_another_number_than_was_shown_chooses_nothing(moved):
    with pytest.raises(Stale):
        choose(moved.services, "c1", [OLD], ANN, number=2)


def test_nothing_is_chosen_on_a_connection_that_is_off(moved):
    turn_off(moved.services, "c1", ANN)
    with pytest.raises(WrongState):
        chosen(moved)


def test_in_a_pilot_nothing_is_chosen_and_what_was_approved_waits(moved):
    hold = chosen(moved)
    approve(moved, hold)
    pilot = {"u1": "one@example.com"}
    moved.services.connections.change("c1", lambda known: replace(known, pilot=pilot, edition=known.edition + 1))
    with pytest.raises(WrongState, match="pilot"):
        chosen(moved, ROBOT)
    run(moved)
    assert (account(moved).active, state(moved, hold)[1]) == (True, [Standing.APPROVED])
    moved.services.connections.change("c1", lambda known: replace(known, pilot=None, edition=known.edition + 1))
    run(moved)
    assert not account(moved).active


@pytest.mark.parametrize(
    "failure", [Throttled("429", retry_after=60), Transient("503"), ReauthorizationRequired("401")]
)
def test_once_keeper_says_that_it_answers_nobody_no_other_account_is_asked_for(moved, monkeypatch, failure):
    approve(moved, chosen(moved, OLD, ROBOT))
    asked = []

    def get(_accounts: FakeAccounts, scim_id: str) -> Account:
        asked.append(scim_id)
        raise failure

    monkeypatch.setattr(FakeAccounts, "get", get)
    run(moved)
    assert asked == [OLD]
    assert [lock.until for lock in moved.services.unprovisioned.locks("c1").values()] == [None, None]


def test_reading_slowly_ends_with_the_time_for_it(moved, monkeypatch):
    approve(moved, chosen(moved, OLD, ROBOT))
    asked, get = [], FakeAccounts.get

    def slowly(accounts: FakeAccounts, scim_id: str) -> Account | None:
        asked.append(scim_id)
        moved.fakes.clock.advance(moved.services.timings.batch_deadline)
        return get(accounts, scim_id)

    monkeypatch.setattr(FakeAccounts, "get", slowly)
    run(moved)
    assert (asked, account(moved, ROBOT).active) == ([OLD], True)
