"""What people do in Keeper's Admin Console is found within the hour, told, and repaired where that is right."""

from __future__ import annotations

import json
from typing import Any

from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from infra.local.simulation import wait_for
from tests.support.system import GROUP_ID, Town

EVERYBODY = {f"u{number}" for number in range(12)}


def tamper(town: Town, user_id: str, **changes: Any) -> None:
    account = town.account(user_id)
    assert account is not None
    town.keeper.control("PATCH", f"accounts/{account['id']}", changes)


def remove(town: Town, *users: str) -> None:
    for user_id in users:
        account = town.account(user_id)
        assert account is not None
        town.keeper.control("DELETE", f"accounts/{account['id']}")


def drift(town: Town) -> tuple[dict[str, Any], dict[str, int]]:
    """List Keeper; returns the summary, and what was asked of the directory."""
    town.directory.control("DELETE", "requests")
    summary = town.sync("drift")
    return summary, town.directory.control("GET", "requests")["methods"]


def last_event(town: Town, user_id: str) -> dict[str, Any]:
    event = town.events(user_id)[-1]
    return {**event, **{name: json.loads(event[name]) for name in ("before", "changed") if event.get(name)}}


def test_the_hourly_pass_reads_only_those_who_differ(town):
    town.provisioned()
    town.directory.weather(lose=True)
    _, asked = drift(town)
    assert asked == {}
    tamper(town, "u2", displayName="Vandal")
    summary, asked = drift(town)
    assert (summary["updated"], town.account("u2")["displayName"]) == (1, "Given2 Family2")
    assert (asked.get("users.get"), asked.get("users.list")) == (1, None)
    told = last_event(town, "u2")
    assert told["reason"] == "Changed in Keeper by somebody else, where was found: displayName."
    assert told["before"] == {"displayName": "Vandal"}


def test_an_external_id_that_was_changed_is_drift(town):
    town.provisioned()
    town.directory.weather(lose=True)
    scim_id = town.account("u2")["id"]
    town.keeper.control("PATCH", f"accounts/{scim_id}", {"externalId": "somebody"})
    summary, _ = drift(town)
    assert (summary["updated"], town.account("u2")["id"]) == (1, scim_id)
    told = last_event(town, "u2")
    assert (told["before"], told["changed"]) == ({"externalId": "somebody"}, {"externalId": "u2"})
    assert drift(town)[0]["updated"] == 0


def test_who_was_unlocked_after_their_end_is_locked_again(town):
    town.provisioned()
    town.directory.call("DELETE", "users/u2")
    town.directory.patch("u3", {"suspended": True})
    for user_id in ("u2", "u3"):
        town.await_account(user_id, lambda account: not account["active"])
        wait_for(lambda one=user_id: town.entry(one).mark is None, "the outcome")
    town.directory.weather(lose=True)
    for user_id in ("u2", "u3"):
        tamper(town, user_id, active=True)
    summary, _ = drift(town)
    assert summary["suspended"] == 2
    assert town.active() == EVERYBODY - {"u2", "u3"}
    reason = "Changed in Keeper by somebody else, where was found: the account was active."
    assert {last_event(town, user_id)["reason"] for user_id in ("u2", "u3")} == {reason}


def test_a_lock_counts_and_many_changes_call_somebody_out(town):
    town.provisioned()
    for number in range(1, 5):
        tamper(town, f"u{number}", active=False)
    for number in range(5, 7):
        tamper(town, f"u{number}", displayName="Vandal")
    town.sync("drift")
    run = town.desk().runs.get("keeper", _latest(town))
    assert "Accounts that somebody else changed in Keeper: 6 (4 locked, 2 with other values)" in run.notes
    assert '"alert": "changed_in_keeper"' in town.log("reconcile")
    assert {f"u{number}" for number in range(1, 5)}.isdisjoint(town.active())


def _latest(town: Town) -> str:
    runs = town.world.console("GET", "connections/keeper/runs")["items"]
    return str(runs[0]["id"])


def test_accounts_that_vanished_are_one_held_plan(town):
    town.provisioned()
    town.directory.weather(lose=True)
    remove(town, *EVERYBODY)
    assert drift(town)[0]["held"] == len(EVERYBODY)
    assert town.keeper.accounts() == []
    assert town.sync()["held"] == len(EVERYBODY), "a run that does not list Keeper knows of them too"
    (hold,) = town.world.console("GET", "connections/keeper/holds")["items"]
    assert hold["counts"] == {"recreate": len(EVERYBODY)}
    town.world.console("POST", f"connections/keeper/holds/{hold['digest']}", {"decision": "approve"})
    town.sync()
    assert town.active() == EVERYBODY
    assert last_event(town, "u1")["reason"] == "The account had vanished from Keeper and was created again."
    assert drift(town)[0]["updated"] == 0


def test_only_whom_the_directory_entitles_gets_a_new_account(town):
    town.provisioned(deprovisioning=Deprovisioning(suspended=Delays(suspend_after=7)))
    town.directory.patch("u2", {"suspended": True})
    town.directory.weather(lose=True)
    town.sync()
    assert town.account("u2")["active"]
    remove(town, "u2", "u3")
    town.directory.patch("u2", {"name": {"familyName": "Grace"}})
    town.sync()
    assert town.account("u2") is None
    drift(town)
    assert (town.account("u2"), town.account("u3")["active"]) == (None, True)


def test_what_vanished_beyond_the_limit_in_a_run_is_planned_by_the_next_one(town):
    town.provisioned()
    town.directory.weather(lose=True)
    remove(town, *EVERYBODY)
    for user_id in EVERYBODY:
        town.directory.patch(user_id, {"name": {"familyName": "Back"}})
    town.sync()
    assert len(town.keeper.accounts()) == 10
    assert town.sync()["held"] == 2
    (hold,) = town.world.console("GET", "connections/keeper/holds")["items"]
    assert hold["counts"] == {"recreate": 2}


def test_who_left_the_group_and_was_unlocked_is_locked_again(town):
    town.provisioned()
    town.directory.leave(GROUP_ID, "u4")
    assert town.sync()["suspended"] == 1
    tamper(town, "u4", active=True)
    drift(town)
    assert not town.account("u4")["active"]
