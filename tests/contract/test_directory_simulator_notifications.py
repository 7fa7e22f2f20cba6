"""The Directory simulator's channels, and the notifications that arrive over them."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from infra.local.simulation import DirectorySide, wait_for
from tests.contract.directory_servers import SCOPE, asked, error
from tests.contract.listener import Listener, Response


def watch(api: Any, listener: Listener, event: str = "", **more: Any) -> dict[str, Any]:
    """Open a channel and await its sync message."""
    body = {"id": str(uuid.uuid4()), "type": "web_hook", "address": f"{listener.url}/hook", "token": "s3cret", **more}
    params = {"customer": "my_customer"} | ({"event": event} if event else {})
    channel = asked(api.users().watch(body=body, **params))
    wait_for(lambda: states(listener, channel["id"])[:1] == ["sync"], "the sync message")
    return channel


def states(listener: Listener, channel_id: str = "") -> list[str]:
    return [
        request.headers["x-goog-resource-state"]
        for request in list(listener.requests)
        if channel_id in ("", request.headers["x-goog-channel-id"])
    ]


def heard(listener: Listener, count: int) -> list[Any]:
    """Await as many notifications, sync messages apart."""

    def found() -> list[Any]:
        return [item for item in list(listener.requests) if item.headers["x-goog-resource-state"] != "sync"]

    wait_for(lambda: len(found()) >= count, f"{count} notifications", 10)
    return found()


def settled(workspace: DirectorySide, **counts: int) -> dict[str, Any]:
    """Await the simulator's own counts of what it delivered and dropped."""

    def reached() -> Any:
        told = workspace.control("GET", "channels")
        return told if all(told[name] >= wanted for name, wanted in counts.items()) else None

    result: dict[str, Any] = wait_for(reached, f"{counts}", 10)
    return result


@contextlib.contextmanager
def in_turn(workspace: DirectorySide) -> Iterator[None]:
    """Have what happens inside told message after message: once the last one is heard, no earlier one is missing."""
    workspace.weather(hold=True)
    yield
    workspace.weather(hold=False, release=True)


def test_the_sync_message_opens_a_channel(api: Any, listener: Listener) -> None:
    before = time.time()
    channel = watch(api, listener)
    (request,) = listener.requests
    assert request.method == "POST"
    assert request.body == b""
    assert request.headers["x-goog-message-number"] == "1"
    assert request.headers["x-goog-channel-token"] == "s3cret"
    assert request.headers["x-goog-resource-id"] == channel["resourceId"]
    assert request.headers["x-goog-resource-uri"] == channel["resourceUri"]
    assert channel["kind"] == "api#channel"
    assert before + 7100 < int(channel["expiration"]) / 1000 < before + 7300  # two hours unless asked otherwise


def test_a_change_is_notified_as_the_guide_shows_it(workspace: DirectorySide, api: Any, listener: Listener) -> None:
    channel = watch(api, listener)
    user = workspace.insert({"primaryEmail": "new@example.com", "name": {"givenName": "Ny", "familyName": "Å"}})
    (request,) = heard(listener, 1)
    body = json.loads(request.body)
    assert set(body) == {"kind", "id", "etag", "primaryEmail"}
    assert (body["kind"], body["id"], body["primaryEmail"]) == ("admin#directory#user", user["id"], "new@example.com")
    assert body["etag"] != user["etag"]
    google = {name: value for name, value in request.headers.items() if name.startswith("x-goog-")}
    assert set(google) == {
        "x-goog-channel-id", "x-goog-channel-token", "x-goog-channel-expiration", "x-goog-message-number",
        "x-goog-resource-id", "x-goog-resource-state", "x-goog-resource-uri",
    }  # fmt: skip
    assert google["x-goog-channel-id"] == channel["id"]
    assert google["x-goog-resource-state"] == "add"
    expires = datetime.strptime(google["x-goog-channel-expiration"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    assert abs(expires.timestamp() - int(channel["expiration"]) / 1000) < 2
    assert request.headers["content-type"] == "application/json; charset=UTF-8"


def test_every_kind_of_change_has_its_event_and_the_numbers_grow(
    workspace: DirectorySide, api: Any, listener: Listener, customer: dict[str, Any]
) -> None:
    watch(api, listener)
    user_id = customer["users"][4]["id"]
    workspace.patch(user_id, {"suspended": True})
    heard(listener, 1)
    workspace.patch(user_id, {"isAdmin": True})
    heard(listener, 2)
    workspace.delete(user_id)
    heard(listener, 3)
    workspace.call("POST", f"users/{user_id}/undelete", {"orgUnitPath": "/"})
    heard(listener, 4)
    workspace.call("POST", f"users/{user_id}/aliases", {"alias": "nick@example.com"})
    heard(listener, 5)
    assert states(listener) == ["sync", "update", "makeAdmin", "delete", "undelete", "update"]
    numbers = [int(request.headers["x-goog-message-number"]) for request in listener.requests]
    assert all(before < after for before, after in pairwise(numbers))


def test_membership_of_groups_is_not_notified(
    workspace: DirectorySide, api: Any, listener: Listener, customer: dict[str, Any]
) -> None:
    watch(api, listener)
    with in_turn(workspace):
        workspace.join(SCOPE, customer["users"][0]["id"])
        workspace.patch(customer["users"][4]["id"], {"suspended": True})
    heard(listener, 1)
    assert states(listener) == ["sync", "update"]


def test_a_channel_of_one_event_hears_of_nothing_else(
    workspace: DirectorySide, api: Any, listener: Listener, customer: dict[str, Any]
) -> None:
    channel = watch(api, listener, "delete")
    with in_turn(workspace):
        workspace.patch(customer["users"][4]["id"], {"suspended": True})
        workspace.delete(customer["users"][4]["id"])
    heard(listener, 1)
    assert states(listener, channel["id"]) == ["sync", "delete"]


@pytest.mark.parametrize(
    ("body", "params"),
    [
        ({"type": "web_hook", "address": "https://x.test"}, {"customer": "my_customer"}),
        ({"id": "i" * 65, "type": "web_hook", "address": "https://x.test"}, {"customer": "my_customer"}),
        ({"id": "i", "type": "web_hook", "address": "https://x.test", "token": "t" * 257}, {"customer": "my_customer"}),
        ({"id": "i", "type": "mail", "address": "https://x.test"}, {"customer": "my_customer"}),
        ({"id": "i", "type": "web_hook", "address": "http://x.test"}, {"customer": "my_customer"}),
        ({"id": "i", "type": "web_hook", "address": "https://x.test"}, {}),
        ({"id": "i", "type": "web_hook", "address": "https://x.test", "expiration": "soon"}, {"domain": "example.com"}),
    ],
)
def test_a_channel_that_is_refused(
    workspace: DirectorySide, api: Any, body: dict[str, str], params: dict[str, str]
) -> None:
    assert error(api.users().watch(body=body, **params))[0] == 400
    assert workspace.control("GET", "channels")["channels"] == []


def test_a_channel_id_is_used_once_and_the_event_asked_for_on_demand(
    workspace: DirectorySide, api: Any, listener: Listener
) -> None:
    channel = watch(api, listener)
    body = {"id": channel["id"], "type": "web_hook", "address": listener.url}
    assert error(api.users().watch(customer="my_customer", body=body))[1] == "channelIdNotUnique"
    workspace.weather(demand_event=True)
    status, reason, message = error(api.users().watch(customer="my_customer", body={**body, "id": "other"}))
    assert (status, reason) == (400, "required")
    assert "event" in message
    assert asked(api.users().watch(customer="my_customer", event="update", body={**body, "id": "other"}))


def test_the_shorter_life_is_granted(workspace: DirectorySide, api: Any, listener: Listener) -> None:
    workspace.weather(longest_ttl=3600)
    in_a_day = str(int((time.time() + 86400) * 1000))
    for more, seconds in (({"expiration": in_a_day}, 3600), ({"params": {"ttl": "60"}}, 60)):
        granted = int(watch(api, listener, **more)["expiration"]) / 1000
        assert abs(granted - time.time() - seconds) < 5


def test_an_expired_channel_is_silent(
    workspace: DirectorySide, api: Any, listener: Listener, customer: dict[str, Any]
) -> None:
    short = watch(api, listener, expiration=str(int((time.time() + 0.3) * 1000)))
    long = watch(api, listener)
    wait_for(lambda: time.time() * 1000 > int(short["expiration"]), "the channel's end")
    with in_turn(workspace):
        workspace.patch(customer["users"][4]["id"], {"suspended": True})
    heard(listener, 1)
    assert states(listener, long["id"]) == ["sync", "update"]
    assert states(listener, short["id"]) == ["sync"]


def test_a_stopped_channel_is_silent_and_gone(
    workspace: DirectorySide, api: Any, listener: Listener, customer: dict[str, Any]
) -> None:
    stopped, other = watch(api, listener), watch(api, listener)
    wrong = {"id": stopped["id"], "resourceId": "wrong"}
    assert error(api.channels().stop(body=wrong))[:2] == (404, "notFound")
    body = {"id": stopped["id"], "resourceId": stopped["resourceId"]}
    asked(api.channels().stop(body=body))
    with in_turn(workspace):
        workspace.patch(customer["users"][4]["id"], {"suspended": True})
    heard(listener, 1)
    assert states(listener, other["id"]) == ["sync", "update"]
    assert states(listener, stopped["id"]) == ["sync"]
    assert error(api.channels().stop(body=body))[0] == 404


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_is_tried_again_until_it_is_taken(
    workspace: DirectorySide, api: Any, listener: Listener, customer: dict[str, Any], status: int
) -> None:
    watch(api, listener)
    listener.answer = lambda _: Response(status if len(listener.requests) < 4 else 200)
    with in_turn(workspace):
        workspace.patch(customer["users"][4]["id"], {"suspended": True})
        workspace.patch(customer["users"][5]["id"], {"suspended": True})
    found = heard(listener, 4)
    messages = [(item.headers["x-goog-message-number"], item.body) for item in found]
    assert [messages.index(message) for message in messages] == [0, 0, 0, 3]


@pytest.mark.parametrize("status", [301, 400, 403, 404, 429])
def test_any_other_answer_loses_the_message(
    workspace: DirectorySide, api: Any, listener: Listener, customer: dict[str, Any], status: int
) -> None:
    watch(api, listener)
    listener.answer = lambda _: Response(status, headers={"Location": f"{listener.url}/elsewhere"})
    dropped = workspace.control("GET", "channels")["dropped"]
    workspace.patch(customer["users"][4]["id"], {"suspended": True})
    settled(workspace, dropped=dropped + 1)
    assert states(listener) == ["sync", "update"]


def test_messages_are_doubled_lost_held_and_reordered_on_demand(
    workspace: DirectorySide, api: Any, listener: Listener, customer: dict[str, Any]
) -> None:
    watch(api, listener)
    people = [user["id"] for user in customer["users"][4:7]]
    workspace.weather(duplicate=1)
    workspace.patch(people[0], {"suspended": True})
    first, second = heard(listener, 2)
    assert (first.body, first.headers["x-goog-message-number"]) == (
        second.body, second.headers["x-goog-message-number"],
    )  # fmt: skip
    dropped = workspace.control("GET", "channels")["dropped"]
    workspace.weather(duplicate=0, lose=True)
    workspace.patch(people[0], {"suspended": False})
    assert settled(workspace, dropped=dropped + 1)["dropped"] == dropped + 1
    workspace.weather(lose=False, hold=True, reorder=True)
    for user_id in people:
        workspace.patch(user_id, {"archived": True})
    assert len(heard(listener, 2)) == 2
    workspace.weather(release=True)
    late = heard(listener, 5)[2:]
    assert [json.loads(item.body)["id"] for item in late] == people[::-1]
    numbers = [int(item.headers["x-goog-message-number"]) for item in late]
    assert numbers == sorted(numbers, reverse=True)


def test_a_message_is_delayed_on_demand(
    workspace: DirectorySide, api: Any, listener: Listener, customer: dict[str, Any]
) -> None:
    watch(api, listener)
    workspace.weather(delay=0.3)
    started = time.monotonic()
    workspace.patch(customer["users"][4]["id"], {"suspended": True})
    heard(listener, 1)
    assert time.monotonic() - started >= 0.3
