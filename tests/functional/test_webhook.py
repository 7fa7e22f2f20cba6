"""The public door: honest notifications reach Keeper, everything else is refused and nothing of it is published."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from infra.local.processes import free_port
from infra.local.simulation import wait_for
from tests.support.system import GROUP_ID, System, person
from tests.support.wire import Answer, Forwarder

HOUR = timedelta(hours=1)
CHANNEL = "c0ffee"


def token_of(system: System, channel: str = CHANNEL, lasts: timedelta = HOUR, key: bytes = b"") -> str:
    from autoprovisioning.app.notifications.channel_token import channel_token

    return channel_token(
        key or system.world.cloud.environment["CHANNEL_KEY"].encode(), channel, datetime.now(UTC) + lasts
    )


def notify(system: System, *, method: str = "POST", body: object = None, port: int = 0, **headers: str) -> Answer:
    """Send a notification as the Directory API does; a header given as "" is left out."""
    sent = {
        "X-Goog-Channel-ID": CHANNEL,
        "X-Goog-Channel-Token": token_of(system),
        "X-Goog-Resource-State": "update",
        "X-Goog-Message-Number": "7",
        "Content-Type": "application/json; charset=UTF-8",
    } | {f"X-Goog-{name.replace('_', '-')}": value for name, value in headers.items()}
    content = json.dumps({"kind": "admin#directory#user", "id": "u1"}).encode() if body is None else body
    kept = {name: value for name, value in sent.items() if value}
    return system.ask("directory_webhook", method, content, kept, port=port)


def published_besides(system: System, tap) -> list[dict]:
    """Publish one honest notification and return what was published before it."""
    marker = f"u{uuid.uuid4().hex}"
    assert notify(system, body=json.dumps({"id": marker}).encode()).status == 204
    return tap.until(marker)


def test_changes_reach_keeper_through_notification_queue_and_worker(system):
    system.restored()
    system.directory.patch("u1", {"name": {"familyName": "Renamed"}})
    system.await_account("u1", lambda account: account["name"]["familyName"] == "Renamed")
    system.directory.patch("u2", {"suspended": True})
    system.await_account("u2", lambda account: not account["active"])
    system.directory.patch("u2", {"suspended": False})
    system.await_account("u2", lambda account: account["active"])
    system.directory.delete("u3")
    system.await_account("u3", lambda account: not account["active"])
    system.directory.weather(hold=True)
    system.directory.insert(person(90))
    system.directory.join(GROUP_ID, "u90")
    system.directory.weather(hold=False, release=True)
    system.await_account("u90", lambda account: account["active"])
    assert all(event["actor"].startswith("notification ") for event in system.events("u90"))


UNBELIEVED = {
    "a forged token": lambda system: {"Channel_Token": "9999999999." + "0" * 64},
    "no token": lambda system: {"Channel_Token": ""},
    "a token without its signature": lambda system: {"Channel_Token": token_of(system).partition(".")[0]},
    "a token that is not ASCII": lambda system: {"Channel_Token": "²³.é"},
    "the token of another channel": lambda system: {"Channel_Token": token_of(system, "another")},
    "a token whose expiry was moved": lambda system: {"Channel_Token": "9" + token_of(system)},
    "a channel that expired": lambda system: {"Channel_Token": token_of(system, lasts=-timedelta(seconds=2))},
    "a channel signed with another key": lambda system: {"Channel_Token": token_of(system, key=b"not ours")},
    "an unknown channel": lambda system: {"Channel_ID": "unknown"},
    "no channel": lambda system: {"Channel_ID": ""},
    "an unproven sync": lambda system: {"Resource_State": "sync", "Channel_Token": "x"},
}
MALFORMED = {
    "an unknown event": ({"Resource_State": "explode"}, None, "X-Goog-Resource-State"),
    "no event": ({"Resource_State": ""}, None, "X-Goog-Resource-State"),
    "an event with a line break in it": ({"Resource_State": "up\tdate"}, None, "X-Goog-Resource-State"),
    "no body": ({}, b"", "body"),
    "not JSON": ({}, b"{", "body"),
    "not text": ({}, b"\xff\xfe\x00", "body"),
    "no object": ({}, b'["u1"]', "body.id"),
    "no id": ({}, b'{"kind": "admin#directory#user"}', "body.id"),
    "an empty id": ({}, b'{"id": ""}', "body.id"),
    "an id that is none": ({}, b'{"id": true}', "body.id"),
    "an id with a path in it": ({}, b'{"id": "../groups"}', "body.id"),
    "an endless id": ({}, json.dumps({"id": "1" * 65}).encode(), "body.id"),
}


@pytest.mark.parametrize("what", UNBELIEVED)
def test_what_is_not_of_a_live_channel_is_refused_and_nothing_published(system, what):
    with system.tapped("directory-changes") as tap:
        answer = notify(system, **UNBELIEVED[what](system))
        assert (answer.status, answer.json()["code"]) == (403, "forbidden")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert published_besides(system, tap) == []


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_malformed_is_refused_by_field_and_nothing_published(system, what):
    headers, body, field = MALFORMED[what]
    with system.tapped("directory-changes") as tap:
        answer = notify(system, body=body, **headers)
        problem = answer.json()
        assert (answer.status, problem["status"], problem["field"]) == (400, 400, field)
        assert problem["problem"]
        assert problem["mend"]
        assert published_besides(system, tap) == []


@pytest.mark.parametrize("chunked", [False, True])
def test_what_is_oversized_is_refused_and_nothing_published(system, chunked):
    body = json.dumps({"id": "u1", "padding": "x" * 17_000}).encode()
    with system.tapped("directory-changes") as tap:
        answer = notify(system, body=iter([body[:9000], body[9000:]]) if chunked else body)
        assert (answer.status, answer.json()["code"]) == (413, "too_large")
        assert published_besides(system, tap) == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_refused_and_nothing_published(system, method):
    with system.tapped("directory-changes") as tap:
        answer = notify(system, method=method)
        if method == "OPTIONS":
            assert "Access-Control-Allow-Origin" not in answer.headers
        else:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        assert published_besides(system, tap) == []


def test_a_stopped_channel_is_believed_no_longer_than_its_token_and_harms_nobody(system):
    """The webhook keeps no database: a stopped channel ends with its token, and what it still says is looked up."""
    system.restored()
    before = system.keeper.accounts()
    [channel] = system.directory.control("GET", "channels")["channels"]
    system.directory.control("DELETE", f"channels/{channel['id']}")
    late = {"Channel_ID": channel["id"], "Resource_State": "delete"}
    assert notify(system, Channel_Token=token_of(system, channel["id"]), **late).status == 204
    wait_for(lambda: system.look("u1") == 204, "a look after it")
    assert system.keeper.accounts() == before
    over = token_of(system, channel["id"], lasts=-timedelta(seconds=2))
    assert notify(system, Channel_Token=over, **late).status == 403


def test_duplicates_on_a_live_channel_are_accepted_and_harmless(system):
    system.restored()
    system.directory.weather(hold=True)
    system.directory.insert(person(91))
    system.directory.join(GROUP_ID, "u91")
    system.directory.weather(hold=False, release=True)
    answers = {notify(system, body=b'{"id": "u91"}', Resource_State="add").status for _ in range(5)}
    assert answers == {204}
    system.await_account("u91", lambda account: account["active"])
    wait_for(lambda: system.look("u91") == 204 and system.entry("u91").mark is None, "a look after them")
    assert len([account for account in system.keeper.accounts() if account.get("externalId") == "u91"]) == 1
    assert [event["name"] for event in system.events("u91")] == ["Create User By Auto Provisioning"]


def test_the_sync_message_proves_the_channel(system):
    from autoprovisioning.bootstrap import channels

    system.connect()
    system.ask("renew_watch", body=b"{}")
    [channel] = wait_for(lambda: [item for item in channels().all() if item.proven], "the proof")
    assert channel.id == system.directory.control("GET", "channels")["channels"][0]["id"]


def test_pubsub_that_cannot_be_reached_is_answered_503_until_google_gets_it_through(system):
    system.restored()
    gate = free_port()
    port = system.second("directory_webhook", PUBSUB_EMULATOR_HOST=f"127.0.0.1:{gate}")
    answer = notify(system, port=port)
    assert (answer.status, answer.json()["code"]) == (503, "transient")
    assert int(answer.headers["Retry-After"]) > 0

    for channel in system.directory.control("GET", "channels")["channels"]:
        system.directory.control("DELETE", f"channels/{channel['id']}")
    watch = {
        "id": "gated",
        "type": "web_hook",
        "address": f"http://127.0.0.1:{port}",
        "token": token_of(system, "gated"),
    }
    system.directory.call("POST", "users/watch?customer=my_customer", watch)
    system.directory.patch("u1", {"name": {"familyName": "Persistent"}})
    refused = wait_for(
        lambda: system.log(f"directory_webhook-{port}").count("Pub/Sub did not accept") >= 3, "the refusals"
    )
    assert refused
    forwarder = Forwarder(system.world.cloud.ports["pubsub"], gate)
    try:
        system.await_account("u1", lambda account: account["name"]["familyName"] == "Persistent")
    finally:
        forwarder.close()
