"""Notifications at the door: believed by their token, read with suspicion, published or refused."""

from __future__ import annotations

import contextlib
import json
from datetime import datetime, timedelta

import pytest

from autoprovisioning.app.administration.csrf import form_token, genuine
from autoprovisioning.app.notifications.channel_token import believes, channel_token
from autoprovisioning.app.notifications.receive import EVENTS, Notification, from_headers, take_in
from autoprovisioning.domain.errors import BadInput, Forbidden, Transient
from autoprovisioning.domain.runs import Look
from tests.support.builders import NOW
from tests.support.in_memory import FakeQueue

KEY = b"0123456789abcdef0123456789abcdef"
EXPIRES = NOW + timedelta(hours=1)
SECOND = timedelta(seconds=1)
TOKEN = channel_token(KEY, "ch1", EXPIRES)


def notification(state: str = "update", body: bytes = b'{"id": "u1"}', **changes: str) -> Notification:
    parts = {"channel_id": "ch1", "token": TOKEN, **changes}
    return Notification(channel_id=parts["channel_id"], token=parts["token"], state=state, body=lambda: body)


def taken(what: Notification, now: datetime = NOW, key: bytes = KEY) -> list[Look]:
    queue = FakeQueue()
    take_in(queue, key, what, now)
    return queue.looks


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_of_a_live_channel_is_published(event):
    assert taken(notification(event)) == [Look(user_id="u1", event=event, asked_at=NOW, channel="ch1")]


def test_the_sync_message_proves_the_channel():
    assert taken(notification("sync", b"")) == [Look(user_id="", event="sync", asked_at=NOW, channel="ch1")]


def test_duplicates_on_a_live_channel_are_accepted():
    queue = FakeQueue()
    for _ in range(2):
        take_in(queue, KEY, notification(), NOW)
    assert [look.user_id for look in queue.looks] == ["u1", "u1"]


def test_a_number_for_an_id_is_taken_as_its_digits():
    assert taken(notification(body=b'{"id": 117}'))[0].user_id == "117"


def test_the_longest_id_is_accepted():
    assert taken(notification(body=json.dumps({"id": "9" * 64}).encode()))[0].user_id == "9" * 64


seconds, mac = TOKEN.split(".")
FORGED = [
    ("", "ch1"),
    (".", "ch1"),
    (seconds, "ch1"),
    (f"{seconds}.", "ch1"),
    (f".{mac}", "ch1"),
    (f"{int(seconds) + 3600}.{mac}", "ch1"),  # a longer life
    (f"{seconds}.{mac[:-1]}", "ch1"),
    (f"{seconds}.{mac.upper()}", "ch1"),
    (f"{seconds}.{mac}x", "ch1"),
    (f" {TOKEN}", "ch1"),
    (TOKEN, "ch2"),
    (TOKEN, ""),
    (channel_token(b"another key", "ch1", EXPIRES), "ch1"),
    ("é" * 300, "ch1"),
    ("9" * 100_000, "ch1"),
    (f"²{seconds}.{mac}", "ch1"),
]


@pytest.mark.parametrize(("token", "channel"), FORGED)
@pytest.mark.parametrize("state", ["update", "sync", "nonsense"])
def test_a_forged_notification_is_refused_whatever_it_says(token, channel, state):
    queue = FakeQueue()
    with pytest.raises(Forbidden):
        take_in(queue, KEY, notification(state, b"not even JSON", token=token, channel_id=channel), NOW)
    assert queue.looks == []


@pytest.mark.parametrize(("state", "token"), [("update", "forged"), ("sync", TOKEN), ("nonsense", TOKEN)])
def test_only_the_body_of_a_live_channels_event_is_read(state, token):
    def never() -> bytes:
        raise AssertionError("the body was read")

    with contextlib.suppress(Forbidden, BadInput):
        take_in(FakeQueue(), KEY, Notification(channel_id="ch1", token=token, state=state, body=never), NOW)


def test_a_channel_is_believed_until_it_expires():
    assert believes(KEY, "ch1", TOKEN, EXPIRES)
    assert not believes(KEY, "ch1", TOKEN, EXPIRES + SECOND)
    with pytest.raises(Forbidden):
        taken(notification(), EXPIRES + SECOND)


def test_a_token_fits_googles_limit_and_does_not_hold_the_key():
    assert len(TOKEN) <= 256
    assert KEY.decode() not in TOKEN
    assert TOKEN.isascii()


@pytest.mark.parametrize("state", ["", "exists", "not_exists", "UPDATE", "x" * 10_000])
def test_a_state_that_is_no_event_is_refused_by_name(state):
    with pytest.raises(BadInput) as caught:
        taken(notification(state))
    assert caught.value.field == "X-Goog-Resource-State"
    assert len(str(caught.value)) < 300


BODIES = [
    (b"", "body"),
    (b"{", "body"),
    (b"\xff\xfe", "body"),
    (b"[" * 16_000, "body"),
    (b"[]", "body.id"),
    (b"null", "body.id"),
    (b'"u1"', "body.id"),
    (b"{}", "body.id"),
    (b'{"id": null}', "body.id"),
    (b'{"id": ""}', "body.id"),
    (b'{"id": true}', "body.id"),
    (b'{"id": 1.5}', "body.id"),
    (b'{"id": -7}', "body.id"),
    (b'{"id": ["u1"]}', "body.id"),
    (b'{"id": "u1/../u2"}', "body.id"),
    (b'{"id": "u1\\n"}', "body.id"),
    ('{"id": "１２３"}'.encode(), "body.id"),
    (json.dumps({"id": "9" * 65}).encode(), "body.id"),
    (b'{"id": ' + b"9" * 5000 + b"}", "body"),
]


@pytest.mark.parametrize(("body", "field"), BODIES)
def test_a_malformed_body_is_refused_by_name_and_nothing_published(body, field):
    queue = FakeQueue()
    with pytest.raises(BadInput) as caught:
        take_in(queue, KEY, notification(body=body), NOW)
    assert caught.value.field == field
    assert caught.value.mend
    assert queue.looks == []


def test_what_cannot_be_published_is_not_accepted():
    class Down(FakeQueue):
        def look_again(self, looks):
            raise Transient("Pub/Sub is away")

    with pytest.raises(Transient):
        take_in(Down(), KEY, notification(), NOW)


def test_the_headers_are_those_of_the_push_guide():
    headers = {
        "X-Goog-Channel-ID": "ch1",
        "X-Goog-Channel-Token": TOKEN,
        "X-Goog-Resource-State": "update",
    }
    body = notification().body
    assert from_headers(headers.get, body) == Notification(channel_id="ch1", token=TOKEN, state="update", body=body)
    assert from_headers({}.get, body) == Notification(channel_id="", token="", state="", body=body)


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("later", "good"),
    [
        (timedelta(), True),
        (HOUR - SECOND, True),
        (HOUR, True),
        (2 * HOUR - SECOND, True),
        (2 * HOUR, False),
        (-HOUR, False),
    ],
)
def test_a_forms_token_is_good_for_this_hour_and_the_next(later, good):
    token = form_token(KEY, "a@x.org", NOW)
    assert genuine(KEY, "a@x.org", token, NOW + later) is good


@pytest.mark.parametrize(
    "token", ["", "x", "é", form_token(KEY, "b@x.org", NOW), form_token(b"another", "a@x.org", NOW)]
)
def test_a_forms_token_is_that_addresss_and_ours(token):
    assert not genuine(KEY, "a@x.org", token, NOW)


def test_a_forms_token_is_no_channels_token():
    assert not believes(KEY, "ch1", f"{seconds}.{form_token(KEY, 'ch1', NOW)}", NOW)
