"""The drift run: whom it reads of the directory, what it repairs, and what it leaves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.runs import drift
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.entry import Status
from autoprovisioning.domain.runs import RunKind, RunState
from infra.local.sync import together
from tests.support.builders import active
from tests.support.scenario import LATER, Scenario
from tests.support.settings import with_settings


def tamper(scenario: Scenario, user_id: str, **changes: object) -> None:
    (account,) = scenario.keeper.of(user_id)
    scenario.keeper.accounts[account.scim_id] = replace(account, **changes)


def rename(scenario: Scenario, user_id: str) -> None:
    (account,) = scenario.keeper.of(user_id)
    tamper(scenario, user_id, attributes={**account.attributes, "displayName": "Somebody"})


def names(scenario: Scenario) -> set[object]:
    return {account.attributes["displayName"] for account in scenario.keeper.accounts.values()}


def run(scenario: Scenario):
    scenario.fakes.clock.advance(LATER)
    done = scenario.plan(RunKind.DRIFT)
    scenario.work_off()
    return scenario.services.runs.get("c1", done.id)


@pytest.fixture
def listings(scenario, monkeypatch) -> list[int]:
    """Grows with each listing of the directory's users."""
    listed: list[int] = []
    users = scenario.directory.users
    monkeypatch.setattr(scenario.directory, "users", lambda fields: listed.append(1) or users(fields))
    return listed


def test_more_than_can_be_read_alone_are_listed_and_repaired_all_the_same(scenario, monkeypatch, listings):
    monkeypatch.setattr(drift, "ONE_BY_ONE", 1)
    rename(scenario, "u1")
    run(scenario)
    assert listings == []
    rename(scenario, "u2")
    rename(scenario, "u3")
    run(scenario)
    assert listings == [1]
    assert names(scenario) == {"New Byron"}


def test_who_cannot_be_proven_to_be_gone_by_one_answer_takes_a_listing(scenario, listings):
    scenario.delete("u1")
    scenario.run()
    scenario.directory.removed.clear()
    tamper(scenario, "u1", active=True)
    listings.clear()
    run(scenario)
    assert (listings, active(scenario, "u1")) == ([1], [False])


def test_a_directory_that_cannot_be_read_refuses_the_run(scenario, monkeypatch):
    from autoprovisioning.domain.errors import Transient

    def down(*_: object) -> None:
        raise Transient("503")

    rename(scenario, "u1")
    monkeypatch.setattr(scenario.directory, "user", down)
    monkeypatch.setattr(scenario.directory, "users", down)
    scenario.fakes.clock.advance(LATER)
    with pytest.raises(Transient):
        scenario.plan(RunKind.DRIFT)
    (last,) = [run for run in scenario.fakes.store.runs["c1"].values() if run.kind is RunKind.DRIFT]
    assert last.state is RunState.REFUSED


def test_the_reason_outlives_a_hold(scenario):
    for user_id in ("u1", "u2"):
        scenario.suspend(user_id)
    scenario.run()
    limit = replace(scenario.connection.settings.limit, minimum=1)
    scenario.services.connections.change("c1", lambda current: with_settings(current, limit=limit))
    scenario.fakes.clock.advance(timedelta(days=2))
    for user_id in ("u1", "u2"):
        tamper(scenario, user_id, active=True)
    run(scenario)
    assert [active(scenario, user_id) for user_id in ("u1", "u2")] == [[True], [True]]
    scenario.services.connections.change("c1", lambda current: with_settings(current, limit=replace(limit, minimum=9)))
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    told = [event.reason for event in scenario.fakes.store.events["c1"].values() if event.user_id == "u1"]
    assert told[-1] == "Changed in Keeper by somebody else. Found: the account was active."


def test_what_is_found_is_told_once(scenario):
    tamper(scenario, "u1", active=False)
    assert "Accounts that somebody else changed in Keeper: 1 (1 locked)" in run(scenario).notes
    assert not any("somebody else changed" in note for note in run(scenario).notes)
    assert scenario.entry("u1").status is Status.LOCKED


def test_a_leaver_in_the_grace_period_is_remembered_as_vanished_and_gets_no_account(scenario):
    week = Delays(suspend_after=7)
    policy = Deprovisioning(app_off=week, suspended=week, deleted=week)
    scenario.services.connections.change("c1", lambda current: with_settings(current, deprovisioning=policy))
    scenario.suspend("u1")
    scenario.run()
    (account,) = scenario.keeper.of("u1")
    del scenario.keeper.accounts[account.scim_id]
    assert "1 vanished" in run(scenario).notes[0]
    assert (run(scenario).notes, active(scenario, "u1")) == ((), [])
    scenario.restore("u1")
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    assert active(scenario, "u1") == [True]


def test_an_account_that_is_there_again_has_not_vanished(scenario):
    (account,) = scenario.keeper.of("u1")
    limit = replace(scenario.connection.settings.limit, minimum=0, percent=0.0)
    scenario.services.connections.change("c1", lambda current: with_settings(current, limit=limit))
    del scenario.keeper.accounts[account.scim_id]
    run(scenario)
    assert scenario.entry("u1").drift == ("account",)
    scenario.keeper.accounts[account.scim_id] = account
    run(scenario)
    scenario.run()
    assert (scenario.entry("u1").drift, scenario.keeper.of("u1")) == ((), [account])


def test_two_summaries_make_one():
    first = {"updated": 1, "unchanged": 9, "failed": 2, "held": 0, "scim_requests": {"GET": 1}, "_undone": False}
    second = {"updated": 2, "unchanged": 9, "failed": 1, "held": 3, "scim_requests": {"GET": 2, "PATCH": 1}}
    assert together(first | {"_paused": False}, second | {"_undone": True, "_paused": False}) == {
        "updated": 3,
        "unchanged": 9,
        "failed": 2,
        "held": 3,
        "scim_requests": {"GET": 3, "PATCH": 1},
        "_undone": True,
        "_paused": False,
    }


def test_an_account_that_is_created_again_without_access_gets_it():
    scenario = Scenario()
    scenario.reconcile_to_the_end()
    (account,) = scenario.keeper.of("u1")
    del scenario.keeper.accounts[account.scim_id]
    scenario.keeper.faults.append("inactive")
    run(scenario)
    scenario.fakes.clock.advance(LATER)
    scenario.reconcile_to_the_end()
    (account,) = scenario.keeper.of("u1")
    assert account.active
    assert scenario.entry("u1").status is Status.ACTIVE
    assert scenario.services.holds.standing("c1") == []
