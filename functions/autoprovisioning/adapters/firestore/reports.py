"""What happened on a connection, read from small documents that the workers keep.

Nothing here reads the roster. Firestore needs five composite indexes on `events` for the filters, each with `at`
descending: `name`, `user_id`, `email`, `actor`, and `teams`, which is an array; filters together are answered by
merging the first four, several names by merging those of each. One on `holds` serves the list of plans: `state`, with
`raised_at` descending; one on `failures` those of a cause: `code`, with `first` descending.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.audit import event_of
from autoprovisioning.adapters.firestore.database import Database, fields_of
from autoprovisioning.adapters.firestore.paging import Position, at_position, position_of
from autoprovisioning.adapters.firestore.runs import run_of
from autoprovisioning.app.ports.reports import (
    DayUsage,
    Failing,
    FailureCause,
    HeldPlan,
    KeeperAnswers,
    Page,
    WaitingUsers,
)
from autoprovisioning.document_kinds import FAILURE, HOLD, PENDING, USAGE
from autoprovisioning.domain.causes import Source
from autoprovisioning.domain.connections import Deleted
from autoprovisioning.domain.event_search import EventOrder, Filters
from autoprovisioning.domain.events import Event, EventName, TeamUsage
from autoprovisioning.domain.holds import HoldState, Standing
from autoprovisioning.domain.latency import Latencies
from autoprovisioning.domain.runs import Run

T = TypeVar("T")

LONGEST = 300  # characters of a filter: Firestore refuses to compare more than 1,500 bytes, no address is longer
STREAMED = 500  # documents of a query while a list is streamed
SEARCHED = (100, 300, 600)  # documents that a search reads, one query after another
ID = "__name__"


class _Pending(msgspec.Struct):
    since: datetime


class FirestoreReports:
    """The Reports port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def events(
        self, connection_id: str, filters: Filters, cursor: str, limit: int, *, order: EventOrder = EventOrder.NEWEST
    ) -> Page[Event]:
        """Return a page of the audit: it reads as many documents as it shows, and one; of a search `SEARCHED` at most.

        The indexes of the filters are in the order of the newest first: the other way round, only the time has one.
        """
        if order is EventOrder.OLDEST:
            query = self._events(connection_id, Filters(since=filters.since, until=filters.until))
            return self._search(query, filters, cursor, limit, "ASCENDING")
        query = self._events(connection_id, filters)
        if filters.sought:
            return self._search(query, filters, cursor, limit, "DESCENDING")
        return self._page(query, "at", event_of, cursor, limit)

    def every_event(self, connection_id: str, filters: Filters) -> Iterator[Event]:
        """Stream the audit, some hundred events a query."""
        events = self._every(self._events(connection_id, filters), "at", event_of)
        return filter(filters.meets, events) if filters.sought else events

    def _search(self, query: Any, filters: Filters, cursor: str, limit: int, direction: str) -> Page[Event]:
        """Look through events for those that are wanted: more at a time the longer it takes."""
        position, looked, found = position_of(cursor), 0, list[Event]()
        for size in SEARCHED:
            snapshots = self._after(query, "at", position, size, direction)
            for snapshot in snapshots:
                event, looked = event_of(snapshot), looked + 1  # takes long, so the document is copied once
                position = event.at, snapshot.id
                if filters.meets(event):
                    found.append(event)
                if len(found) == limit:
                    return _searched(found, position, looked, position)
            if len(snapshots) < size:
                ended = direction == "DESCENDING"
                return _searched(found, None if ended else position, looked, position)
        return _searched(found, position, looked, position)

    def failures(self, connection_id: str, cursor: str, limit: int, code: str = "") -> Page[Failing]:
        """Return a page of the users who are failing: it reads as many documents as it shows, and one."""
        return self._page(self._failures(connection_id, code), "first", _failing, cursor, limit)

    def every_failure(self, connection_id: str, code: str = "") -> Iterator[Failing]:
        """Stream the users who are failing, some hundred a query."""
        return self._every(self._failures(connection_id, code), "first", _failing)

    def causes(self, connection_id: str) -> Sequence[FailureCause]:
        """Count the users who are failing by code, in the service: one document of each is read, to learn its code."""
        found: list[FailureCause] = []
        by_code = self._failures(connection_id).order_by("code").limit(1)
        query = by_code
        while first := self._database.stream(query):
            code = fields_of(first[0])["code"]
            found.append(FailureCause(code=code, users=self._database.total(self._failures(connection_id, code))))
            query = by_code.where(filter=firestore.FieldFilter("code", ">", code))
        return sorted(found, key=lambda cause: (-cause.users, cause.code))

    def _failures(self, connection_id: str, code: str = "") -> Any:
        failures = self._database.home(connection_id).collection("failures")
        return failures.where(filter=firestore.FieldFilter("code", "==", code[:LONGEST])) if code else failures

    def failing_users(self, connection_id: str) -> int:
        """Count the users who are failing, in the service, without reading one."""
        return self._database.total(self._database.home(connection_id).collection("failures"))

    def usage(self, connection_id: str, first: date, last: date) -> Sequence[DayUsage]:
        """Add up the counters of each day: one query, at most eight documents a day."""
        days: dict[str, Counter[EventName]] = {}
        teams: dict[str, Counter[TeamUsage]] = {}
        for fields in self._counters(connection_id, first, last):
            counts = days.setdefault(fields["day"], Counter())
            counts.update({EventName(name): count for name, count in fields["counts"].items()})
            of_teams = teams.setdefault(fields["day"], Counter())
            of_teams.update({TeamUsage(name): count for name, count in fields.get("teams", {}).items()})
        wanted = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        return [
            DayUsage(day=day, counts=dict(days.get(name, {})), teams=dict(teams.get(name, {})))
            for day, name in ((day, day.isoformat()) for day in wanted)
        ]

    def pace(self, connection_id: str, since: datetime) -> KeeperAnswers:
        """Add up the hours from `since` on: one query, at most eight documents a day."""
        since = since.astimezone(UTC)
        start = (since.date().isoformat(), f"{since.hour:02d}")
        hours = [
            figures
            for fields in self._counters(connection_id, since.date())
            for hour, figures in fields.get("hours", {}).items()
            if (fields["day"], hour) >= start
        ]
        changes, failed, unsent = (
            sum(figures.get(name, 0) for figures in hours) for name in ("changes", "failed", "unsent")
        )
        return KeeperAnswers(
            changes=changes,
            failed=failed,
            seconds=sum(float(figures.get("seconds", 0)) for figures in hours),
            unsent=unsent,
            latencies=_latencies(hours),
        )

    def waiting(self, connection_id: str) -> WaitingUsers:
        """Count the users who wait, in the service, and read the one who has waited longest."""
        pending = self._database.home(connection_id).collection("pending")
        count = self._database.total(pending)
        if not count:
            return WaitingUsers()
        oldest = self._database.stream(pending.order_by("since").limit(1))
        return WaitingUsers(count=count, oldest=PENDING.read(fields_of(oldest[0]), _Pending).since if oldest else None)

    def plans_held(self, connection_id: str) -> int:
        """Count the held plans that wait, in the service, without reading one."""
        waiting = firestore.FieldFilter("state", "==", HoldState.WAITING.value)
        return self._database.total(self._database.home(connection_id).collection("holds").where(filter=waiting))

    def decided(self, connection_id: str) -> Sequence[HeldPlan]:
        """Return the plans about which something is decided: no member is read."""
        states = [HoldState.APPROVED.value, HoldState.REJECTED.value, HoldState.WAITING.value]
        holds = self._database.home(connection_id).collection("holds")
        found = self._database.stream(holds.where(filter=firestore.FieldFilter("state", "in", states)))
        plans = sorted(map(_held, found), key=lambda plan: plan.raised_at, reverse=True)
        stands = {Standing.APPROVED.value, Standing.REJECTED.value}
        return [plan for plan in plans if stands & plan.standings.keys()]

    def holds(self, connection_id: str, cursor: str, limit: int) -> Page[HeldPlan]:
        """Return a page of the held plans, without those that ended undecided: no member is read."""
        standing = [state.value for state in HoldState if state is not HoldState.SUPERSEDED]
        holds = self._database.home(connection_id).collection("holds")
        query = holds.where(filter=firestore.FieldFilter("state", "in", standing))
        return self._page(query, "raised_at", _held, cursor, limit)

    def runs(self, connection_id: str, cursor: str, limit: int) -> Page[Run]:
        """Return a page of the runs: it reads as many documents as it shows, and one."""
        query = self._database.home(connection_id).collection("runs")
        return self._page(query, "started", partial(run_of, connection_id), cursor, limit)

    def deleted(self, cursor: str, limit: int) -> Page[Deleted]:
        """Return a page of the tombstones: nothing else has the time of a deletion."""
        return self._page(self._database.client.collection("connections"), "deleted_at", _deleted, cursor, limit)

    def _events(self, connection_id: str, filters: Filters) -> Any:
        query: Any = self._database.home(connection_id).collection("events")
        names = () if filters.team else sorted(filters.indexed)
        if len(names) == 1:
            query = query.where(filter=firestore.FieldFilter("name", "==", names[0].value))
        elif names:
            query = query.where(filter=firestore.FieldFilter("name", "in", [name.value for name in names]))
        wanted = {
            "email" if "@" in filters.user else "user_id": filters.user,
            "actor": filters.actor,
        }
        if filters.team:
            query = query.where(filter=firestore.FieldFilter("teams", "array_contains", filters.team[:LONGEST]))
            wanted = {}
        for field, value in wanted.items():
            if value:
                query = query.where(filter=firestore.FieldFilter(field, "==", value[:LONGEST]))
        if filters.since is not None:
            query = query.where(filter=firestore.FieldFilter("at", ">=", filters.since))
        if filters.until is not None:
            query = query.where(filter=firestore.FieldFilter("at", "<", filters.until))
        return query

    def _counters(self, connection_id: str, first: date, last: date | None = None) -> Iterator[dict[str, Any]]:
        query: Any = self._database.home(connection_id).collection("usage")
        query = query.where(filter=firestore.FieldFilter("day", ">=", first.isoformat()))
        if last is not None:
            query = query.where(filter=firestore.FieldFilter("day", "<=", last.isoformat()))
        for snapshot in self._database.stream(query):
            fields = fields_of(snapshot)
            USAGE.check(fields)
            yield fields

    def _page(
        self, query: Any, field: str, read: Callable[[firestore.DocumentSnapshot], T], cursor: str, limit: int
    ) -> Page[T]:
        found = self._after(query, field, position_of(cursor), limit + 1)
        shown = found[:limit]
        more = len(found) > limit
        return Page(items=tuple(map(read, shown)), cursor=at_position(_position(shown[-1], field)) if more else "")

    def _every(self, query: Any, field: str, read: Callable[[firestore.DocumentSnapshot], T]) -> Iterator[T]:
        position: Position | None = None
        while found := self._after(query, field, position, STREAMED):
            yield from map(read, found)
            if len(found) < STREAMED:
                return
            position = _position(found[-1], field)

    def _after(
        self, query: Any, field: str, position: Position | None, limit: int, direction: str = "DESCENDING"
    ) -> list[firestore.DocumentSnapshot]:
        """Read what follows a position, newest first; documents of the same time are ordered by their ids."""
        ordered = query.order_by(field, direction=direction).order_by(ID, direction=direction).limit(limit)
        if position is not None:
            ordered = ordered.start_after({field: position[0], ID: position[1]})
        return self._database.stream(ordered)


def _latencies(hours: Sequence[Mapping[str, Any]]) -> dict[Source, Latencies]:
    """Add up the buckets of several hours, by source."""
    found: dict[Source, Latencies] = {}
    for source in Source:
        counts: Counter[int] = Counter()
        for figures in hours:
            counts.update({int(name): n for name, n in figures.get("latency", {}).get(source.value, {}).items()})
        if counts:
            found[source] = Latencies(counts=dict(counts))
    return found


def _searched(found: Sequence[Event], follows: Position | None, looked: int, reached: Position | None) -> Page[Event]:
    cursor = at_position(follows) if follows is not None else ""
    return Page(items=tuple(found), cursor=cursor, looked=looked, reached=reached[0] if reached is not None else None)


def _position(snapshot: firestore.DocumentSnapshot, field: str) -> Position:
    return fields_of(snapshot)[field], snapshot.id


def _held(snapshot: firestore.DocumentSnapshot) -> HeldPlan:
    fields = fields_of(snapshot)
    whole = {fields["state"]: sum(fields["counts"].values())}  # of schema 1, which was decided as a whole
    return HOLD.read({"standings": whole, **fields, "digest": snapshot.id}, HeldPlan)


def _deleted(snapshot: firestore.DocumentSnapshot) -> Deleted:
    fields = fields_of(snapshot)
    return Deleted(id=snapshot.id, name=fields["name"], at=fields["deleted_at"])


def _failing(snapshot: firestore.DocumentSnapshot) -> Failing:
    return FAILURE.read({**fields_of(snapshot), "user_id": snapshot.id}, Failing)
