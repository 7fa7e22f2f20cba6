"""Approvals: what would happen, why and to whom, and the decision about all that a list shows, or those ticked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import urlencode

from flask import Response
from werkzeug.datastructures import MultiDict

from autoprovisioning.app.administration.held_plans import FOLLOWS, Choice, decide_hold, existing_hold, review_of
from autoprovisioning.domain.approval import ADMINISTRATORS, Selection, approving, keeping
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.errors import BadInput, Stale
from autoprovisioning.domain.holds import Standing
from autoprovisioning.entrypoints.answers import status_of, told
from autoprovisioning.entrypoints.console.pages.frame import form, get, go, part_of, post, query_of, show_of, sought
from autoprovisioning.entrypoints.console.routing import Call, existing

MEMBERS = 50  # a page
PLANS = 50  # a page
ONE = "/connections/<id:connection_id>/holds"
DONE: Mapping[Choice, str] = {"approve": "approved", "reject": "rejected", "withdraw": "withdrawn"}
CHOICES: Mapping[str, Choice] = {"approve": "approve", "reject": "reject", "withdraw": "withdraw"}
TICKED = "ticked"
RELOAD = "Reload the page, then use its buttons."


def holds(call: Call, connection_id: str) -> Response:
    """List the plans, newest first."""
    connection = existing(call, connection_id)
    page = call.parts.reports.holds(connection.id, call.request.args.get("cursor", ""), PLANS)
    crumbs = [(call.request.path, "Approvals")]
    return show_of(call, connection, "holds.html", crumbs=crumbs, page=page)


class Asked(NamedTuple):
    """Which of those affected are wanted, as an address of the page says."""

    wanted: Selection
    given: Mapping[str, str]

    def downloaded(self) -> str:
        """Return the query of the same list in the API."""
        return urlencode({"search" if name == "q" else name: value for name, value in self.given.items()})

    def query(self, **changes: object) -> str:
        """Return it as the query of an address, with something changed; the first page of it."""
        return query_of(self.given, **changes)


def _asked(fields: MultiDict[str, str]) -> Asked:
    """Read what is wanted; what is not known counts as not said."""
    standing, administrators = fields.get("standing", ""), fields.get("administrators", "")
    wanted = Selection(
        search=sought(fields.get("q")),
        cause=fields.get("cause", ""),
        unit=fields.get("unit", ""),
        standing=Standing(standing) if standing in set(Standing) else None,
        administrators=administrators if administrators in ADMINISTRATORS else "",
    )
    given = {
        "q": wanted.search,
        "cause": wanted.cause,
        "unit": wanted.unit,
        "standing": wanted.standing.value if wanted.standing is not None else "",
        "administrators": wanted.administrators,
    }
    return Asked(wanted, {name: value for name, value in given.items() if value})


def hold(call: Call, connection_id: str, digest: str) -> Response:
    """Show one plan, with a page of the affected users."""
    return _shown(call, existing(call, connection_id), digest, _asked(call.request.args))


def decide(call: Call, connection_id: str, digest: str) -> Response:
    """Decide about those of a plan whom a list shows, or about those ticked."""
    sent, connection = form(call), existing(call, connection_id)
    asked = _asked(sent)
    word, _, about = sent.get("do", "").partition(":")
    try:
        if word not in CHOICES:
            raise BadInput("do", "it is not one of the choices", RELOAD)
        choice = CHOICES[word]
        if about == TICKED:
            users = sent.getlist("user")
            if not users:
                raise BadInput("user", "nobody is ticked", "Tick people in the list, or decide about all it shows.")
            shown = _shown_at(sent.get("shown", ""))
            decide_hold(call.parts.services, connection.id, digest, choice, call.actor, users=users, shown=shown)
        else:
            _decide_as_shown(call, connection, digest, choice, wanted=asked.wanted, number=about)
    except (BadInput, Stale) as error:  # the page says who decided meanwhile, and what is left to decide
        told(error)
        return _shown(call, connection, digest, asked, error)
    return go(f"/connections/{connection.id}/holds/{digest}", DONE[choice])


def _shown_at(told: str) -> datetime:
    try:
        return datetime.fromisoformat(told).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadInput("shown", "it is no time", RELOAD) from None


def _decide_as_shown(
    call: Call, connection: Connection, digest: str, choice: Choice, *, wanted: Selection, number: str
) -> None:
    """Decide about those whom the list shows, if they are still as many as the button said."""
    if not (number.isascii() and number.isdigit() and len(number) < 9):
        raise BadInput("do", "it does not say how many", RELOAD)
    services, among = call.parts.services, wanted.withdrawing if choice == "withdraw" else wanted.deciding
    users: list[str] | None = None
    if not wanted.everybody:
        found = review_of(services, connection, existing_hold(services, connection.id, digest)).found(wanted)
        users = [each.member.resource for each in found if each.verdict.standing in among]
        if not users:
            raise BadInput("do", "it matches nobody in this plan", "Reload the page, then choose.")
    decide_hold(services, connection.id, digest, choice, call.actor, users=users, among=among, number=int(number))


def _shown(
    call: Call, connection: Connection, digest: str, asked: Asked, error: BadInput | Stale | None = None
) -> Response:
    shown = call.parts.services.clock()
    approval = review_of(call.parts.services, connection, existing_hold(call.parts.services, connection.id, digest))
    found = approval.found(asked.wanted)
    part = part_of(call, found, MEMBERS)
    among, back = asked.wanted.deciding, asked.wanted.withdrawing
    deciding = [each for each in found if each.verdict.standing in among]
    approved_until, asked_again = approval.ends()
    home = f"/connections/{connection.id}/holds"
    return show_of(
        call,
        connection,
        "hold.html",
        status_of(error) if error is not None else 200,
        crumbs=[(home, "Approvals"), (call.request.path, digest[:8])],
        approval=approval,
        hold=approval.hold,
        asked=asked,
        shown=shown,
        deciding=deciding,
        approving=approving(deciding),
        keeping=keeping(deciding),
        withdrawing=sum(1 for each in found if each.verdict.standing in back),
        approved_until=approved_until,
        asked_again=asked_again,
        follows=FOLLOWS,
        found=len(found),
        rows=part.rows,
        first=part.first,
        number=part.number,
        pages=part.pages,
        error=error,
    )


ROUTES = (
    get(ONE, holds),
    get(f"{ONE}/<id:digest>", hold),
    post(f"{ONE}/<id:digest>", decide),
)
