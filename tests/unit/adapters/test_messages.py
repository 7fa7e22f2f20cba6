"""Messages on our topics, and the envelope they come in."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from autoprovisioning.domain.adoption import Beside
from autoprovisioning.domain.causes import Cause
from autoprovisioning.domain.changes import PlannedChange
from autoprovisioning.domain.entry import Action
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.requests import PREVIEW, RUN
from autoprovisioning.domain.runs import Batch, Evidence, Look, RunKind
from autoprovisioning.messages import (
    EPOCH,
    RunRequest,
    Work,
    decode_batch,
    decode_look,
    decode_push,
    decode_run_request,
    encode_batch,
    encode_look,
    encode_run_request,
)
from tests.support.builders import NOW

LOOKS = [
    Look(user_id="u1"),
    Look(user_id="", event="sync", asked_at=NOW, channel="ch1"),
    Look(user_id="u1", event="delete", evidence=Evidence(missing=True, left=("c1",)), asked_at=NOW, channel="ch1"),
    Look(user_id="u1", asked_at=NOW, inquiry="c1/i1"),
    Look(user_id="u1", cause=Cause(at=NOW, event="SUSPEND_USER", actor="boss@example.com", group="g@example.com")),
]
BATCHES = [
    Batch(connection_id="c1", run_id="r1", fence=3, number="1"),
    Batch(
        connection_id="c1",
        run_id="r1",
        fence=3,
        number="1+",
        changes=(
            PlannedChange(
                user_id="u1",
                email="łucja@example.com",
                version=4,
                action=Action.UPDATE,
                attributes={"title": None, "emails.primary": True, "x": "é"},
            ),
            PlannedChange(
                user_id="u2",
                email="b@x.org",
                version=0,
                action=Action.CREATE,
                attributes={},
                scim_id="k1",
                aliases=("a@x.org",),
                looked_up=True,
                locked=True,
                created=NOW,
                confirmed=True,
            ),
            PlannedChange(
                user_id="u3",
                email="c@x.org",
                version=0,
                action=Action.CREATE,
                attributes={},
                beside=(Beside(scim_id="k3", user_name="a@x.org", locked=True),),
            ),
        ),
        looks=(Look(user_id="u3", evidence=Evidence(left=("c1",))),),
    ),
]


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_comes_back_as_it_went(look):
    assert decode_look(encode_look(look)) == look


def test_a_change_planned_before_adoptions_needed_a_reason_is_read():
    """It has no time of creation, so that an account found for it under its address is in doubt."""
    old = b"""{"connection_id": "c1", "run_id": "r1", "fence": 1, "number": "1", "changes":
        [{"user_id": "u1", "email": "a@x.org", "version": 0, "action": "create", "attributes": {}}]}"""
    (change,) = decode_batch(old).changes
    assert (change.created, change.confirmed, change.beside) == (None, False, ())


def test_fields_that_are_no_more_do_not_make_a_waiting_message_unreadable():
    old = b'{"user_id": "u1", "evidence": {"missing": true, "deleted": true}, "actor": "ada@example.com"}'
    assert decode_look(old) == Look(user_id="u1", evidence=Evidence(missing=True))


@pytest.mark.parametrize("batch", BATCHES)
def test_a_batch_comes_back_as_it_went(batch):
    assert decode_batch(encode_batch(batch)) == batch


REQUESTS = [
    RunRequest(),
    RunRequest(kind=RunKind.SWEEP),
    RunRequest(kind=RunKind.DRIFT, retry_failures=True),
    RunRequest(work=Work.PREVIEW, connection="c1", request="p1"),
    RunRequest(connection="c1", request="a1"),
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_run_request_comes_back_as_it_went(request_):
    assert decode_run_request(encode_run_request(request_)) == request_


def test_a_run_that_an_older_version_asked_for_is_made():
    old = b'{"kind": "full", "retry_failures": false, "preview": "", "request": "a1"}'
    assert decode_run_request(old) == RunRequest(request="a1")


def test_the_work_that_is_named_is_that_of_a_kind_of_request():
    assert (RUN.name, PREVIEW.name) == (Work.RUN, Work.PREVIEW)


def envelope(data: bytes, **more: object) -> bytes:
    """Wrap a message as a push subscription does."""
    message = {"messageId": "7", "data": base64.b64encode(data).decode(), **more}
    return json.dumps({"message": message, "subscription": "projects/p/subscriptions/s"}).encode()


def test_the_envelope_of_the_service_is_opened():
    body = envelope(
        b"{}",
        publishTime="2026-11-24T09:00:00.123Z",
        attributes={"a": "b"},
        orderingKey="u1",
        message_id="7",
        publish_time="2026-11-24T09:00:00.123Z",
    )
    push = decode_push(json.dumps({**json.loads(body), "deliveryAttempt": 3}).encode())
    assert (push.message_id, push.data, push.attributes) == ("7", b"{}", {"a": "b"})
    assert push.publish_time == datetime(2026, 11, 24, 9, 0, 0, 123_000, tzinfo=UTC)


def test_the_envelope_of_the_emulator_needs_neither_ordering_key_nor_attempt_nor_anything_else():
    push = decode_push(b'{"message": {"messageId": "7"}}')
    assert (push.message_id, push.data, push.attributes, push.publish_time) == ("7", b"", {}, EPOCH)


def test_what_a_later_version_adds_is_ignored():
    assert decode_look(b'{"user_id": "u1", "priority": 5}') == Look(user_id="u1")


@pytest.mark.parametrize("body", [b"", b"  ", b"{}"])
def test_an_empty_request_asks_for_a_full_run(body):
    assert decode_run_request(body) == RunRequest(kind=RunKind.FULL)


def test_a_run_request_may_come_through_pubsub():
    assert decode_run_request(envelope(b'{"kind": "sweep"}')) == RunRequest(kind=RunKind.SWEEP)
    assert decode_run_request(envelope(b'{"retry_failures": true}')).retry_failures


BAD = [
    (decode_look, b"", "look", "malformed|truncated"),
    (decode_look, b"[]", "look", "object"),
    (decode_look, b"{}", "look", "user_id"),
    (decode_look, b'{"user_id": 7}', "look", r"\$.user_id"),
    (decode_look, b'{"user_id": ""}', "look.user_id", "empty"),
    (decode_look, b'{"user_id": "u1", "evidence": {"missing": "yes"}}', "look", r"\$.evidence.missing"),
    (decode_look, b'{"user_id": "u1", "asked_at": "today"}', "look", r"\$.asked_at"),
    (decode_look, b'{"user_id": "\xff\xfe"}', "look", "."),
    (decode_look, b'{"x": ' + b"[" * 50_000, "look", "."),
    (decode_batch, b'{"connection_id": "c1"}', "batch", "run_id"),
    (decode_batch, b'{"connection_id":"c","run_id":"r","fence":"3","number":"1"}', "batch", r"\$.fence"),
    (
        decode_batch,
        b'{"connection_id":"c","run_id":"r","fence":3,"number":"1","changes":[{"user_id":"u"}]}',
        "batch",
        r"\$.changes\[0\]|email",
    ),
    (decode_run_request, b'{"kind": "everything"}', "run request", r"\$.kind"),
    (decode_run_request, b"full", "run request", "JSON|invalid"),
    (decode_run_request, b'{"work": "preview"}', "run request.connection", "not one of our ids"),
    (
        decode_run_request,
        b'{"kind": "full", "preview": "c1/p1", "request": ""}',
        "run request.preview",
        "older version",
    ),
    (decode_push, b"{}", "push envelope", "message"),
    (decode_push, b'{"message": {"data": "e30="}}', "push envelope", "messageId"),
    (decode_push, b'{"message": {"messageId": "1", "data": "!"}}', "message.data", "base64"),
    (decode_push, '{"message": {"messageId": "1", "data": "é"}}'.encode(), "message.data", "base64"),
    (decode_push, b'{"message": {"messageId": "1", "publishTime": "now"}}', "push envelope", r"\$.message.publishTime"),
]


@pytest.mark.parametrize(("decode", "data", "field", "problem"), BAD)
def test_bad_input_names_the_field_and_the_mend(decode, data, field, problem):
    with pytest.raises(BadInput, match=problem) as caught:
        decode(data)
    assert caught.value.field == field
    assert caught.value.mend


def test_a_refused_message_is_not_quoted():
    with pytest.raises(BadInput) as caught:
        decode_look(b'{"user_id": "u1", "actor": "ada@example.com", "evidence": "\xff ada@example.com"}')
    assert "ada@" not in str(caught.value)


def pushed(**changes: object) -> bytes:
    return json.dumps({"message": {"messageId": "m1", "data": "e30=", **changes}}).encode()


@pytest.mark.parametrize("ahead", [timedelta(seconds=30), timedelta(), timedelta(minutes=1)])
def test_a_clock_a_little_ahead_of_ours_publishes_now(ahead):
    stamp = (NOW + ahead).isoformat()
    assert decode_push(pushed(publishTime=stamp)).published(NOW) == NOW


@pytest.mark.parametrize("stamp", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "2100-01-01T00:00:00Z"])
def test_a_message_from_the_future_is_an_old_one(stamp):
    assert decode_push(pushed(publishTime=stamp)).published(NOW) == EPOCH


@pytest.mark.parametrize("stamp", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "1999-01-01T00:00:00Z"])
def test_an_old_message_stays_one(stamp):
    published = decode_push(pushed(publishTime=stamp)).published(NOW)
    assert NOW - published > timedelta(days=365)


@pytest.mark.parametrize("stamp", ["2026-01-01T00:00:00", "yesterday", "", "10000-01-01T00:00:00Z"])
def test_a_time_without_its_zone_or_none_at_all_is_refused(stamp):
    with pytest.raises(BadInput, match="push envelope"):
        decode_push(pushed(publishTime=stamp))


NO_IDS = ["", "../x", "a/b", "__x__", "x" * 65, "é", "a\x00", "a\n", ".", ".."]


@pytest.mark.parametrize("text", NO_IDS)
def test_ids_that_could_not_be_ours_are_refused_before_they_are_looked_up(text):
    """Firestore refuses some of them as an error that trying again seems to help: the message would come for ever."""
    written = json.dumps(text)
    for data, decode, field in (
        (f'{{"user_id": {written}}}', decode_look, "look.user_id"),
        (f'{{"user_id": "", "event": "sync", "channel": {written}}}', decode_look, "look.channel"),
        (f'{{"connection_id": {written}, "run_id": "r", "fence": 1, "number": "0"}}', decode_batch, "batch.connection"),
        (f'{{"connection_id": "c", "run_id": {written}, "fence": 1, "number": "0"}}', decode_batch, "batch.run_id"),
    ):
        with pytest.raises(BadInput, match=field):
            decode(data.encode())
    if text:
        for pair in (f"c1/{text}", f"{text}/p1", f"{text}/", f"/{text}"):
            with pytest.raises(BadInput, match=r"look\.inquiry"):
                decode_look(json.dumps({"user_id": "u1", "inquiry": pair}).encode())
        with pytest.raises(BadInput, match=r"run request\.connection"):
            decode_run_request(json.dumps({"connection": text, "request": "a1"}).encode())
        with pytest.raises(BadInput, match=r"run request\.request"):
            decode_run_request(json.dumps({"request": text}).encode())


def test_a_cause_that_does_not_fit_is_left_out_and_the_user_looked_at_all_the_same():
    hostile = Cause(at=NOW, event="<b>", actor="<script>@example.com", group="=1+1@example.com")
    assert decode_look(encode_look(Look(user_id="u1", cause=hostile))) == Look(user_id="u1", cause=Cause(at=NOW))


def test_a_look_of_a_version_without_causes_has_none():
    fields = json.loads(encode_look(Look(user_id="u1")))
    del fields["cause"]
    assert decode_look(json.dumps(fields).encode()) == Look(user_id="u1")


def test_a_cause_of_a_newer_version_is_read_without_what_is_not_known_of_it():
    fields = json.loads(encode_look(Look(user_id="u1", cause=Cause(at=NOW, event="LATER_EVENT"))))
    fields["cause"]["later"] = {"one": 1}
    assert decode_look(json.dumps(fields).encode()) == Look(user_id="u1", cause=Cause(at=NOW, event="LATER_EVENT"))
