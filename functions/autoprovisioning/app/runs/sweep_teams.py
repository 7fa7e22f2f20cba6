"""The sweep of teams: who joined or left a group since the account was last put into its team, or taken out of it.

What it finds is looked at user by user; the brake on removals (`domain.team_brake`) is put on here, where all who left
are seen together. While a run is under way it is the run's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from autoprovisioning.app.runs.read_directory import GroupMembers
from autoprovisioning.app.runs.team_members import keep, read_members
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Entry, Status
from autoprovisioning.domain.guard import reservation
from autoprovisioning.domain.memberships import Memberships, removable, stays_suspended

READ_WITHIN = timedelta(minutes=6)  # a quarter of what a run has, as there
ONE_BY_ONE = 100  # with more users than this, a full run is made


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Whom a connection's teams concern: the groups that they joined or left, and of these, those that they left.

    `leaves` says that they are to be taken out of a team: suspended people also of those whose group has them.
    """

    user_id: str
    name: str  # of the difference: if the user's entry changes, it becomes another one
    groups: tuple[str, ...]
    left: tuple[str, ...] = ()
    leaves: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamSweep:
    """What a sweep found of one connection's teams."""

    moved: tuple[Moved, ...] = field(default=())

    @property
    def names(self) -> frozenset[str]:
        """The names of the differences."""
        return frozenset(each.name for each in self.moved)


NOTHING = TeamSweep()


def sweep_teams(
    services: Services, connection: Connection, roster: Mapping[str, Entry], listed: GroupMembers
) -> TeamSweep:
    """Compare the groups that are teams with the roster, which was read before; `listed` are the scope's groups."""
    teams = services.teams.get(connection.id)
    if not any(team.serves for team in teams.values()) or services.runs.open(connection.id):
        return NOTHING
    members = read_members(services, teams.values(), services.clock() + READ_WITHIN, listed)
    kept, memberships = keep(services, connection, roster, members, known=teams, becomes=lambda current: current)
    groups = {team.team_id: team.group_id for team in kept.values() if team.serves}
    now = services.clock()
    found = (
        _moved(entry, memberships, groups, removes=connection.settings.teams.remove_suspended)
        for entry in roster.values()
        if connection.operates_on(entry.user_id) and not _rests(entry, now)
    )
    return TeamSweep(moved=tuple(each for each in found if each is not None))


def _rests(entry: Entry, now: datetime) -> bool:
    """Say whether something is being sent for the user, or failed and waits: its end makes another difference."""
    return entry.mark is not None or (entry.failure is not None and now < entry.failure.next_attempt)


def _moved(entry: Entry, memberships: Memberships, groups: Mapping[str, str], *, removes: bool) -> Moved | None:
    """Return how somebody's teams differ; `removes`: whoever is suspended is to leave them."""
    joins = entry.status is Status.ACTIVE and entry.entitled
    leaves = removes and stays_suspended(entry, entitled=entry.entitled)
    sent = entry.sent_teams
    wanted = memberships.wanted(entry.user_id, sent, joins=joins, leaves=leaves)
    if (wanted == entry.teams and not entry.asked) or not (joins or removable(entry)):
        return None
    stays = {*wanted, *memberships.inside(entry.user_id, sent)}  # a group that has them is not one that they left
    left = tuple(groups[team_id] for team_id in sent if team_id not in stays and team_id in groups)
    concerned = {*wanted}.symmetric_difference(entry.teams) | {*entry.asked}
    named = tuple(sorted(groups[team_id] for team_id in concerned if team_id in groups))
    if not named:
        return None
    name = reservation(entry.user_id, f"teams {entry.version} {' '.join(named)}")
    taken_out = not {*sent} <= {*wanted}
    return Moved(user_id=entry.user_id, name=name, groups=named, left=left, leaves=taken_out)
