"""The report of what somebody else changed in Keeper: what a drift run found, before it repaired it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.runs import dispatch
from autoprovisioning.domain.entry import EXTERNAL_ID, Action, Status
from autoprovisioning.domain.keeper_changes import KEPT, LONGEST_VALUE, KeeperChange
from autoprovisioning.domain.runs import RunKind
from tests.support.scenario import LATER, Scenario
from tests.support.settings import with_settings


def tamper(scenario: Scenario, user_id: str, **changes: object) -> None:
    (account,) = scenario.keeper.of(user_id)
    scenario.keeper.accounts[account.scim_id] = replace(account, **changes)


def written(scenario: Scenario, user_id: str, **values: str) -> None:
    (account,) = scenario.keeper.of(user_id)
    tamper(scenario, user_id, attributes={**account.attributes, **values})


def drift(scenario: Scenario) -> list[KeeperChange]:
    """Return what a drift run reports."""
    scenario.fakes.clock.advance(LATER)
    run = scenario.plan(RunKind.DRIFT)
    scenario.work_off()
    return [change for change in scenario.services.keeper_changes.get("c1") if change.run_id == run.id]


def test_a_value_is_told_with_the_one_before_and_what_is_done(scenario):
    written(scenario, "u1", displayName="Somebody")
    (account,) = scenario.keeper.of("u1")
    (change,) = drift(scenario)
    assert (change.user_id, change.email, change.scim_id) == ("u1", scenario.entry("u1").email, account.scim_id)
    assert (change.found, change.before) == ({"displayName": "Somebody"}, {"displayName": "New Byron"})
    assert (change.repair, change.gone) == (Action.UPDATE, False)
    assert change.at == scenario.services.clock()
    assert drift(scenario) == [], "it is told once"


def test_access_is_told_and_a_lock_waits_for_an_approval(scenario):
    scenario.suspend("u2")
    scenario.run()
    tamper(scenario, "u1", active=False)
    tamper(scenario, "u2", active=True)
    told = {change.user_id: (change.found, change.before, change.repair) for change in drift(scenario)}
    assert told == {
        "u1": ({"active": False}, {"active": True}, Action.UNLOCK),
        "u2": ({"active": True}, {"active": False}, Action.SUSPEND),
    }


def test_another_external_id_is_told(scenario):
    tamper(scenario, "u1", external_id="someone")
    (change,) = drift(scenario)
    assert (change.found, change.before) == ({"externalId": "someone"}, {"externalId": "u1"})
    assert change.repair is Action.UPDATE


@pytest.mark.parametrize(("delete_after", "leave"), [(None, Scenario.delete), (1, Scenario.suspend)])
def test_another_external_id_of_a_leaver_is_told_once_and_mended_when_they_return(delete_after, leave):
    scenario = Scenario(delete_after=delete_after)
    scenario.run()
    address = scenario.entry("u1").email
    leave(scenario, "u1")
    for _ in range(2):
        scenario.run()
        scenario.wait()
    tamper(scenario, "u1", external_id="someone")
    assert [len(drift(scenario)) for _ in range(3)] == [1, 0, 0]
    scenario.undelete("u1", address)
    scenario.restore("u1")
    scenario.reconcile_to_the_end()
    (account,) = scenario.keeper.of("u1")
    assert (account.active, scenario.entry("u1").drift) == (True, ())


def test_an_external_id_that_somebody_put_back_has_nothing_to_be_mended(scenario):
    scenario.delete("u1")
    scenario.run()
    (account,) = scenario.keeper.of("u1")
    tamper(scenario, "u1", external_id="someone")
    drift(scenario)
    assert scenario.entry("u1").drift == (EXTERNAL_ID,)
    scenario.keeper.accounts[account.scim_id] = account
    assert (drift(scenario), scenario.entry("u1").drift) == ([], ())


def test_an_account_that_is_gone_is_told(scenario):
    (account,) = scenario.keeper.of("u1")
    del scenario.keeper.accounts[account.scim_id]
    (change,) = drift(scenario)
    assert (change.gone, change.found, change.repair) == (True, {}, Action.RECREATE)


def test_what_is_long_is_cut(scenario):
    written(scenario, "u1", displayName="x" * 5_000)
    (change,) = drift(scenario)
    assert change.found["displayName"] == "x" * LONGEST_VALUE + "…"


def test_it_is_reported_although_the_run_dies_before_it_repairs_anything(scenario, monkeypatch):
    written(scenario, "u1", displayName="Somebody")

    def dies(*_: object) -> None:
        raise RuntimeError("out of memory")

    scenario.fakes.clock.advance(LATER)
    with monkeypatch.context() as patched:
        patched.setattr(dispatch, "write_notes", dies)
        with pytest.raises(RuntimeError):
            scenario.plan(RunKind.DRIFT)
    assert [change.user_id for change in scenario.services.keeper_changes.get("c1")] == ["u1"]
    scenario.fakes.clock.advance(timedelta(hours=1))
    assert [change.user_id for change in drift(scenario)] == ["u1"], "rather twice than never"


def test_full_runs_and_those_that_find_nothing_keep_what_is_known_until_it_is_old(scenario):
    written(scenario, "u1", displayName="Somebody")
    first = drift(scenario)
    scenario.run()
    assert drift(scenario) == []
    assert list(scenario.services.keeper_changes.get("c1")) == first
    scenario.fakes.clock.advance(KEPT)
    written(scenario, "u2", displayName="Somebody")
    second = drift(scenario)
    assert (len(second), list(scenario.services.keeper_changes.get("c1"))) == (1, second)


@pytest.fixture
def reporting(scenario) -> Scenario:
    """A connection that only reports what somebody else changed in Keeper."""
    scenario.services.connections.change("c1", lambda current: with_settings(current, repair_drift=False))
    return scenario


def test_where_it_is_only_reported_nothing_is_written_and_each_change_is_told_once(reporting):
    written(reporting, "u1", displayName="Somebody")
    tamper(reporting, "u2", external_id="someone")
    (account,) = reporting.keeper.of("u3")
    del reporting.keeper.accounts[account.scim_id]
    tampered, entries = dict(reporting.keeper.accounts), {name: reporting.entry(name) for name in ("u1", "u2", "u3")}
    told = {change.user_id: change for change in drift(reporting)}
    assert {name: change.repair for name, change in told.items()} == {"u1": None, "u2": None, "u3": None}
    assert told["u1"].before == {"displayName": "New Byron"}
    assert drift(reporting) == [], "it is told once"
    notes = [run.notes for run in reporting.fakes.store.runs["c1"].values() if run.kind is RunKind.DRIFT]
    assert ["somebody else changed in Keeper: 3" in str(each) for each in notes] == [True, False]
    reporting.run()
    assert reporting.keeper.accounts == tampered
    assert {name: reporting.entry(name) for name in entries} == entries
    written(reporting, "u1", displayName="Somebody else")
    assert [change.user_id for change in drift(reporting)] == ["u1"], "another change is told"


def test_where_it_is_only_reported_a_leaver_who_was_let_in_is_suspended_again(reporting):
    reporting.suspend("u2")
    reporting.run()
    tamper(reporting, "u2", active=True)
    written(reporting, "u2", displayName="Somebody")
    (change,) = drift(reporting)
    assert (change.found["active"], change.repair) == (True, Action.SUSPEND)
    (account,) = reporting.keeper.of("u2")
    assert (account.active, account.attributes["displayName"]) == (False, "Somebody")


def test_where_it_is_only_reported_a_leaver_whom_nobody_suspended_yet_is_suspended(reporting):
    written(reporting, "u1", displayName="Somebody")
    reporting.suspend("u1")
    drift(reporting)
    (account,) = reporting.keeper.of("u1")
    assert (account.active, account.attributes["displayName"]) == (False, "Somebody")


def test_where_it_is_only_reported_a_lock_is_kept_as_everywhere(reporting):
    tamper(reporting, "u1", active=False)
    assert [change.repair for change in drift(reporting)] == [Action.UNLOCK]
    assert (reporting.entry("u1").status, reporting.keeper.of("u1")[0].active) == (Status.LOCKED, False)


@pytest.mark.parametrize("everybody", [False, True])
def test_what_is_held_waits_on_once_drift_is_only_reported(everybody):
    scenario = Scenario(limit=1)
    scenario.run()
    for user_id in ("u1", "u2"):
        (account,) = scenario.keeper.of(user_id)
        del scenario.keeper.accounts[account.scim_id]
    drift(scenario)
    (plan,) = scenario.services.holds.standing("c1")
    assert {member.action for member in plan.members} == {Action.RECREATE}
    scenario.services.connections.change("c1", lambda current: with_settings(current, repair_drift=False))
    if everybody:
        scenario.keeper.seed("stray@example.com")  # whose owner is looked for in the whole directory
    drift(scenario)
    assert scenario.services.holds.standing("c1") == [plan]
    scenario.run()
    assert scenario.services.holds.standing("c1") == [plan]


def test_what_was_only_reported_is_repaired_once_that_is_chosen_again(reporting):
    written(reporting, "u1", displayName="Somebody")
    drift(reporting)
    reporting.services.connections.change("c1", lambda current: with_settings(current, repair_drift=True))
    assert [change.repair for change in drift(reporting)] == [Action.UPDATE]
    assert reporting.keeper.of("u1")[0].attributes["displayName"] == "New Byron"


def test_a_change_in_the_directory_is_written_where_drift_is_only_reported(reporting):
    written(reporting, "u1", displayName="Somebody")
    drift(reporting)
    reporting.rename("u1", "Lovelace")
    reporting.run()
    assert "Lovelace" in str(reporting.keeper.of("u1")[0].attributes["displayName"])
