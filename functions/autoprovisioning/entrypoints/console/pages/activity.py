"""What happened: usage of the last 30 days, failures, and the audit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from flask import Response

from autoprovisioning.app.administration.find_connection import audited
from autoprovisioning.app.administration.inquire import inquire
from autoprovisioning.app.administration.retry import ONE_BY_ONE, retry
from autoprovisioning.app.ports.reports import Filters, Page
from autoprovisioning.domain.accounts import Value
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.events import USAGE, Event, EventName
from autoprovisioning.domain.requests import InquiryKind
from autoprovisioning.domain.words import MENDS
from autoprovisioning.entrypoints.answers import status_of, told
from autoprovisioning.entrypoints.console.pages.apps import DAYS, LABELS
from autoprovisioning.entrypoints.console.pages.frame import form, get, go, post, show, show_of, sought
from autoprovisioning.entrypoints.console.routing import Call, existing

LINES = 50
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
    """Show the audit, filtered."""
    connection = call.parts.services.connections.get(connection_id)
    asked = {name: sought(call.request.args.get(name)) for name in ("name", "user", "actor", "since", "until")}
    error: BadInput | None = None
    filters = Filters()
    try:
        filters = _filters(asked)
    except BadInput as wrong:
        error = wrong
    cursor = call.request.args.get("cursor", "")
    page = call.parts.reports.events(connection_id, filters, cursor, LINES) if error is None else Page()
    kept = {name: value for name, value in asked.items() if value}
    exported = {**kept, **{name: at.isoformat() for name in ("since", "until") if (at := getattr(filters, name))}}
    values = {
        "error": error,
        "asked": asked,
        "names": list(EventName),
        "page": page,
        "changes": changes,
        "older": urlencode({**kept, "cursor": page.cursor}) if page.cursor else "",
        "exported": urlencode(exported),
        "connection_id": connection_id,
    }
    status = 400 if error is not None else 200
    crumbs = [(call.request.path, "Audit")]
    if connection is not None:
        return show_of(call, connection, "audit.html", status, crumbs=crumbs, **values)
    name = audited(call.parts.services, connection_id)
    return show(call, "audit.html", status, crumbs=[(call.request.path, f"Audit of {name}")], **values)


def _filters(asked: dict[str, str]) -> Filters:
    try:
        name = EventName(asked["name"]) if asked["name"] else None
    except ValueError:
        raise BadInput("name", "there is no such event", "Choose one from the list.") from None
    since = _day("since", asked["since"])
    until = _day("until", asked["until"], timedelta(days=1))  # the day that is named is included
    return Filters(name=name, user=asked["user"], actor=asked["actor"], since=since, until=until)


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
