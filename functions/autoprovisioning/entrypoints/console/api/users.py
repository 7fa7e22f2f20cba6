"""Why? in the API: everything that decides about one user, and inquiries that a worker answers within seconds."""

from __future__ import annotations

from datetime import datetime

from flask import Response

from autoprovisioning.app.administration import requests
from autoprovisioning.app.administration.explain import Explanation, explain
from autoprovisioning.app.administration.explain_teams import TeamTold
from autoprovisioning.app.administration.inquire import inquire
from autoprovisioning.domain import requests as domain
from autoprovisioning.domain.accounts import Account as AccountFound
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Action, Status, Trigger
from autoprovisioning.domain.holds import OPEN
from autoprovisioning.domain.holds import Standing as Decided
from autoprovisioning.domain.memberships import Membership
from autoprovisioning.domain.requests import INQUIRY, InquiryKind, RequestState
from autoprovisioning.domain.teams import TeamState
from autoprovisioning.entrypoints.console.api.activity import Event, shown_event
from autoprovisioning.entrypoints.console.api.connections import ScopeGroup
from autoprovisioning.entrypoints.console.api.models import Model
from autoprovisioning.entrypoints.console.api.operations import Answers, Operation, answer
from autoprovisioning.entrypoints.console.api.requests import accepted, polled, shown
from autoprovisioning.entrypoints.console.routing import Call, existing

HELD = OPEN | {Decided.REJECTED}
Values = dict[str, str | bool | None]


class InScope(Model):
    """Whether the user is in scope, and through which groups and unit; null means unknown."""

    in_scope: bool | None
    words: str
    groups: list[ScopeGroup]
    unit: str
    other_connection: str


class MappedValue(Model):
    """A row of the mapping for this user."""

    target: str
    source: str
    value: str | bool | None
    mandatory: bool
    problem: str


class Timer(Model):
    """A deprovisioning trigger: since when it was seen, and when it makes what due; null is never."""

    trigger: Trigger
    since: datetime
    suspend: datetime | None
    delete: datetime | None


class Failed(Model):
    """Why the last attempt failed, and when it is tried again."""

    code: str
    text: str
    attempts: int
    first: datetime
    next_attempt: datetime


class Entry(Model):
    """What the roster says about the account; `deleted`: suspended by a DELETE, which Keeper answers by locking."""

    status: Status
    deleted: bool
    email: str
    scim_id: str
    in_scope: bool
    waits: bool
    held: Action | None
    failure: Failed | None
    last_action_at: datetime | None
    changing: bool


class InTeam(Model):
    """How the user relates to a team; `group_id` names it.

    `member` says whether they are in its group, null if the directory does not tell; `through` are the nested groups
    that lead there, the user's own first. `membership` is null where nothing was sent to Keeper, or is to be. `words`
    say why.
    """

    group_id: str
    name: str
    state: TeamState
    team_id: str
    member: bool | None
    through: list[ScopeGroup]
    membership: Membership | None
    words: str


class Why(Model):
    """Everything that decides about one user: `action` is what would be done now, `words` why.

    `held` is what the held plans have decided about it, null if none contains it. `to_write` are the attributes in
    which the account, as last written, is not what the directory says. `teams` are those they were put into, and those
    whose group they are in; `teams_unread` says what the directory did not tell of groups.
    """

    at: datetime
    user_id: str
    email: str
    name: str
    presence: Presence
    org_unit: str
    standing: InScope
    mapped: list[MappedValue]
    entry: Entry | None
    timers: list[Timer]
    standing_still: str
    action: Action | None
    held: Decided | None
    words: str
    to_write: Values
    teams: list[InTeam]
    teams_unread: str
    events: list[Event]


class Question(Model):
    """explain: look into Keeper, change nothing. provision: provision the user now."""

    kind: InquiryKind


class Step(Model):
    """One thing that was done for the user."""

    at: datetime
    text: str
    failed: bool


class Account(Model):
    """The user's account in Keeper."""

    scim_id: str
    user_name: str
    external_id: str
    active: bool
    attributes: Values


class Inquiry(Model):
    """A question about one user: how far it is, and what was found."""

    id: str
    user_id: str
    kind: InquiryKind
    state: RequestState
    asked_by: str
    asked_at: datetime
    expires: datetime
    finished: datetime | None
    steps: list[Step]
    account: Account | None
    problem: str


def why(call: Call, connection_id: str, user_id: str) -> Response:
    """Explain one user, without asking Keeper."""
    connection = existing(call, connection_id)
    return answer(_why(explain(call.parts.services, call.parts.reports, connection, user_id)))


def ask(call: Call, body: Question, key: str, connection_id: str, user_id: str) -> Response:
    """Ask a worker about one user."""
    parts, connection = call.parts, existing(call, connection_id)
    inquiry = inquire(parts.services, connection.id, user_id, kind=body.kind, actor=call.actor, role=call.role, key=key)
    return accepted(_inquiry(inquiry), inquiry, "inquiries")


def read(call: Call, connection_id: str, inquiry_id: str) -> Response:
    """Report how far an inquiry is."""
    inquiry = requests.existing(call.parts.services, INQUIRY, existing(call, connection_id).id, inquiry_id)
    return polled(_inquiry(inquiry), under_way=inquiry.under_way)


def _why(found: Explanation) -> Why:
    standing = found.standing
    return Why(
        at=found.at,
        user_id=found.user_id,
        email=found.email,
        name=found.user.name,
        presence=found.user.presence,
        org_unit=found.user.org_unit_path,
        standing=InScope(
            in_scope=standing.in_scope,
            words=standing.words,
            groups=[ScopeGroup(id=group.id, email=group.email, name=group.name) for group in standing.groups],
            unit=standing.unit,
            other_connection=standing.owner.id if standing.owner is not None else "",
        ),
        mapped=[
            MappedValue(
                target=row.target, source=row.source, value=row.value, mandatory=row.mandatory, problem=row.problem
            )
            for row in found.mapped
        ],
        entry=_entry(found),
        timers=[
            Timer(trigger=timer.trigger, since=timer.since, suspend=timer.suspend, delete=timer.delete)
            for timer in found.timers
        ],
        standing_still=found.standing_still,
        action=found.action,
        held=found.held,
        words=found.words,
        to_write=dict(found.to_write),
        teams=[_in_team(row) for row in found.teams.teams],
        teams_unread=found.teams.unread,
        events=[shown_event(event) for event in found.events],
    )


def _in_team(row: TeamTold) -> InTeam:
    return InTeam(
        group_id=row.team.group_id,
        name=row.team.name,
        state=row.team.state,
        team_id=row.team.team_id,
        member=row.member,
        through=[ScopeGroup(id=group.id, email=group.email, name=group.name) for group in row.through],
        membership=row.membership,
        words=row.words,
    )


def _entry(found: Explanation) -> Entry | None:
    entry, now = found.entry, found.at
    if entry is None:
        return None
    failure = entry.failure
    return Entry(
        status=entry.status,
        deleted=entry.deleted,
        email=entry.email,
        scim_id=entry.scim_id,
        in_scope=entry.in_scope,
        waits=entry.pending,
        held=found.action if found.held in HELD else None,
        failure=None
        if failure is None
        else Failed(
            code=failure.code,
            text=failure.text,
            attempts=failure.attempts,
            first=failure.first,
            next_attempt=failure.next_attempt,
        ),
        last_action_at=entry.last_action_at,
        changing=entry.mark is not None and entry.mark.live(now),
    )


def _inquiry(inquiry: domain.Inquiry) -> Inquiry:
    found = inquiry.result
    return shown(
        Inquiry,
        inquiry,
        user_id=inquiry.subject.user_id,
        kind=inquiry.subject.kind,
        steps=[Step(at=step.at, text=step.text, failed=step.failed) for step in found.steps],
        account=_account(found.account),
    )


def _account(account: AccountFound | None) -> Account | None:
    if account is None:
        return None
    return Account(
        scim_id=account.scim_id,
        user_name=account.user_name,
        external_id=account.external_id,
        active=account.active,
        attributes=dict(account.attributes),
    )


_ONE = "/connections/<id:connection_id>"
OPERATIONS = (
    Operation(
        name="explainUser",
        method="GET",
        path=f"{_ONE}/users/<id:user_id>",
        what="Explain a user's state, and what would be done now",
        act=why,
        answers={200: Answers(what="Everything that the decision is based on", model=Why)},
    ),
    Operation(
        name="askAboutUser",
        method="POST",
        path=f"{_ONE}/users/<id:user_id>/inquiries",
        what="Look a user up in Keeper (every administrator may), or provision them now",
        act=ask,
        keyed=True,
        answers={202: Answers(what="A worker answers within seconds", model=Inquiry, headers=("Location",))},
        body=Question,
        looks=True,
    ),
    Operation(
        name="readInquiry",
        method="GET",
        path=f"{_ONE}/inquiries/<id:inquiry_id>",
        what="Report how far an inquiry is, and what was found",
        act=read,
        answers={200: Answers(what="The inquiry", model=Inquiry)},
    ),
)
