"""The audit as documents: one an event, and counters of each day's events."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.database import Also, Database, fields_of, nothing
from autoprovisioning.adapters.firestore.plain_documents import set_plain
from autoprovisioning.decoding import built
from autoprovisioning.document_kinds import EVENT, USAGE
from autoprovisioning.domain.accounts import Attributes, Value
from autoprovisioning.domain.causes import Cause
from autoprovisioning.domain.events import NAME_OF, Event, EventName
from autoprovisioning.domain.latency import bucket_of

AUDIT_KEPT = timedelta(days=400)
COUNTERS = 8  # documents a day's usage is spread over
CARRIED_OUT = frozenset({*NAME_OF.values(), EventName.ADOPTED})


class FirestoreAudit:
    """The Audit port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, connection_id: str, events: Sequence[Event]) -> None:
        """Append events that belong to no other write."""
        if events:
            write_events(self._database, self._database.home(connection_id), events)

    def applied(self, connection_id: str, change_ids: Sequence[str]) -> dict[str, Attributes]:
        """Return the attributes that accounts had after these changes: one document a change."""
        events = self._database.home(connection_id).collection("events")
        found = self._database.get_all([events.document(name) for name in dict.fromkeys(change_ids) if name])
        return {snapshot.id: after for snapshot in found if snapshot.exists and (after := event_of(snapshot).after)}


def event_fields(event: Event) -> dict[str, Any]:
    """Return an event as a document; `expires` is its TTL field.

    Attributes are one JSON text each, and so is the cause: of a map Firestore would index every key.
    """
    fields = msgspec.to_builtins(event, builtin_types=(datetime,))
    del fields["id"]
    teams = {name: list(names) for name in ("teams", "joined", "left") if (names := fields.pop(name))}
    return EVENT.stamped(
        {
            **fields,
            "attempted": fields["attempted"] or "",
            "changed": _text(event.changed),
            "before": None if event.before is None else _text(event.before),
            "after": _text(event.after),
            "cause": "" if event.cause is None else msgspec.json.encode(event.cause).decode(),
            "source": fields["source"] or "",
            **teams,
            "expires": event.at + AUDIT_KEPT,
        }
    )


def event_of(snapshot: firestore.DocumentSnapshot) -> Event:
    """Return the event a document holds; an older one has neither before and after, nor ids, nor cause and source."""
    fields = fields_of(snapshot)
    before, cause = fields.get("before"), fields.get("cause")
    return EVENT.read(
        {
            **fields,
            "id": snapshot.id,
            "attempted": fields["attempted"] or None,
            "changed": msgspec.json.decode(fields["changed"]),
            "before": None if before is None else msgspec.json.decode(before),
            "after": msgspec.json.decode(fields.get("after", "{}")),
            "cause": msgspec.json.decode(cause, type=built(Cause)) if cause else None,
            "source": fields.get("source") or None,
        },
        Event,
    )


def add_events(batch: firestore.WriteBatch, home: firestore.DocumentReference, events: Sequence[Event]) -> int:
    """Add the events of a connection, and their usage, to a commit; returns how many documents that touches.
    The commit needs a precondition: sent again after a lost answer it would count twice (`write_events` has its own).
    """
    for event in events:
        set_plain(batch, home.collection("events").document(event.id), event_fields(event))
    return len(events) + count_usage(batch, home, events)


def write_events(
    database: Database, home: firestore.DocumentReference, events: Sequence[Event], also: Also = nothing
) -> None:
    """Write events, their usage and what `also` adds, once, however often the client sends it."""

    def fill(batch: firestore.WriteBatch) -> int:
        for event in events:
            batch.create(home.collection("events").document(event.id), event_fields(event))
        return len(events) + count_usage(batch, home, events) + also(batch)

    database.write_once(home.collection("events").document(events[0].id), fill)


def _text(attributes: Mapping[str, Value]) -> str:
    return msgspec.json.encode(attributes).decode()


def count_usage(batch: firestore.WriteBatch, home: firestore.DocumentReference, events: Iterable[Event]) -> int:
    """Add the events to their days' counters; returns how many documents that touches.

    A counter holds how many events there were of each name, what they say of teams, and for each hour (UTC) how many
    changes Keeper answered, how many of them it refused, the seconds they took, how many failed before anything was
    sent, and by source in which bucket the latencies of those that succeeded are (`domain/latency.py`).
    """
    days: dict[str, Counter[tuple[str, ...]]] = {}
    seconds: dict[tuple[str, str], float] = {}
    spread = 0
    for event in events:
        day, hour = event.at.date().isoformat(), f"{event.at.hour:02d}"
        counts = days.setdefault(day, Counter())
        counts["counts", event.name.value] += 1
        for each, count in event.team_usage.items():
            counts["teams", each.value] += count
        if _went_to_keeper(event) or event.unsent:  # each of the figures, so that an hour has them all
            counts["hours", hour, "changes"] += not event.unsent
            counts["hours", hour, "failed"] += event.name is EventName.FAILED and not event.unsent
            counts["hours", hour, "unsent"] += event.unsent
            seconds[day, hour] = seconds.get((day, hour), 0.0) + event.seconds
        if event.source is not None and event.name in CARRIED_OUT:
            counts["hours", hour, "latency", event.source.value, f"{bucket_of(event.latency)}"] += 1
        spread = int.from_bytes(hashlib.blake2b(event.id.encode(), digest_size=2).digest(), "big") % COUNTERS
    for day, counts in days.items():
        fields: dict[str, Any] = USAGE.stamped({"day": day})
        for path, count in counts.items():
            _add(fields, path, count)
        for (of_day, hour), taken in seconds.items():
            if of_day == day:
                _add(fields, ("hours", hour, "seconds"), taken)
        batch.set(home.collection("usage").document(f"{day}.{spread}"), fields, merge=True)
    return len(days)


def _went_to_keeper(event: Event) -> bool:
    if event.name is EventName.FAILED:
        return event.attempted is not None and event.seconds > 0
    return event.name in CARRIED_OUT


def _add(fields: dict[str, Any], path: tuple[str, ...], number: float) -> None:
    for name in path[:-1]:
        fields = fields.setdefault(name, {})
    fields[path[-1]] = firestore.Increment(number)
