"""What a full run does about teams: what becomes of each group, by the teams that Keeper has.

    group        in Keeper                                    what happens
    chosen       a team carries the group's id                it is the group's; renamed where the group was
    chosen       two or more teams carry it                   nothing: which one is meant cannot be told
    chosen       none does, but the group had a team          nothing: somebody deleted it there; or it was never
                                                              listed, and is awaited
    chosen       none does, another team has the name         nothing, until one of the two is renamed, or an
                                                              administrator confirms that this team is the group's
    chosen       the name makes, or has made, a role          nothing, unless roles are chosen: they carry rights
    chosen       none does                                    a team is created, within the limit
    not chosen   a team carries the group's id                it stays, if it was the group's before; emptied where that
                                                              is chosen, once an administrator approves it

A team is matched by externalId, the group's id, and by nothing else: Keeper's own tools rename a left-over team for
another group, which then inherits what was shared with the first. No team is ever deleted: what was shared with it
would be lost. Teams that carry no group's id are somebody else's, until an administrator confirms for one of them, by
its id and name, that it is to be a group's: it is adopted, that is, given the group's id and name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from .scope import Group
from .teams import (
    RESTS,
    ConfirmedAdoption,
    GroupTeam,
    Namesake,
    Obstacle,
    Team,
    TeamChoice,
    TeamState,
    comparable,
    team_name,
)

LONGEST_TOLD = 100  # characters of what somebody typed in Keeper, in a text of ours
UNTOLD = "The run that asked for it ended before it could say what came of that"
CREATIONS_A_RUN = 100  # teams: one request each, while the planner holds its lease


@dataclass(slots=True, kw_only=True)
class TeamPlan:
    """What is to be done: teams to be made of groups, renamed, and adopted; `known` is what is kept, by group.

    `lapsed` names the groups of confirmed adoptions that are settled, and says why one is not carried out. `found` is
    what was kept of those whose last request was carried out, though no outcome of it was recorded.
    """

    known: dict[str, GroupTeam] = field(default_factory=dict)
    creates: list[GroupTeam] = field(default_factory=list)
    renames: list[GroupTeam] = field(default_factory=list)
    adopts: list[tuple[GroupTeam, ConfirmedAdoption]] = field(default_factory=list)
    lapsed: dict[str, str] = field(default_factory=dict)
    found: list[tuple[GroupTeam, str]] = field(default_factory=list)  # and who confirmed that it be adopted

    @property
    def requests(self) -> list[GroupTeam]:
        """What is to be sent, in the order of sending."""
        return [*self.renames, *(planned for planned, _ in self.adopts), *self.creates]

    def underway(self, now: datetime) -> dict[str, GroupTeam]:
        """Return what is to be kept while the requests are sent, should nobody be left to record their outcomes."""
        made = {planned.group_id for planned in self.creates}
        sent = {each.group_id: each.sent(now, creates=each.group_id in made) for each in self.requests}
        return {**self.known, **sent}


def plan_teams(
    choice: TeamChoice,
    groups: Iterable[Group],
    teams: Sequence[Team],
    known: Mapping[str, GroupTeam],
    *,
    now: datetime,
    confirmed: Mapping[str, ConfirmedAdoption] = MappingProxyType({}),
) -> TeamPlan:
    """Plan from all groups of the directory, all teams of the node, both listed to their ends, and what was kept.

    `confirmed` are the adoptions that administrators confirmed, by group.
    """
    planner = _Planner(choice, teams, known, now, confirmed)
    listed = {group.id: group for group in groups}
    chosen = sorted(filter(choice.chooses, listed.values()), key=lambda group: (group.name, group.id))
    planner.want(chosen, listed.keys())
    waiting = [group for group in chosen if not planner.keep(group)]  # first those who have a team: it takes a name
    for group in waiting:
        planner.make(group)
    planner.close()
    planner.settle()
    return planner.plan


class _Planner:
    def __init__(
        self,
        choice: TeamChoice,
        teams: Sequence[Team],
        known: Mapping[str, GroupTeam],
        now: datetime,
        confirmed: Mapping[str, ConfirmedAdoption],
    ) -> None:
        self.plan = TeamPlan()
        self._choice = choice
        self._known = dict(known)
        self._now = now
        self._confirmed = {group_id: each for group_id, each in confirmed.items() if each.lasts(now)}
        self._teams = teams
        self._adopted: set[str] = set()  # ids of teams
        self._listed: Collection[str] = ()
        self._wanted: dict[str, str] = {}  # what the team of each chosen group is to be called
        self._of: dict[str, list[Team]] = {}
        for team in teams:
            if team.external_id:
                self._of.setdefault(team.external_id, []).append(team)
        self._names = Counter(comparable(team.name) for team in teams)
        self._count = 0  # teams of chosen groups, those to be made included

    def want(self, chosen: Iterable[Group], listed: Collection[str]) -> None:
        """Take the groups that are to be teams, and the ids of all that there are."""
        self._listed = listed
        self._wanted = {group.id: team_name(group) for group in chosen}

    def keep(self, group: Group) -> bool:
        """Judge a group that has a team; False: it has none."""
        teams = self._of.get(group.id, [])
        if not teams:
            return self._awaited(group)
        self._count += 1
        if len(teams) > 1:
            self._note(group, TeamState.DOUBLE)
            return True
        (team,) = teams
        self._learn(group.id, team)
        if self._choice.bars(team.name):
            self._leave_role(group, team)
            return True
        wanted = team_name(group)
        if team.name == wanted or self._is_spelling(group, team, wanted):
            self._note(group, TeamState.THERE, team)
        elif comparable(team.name) != comparable(wanted) and self._names[comparable(wanted)]:
            self._note(group, TeamState.NAME_TAKEN, team)
        elif self._choice.makes_role(wanted) is not self._choice.makes_role(team.name):
            self._note(group, TeamState.ROLE, team)  # what Keeper makes of such a rename is not documented
        elif not (self._rests(group, team) or self._renamed_lately(group, team, wanted)):
            self.plan.renames.append(self._note(group, TeamState.WAITING, team))
            self._names[comparable(wanted)] += 1
        return True

    def _is_spelling(self, group: Group, team: Team, wanted: str) -> bool:
        """Say whether Keeper shows the wanted name in a way of its own, which it would do again."""
        had = self._known.get(group.id)
        if had is None or had.sent_name != wanted:
            return False
        return team.name == had.team_name or comparable(team.name) == comparable(wanted)

    def _renamed_lately(self, group: Group, team: Team, wanted: str) -> bool:
        """Keep in mind for a while that Keeper accepted a name which its listing does not show, or not yet."""
        had = self._known.get(group.id)
        if had is None or (had.state, had.team_id, had.sent_name) != (TeamState.THERE, team.id, wanted):
            return False
        if self._now - had.since >= RESTS:
            return False
        self.plan.known[group.id] = replace(had, unseen_since=None)
        return True

    def _awaited(self, group: Group) -> bool:
        """Judge a group whose team Keeper took, but has never listed: whether it lists pending ones is not known."""
        had = self._known.get(group.id)
        if had is None or had.unseen_since is None or any(team.id and team.id == had.team_id for team in self._teams):
            return False
        self._count += 1
        self._names[comparable(had.team_name)] += 1
        late = self._now - had.unseen_since >= self._choice.patience
        self._note(group, TeamState.UNSEEN if late else TeamState.SENT)
        return True

    def make(self, group: Group) -> None:
        """Judge a group that has no team."""
        wanted = team_name(group)
        had = self._known.get(group.id)
        if had is not None and had.team_id and not self._disowned(had.team_id, wanted):
            self._note(group, TeamState.DELETED)
        elif self._choice.bars(wanted):
            self._leave_role(group)
        elif self._names[comparable(wanted)]:
            self._meet_namesake(group, wanted)
        elif self._count >= self._choice.most:
            self._note(group, TeamState.TOO_MANY)
        elif self._rests(group):
            self._count += 1
        else:
            self._count += 1
            noted = self._note(group, TeamState.WAITING)
            if len(self.plan.creates) < CREATIONS_A_RUN:
                self.plan.creates.append(noted)
                self._names[comparable(wanted)] += 1

    def _meet_namesake(self, group: Group, wanted: str) -> None:
        """Judge a group whose name another team has: that is adopted where an administrator confirmed just this."""
        namesake, had, confirmed = self._namesake(wanted), self._known.get(group.id), self._confirmed.get(group.id)
        if confirmed is None or self._why_not(confirmed):
            told = had.reason if had is not None and had.state is TeamState.NAME_TAKEN else ""
            noted = self._note(group, TeamState.NAME_TAKEN)
            none = replace(noted, team_id="", team_name="", unseen_since=None)
            self.plan.known[group.id] = replace(none, namesake=namesake, reason=told)
            return
        self._count += 1
        self._adopted.add(confirmed.team_id)
        if had is None or had.since < confirmed.at or not self._rests(group):
            noted = replace(self._note(group, TeamState.WAITING), namesake=namesake)
            self.plan.known[group.id] = noted
            self.plan.adopts.append((noted, confirmed))

    def _disowned(self, team_id: str, wanted: str) -> bool:
        """Say whether a group's team is there under its name, but lost the group's id, or never took it."""
        return any(team.id == team_id and comparable(team.name) == comparable(wanted) for team in self._teams)

    def _namesake(self, name: str) -> Namesake | None:
        """Return the team that has a name; None where one is about to get it, or none has it."""
        teams = [team for team in self._teams if comparable(team.name) == comparable(name)]
        if not teams:
            return None
        team = next((team for team in teams if team.external_id), teams[0])
        obstacle = None
        if team.external_id:
            obstacle = Obstacle.OWNED
        elif len(teams) > 1:
            obstacle = Obstacle.SEVERAL
        elif self._choice.makes_role(name) or self._choice.makes_role(team.name):
            obstacle = Obstacle.ROLE
        elif not team.id:
            obstacle = Obstacle.NO_ID
        return Namesake(team_id=team.id, name=team.name, external_id=team.external_id, obstacle=obstacle)

    def _why_not(self, confirmed: ConfirmedAdoption) -> str:
        """Say why a confirmed adoption is not carried out, empty where it can be."""
        team = next((team for team in self._teams if team.id == confirmed.team_id), None)
        wanted, had = self._wanted.get(confirmed.group_id), self._known.get(confirmed.group_id)
        if team is None:
            return "the team is not in Keeper any more"
        if team.external_id:
            return f"the team carries the externalId {team.external_id[:LONGEST_TOLD]} now"
        if team.name != confirmed.team_name:
            return f"the team is called {team.name[:LONGEST_TOLD]} now"
        if wanted is None:
            return "the group is not chosen any more"
        if wanted != confirmed.name:
            return f"the group is called {wanted[:LONGEST_TOLD]} now"
        if confirmed.group_id in self._of or (had is not None and had.team_id not in ("", confirmed.team_id)):
            return "the group has, or had, a team of its own"
        if team.id in self._adopted:
            return "another group gets the team"
        namesake = self._namesake(wanted)
        if namesake is not None and namesake.obstacle is not None:
            return namesake.why
        return "there are as many teams as are allowed" if self._count >= self._choice.most else ""

    def settle(self) -> None:
        """Say what came of the confirmed adoptions that are not to be carried out; of those that were, nothing."""
        adopted = [confirmed for _, confirmed in self.plan.adopts]
        for group_id, confirmed in self._confirmed.items():
            known = self.plan.known.get(group_id)
            failed = known is not None and known.namesake is not None and known.state is not TeamState.NAME_TAKEN
            if confirmed in adopted or failed:
                continue  # it is carried out, or tried again
            done = confirmed.team_id in (team.id for team in self._of.get(group_id, ()))
            why = "" if done else self._why_not(confirmed)
            told = f"{confirmed.by} confirmed to adopt the team {confirmed.team_name}, which was not done: {why}."
            self.plan.lapsed[group_id] = told if why else ""
            if known is not None and known.state is TeamState.NAME_TAKEN:
                self.plan.known[group_id] = replace(known, reason=told)

    def close(self) -> None:
        """Keep in mind the groups that are not chosen any more as long as their team is there, or may be soon."""
        for group_id in self._known.keys() - self.plan.known.keys() - self._of.keys():
            sent = self._known[group_id]
            if self._lacked(sent):
                self.plan.known[group_id] = sent.becomes(TeamState.LEFT, self._now)
            elif (sent.unseen_since or sent.asked) and self._now - (sent.unseen_since or sent.since) < RESTS:
                self.plan.known[group_id] = sent.becomes(TeamState.LEFT, self._now) if sent.serves else sent
        for group_id in sorted((self._known.keys() - self.plan.known.keys()) & self._of.keys()):
            known = self._learn(group_id, self._of[group_id][0])
            if known is not None and known.team_id:
                self.plan.known[group_id] = replace(known.becomes(TeamState.LEFT, self._now), asked="")

    def _lacked(self, known: GroupTeam) -> bool:
        """Say whether only the listing of groups lacks a group: if it comes back, no second team is made of it."""
        chosen = self._choice.chooses(Group(id=known.group_id, email=known.email, name=known.name))
        since = known.since if known.state is TeamState.LEFT else self._now
        had = bool(known.team_id or known.unseen_since)
        return chosen and had and known.group_id not in self._listed and self._now - since < self._choice.patience

    def _learn(self, group_id: str, team: Team) -> GroupTeam | None:
        """Return what is kept of a group that has a team, with what a request did whose outcome was not recorded."""
        known = self._known.get(group_id)
        if known is None or not known.asked or not _arrived(known, team):
            return known
        confirmed = self._confirmed.get(group_id) if known.namesake is not None else None
        self.plan.found.append((known, confirmed.by if confirmed is not None else ""))
        made = not (known.team_id or known.namesake)
        as_asked = comparable(team.name) == comparable(known.asked)  # else somebody may have renamed it since
        known = replace(
            known,
            team_id=team.id,
            team_name=team.name,
            sent_name=known.asked if as_asked else "",
            created=known.since if made else known.created,
            asked="",
        )
        self._known[group_id] = known
        return known

    def _rests(self, group: Group, team: Team | None = None) -> bool:
        """Keep a failed request in mind as it is for a while, unless it was about another team than this one."""
        had = self._known.get(group.id)
        if had is None or not had.rests(team_name(group), self._now):
            return False
        if team is not None and team.id != had.team_id:
            return False
        self.plan.known[group.id] = had.failed(had.state, had.since, had.reason or UNTOLD) if had.given_up else had
        return True

    def _leave_role(self, group: Group, role: Team | None = None) -> None:
        """Note a group whose name makes a role: one that is there already stays as it is, with those who are in it."""
        self.plan.known[group.id] = self._note(group, TeamState.ROLE, role).as_role(self._now)

    def _note(self, group: Group, state: TeamState, team: Team | None = None) -> GroupTeam:
        known = self._known.get(group.id)
        base = known or GroupTeam(group_id=group.id, name="", email="", state=state, since=self._now)
        noted = replace(
            base.becomes(state, self._now), name=team_name(group), email=group.email, namesake=None, asked=""
        )
        if team is not None:
            told = team.name == noted.team_name or comparable(team.name) == comparable(noted.sent_name)
            sent_name = noted.sent_name if told else ""  # else somebody renamed it since
            noted = replace(noted, team_id=team.id or noted.team_id, team_name=team.name, sent_name=sent_name)
            noted = replace(noted, unseen_since=None, lost=0)  # a listing shows it
        self.plan.known[group.id] = noted
        return noted


def _arrived(known: GroupTeam, team: Team) -> bool:
    """Say whether a team shows what was asked for last: that there is one, or its new name, as Keeper may spell it."""
    renamed = team.name != known.team_name and comparable(team.name) == comparable(known.asked)
    return not known.team_id or team.name == known.asked or renamed
