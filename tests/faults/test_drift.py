"""What people do in Keeper's Admin Console is found within the hour, told, and repaired where that is right."""

from __future__ import annotations

import json
from typing import Any

from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from infra.local.simulation import wait_for
from tests.support.system import GROUP_ID, System

EVERYBODY = {f"u{number}" for number in range(12)}


def tamper(system: System, user_id: str, **changes: Any) -> None:
    account = system.account(user_id)
    assert account is not None
    system.keeper.control("PATCH", f"accounts/{account['id']}", changes)


def remove(system: System, *users: str) -> None:
    for user_id in users:
        account = system.account(user_id)
        assert account is not None
        system.keeper.control("DELETE", f"accounts/{account['id']}")


def drift(system: System) -> tuple[dict[str, Any], dict[str, int]]:
    """List Keeper; returns the summary, and what was asked of the directory."""
    system.directory.control("DELETE", "requests")
    summary = system.sync("drift")
    return summary, system.directory.control("GET", "requests")["methods"]


def last_event(system: System, user_id: str) -> dict[str, Any]:
    event = system.events(user_id)[-1]
    return {**event, **{name: json.loads(event[name]) for name in ("before", "changed") if event.get(name)}}


def test_the_hourly_pass_reads_only_those_who_differ(system):
    system.restored()
    system.directory.weather(lose=True)
    _, asked = drift(system)
    assert asked == {}
    tamper(system, "u2", displayName="Vandal")
    summary, asked = drift(system)
    assert (summary["updated"], system.account("u2")["displayName"]) == (1, "Given2 Family2")
    assert (asked.get("users.get"), asked.get("users.list")) == (1, None)
    told = last_event(system, "u2")
    assert told["reason"] == "Changed in Keeper by somebody else. Found: displayName."
    assert told["before"] == {"displayName": "Vandal"}


def test_an_external_id_that_was_changed_is_drift(system):
    system.restored()
    system.directory.weather(lose=True)
    scim_id = system.account("u2")["id"]
    system.keeper.control("PATCH", f"accounts/{scim_id}", {"externalId": "somebody"})
    summary, _ = drift(system)
    assert (summary["updated"], system.account("u2")["id"]) == (1, scim_id)
    told = last_event(system, "u2")
    assert (told["before"], told["changed"]) == ({"externalId": "somebody"}, {"externalId": "u2"})
    assert drift(system)[0]["updated"] == 0


def test_who_was_unlocked_after_their_end_is_locked_again(system):
    system.restored()
    system.directory.call("DELETE", "users/u2")
    system.directory.patch("u3", {"suspended": True})
    for user_id in ("u2", "u3"):
        system.await_account(user_id, lambda account: not account["active"])
        wait_for(lambda one=user_id: system.entry(one).mark is None, "the outcome")
    system.directory.weather(lose=True)
    for user_id in ("u2", "u3"):
        tamper(system, user_id, active=True)
    drift(system)
    for user_id in ("u2", "u3"):  # by the run's batch, or by a late delivery of what took their access first
        system.await_account(user_id, lambda account: not account["active"])
        wait_for(lambda one=user_id: system.entry(one).mark is None, "the outcome")
    assert system.active() == EVERYBODY - {"u2", "u3"}
    reason = "Changed in Keeper by somebody else. Found: the account was active."
    assert {last_event(system, user_id)["reason"] for user_id in ("u2", "u3")} == {reason}


def test_a_lock_counts_and_many_changes_call_somebody_out(system):
    system.restored()
    for number in range(1, 5):
        tamper(system, f"u{number}", active=False)
    for number in range(5, 7):
        tamper(system, f"u{number}", displayName="Vandal")
    system.sync("drift")
    run = system.services().runs.get("keeper", _latest(system))
    assert "Accounts that somebody else changed in Keeper: 6 (4 locked, 2 with other values)" in run.notes
    assert '"alert": "changed_in_keeper"' in system.log("reconcile")
    assert {f"u{number}" for number in range(1, 5)}.isdisjoint(system.active())


def _latest(system: System) -> str:
    runs = system.world.console("GET", "connections/keeper/runs")["items"]
    return str(runs[0]["id"])


def test_accounts_that_vanished_are_one_held_plan(system):
    system.restored()
    system.directory.weather(lose=True)
    remove(system, *EVERYBODY)
    assert drift(system)[0]["held"] == len(EVERYBODY)
    assert system.keeper.accounts() == []
    assert system.sync()["held"] == len(EVERYBODY), "a run that does not list Keeper knows of them too"
    (hold,) = system.world.console("GET", "connections/keeper/holds")["items"]
    assert hold["counts"] == {"recreate": len(EVERYBODY)}
    system.world.console("POST", f"connections/keeper/holds/{hold['digest']}", {"decision": "approve"})
    system.sync()
    assert system.active() == EVERYBODY
    assert last_event(system, "u1")["reason"] == "The account had vanished from Keeper and was created again."
    assert drift(system)[0]["updated"] == 0


def test_only_whom_the_directory_entitles_gets_a_new_account(system):
    system.provisioned(deprovisioning=Deprovisioning(suspended=Delays(suspend_after=7)))
    system.directory.patch("u2", {"suspended": True})
    system.directory.weather(lose=True)
    system.sync()
    assert system.account("u2")["active"]
    remove(system, "u2", "u3")
    system.directory.patch("u2", {"name": {"familyName": "Grace"}})
    system.sync()
    assert system.account("u2") is None
    drift(system)
    assert (system.account("u2"), system.account("u3")["active"]) == (None, True)


def test_what_vanished_beyond_the_limit_in_a_run_is_planned_by_the_next_one(system):
    system.restored()
    system.directory.weather(lose=True)
    remove(system, *EVERYBODY)
    for user_id in EVERYBODY:
        system.directory.patch(user_id, {"name": {"familyName": "Back"}})
    system.sync()
    assert len(system.keeper.accounts()) == 10
    assert system.sync()["held"] == 2
    (hold,) = system.world.console("GET", "connections/keeper/holds")["items"]
    assert hold["counts"] == {"recreate": 2}


def test_who_left_the_group_and_was_unlocked_is_locked_again(system):
    system.restored()
    system.directory.leave(GROUP_ID, "u4")
    assert system.sync()["suspended"] == 1
    tamper(system, "u4", active=True)
    drift(system)
    assert not system.account("u4")["active"]
