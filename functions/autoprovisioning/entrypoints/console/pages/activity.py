"""What happened: usage of the last 30 days, failures, and the audit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from flask import Response

from autoprovisioning.app.administration.find_connection import audited
from autoprovisioning.app.administration.inquire import inquire
from autoprovisioning.app.administration.retry import ONE_BY_ONE, retry
from autoprovisioning.app.ports.reports import Page
from autoprovisioning.domain.accounts import Value
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.event_search import Filters, Outcome
from autoprovisioning.domain.events import USAGE, Event, EventName, TeamUsage
from autoprovisioning.domain.people import NOBODY, Line, in_order
from autoprovisioning.domain.requests import InquiryKind
from autoprovisioning.domain.review import called
from autoprovisioning.domain.sentences import plan_of, sentence
from autoprovisioning.domain.words import MENDS
from autoprovisioning.entrypoints.answers import status_of, told
from autoprovisioning.entrypoints.console.pages.apps import DAYS, LABELS
from autoprovisioning.entrypoints.console.pages.frame import form, get, go, indexed, post, show, show_of, sought
from autoprovisioning.entrypoints.console.routing import Call, existing

LINES = 50
FOUND = 5  # people whom a search may have meant
ONE = "/connections/<id:connection_id>"


def usage(call: Call, connection_id: str) -> Response:
    """Count the last 30 days, by day and by name."""
    connection = existing(call, connection_id)
    today = call.parts.services.clock().date()
    days = call.parts.reports.usage(connection.id, today - timedelta(days=DAYS - 1), today)
    totals = {name: sum(day.counts.get(name, 0) for day in days) for name in USAGE}
    return show_of(
        call,
        connection,
        "usage.html",
        crumbs=[(call.request.path, "Usage")],
        days=list(reversed(days)),
        columns=[(name, LABELS[name]) for name in USAGE],
        totals=totals,
        of_teams={each: sum(day.teams.get(each, 0) for day in days) for each in TeamUsage},
        scripts=("chart.js",),
    )


def failures(call: Call, connection_id: str) -> Response:
    """List the users who are failing by cause, and what to do."""
    return _failures(call, connection_id)


def _failures(call: Call, connection_id: str, error: BadInput | None = None) -> Response:
    connection, reports = existing(call, connection_id), call.parts.reports
    code = sought(call.request.args.get("code"))
    causes = reports.causes(connection.id)
    page = reports.failures(connection.id, call.request.args.get("cursor", ""), LINES, code)
    return show_of(
        call,
        connection,
        "failures.html",
        status_of(error) if error is not None else 200,
        crumbs=[(f"/connections/{connection.id}/failures", "Failures")],
        failing=sum(cause.users for cause in causes),
        causes=causes,
        code=code,
        page=page,
        mends=MENDS,
        can_retry=connection.state is State.ON,
        older=urlencode({**({"code": code} if code else {}), "cursor": page.cursor}) if page.cursor else "",
        error=error,
    )


def retry_failures(call: Call, connection_id: str) -> Response:
    """Try users again now: one, whose attempt is then shown, those selected, those of one cause, or all."""
    sent, services = form(call), call.parts.services
    word, _, meant = sent.get("do", "").partition(":")
    home = f"/connections/{connection_id}"
    try:
        if word == "one":
            asked = inquire(
                services, connection_id, meant, kind=InquiryKind.PROVISION, actor=call.actor, role=call.role
            )
            return go(f"{home}/users/{meant}/inquiries/{asked.id}")
        users = sent.getlist("user") if word == "chosen" else None
        code = meant if word == "cause" else ""
        if word not in ("chosen", "cause", "all") or (word == "cause" and not meant):
            raise BadInput("do", "it is not one of those offered", "Use the page's buttons.")
        number = retry(services, call.parts.reports, connection_id, call.actor, users=users, code=code)
    except BadInput as error:
        told(error)
        return _failures(call, connection_id, error)
    return go(f"{home}/failures", "retried" if number <= ONE_BY_ONE else "retried-run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One attribute of an event. `known` says whether the value before is known."""

    attribute: str
    before: Value
    after: Value
    known: bool


def changes(event: Event) -> Iterator[Change]:
    """Show what an event changed."""
    known = event.before is not None
    for attribute, after in event.changed.items():
        yield Change(attribute=attribute, before=(event.before or {}).get(attribute), after=after, known=known)


def audit(call: Call, connection_id: str) -> Response:
    """Show what happened, filtered."""
    connection = call.parts.services.connections.get(connection_id)
    asked = _asked(call)
    error: BadInput | None = None
    page: Page[Event] = Page()
    unindexed = False
    people = NOBODY
    if connection is not None:
        people = call.parts.services.people.read(connection, call.parts.services.clock()).lines
    matches = sorted(called(people, asked.fields["person"]), key=in_order)
    filters = Filters()
    try:
        filters = _filters(asked, matches)
        cursor = call.request.args.get("cursor", "")
        found = indexed(lambda: call.parts.reports.events(connection_id, filters, cursor, LINES))
        page, unindexed = found or page, found is None
    except BadInput as wrong:
        if wrong.field == "cursor":
            raise
        error = wrong
    values = {
        "error": error,
        "asked": asked,
        "names": list(EventName),
        "outcomes": {Outcome.DONE: "Succeeded", Outcome.FAILED: "Failed"},
        "page": page,
        "unindexed": unindexed,
        "sought": filters.sought,
        "people": people.names(event.user_id for event in page.items),
        "matches": [line.person for line in matches[:FOUND]],
        "changes": changes,
        "sentence": sentence,
        "plan_of": plan_of,
        "older": asked.query(cursor=page.cursor) if page.cursor else "",
        "exported": asked.exported(filters),
        "connection_id": connection_id,
    }
    status = 400 if error is not None else 200
    crumbs = [(call.request.path, "Activity")]
    if connection is not None:
        return show_of(call, connection, "audit.html", status, crumbs=crumbs, **values)
    name = audited(call.parts.services, connection_id)
    return show(call, "audit.html", status, crumbs=[(call.request.path, f"Activity of {name}")], **values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the filters say; `names` are those of events, of which several may be wanted."""

    fields: Mapping[str, str]
    names: Sequence[str]

    @property
    def anything(self) -> bool:
        """Say whether anything is filtered."""
        return bool(self.names or any(self.fields.values()))

    def query(self, **changes: str) -> str:
        """Return it as the query of an address, with something changed; what is not said is left out."""
        pairs = [("name", name) for name in self.names]
        return urlencode([*pairs, *((name, value) for name, value in {**self.fields, **changes}.items() if value)])

    def exported(self, filters: Filters) -> str:
        """Return the query of the same list in the API."""
        days = {name: at.isoformat() for name in ("since", "until") if (at := getattr(filters, name))}
        given = {name: value for name, value in self.fields.items() if value and name not in ("since", "until")}
        if (actor := given.get("actor")) and not filters.actor:
            given["by"] = given.pop("actor", actor)
        return urlencode({**({"names": ",".join(self.names)} if self.names else {}), **given, **days})


FIELDS = ("person", "user", "actor", "outcome", "text", "since", "until", "team")
EXACT = re.compile(r"(run|notification) \S+|[^@\s]+@[^@\s]+\.[^@\s]+")  # actors that an index answers


def _asked(call: Call) -> Asked:
    given = call.request.args
    return Asked(
        fields={name: sought(given.get(name)) for name in FIELDS},
        names=[name for name in dict.fromkeys(given.getlist("name")) if name],
    )


def _filters(asked: Asked, matches: Iterable[Line]) -> Filters:
    fields, actor = asked.fields, asked.fields["actor"]
    try:
        names = [EventName(name) for name in asked.names]
    except ValueError:
        raise BadInput("name", "there is no such event", "Choose from the list.") from None
    if fields["outcome"] not in ("", *Outcome):
        raise BadInput("outcome", "there is no such outcome", "Choose one from the list.")
    return Filters(
        names=names,
        outcome=Outcome(fields["outcome"]) if fields["outcome"] else None,
        user=fields["user"],
        actor=actor if EXACT.fullmatch(actor) else "",
        since=_day("since", fields["since"]),
        until=_day("until", fields["until"], timedelta(days=1)),  # the day that is named is included
        person=fields["person"],
        people=frozenset(line.user_id for line in matches),
        by="" if EXACT.fullmatch(actor) else actor,
        text=fields["text"],
        team=fields["team"],
    )


def _day(field: str, text: str, later: timedelta = timedelta()) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + later
    except (ValueError, OverflowError):
        raise BadInput(field, "it is not a day", "Write it as in 2026-11-24.") from None


ROUTES = (
    get(f"{ONE}/usage", usage),
    get(f"{ONE}/failures", failures),
    post(f"{ONE}/failures", retry_failures),
    get(f"{ONE}/audit", audit),
)
