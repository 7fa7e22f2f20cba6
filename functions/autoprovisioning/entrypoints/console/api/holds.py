"""Held plans in the API: what tripped, who is affected, approve or reject."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from flask import Response

from autoprovisioning.app.holding import decide_hold, with_addresses
from autoprovisioning.app.reports import HeldPlan
from autoprovisioning.domain import guard
from autoprovisioning.domain.errors import BadInput, NotFound
from autoprovisioning.domain.guard import HoldState
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.entrypoints.console.api.connections import existing
from autoprovisioning.entrypoints.console.api.models import Model, Paging
from autoprovisioning.entrypoints.console.api.operations import Answers, Operation, answer
from autoprovisioning.entrypoints.console.routing import Call


class Hold(Model):
    """A held plan: `counts` are the users by action, `digest` names exactly this set of them."""

    digest: str
    state: HoldState
    raised_at: datetime
    reason: str
    counts: dict[str, int]
    decided_by: str
    decided_at: datetime | None


class Holds(Model):
    """A page of the plans that wait, are approved or were rejected, newest first."""

    items: list[Hold]
    cursor: str


class Member(Model):
    """A user of a held plan, and what it would do to them; the address is empty where the roster has none."""

    user_id: str
    email: str
    action: str


class HoldMembers(Hold):
    """A held plan with a page of its users."""

    items: list[Member]
    cursor: str


class Decision(Model):
    """Approve or reject."""

    decision: Literal["approve", "reject"]


def list_holds(call: Call, query: Paging, connection_id: str) -> Response:
    """List them."""
    page = call.parts.reports.holds(existing(call, connection_id).id, query.cursor, query.limit)
    return answer(Holds(items=[Hold(**_told(held, held.counts)) for held in page.items], cursor=page.cursor))


def read_hold(call: Call, query: Paging, connection_id: str, digest: str) -> Response:
    """Read one."""
    services, connection = call.parts.services, existing(call, connection_id)
    hold = services.records.hold(connection.id, digest)
    if hold is None:
        raise NotFound(f"No held plan has the digest {digest!r}. Reload the held plans and use one shown there.")
    if query.cursor and not (query.cursor.isascii() and query.cursor.isdecimal()):
        raise BadInput("cursor", "it is none of ours", "Use the cursor of the page before, or none.")
    first = int(query.cursor or 0)
    page = hold.members[first : first + query.limit]
    following = str(first + query.limit) if first + query.limit < len(hold.members) else ""
    named = with_addresses(services, connection, page)
    members = [Member(user_id=user_id, email=email, action=action) for (user_id, action), email in named]
    return answer(HoldMembers(**_told(hold, hold.counts()), items=members, cursor=following))


def decide(call: Call, body: Decision, connection_id: str, digest: str) -> Response:
    """Approve or reject one, and run."""
    services, connection = call.parts.services, existing(call, connection_id)
    approve = body.decision == "approve"
    hold = decide_hold(services, connection.id, digest, approve=approve, actor=call.actor)
    services.queue.request_run(RunKind.FULL)
    return answer(Hold(**_told(hold, hold.counts())))


def _told(hold: guard.Hold | HeldPlan, counts: Mapping[str, int]) -> dict[str, Any]:
    return {
        "digest": hold.digest,
        "state": hold.state,
        "raised_at": hold.raised_at,
        "reason": hold.reason,
        "counts": dict(counts),
        "decided_by": hold.decided_by,
        "decided_at": hold.decided_at,
    }


_HOLDS = "/connections/<id:connection_id>/holds"
OPERATIONS = (
    Operation(
        "listHolds",
        "GET",
        _HOLDS,
        "List the held plans",
        list_holds,
        {200: Answers("A page of them, newest first", Holds)},
        query=Paging,
    ),
    Operation(
        "readHold",
        "GET",
        f"{_HOLDS}/<id:digest>",
        "Read a held plan with a page of the users it affects",
        read_hold,
        {200: Answers("The held plan", HoldMembers)},
        query=Paging,
    ),
    Operation(
        "decideHold",
        "POST",
        f"{_HOLDS}/<id:digest>",
        "Approve or reject a held plan; a run follows",
        decide,
        {200: Answers("The plan as decided", Hold)},
        body=Decision,
        refusals=(412,),
    ),
)
