"""Teams in the API: what became of the groups that are to be teams."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import msgspec
from flask import Response
from msgspec import Meta

from autoprovisioning.app.administration.adopt_team import adopt_team
from autoprovisioning.app.administration.approve_removals import approve_removals
from autoprovisioning.app.administration.retry_team import retry_team
from autoprovisioning.app.administration.teams import existing_team, review_teams
from autoprovisioning.decoding import built
from autoprovisioning.domain import teams as domain
from autoprovisioning.domain.accounts import LONGEST_ID
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.memberships import Membership
from autoprovisioning.domain.people import Person
from autoprovisioning.domain.review import InKeeper, google, in_keeper
from autoprovisioning.domain.team_review import TeamReview, TeamRow
from autoprovisioning.domain.teams import LONGEST_TEAM_NAME, GroupTeam, Obstacle, TeamState
from autoprovisioning.domain.texts import LONGEST_SEARCH
from autoprovisioning.entrypoints.console.api.models import LIMIT, Model, Nothing, Paging
from autoprovisioning.entrypoints.console.api.operations import Answers, Operation, answer, download
from autoprovisioning.entrypoints.console.export import export
from autoprovisioning.entrypoints.console.routing import Call, existing

HEADER = (
    "group",
    "address",
    "team",
    "state",
    "reason",
    "people",
    "to join",
    "to leave",
    "waiting",
    "held",
    "last change",
    "since",
    "group id",
    "team id",
)


class Namesake(Model):
    """The team that has the name of a group which has none; it can be adopted if `obstacle` is null."""

    team_id: str
    team_name: str
    external_id: str
    obstacle: Obstacle | None


class Unsettled(Model):
    """How many of the `people` Keeper's listings do not show in the team, people without access left out.

    `waiting` were sent, and so were `late`, longer ago than the setting `pending_days`; the first of both at `since`.
    `ended` were shown, and somebody took them out in Keeper: they stay out.
    """

    waiting: int
    since: datetime | None
    late: int
    ended: int


class Team(Model):
    """A group that is, or was, to be a team: `team_id` is empty where it never had one.

    `team_name` is the team's in Keeper, `reason` why the last request failed, `given_up` that Keeper gave no answer to
    several creations, so that none is sent before somebody says so, `since` when the state began, `created` when this
    connection made the team, null if it did not, `last_change` when it last changed, or how many are in it.
    The rest counts people: `people` whom this connection has put into it, `joins` of the group whom the next run puts
    there, `leaves` who are still in the team and are to leave it, `waits` of the group who have no access yet, whom
    Keeper does not show in the team yet, or of whom its answer was lost; null where there is no team yet. `held` are
    those who are to leave and stay, since they are too many at once; `unread` says that the group's members could not
    be listed. `unsettled` are those of `people` whom Keeper does not show, `unseen_since` when a team was made that it
    has not listed since. `namesake` is the team that has the name, in the state `name_taken` of a group without a team.
    """

    group_id: str
    name: str
    email: str
    state: TeamState
    since: datetime
    team_id: str
    team_name: str
    reason: str
    given_up: bool
    created: datetime | None
    last_change: datetime
    people: int | None
    joins: int | None
    leaves: int | None
    waits: int | None
    held: int
    held_digest: str
    unread: bool
    unseen_since: datetime | None
    unsettled: Unsettled
    namesake: Namesake | None


class Teams(Model):
    """A page of them, by name; `counts` are of all teams, by state, people as of `at`."""

    at: datetime
    total: int
    counts: dict[TeamState, int]
    items: list[Team]
    cursor: str


class WantedTeams(Model):
    """Which teams are wanted: those in a state, with people held, or with every word of `search` in name or address."""

    state: TeamState | None = None
    held: bool = False
    search: Annotated[str, Meta(max_length=LONGEST_SEARCH)] = ""


class WantedPage(WantedTeams):
    """Which teams are wanted, and which part of the list."""

    cursor: Annotated[str, Meta(max_length=500)] = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = LIMIT


def list_teams(call: Call, query: WantedPage, connection_id: str) -> Response:
    """List them."""
    reviewed, roll = review_teams(call.parts.services, existing(call, connection_id))
    found = reviewed.found(query.state, query.search, held=query.held)
    page, following = Paging(cursor=query.cursor, limit=query.limit).part(found, len(found))
    items = [shown_team(reviewed.row(team)) for team in page]
    counts = dict(reviewed.states)
    return answer(Teams(at=roll.at, total=len(found), counts=counts, items=items, cursor=following))


def export_teams(call: Call, query: WantedTeams, connection_id: str) -> Response:
    """Download them."""
    reviewed, _ = review_teams(call.parts.services, existing(call, connection_id))
    return export(f"teams-{connection_id}.csv", HEADER, _rows(reviewed, query))


def _rows(reviewed: TeamReview, query: WantedTeams) -> Iterator[tuple[object, ...]]:
    for known in reviewed.found(query.state, query.search, held=query.held):
        team = shown_team(reviewed.row(known))
        numbers = (team.people, team.joins, team.leaves, team.waits, team.held)
        times = (team.last_change.isoformat(), team.since.isoformat())
        yield (
            team.name, team.email, team.team_name, team.state.value, team.reason, *numbers, *times,
            team.group_id, team.team_id,
        )  # fmt: skip


def shown_team(row: TeamRow) -> Team:
    """Return a team with whom it concerns."""
    team = row.team
    return Team(
        group_id=team.group_id,
        name=team.name,
        email=team.email,
        state=team.state,
        since=team.since,
        team_id=team.team_id,
        team_name=team.team_name,
        reason=team.reason,
        given_up=team.given_up,
        created=team.created,
        last_change=team.last,
        people=row.people,
        joins=row.joins,
        leaves=row.leaves,
        waits=row.waits,
        held=team.held,
        held_digest=team.held_digest,
        unread=team.unread,
        unseen_since=team.unseen_since,
        unsettled=msgspec.convert(team.unsettled, built(Unsettled), from_attributes=True),
        namesake=_namesake(team.namesake),
    )


def read_team(call: Call, connection_id: str, group_id: str) -> Response:
    """Tell of one."""
    reviewed, _ = review_teams(call.parts.services, existing(call, connection_id))
    return answer(shown_team(reviewed.row(existing_team(reviewed, group_id))))


class WantedPeople(Model):
    """Which people are wanted: those who relate to the team so, and whose name or address has all words of `search`."""

    membership: Membership | None = None
    search: Annotated[str, Meta(max_length=LONGEST_SEARCH)] = ""


class WantedPeoplePage(WantedPeople):
    """Which people are wanted, and which part of the list."""

    cursor: Annotated[str, Meta(max_length=500)] = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = LIMIT


class TeamPerson(Model):
    """Somebody whom a team concerns; `google` is the state in the directory, `keeper` that of the account.

    `membership` inside: put into the team; unseen: so, and Keeper's listing has not shown it yet; ended: so, and taken
    out in Keeper by somebody; joins: in the group, and the next run puts them there; waits: in the group, without the
    access that joining needs; asked: Keeper's answer was lost; leaves: in the team, and in the group no more, or
    suspended where such people are taken out. `why` says it in words.
    """

    user_id: str
    email: str
    name: str
    google: Presence
    keeper: InKeeper
    membership: Membership
    why: str


class TeamPeople(Model):
    """A part of them, by name; `counts` are of everybody whom the team concerns, as of `at`."""

    at: datetime
    total: int
    counts: dict[Membership, int]
    items: list[TeamPerson]
    cursor: str


def list_team_people(call: Call, query: WantedPeoplePage, connection_id: str, group_id: str) -> Response:
    """List whom a team concerns."""
    reviewed, roll = review_teams(call.parts.services, existing(call, connection_id))
    team = existing_team(reviewed, group_id)
    found = reviewed.people(team, query.membership, query.search)
    page, following = Paging(cursor=query.cursor, limit=query.limit).part(found, len(found))
    counts = {membership: len(lines) for membership, lines in reviewed.concerned(team).items()}
    items = [_told(reviewed, team, line.person, membership) for line, membership in page]
    return answer(TeamPeople(at=roll.at, total=len(found), counts=counts, items=items, cursor=following))


def export_team_people(call: Call, query: WantedPeople, connection_id: str, group_id: str) -> Response:
    """Download whom a team concerns."""
    reviewed, _ = review_teams(call.parts.services, existing(call, connection_id))
    team = existing_team(reviewed, group_id)
    header = ("name", "e-mail", "in Google", "in Keeper", "membership", "why", "user id")
    found = (
        _told(reviewed, team, line.person, membership)
        for line, membership in reviewed.people(team, query.membership, query.search)
    )
    rows = (
        (who.name, who.email, who.google.value, who.keeper.value, who.membership.value, who.why, who.user_id)
        for who in found
    )
    return export(f"team-{group_id}.csv", header, rows)


def _told(reviewed: TeamReview, team: GroupTeam, person: Person, membership: Membership) -> TeamPerson:
    return TeamPerson(
        user_id=person.user_id,
        email=person.email,
        name=person.name,
        google=google(person),
        keeper=in_keeper(person),
        membership=membership,
        why=reviewed.why(team, person, membership),
    )


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


class Retried(Model):
    """What the next run asks for again: the team's name."""

    name: str


def try_again(call: Call, body: Nothing, connection_id: str, group_id: str) -> Response:  # noqa: ARG001
    """Have a team asked for again."""
    connection = existing(call, connection_id)
    return answer(Retried(name=retry_team(call.parts.services, connection.id, group_id, call.actor).name))


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
    done = adopt_team(
        call.parts.services, connection.id, group_id, call.actor, team_id=body.team_id, team_name=body.team_name
    )
    return answer(Adopting(name=done.name, external_id=done.group_id))


_ALL = "/connections/<id:connection_id>/teams"
_ONE = f"{_ALL}/<id:group_id>"
OPERATIONS = (
    Operation(
        name="confirmTeamAdoption",
        method="POST",
        path=f"{_ONE}/adoption",
        what="Confirm that the team which has a group's name is to be the group's; a run follows",
        act=adopt,
        answers={200: Answers(what="What it is to be", model=Adopting)},
        body=Adoption,
        refusals=(409, 412),
    ),
    Operation(
        name="approveTeamRemovals",
        method="POST",
        path=f"{_ONE}/removals",
        what="Approve that those who are held are taken out of a team, though they are many; a run follows",
        act=approve,
        answers={200: Answers(what="How many", model=Approved)},
        body=Removals,
        refusals=(412,),
    ),
    Operation(
        name="retryTeam",
        method="POST",
        path=f"{_ONE}/retry",
        what="Ask at once for a team that Keeper refused, or gave no answer about; a run follows",
        act=try_again,
        answers={200: Answers(what="What is asked for", model=Retried)},
        body=Nothing,
        refusals=(409,),
    ),
    Operation(
        name="listTeams",
        method="GET",
        path=_ALL,
        what="List the groups that are to be teams, and what became of each in the last full run",
        act=list_teams,
        answers={200: Answers(what="A page of them", model=Teams)},
        query=WantedPage,
    ),
    Operation(
        name="exportTeams",
        method="GET",
        path=f"{_ALL}.csv",
        what="Download that list",
        act=export_teams,
        answers=download("All of it"),
        query=WantedTeams,
    ),
    Operation(
        name="readTeam",
        method="GET",
        path=_ONE,
        what="Tell what became of a group that is to be a team, and how many people it concerns",
        act=read_team,
        answers={200: Answers(what="The team", model=Team)},
    ),
    Operation(
        name="listTeamPeople",
        method="GET",
        path=f"{_ONE}/people",
        what="List who is in a team, and who is to join or leave it, and why",
        act=list_team_people,
        answers={200: Answers(what="A part of the list, and how many there are of each kind", model=TeamPeople)},
        query=WantedPeoplePage,
    ),
    Operation(
        name="exportTeamPeople",
        method="GET",
        path=f"{_ONE}/people.csv",
        what="Download that list",
        act=export_team_people,
        answers=download("All of it"),
        query=WantedPeople,
    ),
)
