"""Changes that the audit log reports, from the simulated directory through the sink's topic to Keeper."""

from __future__ import annotations

import base64
import json
import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from autoprovisioning.domain.due_runs import ripe
from autoprovisioning.domain.events import EventName
from autoprovisioning.domain.runs import Look, RunKind
from autoprovisioning.domain.sources import Feed
from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.support.log_entries import admin_entry, groups_entry
from tests.support.system import GROUP, GROUP_ID, System, person

CREATED, SUSPENDED, UNSUSPENDED = EventName.CREATED, EventName.SUSPENDED, EventName.UNSUSPENDED
JSON = {"Content-Type": "application/json"}
FUNCTION = "workspace_events"
BOSS = "admin@example.com"  # who does everything in the simulated directory
MILLISECOND = timedelta(milliseconds=1)
EVE = "u50"


@pytest.fixture
def following(system: System) -> System:
    """A provisioned cloud that hears of changes through the audit log alone, as a new process."""
    system.restored()
    system.directory.weather(lose=True)
    system.directory.insert(person(50))
    system.kill(FUNCTION)
    system.restart(FUNCTION)
    system.world.follow_audit_log(delay=0.2)
    return system


def inactive(account: dict[str, Any]) -> bool:
    return not account["active"]


def active(account: dict[str, Any]) -> bool:
    return bool(account["active"])


def push(system: System, data: bytes) -> int:
    """Deliver an entry as it is."""
    message = {"messageId": uuid.uuid4().hex, "data": base64.b64encode(data).decode()}
    return system.ask(FUNCTION, body=json.dumps({"message": message}).encode(), headers=JSON).status


def test_who_joins_or_leaves_the_group_is_in_keeper_without_any_sweep_or_notification(following):
    following.directory.join(GROUP, EVE)
    following.await_account(EVE, active)
    following.directory.leave(GROUP, EVE)
    following.await_account(EVE, inactive)
    assert following.active() == {f"u{number}" for number in range(12)}
    assert following.services().sources.all().keys() == {Feed.AUDIT_LOG}


def test_the_audit_tells_who_did_it_in_workspace_and_when_as_reported(following):
    began = datetime.now(UTC)
    following.directory.join(GROUP, EVE)
    following.await_account(EVE, active)
    following.directory.leave(GROUP, EVE)
    following.await_account(EVE, inactive)
    wait_for(lambda: len(following.events(EVE)) == 2, "the audit, which is written after Keeper has answered")
    one = f"/connections/{CONNECTION}"
    left, joined = following.api("GET", f"{one}/events?user={EVE}").json()["items"]
    for event, name in ((joined, "ADD_GROUP_MEMBER"), (left, "REMOVE_GROUP_MEMBER")):
        cause = event["cause"]
        assert (cause["event"], cause["actor"], cause["group"]) == (name, BOSS, GROUP)
        assert began - MILLISECOND <= datetime.fromisoformat(cause["at"]) <= datetime.fromisoformat(event["at"])
        assert (event["source"], event["latency"] > 0) == ("event", True)
    told = f"Removed from group {GROUP} by {BOSS} at "
    for page in ("audit", f"users/{EVE}"):
        shown = following.through_proxy("GET", f"{one}/{page}", None, {}).text
        assert told in re.sub(r"<[^>]*>", "", shown), page
    latency = following.api("GET", f"{one}/health").json()["last_hour"]["latency"]
    assert [each["changes"] for each in latency if each["source"] == "event"] == [2]
    assert '"latency_seconds"' in following.log("provision_user")


def test_other_changes_of_users_are_heard_of_too(following):
    following.directory.patch("u1", {"name": {"familyName": "Renamed"}})
    following.await_account("u1", lambda account: account["name"]["familyName"] == "Renamed")
    following.directory.patch("u2", {"suspended": True})
    following.await_account("u2", inactive)
    following.directory.delete("u3")
    following.await_account("u3", inactive)


def test_doubled_and_reordered_entries_change_nothing_twice(following):
    following.directory.entries(duplicate=2, reorder=True)
    for _ in range(2):
        following.directory.join(GROUP, EVE)
        following.await_account(EVE, active)
        following.directory.leave(GROUP, EVE)
        following.await_account(EVE, inactive)
    wait_for(lambda: len(following.events(EVE)) >= 4, "the audit, which is written after Keeper has answered")
    names = [event["name"] for event in following.events(EVE)]
    assert names == [name.value for name in (CREATED, SUSPENDED, UNSUSPENDED, SUSPENDED)]


def test_what_no_entry_reports_is_found_by_the_sweep(following):
    following.directory.entries(lose_every=1)
    following.directory.join(GROUP, EVE)
    following.directory.leave(GROUP, "u1")
    wait_for(lambda: following.directory.control("GET", "entries")["lost"] >= 4, "four entries lost")
    assert following.account(EVE) is None
    following.world.reconcile("sweep")
    following.await_account(EVE, active)
    following.await_account("u1", inactive)


def test_a_group_that_becomes_a_member_is_swept_for_in_a_minute(following):
    team = following.directory.call("POST", "groups", {"email": "team@example.com", "name": "Team"})
    following.directory.join(team["id"], EVE)
    following.directory.call("POST", f"groups/{GROUP_ID}/members", {"email": "team@example.com"})
    due = wait_for(lambda: following.services().due_runs.all(), "the sweeps that are due")
    assert len(due) == 3
    assert following.ask(FUNCTION, body=b"{}", headers=JSON).json() == {"requested": []}, "none is due yet"
    following.directory.leave(GROUP, "u1")
    following.await_account("u1", inactive)
    following.await_account(EVE, active)


POISON = {
    "nothing": b"",
    "no JSON": b"{",
    "no entry": b'{"user_id": "u1"}',
    "deep": b'{"protoPayload": {"metadata": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}}",
    "ten megabytes": json.dumps(admin_entry("CREATE_USER", USER_EMAIL="x" * 10_000_000)).encode(),
    "another service": json.dumps({"protoPayload": {"serviceName": "login.googleapis.com"}}).encode(),
    "a stranger": json.dumps(groups_entry(GROUP, "user:stranger@elsewhere.example")).encode(),
    "an unknown group": json.dumps(groups_entry("nowhere@example.com", "user:person1@example.com")).encode(),
}


@pytest.mark.parametrize("what", POISON)
def test_entries_that_are_none_of_ours_are_acknowledged_and_change_nothing(settled, what):
    with settled.tapped("directory-changes") as looks:
        assert push(settled, POISON[what]) == 204
        settled.services().queue.look_again([Look(user_id="marker")])
        assert looks.until("marker") == []


def test_a_false_report_costs_a_look_or_a_sweep_and_nobodys_access(system):
    """Somebody who may publish to the topic reports that a colleague was suspended, removed and deleted."""
    system.restored()
    with system.tapped("directory-changes") as looks:
        for name in ("SUSPEND_USER", "REMOVE_GROUP_MEMBER"):
            entry = admin_entry(name, at="", USER_EMAIL="person1@example.com", GROUP_EMAIL=GROUP)
            assert push(system, json.dumps(entry).encode()) == 204
        system.services().queue.look_again([Look(user_id="marker")])
        assert [look["user_id"] for look in looks.until("marker")] == ["u1"]
    wait_for(
        lambda: RunKind.SWEEP not in ripe(system.services().due_runs.all(), system.services().clock()), "the sweep"
    )
    assert system.active() == {f"u{number}" for number in range(12)}


def test_a_directory_that_fails_has_the_entry_delivered_again(following):
    fault = following.directory.fault(match={"method": "groups.get"}, status=503, times=None)
    following.directory.join(GROUP, EVE)
    wait_for(lambda: following.directory.matched(fault) >= 2, "the failing request, and the next delivery's")
    assert following.account(EVE) is None
    told = following.services().sources.all().get(Feed.AUDIT_LOG)
    assert told is None or told.latest is None, "nothing arrives that can be followed"
    following.directory.control("DELETE", "faults")
    following.await_account(EVE, active)


def test_who_leaves_is_locked_though_the_directory_calls_them_a_member_for_a_while(following):
    fault = following.directory.fault(match={"method": "members.hasMember"}, is_member=True, times=2)
    following.directory.leave(GROUP, "u1")
    following.await_account("u1", inactive)
    assert following.directory.matched(fault) == 2


def test_what_became_of_entries_is_counted_in_one_line_a_minute(following):
    before = len(following.log(FUNCTION))
    following.directory.join(GROUP, EVE)
    following.await_account(EVE, active)
    lines = [line for line in following.log(FUNCTION)[before:].splitlines() if '"workspace_changes"' in line]
    assert len(lines) == 1
    assert sum(json.loads(lines[0])["workspace_changes"].values()) >= 1
