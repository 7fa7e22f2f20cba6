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
from tests.support.system import GROUP_ID, Town, person
from tests.support.wire import Forwarder

EVERYBODY = {f"u{number}" for number in range(12)}


def deliver(town: Town, user_id: str, event: str, age: float = 0, port: int = 0, message_id: str = "m-1") -> int:
    """Deliver a notification's message that was published so many seconds ago."""
    data = base64.b64encode(json.dumps({"user_id": user_id, "event": event}).encode()).decode()
    published = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
    body = {"message": {"messageId": message_id, "data": data, "publishTime": published}}
    return town.ask("provision_user", body=json.dumps(body).encode(), port=port).status


def hire(town: Town, number: int) -> str:
    """Hire somebody into the scope group; the notification comes when they are in it."""
    town.directory.weather(hold=True)
    user_id = str(town.directory.insert(person(number))["id"])
    town.directory.join(GROUP_ID, user_id)
    town.directory.weather(hold=False, release=True)
    return user_id


def hire_unnoticed(town: Town, number: int) -> str:
    town.directory.weather(lose=True)
    user_id = str(town.directory.insert(person(number))["id"])
    town.directory.join(GROUP_ID, user_id)
    town.directory.weather(lose=False)
    return user_id


def accounts_of(town: Town, user_id: str) -> list[dict]:
    return [account for account in town.keeper.accounts() if account.get("externalId") == user_id]


def creations(town: Town, user_id: str) -> list[dict]:
    return [event for event in town.events(user_id) if event["name"].startswith("Create")]


def test_everything_lost_is_repaired_by_the_next_run(town):
    town.provisioned()
    town.directory.weather(lose=True)
    town.directory.patch("u1", {"name": {"familyName": "Changed"}})
    town.directory.patch("u2", {"suspended": True})
    town.directory.delete("u3")
    town.directory.delete("u4")
    town.directory.call("POST", "users/u4/undelete", {"orgUnitPath": "/"})
    town.directory.join(GROUP_ID, "u4")
    new = hire_unnoticed(town, 60)
    before = town.account("u4")["id"]
    summary = town.sync()
    assert (summary["created"], summary["updated"], summary["suspended"]) == (1, 1, 2)
    assert town.active() == EVERYBODY - {"u2", "u3"} | {new}
    assert town.account("u4")["id"] == before


@pytest.mark.parametrize("weather", [{"duplicate": 4}, {"reorder": True, "hold": True}, {"delay": 0.4}])
def test_doubled_reordered_and_late_notifications_end_where_the_directory_is(town, weather):
    town.provisioned()
    town.directory.weather(**weather)
    town.directory.patch("u1", {"name": {"familyName": "First"}})
    town.directory.patch("u1", {"name": {"familyName": "Last"}})
    town.directory.patch("u2", {"suspended": True})
    town.directory.patch("u2", {"suspended": False, "name": {"familyName": "Back"}})
    town.directory.delete("u3")
    town.directory.patch("u4", {"suspended": True})
    town.directory.weather(hold=False, release=True)
    town.await_account("u1", lambda account: account["name"]["familyName"] == "Last")
    town.await_account("u2", lambda account: account["active"] and account["name"]["familyName"] == "Back")
    for user_id in ("u3", "u4"):
        town.await_account(user_id, lambda account: not account["active"])
    wait_for(lambda: town.sync()["unchanged"] == len(EVERYBODY), "a run that finds nothing to do")
    assert sorted(account["externalId"] for account in town.keeper.accounts()) == sorted(EVERYBODY)


def test_a_directory_that_still_answers_the_old_state_is_repaired_by_the_next_run(town):
    """Nothing contradicts an update that cannot be seen yet: the notification does nothing, the run does it."""
    town.provisioned()
    town.directory.weather(lose=True)
    town.directory.control("POST", "stale", {"on": True})
    town.directory.patch("u1", {"name": {"familyName": "Fresh"}})
    town.directory.patch("u2", {"suspended": True})
    assert [deliver(town, user_id, "update") for user_id in ("u1", "u2")] == [204, 204]
    assert town.active() == EVERYBODY
    town.directory.control("POST", "stale", {"on": False})
    summary = town.sync()
    assert (summary["updated"], summary["suspended"]) == (1, 1)


def test_deleted_and_undeleted_is_the_same_account(town):
    town.provisioned()
    before = town.account("u4")["id"]
    town.directory.delete("u4")
    town.await_account("u4", lambda account: not account["active"])
    town.directory.weather(hold=True)
    town.directory.call("POST", "users/u4/undelete", {"orgUnitPath": "/"})
    town.directory.join(GROUP_ID, "u4")
    town.directory.weather(hold=False, release=True)
    assert town.await_account("u4", lambda account: account["active"])["id"] == before
    assert len(accounts_of(town, "u4")) == 1


def test_deleted_but_still_readable_is_asked_again_until_the_message_is_old(town):
    town.provisioned()
    assert deliver(town, "u1", "delete") == 503
    assert deliver(town, "u1", "delete", age=3600) == 204
    assert town.active() == EVERYBODY, "what the directory says counts"


@pytest.mark.parametrize("event", ["add", "undelete"])
def test_added_but_not_found_is_asked_again_until_the_message_is_old(town, event):
    town.provisioned()
    assert deliver(town, "u70", event) == 503
    assert deliver(town, "u70", event, age=3600) == 204
    assert accounts_of(town, "u70") == []
    hire_unnoticed(town, 70)
    assert deliver(town, "u70", event) == 204
    assert len(accounts_of(town, "u70")) == 1


def test_gone_but_not_listed_as_deleted_is_asked_again_and_never_deprovisioned_by_a_404_alone(town):
    town.provisioned()
    town.directory.fault(match={"method": "users.get", "key": "u1"}, status=404, reason="notFound", times=None)
    assert deliver(town, "u1", "delete") == 503
    assert deliver(town, "u1", "delete", age=3600) == 204
    assert deliver(town, "u1", "update") == 204
    assert town.active() == EVERYBODY


@contextlib.contextmanager
def pushed_through(town: Town, topic: str, function: str) -> Iterator[Forwarder]:
    """Let Pub/Sub reach a function through a forwarder."""
    forwarder = Forwarder(town.world.cloud.ports[function])
    town.redirect(topic, f"http://127.0.0.1:{forwarder.port}")
    try:
        yield forwarder
    finally:
        town.redirect(topic, town.world.cloud.url(function))
        forwarder.close()


def end_before_the_acknowledgement(town: Town, forwarder: Forwarder, function: str) -> None:
    """Kill the worker once its acknowledgement is on the way, and see the message redelivered to the next one."""
    assert forwarder.withheld.wait(30), "no acknowledgement was sent"
    town.kill(function)
    town.restart(function)
    delivered = forwarder.requests
    forwarder.withhold = False
    forwarder.drop()
    wait_for(lambda: forwarder.requests > delivered, "the redelivery")


def test_a_worker_killed_between_record_and_acknowledgement_has_done_it_once(town):
    town.provisioned()
    with pushed_through(town, "directory-changes", "provision_user") as forwarder:
        forwarder.withhold = True
        user_id = hire(town, 71)
        end_before_the_acknowledgement(town, forwarder, "provision_user")
        town.directory.patch("u1", {"name": {"familyName": "Afterwards"}})
        town.await_account("u1", lambda account: account["name"]["familyName"] == "Afterwards")
    assert len(accounts_of(town, user_id)) == 1
    [event] = creations(town, user_id)
    assert not event["recovered"]
    assert (town.entry(user_id).mark, town.entry(user_id).status.value) == (None, "active")


def test_a_batch_whose_acknowledgement_is_lost_is_applied_once(town):
    town.connect()
    with pushed_through(town, "planned-changes", "apply_changes") as forwarder:
        forwarder.withhold = True
        [run] = town.world.reconcile()
        end_before_the_acknowledgement(town, forwarder, "apply_changes")
        finished = lambda: town.desk().runs.get(CONNECTION, run["run"])  # noqa: E731
        wait_for(lambda: finished().state.value == "done", "the end of the run", 30)
    assert finished().counts["created"] == len(EVERYBODY)
    assert town.active() == EVERYBODY
    assert all(len(accounts_of(town, user_id)) == len(creations(town, user_id)) == 1 for user_id in EVERYBODY)


@pytest.fixture(scope="module")
def doubtful(whole_town):
    """A forwarder to Firestore, and a worker and a reconciler behind it that lose their patience within a second."""
    forwarder = Forwarder(whole_town.world.cloud.ports["firestore"])
    environment = {
        "FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{forwarder.port}",
        "OUTSIDE_TIMEOUT_SECONDS": "1",
        "USER_DEADLINE_SECONDS": "2",
        "USER_MARK_SECONDS": "3",
    }
    ports = {name: whole_town.second(name, **environment) for name in ("provision_user", "reconcile")}
    yield forwarder, ports
    for name, port in ports.items():
        whole_town.end(f"{name}-{port}")
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


def test_firestore_that_does_not_answer_loses_nothing(town, doubtful):
    forwarder, ports = doubtful
    town.provisioned()
    user_id = hire_unnoticed(town, 72)
    with outage(forwarder):
        assert deliver(town, user_id, "add", port=ports["provision_user"]) == 503
        answer = town.ask("reconcile", body=b'{"kind": "full"}', port=ports["reconcile"])
        assert (answer.status, answer.json()["title"]) == (503, "transient")
    assert accounts_of(town, user_id) == []
    wait_for(lambda: deliver(town, user_id, "add", port=ports["provision_user"]) == 204, "the redelivery")
    assert len(accounts_of(town, user_id)) == len(creations(town, user_id)) == 1
    assert town.sync()["unchanged"] == len(EVERYBODY) + 1


def test_firestore_lost_between_the_scim_call_and_its_record_is_recovered(town, doubtful):
    forwarder, ports = doubtful
    town.provisioned()
    user_id = hire_unnoticed(town, 73)
    hold = town.keeper.fault(match={"method": "POST", "path": "/Users"}, hold_after=True)
    statuses: list[int] = []
    worker = threading.Thread(
        target=lambda: statuses.append(deliver(town, user_id, "add", port=ports["provision_user"]))
    )
    worker.start()
    wait_for(lambda: town.keeper.matched(hold), "the account made")
    with outage(forwarder):
        town.keeper.control("DELETE", "faults")
        worker.join()
    assert statuses == [503]
    assert town.entry(user_id).mark is not None, "the outcome is not known"
    wait_for(
        lambda: deliver(town, user_id, "add", port=ports["provision_user"]) == 204, "the redelivery", 20, every=0.3
    )
    assert len(accounts_of(town, user_id)) == 1
    [event] = creations(town, user_id)
    assert event["recovered"]
    assert (town.entry(user_id).mark, town.entry(user_id).scim_id) == (None, accounts_of(town, user_id)[0]["id"])
