"""Notification channels as GoogleDirectory opens and stops them."""

from __future__ import annotations

import json
import urllib.parse
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from autoprovisioning.adapters.directory import GoogleDirectory
from autoprovisioning.app.ports.channels import Channel
from autoprovisioning.domain.errors import BadInput, ConfigurationRefused, Transient
from infra.local.simulation import DirectorySide, wait_for
from tests.contract.directory_reader import answering
from tests.contract.directory_servers import validate
from tests.contract.listener import Listener


def channel(hook: Listener, **more: Any) -> Channel:
    return Channel(id=more.pop("id", "c1"), address=f"{hook.url}/hook", token="t0ken", **more)


def test_a_channel_is_opened_as_granted_and_stopped(
    workspace: DirectorySide, directory: GoogleDirectory, listener: Listener, customer: dict[str, Any]
) -> None:
    until = datetime.now(UTC) + timedelta(days=2)
    granted = directory.watch(channel(listener, expires=until), "")
    assert granted.token == ""
    assert granted.resource_id
    assert granted.expires is not None
    assert timedelta(hours=5, minutes=55) < granted.expires - datetime.now(UTC) <= timedelta(hours=6)
    wait_for(lambda: listener.requests, "the sync message")
    assert listener.requests[0].headers["x-goog-channel-token"] == "t0ken"
    workspace.patch(customer["users"][4]["id"], {"suspended": True})
    wait_for(lambda: len(listener.requests) == 2, "the notification")
    directory.stop(granted)
    assert workspace.control("GET", "channels")["channels"] == []
    directory.stop(granted)


def test_a_channel_of_one_event_says_so(
    directory: GoogleDirectory, workspace: DirectorySide, listener: Listener
) -> None:
    assert directory.watch(channel(listener), "delete").event == "delete"
    assert workspace.control("GET", "channels")["channels"][0]["event"] == "delete"


def test_an_api_that_insists_on_an_event_is_told_apart(
    workspace: DirectorySide, directory: GoogleDirectory, listener: Listener
) -> None:
    workspace.weather(demand_event=True)
    with pytest.raises(BadInput) as raised:
        directory.watch(channel(listener), "")
    assert raised.value.field == "event"
    assert directory.watch(channel(listener), "update").resource_id


def test_a_channel_whose_opening_was_not_answered_is_tried_anew(
    workspace: DirectorySide, directory: GoogleDirectory, listener: Listener
) -> None:
    workspace.fault(match={"method": "users.watch"}, drop_after=True, times=1)
    with pytest.raises(Transient, match="answer was lost"):
        directory.watch(channel(listener), "")
    assert directory.watch(channel(listener, id="c2"), "").resource_id


def test_a_channel_that_is_refused_is_a_refused_set_up(directory: GoogleDirectory) -> None:
    with pytest.raises(ConfigurationRefused, match=r"users\.watch"):
        directory.watch(Channel(id="c1", address="http://hook.example.com"), "")


@pytest.mark.parametrize("expiration", ["1900000000000", 1900000000000])
def test_the_expiration_is_read_as_text_or_number(listener: Listener, expiration: Any) -> None:
    granted = answering(listener, {"resourceId": "r", "expiration": expiration}).watch(channel(listener), "")
    assert granted.expires == datetime.fromtimestamp(1_900_000_000, UTC)


def test_what_is_posted_to_open_a_channel_is_a_channel(listener: Listener) -> None:
    answering(listener, {"resourceId": "r"}).watch(channel(listener, expires=datetime.now(UTC)), "add")
    (request,) = listener.requests
    body = json.loads(request.body)
    validate("Channel", body)
    assert body["type"] == "web_hook"
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(request.path).query)
    assert query == {"customer": ["my_customer"], "event": ["add"]}


@pytest.mark.parametrize("told", ["9" * 400, "253402300800000000", -5, "soon", None, ["1"], True, 4_102_444_800_000])
def test_an_expiration_that_was_not_asked_for_is_not_waited_for(listener: Listener, told: Any) -> None:
    until = datetime.now(UTC) + timedelta(days=2)
    granted = answering(listener, {"resourceId": "r", "expiration": told}).watch(channel(listener, expires=until), "")
    assert granted.expires == until


@pytest.mark.parametrize("told", [None, 7, ["r"], {"a": 1}])
def test_a_resource_that_is_not_named_is_none(listener: Listener, told: Any) -> None:
    assert answering(listener, {"resourceId": told}).watch(channel(listener), "").resource_id == ""
