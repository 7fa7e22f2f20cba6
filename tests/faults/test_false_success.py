"""Something answers "done" in Keeper's place, or Keeper does something else: nothing is believed without proof."""

from __future__ import annotations

import pytest

from infra.local.simulation import wait_for
from tests.support.system import Town

PATCH = {"method": "PATCH", "path": "/Users/"}
CREATED = "Create User By Auto Provisioning"
SUSPENDED = "Suspend Auto Provisioned User"


def suspend(town: Town, user_id: str) -> None:
    town.directory.weather(lose=True)  # the run finds it, and nothing else is under way
    town.directory.patch(user_id, {"suspended": True})


def names(town: Town, user_id: str) -> list[str]:
    return [event["name"] for event in town.events(user_id)]


@pytest.mark.parametrize("effect", [{"page": 200}, {"status": 200, "body": None}, {"status": 200, "body": {"ok": 1}}])
def test_a_suspension_that_a_firewall_answers_is_not_recorded(town, effect):
    town.provisioned()
    suspend(town, "u1")
    fault = town.keeper.fault(match=PATCH, times=None, **effect)
    assert town.look("u1") == 503
    assert town.keeper.matched(fault) >= 1
    known = town.entry("u1")
    assert known.status.value == "active"
    assert known.pending or known.failure
    assert SUSPENDED not in names(town, "u1")
    assert town.account("u1")["active"]
    assert '"alert": "keeper_contradicts"' in town.log("provision_user")
    town.keeper.control("DELETE", "faults")
    assert town.sync()["suspended"] == 1
    assert not town.account("u1")["active"]
    assert names(town, "u1")[-1] == SUSPENDED


def test_a_suspension_that_was_done_behind_a_firewalls_page_is_recorded_once(town):
    town.provisioned()
    suspend(town, "u1")
    town.keeper.fault(match=PATCH, page_after=200)
    assert town.sync()["suspended"] == 1
    assert not town.account("u1")["active"]
    assert names(town, "u1").count(SUSPENDED) == 1


def test_a_suspension_that_keeper_contradicts_is_that_users_failure(town):
    town.provisioned()
    suspend(town, "u1")
    town.keeper.fault(match=PATCH, times=None, show={"active": True})
    summary = town.sync()
    assert (summary["suspended"], summary["failed"]) == (0, 1)
    known = town.entry("u1")
    assert (known.status.value, known.failure.code) == ("active", "contradicted")
    assert "shows otherwise: active" in known.failure.text
    assert SUSPENDED not in names(town, "u1")


def test_creations_that_bulk_says_are_done_and_are_not_are_not_recorded(town):
    town.connect()
    town.keeper.fault(match={"method": "POST", "path": "/Bulk"}, times=None, page=200)
    town.keeper.fault(match={"method": "POST", "path": "/Users"}, times=None, page=200)
    town.sync()
    assert CREATED not in {event["name"] for event in town.events()}
    assert town.keeper.accounts() == []
    town.keeper.control("DELETE", "faults")
    wait_for(lambda: town.sync()["created"] or len(town.active()) == 12, "everybody", 60)


@pytest.mark.parametrize("bulk", [False, True])
def test_what_keeper_makes_of_values_is_left_alone_and_what_somebody_makes_of_them_is_not(town, bulk):
    town.keeper.settings(
        bulk=bulk, normalization={"lower_case": True, "trim": True, "nfc": True, "longest": 9, "bare_phones": True}
    )
    town.provisioned()
    for _ in range(2):
        assert town.sync("drift")["updated"] == 0
    town.keeper.control("PATCH", f"accounts/{town.account('u2')['id']}", {"displayName": "Vandal"})
    assert town.sync("drift")["updated"] == 1
    assert town.account("u2")["displayName"] == "Given2 Family2"[:9]
    assert town.sync("drift")["updated"] == 0


@pytest.mark.parametrize("bulk", [False, True])
def test_whoever_leaves_after_a_creation_that_keeper_contradicts_keeps_no_access(town, bulk):
    """The account is ours, though it is not as written: it must not be lost sight of."""
    town.keeper.settings(bulk=bulk, bulk_responses=True)
    town.connect()
    town.keeper.fault(
        match={"method": "POST"}, times=None, show={"displayName": "?"}, result_shows={"displayName": "?"}
    )
    town.sync()
    known = town.entry("u1")
    assert (known.status.value, known.failure.code) == ("active", "contradicted")
    assert "displayName" in known.failure.text
    town.keeper.control("DELETE", "faults")
    suspend(town, "u1")
    assert town.sync()["suspended"] == 1
    assert not town.account("u1")["active"]
