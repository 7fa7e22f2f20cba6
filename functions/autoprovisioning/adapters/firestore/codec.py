"""The shape of a roster shard: every entry of it in one encoded field.

Records are arrays, so fields are only ever appended, with a default; times are whole seconds. One field instead of a
map: Firestore indexes every key of a map, and takes twenty times as long to read and to change it.

What a newer version appended to an entry is kept as it is when this one writes the shard. It may therefore append what
this one need not keep in step; anything else, such as another status or a field of a mark, is another schema.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from autoprovisioning.decoding import built
from autoprovisioning.document_kinds import ROSTER
from autoprovisioning.domain.entry import Action, Entry, Failure, Mark, Status, Timer, Trigger, Unseen

A = TypeVar("A")
B = TypeVar("B")

_STATUSES = tuple(Status)
_ACTIONS = tuple(Action)
_TRIGGERS = tuple(Trigger)
_NO_TIMERS: Mapping[Trigger, Timer] = {}


class _Timer(msgspec.Struct, array_like=True):
    since: int
    accrued: int
    running_since: int | None


class _Mark(msgspec.Struct, array_like=True):
    change_id: str
    message_id: str
    action: int
    until: float
    again: bool = False
    sent: str = ""


class _Failure(msgspec.Struct, array_like=True):
    code: str
    text: str
    attempts: int
    first: int
    next_attempt: int
    about: str


class _Entry(msgspec.Struct, array_like=True):
    user_id: str
    version: int
    email: str
    scim_id: str
    fingerprint: str
    status: int
    in_scope: bool
    timers: list[_Timer | None] | None = None
    mark: _Mark | None = None
    pending: bool = False
    held: int | None = None  # of schema 1, and so is held_by: decisions live in the hold
    failure: _Failure | None = None
    last_action_at: float | None = None  # to the microsecond, as decisions are: which of them came first counts
    gone: bool = False
    held_by: int | None = None
    applied_by: str = ""
    missing_since: int | None = None
    shown: str | None = None
    deleted: bool = False
    drift: list[str] | None = None
    taken_over: bool = False
    locked_at: int | None = None
    again: bool = False  # until it came here, and from workers who do not know that yet, it is the mark's
    teams: list[str] | None = None
    asked: list[str] | None = None
    unseen: list[tuple[str, int, bool]] | None = None  # None: of a version that did not look for them


class _Read(_Entry, array_like=True):
    next: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # the first field that is not known


class _Id(msgspec.Struct, array_like=True):
    user_id: str


_decoder = msgspec.msgpack.Decoder(built(list[_Read]))
_one = msgspec.msgpack.Decoder(built(_Entry))
_ids = msgspec.msgpack.Decoder(built(list[_Id]))
_raw = msgspec.msgpack.Decoder(built(list[msgspec.Raw]))
_encoder = msgspec.msgpack.Encoder()
_KNOWN = len(_Entry.__struct_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Entries by directory id, and what a newer version appended to them."""

    entries: dict[str, Entry] = field(default_factory=dict)
    appended: Mapping[str, Sequence[Any]] = field(default_factory=dict)


def encode(entries: Mapping[str, Entry], appended: Mapping[str, Sequence[Any]] = MappingProxyType({})) -> bytes:
    """Encode a shard, each entry with what a newer version appended to it."""
    if not appended:
        return _encoder.encode([_to_record(entry) for entry in entries.values()])
    return _encoder.encode([[*_to_record(entry), *appended.get(user_id, ())] for user_id, entry in entries.items()])


def decode(data: bytes) -> Shard:
    """Decode a shard.

    Raises:
        ConfigurationRefused: it holds something that only a newer version knows.
    """
    try:
        records = _decoder.decode(data)
        entries = {record.user_id: _to_entry(record) for record in records}
    except (msgspec.MsgspecError, IndexError) as error:
        raise ROSTER.unreadable(error) from None
    if all(record.next is msgspec.UNSET for record in records):
        return Shard(entries=entries)
    return Shard(entries=entries, appended={record[0]: record[_KNOWN:] for record in msgspec.msgpack.decode(data)})


def find(data: bytes, user_ids: Container[str]) -> dict[str, Entry]:
    """Decode these users' entries of a shard that is only read, without making those of all the others.

    Raises:
        ConfigurationRefused: one of them holds something that only a newer version knows.
    """
    try:
        each = zip(_ids.decode(data), _raw.decode(data), strict=True)
        return {head.user_id: _to_entry(_one.decode(raw)) for head, raw in each if head.user_id in user_ids}
    except (msgspec.MsgspecError, IndexError) as error:
        raise ROSTER.unreadable(error) from None


def _perhaps(convert: Callable[[A], B], value: A | None) -> B | None:
    """Convert what is there."""
    return None if value is None else convert(value)


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _to_record(entry: Entry) -> list[Any]:
    """Return the fields in the order of `_Entry`; naming each in a struct would take three times as long."""
    return [
        entry.user_id,
        entry.version,
        entry.email,
        entry.scim_id,
        entry.fingerprint,
        _STATUSES.index(entry.status),
        entry.in_scope,
        [_perhaps(_timer_record, entry.timers.get(trigger)) for trigger in _TRIGGERS] if entry.timers else None,
        _mark_record(entry.mark, again=entry.again) if entry.mark is not None else None,
        entry.pending,
        None,  # held
        _perhaps(_failure_record, entry.failure),
        _perhaps(datetime.timestamp, entry.last_action_at),
        entry.gone,
        None,  # held_by
        entry.applied_by,
        _perhaps(_seconds, entry.missing_since),
        entry.shown,
        entry.deleted,
        entry.drift or None,
        entry.taken_over,
        _perhaps(_seconds, entry.locked_at),
        entry.again,
        entry.teams or None,
        entry.asked or None,
        [(each.team_id, _seconds(each.since), each.seen) for each in entry.unseen] if entry.teams else None,
    ]


def _to_entry(record: _Entry) -> Entry:
    return Entry(
        user_id=record.user_id,
        version=record.version,
        email=record.email,
        scim_id=record.scim_id,
        fingerprint=record.fingerprint,
        status=_STATUSES[record.status],
        in_scope=record.in_scope,
        timers=_timers(record.timers) if record.timers else _NO_TIMERS,
        mark=_perhaps(_mark, record.mark),
        pending=record.pending,
        failure=_perhaps(_failure, record.failure),
        last_action_at=_perhaps(_time, record.last_action_at),
        gone=record.gone,
        applied_by=record.applied_by,
        missing_since=_perhaps(_time, record.missing_since),
        shown=record.shown,
        deleted=record.deleted,
        drift=tuple(record.drift) if record.drift else (),
        taken_over=record.taken_over,
        locked_at=_perhaps(_time, record.locked_at),
        again=record.again or (record.mark is not None and record.mark.again),
        teams=tuple(record.teams) if record.teams else (),
        asked=tuple(record.asked) if record.asked else (),
        unseen=_unseen(record) if record.teams else (),
    )


def _unseen(record: _Entry) -> tuple[Unseen, ...]:
    """Return what no listing has shown; of memberships that nobody has looked for, all of them."""
    if record.unseen is None:
        since = _time(int(record.last_action_at or 0))
        return tuple(Unseen(team_id=team_id, since=since) for team_id in record.teams or ())
    return tuple(Unseen(team_id=team_id, since=_time(since), seen=seen) for team_id, since, seen in record.unseen)


def _timers(records: list[_Timer | None]) -> dict[Trigger, Timer]:
    return {
        trigger: Timer(
            since=_time(record.since),
            accrued=timedelta(seconds=record.accrued),
            running_since=_perhaps(_time, record.running_since),
        )
        for trigger, record in zip(_TRIGGERS, records, strict=False)
        if record is not None
    }


def _timer_record(timer: Timer) -> _Timer:
    return _Timer(_seconds(timer.since), int(timer.accrued.total_seconds()), _perhaps(_seconds, timer.running_since))


def _mark_record(mark: Mark, *, again: bool) -> _Mark:
    return _Mark(
        change_id=mark.change_id,
        message_id=mark.message_id,
        action=_ACTIONS.index(mark.action),
        until=mark.until.timestamp(),
        again=again,
        sent=mark.sent,
    )


def _mark(record: _Mark) -> Mark:
    return Mark(
        change_id=record.change_id,
        message_id=record.message_id,
        action=_ACTIONS[record.action],
        until=_time(record.until),
        sent=record.sent,
    )


def _failure_record(failure: Failure) -> _Failure:
    return _Failure(
        code=failure.code,
        text=failure.text,
        attempts=failure.attempts,
        first=_seconds(failure.first),
        next_attempt=_seconds(failure.next_attempt),
        about=failure.about,
    )


def _failure(record: _Failure) -> Failure:
    return Failure(
        code=record.code,
        text=record.text,
        attempts=record.attempts,
        first=_time(record.first),
        next_attempt=_time(record.next_attempt),
        about=record.about,
    )
