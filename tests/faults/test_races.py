"""Workers die, meet and overtake each other: exactly one account, the newest decision stands."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import pytest

from autoprovisioning.domain.events import Actor
from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.support.system import GROUP_ID, Town, person

BY = Actor(address="admin@example.com", directory_id="u0")
EVERYBODY = {f"u{number}" for number in range(12)}


def suppressed(act: Callable[[], object]) -> None:
    """Call a function that may be killed meanwhile."""
    with contextlib.suppress(OSError):
        act()


def hire_unnoticed(town: Town, number: int) -> str:
    town.directory.weather(lose=True)
    user = town.directory.insert(person(number))
    town.directory.join(GROUP_ID, user["id"])
    return str(user["id"])


def accounts_of(town: Town, user_id: str) -> int:
    return sum(1 for account in town.keeper.accounts() if account.get("externalId") == user_id)


def test_a_worker_killed_between_the_scim_call_and_its_record(town):
    town.provisioned()
    user_id = hire_unnoticed(town, 70)
    hold = town.keeper.fault(match={"method": "POST", "path": "/Users"}, hold_after=True)
    worker = threading.Thread(target=town.look, args=(user_id, "m-killed"))
    worker.start()
    wait_for(lambda: town.keeper.matched(hold), "the write")
    town.kill("provision_user")
    worker.join()
    town.keeper.control("DELETE", "faults")
    town.restart("provision_user")
    assert town.look(user_id, "m-killed") == 503, "the mark still lives: the outcome is unknown"
    wait_for(lambda: town.look(user_id, "m-killed") == 204, "the redelivery after the mark ran out", 20, every=0.5)
    assert accounts_of(town, user_id) == 1
    entry = town.entry(user_id)
    assert (entry.status.value, entry.mark, entry.scim_id) == ("active", None, town.account(user_id)["id"])
    assert [(event["name"], event["recovered"]) for event in town.events(user_id)] == [
        ("Create User By Auto Provisioning", True)
    ]


def test_apply_changes_killed_in_the_middle_of_a_batch(town):
    town.keeper.settings(bulk=False)
    town.connect()
    hold = town.keeper.fault(match={"method": "POST", "path": "/Users"}, hold_after=True, skip=5, times=None)
    run = town.world.reconcile()[0]
    wait_for(lambda: town.keeper.matched(hold), "the writes")
    town.kill("apply_changes")
    town.keeper.control("DELETE", "faults")
    town.restart("apply_changes")
    desk = town.desk()
    wait_for(lambda: desk.runs.get(CONNECTION, run["run"]).ended, "the redelivered batch", 60, 0.2)
    ended = desk.runs.get(CONNECTION, run["run"])
    assert (ended.state.value, ended.unsettled > 0) == ("unsettled", True), "what became of some is not known yet"
    wait_for(lambda: not town.sync()["failed"] and town.active() == EVERYBODY, "everybody", 60, 0.5)
    assert all(accounts_of(town, user_id) == 1 for user_id in EVERYBODY)


def test_the_same_user_delivered_to_two_workers_at_once(town):
    town.provisioned()
    user_id = hire_unnoticed(town, 72)
    town.keeper.settings(latency_ms=60)
    port = town.second("provision_user")
    statuses: list[int] = []
    workers = [
        threading.Thread(target=lambda n=n: statuses.append(town.look(user_id, f"m-{n}", port=port if n % 2 else 0)))
        for n in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert set(statuses) <= {204, 503}
    town.await_account(user_id, lambda account: account["active"])
    assert accounts_of(town, user_id) == 1
    creations = [event for event in town.events(user_id) if event["name"].startswith("Create")]
    assert len(creations) == 1


def test_a_look_that_meets_a_live_mark_is_not_lost(town):
    town.provisioned()
    town.directory.weather(lose=True)
    town.directory.patch("u1", {"name": {"familyName": "First"}})
    hold = town.keeper.fault(match={"method": "PATCH"}, hold_after=1.5)
    worker = threading.Thread(target=town.look, args=("u1", "m-first"))
    worker.start()
    wait_for(lambda: town.keeper.matched(hold), "the first write")
    town.directory.patch("u1", {"name": {"familyName": "Second"}})
    assert town.look("u1", "m-second") == 204
    worker.join()
    town.await_account("u1", lambda account: account["name"]["familyName"] == "Second")


@pytest.mark.parametrize("newer", ["suspend", "leave", "delete"])
def test_a_stale_plan_never_undoes_a_newer_decision(town, newer):
    town.provisioned()
    user_id = hire_unnoticed(town, 73)
    town.freeze("apply_changes")
    run = town.world.reconcile()[0]
    if newer == "suspend":
        town.directory.patch(user_id, {"suspended": True})
    elif newer == "leave":
        town.directory.leave(GROUP_ID, user_id)
    else:
        town.directory.delete(user_id)
    assert town.look(user_id) == 204
    town.thaw("apply_changes")
    desk = town.desk()
    wait_for(lambda: desk.runs.get(CONNECTION, run["run"]).state.value == "done", "the batch", 30)
    assert town.account(user_id) is None


def test_a_stale_update_never_undoes_a_newer_one(town):
    town.provisioned()
    town.directory.weather(lose=True)
    town.directory.patch("u1", {"name": {"familyName": "Planned"}})
    town.freeze("apply_changes")
    run = town.world.reconcile()[0]
    town.directory.patch("u1", {"name": {"familyName": "Family1"}})
    assert town.look("u1") == 204
    town.thaw("apply_changes")
    desk = town.desk()
    wait_for(lambda: desk.runs.get(CONNECTION, run["run"]).state.value == "done", "the batch", 30)
    assert town.account("u1")["name"]["familyName"] == "Family1"


def test_reconcile_killed_while_it_observes_keeps_nobody_out_for_long(town):
    town.connect()
    hold = town.directory.fault(match={"method": "users.list"}, hang=True)
    killed = threading.Thread(target=lambda: suppressed(town.world.reconcile))
    killed.start()
    wait_for(lambda: town.directory.matched(hold), "the listing")
    town.kill("reconcile")
    killed.join()
    town.restart("reconcile")
    left = town.desk().runs.open(CONNECTION)[0].id
    wait_for(lambda: [run["run"] for run in town.world.reconcile()] != [left], "the lease to run out", 20, 0.3)
    wait_for(lambda: town.active() == EVERYBODY, "everybody")
    wait_for(lambda: not town.desk().runs.open(CONNECTION), "the end of both runs")


def test_a_long_reconciliation_keeps_its_lease(town):
    town.connect()
    slow = town.directory.fault(match={"method": "users.list"}, delay=5)
    first = threading.Thread(target=lambda: suppressed(town.world.reconcile))
    first.start()
    wait_for(lambda: town.directory.matched(slow), "the listing")
    observing = town.desk().runs.open(CONNECTION)[0]
    seen = []
    while first.is_alive():
        seen += [run["run"] for run in town.world.reconcile()]
    first.join()
    assert set(seen) <= {observing.id}, "a second planner came in while the first one was at work"


def test_a_run_asked_for_while_another_is_under_way_comes_after_it(town):
    town.provisioned()
    town.freeze("apply_changes")
    town.directory.weather(lose=True)
    town.directory.patch("u1", {"name": {"familyName": "First"}})
    # A run passes over a user whose mark is still alive, and then has nothing to apply: the next one has.
    wait_for(
        lambda: town.world.reconcile() and town.desk().runs.open(CONNECTION),
        "a run with something to apply",
        20,
        every=1,
    )
    town.directory.patch("u2", {"name": {"familyName": "Second"}})
    assert town.push("reconcile", {"kind": "full"}) == 503
    town.thaw("apply_changes")
    wait_for(lambda: town.push("reconcile", {"kind": "full"}) == 204, "the run asked for", 20, every=0.3)
    town.await_account("u2", lambda account: account["name"]["familyName"] == "Second")


def test_turned_off_with_batches_in_flight(town):
    from autoprovisioning.app.administration.configure import turn_off, turn_on

    town.connect()
    town.freeze("apply_changes")
    town.world.reconcile()
    turn_off(town.desk(), CONNECTION, BY)
    town.thaw("apply_changes")
    town.directory.patch("u1", {"name": {"familyName": "Changed"}})
    assert town.look("u1") == 204
    assert town.sync()["created"] == 0
    assert town.keeper.accounts() == []
    turn_on(town.desk(), CONNECTION, BY)
    wait_for(lambda: town.active() == EVERYBODY or not town.sync(), "everybody", 40, 0.5)


def test_deleted_with_batches_in_flight(town):
    from autoprovisioning.app.administration.configure import delete
    from autoprovisioning.bootstrap import channels
    from autoprovisioning.domain.errors import Busy, ProvisioningError

    town.keeper.settings(bulk=False)
    town.connect()
    hold = town.keeper.fault(match={"method": "POST", "path": "/Users"}, hold_after=1, times=None)
    town.world.reconcile()
    wait_for(lambda: town.keeper.matched(hold), "the writes")
    with pytest.raises(Busy):
        delete(town.desk(), channels(), CONNECTION, BY, "Keeper")

    def gone() -> bool:
        try:
            delete(town.desk(), channels(), CONNECTION, BY, "Keeper")
        except Busy:
            return False
        except ProvisioningError:
            return True
        return True

    wait_for(gone, "the end of the work in flight", 30, 0.3)
    assert town.state() == "gone"
    written = len(town.keeper.accounts())
    assert town.look("u1") == 204
    assert town.sync()["created"] == 0
    assert len(town.keeper.accounts()) == written, "accounts stay as they are"


def test_a_chain_of_address_changes_arrives(town):
    town.keeper.settings(bulk=False)
    town.provisioned()
    town.directory.weather(lose=True)
    for number in (5, 4, 3):
        town.directory.patch(f"u{number}", {"primaryEmail": f"chain{number}@example.com"})
        town.directory.call("DELETE", f"users/u{number}/aliases/person{number}@example.com")
    for number in (3, 4):
        town.directory.patch(f"u{number}", {"primaryEmail": f"person{number + 1}@example.com"})
    summary = town.sync()
    assert summary["failed"] == 0
    names = {user_id: town.account(user_id)["userName"] for user_id in ("u3", "u4", "u5")}
    assert names == {"u3": "person4@example.com", "u4": "person5@example.com", "u5": "chain5@example.com"}


def readdress(town: Town, user_id: str, address: str) -> None:
    """Give a user another address, and the one before to nobody: the directory keeps it as an alias."""
    before = town.directory.user(user_id)["primaryEmail"]
    town.directory.patch(user_id, {"primaryEmail": address})
    town.directory.call("DELETE", f"users/{user_id}/aliases/{before}")


def scheduled(town: Town) -> None:
    """Run as Cloud Scheduler has it run: nothing that failed is tried before its time."""
    town.world.reconcile()
    wait_for(lambda: not town.desk().runs.open(CONNECTION), "the end of the run")


def attempts(town: Town) -> int:
    """Count the requests that would change an account."""
    log = town.keeper.requests()["log"]
    return sum(seen["method"] in ("POST", "PATCH") for seen in log)


def swap(town: Town) -> None:
    """Let u3 and u4 swap addresses, unnoticed, and run."""
    town.provisioned()
    town.directory.weather(lose=True)
    for number in (3, 4):
        readdress(town, f"u{number}", f"tmp{number}@example.com")
    readdress(town, "u3", "person4@example.com")
    readdress(town, "u4", "person3@example.com")
    scheduled(town)


def test_a_swap_of_addresses_is_a_failure_of_both_and_locks_nobody(town):
    swap(town)
    assert town.active() == EVERYBODY
    for user_id, other, address in (("u3", "u4", "person4@example.com"), ("u4", "u3", "person3@example.com")):
        told = town.entry(user_id)
        assert told.failure.text.startswith(f"{address} is still the address of user {other}.")
        assert not told.pending
    before = attempts(town)
    scheduled(town)
    assert attempts(town) == before, "nothing changed: nothing is sent"


@pytest.mark.parametrize("bulk", [True, False])
def test_a_swap_of_addresses_heals_once_one_of_the_two_has_a_third(town, bulk):
    town.keeper.settings(bulk=bulk)
    swap(town)
    readdress(town, "u3", "third@example.com")
    scheduled(town)
    scheduled(town)
    assert town.account("u4")["userName"] == "person3@example.com"
    readdress(town, "u3", "person4@example.com")
    scheduled(town)
    assert town.account("u3")["userName"] == "person4@example.com"
    assert not any(town.entry(user_id).failure or town.entry(user_id).pending for user_id in ("u3", "u4"))


def test_a_leavers_address_is_not_given_to_a_newcomer(town):
    town.provisioned()
    town.directory.delete("u6")
    town.await_account("u6", lambda account: not account["active"])
    town.directory.weather(lose=True)
    town.directory.insert(person(80, primaryEmail="person6@example.com"))
    town.directory.join(GROUP_ID, "u80")
    assert town.look("u80") == 204
    assert town.account("u80") is None
    assert not town.account("u6")["active"]
    assert "another directory user's account" in town.entry("u80").failure.text
    assert town.sync()["failed"] == 1


def test_firestore_that_hangs_for_a_while_loses_nothing(town):
    import os
    import signal

    town.provisioned()
    firestore = next(child for child in town.supervisor.children() if child.name == "firestore")
    os.killpg(firestore.pid, signal.SIGSTOP)
    town.directory.patch("u1", {"name": {"familyName": "Patient"}})
    threading.Event().wait(2)  # the outage itself
    os.killpg(firestore.pid, signal.SIGCONT)
    town.await_account("u1", lambda account: account["name"]["familyName"] == "Patient", 40)
