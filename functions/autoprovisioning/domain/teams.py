"""Teams: which groups of the directory are chosen to be teams in Keeper, and what is kept about each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

from .accounts import Result
from .errors import BadInput
from .memberships import SETTLED, WINDOW, Removals, Unsettled
from .scope import Group
from .texts import has_controls

MOST_TEAMS = 1_000  # of a connection: a run goes through all of them
MOST_PATTERNS = 50
MOST_PENDING_DAYS = 90
LONGEST_PATTERN = 200
LONGEST_TEAM_NAME = 1024  # characters of a name or externalId that are kept: none of ours is as long
RESTS = timedelta(hours=1)  # after a request that failed; a listing may lag behind a creation whose answer was lost
LONGER = 4  # times as long after each further one of those
MOST_LOST = 4  # creations of one team without an answer, over a day: each may have made one that no listing shows


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
    empty_left: bool = False  # what becomes of the team of a group that is not chosen any more, or deleted
    remove_suspended: bool = False  # from teams: else those whose account is suspended keep their memberships
    pending_days: int = 14  # for so long Keeper is awaited to show a team, or a membership, that was sent

    @property
    def on(self) -> bool:
        """Say whether any group can become a team."""
        return bool(self.groups or self.patterns)

    @property
    def patience(self) -> timedelta:
        """How long what was sent may wait in Keeper before somebody is told to look after it."""
        return timedelta(days=self.pending_days)

    @property
    def followed(self) -> bool:
        """Say whether runs have anything to do with teams."""
        return self.on or self.empty_left

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
        if not 1 <= self.pending_days <= MOST_PENDING_DAYS:
            problem = f"{self.pending_days} is out of range"
            raise BadInput("teams.pending_days", problem, f"Use 1 to {MOST_PENDING_DAYS} days.")

    def chooses(self, group: Group) -> bool:
        """Say whether a group is to be a team."""
        texts = (group.name.casefold(), group.email.casefold())
        if _fits(self.exclusions, texts):
            return False
        return any(group.id == chosen.id for chosen in self.groups) or _fits(self.patterns, texts)

    def makes_role(self, name: str) -> bool:
        """Say whether Keeper makes a role of a group of this name."""
        return bool(self.role_prefix) and name.startswith(self.role_prefix)

    def bars(self, name: str) -> bool:
        """Say whether what Keeper makes under this name is a role, and roles are not chosen."""
        return self.makes_role(name) and not self.roles


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


class Obstacle(StrEnum):
    """Why a team that has the name of a group is not to be adopted for it."""

    OWNED = "owned"  # it carries an externalId: another group's id, or what another tool wrote
    SEVERAL = "several"  # it is not the only one of this name
    ROLE = "role"  # it is one, or would become one
    NO_ID = "no_id"  # its id cannot be used


_OBSTACLES = {
    Obstacle.OWNED: "it carries an externalId, so it is another group's, or another tool's",
    Obstacle.SEVERAL: "several teams have this name",
    Obstacle.ROLE: "it is a role, or would become one",
    Obstacle.NO_ID: "its id cannot be used",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Namesake:
    """The team that has the name of a group which has none; None as `obstacle` says that it can be adopted."""

    team_id: str
    name: str
    external_id: str = ""
    obstacle: Obstacle | None = None

    @property
    def why(self) -> str:
        """Say why it cannot be adopted; empty where it can."""
        return _OBSTACLES[self.obstacle] if self.obstacle is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedAdoption:
    """An administrator's word that the team of this id and name is to be the group's, whose team is called `name`."""

    group_id: str
    name: str
    team_id: str
    team_name: str
    by: str
    at: datetime

    def lasts(self, now: datetime) -> bool:
        """Say whether it is not too old."""
        return now - self.at < WINDOW

    def alike(self, other: ConfirmedAdoption | None) -> bool:
        """Say whether another one is about the same team and group, as they are called."""
        return other is not None and replace(other, by=self.by, at=self.at) == self


class TeamState(StrEnum):
    """What became of a group that is, or was, to be a team."""

    THERE = "there"
    SENT = "sent"  # Keeper took it, and no listing has shown it yet
    UNSEEN = "unseen"  # ... for longer than it is awaited
    WAITING = "waiting"  # for the next run: a request failed, or this run made enough
    REFUSED = "refused"  # by Keeper
    NAME_TAKEN = "name_taken"
    DOUBLE = "double"
    DELETED = "deleted"  # by somebody in Keeper
    ROLE = "role"
    TOO_MANY = "too_many"
    LEFT = "left"  # the choice, or the directory: the team stays


_NOT_SERVING = (TeamState.SENT, TeamState.UNSEEN, TeamState.DOUBLE, TeamState.DELETED, TeamState.LEFT)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTeam:
    """What is kept about a group and its team; `team_id` is empty where it never had one.

    `name` and `email` are the group's, `team_name` is how Keeper showed the team last. `reason` is why the last request
    failed, `since` when the state began, `created` when we made the team, `unseen_since` the same of one that no
    listing has shown since. Of the `people` those who are `unsettled` are not shown in the team.
    `asked` is the name under which it was last asked for, to be made, renamed or adopted, until it is known what became
    of that. `lost` counts the creations of which that was never known.
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
    people: int | None = None  # who were put into it and not let out of it since; None: not known yet
    unread: bool = False  # the group's members could not be read to their end in the last run
    held: int = 0  # people who are to leave the team and are not taken out of it, since they are too many
    held_digest: str = ""  # names who they are, for an approval
    removals: Removals | None = None  # of the last day
    unseen_since: datetime | None = None
    unsettled: Unsettled = SETTLED
    namesake: Namesake | None = None  # NAME_TAKEN: by which team, where the group has none itself
    counted: datetime | None = None  # when another number of people was last found in it than before
    sent_name: str = ""  # which Keeper accepted last; `team_name` may be its own spelling of that
    asked: str = ""
    lost: int = 0

    @property
    def given_up(self) -> bool:
        """Say whether none is made before an administrator says so: too many may have been made already."""
        return bool(self.asked) and self.lost >= MOST_LOST

    @property
    def last(self) -> datetime:
        """When the team last changed, or who is in it, as far as that was counted."""
        return max(filter(None, (self.since, self.created, self.counted)))

    @property
    def serves(self) -> bool:
        """Say whether the team is the chosen group's, and so whether people are put into it."""
        return bool(self.team_id) and self.state not in _NOT_SERVING

    def becomes(self, state: TeamState, now: datetime, reason: str = "") -> GroupTeam:
        """Return it in a state, which may be the one that it has; of a team that serves no more nobody is held."""
        becomes = replace(self, state=state, reason=reason, since=self.since if state is self.state else now)
        if becomes.serves:
            return becomes
        return replace(becomes, held=0, held_digest="", unread=False, unsettled=SETTLED)

    def as_role(self, now: datetime) -> GroupTeam:
        """Return it as one whose name makes a role, which is not chosen: whatever role is there is not the group's."""
        return replace(self.becomes(TeamState.ROLE, now), team_id="")

    def sent(self, now: datetime, *, creates: bool) -> GroupTeam:
        """Return it as it is being asked for: nobody may be left to say what came of that."""
        return replace(self, asked=self.name, since=now, lost=self.lost + creates)

    def failed(self, state: TeamState, now: datetime, reason: str) -> GroupTeam:
        """Return it after a request that failed just now."""
        return replace(self, state=TeamState.REFUSED if self.given_up else state, reason=reason, since=now)

    def anew(self, now: datetime) -> GroupTeam:
        """Return it as one that the next run asks for, whatever came of the requests before."""
        return replace(self.becomes(TeamState.WAITING, now), asked="", lost=0)

    def rests(self, name: str, now: datetime) -> bool:
        """Say whether what failed is not to be asked for again yet.

        A group renamed since is another question, unless a team of it may be there that no listing shows yet.
        """
        failed = self.state in (TeamState.WAITING, TeamState.REFUSED) and bool(self.reason or self.asked)
        in_doubt = bool(self.asked) and not self.team_id
        pause = RESTS * LONGER ** (self.lost - 1) if in_doubt and self.lost else RESTS
        rests = self.given_up or now - self.since < pause
        return failed and (self.name == name or in_doubt) and rests


def names_of(known: Mapping[str, GroupTeam]) -> dict[str, str]:
    """Return what teams are called in Keeper, by their ids."""
    return {team.team_id: team.team_name for team in known.values()}


def after_edit(choice: TeamChoice, known: Mapping[str, GroupTeam], now: datetime) -> dict[str, GroupTeam]:
    """Return what is kept once this is the choice: of groups that it leaves out, those that have a team.

    A group is judged by what it was called last; one that is chosen from now on waits for a listing of groups.
    """
    kept = {}
    for group_id, team in known.items():
        in_doubt = choice.on and bool(team.asked) and not team.team_id  # a run finds out whether there is one
        if in_doubt or choice.chooses(Group(id=group_id, email=team.email, name=team.name)):
            kept[group_id] = team.as_role(now) if team.team_id and choice.bars(team.team_name) else team
        elif team.team_id and team.state is not TeamState.DELETED:
            kept[group_id] = team.becomes(TeamState.LEFT, now)
    return kept


def comparable(name: str) -> str:
    """Return a name without what servers change of one: its case, and space around and between words."""
    return " ".join(name.split()).casefold()
