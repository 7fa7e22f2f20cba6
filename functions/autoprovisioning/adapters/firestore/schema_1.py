"""Documents of schema 1, which carry no number of their schema, as schema 2 has them.

The next full run stores what it reads as schema 2: the connection, its roster, its guard and the plans that are not
over. A plan that is over stays until it expires, or somebody looks at it. When none is left this module can go, and
with it the defaults of `Member` for what held plans of schema 1 lack, and the code that makes up for them
(`domain.holds.Book.verdict`, `app.runs.brake_plan.brake`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from autoprovisioning.adapters.firestore.codec import decode
from autoprovisioning.decoding import built
from autoprovisioning.domain.deprovisioning import Span
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.guard import FIRST, GuardState, Kind
from autoprovisioning.domain.holds import HoldState, Standing, Verdict

_STATUSES = (0, 1, 2, 2, 3)  # none, active, suspended, deleted, locked: deleted is a suspension of its own kind now
_DELETED = 3


class _Entry(msgspec.Struct, array_like=True):
    """A timer was the time of its beginning, moved forward by how long it stood still for an archived user."""

    user_id: str
    version: int
    email: str
    scim_id: str
    fingerprint: str
    status: int
    in_scope: bool
    timers: list[int | None] | None = None
    frozen_at: int | None = None
    mark: list[Any] | None = None
    pending: bool = False
    held: int | None = None
    failure: list[Any] | None = None
    last_action_at: int | None = None
    gone: bool = False
    held_by: int | None = None
    applied_by: str = ""
    missing_since: int | None = None
    shown: str | None = None


_decoder = msgspec.msgpack.Decoder(built(list[_Entry]))


def roster(data: bytes, off: Sequence[Span]) -> dict[str, Entry]:
    """Decode a shard; `off` are all the times that the connection was off, while schema 1 was in use."""
    return decode(msgspec.msgpack.encode([_record(entry, off) for entry in _decoder.decode(data)])).entries


def _record(entry: _Entry, off: Sequence[Span]) -> list[Any]:
    fields = msgspec.structs.asdict(entry)
    frozen_at = fields.pop("frozen_at")
    fields["timers"] = [_timer(began, frozen_at, off) for began in entry.timers] if entry.timers else None
    fields["status"] = _STATUSES[entry.status]
    return [*fields.values(), entry.status == _DELETED]


def _timer(began: int | None, frozen_at: int | None, off: Sequence[Span]) -> tuple[int, int, int | None] | None:
    """Return since when it has lasted, what had accrued, and since when it has run by the connection's clock."""
    if began is None:
        return None
    running_since = _clock(began, off)
    if frozen_at is None:
        return began, 0, running_since
    return began, max(_clock(frozen_at, off) - running_since, 0), None


def _clock(moment: int, off: Sequence[Span]) -> int:
    """Return the time on the connection's clock then."""
    stood = (min(end.timestamp(), moment) - start.timestamp() for start, end in off)
    return int(moment - sum(max(each, 0) for each in stood))


def connection(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a connection: it kept the times that it was off, and at first only the paths of units."""
    spans, scope = fields.get("off_spans", ()), fields["scope"]
    stood = sum((span["end"] - span["start"]).total_seconds() for span in spans)
    off_since = fields["changed_at"] if fields["state"] == "off" else None
    units = [
        {"id": "", "path": unit.rstrip("/") or "/"} if isinstance(unit, str) else unit for unit in scope["org_units"]
    ]
    return {
        "edition": 0,
        **fields,
        "scope": {**scope, "org_units": units},
        "clock": {"stood": stood, "last": spans[-1] if spans else None, "off_since": off_since},
    }


def off_spans(fields: Mapping[str, Any]) -> tuple[Span, ...]:
    """Return when a connection was off: the timers of its roster shards are computed from that."""
    return tuple((span["start"], span["end"]) for span in fields.get("off_spans", ()))


def guard(fields: Mapping[str, Any]) -> GuardState:
    """Return a guard: it had one budget, and the size of the roster for the people active."""
    reserved = msgspec.msgpack.decode(fields["reserved"], type=built(dict[str, float]))
    names = {name: datetime.fromtimestamp(at, UTC) for name, at in reserved.items()}
    size = fields["roster_size"]
    return GuardState(reserved={Kind.TAKING: names} if names else {}, active=((FIRST, size),) if size else ())


def verdict(fields: Mapping[str, Any]) -> Verdict:
    """Return the verdict of every member of a held plan: it was decided as a whole."""
    at, by = fields["decided_at"], fields["decided_by"]
    match HoldState(fields["state"]):
        case HoldState.APPROVED:
            return Verdict(standing=Standing.APPROVED, at=at, by=by)
        case HoldState.REJECTED:
            return Verdict(standing=Standing.REJECTED, at=at, by=by)
        case HoldState.WAITING:
            return Verdict()
        case _:
            return Verdict(standing=Standing.RELEASED, at=at)
