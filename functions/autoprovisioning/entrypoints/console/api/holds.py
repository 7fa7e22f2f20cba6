"""Held plans in the API: which limit was exceeded, who is affected, what is decided about each, and decisions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from flask import Response
from msgspec import UNSET, Meta, UnsetType

from autoprovisioning.app.administration.held_plans import FOLLOWS, decide_hold, existing_hold, review_of
from autoprovisioning.app.ports.reports import HeldPlan
from autoprovisioning.domain import approval, guard, holds
from autoprovisioning.domain.holds import HoldState, Standing
from autoprovisioning.domain.people import Line, Person
from autoprovisioning.domain.texts import LONGEST_SEARCH
from autoprovisioning.domain.words import would
from autoprovisioning.entrypoints.console.api.models import LIMIT, Model, Paging
from autoprovisioning.entrypoints.console.api.operations import Answers, Operation, answer, download
from autoprovisioning.entrypoints.console.export import export
from autoprovisioning.entrypoints.console.routing import Call, existing


class Hold(Model):
    """A held plan: `counts` are the users by action, `standings` by what became of each; `digest` names it.

    `title` says what all of it would do.
    """

    digest: str
    title: str
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

    Name, address and organizational unit are those of the list of people, empty if it has none; `administrator` is of
    Workspace, null if not known: no full run has listed them. `since` is null if no trigger began.
    """

    user_id: str
    email: str
    name: str
    org_unit: str
    administrator: bool | None
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


class Wanted(Model):
    """Which users of the plan are wanted: those who have everything that is given.

    `search`: words of name and address, or the id. `cause`: a trigger; of plans that take nothing away, the action.
    `unit` as units are counted on the page: of many units those above them are. `administrators` of Workspace: those
    who are (`yes`), or of whom that is not known (`unknown`).
    """

    search: Annotated[str, Meta(max_length=LONGEST_SEARCH)] = ""
    cause: Annotated[str, Meta(max_length=40)] = ""
    unit: Annotated[str, Meta(max_length=2000)] = ""
    standing: Standing | None = None
    administrators: Literal["", "yes", "unknown"] = ""

    def wanted(self) -> approval.Selection:
        """Return it as the review of a plan takes it."""
        return approval.Selection(
            search=self.search,
            cause=self.cause,
            unit=self.unit,
            standing=self.standing,
            administrators=self.administrators,
        )


class WantedPage(Wanted):
    """Which users of the plan are wanted, and which part of the list."""

    cursor: Annotated[str, Meta(max_length=500)] = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = LIMIT


class Decision(Model):
    """Approve, reject, or withdraw a decision: for everything that waits, the `users` named, or those of one `cause`.

    Withdrawing without either withdraws every decision that is not carried out yet. A decision about named users
    replaces any earlier one: that is how to reverse a rejection. With `number` it is refused (412) unless it is about
    exactly so many.
    """

    decision: Literal["approve", "reject", "withdraw"]
    users: tuple[str, ...] | UnsetType = UNSET
    cause: str = ""
    number: Annotated[int, Meta(ge=0)] | None = None


def list_holds(call: Call, query: Paging, connection_id: str) -> Response:
    """List them."""
    page = call.parts.reports.holds(existing(call, connection_id).id, query.cursor, query.limit)
    items = [Hold(**_told(held, held.counts, held.standings)) for held in page.items]
    return answer(Holds(items=items, cursor=page.cursor))


def read_hold(call: Call, query: WantedPage, connection_id: str, digest: str) -> Response:
    """Read one."""
    services, connection = call.parts.services, existing(call, connection_id)
    hold, paging = existing_hold(services, connection.id, digest), Paging(cursor=query.cursor, limit=query.limit)
    if query.wanted().everybody:  # in the order of the plan, of which only the page is read
        by_id = services.people.read(connection, services.clock()).lines.by_id
        part, following = paging.part(hold.each(), len(hold.members))
        items = [_member(each, verdict, _person(by_id.get(each.resource))) for each, verdict in part]
    else:
        found = review_of(services, connection, hold).found(query.wanted())
        shown, following = paging.part(found, len(found))
        items = [_member(each.member, each.verdict, each.person) for each in shown]
    return answer(HoldMembers(**_told(hold, hold.counts(), hold.standings()), items=items, cursor=following))


def _person(line: Line | None) -> Person | None:
    return line.person if line is not None else None


def _member(member: guard.Member, verdict: holds.Verdict, person: Person | None) -> Member:
    return Member(
        user_id=member.resource,
        email=person.email if person is not None else "",
        name=person.name if person is not None else "",
        org_unit=person.unit if person is not None else "",
        administrator=person.administrator if person is not None else None,
        action=member.action,
        cause=member.cause,
        since=member.since,
        standing=verdict.standing,
        decided_by=verdict.by,
        decided_at=verdict.at,
    )


def export_hold(call: Call, query: Wanted, connection_id: str, digest: str) -> Response:
    """Download those whom one affects."""
    services, connection = call.parts.services, existing(call, connection_id)
    found = review_of(services, connection, existing_hold(services, connection.id, digest)).found(query.wanted())
    rows = (_row(_member(each.member, each.verdict, each.person)) for each in found)
    return export(f"held-plan-{digest[:8]}.csv", HEADER, rows)


HEADER = (
    "name",
    "e-mail",
    "organizational unit",
    "administrator",
    "action",
    "cause",
    "since",
    "standing",
    "decided by",
    "decided at",
    "user id",
)


def _row(each: Member) -> Iterator[object]:
    administrator = {True: "yes", False: "", None: "not known"}[each.administrator]
    yield from (each.name, each.email, each.org_unit, administrator, each.action, each.cause)
    yield each.since.isoformat() if each.since is not None else ""
    yield from (each.standing.value, each.decided_by)
    yield each.decided_at.isoformat() if each.decided_at is not None else ""
    yield each.user_id


def decide(call: Call, body: Decision, connection_id: str, digest: str) -> Response:
    """Decide about one."""
    services, connection = call.parts.services, existing(call, connection_id)
    users = None if isinstance(body.users, UnsetType) else body.users
    hold = decide_hold(
        services,
        connection.id,
        digest,
        body.decision,
        call.actor,
        users=users,
        cause=body.cause,
        number=body.number,
    )
    return answer(Hold(**_told(hold, hold.counts(), hold.standings())))


def _told(hold: holds.Hold | HeldPlan, counts: Mapping[str, int], standings: Mapping[str, int]) -> dict[str, Any]:
    return {
        "digest": hold.digest,
        "title": would(counts),
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
        query=WantedPage,
    ),
    Operation(
        name="exportHold",
        method="GET",
        path=f"{_HOLDS}/<id:digest>/users.csv",
        what="Download the users whom a held plan affects",
        act=export_hold,
        answers=download("All of them"),
        query=Wanted,
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
