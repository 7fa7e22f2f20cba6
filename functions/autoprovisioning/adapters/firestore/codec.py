"""The shape of a roster shard: every entry of it in one encoded field.

Records are arrays, so fields are only ever appended, with a default; times are whole seconds. One field instead of a
map: Firestore indexes every key of a map, and takes twenty times as long to read and to change it.

A shard carries the number of its schema; one without is of schema 1, and is rewritten when anything of it changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec

from autoprovisioning.domain.deprovisioning import Span
from autoprovisioning.domain.roster import Action, Entry, Failure, Mark, Status, Timer, Trigger

SCHEMA = 2
_STATUSES = tuple(Status)
_STATUSES_1 = (Status.NONE, Status.ACTIVE, Status.SUSPENDED, Status.SUSPENDED, Status.LOCKED)
_DELETED_1 = 3  # a status of its own in schema 1
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
    held: int | None = None
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


class _Entry1(msgspec.Struct, array_like=True):
    """Schema 1: a timer was the time of its beginning, moved on by what an archived user's had stood still."""

    user_id: str
    version: int
    email: str
    scim_id: str
    fingerprint: str
    status: int
    in_scope: bool
    timers: list[int | None] | None = None
    frozen_at: int | None = None
    mark: _Mark | None = None
    pending: bool = False
    held: int | None = None  # of schema 1, and so is held_by: decisions live in the hold
    failure: _Failure | None = None
    last_action_at: int | None = None
    gone: bool = False
    held_by: int | None = None
    applied_by: str = ""
    missing_since: int | None = None
    shown: str | None = None


_decoder = msgspec.msgpack.Decoder(list[_Entry])
_decoder_1 = msgspec.msgpack.Decoder(list[_Entry1])
_encoder = msgspec.msgpack.Encoder()


def encode(entries: Mapping[str, Entry]) -> bytes:
    """Encode a shard."""
    return _encoder.encode([_to_record(entry) for entry in entries.values()])


def decode(data: bytes) -> dict[str, Entry]:
    """Decode a shard to its entries by directory id."""
    return {record.user_id: _to_entry(record) for record in _decoder.decode(data)}


def decode_1(data: bytes, off: Sequence[Span]) -> dict[str, Entry]:
    """Decode a shard of schema 1; `off` are all the times that the connection had been off, while it was in force."""
    return {record.user_id: _to_entry_1(record, off) for record in _decoder_1.decode(data)}


def _to_entry_1(record: _Entry1, off: Sequence[Span]) -> Entry:
    fields = msgspec.structs.asdict(record)
    begun, frozen_at, deleted = fields.pop("timers"), fields.pop("frozen_at"), record.status == _DELETED_1
    status = _STATUSES_1[record.status]
    entry = replace(_to_entry(_Entry(**fields | {"status": 0})), status=status, deleted=deleted)
    if not begun:
        return entry
    timers: dict[Trigger, Timer] = {}
    for trigger, seconds in zip(_TRIGGERS, begun, strict=False):
        if seconds is not None:
            timer = Timer(_at(seconds), running_since=_clock_1(_at(seconds), off))
            timers[trigger] = timer if frozen_at is None else timer.stopped(_clock_1(_at(frozen_at), off))
    return replace(entry, timers=timers)


def _clock_1(moment: datetime, off: Sequence[Span]) -> datetime:
    """Return what the connection's clock showed then."""
    return moment - sum((max(min(end, moment) - start, timedelta()) for start, end in off), timedelta())


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _to_record(entry: Entry) -> _Entry:
    return _Entry(
        entry.user_id,
        entry.version,
        entry.email,
        entry.scim_id,
        entry.fingerprint,
        _STATUSES.index(entry.status),
        entry.in_scope,
        [_timer_record(entry.timers.get(trigger)) for trigger in _TRIGGERS] if entry.timers else None,
        _mark_record(entry.mark),
        entry.pending,
        None,
        _failure_record(entry.failure),
        None if entry.last_action_at is None else entry.last_action_at.timestamp(),
        entry.gone,
        None,
        entry.applied_by,
        _seconds(entry.missing_since),
        entry.shown,
        entry.deleted,
        list(entry.drift) if entry.drift else None,
        entry.taken_over,
        _seconds(entry.locked_at),
    )


def _to_entry(record: _Entry) -> Entry:
    return Entry(
        record.user_id,
        record.version,
        record.email,
        record.scim_id,
        record.fingerprint,
        _STATUSES[record.status],
        record.in_scope,
        _timers(record.timers) if record.timers else _NO_TIMERS,
        _mark(record.mark),
        record.pending,
        _failure(record.failure),
        _time(record.last_action_at),
        record.gone,
        applied_by=record.applied_by,
        missing_since=_time(record.missing_since),
        shown=record.shown,
        deleted=record.deleted,
        drift=tuple(record.drift) if record.drift else (),
        taken_over=record.taken_over,
        locked_at=_time(record.locked_at),
    )


def _timers(records: list[_Timer | None]) -> dict[Trigger, Timer]:
    return {
        trigger: Timer(_at(record.since), timedelta(seconds=record.accrued), _time(record.running_since))
        for trigger, record in zip(_TRIGGERS, records, strict=False)
        if record is not None
    }


def _timer_record(timer: Timer | None) -> _Timer | None:
    if timer is None:
        return None
    since, accrued = int(timer.since.timestamp()), int(timer.accrued.total_seconds())
    return _Timer(since, accrued, _seconds(timer.running_since))


def _mark_record(mark: Mark | None) -> _Mark | None:
    if mark is None:
        return None
    action, until = _ACTIONS.index(mark.action), mark.until.timestamp()
    return _Mark(mark.change_id, mark.message_id, action, until, mark.again, mark.sent)


def _mark(record: _Mark | None) -> Mark | None:
    if record is None:
        return None
    action, until = _ACTIONS[record.action], _at(record.until)
    return Mark(record.change_id, record.message_id, action, until, record.again, record.sent)


def _failure_record(failure: Failure | None) -> _Failure | None:
    if failure is None:
        return None
    first, following = int(failure.first.timestamp()), int(failure.next_attempt.timestamp())
    return _Failure(failure.code, failure.text, failure.attempts, first, following, failure.about)


def _failure(record: _Failure | None) -> Failure | None:
    if record is None:
        return None
    return Failure(record.code, record.text, record.attempts, _at(record.first), _at(record.next_attempt), record.about)
