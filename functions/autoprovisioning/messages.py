"""The messages on our Pub/Sub topics, and the envelope that push subscriptions wrap them in.

Payloads are JSON. They hold personal data (attributes, addresses), so they are never logged.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.runs import Batch, Look, RunKind

T = TypeVar("T")

EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Push:
    """One delivery: the message's id and publish time, its data, its attributes."""

    message_id: str
    publish_time: datetime
    data: bytes
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to reconcile, as Cloud Scheduler's body and on run-requests.

    `preview` ("<connection>/<preview>") asks for that preview instead of a run; `request` names an `AskedRun`.
    """

    kind: RunKind = RunKind.FULL
    retry_failures: bool = False
    preview: str = ""
    request: str = ""


class _Message(msgspec.Struct, rename="camel"):
    message_id: str
    data: str = ""
    publish_time: datetime | None = None
    attributes: dict[str, str] = {}


class _Envelope(msgspec.Struct):
    message: _Message


def encode_look(look: Look) -> bytes:
    """Encode "look again"."""
    return msgspec.json.encode(look)


def decode_look(data: bytes) -> Look:
    """Decode "look again"; raises BadInput."""
    look = _decode(data, Look, "look")
    if not look.user_id and look.event != "sync":
        raise BadInput("look.user_id", "it is empty", "Name the directory id of the user to look at.")
    return look


def encode_batch(batch: Batch) -> bytes:
    """Encode a batch."""
    return msgspec.json.encode(batch)


def decode_batch(data: bytes) -> Batch:
    """Decode a batch; raises BadInput."""
    return _decode(data, Batch, "batch")


def encode_run_request(request: RunRequest) -> bytes:
    """Encode a request to reconcile."""
    return msgspec.json.encode(request)


def decode_run_request(body: bytes) -> RunRequest:
    """Decode what Cloud Scheduler sends, or a push of run-requests; nothing at all asks for a full run."""
    if not body.strip():
        return RunRequest()
    if b'"message"' in body:
        body = decode_push(body).data
    request = _decode(body, RunRequest, "run request")
    if request.preview and not all(request.preview.partition("/")):
        raise BadInput("run request.preview", "it names no preview", "Name it as <connection>/<preview>.")
    return request


def decode_push(body: bytes) -> Push:
    """Open the envelope of a push delivery (cloud.google.com/pubsub/docs/push#wrapped); raises BadInput."""
    message = _decode(body, _Envelope, "push envelope").message
    try:
        data = base64.b64decode(message.data, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput("message.data", "it is not base64", "Deliver it as a Pub/Sub push subscription does.") from None
    return Push(message.message_id, message.publish_time or EPOCH, data, message.attributes)


def _decode(data: bytes, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        # msgspec names the path and the types, never the values; a UnicodeError would quote them.
        problem = str(error) if isinstance(error, msgspec.MsgspecError) else "it is not JSON"
        raise BadInput(what, problem, "Send the JSON that this system publishes itself.") from None
