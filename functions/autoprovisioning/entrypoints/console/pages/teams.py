"""Teams: what became of each group that is to be one, and who is in it, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from flask import Response

from autoprovisioning.app.administration.adopt_team import adopt_team
from autoprovisioning.app.administration.approve_removals import approve_removals
from autoprovisioning.app.administration.retry_team import retry_team
from autoprovisioning.app.administration.teams import existing_team, review_teams
from autoprovisioning.app.ports.reports import Page
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.event_search import Filters
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.memberships import Membership
from autoprovisioning.domain.people import Person
from autoprovisioning.domain.review import InKeeper, google, in_keeper
from autoprovisioning.domain.sentences import plan_of, sentence
from autoprovisioning.domain.team_review import TeamRow, needs
from autoprovisioning.domain.teams import TeamState
from autoprovisioning.domain.words import MEMBERSHIPS, TEAMS
from autoprovisioning.entrypoints.console.pages.activity import changes
from autoprovisioning.entrypoints.console.pages.frame import (
    form,
    get,
    go,
    indexed,
    part_of,
    post,
    query_of,
    show_of,
    sought,
)
from autoprovisioning.entrypoints.console.routing import Call, existing

ROWS = 50
LATEST = 10  # events of a team
ALL = "/connections/<id:connection_id>/teams"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked for; an address of the page with something changed asks for the first page of it."""

    q: str = ""
    state: TeamState | None = None
    held: bool = False

    def query(self, **changes: object) -> str:
        """Return it as the query of an address, what is not said left out."""
        asked = {"q": self.q, "state": self.state or "", "held": "true" if self.held else ""}
        return query_of(asked, **changes)

    def downloaded(self) -> str:
        """Return the query of the same list in the API."""
        return self.query(q="", search=self.q)


def teams(call: Call, connection_id: str) -> Response:
    """List the groups that are to be teams, and what became of each."""
    connection = existing(call, connection_id)
    reviewed, roll = review_teams(call.parts.services, connection)
    given = call.request.args
    asked = Asked(
        q=sought(given.get("q")),
        state=TeamState(given["state"]) if given.get("state") in set(TeamState) else None,
        held=given.get("held") == "true",
    )
    found = sorted(reviewed.found(asked.state, asked.q, held=asked.held), key=lambda team: not needs(team))
    part = part_of(call, found, ROWS)
    states = reviewed.states
    return show_of(
        call,
        connection,
        "teams.html",
        crumbs=[(call.request.path, "Teams")],
        asked=asked,
        roll=roll,
        total=len(reviewed.teams),
        there=states[TeamState.THERE],
        chips=[(state, TEAMS[state][0], states[state]) for state in TeamState if states[state]],
        holding=reviewed.held,
        memberships=reviewed.memberships,
        found=len(found),
        groups=_groups([reviewed.row(team) for team in part.rows]),
        shown=len(part.rows),
        needing=sum(bool(needs(team)) for team in found),
        deciding=any(team.held or team.namesake or team.state is TeamState.REFUSED for team in part.rows),
        number=part.number,
        pages=part.pages,
        first=part.first,
    )


def _groups(rows: Sequence[TeamRow]) -> list[tuple[bool, list[tuple[TeamRow, Sequence[str]]]]]:
    """Part those that wait for somebody from the others, each with what it waits for."""
    told = [(row, needs(row.team)) for row in rows]
    parts = ((True, [each for each in told if each[1]]), (False, [each for each in told if not each[1]]))
    return [(needing, some) for needing, some in parts if some]


def decide(call: Call, connection_id: str) -> Response:
    """Approve that those who are held leave a team, confirm which team is a group's, or have one tried again."""
    word, _, whom = form(call).get("do", "").partition(":")
    services, address = call.parts.services, f"/connections/{connection_id}/teams"
    group_id, second, third = (*map(unquote, whom.split(":")), "", "", "")[:3]
    if word == "remove":
        approve_removals(services, existing(call, connection_id).id, group_id, second, call.actor)
        return go(address, "removals-approved")
    if word == "adopt":
        adopt_team(services, existing(call, connection_id).id, group_id, call.actor, team_id=second, team_name=third)
        return go(address, "team-adopted")
    if word == "retry":
        retry_team(services, existing(call, connection_id).id, group_id, call.actor)
        return go(address, "team-retried")
    raise BadInput("do", "it is not one of those offered", "Use the page's buttons.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Somebody whom a team concerns, as shown."""

    person: Person
    google: Presence
    keeper: InKeeper
    membership: Membership
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedPeople:
    """Whom of a team is asked for; as `Asked`."""

    q: str = ""
    membership: Membership | None = None

    def query(self, **changes: object) -> str:
        """Return it as the query of an address, what is not said left out."""
        asked = {"q": self.q, "membership": self.membership or ""}
        return query_of(asked, **changes)

    def downloaded(self) -> str:
        """Return the query of the same list in the API."""
        return self.query(q="", search=self.q)


def team(call: Call, connection_id: str, group_id: str) -> Response:
    """Show who is in a team, who waits, who is to leave and why, and what happened."""
    connection, given = existing(call, connection_id), call.request.args
    reviewed, roll = review_teams(call.parts.services, connection)
    known = existing_team(reviewed, group_id)
    asked = AskedPeople(
        q=sought(given.get("q")),
        membership=Membership(given["membership"]) if given.get("membership") in set(Membership) else None,
    )
    concerned = reviewed.concerned(known)
    found = reviewed.people(known, asked.membership, asked.q)
    part = part_of(call, found, ROWS)
    page: Page[Event] | None = Page()
    if known.team_id:
        page = indexed(lambda: call.parts.reports.events(connection.id, Filters(team=known.team_id), "", LATEST))
    return show_of(
        call,
        connection,
        "team.html",
        crumbs=[(f"/connections/{connection_id}/teams", "Teams"), (call.request.path, known.name)],
        team=known,
        row=reviewed.row(known),
        roll=roll,
        asked=asked,
        total=sum(map(len, concerned.values())),
        chips=[(each, MEMBERSHIPS[each], len(concerned[each])) for each in Membership if concerned.get(each)],
        found=len(found),
        rows=[
            Member(
                person=line.person,
                google=google(line.person),
                keeper=in_keeper(line.person),
                membership=membership,
                why=reviewed.why(known, line.person, membership),
            )
            for line, membership in part.rows
        ],
        number=part.number,
        pages=part.pages,
        first=part.first,
        page=page,
        people=roll.lines.names(event.user_id for event in page.items) if page is not None else {},
        changes=changes,
        sentence=sentence,
        plan_of=plan_of,
    )


ROUTES = (get(ALL, teams), post(ALL, decide), get(f"{ALL}/<id:group_id>", team))
