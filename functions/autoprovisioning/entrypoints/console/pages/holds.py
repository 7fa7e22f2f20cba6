"""Held plans: what tripped, who is affected, and the decision about exactly that set."""

from __future__ import annotations

from flask import Response

from autoprovisioning.app.holding import decide_hold, with_addresses
from autoprovisioning.domain.errors import BadInput, NotFound
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.entrypoints.answers import told
from autoprovisioning.entrypoints.console.pages.frame import existing, form, get, go, post, show_of
from autoprovisioning.entrypoints.console.routing import Call

MEMBERS = 25  # a page: each one's address is in a shard to be read
ONE = "/connections/<id:connection_id>/holds"
ACTIONS = {"suspend": "Suspend", "delete": "Delete", "recreate": "Create again"}


def holds(call: Call, connection_id: str) -> Response:
    """List the plans that wait, are approved or were rejected."""
    connection = existing(call, connection_id)
    known = call.parts.services.records.holds(connection.id)
    return show_of(call, connection, "holds.html", crumbs=[(call.request.path, "Held plans")], holds=known)


def hold(call: Call, connection_id: str, digest: str) -> Response:
    """Show one plan, with a page of those concerned."""
    return _shown(call, connection_id, digest)


def decide(call: Call, connection_id: str, digest: str) -> Response:
    """Approve or reject a plan by its digest; the next run follows it at once."""
    decision = form(call).get("do", "")
    if form(call).get("confirmed") != "yes" or decision not in ("approve", "reject"):
        error = BadInput("confirmed", "you have not confirmed it", "Tick the box, then approve or reject.")
        told(error)
        return _shown(call, connection_id, digest, error)
    connection = existing(call, connection_id)
    decide_hold(call.parts.services, connection.id, digest, approve=decision == "approve", actor=call.actor)
    if decision == "approve":
        call.parts.services.queue.request_run(RunKind.FULL)
    return go(f"/connections/{connection_id}/holds", "approved" if decision == "approve" else "rejected")


def _shown(call: Call, connection_id: str, digest: str, error: BadInput | None = None) -> Response:
    connection = existing(call, connection_id)
    found = call.parts.services.records.hold(connection.id, digest)
    if found is None:
        raise NotFound("No held plan has this digest. Reload the held plans and use one shown there.")
    pages = max(1, -(-len(found.members) // MEMBERS))
    number = min(_page_number(call.request.args.get("page", "1")), pages)
    shown = found.members[(number - 1) * MEMBERS : number * MEMBERS]
    home = f"/connections/{connection.id}/holds"
    return show_of(
        call,
        connection,
        "hold.html",
        400 if error is not None else 200,
        crumbs=[(home, "Held plans"), (call.request.path, digest[:8])],
        hold=found,
        waiting=found.state.value == "waiting",
        actions=ACTIONS,
        members=with_addresses(call.parts.services, connection, shown),
        number=number,
        pages=pages,
        error=error,
    )


def _page_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 and int(text) > 0 else 1


ROUTES = (
    get(ONE, holds),
    get(f"{ONE}/<id:digest>", hold),
    post(f"{ONE}/<id:digest>", decide),
)
