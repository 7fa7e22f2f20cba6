"""A review of teams: each with how many people are in it, are to join or leave, or wait, and who they are and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from .connections import Connection
from .entry import Status
from .memberships import Membership
from .people import Line, Lines, Person, in_order
from .review import called
from .teams import GroupTeam, TeamState
from .texts import folded
from .words import TEAM_NEEDS, TEAMS, WAITS_FOR, counted, state_of

Concerned = Mapping[Membership, Sequence[Line]]
NOBODY: Concerned = {}
NEXT_OUT = "is taken out with the next sweep or run"


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamRow:
    """A group and its team, with how many people it concerns; None where there is no team yet.

    `people` were put into it, `joins` are about to be, `leaves` are of those put into it and are to be no more.
    `waits` are in the group without access yet, were put into the team and are not shown there yet, or may have been
    although the answer was lost.
    """

    team: GroupTeam
    people: int | None = None
    joins: int | None = None
    leaves: int | None = None
    waits: int | None = None


def needs(team: GroupTeam) -> Sequence[str]:
    """Say in short what a team waits for somebody to do, the most pressing first; nothing where all goes well."""
    found = []
    if team.held:
        found.append(f"Take {counted(team.held, 'person', 'people')} out?")
    if team.state is TeamState.NAME_TAKEN and team.namesake is not None and team.namesake.obstacle is None:
        found.append("Adopt the team of this name?")
    elif team.given_up:
        found.append("Look for it in Keeper, then try again")
    elif team.state in TEAM_NEEDS:
        found.append(TEAM_NEEDS[team.state])
    if team.unsettled.late:
        found.append(f"Look after {counted(team.unsettled.late, 'person', 'people')} in Keeper")
    if team.unread:
        found.append("The group could not be read")
    return found


class TeamReview:
    """The groups that are, or were, to be teams, by name, and whom each concerns as of the list of people."""

    def __init__(self, known: Iterable[GroupTeam], lines: Lines, connection: Connection) -> None:
        """Join what full runs keep of teams with the list of people."""
        self.teams = sorted(known, key=lambda team: (folded(team.name), team.group_id))
        self._lines = lines
        self._connection = connection

    @cached_property
    def states(self) -> Mapping[TeamState, int]:
        """Count the teams by state."""
        return Counter(team.state for team in self.teams)

    @cached_property
    def held(self) -> int:
        """Count the teams of which people are not taken out, since they are too many at once."""
        return sum(bool(team.held) for team in self.teams)

    @cached_property
    def memberships(self) -> int:
        """Count who was put into the teams, each membership."""
        return sum(self.row(team).people or 0 for team in self.teams)

    def found(self, state: TeamState | None = None, search: str = "", *, held: bool = False) -> Sequence[GroupTeam]:
        """Return those in a state, those with people held, and those of which the name or address has every word."""
        words = folded(search).split()
        return [
            team
            for team in self.teams
            if state in (None, team.state)
            and (team.held or not held)
            and all(word in folded(f"{team.name} {team.email} {team.team_name}") for word in words)
        ]

    def row(self, team: GroupTeam) -> TeamRow:
        """Count whom a team concerns."""
        if not team.team_id:
            return TeamRow(team=team)
        concerned = self.concerned(team)
        leaves = concerned.get(Membership.LEAVES, ())
        sizes = {each: len(concerned.get(each, ())) for each in Membership}
        stays = sum(sizes[each] for each in (Membership.INSIDE, Membership.UNSEEN, Membership.ENDED))
        return TeamRow(
            team=team,
            people=stays + sum(team.team_id in line.person.teams for line in leaves),
            joins=sizes[Membership.JOINS],
            leaves=sizes[Membership.LEAVES],
            waits=sum(sizes[each] for each in (Membership.WAITS, Membership.UNSEEN, Membership.ASKED)),
        )

    def concerned(self, team: GroupTeam) -> Concerned:
        """Return whom a team concerns, in no order; in a pilot only those chosen for it join."""
        found = self._lines.by_team.get(team.team_id, NOBODY) if team.team_id else NOBODY
        if self._connection.pilot is None or not found.get(Membership.JOINS):
            return found
        chosen = [line for line in found[Membership.JOINS] if self._connection.operates_on(line.user_id)]
        others = [line for line in found[Membership.JOINS] if not self._connection.operates_on(line.user_id)]
        return {**found, Membership.JOINS: chosen, Membership.WAITS: [*found.get(Membership.WAITS, ()), *others]}

    def people(
        self, team: GroupTeam, wanted: Membership | None = None, search: str = ""
    ) -> Sequence[tuple[Line, Membership]]:
        """Return whom a team concerns, or those of one kind, whose name or address has every word, by name."""
        found = [
            (line, membership)
            for membership, lines in self.concerned(team).items()
            if wanted in (None, membership)
            for line in (called(lines, search) if search.split() else lines)
        ]
        return sorted(found, key=lambda each: in_order(each[0]))

    def why(self, team: GroupTeam, person: Person, membership: Membership) -> str:
        """Say in a phrase why somebody is, or is not, in a team, and what follows."""
        match membership:
            case Membership.INSIDE | Membership.UNSEEN | Membership.ENDED:
                return self._inside(team, person, membership)
            case Membership.ASKED:
                return "Keeper's answer was lost; asked for again"
            case Membership.LEAVES:
                return self._leaves(team, person)
            case Membership.WAITS:
                return f"In the group; {self._lacks(person)}"
            case Membership.JOINS:
                return f"In the group; {self._next(person, 'joins with the next sweep or run')}"

    def _inside(self, team: GroupTeam, person: Person, membership: Membership) -> str:
        if not team.serves:
            return f"{state_of(team)[0]}; stays as it is"
        if team.unread:
            return "Stays: the group could not be read"
        if membership is Membership.ENDED:
            return "In the group; taken out in Keeper by somebody, and stays out"
        if person.status is not Status.ACTIVE:
            return "Keeps it while without access"
        if membership is Membership.UNSEEN:
            return "In the group; sent, and not seen in Keeper yet"
        return "In the group"

    def _leaves(self, team: GroupTeam, person: Person) -> str:
        if team.state is TeamState.LEFT:
            return f"{TEAMS[team.state][0]}; {'stays until emptying the team is approved' if team.held else NEXT_OUT}"
        left = "Left the group"
        if person.status is Status.SUSPENDED and self._connection.settings.teams.remove_suspended:
            left = "Suspended"
        if team.held:
            return f"{left}; stays until removals are approved, as {team.held:,} at once are many"
        if team.unread:
            return f"{left}; stays, as the last full run could not read it"
        if person.status is Status.LOCKED or person.gone:
            return f"{left}; nothing is written while the account is locked by somebody else, or the user gone"
        if not self._connection.operates_on(person.user_id):
            return f"{left}; outside the pilot"
        return f"{left}; {self._next(person, NEXT_OUT)}"

    def _lacks(self, person: Person) -> str:
        if not self._connection.operates_on(person.user_id):
            return "outside the pilot"
        if not person.in_scope:
            return "not in the provisioning scope"
        if person.status is Status.NONE:
            return "joins with the account"
        if person.status is Status.LOCKED:
            return "joins once the account is unlocked"
        return "joins once access is back"

    def _next(self, person: Person, what: str) -> str:
        state = self._connection.state
        if state in WAITS_FOR:
            return f"{WAITS_FOR[state][:1].lower()}{WAITS_FOR[state][1:]}"
        return f"{what}, once this is mended: {person.failure}" if person.failure else what
