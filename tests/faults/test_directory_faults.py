"""The directory misbehaves: nobody is deprovisioned by it, and nothing is lost."""

from __future__ import annotations

import pytest

from infra.local.simulation import wait_for
from tests.support.system import GROUP, GROUP_ID, System, customer, person

EVERYBODY = {f"u{number}" for number in range(12)}
LISTINGS = ("users.list", "members.list")
CROWD = 510  # two pages of users (500), three of members (200)


def crowd(system: System) -> None:
    """Have enough users for another page after the one that is read."""
    system.directory.control("PUT", "state", customer(CROWD))


@pytest.mark.parametrize("method", LISTINGS)
def test_a_page_that_fails_once_is_read_again(system, method):
    crowd(system)
    system.connect()
    fault = system.directory.fault(match={"method": method, "from_page": 200}, status=503, times=1)
    summary = system.sync()
    assert system.directory.control("GET", f"faults/{fault}")["matched"] == 1
    assert (summary["created"], summary["failed"]) == (CROWD, 0)


@pytest.mark.parametrize("method", LISTINGS)
@pytest.mark.parametrize(("status", "reason"), [(503, "backendError"), (403, "userRateLimitExceeded"), (429, "x")])
def test_a_page_that_keeps_failing_deprovisions_nobody_and_creations_go_on(system, method, status, reason):
    crowd(system)
    system.provisioned()
    system.directory.weather(lose=True)
    system.directory.insert(person(5000))
    system.directory.join(GROUP, "u5000")
    system.directory.patch("u1", {"suspended": True})
    system.directory.fault(match={"method": method, "from_page": 200}, status=status, reason=reason, times=None)
    before = system.active()
    run = system.world.reconcile()[0]["run"]
    services = system.services()
    wait_for(lambda: services.runs.get("keeper", run).state.value == "done", "the run")
    summary = services.runs.get("keeper", run).counts
    assert {summary.get(name, 0) for name in ("suspended", "deleted", "held")} == {0}
    assert system.active() >= before
    assert services.runs.get("keeper", run).notes[-1].endswith("wait for a run with complete listings: 1")
    assert system.look("u1") == 204
    assert not system.account("u1")["active"], "a notification needs no listing"


def test_an_empty_listing_is_held_and_harms_nobody(system):
    system.restored()
    system.directory.fault(match={"method": "users.list"}, empty=True, times=2)
    summary = system.sync()
    assert summary["held"] == len(EVERYBODY)
    assert system.active() == EVERYBODY


def test_a_renamed_scope_group_changes_nothing(system):
    system.restored()
    system.directory.call("PATCH", f"groups/{GROUP_ID}", {"email": "renamed@example.com", "name": "Renamed"})
    summary = system.sync()
    assert summary["unchanged"] == len(EVERYBODY)
    assert system.active() == EVERYBODY


def test_an_emptied_scope_group_is_held_as_one_plan(system):
    system.restored()
    for user_id in EVERYBODY:
        system.directory.leave(GROUP_ID, user_id)
    assert system.sync()["held"] == len(EVERYBODY)
    assert system.active() == EVERYBODY
    system.world.reconcile("sweep")
    assert system.sync()["held"] == len(EVERYBODY)
    assert system.active() == EVERYBODY


def test_an_approved_plan_is_carried_out_and_not_counted_again(system):
    system.restored()
    for user_id in EVERYBODY:
        system.directory.leave(GROUP_ID, user_id)
    system.sync()
    hold = system.world.console("GET", "connections/keeper/holds")["items"][0]
    system.world.console("POST", f"connections/keeper/holds/{hold['digest']}", {"decision": "approve"})
    system.await_account("u5", lambda account: not account["active"])
    system.sync()
    assert system.active() == set()


def test_a_rejected_plan_is_kept_and_says_nothing_of_who_leaves_later(system):
    system.reset(14)
    system.provisioned()
    for number in range(2, 14):
        system.directory.leave(GROUP_ID, f"u{number}")
    system.sync()
    hold = system.world.console("GET", "connections/keeper/holds")["items"][0]
    system.world.console("POST", f"connections/keeper/holds/{hold['digest']}", {"decision": "reject"})
    system.directory.leave(GROUP_ID, "u1")
    for _ in range(2):
        system.sync()
        holds = system.world.console("GET", "connections/keeper/holds")["items"]
        assert [(item["state"], item["standings"]) for item in holds] == [("rejected", {"rejected": 12})]
    assert system.active() == {f"u{number}" for number in range(14)} - {"u1"}
    chosen = {"decision": "approve", "users": ["u2", "u3"]}
    system.world.console("POST", f"connections/keeper/holds/{hold['digest']}", chosen)
    system.await_account("u2", lambda account: not account["active"])
    system.await_account("u3", lambda account: not account["active"])
    system.sync()
    (item,) = system.world.console("GET", "connections/keeper/holds")["items"]
    assert item["standings"] == {"rejected": 10, "done": 2}


def test_an_unreadable_scope_group_deprovisions_nobody(system):
    system.restored()
    system.directory.fault(match={"method": "members.list"}, status=403, reason="forbidden", times=None)
    system.directory.leave(GROUP_ID, "u3")
    summary = system.sync()
    assert (summary["suspended"], summary["held"]) == (0, 0)
    system.world.reconcile("sweep")
    assert system.active() == EVERYBODY


def test_a_deleted_scope_group_deprovisions_nobody(system):
    system.restored()
    system.directory.call("DELETE", f"groups/{GROUP_ID}")
    system.sync()
    system.world.reconcile("sweep")
    assert system.active() == EVERYBODY


def test_archived_users_are_not_operated_on(system):
    system.restored()
    system.directory.patch("u1", {"archived": True, "name": {"familyName": "Archived"}})
    summary = system.sync()
    assert (summary["updated"], summary["suspended"]) == (0, 0)
    assert system.account("u1")["active"]
    assert system.account("u1")["name"]["familyName"] == "Family1"


def test_an_external_member_of_the_scope_group_gets_no_account(system):
    system.directory.call("POST", f"groups/{GROUP_ID}/members", {"id": "x99", "email": "someone@elsewhere.test"})
    system.provisioned()
    system.world.reconcile("sweep")
    system.sync()
    assert system.active() == EVERYBODY
