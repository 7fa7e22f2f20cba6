"""Held plans in the API: which limit was exceeded, who is affected, what is decided about each, and decisions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from flask import Response
from msgspec import UNSET, UnsetType

from autoprovisioning.app.administration.held_plans import FOLLOWS, decide_hold, existing_hold, with_addresses
from autoprovisioning.app.ports.reports import HeldPlan
from autoprovisioning.domain import holds
from autoprovisioning.domain.holds import HoldState, Standing
from autoprovisioning.entrypoints.console.api.models import Model, Paging
from autoprovisioning.entrypoints.console.api.operations import Answers, Operation, answer
from autoprovisioning.entrypoints.console.routing import Call, existing


class Hold(Model):
    """A held plan: `counts` are the users by action, `standings` by what became of each; `digest` names it."""

    digest: str
    state: HoldState
    raised_at: datetime
    reason: str
    counts: dict[str, int]
    standings: dict[str, int]
    decided_by: str
    decided_at: datetime | None


class Holds(Model):
    """A page of the plans, newest first, without those that ended automatically, undecided."""

    items: list[Hold]
    cursor: str


class Member(Model):
    """A user of a held plan, what it would do to them, why (`cause`), since when, and what is decided about it.

    The address is empty if the roster has none, `since` null if no trigger began.
    """

    user_id: str
    email: str
    action: str
    cause: str
    since: datetime | None
    standing: Standing
    decided_by: str
    decided_at: datetime | None


class HoldMembers(Hold):
    """A held plan with a page of its users."""

    items: list[Member]
    cursor: str


class Decision(Model):
    """Approve, reject, or withdraw a decision: for everything that waits, the `users` named, or those of one `cause`.

    Withdrawing without either withdraws every decision that is not carried out yet. A decision about named users
    replaces any earlier one: that is how to reverse a rejection.
    """

    decision: Literal["approve", "reject", "withdraw"]
    users: tuple[str, ...] | UnsetType = UNSET
    cause: str = ""


def list_holds(call: Call, query: Paging, connection_id: str) -> Response:
    """List them."""
    page = call.parts.reports.holds(existing(call, connection_id).id, query.cursor, query.limit)
    items = [Hold(**_told(held, held.counts, held.standings)) for held in page.items]
    return answer(Holds(items=items, cursor=page.cursor))


def read_hold(call: Call, query: Paging, connection_id: str, digest: str) -> Response:
    """Read one."""
    services, connection = call.parts.services, existing(call, connection_id)
    hold = existing_hold(services, connection.id, digest)
    page, following = query.part(hold.each(), len(hold.members))
    emails = with_addresses(services, connection, [member for member, _ in page])
    members = [
        Member(
            user_id=member.resource,
            email=emails.get(member.resource, ""),
            action=member.action,
            cause=member.cause,
            since=member.since,
            standing=verdict.standing,
            decided_by=verdict.by,
            decided_at=verdict.at,
        )
        for member, verdict in page
    ]
    return answer(HoldMembers(**_told(hold, hold.counts(), hold.standings()), items=members, cursor=following))


def decide(call: Call, body: Decision, connection_id: str, digest: str) -> Response:
    """Decide about one."""
    services, connection = call.parts.services, existing(call, connection_id)
    users = None if isinstance(body.users, UnsetType) else body.users
    hold = decide_hold(services, connection.id, digest, body.decision, call.actor, users=users, cause=body.cause)
    return answer(Hold(**_told(hold, hold.counts(), hold.standings())))


def _told(hold: holds.Hold | HeldPlan, counts: Mapping[str, int], standings: Mapping[str, int]) -> dict[str, Any]:
    return {
        "digest": hold.digest,
        "state": hold.state,
        "raised_at": hold.raised_at,
        "reason": hold.reason,
        "counts": dict(counts),
        "standings": dict(standings),
        "decided_by": hold.decided_by,
        "decided_at": hold.decided_at,
    }


_HOLDS = "/connections/<id:connection_id>/holds"
OPERATIONS = (
    Operation(
        name="listHolds",
        method="GET",
        path=_HOLDS,
        what="List the held plans",
        act=list_holds,
        answers={200: Answers(what="A page of them, newest first", model=Holds)},
        query=Paging,
    ),
    Operation(
        name="readHold",
        method="GET",
        path=f"{_HOLDS}/<id:digest>",
        what="Read a held plan with a page of the users it affects",
        act=read_hold,
        answers={200: Answers(what="The held plan", model=HoldMembers)},
        query=Paging,
    ),
    Operation(
        name="decideHold",
        method="POST",
        path=f"{_HOLDS}/<id:digest>",
        what=f"Decide about a held plan, or some of its users; once approved, {FOLLOWS}",
        act=decide,
        answers={200: Answers(what="The plan as decided", model=Hold)},
        body=Decision,
        refusals=(412,),
    ),
)
