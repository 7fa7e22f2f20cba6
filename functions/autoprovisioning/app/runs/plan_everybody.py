"""Let planners judge everybody: what runs and previews share, from reading the directory to matching accounts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from autoprovisioning.app.provisioning.placement import place
from autoprovisioning.app.provisioning.volume_guard import kept_out
from autoprovisioning.app.runs.list_users import MOST_AHEAD, Pages, Parts, everybody
from autoprovisioning.app.runs.read_directory import Survey, begin, list_deleted_again
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import SERVING, Connection
from autoprovisioning.domain.directory_user import DirectoryUser
from autoprovisioning.domain.entry import Action, Entry, Status
from autoprovisioning.domain.errors import NotSent
from autoprovisioning.domain.listing_parts import Listings
from autoprovisioning.domain.plan import Plan, Planner
from autoprovisioning.domain.scope import Scope
from autoprovisioning.domain.words import missing_unit

FOR_GROUPS = 0.9  # of the time for the directory: the rest is for users, whatever groups there are
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
    *,
    remember: bool = False,
) -> Survey:
    """Read the directory once and let the planners judge everybody, each for its connection.

    `connections` are all that a user may belong to, in their order; rosters that are not in `rosters` are read.
    `remember`: what this shows of the directory's size is kept for the next time, which goes on where this one had to
    stop. Otherwise everybody counts, or nobody.

    Raises:
        Transient: the directory could not be read.
    """
    planned = [connection for connection in connections if connection.id in planners]
    rosters = _all_rosters(services, connections, rosters)  # before the directory, like those given
    serving = [connection for connection in connections if connection.state in SERVING]
    held = {each.id: kept_out(services, each) for each in serving} if len(serving) > 1 else {}
    began = services.clock()
    groups_until = began + (deadline - began) * FOR_GROUPS
    fields = frozenset({"name"}).union(*(connection.settings.mapping.source_fields() for connection in planned))
    known = services.listings.get()
    parts = _parts(services, known, planned, planners, rosters, some_will_do=remember)
    pages = Pages(directory=services.directory, fields=fields, clock=services.clock, parts=parts)
    if (
        services.reads_at_once > 1
        and known.users <= MOST_AHEAD
        and any(each.settings.scope.groups for each in connections)
    ):
        pages.most_ahead = MOST_AHEAD
    with closing(pages):
        survey = begin(
            services.directory,
            connections,
            services.executor,
            services.reads_at_once,
            lambda: services.clock() >= groups_until,
            pages.read_ahead,
        )
        judge = _Judge(
            connections=connections, serving=serving, planners=planners, rosters=rosters, survey=survey, held=held
        )
        try:
            judge.judge_all(everybody(pages, survey, deadline))
        except NotSent:
            if remember and not survey.divided:
                # The next one is made in parts, and does not take as long; or in one with all of a run's time, if parts
                # took some of it in vain.
                now = services.clock()
                found = known.whole(survey.sizes, now, None)
                _remember(services, known, replace(found, doubted_at=now if survey.doubted else None))
            raise
    if remember:
        _remember(services, known, _listings(known, survey, parts, services.clock()))
    whole = survey.complete and survey.deleted_listed and not survey.unread
    if whole and any(planner.lacks(survey.deleted) for planner in planners.values()):
        list_deleted_again(services.directory, survey)
    now = services.clock()
    for connection in planned:
        planners[connection.id].read_at(now)
        planners[connection.id].close(survey.deleted, survey.proves_missing, survey.members_of(connection))
    return survey


def _parts(
    services: Services,
    known: Listings,
    planned: Sequence[Connection],
    planners: Planners,
    rosters: Rosters,
    *,
    some_will_do: bool,
) -> Parts | None:
    """Return the parts to list a large directory in; None where one listing is needed, or enough.

    A roster that is not begun has nobody who would be missed, and a search must be sure of whom it did not find. But
    where one listing takes longer than a run may, parts must do: the alternative is nothing.
    """
    beginnings = known.parts(services.clock())
    searching = any(planner.search is not None for planner in planners.values())
    needed = searching or not all(connection.begun for connection in planned)
    if not beginnings or (needed and not known.unfinished):
        return None

    def must_be_found() -> Iterator[Entry]:
        for connection in planned:
            for entry in rosters[connection.id].values():
                waits = entry.mark is not None or entry.failure is not None or entry.pending
                if entry.status is not Status.NONE or waits:
                    yield entry

    return Parts(
        beginnings=beginnings,
        executor=services.executor,
        at_once=services.reads_at_once,
        known=must_be_found,
        some_will_do=some_will_do,
    )


def _listings(known: Listings, survey: Survey, parts: Parts | None, now: datetime) -> Listings:
    if survey.in_parts and parts is not None:
        first = parts.beginnings[: parts.at_once]  # had all of the run's time
        return known.in_parts(parts.beginnings, survey.sizes, survey.unread, first)
    found = known.whole(survey.sizes, now, survey.waited) if survey.complete else known
    return replace(found, doubted_at=now) if survey.doubted else found


def _remember(services: Services, known: Listings, found: Listings) -> None:
    """Keep what a listing showed of the directory's size, if the next one depends on it: the rest is worth no write."""
    if found.differ(known, services.clock()):
        services.listings.put(found)


def _all_rosters(services: Services, connections: Sequence[Connection], rosters: Rosters) -> Rosters:
    """Return the roster of each connection that serves; none are needed if only one serves."""
    serving = [connection for connection in connections if connection.state in SERVING]
    if len(serving) < 2:
        return rosters
    others = (connection for connection in serving if connection.id not in rosters)
    return {**rosters, **{connection.id: services.roster.load(connection) for connection in others}}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judge:
    """Lets each planner judge a user for its connection.

    `serving` are the connections that a user may belong to, `held` whom a held plan keeps from being let in there.
    """

    connections: Sequence[Connection]
    serving: Sequence[Connection]
    planners: Planners
    rosters: Rosters
    survey: Survey
    held: Mapping[str, frozenset[str]]

    def judge_all(self, users: Iterable[DirectoryUser]) -> None:
        """Judge them as they come, each dated when it was read."""
        survey, everywhere = self.survey, Scope().located(self.survey.units)
        read_at: datetime | None = None
        for user in users:
            if survey.units and not everywhere.lists(user.org_unit_path):
                survey.unplaced += 1
            if survey.read_at is not None and survey.read_at is not read_at:
                read_at = survey.read_at
                for planner in self.planners.values():
                    planner.read_at(read_at)
            self.judge(user)

    def judge(self, user: DirectoryUser) -> None:
        left = partial(self._left, user)
        if len(self.serving) == 1:  # nearly everywhere: nobody else could have them
            (only,) = self.serving
            in_scope = self.survey.in_scope(only, user)
            for connection_id, planner in self.planners.items():
                planner.see(user, in_scope if connection_id == only.id else None, left)
            return
        placement = place(self.serving, user, self.survey.in_scope, partial(self._entry, user.id), self.held)
        self.survey.overlaps += bool(placement.overlaps)
        for connection_id, planner in self.planners.items():
            in_scope, outdated = placement.in_scope.get(connection_id), connection_id in placement.outdated
            planner.see(user, in_scope, left, moving=placement.stuck, outdated=outdated)

    def _entry(self, user_id: str, connection: Connection) -> Entry | None:
        return self.rosters.get(connection.id, NO_ENTRIES).get(user_id)

    def _left(self, user: DirectoryUser) -> tuple[str, ...]:
        """Return every connection whose scope does not hold the user, as complete listings prove."""
        return tuple(each.id for each in self.connections if self.survey.in_scope(each, user) is False)


def creations(plan: Plan) -> int:
    """Count the users without a known account."""
    return sum(1 for change in plan.writes if change.action is Action.CREATE)


def empty_listings(survey: Survey, connection: Connection, plan: Plan) -> list[str]:
    """Name the listings that are empty, without any error, although the connection provisions accounts."""
    if survey.alone or not plan.active:
        return []
    accounts = f"although {plan.active} of this connection's accounts are active"
    found = [] if survey.listed or survey.unread else [f"The directory's listing of users is empty, {accounts}"]
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
