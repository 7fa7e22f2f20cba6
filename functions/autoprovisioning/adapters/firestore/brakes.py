"""The shapes of the guard and of held plans.

A reservation takes 8 bytes, below the second in which it was made; the guard is one field, cut into as many documents
as it takes. Of a held plan each part of the members has a document of its own, and the plan has a verdict for each:
the verdicts that differ, and by number which of them each member has.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from autoprovisioning.adapters.firestore import schema_1
from autoprovisioning.domain.guard import GuardState, Member
from autoprovisioning.domain.holds import Hold, HoldState, Standing, Verdict

SCHEMA = 2
MEMBERS_A_DOCUMENT = 5_000
PIECE = 900_000  # bytes of 1 MiB
NAME = 8  # bytes
HOLDS_KEPT = timedelta(days=400)  # as long as the audit
SUPERSEDED_KEPT = timedelta(days=7)  # a plan that grows leaves one a run


class _Guard(msgspec.Struct, array_like=True):
    reserved: dict[str, dict[int, bytes]] = {}
    active: list[tuple[int, int]] = []


class _Member(msgspec.Struct, array_like=True):
    user_id: str
    action: str
    trigger: str = ""
    since: int | None = None


class _Verdict(msgspec.Struct, array_like=True):
    standing: Standing
    at: float | None  # to the microsecond: what is done within the second of a decision came before or after it
    by: str


class _Verdicts(msgspec.Struct, array_like=True):
    each: list[_Verdict]
    numbers: list[int]


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def guard_pieces(state: GuardState) -> list[bytes]:
    """Encode a guard, cut into what a document holds each."""
    reserved: dict[str, dict[int, bytearray]] = {}
    for budget, names in state.reserved.items():
        buckets = reserved.setdefault(budget, {})
        for name, at in names.items():
            buckets.setdefault(_seconds(at), bytearray()).extend(bytes.fromhex(name))
    data = msgspec.msgpack.encode((reserved, [(_seconds(at), count) for at, count in state.active]))
    return [data[start : start + PIECE] for start in range(0, len(data), PIECE)]


def guard_of(data: bytes) -> GuardState:
    """Decode a guard of schema 2."""
    guard = msgspec.msgpack.decode(data, type=_Guard)
    reserved = {budget: dict(_names(buckets)) for budget, buckets in guard.reserved.items()}
    return GuardState(reserved=reserved, active=tuple((_time(at), count) for at, count in guard.active))


def _names(buckets: Mapping[int, bytes]) -> list[tuple[str, datetime]]:
    return [
        (names[start : start + NAME].hex(), _time(at))
        for at, names in buckets.items()
        for start in range(0, len(names), NAME)
    ]


def members_parts(hold: Hold) -> list[bytes]:
    """Encode the members of a held plan, as many as a document holds in each part."""
    records = [_Member(m.user_id, m.action, m.trigger, _seconds(m.since) if m.since else None) for m in hold.members]
    return [
        msgspec.msgpack.encode(records[start : start + MEMBERS_A_DOCUMENT])
        for start in range(0, len(records), MEMBERS_A_DOCUMENT)
    ]


def members_of(data: bytes) -> list[Member]:
    """Decode a part of the members; schema 1 has neither trigger nor time."""
    records = msgspec.msgpack.decode(data, type=list[_Member])
    return [
        Member(user_id=r.user_id, action=r.action, trigger=r.trigger, since=None if r.since is None else _time(r.since))
        for r in records
    ]


def decision_fields(hold: Hold) -> dict[str, Any]:
    """Return the fields of what was decided, counts for the lists included."""
    distinct = {verdict: number for number, verdict in enumerate(dict.fromkeys(hold.verdicts))}
    each = [_Verdict(v.standing, None if v.at is None else v.at.timestamp(), v.by) for v in distinct]
    return {
        "schema": SCHEMA,
        "state": hold.state.value,
        "reason": hold.reason,
        "counts": hold.counts(),
        "standings": hold.standings(),
        "verdicts": msgspec.msgpack.encode(_Verdicts(each, [distinct[verdict] for verdict in hold.verdicts])),
        "decided_by": hold.decided_by,
        "decided_at": hold.decided_at,
        "expires": hold_expires(hold),
    }


def hold_of(digest: str, fields: Mapping[str, Any], members: tuple[Member, ...]) -> Hold:
    """Return a held plan; of schema 1 every member has the verdict of the whole."""
    if fields.get("schema") == SCHEMA:
        known = msgspec.msgpack.decode(fields["verdicts"], type=_Verdicts)
        each = [Verdict(standing=v.standing, at=None if v.at is None else _time(v.at), by=v.by) for v in known.each]
        verdicts = tuple(each[number] for number in known.numbers)
    else:
        verdicts = (schema_1.verdict(fields),) * len(members)
    return Hold(
        digest=digest,
        raised_at=fields["raised_at"],
        members=members,
        reason=fields["reason"],
        verdicts=verdicts,
        decided_by=fields["decided_by"],
        decided_at=fields["decided_at"],
    )


def hold_expires(hold: Hold) -> datetime:
    """Return the value of a held plan's TTL field; it outlives each decision about it that is in force."""
    if hold.state is HoldState.SUPERSEDED:
        ended = max((verdict.at for verdict in hold.verdicts if verdict.at is not None), default=hold.raised_at)
        return ended + SUPERSEDED_KEPT
    return max(hold.raised_at, hold.decided_at or hold.raised_at) + HOLDS_KEPT
