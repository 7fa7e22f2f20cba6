"""Read who is in the groups that are teams, and keep what follows: for full runs and sweeps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from autoprovisioning.app.runs.read_directory import GroupMembers, members_of
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.errors import ConfigurationRefused, Transient
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.memberships import Members, Memberships, leaving, removable, sizes, unsettled
from autoprovisioning.domain.team_brake import TeamListings
from autoprovisioning.domain.teams import GroupTeam

log = logging.getLogger(__name__)

Teams = Mapping[str, GroupTeam]  # by group id
NOT_LISTED: GroupMembers = {}


def read_group(
    services: Services, group_id: str, until: datetime, why: list[str] | None = None
) -> frozenset[str] | None:
    """List who is in a group, those of nested groups included; None: it could not be read to its end until then.

    What kept it from that joins `why`.
    """
    try:
        return members_of(services.directory, group_id, lambda: services.clock() >= until)
    except (Transient, ConfigurationRefused) as error:
        if why is not None:
            why.append(str(error))
        log.warning("The members of a group could not be read: %s", type(error).__name__)
        return None


def read_members(
    services: Services,
    teams: Iterable[GroupTeam],
    until: datetime,
    listed: GroupMembers = NOT_LISTED,
    why: list[str] | None = None,
) -> Members:
    """List who is to be in each team, several at once, until then; `listed` are groups that were listed already.

    What kept one from being read to its end joins `why`.
    """

    def read(team: GroupTeam) -> frozenset[str] | None:
        return listed[team.group_id] if team.group_id in listed else read_group(services, team.group_id, until, why)

    serving = [team for team in teams if team.serves]
    told = services.executor.each(read, serving, services.reads_at_once)
    return dict(zip((team.team_id for team in serving), told, strict=True))


def keep(
    services: Services,
    connection: Connection,
    roster: Mapping[str, Entry],
    members: Members,
    *,
    known: Teams,
    becomes: Callable[[Teams], Teams],
    events: Sequence[Event] = (),
) -> tuple[Teams, Memberships]:
    """Keep what became of the teams, and who was let out of them; returns both, with whom none may be taken out.

    `roster` and the teams as they were `known` were read before the `members`: what is decided meanwhile is newer.
    Where nobody leaves and nothing changed, `known` is returned itself, and nothing is read or written.
    """
    able = list(filter(removable, roster.values()))
    served = (entry for entry in able if connection.operates_on(entry.user_id))
    lost = leaving(served, members, suspended=connection.settings.teams.remove_suspended)
    now = services.clock()
    found = TeamListings(
        members=members,
        roster=roster,
        people=sizes(roster.values()),
        able=sizes(able),
        lost=lost,
        approvals=services.teams.approvals(connection.id) if lost else {},
        unsettled=unsettled(roster.values(), connection.settings.teams.patience, now),
    )
    held = dict[str, Sequence[str]]()

    def edit(current: Teams) -> Teams:
        nonlocal held
        noted, stays = found.noted(becomes(current), now)
        held = {team_id: tuple(users) for team_id, users in stays.items()}
        return noted

    if not (events or lost) and edit(known) == known:
        return known, Memberships(members=members)
    kept = services.teams.change(connection.id, edit, events)
    return kept, Memberships(members=members, held=held)
