"""Workers die, meet and overtake each other: exactly one account, the newest decision stands."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import pytest

from autoprovisioning.domain.events import Actor
from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.support.system import GROUP_ID, System, person
from tests.support.wire import Forwarder

BY = Actor(address="admin@example.com", directory_id="u0")
EVERYBODY = {f"u{number}" for number in range(12)}


def suppressed(act: Callable[[], object]) -> None:
    """Call a function that may be killed meanwhile."""
    with contextlib.suppress(OSError):
        act()


def hire_unnoticed(system: System, number: int) -> str:
    system.directory.weather(lose=True)
    user = system.directory.insert(person(number))
    system.directory.join(GROUP_ID, user["id"])
    return str(user["id"])


def accounts_of(system: System, user_id: str) -> int:
    return sum(1 for account in system.keeper.accounts() if account.get("externalId") == user_id)


def test_a_worker_killed_between_the_scim_call_and_its_record(system):
    system.restored()
    user_id = hire_unnoticed(system, 70)
    another = system.second("provision_user")  # a mark lives for seconds, and on a busy machine a start takes some
    assert system.look("u1", port=another) == 204
    hold = system.keeper.fault(match={"method": "POST", "path": "/Users"}, hold_after=True)
    worker = threading.Thread(target=system.look, args=(user_id, "m-killed"))
    worker.start()
    wait_for(lambda: system.keeper.matched(hold), "the write")
    system.kill("provision_user")
    worker.join()
    system.keeper.control("DELETE", "faults")
    assert system.look(user_id, "m-killed", port=another) == 503, "the mark still lives: the outcome is unknown"
    system.restart("provision_user")
    wait_for(lambda: system.look(user_id, "m-killed") == 204, "the redelivery after the mark ran out", 20, every=0.5)
    assert accounts_of(system, user_id) == 1
    entry = system.entry(user_id)
    assert (entry.status.value, entry.mark, entry.scim_id) == ("active", None, system.account(user_id)["id"])
    assert [(event["name"], event["recovered"]) for event in system.events(user_id)] == [
        ("Create User By Auto Provisioning", True)
    ]


def test_apply_changes_killed_in_the_middle_of_a_batch(system):
    system.keeper.settings(bulk=False)
    system.connect()
    hold = system.keeper.fault(match={"method": "POST", "path": "/Users"}, hold_after=True, skip=5, times=None)
    run = system.world.reconcile()[0]
    wait_for(lambda: system.keeper.matched(hold), "the writes")
    system.kill("apply_changes")
    system.keeper.control("DELETE", "faults")
    system.restart("apply_changes")
    services = system.services()
    wait_for(lambda: services.runs.get(CONNECTION, run["run"]).ended, "the redelivered batch", 60, 0.2)
    ended = services.runs.get(CONNECTION, run["run"])
    assert (ended.state.value, ended.unsettled > 0) == ("unsettled", True), "what became of some is not known yet"
    wait_for(lambda: not system.sync()["failed"] and system.active() == EVERYBODY, "everybody", 60, 0.5)
    assert all(accounts_of(system, user_id) == 1 for user_id in EVERYBODY)


def test_the_same_user_delivered_to_two_workers_at_once(system):
    system.restored()
    user_id = hire_unnoticed(system, 72)
    system.keeper.settings(latency_ms=60)
    port = system.second("provision_user")
    statuses: list[int] = []
    workers = [
        threading.Thread(target=lambda n=n: statuses.append(system.look(user_id, f"m-{n}", port=port if n % 2 else 0)))
        for n in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert set(statuses) <= {204, 503}
    system.await_account(user_id, lambda account: account["active"])
    assert accounts_of(system, user_id) == 1
    creations = [event for event in system.events(user_id) if event["name"].startswith("Create")]
    assert len(creations) == 1


def test_a_look_that_meets_a_live_mark_is_not_lost(system):
    system.restored()
    system.directory.weather(lose=True)
    system.directory.patch("u1", {"name": {"familyName": "First"}})
    hold = system.keeper.fault(match={"method": "PATCH"}, hold_after=1.5)
    worker = threading.Thread(target=system.look, args=("u1", "m-first"))
    worker.start()
    wait_for(lambda: system.keeper.matched(hold), "the first write")
    system.directory.patch("u1", {"name": {"familyName": "Second"}})
    assert system.look("u1", "m-second") == 204
    worker.join()
    system.await_account("u1", lambda account: account["name"]["familyName"] == "Second")


@pytest.mark.parametrize("newer", ["suspend", "leave", "delete"])
def test_a_stale_plan_never_undoes_a_newer_decision(system, newer):
    system.restored()
    user_id = hire_unnoticed(system, 73)
    system.freeze("apply_changes")
    run = system.world.reconcile()[0]
    if newer == "suspend":
        system.directory.patch(user_id, {"suspended": True})
    elif newer == "leave":
        system.directory.leave(GROUP_ID, user_id)
    else:
        system.directory.delete(user_id)
    assert system.look(user_id) == 204
    system.thaw("apply_changes")
    services = system.services()
    wait_for(lambda: services.runs.get(CONNECTION, run["run"]).state.value == "done", "the batch", 30)
    assert system.account(user_id) is None


def test_a_stale_update_never_undoes_a_newer_one(system):
    system.restored()
    system.directory.weather(lose=True)
    system.directory.patch("u1", {"name": {"familyName": "Planned"}})
    system.freeze("apply_changes")
    run = system.world.reconcile()[0]
    system.directory.patch("u1", {"name": {"familyName": "Family1"}})
    assert system.look("u1") == 204
    system.thaw("apply_changes")
    services = system.services()
    wait_for(lambda: services.runs.get(CONNECTION, run["run"]).state.value == "done", "the batch", 30)
    assert system.account("u1")["name"]["familyName"] == "Family1"


def test_reconcile_killed_while_it_observes_keeps_nobody_out_for_long(system):
    system.connect()
    hold = system.directory.fault(match={"method": "users.list"}, hang=True)
    killed = threading.Thread(target=lambda: suppressed(system.world.reconcile))
    killed.start()
    wait_for(lambda: system.directory.matched(hold), "the listing")
    system.kill("reconcile")
    killed.join()
    system.restart("reconcile")
    left = system.services().runs.open(CONNECTION)[0].id
    wait_for(lambda: [run["run"] for run in system.world.reconcile()] != [left], "the lease to run out", 20, 0.3)
    wait_for(lambda: system.active() == EVERYBODY, "everybody")
    wait_for(lambda: not system.services().runs.open(CONNECTION), "the end of both runs")


def test_a_long_reconciliation_keeps_its_lease(system):
    system.connect()
    slow = system.directory.fault(match={"method": "users.list"}, delay=5)
    first = threading.Thread(target=lambda: suppressed(system.world.reconcile))
    first.start()
    wait_for(lambda: system.directory.matched(slow), "the listing")
    observing = system.services().runs.open(CONNECTION)[0]
    seen = []
    while first.is_alive():
        seen += [run["run"] for run in system.world.reconcile()]
        first.join(0.05)
    assert set(seen) <= {observing.id}, "a second planner came in while the first one was at work"


def test_a_run_asked_for_while_another_is_under_way_comes_after_it(system):
    system.restored()
    system.freeze("apply_changes")
    system.directory.weather(lose=True)
    system.directory.patch("u1", {"name": {"familyName": "First"}})
    # A run passes over a user whose mark is still alive, and then has nothing to apply: the next one has.
    wait_for(
        lambda: system.world.reconcile() and system.services().runs.open(CONNECTION),
        "a run with something to apply",
        20,
        every=1,
    )
    system.directory.patch("u2", {"name": {"familyName": "Second"}})
    assert system.push("reconcile", {"kind": "full"}) == 503
    system.thaw("apply_changes")
    wait_for(lambda: system.push("reconcile", {"kind": "full"}) == 204, "the run asked for", 20, every=0.3)
    system.await_account("u2", lambda account: account["name"]["familyName"] == "Second")


def test_turned_off_with_batches_in_flight(system):
    from autoprovisioning.app.administration.configure import turn_off, turn_on

    system.connect()
    system.freeze("apply_changes")
    system.world.reconcile()
    turn_off(system.services(), CONNECTION, BY)
    system.thaw("apply_changes")
    system.directory.patch("u1", {"name": {"familyName": "Changed"}})
    assert system.look("u1") == 204
    assert system.sync()["created"] == 0
    assert system.keeper.accounts() == []
    turn_on(system.services(), CONNECTION, BY)
    wait_for(lambda: system.active() == EVERYBODY or not system.sync(), "everybody", 40, 0.5)


def test_deleted_with_batches_in_flight(system):
    from autoprovisioning.app.administration.configure import delete

    system.keeper.settings(bulk=False)
    system.connect()
    hold = system.keeper.fault(match={"method": "POST", "path": "/Users"}, hold_after=1, times=None)
    system.world.reconcile()
    wait_for(lambda: system.keeper.matched(hold), "the writes")
    delete(system.services(), CONNECTION, BY, "Keeper")

    def gone() -> bool:
        system.ask("reconcile", body=b'{"kind": "sweep"}')
        return system.state() == "gone"

    wait_for(gone, "the end of the work in flight", 30, 0.3)
    written = len(system.keeper.accounts())
    assert system.look("u1") == 204
    assert system.sync()["created"] == 0
    assert len(system.keeper.accounts()) == written, "accounts stay as they are"


def test_a_chain_of_address_changes_arrives(system):
    system.keeper.settings(bulk=False)
    system.provisioned()
    system.directory.weather(lose=True)
    for number in (5, 4, 3):
        system.directory.patch(f"u{number}", {"primaryEmail": f"chain{number}@example.com"})
        system.directory.call("DELETE", f"users/u{number}/aliases/person{number}@example.com")
    for number in (3, 4):
        system.directory.patch(f"u{number}", {"primaryEmail": f"person{number + 1}@example.com"})
    summary = system.sync()
    assert summary["failed"] == 0
    names = {user_id: system.account(user_id)["userName"] for user_id in ("u3", "u4", "u5")}
    assert names == {"u3": "person4@example.com", "u4": "person5@example.com", "u5": "chain5@example.com"}


def readdress(system: System, user_id: str, address: str) -> None:
    """Give a user another address, and the one before to nobody: the directory keeps it as an alias."""
    before = system.directory.user(user_id)["primaryEmail"]
    system.directory.patch(user_id, {"primaryEmail": address})
    system.directory.call("DELETE", f"users/{user_id}/aliases/{before}")


def scheduled(system: System) -> None:
    """Run as Cloud Scheduler has it run: nothing that failed is tried before its time."""
    system.world.reconcile()
    wait_for(lambda: not system.services().runs.open(CONNECTION), "the end of the run")


def attempts(system: System) -> int:
    """Count the requests that would change an account."""
    log = system.keeper.requests()["log"]
    return sum(seen["method"] in ("POST", "PATCH") for seen in log)


def swap(system: System) -> None:
    """Let u3 and u4 swap addresses, unnoticed, and run."""
    system.restored()
    system.directory.weather(lose=True)
    for number in (3, 4):
        readdress(system, f"u{number}", f"tmp{number}@example.com")
    readdress(system, "u3", "person4@example.com")
    readdress(system, "u4", "person3@example.com")
    scheduled(system)


def test_a_swap_of_addresses_is_a_failure_of_both_and_locks_nobody(system):
    swap(system)
    assert system.active() == EVERYBODY
    for user_id, other, address in (("u3", "u4", "person4@example.com"), ("u4", "u3", "person3@example.com")):
        told = system.entry(user_id)
        assert told.failure.text.startswith(f"{address} is still the address of user {other}.")
        assert not told.pending
    before = attempts(system)
    scheduled(system)
    assert attempts(system) == before, "nothing changed: nothing is sent"


@pytest.mark.parametrize("bulk", [True, False])
def test_a_swap_of_addresses_heals_once_one_of_the_two_has_a_third(system, bulk):
    system.keeper.settings(bulk=bulk)
    swap(system)
    readdress(system, "u3", "third@example.com")
    scheduled(system)
    scheduled(system)
    assert system.account("u4")["userName"] == "person3@example.com"
    readdress(system, "u3", "person4@example.com")
    scheduled(system)
    assert system.account("u3")["userName"] == "person4@example.com"
    assert not any(system.entry(user_id).failure or system.entry(user_id).pending for user_id in ("u3", "u4"))


def test_a_leavers_address_is_not_given_to_a_newcomer(system):
    system.restored()
    system.directory.delete("u6")
    system.await_account("u6", lambda account: not account["active"])
    system.directory.weather(lose=True)
    system.directory.insert(person(80, primaryEmail="person6@example.com"))
    system.directory.join(GROUP_ID, "u80")
    assert system.look("u80") == 204
    assert system.account("u80") is None
    assert not system.account("u6")["active"]
    assert "another directory user's account" in system.entry("u80").failure.text
    assert system.sync()["failed"] == 1


@pytest.fixture
def line(system):
    """The line to Firestore of the functions that a notification goes through; other jobs use the same emulator."""
    forwarder = Forwarder(system.world.cloud.ports["firestore"])
    functions = ("directory_webhook", "provision_user")
    for name in functions:
        system.kill(name)
        system.world.cloud.start_function(name, {"FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{forwarder.port}"})
    system.supervisor.wait_ready()
    yield forwarder
    for name in functions:
        system.kill(name)
    forwarder.close()


def test_firestore_that_hangs_for_a_while_loses_nothing(system, line):
    system.restored()
    line.runs.clear()
    system.directory.patch("u1", {"name": {"familyName": "Patient"}})
    threading.Event().wait(2)  # the outage itself
    assert system.account("u1")["name"]["familyName"] != "Patient"
    line.runs.set()
    system.await_account("u1", lambda account: account["name"]["familyName"] == "Patient", 40)
