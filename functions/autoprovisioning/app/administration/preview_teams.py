"""What a preview says of teams: which would be made, who would be in them, and whose names are taken in Keeper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from datetime import datetime

from autoprovisioning.app.ports.accounts import Accounts
from autoprovisioning.app.runs.follow_teams import LISTING_FAILS
from autoprovisioning.app.runs.team_members import read_group
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Action, Entry, Status
from autoprovisioning.domain.memberships import removable
from autoprovisioning.domain.plan import Plan
from autoprovisioning.domain.requests import TeamsForeseen
from autoprovisioning.domain.team_plan import plan_teams
from autoprovisioning.domain.teams import GroupTeam, TeamState


def with_access(connection: Connection, roster: Mapping[str, Entry], plan: Plan) -> frozenset[str]:
    """Return who has access once a plan is carried out, as far as that is up to it: only they join teams."""
    has = (
        entry.user_id
        for entry in roster.values()
        if entry.status is Status.ACTIVE and entry.entitled and connection.operates_on(entry.user_id)
    )
    return frozenset((*has, *(change.user_id for change in plan.writes if change.action is Action.CREATE)))


def suspended_by(connection: Connection, roster: Mapping[str, Entry], plan: Plan) -> Sequence[Entry]:
    """Return whose account is suspended once a plan is carried out, of those who can be taken out of teams."""
    taken = plan.deprovisioning()
    back = {user_id for user_id, planned in plan.looks.items() if planned.action is Action.UNSUSPEND}
    return [
        entry
        for entry in roster.values()
        if (entry.user_id in taken or (entry.status is Status.SUSPENDED and entry.user_id not in back))
        and removable(entry)
        and connection.operates_on(entry.user_id)
    ]


def foresee_teams(
    services: Services,
    connection: Connection,
    accounts: Accounts,
    *,
    people: Set[str],
    suspended: Collection[Entry],
    deadline: datetime,
) -> TeamsForeseen | None:
    """Plan teams as a full run would, and count whom of these people they would have; None without a choice.

    It lists the node's teams, the customer's groups, and the members of those that become teams, and writes nothing.
    """
    choice = connection.settings.teams
    if not choice.on:
        return None
    try:
        teams = accounts.teams(deadline)
        known = services.teams.get(connection.id)
        plan = plan_teams(choice, services.directory.all_groups(), teams, known, now=services.clock())
    except LISTING_FAILS as error:
        return TeamsForeseen(problem=f"Groups or teams could not be listed: {error}")
    there = [team for team in plan.known.values() if team.serves]
    made = [team for team in plan.known.values() if not team.team_id and team.state is TeamState.WAITING]
    others = [team.state for team in plan.known.values() if team not in there and team not in made]

    def read(team: GroupTeam) -> int | None:
        members = read_group(services, team.group_id, deadline)
        return len(people & members) if members is not None else None

    serving = {team.team_id for team in there} if choice.remove_suspended else set[str]()
    counts = list(services.executor.each(read, [*there, *made], services.reads_at_once))
    return TeamsForeseen(
        made=len(made),
        there=len(there),
        taken=others.count(TeamState.NAME_TAKEN),
        other=Counter(state for state in others if state is not TeamState.NAME_TAKEN),
        memberships=sum(filter(None, counts)),
        unread=counts.count(None),
        suspended=sum(len(serving.intersection(entry.sent_teams)) for entry in suspended),
    )
