"""Cursors: where the next page starts, as an opaque text that only we make."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from autoprovisioning.adapters.firestore.database import is_id
from autoprovisioning.decoding import built
from autoprovisioning.domain.errors import BadInput

T = TypeVar("T")

Position = tuple[datetime, str]  # the last document of a page: its time, and its id among those of that time

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = 500


def at_position(position: Position) -> str:
    """Return the cursor of what follows a document."""
    at, name = position
    return _encode(((at - _EPOCH) // timedelta(microseconds=1), name))


def position_of(cursor: str) -> Position | None:
    """Return where a cursor points, None for the beginning; raises BadInput("cursor") for one we did not make."""
    if not cursor:
        return None
    microseconds, name = _decode(cursor, tuple[int, str])
    if not is_id(name):
        raise _refusal()
    try:
        return _EPOCH + timedelta(microseconds=microseconds), name
    except OverflowError:
        raise _refusal() from None


def at_offset(offset: int) -> str:
    """Return the cursor of what follows that many lines."""
    return _encode(offset)


def offset_of(cursor: str) -> int:
    """Return how many lines a cursor passes over; raises BadInput("cursor") for one we did not make."""
    offset = _decode(cursor, int) if cursor else 0
    if offset < 0:
        raise _refusal()
    return offset


def _encode(value: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).decode().rstrip("=")


def _decode(cursor: str, kind: type[T]) -> T:
    if len(cursor) > _LONGEST:
        raise _refusal()
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(data, type=built(kind))
    except (ValueError, msgspec.DecodeError):
        raise _refusal() from None


def _refusal() -> BadInput:
    return BadInput("cursor", "it is not a cursor of this list", "Start again at the first page.")
