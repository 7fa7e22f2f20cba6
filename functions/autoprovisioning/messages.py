"""The messages on our Pub/Sub topics, and the envelope that push subscriptions wrap them in.

Payloads are JSON. They hold personal data (attributes, addresses), so they are never logged.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec

from autoprovisioning.decoding import built
from autoprovisioning.domain.causes import checked
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.runs import Batch, Look, RunKind
from autoprovisioning.domain.texts import OUR_ID, USER_ID
from autoprovisioning.schemas import FIELD, Schema

T = TypeVar("T")

EPOCH = datetime.fromtimestamp(0, UTC)
# A new field that a receiver must heed needs a new schema: a receiver that does not know it would ignore it.
LOOK = Schema(name="look")
BATCH = Schema(name="batch")
RUN_REQUEST = Schema(name="run request", current=2)
ENVELOPE = Schema(name="push envelope")  # Google's: it has no number
SKEW = timedelta(minutes=1)  # by which Pub/Sub's clock may be ahead of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """One delivery: the message's id and publish time, its data, its attributes."""

    message_id: str
    publish_time: datetime
    data: bytes
    attributes: dict[str, str] = field(default_factory=dict)

    def published(self, now: datetime) -> datetime:
        """Return when it was published; a time in the future counts as an old message: none may stay fresh for ever."""
        return EPOCH if self.publish_time > now + SKEW else min(self.publish_time, now)


class Work(StrEnum):
    """What `reconcile` is to take up: the names of two kinds of request (`domain/requests.py`)."""

    RUN = "run"
    PREVIEW = "preview"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What to reconcile, as Cloud Scheduler's body and on run-requests.

    `request`, of `connection`, names what an administrator asked for and waits for: a run of this kind, or a preview.
    """

    kind: RunKind = RunKind.FULL
    retry_failures: bool = False
    work: Work = Work.RUN
    connection: str = ""
    request: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Schema1:
    """What else schema 1 of a run request said; such messages may be in flight when this version is deployed.

    A requested run is named as it is now, and made. A preview was stored where it is no longer looked for.
    """

    preview: str = ""


class _Numbered(msgspec.Struct):
    schema: int = 1


class _Message(msgspec.Struct, rename="camel"):
    message_id: str
    data: str = ""
    publish_time: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    attributes: dict[str, str] = {}


class _Envelope(msgspec.Struct):
    message: _Message


def encode_look(look: Look) -> bytes:
    """Encode "look again"."""
    return _encode(look, LOOK)


def decode_look(data: bytes) -> Look:
    """Decode "look again"; raises BadInput. A cause that does not fit is dropped: nothing depends on it."""
    look = _decode(data, Look, LOOK)
    if look.event == "sync":
        _check_id("look.channel", look.channel)
    elif not USER_ID.fullmatch(look.user_id):
        problem = "it is not a directory id" if look.user_id else "it is empty"
        raise BadInput("look.user_id", problem, "Name the directory id of the user to look at.")
    if look.inquiry:
        _check_named("look.inquiry", "inquiry", look.inquiry)
    return replace(look, cause=checked(look.cause))


def encode_batch(batch: Batch) -> bytes:
    """Encode a batch."""
    return _encode(batch, BATCH)


def decode_batch(data: bytes) -> Batch:
    """Decode a batch; raises BadInput."""
    batch = _decode(data, Batch, BATCH)
    _check_id("batch.connection_id", batch.connection_id)
    _check_id("batch.run_id", batch.run_id)
    return batch


def encode_run_request(request: RunRequest) -> bytes:
    """Encode a request to reconcile."""
    return _encode(request, RUN_REQUEST)


def decode_run_request(body: bytes) -> RunRequest:
    """Decode what Cloud Scheduler sends, or a push of run-requests; an empty body asks for a full run."""
    if not body.strip():
        return RunRequest()
    if b'"message"' in body:
        body = decode_push(body).data
    request = _decode(body, RunRequest, RUN_REQUEST)
    if _decode(body, _Schema1, RUN_REQUEST).preview:
        raise BadInput("run request.preview", "an older version of this system sent it", "Ask for the preview again.")
    if request.request:
        _check_id("run request.request", request.request)
    if request.connection or request.work is Work.PREVIEW:
        _check_id("run request.connection", request.connection)
    return request


def decode_push(body: bytes) -> Push:
    """Open the envelope of a push delivery (cloud.google.com/pubsub/docs/push#wrapped); raises BadInput."""
    message = _decode(body, _Envelope, ENVELOPE).message
    try:
        data = base64.b64decode(message.data, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput("message.data", "it is not base64", "Deliver it as a Pub/Sub push subscription does.") from None
    return Push(
        message_id=message.message_id,
        publish_time=message.publish_time or EPOCH,
        data=data,
        attributes=message.attributes,
    )


def _check_id(where: str, text: str) -> None:
    if not OUR_ID.fullmatch(text):
        raise BadInput(where, "it is not one of our ids", "Send the JSON that this system publishes itself.")


def _check_named(where: str, what: str, text: str) -> None:
    """Check the name of something that belongs to a connection: <connection>/<its own id>."""
    if not all(OUR_ID.fullmatch(part) for part in text.partition("/")[::2]):
        raise BadInput(where, f"it names no {what}", f"Write it as <connection>/<{what}>.")


def _encode(message: object, schema: Schema) -> bytes:
    return msgspec.json.encode(schema.stamped(msgspec.to_builtins(message)))


def _decode(data: bytes, as_type: type[T], schema: Schema) -> T:
    """Decode a message.

    Raises:
        BadInput: it is not one of ours.
        ConfigurationRefused: a newer version sent it; it is delivered again.
    """
    try:
        schema.check({FIELD: msgspec.json.decode(data, type=built(_Numbered)).schema})
        return msgspec.json.decode(data, type=built(as_type))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        # msgspec names the path and the types, never the values; a UnicodeError would quote them.
        problem = str(error) if isinstance(error, msgspec.MsgspecError) else "it is not JSON"
        raise BadInput(schema.name, problem, "Send the JSON that this system publishes itself.") from None
