"""One user's answers are wrong for ever: the others are done, the run ends, that user fails with a reason."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from infra.local.simulation import wait_for
from tests.support.system import System, person

HTML = "<html><body>Blocked by the firewall</body></html>"


def failing(system: System, user_id: str, seconds: float = 60) -> str:
    """Wait until somebody is a failure that waits for its next attempt; returns its code."""

    def found() -> str:
        entry = system.entry(user_id)
        failure = entry.failure if entry is not None else None
        return failure.code if failure is not None and not failure.trying else ""

    return str(wait_for(found, f"the failure of {user_id}", seconds))


@pytest.mark.parametrize(("status", "reason"), [(500, "backendError"), (400, "badRequest"), (403, "forbidden")])
def test_a_user_whom_the_directory_never_shows_keeps_no_run_from_its_end(system, status, reason):
    system.restored()
    system.directory.weather(lose=True)
    for number in (3, 4, 5):
        system.directory.patch(f"u{number}", {"suspended": True})
    system.directory.fault(match={"method": "users.get", "key": "u4"}, status=status, reason=reason, times=None)
    began = time.monotonic()
    system.sync()
    assert time.monotonic() - began < 30
    assert not system.account("u3")["active"]
    assert not system.account("u5")["active"]
    assert system.account("u4")["active"]
    if status == 500:
        assert failing(system, "u4") == "directory_failed"
    system.directory.control("DELETE", "faults")
    wait_for(lambda: system.look("u4") == 204 and not system.account("u4")["active"], "the suspension")
    assert system.entry("u4").failure is None


FOREVER = [
    ({"status": 500}, {}),
    ({"status": 500}, {"status": 500}),
    ({"status": 500}, {"status": 200, "body": HTML}),
    ({"status": 500}, {"status": 403}),
    ({"status": 501}, {}),
    ({"status": 405}, {}),
]


@pytest.mark.parametrize(("patched", "got"), FOREVER)
def test_a_write_that_keeper_always_fails_on_is_that_users_failure(system, patched, got):
    system.restored()
    system.keeper.settings(bulk=False)
    system.directory.weather(lose=True)
    path = f"/Users/{system.account('u4')['id']}$"
    for number in (3, 4, 5):
        system.directory.patch(f"u{number}", {"name": {"familyName": "Changed"}})
    system.keeper.fault(match={"method": "PATCH", "path": path}, times=None, **patched)
    if got:
        system.keeper.fault(match={"method": "GET", "path": path}, times=None, **got)
    began = time.monotonic()
    system.sync()
    assert time.monotonic() - began < 40
    assert {system.account(f"u{number}")["name"]["familyName"] for number in (3, 5)} == {"Changed"}
    assert failing(system, "u4")
    entry = system.entry("u4")
    unknown = patched["status"] == 500 and bool(got)
    assert (entry.pending, entry.mark is not None) == (False, unknown)
    failed = [event for event in system.events("u4") if event["name"] == "Failures"]
    assert [bool(event["reason"]) for event in failed] == [True]
    system.keeper.control("DELETE", "requests")
    run = system.world.reconcile()[0]
    assert run["state"] == "done"
    assert system.services().runs.get("keeper", run["run"]).counts["failed"] == 1
    asked = [request for request in system.keeper.requests()["log"] if request["path"].endswith(path[:-1])]
    assert asked == [], "nothing of it is sent before the next attempt is due"


def test_a_wait_of_days_is_an_hour_and_run_now_ends_it(system):
    system.restored()
    system.directory.weather(lose=True)
    system.directory.patch("u1", {"name": {"familyName": "Later"}})
    system.keeper.fault(match={"method": "(PATCH|POST)"}, status=429, retry_after=1_000_000, times=1)
    system.world.reconcile()
    services = system.services()
    until = wait_for(lambda: services.connections.get("keeper").throttled_until, "the wait")
    assert until - services.clock() <= timedelta(hours=1)
    health = system.api("GET", "/connections/keeper/health").json()
    assert any(concern["what"].startswith("Urgent: Keeper asked") for concern in health["concerns"])
    assert system.api("POST", "/connections/keeper/runs").status == 202
    system.await_account("u1", lambda account: account["name"]["familyName"] == "Later", 60)
    assert services.connections.get("keeper").throttled_until is None


def test_an_outage_in_mid_run_is_told_of_and_everybody_of_the_batch_waits(system):
    system.connect()
    system.freeze("apply_changes")
    run = system.world.reconcile()[0]["run"]
    outage = system.keeper.fault(match={"path": "/(Users|Bulk)"}, status=500, times=None)
    system.thaw("apply_changes")
    services = system.services()
    notes = wait_for(lambda: services.runs.get("keeper", run).notes, "the note", 60)
    assert notes[0].startswith("Keeper fails for everybody: ")
    health = wait_for(lambda: waiting(system), "who waits")
    assert any("users wait since" in concern["what"] for concern in health["concerns"])
    system.keeper.control("DELETE", f"faults/{outage}")
    everybody = {f"u{number}" for number in range(12)}
    wait_for(lambda: system.active() == everybody, "everybody", 60)
    wait_for(lambda: waiting(system) is None, "nobody to wait any more")


def waiting(system: System):
    health = system.api("GET", "/connections/keeper/health").json()
    return health if health["waiting"] == 12 else None


def test_a_new_user_whose_search_always_fails_does_not_keep_the_others_out(system):
    system.restored()
    system.directory.weather(lose=True)
    for number in (60, 61):
        system.directory.insert(person(number))
        system.directory.join("g-keeper", f"u{number}")
    system.keeper.settings(bulk=False)
    system.keeper.fault(match={"method": "POST", "path": "/Users$", "body": "person60@"}, status=500, times=None)
    system.sync()
    system.await_account("u61", lambda account: account["active"])
    assert failing(system, "u60")
