"""The directory misbehaves: nobody is deprovisioned by it, and nothing is lost."""

from __future__ import annotations

import pytest

from infra.local.simulation import wait_for
from tests.support.system import GROUP, GROUP_ID, Town, customer, person

EVERYBODY = {f"u{number}" for number in range(12)}
LISTINGS = ("users.list", "members.list")


def crowd(town: Town, people: int) -> None:
    """Have enough users for several pages of users (500) and members (200)."""
    town.directory.control("PUT", "state", customer(people))


@pytest.mark.parametrize("method", LISTINGS)
def test_a_page_that_fails_once_is_read_again(town, method):
    crowd(town, 1101)
    town.connect()
    fault = town.directory.fault(match={"method": method, "from_page": 200}, status=503, times=1)
    summary = town.sync()
    assert town.directory.control("GET", f"faults/{fault}")["matched"] == 1
    assert (summary["created"], summary["failed"]) == (1101, 0)


@pytest.mark.parametrize("method", LISTINGS)
@pytest.mark.parametrize(("status", "reason"), [(503, "backendError"), (403, "userRateLimitExceeded"), (429, "x")])
def test_a_page_that_keeps_failing_deprovisions_nobody_and_creations_go_on(town, method, status, reason):
    crowd(town, 1101)
    town.provisioned()
    town.directory.weather(lose=True)
    town.directory.insert(person(5000))
    town.directory.join(GROUP, "u5000")
    town.directory.patch("u1", {"suspended": True})
    town.directory.fault(match={"method": method, "from_page": 200}, status=status, reason=reason, times=None)
    before = town.active()
    run = town.world.reconcile()[0]["run"]
    desk = town.desk()
    wait_for(lambda: desk.runs.get("keeper", run).state.value == "done", "the run")
    summary = desk.runs.get("keeper", run).counts
    assert {summary.get(name, 0) for name in ("suspended", "deleted", "held")} == {0}
    assert town.active() >= before
    assert desk.runs.get("keeper", run).notes[-1].endswith("wait for a run with complete listings: 1")
    assert town.look("u1") == 204
    assert not town.account("u1")["active"], "a notification needs no listing"


def test_an_empty_listing_is_held_and_harms_nobody(town):
    town.provisioned()
    town.directory.fault(match={"method": "users.list"}, empty=True, times=2)
    summary = town.sync()
    assert summary["held"] == len(EVERYBODY)
    assert town.active() == EVERYBODY


def test_a_renamed_scope_group_changes_nothing(town):
    town.provisioned()
    town.directory.call("PATCH", f"groups/{GROUP_ID}", {"email": "renamed@example.com", "name": "Renamed"})
    summary = town.sync()
    assert summary["unchanged"] == len(EVERYBODY)
    assert town.active() == EVERYBODY


def test_an_emptied_scope_group_is_held_as_one_plan(town):
    town.provisioned()
    for user_id in EVERYBODY:
        town.directory.leave(GROUP_ID, user_id)
    assert town.sync()["held"] == len(EVERYBODY)
    assert town.active() == EVERYBODY
    town.world.reconcile("sweep")
    assert town.sync()["held"] == len(EVERYBODY)
    assert town.active() == EVERYBODY


def test_an_approved_plan_is_carried_out_and_not_counted_again(town):
    town.provisioned()
    for user_id in EVERYBODY:
        town.directory.leave(GROUP_ID, user_id)
    town.sync()
    hold = town.world.console("GET", "connections/keeper/holds")["items"][0]
    town.world.console("POST", f"connections/keeper/holds/{hold['digest']}", {"decision": "approve"})
    town.await_account("u5", lambda account: not account["active"])
    town.sync()
    assert town.active() == set()


def test_a_rejected_plan_is_kept_and_says_nothing_of_who_leaves_later(town):
    town.reset(14)
    town.provisioned()
    for number in range(2, 14):
        town.directory.leave(GROUP_ID, f"u{number}")
    town.sync()
    hold = town.world.console("GET", "connections/keeper/holds")["items"][0]
    town.world.console("POST", f"connections/keeper/holds/{hold['digest']}", {"decision": "reject"})
    town.directory.leave(GROUP_ID, "u1")
    for _ in range(2):
        town.sync()
        holds = town.world.console("GET", "connections/keeper/holds")["items"]
        assert [(item["state"], item["standings"]) for item in holds] == [("rejected", {"rejected": 12})]
    assert town.active() == {f"u{number}" for number in range(14)} - {"u1"}
    chosen = {"decision": "approve", "users": ["u2", "u3"]}
    town.world.console("POST", f"connections/keeper/holds/{hold['digest']}", chosen)
    town.await_account("u2", lambda account: not account["active"])
    town.await_account("u3", lambda account: not account["active"])
    town.sync()
    (item,) = town.world.console("GET", "connections/keeper/holds")["items"]
    assert item["standings"] == {"rejected": 10, "done": 2}


def test_an_unreadable_scope_group_deprovisions_nobody(town):
    town.provisioned()
    town.directory.fault(match={"method": "members.list"}, status=403, reason="forbidden", times=None)
    town.directory.leave(GROUP_ID, "u3")
    summary = town.sync()
    assert (summary["suspended"], summary["held"]) == (0, 0)
    town.world.reconcile("sweep")
    assert town.active() == EVERYBODY


def test_a_deleted_scope_group_deprovisions_nobody(town):
    town.provisioned()
    town.directory.call("DELETE", f"groups/{GROUP_ID}")
    town.sync()
    town.world.reconcile("sweep")
    assert town.active() == EVERYBODY


def test_archived_users_are_not_operated_on(town):
    town.provisioned()
    town.directory.patch("u1", {"archived": True, "name": {"familyName": "Archived"}})
    summary = town.sync()
    assert (summary["updated"], summary["suspended"]) == (0, 0)
    assert town.account("u1")["active"]
    assert town.account("u1")["name"]["familyName"] == "Family1"


def test_an_external_member_of_the_scope_group_gets_no_account(town):
    town.directory.call("POST", f"groups/{GROUP_ID}/members", {"id": "x99", "email": "someone@elsewhere.test"})
    town.provisioned()
    town.world.reconcile("sweep")
    town.sync()
    assert town.active() == EVERYBODY
