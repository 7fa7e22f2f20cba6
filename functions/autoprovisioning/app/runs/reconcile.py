"""Reconcile everybody: observe both sides, plan, guard, record, dispatch; the workers finish the run.

One reconciliation reads the directory once for all connections and makes one run for each. Brakes: an incomplete
listing deprovisions nobody, what trips the volume guard is held as a whole, a dead token pauses the connection before
anything is planned, and a run whose batches are still being applied is left to finish.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from autoprovisioning.app.ports.roster import Edit, Progress
from autoprovisioning.app.provisioning.adoption_grounds import AdoptionGrounds, confirmed_for
from autoprovisioning.app.provisioning.serving import as_it_was
from autoprovisioning.app.provisioning.volume_guard import remember_active
from autoprovisioning.app.runs import dispatch
from autoprovisioning.app.runs.brake_plan import brake
from autoprovisioning.app.runs.close_run import LEFT_BY_EDIT, NOTE_LIMIT, close_unfinished, tell
from autoprovisioning.app.runs.drift import judge_differing, report_changes, report_unprovisioned, tell_drift
from autoprovisioning.app.runs.follow_teams import AllGroups, follow_teams
from autoprovisioning.app.runs.follow_units import follow_units
from autoprovisioning.app.runs.lease import leased
from autoprovisioning.app.runs.lock_accounts import lock_accounts
from autoprovisioning.app.runs.open_run import UNLISTED, Side, earlier_run, open_side, refuse
from autoprovisioning.app.runs.plan_everybody import (
    LOOKUPS_ONE_BY_ONE,
    creations,
    empty_listings,
    judge_everybody,
    remarks,
)
from autoprovisioning.app.runs.read_directory import Survey
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.entry import Action, Entry
from autoprovisioning.domain.errors import Busy, ProvisioningError, Throttled
from autoprovisioning.domain.guard import Kind
from autoprovisioning.domain.matching import match_accounts
from autoprovisioning.domain.observation import rules_of
from autoprovisioning.domain.plan import Plan, Planner
from autoprovisioning.domain.runs import ARCHIVED, KEEP_ACCESS, Run, RunKind, RunState
from autoprovisioning.domain.sources import Feed

log = logging.getLogger(__name__)

LEASE = "reconcile"
SENT_OUT = (RunState.PLANNED, RunState.DONE)


def reconcile(
    services: Services,
    kind: RunKind,
    deadline: datetime,
    *,
    retry_failures: bool = False,
    insist: bool = False,
    request: str = "",
) -> Sequence[Run]:
    """Reconcile every connection that is on; returns their runs, those still being applied by an earlier call included.

    The runs that it opens carry `request`, the id of the request that they are opened for.

    Raises:
        Transient: the directory could not be read, or a plan could not be sent out; what was sent out goes on.
        Busy: with `insist`, if an earlier run is still in progress, since the request came after it began.
    """
    limit = services.clock() + services.timings.reconcile_limit
    with leased(services, LEASE, services.timings.reconcile_lease, limit) as fence:
        if fence is None:
            log.info("Another reconciliation is in progress")
            runs = [run for each in services.connections.all() for run in services.runs.open(each.id)]
        else:
            asked = _Asked(kind=kind, retry_failures=retry_failures, insist=insist, request=request)
            runs = _reconcile(services, asked, deadline, fence)
    if insist and fence is None:
        raise _under_way()
    return runs


def _under_way() -> Busy:
    return Busy("An earlier run is still in progress", retry_after=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What `reconcile` was asked to do."""

    kind: RunKind
    retry_failures: bool
    insist: bool
    request: str


def _reconcile(services: Services, asked: _Asked, deadline: datetime, fence: int) -> list[Run]:
    sides: list[Side] = []
    began = services.clock()
    connections = services.connections.all()
    on = [connection for connection in connections if connection.state is State.ON]
    earlier = {connection.id: run for connection in on if (run := earlier_run(services, connection)) is not None}
    if asked.insist and earlier:
        raise _under_way()
    runs, groups = list(earlier.values()), AllGroups(services.directory)
    for connection in on:
        if connection.id in earlier or services.connections.get(connection.id) is None:
            continue  # deleted while the node of another was listed: nothing would remove the record of a run
        side = open_side(services, connection, asked.kind, fence, asked.request)
        if side.run.state is RunState.OBSERVING:
            _follow_teams(services, side, groups, deadline)
        if side.run.state is RunState.OBSERVING:
            sides.append(side)
        else:
            runs.append(side.run)
    if not sides:
        return runs
    try:
        survey = _observe(services, connections, sides, deadline, asked)
    except ProvisioningError as error:
        for side in sides:
            refuse(services, side, str(error))
        raise
    runs += _send_out(services, sides, survey, deadline)
    for side in sides:
        _keep_people(services, side, survey)
    if (
        services.through.audit_log
        and len(sides) == len(on)
        and not (survey.alone or survey.unread)
        and all(side.run.state in SENT_OUT and survey.whole(side.connection) for side in sides)
    ):
        services.sources.hear(Feed.SWEEP, began, user=False)  # it has found what a sweep would
    return runs


def _follow_teams(services: Services, side: Side, groups: AllGroups, deadline: datetime) -> None:
    """Do what is to be done about teams, before their members are judged; a dead token ends this run alone."""
    try:
        follow_teams(services, side, groups, deadline)
    except ProvisioningError as error:
        refuse(services, side, str(error))


def _send_out(services: Services, sides: Sequence[Side], survey: Survey, deadline: datetime) -> list[Run]:
    """Plan and dispatch each connection's run; one that fails does not hold up the others."""
    rosters = {side.connection.id: side.roster for side in sides}
    runs: list[Run] = []
    failed: ProvisioningError | None = None
    for side in sides:
        try:
            runs.append(_plan_and_dispatch(services, side, survey, rosters, deadline))
        except ProvisioningError as error:
            close_unfinished(services, side.run, str(error))
            failed = failed or error
    if failed is not None:
        raise failed
    return runs


def _keep_people(services: Services, side: Side, survey: Survey) -> None:
    """Keep who was listed, for those who look who has access: the run is no worse without."""
    listed = side.planner.listed if side.planner is not None else None
    everybody = survey.whole(side.connection) and not (survey.alone or survey.unread)
    if listed is None or not everybody or not side.connection.begun:
        return
    try:
        if as_it_was(services, side.connection):  # of what was deleted meanwhile nobody must be kept
            services.people.put(side.connection, side.run.started, listed, side.roster)
    except ProvisioningError as error:
        log.warning("The list of people could not be kept: %s", type(error).__name__)


def _observe(
    services: Services,
    connections: Sequence[Connection],
    sides: Sequence[Side],
    deadline: datetime,
    asked: _Asked,
) -> Survey:
    """Give each connection a planner, and let them judge everybody, or in a drift run, if enough, those who differ."""
    now = services.clock()
    planners: dict[str, Planner] = {}
    for side in sides:
        confirmed = confirmed_for(services, side.connection, side.roster.values())
        rules = rules_of(side.connection, confirmed, retry_failures=asked.retry_failures)
        side.planner = Planner(
            side.connection, side.roster, rules, now, listing=side.found, recognized=services.recognized
        )
        if asked.kind is RunKind.FULL:
            side.planner.listed = {}
            side.planner.memberships = side.memberships
        planners[side.connection.id] = side.planner
    survey = judge_differing(services, connections, sides) if asked.kind is RunKind.DRIFT else None
    rosters = {side.connection.id: side.roster for side in sides}
    return survey or judge_everybody(services, connections, planners, rosters, deadline, remember=True)


def _plan_and_dispatch(
    services: Services,
    side: Side,
    survey: Survey,
    rosters: Mapping[str, Mapping[str, Entry]],
    deadline: datetime,
) -> Run:
    assert side.planner is not None  # noqa: S101 - _observe made it
    plan, read = side.planner.plan, side.connection
    if not as_it_was(services, read):
        refuse(services, side, LEFT_BY_EDIT)
        return side.run
    side.connection = services.roster.begin(side.connection, len(plan.writes) + len(plan.notes) + plan.outside)
    follow_units(services, read, survey.units)
    grounds = AdoptionGrounds(services, side.connection, lambda: survey.deleted_addresses, rosters)
    _look_up_creations(services, side, plan, grounds, deadline)
    report_changes(services, side)
    overtaken = dispatch.write_notes(services, side.connection, plan)
    dispatch.write_refusals(services, side.connection, side.run, plan.refusals)
    if creations(plan) and side.connection.unproven is None and as_it_was(services, read):
        dispatch.adopt_right_ones(services, side.connection, side.run, plan)
    tell_drift(side, plan)
    report_unprovisioned(services, side, survey)
    whole = survey.whole(side.connection)
    waiting = 0 if whole else plan.drop_deprovisioning()
    first = not survey.alone and remember_active(services, side.connection, plan.active, whole=whole)
    connection = _proven(services, side.connection) if side.meets_known() else side.connection
    creating = {user_id for user_id, planned in plan.looks.items() if planned.action is Action.RECREATE}
    everybody = whole and not (survey.alone or survey.unread)
    held, told = brake(
        services,
        connection,
        plan,
        side.roster,
        began=side.run.started,
        whole=everybody,
        first=first,
        overtaken=overtaken,
        tells_of=survey.tells_of,
        in_parts=survey.in_parts,
    )
    if everybody and creating and creating <= plan.looks.keys():
        _proven(services, connection)  # proven at the latest by the approval of everything to be created there
    told += lock_accounts(services, side.keeper, side.connection, deadline)
    looks = [planned.look for planned in plan.looks.values()]
    batches = dispatch.batches(services, side.connection, side.run, plan.writes, looks)
    planned = replace(
        side.run,
        state=RunState.PLANNED if batches else RunState.DONE,
        finished=None if batches else services.clock(),
        batches=len(batches),
        planned=_planned(plan),
        complete=whole
        and not survey.unread
        and survey.deleted_listed
        and not empty_listings(survey, read, plan)
        and side.listed,
        notes=_notes(survey, plan, side, told, waiting),
        last_progress=services.clock(),
    )
    if not _still_ours(services, planned):
        log.error("A run was taken over while it was being planned; its plan is dropped")
        return replace(planned, state=RunState.SUPERSEDED)
    side.run = planned
    if not batches:
        tell(planned)
    counts = {"unchanged": plan.unchanged, "held": held.total(), "failed": len(plan.backing_off)}
    counts |= {} if survey.alone else {ARCHIVED: plan.archived}
    _count(services, side, {**counts, KEEP_ACCESS: waiting + held[Kind.TAKING]})
    services.queue.apply(batches)
    return side.run


def _still_ours(services: Services, planned: Run) -> bool:
    """Record the plan, unless another planner closed this run because it held the lease for too long."""

    def edit(current: Run) -> Run | None:
        return planned if current.state is RunState.OBSERVING else None

    return services.runs.change(planned.connection_id, planned.id, edit) is not None


def _count(services: Services, side: Side, counts: Mapping[str, int]) -> None:
    """Add what planning itself found to the run's counts, and the outside requests made so far."""
    told = dict(counts) | dict(services.meter.take())
    progress = Progress(run_id=side.run.id, at=services.clock(), counts=told)
    services.roster.commit(side.connection, (), lambda _entries: (Edit(progress=progress), None))


def _look_up_creations(
    services: Services, side: Side, plan: Plan, grounds: AdoptionGrounds, deadline: datetime
) -> None:
    """List Keeper once if many users have no known account; if that fails the workers look each of them up."""
    if creations(plan) <= LOOKUPS_ONE_BY_ONE or services.clock() >= deadline:
        return
    try:
        pages = [side.found.values()] if side.found is not None else side.keeper.accounts().list()
        match_accounts(plan, pages, grounds)
    except UNLISTED as error:
        if isinstance(error, Throttled):
            side.keeper.throttle(error)
        log.warning("Keeper could not be listed: %s", type(error).__name__)
        side.notes.append(f"Keeper could not be listed, so accounts are looked up one by one: {error}")


def _proven(services: Services, connection: Connection) -> Connection:
    """Note that the node is the connection's: creations no longer need approval."""
    if connection.unproven is None:
        return connection
    proven = services.connections.change(connection.id, lambda current: replace(current, unproven=None))
    return proven or connection


def _notes(survey: Survey, plan: Plan, side: Side, told: Sequence[str], waiting: int) -> tuple[str, ...]:
    """Say in the run's record what an administrator should know about it; `told` is what is held."""
    notes = [*remarks(survey, side.connection, plan, waiting), *side.notes, *side.keeper.remarks(), *told]
    return tuple(note[:NOTE_LIMIT] for note in dict.fromkeys(notes))


def _planned(plan: Plan) -> dict[str, int]:
    planned: dict[str, int] = {}
    for change in plan.writes:
        planned[change.action.value] = planned.get(change.action.value, 0) + 1
    for look in plan.looks.values():
        name = look.action.value if look.action is not None else "look"
        planned[name] = planned.get(name, 0) + 1
    return planned
