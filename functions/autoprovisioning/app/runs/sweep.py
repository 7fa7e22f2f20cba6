"""The sweep: members of scope groups and of groups that are teams, because Google sends no notification for them.

Differences are published as "look again". A sweep that finds more leavers than the volume limit allows leaves them to
the next full run, which holds them as one plan.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

from autoprovisioning.app.runs.lease import leased
from autoprovisioning.app.runs.read_directory import GroupMembers, read_groups
from autoprovisioning.app.runs.sweep_teams import NOTHING, ONE_BY_ONE, Moved, TeamSweep, sweep_teams
from autoprovisioning.app.services import Services
from autoprovisioning.domain.causes import kept, of_difference
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.due_runs import latest
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.guard import reservation
from autoprovisioning.domain.leavers import crowd
from autoprovisioning.domain.ownership import Candidate, place
from autoprovisioning.domain.runs import Evidence, Look, RunKind
from autoprovisioning.domain.sources import CALLED, Feed, swept_lately

log = logging.getLogger(__name__)

LEASE = "sweep"


@dataclass(frozen=True, kw_only=True)
class _Side:
    """One connection's part of the sweep: roster, members, and what the previous sweep had published already.

    A difference is published once: what a look cannot settle (a member outside the chosen organizational units, a
    leaver who is deleted or archived) is the full run's business, not every sweep's. Where full runs are rare (`again`)
    leavers are published by each sweep: if the look came to nothing, they would keep their access for a day.

    `inside` are the members, in a pilot those of them who were chosen.
    """

    connection: Connection
    roster: Mapping[str, Entry]
    inside: frozenset[str]
    complete: bool
    swept: frozenset[str]
    again: bool = False
    teams: TeamSweep = NOTHING

    def moved(self) -> list[Moved]:
        """Return whose teams differ, unless the previous sweep published that; where full runs are rare, as above."""
        return [each for each in self.teams.moved if each.name not in self.swept or (self.again and each.leaves)]

    def has(self, user_id: str) -> bool:
        """Say whether the user was in scope when last looked at."""
        return user_id in self.roster and self.roster[user_id].in_scope

    def joined(self) -> set[str]:
        """Return who is a member now and was not in scope."""
        return {user_id for user_id in self.inside if not self.has(user_id)}

    def candidate(self, user_id: str) -> Candidate:
        """Return what the listings say about one user."""
        in_scope = True if user_id in self.inside else False if self.complete else None
        return Candidate(connection_id=self.connection.id, in_scope=in_scope, entry=self.roster.get(user_id))

    def left(self) -> set[str]:
        """Return who was in scope and is no longer a member, by complete listings."""
        if not self.complete or not self.connection.settings.scope.groups:
            return set()
        gone = {user_id for user_id, entry in self.roster.items() if entry.in_scope and user_id not in self.inside}
        return set(filter(self.connection.operates_on, gone))

    def name(self, user_id: str) -> str:
        """Name a difference: if the user's entry changes, it becomes another one."""
        entry = self.roster.get(user_id)
        kind = "joined" if user_id in self.inside else "left"
        return reservation(user_id, f"{kind} {entry.version if entry is not None else 0}")

    def news(self, user_ids: Iterable[str]) -> set[str]:
        """Return those whom the previous sweep did not publish."""
        return {user_id for user_id in user_ids if self.name(user_id) not in self.swept}

    def just_left(self) -> set[str]:
        """Return who left since the previous sweep; nobody if they are too many to be looked at one by one."""
        if self._crowd:
            log.warning("Many users left the scope at once: left to the next full run, which holds them as one plan")
            return set()
        return self._leavers

    def crowded(self) -> bool:
        """Say whether so many left since the previous sweep that only a full run may take their access."""
        return self._crowd and bool(self.news(self._leavers))

    @cached_property
    def _leavers(self) -> set[str]:
        left = self.left()
        return {user_id for user_id in left if not self.roster[user_id].gone} if self.again else self.news(left)

    @property
    def _crowd(self) -> bool:
        return crowd(len(self._leavers), self.roster, self.connection.settings.limit)


def sweep_on_schedule(services: Services, deadline: datetime) -> int:
    """Sweep, then for what is due by then; returns how many differences it found.

    A large scope takes longer to list than the time between two scheduled sweeps, and each sweep holds everybody in
    memory: they do not overlap. While entries of the audit log arrive, none is made soon after the last one.

    Raises:
        Transient: nothing could be published.
    """
    through = services.through
    every = through.sweep_every + (CALLED if through.full_runs_may_wait else timedelta())  # a full run may come first
    if through.audit_log and swept_lately(services.sources.all(), services.clock(), every):
        return 0
    until = services.clock() + services.timings.reconcile_limit
    with leased(services, LEASE, services.timings.reconcile_lease, until) as fence:
        if fence is None:
            log.info("Another sweep is in progress")
            return 0
        due = _due(services, deadline)
        found, complete = _swept(services)
        if not complete:
            return found
        if due is not None:
            services.due_runs.strike(RunKind.SWEEP, due)
    return found + sweep_if_due(services, deadline)


def sweep_if_due(services: Services, deadline: datetime) -> int:
    """Sweep for as long as a sweep is due that nobody has made yet; returns how many differences were published.

    Requests for one are delivered at least once and come in crowds, and two sweeps would list everything twice. So one
    of them sweeps, each time for all that were due when it began; the others leave theirs to it: it looks again once
    it has released the lease that they met. If it dies, or cannot list a group to its end, the next minute's request
    does it. None is begun after the deadline.

    Raises:
        Transient: nothing could be published; it is still due.
    """
    found = 0
    until = services.clock() + services.timings.reconcile_limit  # the last sweep may end long after the deadline
    while _due(services, deadline):
        with leased(services, LEASE, services.timings.reconcile_lease, until) as fence:
            if fence is None:
                log.info("Another sweep is in progress")
                return found
            while due := _due(services, deadline):
                published, complete = _swept(services)
                found += published
                if not complete:
                    return found
                services.due_runs.strike(RunKind.SWEEP, due)
    return found


def _due(services: Services, deadline: datetime) -> datetime | None:
    """Return the latest time of the sweeps that are due; None where there is none, or no time for one."""
    now = services.clock()
    return latest(services.due_runs.all(), RunKind.SWEEP, now) if now < deadline else None


def _swept(services: Services) -> tuple[int, bool]:
    """Compare membership with the rosters and publish the differences.

    Returns how many there were, and whether every group was listed to its end.
    """
    by_groups = [
        connection
        for connection in services.connections.all()
        if connection.state is State.ON
        and connection.begun
        and (connection.settings.scope.groups or connection.settings.teams.on)
    ]
    if not by_groups:
        return 0, True
    rosters = {connection.id: services.roster.load(connection) for connection in by_groups}
    members, _notes = read_groups(services.directory, by_groups, services.executor, services.reads_at_once)
    sides = [_side(services, connection, rosters[connection.id], members) for connection in by_groups]
    differences = _differences([side for side in sides if side.connection.settings.scope.groups])
    moved = [each for side in sides for each in side.moved()]
    many = len(moved) > ONE_BY_ONE
    now = services.clock()
    looks = _looks(services, differences, [] if many else moved, now)
    services.queue.look_again(looks)
    if many or (services.through.full_runs_may_wait and any(side.crowded() for side in sides)):
        services.queue.request_run(RunKind.FULL)
    for side in sides:
        names = frozenset(map(side.name, side.joined() | side.left())) | side.teams.names
        if names != side.swept and services.connections.get(side.connection.id) is not None:
            services.sweeps.put(side.connection.id, names)
    complete = all(side.complete for side in sides)
    if services.through.audit_log and complete:
        services.sources.hear(Feed.SWEEP, now, user=False)
    return len(looks), complete


def _looks(
    services: Services, differences: Mapping[str, Evidence], moved: Iterable[Moved], now: datetime
) -> list[Look]:
    """Return one look for each user whose scope or teams differ."""
    groups: dict[str, tuple[str, ...]] = {}
    evidences = dict(differences)
    for each in moved:
        known = evidences.get(each.user_id, Evidence())
        evidences[each.user_id] = replace(known, left_teams=(*known.left_teams, *each.left))
        groups[each.user_id] = (*groups.get(each.user_id, ()), *each.groups)
    causes = kept(services.due_runs.causes(), {}, now) if evidences else {}
    return [
        Look(
            user_id=user_id,
            evidence=evidence,
            asked_at=now,
            cause=of_difference(causes, user_id, left=bool(evidence.left or evidence.left_teams)),
            groups=tuple(dict.fromkeys(groups.get(user_id, ()))),
        )
        for user_id, evidence in sorted(evidences.items())
    ]


def _side(services: Services, connection: Connection, roster: Mapping[str, Entry], members: GroupMembers) -> _Side:
    known = [members.get(group.id) for group in connection.settings.scope.groups]
    inside = frozenset[str]().union(*(ids for ids in known if ids is not None))
    return _Side(
        connection=connection,
        roster=roster,
        inside=frozenset(filter(connection.operates_on, inside)),
        complete=None not in known,
        swept=services.sweeps.get(connection.id),
        again=services.through.full_runs_may_wait,
        teams=sweep_teams(services, connection, roster, members) if connection.settings.teams.on else NOTHING,
    )


def _differences(sides: Sequence[_Side]) -> dict[str, Evidence]:
    """Return whom to look at, which connections they joined, and which they left, as complete listings prove.

    A user who belongs to one connection has not joined another one.
    """
    differences = {
        user_id: Evidence(joined=(side.connection.id,))
        for side in sides
        for user_id in side.news(side.joined())
        if _owner(sides, user_id) == side.connection.id
    }
    for side in sides:
        for user_id in side.just_left():
            known = differences.get(user_id, Evidence())
            differences[user_id] = replace(known, left=(*known.left, side.connection.id))
    return differences


def _owner(sides: Sequence[_Side], user_id: str) -> str:
    """Return the connection that a user belongs to, as far as the scope groups show."""
    return place([side.candidate(user_id) for side in sides]).owner
