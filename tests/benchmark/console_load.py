"""Fill Firestore as a connection of 100,000 users leaves it after a month: roster, 300,000 events, usage, failures."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud.firestore import SERVER_TIMESTAMP

from autoprovisioning.adapters.directory.resources import user_of
from autoprovisioning.adapters.firestore.audit import event_fields
from autoprovisioning.adapters.firestore.codec import encode
from autoprovisioning.adapters.firestore.roster import shard_of
from autoprovisioning.bootstrap import process_services
from autoprovisioning.document_kinds import ROSTER
from autoprovisioning.domain import requests
from autoprovisioning.domain.accounts import fingerprint
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Action, Entry, Failure, Status, Timer, Trigger
from autoprovisioning.domain.events import Actor, Event, EventName
from autoprovisioning.domain.guard import Member
from autoprovisioning.domain.holds import Hold, digest_of
from autoprovisioning.domain.people import listed_of
from autoprovisioning.domain.requests import Forecast, Line, Proposal, WorkRequest, Would
from autoprovisioning.domain.runs import Run, RunKind, RunState

EVENTS = 300_000
FAILURES = 600
RUNS = 400
HELD = 1_200
DAYS = 30
PREVIEW = "preview1"
SHARDS = 512
WRITES_A_COMMIT = 400
BYTES_A_COMMIT = 3_000_000  # of roster: the emulator takes 4 MiB a message
LEAVERS = 20  # one in so many is suspended
NAMES = (
    (EventName.UPDATED, Action.UPDATE, 60),
    (EventName.CREATED, Action.CREATE, 20),
    (EventName.SUSPENDED, Action.SUSPEND, 10),
    (EventName.UNSUSPENDED, Action.UNSUSPEND, 4),
    (EventName.FAILED, Action.UPDATE, 6),
)


def fill(connection_id: str, users: list[dict[str, Any]], now: datetime) -> tuple[str, str]:
    """Write everything and return the digest of the held plan and the id of the preview.

    `users` are the directory's, `now` is the end of the month.
    """
    chance = random.Random(7)
    connection = process_services().connections.change(
        connection_id, lambda known: replace(known, roster_layout=f"{SHARDS}")
    )
    assert connection is not None
    entries = [_entry(connection, user) for user in users]
    for number in range(0, len(entries), LEAVERS):
        since = now - timedelta(days=chance.randrange(1, DAYS))
        timers = {Trigger.SUSPENDED: Timer(since=since, running_since=since)}
        entries[number] = replace(entries[number], status=Status.SUSPENDED, timers=timers, last_action_at=since)
    failing = chance.sample(entries, FAILURES)
    events = [_event(number, chance.choice(entries), chance, now) for number in range(EVENTS)]
    _write(_roster(connection, entries))
    listed = {user["id"]: listed_of(user_of(user)) for user in users}
    packed = now + timedelta(minutes=5)  # a run that began long enough after the last write
    process_services().people.put(connection, packed, listed, {entry.user_id: entry for entry in entries})
    _write(_events(connection_id, events))
    _write(_usage(connection_id, events))
    _write(_failures(connection_id, failing, now))
    chosen = sorted(entry.user_id for entry in chance.sample(entries, HELD))
    members = tuple(
        Member(resource=user_id, action=Action.SUSPEND.value, trigger="suspended", since=now) for user_id in chosen
    )
    process_services().holds.put(
        connection_id, Hold(digest=digest_of(members, now), raised_at=now, members=members, reason=f"{HELD} suspend")
    )
    _preview(connection, entries, now)
    for number in range(RUNS):
        started = now - timedelta(minutes=15 * number)
        done = Run(
            id=f"run{number}",
            connection_id=connection_id,
            kind=RunKind.FULL,
            fence=number,
            started=started,
            state=RunState.DONE,
            finished=started,
        )
        process_services().runs.put(done)
    return digest_of(members, now), PREVIEW


def _preview(connection: Connection, entries: list[Entry], now: datetime) -> None:
    lines = [
        Line(would=Would.UPDATE, user_id=entry.user_id, email=entry.email, detail="name.familyName")
        for entry in entries
    ]
    forecast = Forecast(counts={Would.UPDATE.value: len(lines)})
    preview = WorkRequest(
        id=PREVIEW,
        kind=requests.PREVIEW,
        connection_id=connection.id,
        subject=Proposal(edition=connection.edition, settings=connection.settings),
        result=requests.PREVIEW.nothing,
        asked_by=Actor(address="admin@example.com"),
        asked_at=now,
    ).done(now, forecast)
    process_services().preview_lines.put(preview, lines)
    process_services().requests.put(preview)


def _home(connection_id: str) -> Any:
    from google.cloud import firestore

    return firestore.Client().collection("connections").document(connection_id)


def _entry(connection: Connection, user: dict[str, Any]) -> Entry:
    applied = fingerprint(connection.settings.mapping.apply(user))
    return Entry(
        user_id=user["id"],
        version=3,
        email=user["primaryEmail"],
        scim_id=f"k{user['id']}",
        fingerprint=applied,
        status=Status.ACTIVE,
        in_scope=True,
    )


def _event(number: int, entry: Entry, chance: random.Random, now: datetime) -> Event:
    name, action, _ = chance.choices(NAMES, [weight for *_, weight in NAMES])[0]
    at = now - timedelta(seconds=chance.randrange(DAYS * 86_400))
    changed = {"name.familyName": f"Newer{number}"} if name is not EventName.FAILED else {}
    return Event(
        id=f"e{number:06d}",
        at=at,
        name=name,
        actor=f"run run{number % RUNS}",
        user_id=entry.user_id,
        email=entry.email,
        attempted=action,
        changed=changed,
        before={"name.familyName": f"Older{number}"},
        reason="Keeper refuses the address" if name is EventName.FAILED else "",
        code="permanent" if name is EventName.FAILED else "",
        seconds=0.05,
    )


Document = tuple[Any, dict[str, Any]]


def _roster(connection: Connection, entries: list[Entry]) -> Iterator[Document]:
    shards: dict[int, dict[str, Entry]] = defaultdict(dict)
    for entry in entries:
        shards[shard_of(entry.user_id, SHARDS)][entry.user_id] = entry
    for shard, content in shards.items():
        yield (
            _home(connection.id).collection("roster").document(f"{shard:04d}"),
            ROSTER.stamped({"entries": encode(content), "written": SERVER_TIMESTAMP}),
        )


def _events(connection_id: str, events: list[Event]) -> Iterator[Document]:
    collection = _home(connection_id).collection("events")
    for event in events:
        yield collection.document(event.id), event_fields(event)


def _usage(connection_id: str, events: list[Event]) -> Iterator[Document]:
    days: dict[str, Counter[str]] = defaultdict(Counter)
    for event in events:
        days[event.at.astimezone(UTC).date().isoformat()][event.name.value] += 1
    for day, counts in days.items():
        yield _home(connection_id).collection("usage").document(f"{day}.0"), {"day": day, "counts": dict(counts)}


def _failures(connection_id: str, failing: list[Entry], now: datetime) -> Iterator[Document]:
    for entry in failing:
        failure = Failure(
            code="permanent",
            text="Keeper refuses the address",
            attempts=2,
            first=now,
            next_attempt=now + timedelta(hours=1),
            about="update:x",
        )
        yield (
            _home(connection_id).collection("failures").document(entry.user_id),
            {
                "email": entry.email,
                "code": failure.code,
                "reason": failure.text,
                "attempts": failure.attempts,
                "first": failure.first,
                "next_attempt": failure.next_attempt,
                "attempted": "update",
            },
        )


def _write(documents: Iterator[Document]) -> None:
    from google.cloud import firestore

    client = firestore.Client()
    batch, pending, size = client.batch(), 0, 0
    for reference, fields in documents:
        batch.set(reference, fields)
        pending += 1
        size += len(fields.get("entries", b""))
        if pending == WRITES_A_COMMIT or size > BYTES_A_COMMIT:
            batch.commit()
            batch, pending, size = client.batch(), 0, 0
    if pending:
        batch.commit()
