"""Something answers "done" in Keeper's place, or Keeper does something else: nothing is believed without proof."""

from __future__ import annotations

import pytest

from infra.local.simulation import wait_for
from tests.support.system import System

PATCH = {"method": "PATCH", "path": "/Users/"}
CREATED = "Create User By Auto Provisioning"
SUSPENDED = "Suspend Auto Provisioned User"


def suspend(system: System, user_id: str) -> None:
    system.directory.weather(lose=True)  # the run finds it, and nothing else is under way
    system.directory.patch(user_id, {"suspended": True})


def names(system: System, user_id: str) -> list[str]:
    return [event["name"] for event in system.events(user_id)]


@pytest.mark.parametrize("effect", [{"page": 200}, {"status": 200, "body": None}, {"status": 200, "body": {"ok": 1}}])
def test_a_suspension_that_a_firewall_answers_is_not_recorded(system, effect):
    system.restored()
    suspend(system, "u1")
    fault = system.keeper.fault(match=PATCH, times=None, **effect)
    assert system.look("u1") == 503
    assert system.keeper.matched(fault) >= 1
    known = system.entry("u1")
    assert known.status.value == "active"
    assert known.pending or known.failure
    assert SUSPENDED not in names(system, "u1")
    assert system.account("u1")["active"]
    assert '"alert": "keeper_contradicts"' in system.log("provision_user")
    system.keeper.control("DELETE", "faults")
    assert system.sync()["suspended"] == 1
    assert not system.account("u1")["active"]
    assert names(system, "u1")[-1] == SUSPENDED


def test_a_suspension_that_was_done_behind_a_firewalls_page_is_recorded_once(system):
    system.restored()
    suspend(system, "u1")
    system.keeper.fault(match=PATCH, page_after=200)
    assert system.sync()["suspended"] == 1
    assert not system.account("u1")["active"]
    assert names(system, "u1").count(SUSPENDED) == 1


def test_a_suspension_that_keeper_contradicts_is_that_users_failure(system):
    system.restored()
    suspend(system, "u1")
    system.keeper.fault(match=PATCH, times=None, show={"active": True})
    summary = system.sync()
    assert (summary["suspended"], summary["failed"]) == (0, 1)
    known = system.entry("u1")
    assert (known.status.value, known.failure.code) == ("active", "contradicted")
    assert "shows something else: active" in known.failure.text
    assert SUSPENDED not in names(system, "u1")


def test_creations_that_bulk_says_are_done_and_are_not_are_not_recorded(system):
    system.connect()
    system.keeper.fault(match={"method": "POST", "path": "/Bulk"}, times=None, page=200)
    system.keeper.fault(match={"method": "POST", "path": "/Users"}, times=None, page=200)
    system.sync()
    assert CREATED not in {event["name"] for event in system.events()}
    assert system.keeper.accounts() == []
    system.keeper.control("DELETE", "faults")
    wait_for(lambda: system.sync()["created"] or len(system.active()) == 12, "everybody", 60)


@pytest.mark.parametrize("bulk", [False, True])
def test_what_keeper_makes_of_values_is_left_alone_and_what_somebody_makes_of_them_is_not(system, bulk):
    system.keeper.settings(
        bulk=bulk, normalization={"lower_case": True, "trim": True, "nfc": True, "longest": 9, "bare_phones": True}
    )
    system.provisioned()
    for _ in range(2):
        assert system.sync("drift")["updated"] == 0
    system.keeper.control("PATCH", f"accounts/{system.account('u2')['id']}", {"displayName": "Vandal"})
    assert system.sync("drift")["updated"] == 1
    assert system.account("u2")["displayName"] == "Given2 Family2"[:9]
    assert system.sync("drift")["updated"] == 0


@pytest.mark.parametrize("bulk", [False, True])
def test_whoever_leaves_after_a_creation_that_keeper_contradicts_keeps_no_access(system, bulk):
    """The account is ours, though it is not as written: it must not be lost sight of."""
    system.keeper.settings(bulk=bulk, bulk_responses=True)
    system.connect()
    system.keeper.fault(
        match={"method": "POST"}, times=None, show={"displayName": "?"}, result_shows={"displayName": "?"}
    )
    system.sync()
    known = system.entry("u1")
    assert (known.status.value, known.failure.code) == ("active", "contradicted")
    assert "displayName" in known.failure.text
    system.keeper.control("DELETE", "faults")
    suspend(system, "u1")
    assert system.sync()["suspended"] == 1
    assert not system.account("u1")["active"]
