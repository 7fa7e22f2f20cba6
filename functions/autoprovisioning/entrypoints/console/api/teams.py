"""Teams in the API: what became of the groups that are to be teams."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from flask import Response
from msgspec import Meta

from autoprovisioning.app.administration.adopt_team import adopt_team
from autoprovisioning.app.administration.approve_removals import approve_removals
from autoprovisioning.domain import teams as domain
from autoprovisioning.domain.accounts import LONGEST_ID
from autoprovisioning.domain.teams import LONGEST_TEAM_NAME, Obstacle, TeamState
from autoprovisioning.entrypoints.console.api.models import Model, Paging
from autoprovisioning.entrypoints.console.api.operations import Answers, Operation, answer
from autoprovisioning.entrypoints.console.routing import Call, existing


class Namesake(Model):
    """The team that has the name of a group which has none; it can be adopted if `obstacle` is null."""

    team_id: str
    team_name: str
    external_id: str
    obstacle: Obstacle | None


class Team(Model):
    """A group that is, or was, to be a team: `team_id` is empty where it never had one.

    `team_name` is the team's in Keeper, `reason` why the last request failed, `since` when the state began, `created`
    when this connection made the team, null if it did not. `people` counts those whom this connection has put into it
    and not taken out, null if that is not known yet; `held` those of them who left the group and stay, since they are
    too many at once; `unread` says that the group's members could not be listed. `namesake` is the team that has the
    name, in the state `name_taken` of a group without a team.
    """

    group_id: str
    name: str
    email: str
    state: TeamState
    since: datetime
    team_id: str
    team_name: str
    reason: str
    created: datetime | None
    people: int | None
    held: int
    held_digest: str
    unread: bool
    namesake: Namesake | None


class Teams(Model):
    """A page of them, by name."""

    total: int
    items: list[Team]
    cursor: str


def list_teams(call: Call, query: Paging, connection_id: str) -> Response:
    """List them."""
    known = call.parts.services.teams.get(existing(call, connection_id).id)
    rows = sorted(known.values(), key=lambda team: (team.name, team.group_id))
    page, following = query.part(rows, len(rows))
    items = [
        Team(
            group_id=row.group_id,
            name=row.name,
            email=row.email,
            state=row.state,
            since=row.since,
            team_id=row.team_id,
            team_name=row.team_name,
            reason=row.reason,
            created=row.created,
            people=row.people,
            held=row.held,
            held_digest=row.held_digest,
            unread=row.unread,
            namesake=_namesake(row.namesake),
        )
        for row in page
    ]
    return answer(Teams(total=len(rows), items=items, cursor=following))


def _namesake(team: domain.Namesake | None) -> Namesake | None:
    if team is None:
        return None
    return Namesake(team_id=team.team_id, team_name=team.name, external_id=team.external_id, obstacle=team.obstacle)


class Removals(Model):
    """Who is taken out: `digest` is the team's `held_digest`, as it was listed."""

    digest: Annotated[str, Meta(min_length=1, max_length=64)]


class Approved(Model):
    """How many people the next run takes out, if they are still the same."""

    people: int


def approve(call: Call, body: Removals, connection_id: str, group_id: str) -> Response:
    """Approve removals."""
    connection = existing(call, connection_id)
    people = approve_removals(call.parts.services, connection.id, group_id, body.digest, call.actor)
    return answer(Approved(people=people))


class Adoption(Model):
    """Which team is to be the group's: that of its `namesake`, as it was listed."""

    team_id: Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)]
    team_name: Annotated[str, Meta(min_length=1, max_length=LONGEST_TEAM_NAME)]


class Adopting(Model):
    """What the next run makes of the team, if it and the group are still called so: its name, and its externalId."""

    name: str
    external_id: str


def adopt(call: Call, body: Adoption, connection_id: str, group_id: str) -> Response:
    """Confirm an adoption."""
    connection = existing(call, connection_id)
    done = adopt_team(call.parts.services, connection.id, group_id, body.team_id, body.team_name, call.actor)
    return answer(Adopting(name=done.name, external_id=done.group_id))


OPERATIONS = (
    Operation(
        name="confirmTeamAdoption",
        method="POST",
        path="/connections/<id:connection_id>/teams/<id:group_id>/adoption",
        what="Confirm that the team which has a group's name is to be the group's; a run follows",
        act=adopt,
        answers={200: Answers(what="What it is to be", model=Adopting)},
        body=Adoption,
        refusals=(409, 412),
    ),
    Operation(
        name="approveTeamRemovals",
        method="POST",
        path="/connections/<id:connection_id>/teams/<id:group_id>/removals",
        what="Approve that those who left a group are taken out of its team, though they are many; a run follows",
        act=approve,
        answers={200: Answers(what="How many", model=Approved)},
        body=Removals,
        refusals=(412,),
    ),
    Operation(
        name="listTeams",
        method="GET",
        path="/connections/<id:connection_id>/teams",
        what="List the groups that are to be teams, and what became of each in the last full run",
        act=list_teams,
        answers={200: Answers(what="A page of them", model=Teams)},
        query=Paging,
    ),
)
