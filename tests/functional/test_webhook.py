"""The public door: honest notifications reach Keeper, everything else is refused and nothing of it is published."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from infra.local.processes import free_port
from infra.local.simulation import wait_for
from tests.support.system import GROUP_ID, Town, person
from tests.support.wire import Answer, Forwarder

HOUR = timedelta(hours=1)
CHANNEL = "c0ffee"


def token_of(town: Town, channel: str = CHANNEL, lasts: timedelta = HOUR, key: bytes = b"") -> str:
    from autoprovisioning.app.notifications.channel_token import channel_token

    return channel_token(
        key or town.world.cloud.environment["CHANNEL_KEY"].encode(), channel, datetime.now(UTC) + lasts
    )


def notify(town: Town, *, method: str = "POST", body: object = None, port: int = 0, **headers: str) -> Answer:
    """Send a notification as the Directory API does; a header given as "" is left out."""
    sent = {
        "X-Goog-Channel-ID": CHANNEL,
        "X-Goog-Channel-Token": token_of(town),
        "X-Goog-Resource-State": "update",
        "X-Goog-Message-Number": "7",
        "Content-Type": "application/json; charset=UTF-8",
    } | {f"X-Goog-{name.replace('_', '-')}": value for name, value in headers.items()}
    content = json.dumps({"kind": "admin#directory#user", "id": "u1"}).encode() if body is None else body
    kept = {name: value for name, value in sent.items() if value}
    return town.ask("directory_webhook", method, content, kept, port=port)


def published_besides(town: Town, tap) -> list[dict]:
    """Publish one honest notification and return what was published before it."""
    marker = f"u{uuid.uuid4().hex}"
    assert notify(town, body=json.dumps({"id": marker}).encode()).status == 204
    return tap.until(marker)


def test_changes_reach_keeper_through_notification_queue_and_worker(town):
    town.provisioned()
    town.directory.patch("u1", {"name": {"familyName": "Renamed"}})
    town.await_account("u1", lambda account: account["name"]["familyName"] == "Renamed")
    town.directory.patch("u2", {"suspended": True})
    town.await_account("u2", lambda account: not account["active"])
    town.directory.patch("u2", {"suspended": False})
    town.await_account("u2", lambda account: account["active"])
    town.directory.delete("u3")
    town.await_account("u3", lambda account: not account["active"])
    town.directory.weather(hold=True)
    town.directory.insert(person(90))
    town.directory.join(GROUP_ID, "u90")
    town.directory.weather(hold=False, release=True)
    town.await_account("u90", lambda account: account["active"])
    assert all(event["actor"].startswith("notification ") for event in town.events("u90"))


UNBELIEVED = {
    "a forged token": lambda town: {"Channel_Token": "9999999999." + "0" * 64},
    "no token": lambda town: {"Channel_Token": ""},
    "a token without its signature": lambda town: {"Channel_Token": token_of(town).partition(".")[0]},
    "a token that is not ASCII": lambda town: {"Channel_Token": "²³.é"},
    "the token of another channel": lambda town: {"Channel_Token": token_of(town, "another")},
    "a token whose expiry was moved": lambda town: {"Channel_Token": "9" + token_of(town)},
    "a channel that expired": lambda town: {"Channel_Token": token_of(town, lasts=-timedelta(seconds=2))},
    "a channel signed with another key": lambda town: {"Channel_Token": token_of(town, key=b"not ours")},
    "an unknown channel": lambda town: {"Channel_ID": "unknown"},
    "no channel": lambda town: {"Channel_ID": ""},
    "an unproven sync": lambda town: {"Resource_State": "sync", "Channel_Token": "x"},
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
def test_what_is_not_of_a_live_channel_is_refused_and_nothing_published(town, what):
    with town.tapped("directory-changes") as tap:
        answer = notify(town, **UNBELIEVED[what](town))
        assert (answer.status, answer.json()["title"]) == (403, "forbidden")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert published_besides(town, tap) == []


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_malformed_is_refused_by_field_and_nothing_published(town, what):
    headers, body, field = MALFORMED[what]
    with town.tapped("directory-changes") as tap:
        answer = notify(town, body=body, **headers)
        problem = answer.json()
        assert (answer.status, problem["status"], problem["field"]) == (400, 400, field)
        assert problem["problem"]
        assert problem["mend"]
        assert published_besides(town, tap) == []


@pytest.mark.parametrize("chunked", [False, True])
def test_what_is_oversized_is_refused_and_nothing_published(town, chunked):
    body = json.dumps({"id": "u1", "padding": "x" * 17_000}).encode()
    with town.tapped("directory-changes") as tap:
        answer = notify(town, body=iter([body[:9000], body[9000:]]) if chunked else body)
        assert (answer.status, answer.json()["title"]) == (413, "too_large")
        assert published_besides(town, tap) == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_refused_and_nothing_published(town, method):
    with town.tapped("directory-changes") as tap:
        answer = notify(town, method=method)
        if method == "OPTIONS":
            assert "Access-Control-Allow-Origin" not in answer.headers
        else:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        assert published_besides(town, tap) == []


def test_a_stopped_channel_is_believed_no_longer_than_its_token_and_harms_nobody(town):
    """The webhook keeps no database: a stopped channel ends with its token, and what it still says is looked up."""
    town.provisioned()
    before = town.keeper.accounts()
    [channel] = town.directory.control("GET", "channels")["channels"]
    town.directory.control("DELETE", f"channels/{channel['id']}")
    late = {"Channel_ID": channel["id"], "Resource_State": "delete"}
    assert notify(town, Channel_Token=token_of(town, channel["id"]), **late).status == 204
    wait_for(lambda: town.look("u1") == 204, "a look after it")
    assert town.keeper.accounts() == before
    over = token_of(town, channel["id"], lasts=-timedelta(seconds=2))
    assert notify(town, Channel_Token=over, **late).status == 403


def test_duplicates_on_a_live_channel_are_accepted_and_harmless(town):
    town.provisioned()
    town.directory.weather(hold=True)
    town.directory.insert(person(91))
    town.directory.join(GROUP_ID, "u91")
    town.directory.weather(hold=False, release=True)
    answers = {notify(town, body=b'{"id": "u91"}', Resource_State="add").status for _ in range(5)}
    assert answers == {204}
    town.await_account("u91", lambda account: account["active"])
    wait_for(lambda: town.look("u91") == 204 and town.entry("u91").mark is None, "a look after them")
    assert len([account for account in town.keeper.accounts() if account.get("externalId") == "u91"]) == 1
    assert [event["name"] for event in town.events("u91")] == ["Create User By Auto Provisioning"]


def test_the_sync_message_proves_the_channel(town):
    from autoprovisioning.bootstrap import channels

    town.connect()
    town.ask("renew_watch", body=b"{}")
    [channel] = wait_for(lambda: [item for item in channels().all() if item.proven], "the proof")
    assert channel.id == town.directory.control("GET", "channels")["channels"][0]["id"]


def test_pubsub_that_cannot_be_reached_is_answered_503_until_google_gets_it_through(town):
    town.provisioned()
    gate = free_port()
    port = town.second("directory_webhook", PUBSUB_EMULATOR_HOST=f"127.0.0.1:{gate}")
    answer = notify(town, port=port)
    assert (answer.status, answer.json()["title"]) == (503, "transient")
    assert int(answer.headers["Retry-After"]) > 0

    for channel in town.directory.control("GET", "channels")["channels"]:
        town.directory.control("DELETE", f"channels/{channel['id']}")
    watch = {"id": "gated", "type": "web_hook", "address": f"http://127.0.0.1:{port}", "token": token_of(town, "gated")}
    town.directory.call("POST", "users/watch?customer=my_customer", watch)
    town.directory.patch("u1", {"name": {"familyName": "Persistent"}})
    refused = wait_for(lambda: town.log(f"directory_webhook-{port}").count("Pub/Sub did not take") >= 3, "the refusals")
    assert refused
    forwarder = Forwarder(town.world.cloud.ports["pubsub"], gate)
    try:
        town.await_account("u1", lambda account: account["name"]["familyName"] == "Persistent")
    finally:
        forwarder.close()
