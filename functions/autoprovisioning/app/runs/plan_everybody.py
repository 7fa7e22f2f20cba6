"""Let planners judge everybody: what runs and previews share, from reading the directory to matching accounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from autoprovisioning.app.provisioning.placement import place
from autoprovisioning.app.provisioning.volume_guard import kept_out
from autoprovisioning.app.runs.read_directory import Survey, begin, everybody
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import SERVING, Connection
from autoprovisioning.domain.directory_user import DirectoryUser
from autoprovisioning.domain.entry import Action, Entry
from autoprovisioning.domain.plan import Plan, Planner
from autoprovisioning.domain.scope import Scope
from autoprovisioning.domain.words import missing_unit

LOOKUPS_ONE_BY_ONE = 20  # with more creations than this, one listing of Keeper replaces the lookups

Planners = Mapping[str, Planner]  # by connection id
Rosters = Mapping[str, Mapping[str, Entry]]  # as read, by connection id
NO_ENTRIES: Mapping[str, Entry] = {}


def judge_everybody(
    services: Services,
    connections: Sequence[Connection],
    planners: Planners,
    rosters: Rosters,
    deadline: datetime,
) -> Survey:
    """Read the directory once and let the planners judge everybody, each for its connection.

    `connections` are all that a user may belong to, in their order; rosters that are not in `rosters` are read.

    Raises:
        Transient: the directory could not be read.
    """
    planned = [connection for connection in connections if connection.id in planners]
    rosters = _all_rosters(services, connections, rosters)  # before the directory, like those given
    serving = [connection for connection in connections if connection.state in SERVING]
    held = {each.id: kept_out(services, each) for each in serving} if len(serving) > 1 else {}
    survey = begin(services.directory, connections)
    fields = frozenset({"name"}).union(*(connection.settings.mapping.source_fields() for connection in planned))
    everywhere = Scope().located(survey.units)
    for user in everybody(services.directory, survey, fields, services.clock, deadline):
        survey.unplaced += bool(survey.units) and not everywhere.lists(user.org_unit_path)
        now = services.clock()
        for planner in planners.values():
            planner.read_at(now)
        _judge(connections, planners, rosters, survey=survey, held=held, user=user)
    now = services.clock()
    for connection in planned:
        planners[connection.id].read_at(now)
        planners[connection.id].close(survey.deleted, survey.complete, survey.members_of(connection))
    return survey


def _all_rosters(services: Services, connections: Sequence[Connection], rosters: Rosters) -> Rosters:
    """Return the roster of each connection that serves; none are needed if only one serves."""
    serving = [connection for connection in connections if connection.state in SERVING]
    if len(serving) < 2:
        return rosters
    others = (connection for connection in serving if connection.id not in rosters)
    return {**rosters, **{connection.id: services.roster.load(connection) for connection in others}}


def _judge(
    connections: Sequence[Connection],
    planners: Planners,
    rosters: Rosters,
    survey: Survey,
    held: Mapping[str, frozenset[str]],
    user: DirectoryUser,
) -> None:
    def entry_of(connection: Connection) -> Entry | None:
        return rosters.get(connection.id, NO_ENTRIES).get(user.id)

    placement = place(connections, user, survey.in_scope, entry_of, held)
    survey.overlaps += bool(placement.overlaps)

    def left() -> tuple[str, ...]:
        """Return every connection whose scope does not hold the user, as complete listings prove."""
        return tuple(each.id for each in connections if survey.in_scope(each, user) is False)

    for connection_id, planner in planners.items():
        in_scope, outdated = placement.in_scope.get(connection_id), connection_id in placement.outdated
        planner.see(user, in_scope, left, moving=placement.stuck, outdated=outdated)


def creations(plan: Plan) -> int:
    """Count the users without a known account."""
    return sum(1 for change in plan.writes if change.action is Action.CREATE)


def empty_listings(survey: Survey, connection: Connection, plan: Plan) -> list[str]:
    """Name the listings that are empty, without any error, although the connection provisions accounts."""
    if survey.alone or not plan.active:
        return []
    accounts = f"although {plan.active} of this connection's accounts are active"
    found = [] if survey.listed else [f"The directory's listing of users is empty, {accounts}"]
    empty = (group for group in connection.settings.scope.groups if survey.members.get(group.id) == frozenset())
    return found + [f"Scope group {group.email or group.id} is empty, {accounts}" for group in empty]


def remarks(survey: Survey, connection: Connection, plan: Plan, dropped: int) -> list[str]:
    """Say what an administrator should know about a plan; `dropped` counts what incomplete listings kept out of it."""
    notes = list(survey.notes)
    if survey.units is not None:
        consequence = "it is not known who is in scope, so nobody gains or loses access"
        mend = "Choose another one under Provisioning scope"
        notes += [f"{missing_unit(unit)}: {consequence}. {mend}" for unit in survey.located(connection).unlisted]
    if survey.unplaced:
        notes.append(
            f"Users of organizational units that the directory does not list: {survey.unplaced}. Unless they are below "
            "a chosen one, it is not known whether they are in scope"
        )
    if dropped:
        notes.append(f"Suspensions and deletions that wait for a run with complete listings: {dropped}")
    notes += [f"{what}: check whether that is true" for what in empty_listings(survey, connection, plan)]
    if survey.untold:
        notes.append(f"Users whose suspension the directory does not report, left as they are: {survey.untold}")
    if survey.overlaps:
        notes.append(f"Users in the scope of several connections, kept by the one that has them: {survey.overlaps}")
    if plan.archived:
        notes.append(
            f"Archived users who keep their access, since they are not operated on: {plan.archived}. "
            "Treat archived users as suspended under Deprovisioning if they should lose it"
        )
    if plan.locked:
        notes.append(f"Accounts locked in Keeper by someone else, to be unlocked only if approved: {plan.locked}")
    return notes
