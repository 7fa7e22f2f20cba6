"""Held plans: which limit was exceeded, who is affected, and the decision about all, some, or one cause of them."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from flask import Response
from werkzeug.datastructures import MultiDict

from autoprovisioning.app.administration.held_plans import FOLLOWS, Choice, decide_hold, existing_hold, with_addresses
from autoprovisioning.domain.errors import BadInput, Stale
from autoprovisioning.domain.holds import OPEN, Standing
from autoprovisioning.entrypoints.answers import status_of, told
from autoprovisioning.entrypoints.console.pages.frame import form, get, go, page_number, post, show_of
from autoprovisioning.entrypoints.console.routing import Call, existing

MEMBERS = 25  # a page: the address of each is read from the roster
PLANS = 50  # a page
ONE = "/connections/<id:connection_id>/holds"
CHOICES: dict[str, tuple[Choice, str]] = {
    "approve": ("approve", "approved"),
    "reject": ("reject", "rejected"),
    "withdraw": ("withdraw", "withdrawn"),
}


def holds(call: Call, connection_id: str) -> Response:
    """List the plans, newest first."""
    connection = existing(call, connection_id)
    page = call.parts.reports.holds(connection.id, call.request.args.get("cursor", ""), PLANS)
    crumbs = [(call.request.path, "Held plans")]
    return show_of(call, connection, "holds.html", crumbs=crumbs, page=page)


def hold(call: Call, connection_id: str, digest: str) -> Response:
    """Show one plan, with a page of the affected users."""
    return _shown(call, connection_id, digest)


def decide(call: Call, connection_id: str, digest: str) -> Response:
    """Decide about a plan, or about chosen users in it."""
    sent = form(call)
    try:
        choice = CHOICES.get(sent.get("do", ""))
        if sent.get("confirmed") != "yes" or choice is None:
            raise BadInput("confirmed", "you have not confirmed it", "Tick the box, then decide.")
        users, cause = _meant(sent)
        connection = existing(call, connection_id)
        decide_hold(call.parts.services, connection.id, digest, choice[0], call.actor, users=users, cause=cause)
    except (BadInput, Stale) as error:  # the page says who decided meanwhile, and what is left to decide
        told(error)
        return _shown(call, connection_id, digest, error)
    return go(f"/connections/{connection_id}/holds", choice[1])


def _meant(sent: MultiDict[str, str]) -> tuple[list[str] | None, str]:
    """Return the users and the cause that a decision is about; an unknown choice never means everybody."""
    about, users = sent.get("about"), sent.getlist("user")
    if about == "":
        return None, ""
    if about == "users" and users:
        return users, ""
    if about == "users":
        raise BadInput("about", "no user is selected", "Tick users in the table, or decide about all.")
    cause = (about or "").removeprefix("cause:")
    if not cause or cause == about:
        raise BadInput("about", "it is not one of the choices", "Choose whom the decision is about.")
    return None, cause


def _shown(call: Call, connection_id: str, digest: str, error: BadInput | Stale | None = None) -> Response:
    connection = existing(call, connection_id)
    found = existing_hold(call.parts.services, connection.id, digest)
    pages = max(1, -(-len(found.members) // MEMBERS))
    number = page_number(call, pages)
    shown = list(islice(found.each(), (number - 1) * MEMBERS, number * MEMBERS))
    waiting, numbers = found.those(*OPEN), found.standings()
    by_cause = Counter(member.cause for member in waiting)
    del by_cause[""]
    home = f"/connections/{connection.id}/holds"
    return show_of(
        call,
        connection,
        "hold.html",
        status_of(error) if error is not None else 200,
        crumbs=[(home, "Held plans"), (call.request.path, digest[:8])],
        hold=found,
        waiting=len(waiting),
        decided=sum(numbers.get(standing, 0) for standing in (Standing.APPROVED, Standing.REJECTED)),
        by_cause=by_cause,
        numbers=numbers,
        follows=FOLLOWS,
        members=shown,
        emails=with_addresses(call.parts.services, connection, [member for member, _ in shown]),
        number=number,
        pages=pages,
        error=error,
    )


ROUTES = (
    get(ONE, holds),
    get(f"{ONE}/<id:digest>", hold),
    post(f"{ONE}/<id:digest>", decide),
)
