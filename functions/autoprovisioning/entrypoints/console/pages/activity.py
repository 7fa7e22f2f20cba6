"""What happened: usage of the last 30 days, failures, and the audit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from flask import Response

from autoprovisioning.app.administration.find_connection import audited
from autoprovisioning.app.ports.reports import Filters, Page
from autoprovisioning.domain.accounts import Value
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.events import USAGE, Event, EventName
from autoprovisioning.entrypoints.console.pages.apps import DAYS, LABELS
from autoprovisioning.entrypoints.console.pages.frame import get, show, show_of, sought
from autoprovisioning.entrypoints.console.routing import Call, existing

LINES = 50
ONE = "/connections/<id:connection_id>"
MENDS = {  # what to do about a failure, by its code
    "permanent": "Look at the reason given, and at the user's account in Keeper.",
    "mapping": "Fill the field in the directory, or change the attribute mapping.",
    "rejected": "Correct the value that Keeper refuses in the directory.",
    "address_taken": "Free the address in Keeper, or change the user's address.",
    "not_adoptable": "Remove the other account in Keeper, or correct the address in the directory.",
    "adoption_in_doubt": "Confirm the adoption in a preview, or remove the account in Keeper.",
    "keeper_failed": "Nothing at first: it is retried automatically. If this persists, ask Keeper's support.",
    "directory_failed": "Nothing at first: the directory is asked again. If this persists, look at the user there.",
    "incomplete_listing": "Nothing at first: it is retried automatically. If this persists, ask Google's support.",
    "unresolved": "Nothing at first: Keeper is asked about the outcome. If this persists, ask Keeper's support.",
    "unforeseen": "See the log: it says what happened. It is retried automatically.",
    "not_offered": "Ask Keeper's support: the server says that it cannot do this.",
    "contradicted": "Look at the account in Keeper: it does not show what was written.",
    "seats_exhausted": "Buy seats in Keeper, or free some.",
    "account_gone": "Nothing: the account is looked up, or created again.",
    "configuration": "Check the endpoint URL, and what the access token may do.",
    "authorization_refused": "Check what the access token may do, or reauthorize.",
}


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
    """List the users who are failing, and what to do."""
    connection = existing(call, connection_id)
    page = call.parts.reports.failures(connection.id, call.request.args.get("cursor", ""), LINES)
    crumbs = [(call.request.path, "Failures")]
    return show_of(call, connection, "failures.html", crumbs=crumbs, page=page, mends=MENDS)


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
    get(f"{ONE}/audit", audit),
)
