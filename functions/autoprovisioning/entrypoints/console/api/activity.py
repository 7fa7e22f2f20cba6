"""What happened on a connection, in the API: usage, failures and the audit, to read and to download."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from flask import Response
from msgspec import Meta

from autoprovisioning.app.administration.find_connection import audited
from autoprovisioning.app.administration.retry import ONE_BY_ONE, retry
from autoprovisioning.app.ports import reports
from autoprovisioning.domain import causes
from autoprovisioning.domain import events as domain
from autoprovisioning.domain.causes import Source
from autoprovisioning.domain.entry import Action
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.event_search import EventOrder, Filters, Outcome
from autoprovisioning.domain.events import USAGE, EventName, TeamUsage
from autoprovisioning.domain.review import called
from autoprovisioning.domain.sentences import sentence
from autoprovisioning.domain.texts import LONGEST_SEARCH
from autoprovisioning.domain.words import FAILURES, MENDS, counted, reported
from autoprovisioning.entrypoints.console.api.models import LIMIT, Accepted, Model, Paging
from autoprovisioning.entrypoints.console.api.operations import Answers, Operation, answer, download
from autoprovisioning.entrypoints.console.export import export
from autoprovisioning.entrypoints.console.routing import Call, existing

SETTLED = timedelta(minutes=2)  # what happened longer ago is written: nothing comes before it any more
Wanted = Annotated[str, Meta(max_length=LONGEST_SEARCH)]
Instant = Annotated[datetime, Meta(tz=True)]


class Span(Model):
    """How many days, today included."""

    days: Annotated[int, Meta(ge=1, le=90)] = 30


class Day(Model):
    """One day (UTC): what was done to users, by the name of the event, and about teams."""

    day: date
    counts: dict[str, int]
    teams: dict[TeamUsage, int]


class Usage(Model):
    """What was done to users, and what failed: events by name, together and day by day, oldest first.

    `teams` counts people put into teams (joined) and taken out (left), and teams that were created and renamed.
    """

    first: date
    last: date
    totals: dict[str, int]
    teams: dict[TeamUsage, int]
    days: list[Day]


class Failure(Model):
    """A user whose last attempt failed."""

    user_id: str
    email: str
    code: str
    reason: str
    attempted: str
    attempts: int
    first: datetime
    next_attempt: datetime


class Failures(Model):
    """Users who are failing."""

    items: list[Failure]
    cursor: str


Code = Annotated[str, Meta(max_length=100)]


class WantsFailures(Paging):
    """Which failures are wanted, all or those with a code, and which part of the list."""

    code: Code = ""


class FailureCause(Model):
    """How many users are failing for one reason, which the code names; how to fix it."""

    code: str
    cause: str
    mend: str
    users: int


class FailureCauses(Model):
    """Why users are failing, most first."""

    items: list[FailureCause]
    cursor: str = ""


class Retry(Model):
    """Who is to be tried again now: these users, those who fail with this code, or all who fail."""

    users: Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(min_length=1, max_length=ONE_BY_ONE)] | None = None
    code: Code = ""


class Wants(Model):
    """Which events are wanted: `since` included, `until` not; `user` is an id or an address, `team` a team's id.

    `names` are several, separated by commas; `outcome` failed with names are failures of those. Looked for, rather than
    answered by an index: `person`, part of a name or address; `by`, part of the actor; `text`, words of what was
    changed or said.
    """

    name: EventName | None = None
    names: Annotated[str, Meta(max_length=500)] = ""
    outcome: Outcome | None = None
    user: Wanted = ""
    actor: Wanted = ""
    since: Instant | None = None
    until: Instant | None = None
    person: Wanted = ""
    by: Wanted = ""
    text: Wanted = ""
    team: Wanted = ""


class WantsPage(Wants):
    """Which events are wanted, and which part of the list.

    Readers that follow ask with `order` asc, and `after` the cursor that they were given last, which is always there.
    """

    cursor: Annotated[str, Meta(max_length=500)] = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = LIMIT
    order: EventOrder = EventOrder.NEWEST
    after: Annotated[str, Meta(max_length=500)] = ""


class Cause(Model):
    """What Google reported, and made us look: a hint, no proof. `event` is its name in Google's admin log."""

    at: datetime
    event: str
    actor: str
    group: str
    words: str


class Event(Model):
    """One line of the audit. `before` is null where it is not known what an attribute was.

    `sentence` says in words what happened. `source` is what told of the change, null where an administrator asked;
    `latency` the seconds from the source's own time of it (of an event Google's, of a notification its arrival, of a
    run when it found it) to the outcome.
    """

    id: str
    at: datetime
    name: EventName
    sentence: str
    actor: str
    actor_id: str
    user_id: str
    email: str
    attempted: Action | None
    changed: dict[str, str | bool | None]
    before: dict[str, str | bool | None] | None
    reason: str
    code: str
    seconds: float
    recovered: bool
    cause: Cause | None
    source: Source | None
    latency: float


class Events(Model):
    """A page of the audit. `looked` is how many events were looked through for it, if that was necessary, and `reached`
    the time that this got to: if there is a cursor, there may be more beyond, even if `items` is empty.
    """

    items: list[Event]
    cursor: str
    looked: int
    reached: datetime | None


def usage(call: Call, query: Span, connection_id: str) -> Response:
    """Count the events of the last days."""
    connection = existing(call, connection_id)
    last = call.parts.services.clock().date()
    first = last - timedelta(days=query.days - 1)
    days = call.parts.reports.usage(connection.id, first, last)
    totals = {name.value: sum(day.counts.get(name, 0) for day in days) for name in USAGE}
    counts = [{name.value: day.counts[name] for name in USAGE if name in day.counts} for day in days]
    shown = [Day(day=day.day, counts=of, teams=dict(day.teams)) for day, of in zip(days, counts, strict=True)]
    teams = {each: sum(day.teams.get(each, 0) for day in days) for each in TeamUsage}
    return answer(Usage(first=first, last=last, totals=totals, teams=teams, days=shown))


def list_failures(call: Call, query: WantsFailures, connection_id: str) -> Response:
    """List the users who are failing."""
    page = call.parts.reports.failures(existing(call, connection_id).id, query.cursor, query.limit, query.code)
    return answer(Failures(items=[_failure(found) for found in page.items], cursor=page.cursor))


def list_causes(call: Call, connection_id: str) -> Response:
    """Count the users who are failing by cause."""
    found = call.parts.reports.causes(existing(call, connection_id).id)
    shown = [
        FailureCause(
            code=each.code, cause=FAILURES.get(each.code, each.code), mend=MENDS.get(each.code, ""), users=each.users
        )
        for each in found
    ]
    return answer(FailureCauses(items=shown))


def retry_failures(call: Call, body: Retry, connection_id: str) -> Response:
    """Try users again before their time."""
    number = retry(call.parts.services, call.parts.reports, connection_id, call.actor, users=body.users, code=body.code)
    return answer(Accepted(detail=f"Another attempt was requested for {counted(number, 'user')}."), 202)


def export_failures(call: Call, connection_id: str) -> Response:
    """Download the users who are failing."""
    header = ("user id", "e-mail", "attempted", "code", "reason", "attempts", "first", "next attempt")
    return export(f"failures-{connection_id}.csv", header, _failure_rows(call, existing(call, connection_id).id))


def list_events(call: Call, query: WantsPage, connection_id: str) -> Response:
    """Read a page of the audit."""
    audited(call.parts.services, connection_id)
    filters = _filters(call, connection_id, query)
    if query.after and query.cursor:
        raise BadInput("after", "it is another word for cursor", "Send one of them.")
    if query.order is EventOrder.OLDEST:
        settled = call.parts.services.clock() - SETTLED
        filters = replace(filters, until=min(filters.until or settled, settled))
    page = call.parts.reports.events(
        connection_id, filters, query.after or query.cursor, query.limit, order=query.order
    )
    items = [shown_event(found) for found in page.items]
    return answer(Events(items=items, cursor=page.cursor, looked=page.looked, reached=page.reached))


def export_events(call: Call, query: Wants, connection_id: str) -> Response:
    """Download the audit."""
    header = (
        "time",
        "event",
        "actor",
        "user id",
        "e-mail",
        "attempted",
        "after",
        "before",
        "reason",
        "code",
        "seconds",
        "actor id",
        "reported by Google",
        "source",
        "latency",
    )
    audited(call.parts.services, connection_id)
    rows = _event_rows(call, connection_id, _filters(call, connection_id, query))
    return export(f"events-{connection_id}.csv", header, rows)


def _filters(call: Call, connection_id: str, query: Wants) -> Filters:
    names = [name.strip() for name in query.names.split(",") if name.strip()]
    if unknown := [name for name in names if name not in set(EventName)]:
        raise BadInput("names", f"{len(unknown)} of them are no events", "Use names as `name` has them, with commas.")
    return Filters(
        names=[*map(EventName, names), *([query.name] if query.name is not None else [])],
        outcome=query.outcome,
        user=query.user.strip(),
        actor=query.actor.strip(),
        since=_in_utc("since", query.since),
        until=_in_utc("until", query.until),
        person=query.person.strip(),
        people=_called(call, connection_id, query.person),
        by=query.by.strip(),
        text=query.text.strip(),
        team=query.team.strip(),
    )


def _called(call: Call, connection_id: str, person: str) -> frozenset[str]:
    """Return the ids of those whose name or address has every word: events have no names."""
    services = call.parts.services
    connection = services.connections.get(connection_id) if person.strip() else None
    if connection is None:
        return frozenset()
    lines = services.people.read(connection, services.clock()).lines
    return frozenset(line.user_id for line in called(lines, person))


def _in_utc(field: str, at: datetime | None) -> datetime | None:
    """Return the time in UTC; raises BadInput for one at an end of the calendar, out of range in UTC."""
    try:
        return at.astimezone(UTC) if at is not None else None
    except OverflowError:
        raise BadInput(field, "it is out of range", "Use a time between the years 1 and 9999.") from None


def _failure(found: reports.Failing) -> Failure:
    return Failure(
        user_id=found.user_id,
        email=found.email,
        code=found.code,
        reason=found.reason,
        attempted=found.attempted,
        attempts=found.attempts,
        first=found.first,
        next_attempt=found.next_attempt,
    )


def shown_event(found: domain.Event) -> Event:
    """Return one line of the audit."""
    return Event(
        id=found.id,
        at=found.at,
        name=found.name,
        sentence=_sentence(found),
        actor=found.actor,
        actor_id=found.actor_id,
        user_id=found.user_id,
        email=found.email,
        attempted=found.attempted,
        changed=dict(found.changed),
        before=None if found.before is None else dict(found.before),
        reason=found.reason,
        code=found.code,
        seconds=found.seconds,
        recovered=found.recovered,
        cause=_cause(found.cause) if found.cause is not None else None,
        source=found.source,
        latency=found.latency,
    )


def _sentence(found: domain.Event) -> str:
    said = sentence(found)
    return f"{said.who} {said.did}" + (f": {said.more}" if said.more else "")


def _cause(found: causes.Cause) -> Cause:
    return Cause(at=found.at, event=found.event, actor=found.actor, group=found.group, words=reported(found))


def _failure_rows(call: Call, connection_id: str) -> Iterator[tuple[object, ...]]:
    for found in call.parts.reports.every_failure(connection_id):
        times = found.first.isoformat(), found.next_attempt.isoformat()
        yield (found.user_id, found.email, found.attempted, found.code, found.reason, found.attempts, *times)


def _event_rows(call: Call, connection_id: str, filters: Filters) -> Iterator[tuple[object, ...]]:
    for found in call.parts.reports.every_event(connection_id, filters):
        whom = found.actor, found.user_id, found.email, found.attempted and found.attempted.value
        values = _values(found.changed), _values(found.before)
        ending = found.reason, found.code, found.seconds, found.actor_id
        cause = reported(found.cause) if found.cause is not None else ""
        origin = cause, found.source and found.source.value, found.latency or ""
        yield (found.at.isoformat(), found.name.value, *whom, *values, *ending, *origin)


def _values(values: Mapping[str, Any] | None) -> str:
    return json.dumps(dict(values), ensure_ascii=False, sort_keys=True) if values else ""


_ONE = "/connections/<id:connection_id>"
OPERATIONS = (
    Operation(
        name="usage",
        method="GET",
        path=f"{_ONE}/usage",
        what="Count the events of the last days",
        act=usage,
        answers={200: Answers(what="Events by name", model=Usage)},
        query=Span,
    ),
    Operation(
        name="listFailures",
        method="GET",
        path=f"{_ONE}/failures",
        what="List the users who are failing",
        act=list_failures,
        answers={200: Answers(what="A page of them", model=Failures)},
        query=WantsFailures,
    ),
    Operation(
        name="listFailureCauses",
        method="GET",
        path=f"{_ONE}/failure-causes",
        what="Count the users who are failing by cause",
        act=list_causes,
        answers={200: Answers(what="The causes, with how to fix each", model=FailureCauses)},
    ),
    Operation(
        name="retryFailures",
        method="POST",
        path=f"{_ONE}/failures",
        what="Try users who are failing again before their time",
        act=retry_failures,
        answers={202: Answers(what="Another attempt was requested", model=Accepted)},
        body=Retry,
        refusals=(409,),
    ),
    Operation(
        name="exportFailures",
        method="GET",
        path=f"{_ONE}/failures.csv",
        what="Download the users who are failing",
        act=export_failures,
        answers=download("All of them"),
    ),
    Operation(
        name="listEvents",
        method="GET",
        path=f"{_ONE}/events",
        what="Read the audit",
        act=list_events,
        answers={200: Answers(what="A page of it, newest first unless the order is asc", model=Events)},
        query=WantsPage,
    ),
    Operation(
        name="exportEvents",
        method="GET",
        path=f"{_ONE}/events.csv",
        what="Download the audit",
        act=export_events,
        answers=download("All of it, newest first"),
        query=Wants,
    ),
)
