"""Accounts that nobody provisions: whose they are, and taking them over to deprovision them."""

from __future__ import annotations

from flask import Response

from autoprovisioning.app.administration.ignore_accounts import LONGEST_NOTE, ignore, ignore_no_more
from autoprovisioning.app.administration.take_over import take_over
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.unprovisioned import Offer
from autoprovisioning.entrypoints.answers import told
from autoprovisioning.entrypoints.console.pages.frame import form, get, go, part_of, post, show_of
from autoprovisioning.entrypoints.console.routing import Call, existing

ROWS = 100
ONE = "/connections/<id:connection_id>/unprovisioned"


def show_unprovisioned(call: Call, connection_id: str) -> Response:
    """List them."""
    return _shown(call, connection_id)


def take(call: Call, connection_id: str) -> Response:
    """Take over selected accounts, or all that are offered together; ignore some, or one no more."""
    connection, sent = existing(call, connection_id), form(call)
    word, services = sent.get("do", ""), call.parts.services
    accounts = sent.getlist("account")
    try:
        if word == "ignore":
            ignore(services, connection.id, accounts, sent.get("note", ""), call.actor)
        elif word.startswith("again:"):
            ignore_no_more(services, connection.id, [word.removeprefix("again:")], call.actor)
        else:
            take_over(services, connection.id, None if word == "all" else accounts, call.actor)
    except BadInput as error:
        told(error)
        return _shown(call, connection_id, error)
    done = "ignored" if word == "ignore" else "not-ignored" if word.startswith("again:") else "taken-over"
    return go(f"/connections/{connection_id}/unprovisioned", done)


def _shown(call: Call, connection_id: str, error: BadInput | None = None) -> Response:
    connection = existing(call, connection_id)
    report = call.parts.services.unprovisioned.get(connection.id)
    ignored = call.parts.services.unprovisioned.ignored(connection.id)
    accounts = report.accounts if report is not None else ()
    rows = report.without(ignored) if report is not None else []
    part = part_of(call, rows, ROWS)
    return show_of(
        call,
        connection,
        "unprovisioned.html",
        400 if error is not None else 200,
        crumbs=[(f"/connections/{connection.id}/unprovisioned", "Accounts nobody provisions")],
        report=report,
        ignored=[(row, ignored[row.scim_id]) for row in accounts if row.scim_id in ignored],
        chosen=form(call).getlist("account"),
        note=form(call).get("note", ""),
        longest_note=LONGEST_NOTE,
        rows=part.rows,
        together=sum(row.offer is Offer.ALL for row in rows),
        number=part.number,
        pages=part.pages,
        error=error,
    )


ROUTES = (get(ONE, show_unprovisioned), post(ONE, take))
