"""Teams: which groups of the directory become teams in Keeper, and what is to be done about each.

    group        in Keeper                                    what happens
    chosen       a team carries the group's id                it is the group's; renamed where the group was
    chosen       two or more teams carry it                   nothing: which one is meant cannot be told
    chosen       none does, but the group had a team          nothing: somebody deleted it there
    chosen       none does, another team has the name         nothing, until one of the two is renamed
    chosen       none does, the name would make a role        nothing, unless roles are chosen: they carry rights
    chosen       none does                                    a team is created, within the limit
    not chosen   a team carries the group's id                it stays as it is, if it was the group's before

A team is matched by externalId, the group's id, and by nothing else: Keeper's own tools rename a left-over team for
another group, which then inherits what was shared with the first. No team is ever deleted: what was shared with it
would be lost. Teams that carry no group's id are somebody else's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

from .accounts import Result
from .errors import BadInput
from .memberships import Removals
from .scope import Group
from .texts import has_controls

MOST_TEAMS = 1_000  # of a connection: a run goes through all of them
MOST_PATTERNS = 50
LONGEST_PATTERN = 200
RESTS = timedelta(hours=1)  # after a request that failed; a listing may lag behind a creation whose answer was lost
CREATIONS_A_RUN = 100  # teams: one request each, while the planner holds its lease


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamChoice:
    """Which groups become teams: those chosen by id, and those of a name or address that a pattern fits.

    `*` stands for any text, `?` for one character; case makes no difference. `exclusions` are such patterns too, and
    win. Keeper makes a role instead of a team of a name that begins with `role_prefix`, as its SCIM method is set up.
    """

    groups: tuple[Group, ...] = ()
    patterns: tuple[str, ...] = ()
    exclusions: tuple[str, ...] = ()
    role_prefix: str = ""
    roles: bool = False
    most: int = 50  # teams: a pattern that fits more than was meant makes no more

    @property
    def on(self) -> bool:
        """Say whether any group can become a team."""
        return bool(self.groups or self.patterns)

    def check(self) -> None:
        """Refuse what cannot be meant (BadInput names the field)."""
        for where, patterns in (("teams.patterns", self.patterns), ("teams.exclusions", self.exclusions)):
            if len(patterns) > MOST_PATTERNS:
                raise BadInput(where, f"there are {len(patterns)}", f"Use {MOST_PATTERNS} at most.")
            for pattern in patterns:
                if len(pattern) > LONGEST_PATTERN or has_controls(pattern):
                    mend = f"Use {LONGEST_PATTERN} characters at most, without line breaks."
                    raise BadInput(where, f"{pattern[:20]!r} is too long, or holds control characters", mend)
                if not any(map(str.isalnum, pattern)):
                    raise BadInput(where, f"{pattern!r} fits every group", "Type some letters, as in keeper-*.")
        if len(self.role_prefix) > LONGEST_PATTERN or has_controls(self.role_prefix):
            mend = "Type the prefix as Keeper's Admin Console shows it."
            raise BadInput("teams.role_prefix", "it is too long, or holds control characters", mend)
        if not 1 <= self.most <= MOST_TEAMS:
            raise BadInput("teams.most", f"{self.most} is out of range", f"Use 1 to {MOST_TEAMS} teams.")

    def chooses(self, group: Group) -> bool:
        """Say whether a group is to be a team."""
        texts = (group.name.casefold(), group.email.casefold())
        if _fits(self.exclusions, texts):
            return False
        return any(group.id == chosen.id for chosen in self.groups) or _fits(self.patterns, texts)

    def makes_role(self, name: str) -> bool:
        """Say whether Keeper makes a role of a group of this name."""
        return bool(self.role_prefix) and name.startswith(self.role_prefix)


def _fits(patterns: Iterable[str], texts: Iterable[str]) -> bool:
    """Say whether a pattern fits a text; `[` is a character like others."""
    whole = [pattern.casefold().replace("[", "[[]") for pattern in patterns]
    return any(fnmatchcase(text, pattern) for text in texts for pattern in whole)


def team_name(group: Group) -> str:
    """Return what a group's team is called: as the group is, or its address where it has no name."""
    return group.name.strip() or group.email


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """A SCIM Group as Keeper lists it: a team or a role."""

    id: str
    name: str
    external_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamWritten(Result):
    """What became of a request about a team, which the group's id names: the team as it is then, or the error."""

    team: Team | None = None


class TeamState(StrEnum):
    """What became of a group that is, or was, to be a team."""

    THERE = "there"
    WAITING = "waiting"  # for the next run: a request failed, or this run made enough
    REFUSED = "refused"  # by Keeper
    NAME_TAKEN = "name_taken"
    DOUBLE = "double"
    DELETED = "deleted"  # by somebody in Keeper
    ROLE = "role"
    TOO_MANY = "too_many"
    LEFT = "left"  # the choice, or the directory: the team stays


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTeam:
    """What is kept about a group and its team; `team_id` is empty where it never had one.

    `name` and `email` are the group's, `team_name` is how Keeper showed the team last. `reason` is why the last request
    failed, `since` when the state began, `created` when we made the team.
    """

    group_id: str
    name: str
    email: str
    state: TeamState
    since: datetime
    team_id: str = ""
    team_name: str = ""
    reason: str = ""
    created: datetime | None = None
    people: int | None = None  # of those on the roster who were put into it; None: not known yet
    unread: bool = False  # the group's members could not be read to their end in the last run
    held: int = 0  # people who left the group and are not taken out of the team, since they are too many
    held_digest: str = ""  # names who they are, for an approval
    removals: Removals | None = None  # of the last day

    @property
    def serves(self) -> bool:
        """Say whether the team is the chosen group's, and so whether people are put into it."""
        return bool(self.team_id) and self.state not in (TeamState.DOUBLE, TeamState.DELETED, TeamState.LEFT)

    def becomes(self, state: TeamState, now: datetime, reason: str = "") -> GroupTeam:
        """Return it in a state, which may be the one that it has; of a team that serves no more nobody is held."""
        becomes = replace(self, state=state, reason=reason, since=self.since if state is self.state else now)
        return becomes if becomes.serves else replace(becomes, held=0, held_digest="", unread=False)

    def failed(self, state: TeamState, now: datetime, reason: str) -> GroupTeam:
        """Return it after a request that failed just now."""
        return replace(self, state=state, reason=reason, since=now)

    def rests(self, name: str, now: datetime) -> bool:
        """Say whether what failed is not to be asked for again yet: a group renamed since is another question."""
        return bool(self.reason) and self.name == name and now - self.since < RESTS


@dataclass(slots=True, kw_only=True)
class TeamPlan:
    """What is to be done: teams to be made of groups, and teams to be renamed; `known` is what is kept, by group."""

    known: dict[str, GroupTeam] = field(default_factory=dict)
    creates: list[GroupTeam] = field(default_factory=list)
    renames: list[GroupTeam] = field(default_factory=list)


def plan_teams(
    choice: TeamChoice,
    groups: Iterable[Group],
    teams: Sequence[Team],
    known: Mapping[str, GroupTeam],
    now: datetime,
) -> TeamPlan:
    """Plan from all groups of the directory, all teams of the node, both listed to their ends, and what was kept."""
    planner = _Planner(choice, teams, known, now)
    chosen = sorted((group for group in groups if choice.chooses(group)), key=lambda group: (group.name, group.id))
    waiting = [group for group in chosen if not planner.keep(group)]  # first those who have a team: it takes a name
    for group in waiting:
        planner.make(group)
    planner.close()
    return planner.plan


class _Planner:
    def __init__(
        self, choice: TeamChoice, teams: Sequence[Team], known: Mapping[str, GroupTeam], now: datetime
    ) -> None:
        self.plan = TeamPlan()
        self._choice = choice
        self._known = known
        self._now = now
        self._of: dict[str, list[Team]] = {}
        for team in teams:
            if team.external_id:
                self._of.setdefault(team.external_id, []).append(team)
        self._names = Counter(_comparable(team.name) for team in teams)
        self._count = 0  # teams of chosen groups, those to be made included

    def keep(self, group: Group) -> bool:
        """Judge a group that has a team; False: it has none."""
        teams = self._of.get(group.id, [])
        if not teams:
            return False
        self._count += 1
        if len(teams) > 1:
            self._note(group, TeamState.DOUBLE)
            return True
        (team,) = teams
        wanted = team_name(group)
        if team.name == wanted:
            self._note(group, TeamState.THERE, team)
        elif _comparable(team.name) != _comparable(wanted) and self._names[_comparable(wanted)]:
            self._note(group, TeamState.NAME_TAKEN, team)
        elif self._choice.makes_role(wanted) is not self._choice.makes_role(team.name):
            self._note(group, TeamState.ROLE, team)  # what Keeper makes of such a rename is not documented
        elif not self._rests(group, team):
            self.plan.renames.append(self._note(group, TeamState.WAITING, team))
            self._names[_comparable(wanted)] += 1
        return True

    def make(self, group: Group) -> None:
        """Judge a group that has no team."""
        wanted = team_name(group)
        had = self._known.get(group.id)
        if had is not None and had.team_id:
            self._note(group, TeamState.DELETED)
        elif self._choice.makes_role(wanted) and not self._choice.roles:
            self._note(group, TeamState.ROLE)
        elif self._names[_comparable(wanted)]:
            self._note(group, TeamState.NAME_TAKEN)
        elif self._count >= self._choice.most:
            self._note(group, TeamState.TOO_MANY)
        elif self._rests(group):
            self._count += 1
        else:
            self._count += 1
            noted = self._note(group, TeamState.WAITING)
            if len(self.plan.creates) < CREATIONS_A_RUN:
                self.plan.creates.append(noted)
                self._names[_comparable(wanted)] += 1

    def close(self) -> None:
        """Keep in mind the groups that are not chosen any more as long as their team is there."""
        for group_id, known in self._known.items():
            if group_id not in self.plan.known and known.team_id and group_id in self._of:
                self.plan.known[group_id] = known.becomes(TeamState.LEFT, self._now)

    def _rests(self, group: Group, team: Team | None = None) -> bool:
        """Keep a failed request in mind as it is for a while, unless it was about another team than this one."""
        had = self._known.get(group.id)
        if had is None or not had.rests(team_name(group), self._now):
            return False
        if team is not None and team.id != had.team_id:
            return False
        self.plan.known[group.id] = had
        return True

    def _note(self, group: Group, state: TeamState, team: Team | None = None) -> GroupTeam:
        known = self._known.get(group.id)
        base = known or GroupTeam(group_id=group.id, name="", email="", state=state, since=self._now)
        noted = replace(base.becomes(state, self._now), name=team_name(group), email=group.email)
        if team is not None:
            noted = replace(noted, team_id=team.id, team_name=team.name)
        self.plan.known[group.id] = noted
        return noted


def _comparable(name: str) -> str:
    return " ".join(name.split()).casefold()
