"""Callers through the real functions: whose name the audit has, what is asked twice, and what is typed badly."""

from __future__ import annotations

import base64
import csv
import http.client
import io
import json

import pytest

from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.support.system import ADMIN, GROUP_ID, System, person

ONE = f"/connections/{CONNECTION}"


def joined(system: System, number: int) -> str:
    """Let somebody join the scope of which no notification tells; returns the directory id."""
    system.restored()
    system.directory.weather(lose=True)
    system.directory.insert(person(number))
    system.directory.join(GROUP_ID, f"u{number}")
    return f"u{number}"


@pytest.mark.parametrize("more", [{}, {"inquiry": "keeper/0123456789abcdef"}, {"event": "provision"}])
def test_a_message_that_names_somebody_writes_nobodys_name_into_the_audit(system, more):
    """Older messages name an actor: they are done, and the name is not believed."""
    user_id = joined(system, 60)
    assert system.look(user_id, "m-forged", actor="boss@example.com", **{"event": "provision", **more}) == 204
    (event,) = system.events(user_id)
    assert (event["actor"], event["actor_id"]) == ("notification m-forged", "")


def test_what_an_administrator_does_is_told_with_their_directory_id(system):
    user_id = joined(system, 61)
    assert system.api("POST", f"{ONE}/users/{user_id}/inquiries", {"kind": "provision"}).status == 202
    system.await_account(user_id, lambda account: account["active"])
    wait_for(lambda: system.events(user_id), "its event")
    assert system.api("POST", f"{ONE}/turn-off").status == 200
    told = {(event["name"], event["actor"], event["actor_id"]) for event in system.events() if event["actor"] == ADMIN}
    assert told == {
        ("Create User By Auto Provisioning", ADMIN, "u0"),
        ("Configure Auto Provisioning", ADMIN, "u0"),
    }
    shown = system.api("GET", f"{ONE}/events?actor={ADMIN}").json()["items"]
    assert {event["actor_id"] for event in shown} == {"u0"}
    rows = list(csv.DictReader(io.StringIO(system.api("GET", f"{ONE}/events.csv?actor={ADMIN}").text)))
    assert {row["actor id"] for row in rows} == {"u0"}


@pytest.mark.parametrize(
    ("function", "path", "body"),
    [
        ("provision_user", f"{ONE}/users/u1/inquiries", {"kind": "explain"}),
        ("reconcile", f"{ONE}/previews", {"name": "Vault"}),
    ],
)
def test_whoever_asks_again_while_it_waits_is_sent_to_the_same_place(system, function, path, body):
    system.restored()
    edition = {"If-Match": system.api("GET", ONE).headers["ETag"]}
    system.freeze(function)
    try:
        answers = [system.api("POST", path, body, edition) for _ in range(5)]
        assert {answer.status for answer in answers} == {202}, answers[0].text
        (place,) = {answer.headers["Location"] for answer in answers}
        assert len({answer.text for answer in answers}) == 1
    finally:
        system.thaw(function)
    wait_for(lambda: system.api("GET", place.removeprefix("/api/v1")).json()["state"] == "done", "the answer")
    again = system.api("POST", path, body, edition)
    assert again.json()["state"] == "waiting"
    following = again.headers["Location"]
    assert following != place, "what was shown stays what it was"
    wait_for(lambda: system.api("GET", following.removeprefix("/api/v1")).json()["state"] == "done", "the next answer")


@pytest.mark.parametrize("stamp", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-01-01T00:00:00"])
def test_a_time_of_publication_that_cannot_be_is_no_error_of_ours(settled, stamp):
    data = base64.b64encode(b'{"user_id": "u1", "event": "delete"}').decode()
    envelope = json.dumps({"message": {"messageId": "m", "data": data, "publishTime": stamp}}).encode()
    for function in ("provision_user", "apply_changes"):
        assert settled.ask(function, body=envelope).status == 204


@pytest.mark.parametrize("inquiry", ["../x", "keeper/..", "keeper/", "a/b/c", "keeper/\x00"])
def test_a_message_about_what_cannot_be_is_done_with(settled, inquiry):
    assert settled.look("u1", inquiry=inquiry) == 204
    assert settled.push("reconcile", {"work": "preview", "connection": inquiry, "request": inquiry}) == 204
    assert settled.push("provision_user", {"user_id": "", "event": "sync", "channel": inquiry}) == 204


@pytest.mark.parametrize("function", ["provision_user", "apply_changes", "reconcile"])
def test_a_push_is_no_larger_than_pubsub_delivers(settled, function):
    """What cannot be done is acknowledged, whether its length is announced or shows while it comes."""
    status = 413 if function == "reconcile" else 204
    head, size = b'{"message": {"messageId": "m", "data": "', 15 * 1024 * 1024
    assert settled.ask(function, body=iter([head, b"A" * size, b'"}}'])).status == status
    connection = http.client.HTTPConnection("127.0.0.1", settled.world.cloud.ports[function], timeout=20)
    connection.putrequest("POST", "/")
    connection.putheader("Content-Length", str(size))
    connection.endheaders(head)
    assert connection.getresponse().status == status
    connection.close()


@pytest.mark.parametrize("name", ["Kee\x00per", "Kee\nper", "Kee\u2028per"])
def test_a_name_with_control_characters_is_refused(settled, name):
    edition = {"If-Match": settled.api("GET", ONE).headers["ETag"]}
    answer = settled.api("PATCH", ONE, {"name": name}, edition)
    assert (answer.status, answer.json()["field"]) == (400, "name")


def test_a_node_under_another_spelling_is_the_same_node(settled):
    endpoint = settled.keeper.endpoint.replace("/api/rest", "//api/./rest") + "/"
    wanted = {"name": "Second", "endpoint": endpoint, "token": settled.keeper.token}
    answer = settled.api("POST", "/connections", wanted)
    assert (answer.status, answer.json()["field"]) == (400, "endpoint")
    assert "already provisions this node" in answer.json()["problem"]
