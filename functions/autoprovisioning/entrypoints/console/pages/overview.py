"""A connection at a glance: whether it works, what needs somebody, what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from flask import Response

from autoprovisioning.app.administration import overview as app
from autoprovisioning.app.administration.health import health
from autoprovisioning.app.administration.people import review
from autoprovisioning.app.ports.reports import DayUsage
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.event_search import Filters
from autoprovisioning.domain.events import USAGE, EventName
from autoprovisioning.domain.review import Review, Shown
from autoprovisioning.domain.sentences import sentence
from autoprovisioning.entrypoints.answers import PRIVATE
from autoprovisioning.entrypoints.console.pages.apps import DAYS, LABELS, reauthorize_address
from autoprovisioning.entrypoints.console.pages.frame import get, show, show_of
from autoprovisioning.entrypoints.console.pages.people import CHIPS
from autoprovisioning.entrypoints.console.pages.summary import summary
from autoprovisioning.entrypoints.console.routing import Call, existing

LATEST = 8  # events
STATES = (Shown.ACTIVE, Shown.SUSPENDED, Shown.LOCKED, Shown.NONE)  # everybody is in one of them
BESIDE = (Shown.FAILING, Shown.WAITING, Shown.HELD, Shown.UNPROVISIONED)  # ... and may be in these too
WIDTH, THINNEST = 1000, 6  # of the bar, in units of its own
DAY_WIDTH, BAR_WIDTH, HEIGHT = 26, 18, 100  # of the chart
GROUPS: Mapping[str, tuple[EventName, ...]] = {  # the colours of the chart, from the ground up
    "given": (EventName.CREATED, EventName.ADOPTED, EventName.UNSUSPENDED),
    "updated": (EventName.UPDATED,),
    "taken": (EventName.SUSPENDED, EventName.DELETED),
    "failed": (EventName.FAILED,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of the bar of accounts, and of its legend."""

    shown: Shown
    text: str
    number: int
    start: int = 0
    width: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A part of a day in the chart."""

    group: str
    x: int
    y: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A day in the chart."""

    day: date
    total: int
    x: int
    bars: tuple[Bar, ...]


def overview(call: Call, connection_id: str) -> Response:
    """Show a connection at a glance."""
    connection, parts = existing(call, connection_id), call.parts
    seen = health(parts.services, parts.reports, parts.channels, connection)
    needs = app.needs(parts.services, parts.reports, connection, seen)
    today = parts.services.clock().date()
    usage = parts.reports.usage(connection.id, today - timedelta(days=DAYS - 1), today)
    return show_of(
        call,
        connection,
        "overview.html",
        held=seen.plans_held,
        failing=seen.failing,
        health=seen,
        verdict=app.verdict(connection, seen, needs),
        needs=needs,
        counters=[(name, group_of(name), LABELS[name], _total(usage, name)) for name in USAGE],
        chart=chart(usage),
        chart_width=DAY_WIDTH * DAYS,
        days=DAYS,
        reauthorize=reauthorize_address(call, connection),
        summary=summary(connection),
        edits=app.last_edits(parts.reports, connection),
        **_accounts(call, connection, first=seen.first_run),
        **_latest(call, connection),
    )


def latest(call: Call, connection_id: str) -> Response:
    """Return the last changes as a part of the page; nothing if the newest one is that which is shown."""
    connection = existing(call, connection_id)
    newest = call.parts.reports.events(connection.id, Filters(), "", 1).items
    if call.request.args.get("shown", "") == (newest[0].id if newest else ""):
        return Response(status=204, headers=PRIVATE)
    return show(call, "_latest.html", home=f"/connections/{connection.id}", **_latest(call, connection))


def _latest(call: Call, connection: Connection) -> dict[str, Any]:
    events = call.parts.reports.events(connection.id, Filters(), "", LATEST).items
    return {
        "latest": [(event.at, sentence(event)) for event in events],
        "newest": events[0].id if events else "",
        "follow_latest": connection.state is State.ON,
    }


def _accounts(call: Call, connection: Connection, *, first: bool) -> dict[str, Any]:
    """Count people by state; not during the first run, which writes all the roster: its progress tells of it."""
    reviewed = review(call.parts.services, connection) if connection.begun and not first else None
    if reviewed is None or not len(reviewed.roll.lines):
        return {"accounts": 0, "segments": (), "beside": (), "due": {}}
    counts = reviewed.counts()
    return {
        "accounts": len(reviewed.roll.lines) - counts[Shown.NONE],
        "segments": segments(reviewed, counts),
        "beside": [Segment(shown=shown, text=CHIPS[shown], number=counts[shown]) for shown in BESIDE if counts[shown]],
        "due": reviewed.due_within(app.SOON),
    }


def segments(reviewed: Review, counts: Mapping[Shown, int]) -> Sequence[Segment]:
    """Divide the bar by the states of accounts; a few people among many are seen, too."""
    numbers = {shown: counts[shown] for shown in STATES if counts[shown]}
    whole = len(reviewed.roll.lines)
    widths = {shown: max(THINNEST, WIDTH * number // whole) for shown, number in numbers.items()}
    widest = max(widths, key=lambda shown: widths[shown])
    widths[widest] += WIDTH - sum(widths.values())
    found, start = [], 0
    for shown, number in numbers.items():
        found.append(Segment(shown=shown, text=CHIPS[shown], number=number, start=start, width=widths[shown]))
        start += widths[shown]
    return found


def chart(usage: Sequence[DayUsage]) -> Sequence[Column]:
    """Stack each day's events, the tallest day as high as the chart."""
    totals = [sum(_counted(day, names) for names in GROUPS.values()) for day in usage]
    tallest = max(totals, default=0) or 1
    return [
        Column(day=day.day, total=total, x=DAY_WIDTH * number, bars=_bars(day, DAY_WIDTH * number, HEIGHT / tallest))
        for number, (day, total) in enumerate(zip(usage, totals, strict=True))
    ]


def _bars(day: DayUsage, x: int, scale: float) -> tuple[Bar, ...]:
    bars, top = [], float(HEIGHT)
    for group, names in GROUPS.items():
        height = round(_counted(day, names) * scale, 2)
        top = round(top - height, 2)
        if height:
            bars.append(Bar(group=group, x=x, y=top, height=height))
    return tuple(bars)


def group_of(name: EventName) -> str:
    """Name the colour of an event in the chart."""
    return next(group for group, names in GROUPS.items() if name in names)


def _counted(day: DayUsage, names: Sequence[EventName]) -> int:
    return sum(day.counts.get(name, 0) for name in names)


def _total(usage: Sequence[DayUsage], name: EventName) -> int:
    return sum(day.counts.get(name, 0) for day in usage)


ROUTES = (
    get("/connections/<id:connection_id>", overview),
    get("/connections/<id:connection_id>/latest", latest),
)
