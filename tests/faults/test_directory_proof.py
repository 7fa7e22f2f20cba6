"""What the directory says of single users and of listings: who keeps access, who loses it, and by whose word."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.ports.roster import Edit
from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.support.system import GROUP, GROUP_ID, System, person

NOT_AUTHORIZED = {"status": 403, "reason": "forbidden", "message": "Not Authorized to access this resource/api"}
INVALID_KEY = {"status": 400, "reason": "invalid", "message": "Invalid Input: memberKey"}


def people(count: int) -> set[str]:
    return {f"u{number}" for number in range(count)}


def silently_short(system: System, left_out: set[str]) -> None:
    """Let the derived listing lack some without a sign, and hasMember answer 400."""
    system.directory.fault(match={"method": "members.list"}, leave_out=sorted(left_out), times=None)
    system.directory.fault(match={"method": "members.hasMember"}, times=None, **INVALID_KEY)


def a_quarter_of_an_hour_later(system: System) -> None:
    """Let what was noticed so far be noticed fifteen minutes earlier."""
    services = system.services()
    connection = services.connections.get(CONNECTION)

    def edit(entries):
        missing = {user_id: entry for user_id, entry in entries.items() if entry.missing_since is not None}
        earlier = timedelta(minutes=15)
        return Edit(
            entries={key: replace(each, missing_since=each.missing_since - earlier) for key, each in missing.items()}
        ), 0

    services.roster.commit(connection, services.roster.load(connection), edit)


def holds(system: System) -> list[dict]:
    return system.world.console("GET", "connections/keeper/holds")["items"]


@pytest.mark.parametrize(("count", "short"), [(8, 3), (30, 10)])
def test_a_silently_short_listing_without_a_witness_suspends_nobody(system, count, short):
    system.reset(count)
    system.provisioned()
    silently_short(system, people(short))
    system.world.reconcile("sweep")
    for _ in range(2):
        system.sync()
    assert system.active() == people(count)
    assert holds(system) == []


def test_at_the_second_listing_they_are_held_and_an_approval_reads_each_again(system):
    system.restored()
    silently_short(system, {"u1", "u2", "u3"})
    system.sync()
    a_quarter_of_an_hour_later(system)
    assert system.sync()["held"] == 3
    assert system.active() == people(12)
    (hold,) = holds(system)
    assert "about whom the directory gives no individual answer" in hold["reason"]
    system.directory.control("DELETE", "faults")
    silently_short(system, {"u1", "u2"})
    system.world.console("POST", f"connections/keeper/holds/{hold['digest']}", {"decision": "approve"})
    for user_id in ("u1", "u2"):
        system.await_account(user_id, lambda account: not account["active"])
    system.sync()
    assert system.active() == people(12) - {"u1", "u2"}


def test_a_deleted_user_is_deprovisioned_by_the_notification(system):
    system.restored()
    system.directory.delete("u1")
    system.await_account("u1", lambda account: not account["active"])
    assert system.active() == people(12) - {"u1"}


def test_while_the_deleted_cannot_be_listed_their_412_counts_and_creations_go_on(system):
    system.restored()
    system.directory.weather(lose=True)
    system.directory.fault(
        match={"method": "users.list", "deleted": True},
        status=400,
        reason="invalid",
        message="Invalid Input",
        times=None,
    )
    system.directory.delete("u1")
    system.directory.insert(person(40))
    system.directory.join(GROUP, "u40")
    summary = system.sync()
    assert (summary["suspended"], summary["created"], summary["failed"]) == (1, 1, 0)
    assert system.active() == people(12) - {"u1"} | {"u40"}
    run = system.world.console("GET", "connections/keeper/runs")["items"][0]
    assert any("deleted users could not be listed" in note for note in run["notes"])
    assert (run["state"], run["complete"]) == ("done", False), "whoever waits for it is told"


def test_who_is_not_ours_to_see_is_not_deleted(system):
    system.restored()
    hidden = ("u1", "u2", "u3")
    for user_id in hidden:
        system.directory.fault(match={"method": "users.get", "key": user_id}, times=None, **NOT_AUTHORIZED)
    system.directory.fault(match={"method": "users.list", "deleted": False}, leave_out=list(hidden), times=None)
    for _ in range(2):
        summary = system.sync()
        assert (summary["suspended"], summary["failed"]) == (0, 0)
    assert system.look("u1", event="delete") in (204, 503)  # 503 while the event is young
    assert system.active() == people(12)
    assert system.entry("u1").missing_since is not None


def test_a_creation_that_is_not_complete_is_waited_for(system):
    system.restored()
    system.directory.weather(lose=True)
    system.directory.insert(person(40))
    system.directory.join(GROUP, "u40")
    message = "User creation is not complete"
    fault = system.directory.fault(
        match={"method": "users.get", "key": "u40"}, status=412, reason="conditionNotMet", message=message, times=1
    )
    assert system.look("u40") == 503
    assert system.directory.control("GET", f"faults/{fault}")["matched"] == 1
    assert system.look("u40") == 204
    assert system.account("u40")["active"]


def test_a_user_told_in_strings_is_left_as_they_are_and_noted(system):
    system.restored()
    state = system.directory.control("GET", "state")
    state["users"][3] |= {"suspended": "true"}
    state["users"][4] |= {"suspended": True}
    system.directory.control("PUT", "state", state)
    summary = system.sync()
    assert (summary["suspended"], summary["failed"]) == (1, 0)
    assert system.active() == people(12) - {"u4"}
    run = system.world.console("GET", "connections/keeper/runs")["items"][0]
    assert any("suspension the directory does not report" in note for note in run["notes"])


def test_a_member_from_outside_whom_we_may_not_see_gets_no_account(system):
    system.directory.call("POST", f"groups/{GROUP_ID}/members", {"id": "x99", "email": "someone@elsewhere.test"})
    system.directory.fault(match={"method": "users.get", "key": "x99"}, times=None, **NOT_AUTHORIZED)
    system.provisioned()
    system.world.reconcile("sweep")
    wait_for(lambda: system.look("x99") == 204, "a look at the outsider")
    assert system.active() == people(12)
