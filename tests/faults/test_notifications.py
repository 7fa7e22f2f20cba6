"""Between directory and Keeper everything goes wrong that can: nothing is lost, and nothing happens twice."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.support.system import GROUP_ID, System, person
from tests.support.wire import Forwarder

EVERYBODY = {f"u{number}" for number in range(12)}


def deliver(system: System, user_id: str, event: str, age: float = 0, port: int = 0, message_id: str = "m-1") -> int:
    """Deliver a notification's message that was published so many seconds ago."""
    data = base64.b64encode(json.dumps({"user_id": user_id, "event": event}).encode()).decode()
    published = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
    body = {"message": {"messageId": message_id, "data": data, "publishTime": published}}
    return system.ask("provision_user", body=json.dumps(body).encode(), port=port).status


def hire(system: System, number: int) -> str:
    """Hire somebody into the scope group; the notification comes when they are in it."""
    system.directory.weather(hold=True)
    user_id = str(system.directory.insert(person(number))["id"])
    system.directory.join(GROUP_ID, user_id)
    system.directory.weather(hold=False, release=True)
    return user_id


def hire_unnoticed(system: System, number: int) -> str:
    system.directory.weather(lose=True)
    user_id = str(system.directory.insert(person(number))["id"])
    system.directory.join(GROUP_ID, user_id)
    system.directory.weather(lose=False)
    return user_id


def accounts_of(system: System, user_id: str) -> list[dict]:
    return [account for account in system.keeper.accounts() if account.get("externalId") == user_id]


def creations(system: System, user_id: str) -> list[dict]:
    return [event for event in system.events(user_id) if event["name"].startswith("Create")]


def test_everything_lost_is_repaired_by_the_next_run(system):
    system.restored()
    system.directory.weather(lose=True)
    system.directory.patch("u1", {"name": {"familyName": "Changed"}})
    system.directory.patch("u2", {"suspended": True})
    system.directory.delete("u3")
    system.directory.delete("u4")
    system.directory.call("POST", "users/u4/undelete", {"orgUnitPath": "/"})
    system.directory.join(GROUP_ID, "u4")
    new = hire_unnoticed(system, 60)
    before = system.account("u4")["id"]
    summary = system.sync()
    assert (summary["created"], summary["updated"], summary["suspended"]) == (1, 1, 2)
    assert system.active() == EVERYBODY - {"u2", "u3"} | {new}
    assert system.account("u4")["id"] == before


@pytest.mark.parametrize("weather", [{"duplicate": 4}, {"reorder": True, "hold": True}, {"delay": 0.4}])
def test_doubled_reordered_and_late_notifications_end_where_the_directory_is(system, weather):
    system.restored()
    system.directory.weather(**weather)
    system.directory.patch("u1", {"name": {"familyName": "First"}})
    system.directory.patch("u1", {"name": {"familyName": "Last"}})
    system.directory.patch("u2", {"suspended": True})
    system.directory.patch("u2", {"suspended": False, "name": {"familyName": "Back"}})
    system.directory.delete("u3")
    system.directory.patch("u4", {"suspended": True})
    system.directory.weather(hold=False, release=True)
    system.await_account("u1", lambda account: account["name"]["familyName"] == "Last")
    system.await_account("u2", lambda account: account["active"] and account["name"]["familyName"] == "Back")
    for user_id in ("u3", "u4"):
        system.await_account(user_id, lambda account: not account["active"])
    wait_for(lambda: system.sync()["unchanged"] == len(EVERYBODY), "a run that finds nothing to do")
    assert sorted(account["externalId"] for account in system.keeper.accounts()) == sorted(EVERYBODY)


def test_a_directory_that_still_answers_the_old_state_is_repaired_by_the_next_run(system):
    """Nothing contradicts an update that cannot be seen yet: the notification does nothing, the run does it."""
    system.restored()
    system.directory.weather(lose=True)
    system.directory.control("POST", "stale", {"on": True})
    system.directory.patch("u1", {"name": {"familyName": "Fresh"}})
    system.directory.patch("u2", {"suspended": True})
    assert [deliver(system, user_id, "update") for user_id in ("u1", "u2")] == [204, 204]
    assert system.active() == EVERYBODY
    system.directory.control("POST", "stale", {"on": False})
    summary = system.sync()
    assert (summary["updated"], summary["suspended"]) == (1, 1)


def test_deleted_and_undeleted_is_the_same_account(system):
    system.restored()
    before = system.account("u4")["id"]
    system.directory.delete("u4")
    system.await_account("u4", lambda account: not account["active"])
    system.directory.weather(hold=True)
    system.directory.call("POST", "users/u4/undelete", {"orgUnitPath": "/"})
    system.directory.join(GROUP_ID, "u4")
    system.directory.weather(hold=False, release=True)
    assert system.await_account("u4", lambda account: account["active"])["id"] == before
    assert len(accounts_of(system, "u4")) == 1


def test_deleted_but_still_readable_is_asked_again_until_the_message_is_old(system):
    system.restored()
    assert deliver(system, "u1", "delete") == 503
    assert deliver(system, "u1", "delete", age=3600) == 204
    assert system.active() == EVERYBODY, "what the directory says counts"


@pytest.mark.parametrize("event", ["add", "undelete"])
def test_added_but_not_found_is_asked_again_until_the_message_is_old(system, event):
    system.restored()
    assert deliver(system, "u70", event) == 503
    assert deliver(system, "u70", event, age=3600) == 204
    assert accounts_of(system, "u70") == []
    hire_unnoticed(system, 70)
    assert deliver(system, "u70", event) == 204
    assert len(accounts_of(system, "u70")) == 1


def test_gone_but_not_listed_as_deleted_is_asked_again_and_never_deprovisioned_by_a_404_alone(system):
    system.restored()
    system.directory.fault(match={"method": "users.get", "key": "u1"}, status=404, reason="notFound", times=None)
    assert deliver(system, "u1", "delete") == 503
    assert deliver(system, "u1", "delete", age=3600) == 204
    assert deliver(system, "u1", "update") == 204
    assert system.active() == EVERYBODY


@contextlib.contextmanager
def pushed_through(system: System, topic: str, function: str) -> Iterator[Forwarder]:
    """Let Pub/Sub reach a function through a forwarder."""
    forwarder = Forwarder(system.world.cloud.ports[function])
    system.redirect(topic, f"http://127.0.0.1:{forwarder.port}")
    try:
        yield forwarder
    finally:
        system.redirect(topic, system.world.cloud.url(function))
        forwarder.close()


def end_before_the_acknowledgement(system: System, forwarder: Forwarder, function: str) -> None:
    """Kill the worker once its acknowledgement is on the way, and see the message redelivered to the next one."""
    assert forwarder.withheld.wait(30), "no acknowledgement was sent"
    system.kill(function)
    system.restart(function)
    delivered = forwarder.requests
    forwarder.withhold = False
    forwarder.drop()
    wait_for(lambda: forwarder.requests > delivered, "the redelivery")


def test_a_worker_killed_between_record_and_acknowledgement_has_done_it_once(system):
    system.restored()
    with pushed_through(system, "directory-changes", "provision_user") as forwarder:
        forwarder.withhold = True
        user_id = hire(system, 71)
        end_before_the_acknowledgement(system, forwarder, "provision_user")
        system.directory.patch("u1", {"name": {"familyName": "Afterwards"}})
        system.await_account("u1", lambda account: account["name"]["familyName"] == "Afterwards")
    assert len(accounts_of(system, user_id)) == 1
    [event] = creations(system, user_id)
    assert not event["recovered"]
    assert (system.entry(user_id).mark, system.entry(user_id).status.value) == (None, "active")


def test_a_batch_whose_acknowledgement_is_lost_is_applied_once(system):
    system.connect()
    with pushed_through(system, "planned-changes", "apply_changes") as forwarder:
        forwarder.withhold = True
        [run] = system.world.reconcile()
        end_before_the_acknowledgement(system, forwarder, "apply_changes")
        finished = lambda: system.services().runs.get(CONNECTION, run["run"])  # noqa: E731
        wait_for(lambda: finished().state.value == "done", "the end of the run", 30)
    assert finished().counts["created"] == len(EVERYBODY)
    assert system.active() == EVERYBODY
    assert all(len(accounts_of(system, user_id)) == len(creations(system, user_id)) == 1 for user_id in EVERYBODY)


@pytest.fixture(scope="module")
def doubtful(whole_system):
    """A forwarder to Firestore, and a worker and a reconciler behind it that lose their patience within a second."""
    forwarder = Forwarder(whole_system.world.cloud.ports["firestore"])
    environment = {
        "FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{forwarder.port}",
        "OUTSIDE_TIMEOUT_SECONDS": "1",
        "USER_DEADLINE_SECONDS": "2",
        "USER_MARK_SECONDS": "3",
    }
    ports = {name: whole_system.second(name, **environment) for name in ("provision_user", "reconcile")}
    yield forwarder, ports
    for name, port in ports.items():
        whole_system.end(f"{name}-{port}")
    forwarder.close()


@contextlib.contextmanager
def outage(forwarder: Forwarder) -> Iterator[None]:
    """Firestore takes requests and answers none, then is itself again."""
    forwarder.withhold = True
    try:
        yield
    finally:
        forwarder.withhold = False
        forwarder.drop()


def test_firestore_that_does_not_answer_loses_nothing(system, doubtful):
    forwarder, ports = doubtful
    system.provisioned()
    user_id = hire_unnoticed(system, 72)
    with outage(forwarder):
        assert deliver(system, user_id, "add", port=ports["provision_user"]) == 503
        answer = system.ask("reconcile", body=b'{"kind": "full"}', port=ports["reconcile"])
        assert (answer.status, answer.json()["code"]) == (503, "transient")
    assert accounts_of(system, user_id) == []
    wait_for(lambda: deliver(system, user_id, "add", port=ports["provision_user"]) == 204, "the redelivery")
    assert len(accounts_of(system, user_id)) == len(creations(system, user_id)) == 1
    assert system.sync()["unchanged"] == len(EVERYBODY) + 1


def test_firestore_lost_between_the_scim_call_and_its_record_is_recovered(system, doubtful):
    forwarder, ports = doubtful
    system.provisioned()
    user_id = hire_unnoticed(system, 73)
    hold = system.keeper.fault(match={"method": "POST", "path": "/Users"}, hold_after=True)
    statuses: list[int] = []
    worker = threading.Thread(
        target=lambda: statuses.append(deliver(system, user_id, "add", port=ports["provision_user"]))
    )
    worker.start()
    wait_for(lambda: system.keeper.matched(hold), "the account made")
    with outage(forwarder):
        system.keeper.control("DELETE", "faults")
        worker.join()
    assert statuses == [503]
    assert system.entry(user_id).mark is not None, "the outcome is not known"
    wait_for(
        lambda: deliver(system, user_id, "add", port=ports["provision_user"]) == 204, "the redelivery", 20, every=0.3
    )
    assert len(accounts_of(system, user_id)) == 1
    [event] = creations(system, user_id)
    assert event["recovered"]
    assert (system.entry(user_id).mark, system.entry(user_id).scim_id) == (None, accounts_of(system, user_id)[0]["id"])
