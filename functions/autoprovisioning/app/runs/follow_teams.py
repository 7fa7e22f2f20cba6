"""Make or adopt teams of chosen groups in a full run, rename them with the group, and read who is to be in them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime

from autoprovisioning.app.ports.accounts import Accounts
from autoprovisioning.app.ports.directory import DirectoryScopes
from autoprovisioning.app.provisioning.serving import as_it_was
from autoprovisioning.app.runs.open_run import Side
from autoprovisioning.app.runs.team_members import keep, read_members
from autoprovisioning.app.services import Services
from autoprovisioning.domain.entry import EXTERNAL_ID
from autoprovisioning.domain.errors import (
    AuthorizationRefused,
    ConfigurationRefused,
    Permanent,
    ProvisioningError,
    ReauthorizationRequired,
    Throttled,
    Transient,
    Unresolved,
)
from autoprovisioning.domain.events import TEAM, Actor, Event, Stamp, of_team
from autoprovisioning.domain.memberships import Members
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.scope import Group
from autoprovisioning.domain.team_plan import LONGEST_TOLD, TeamPlan, plan_teams
from autoprovisioning.domain.teams import (
    GroupTeam,
    Team,
    TeamChoice,
    TeamState,
    TeamWritten,
    after_edit,
)
from autoprovisioning.domain.words import counted, state_of

log = logging.getLogger(__name__)

LEFT_CHOICE = "People whose team's group is not chosen any more stay"
LEFT_GROUP = "People who are not taken out of a team"
UNDISTURBED = (TeamState.THERE, TeamState.SENT, TeamState.LEFT)  # of which the run's record says nothing
AT_ONCE = 16  # requests about teams
FOR_TEAMS = 0.25  # of the run's time: the rest is for accounts, however many groups there are, or slow Keeper is
LISTING_FAILS = (Transient, ConfigurationRefused, Permanent)


class AllGroups:
    """The groups of the customer, listed once for all connections, and only if one of them has chosen any."""

    def __init__(self, directory: DirectoryScopes) -> None:
        self._directory = directory
        self._listed: Sequence[Group] | None = None

    def listed(self) -> Sequence[Group]:
        """Return them; raises Incomplete."""
        if self._listed is None:
            self._listed = self._directory.all_groups()
        return self._listed


def follow_teams(services: Services, side: Side, groups: AllGroups, deadline: datetime) -> None:
    """Do what is to be done about teams; whatever fails is noted in the run's record, and left to the next run.

    Without a complete listing of the directory's groups and of the node's teams nothing is done.

    Raises:
        ReauthorizationRequired: the token is dead; the connection is paused now.
    """
    connection, now = side.connection, services.clock()
    choice = connection.settings.teams
    if side.run.kind is not RunKind.FULL or not choice.followed:
        return
    known, until = services.teams.get(connection.id), now + (deadline - now) * FOR_TEAMS
    if not (choice.on or known):
        return
    try:
        teams = side.keeper.ask(lambda accounts: accounts.teams(until))
        offered = any(team.namesake is not None for team in known.values())
        confirmed = services.teams.adoptions(connection.id) if offered else {}
        plan = plan_teams(choice, groups.listed(), teams, known, now=now, confirmed=confirmed)
    except LISTING_FAILS as error:
        if isinstance(error, Throttled):
            side.keeper.throttle(error)
        log.warning("Teams were left alone: %s", type(error).__name__)
        side.notes.append(f"Teams were left alone, since groups or teams could not be listed: {error}")
        return
    work, there = _Work(services, side, teams, plan, until), {team.id for team in teams}
    if plan.requests:  # should nobody be left to record what came of them, the next run finds that out
        known = services.teams.change(connection.id, work.beside, work.told())
    members: Members = {}
    why: list[str] = []
    try:
        work.carry_out(plan)
        read = read_members(services, work.teams.values(), until, why=why)
        members = {**_emptied(choice, work.teams.values(), there), **read}
    finally:
        settled = [confirmed[group_id] for group_id in (*plan.lapsed, *work.adopted)]
        if settled:
            services.teams.settle(connection.id, settled)
        at, events = services.clock(), work.told()
        kept, side.memberships = keep(
            services, connection, side.roster, members, known=known, becomes=work.beside, events=events
        )
        wrote = bool(plan.requests) or kept is not known
        current = services.connections.get(connection.id) if choice.on and wrote else None
        if current is not None and current.settings.teams != choice:  # an edit that came before `keep`
            chosen = current.settings.teams
            kept = services.teams.change(connection.id, lambda kept: after_edit(chosen, kept, at))
    side.notes += filter(None, plan.lapsed.values())
    _tell(side, kept.values(), work.done, why)


def _emptied(choice: TeamChoice, teams: Iterable[GroupTeam], there: Set[str]) -> Members:
    """Return the teams that are to have nobody: those of groups that left, if that was chosen, which Keeper lists."""
    left = (team.team_id for team in teams if team.state is TeamState.LEFT) if choice.empty_left else ()
    return {team_id: frozenset() for team_id in left if team_id in there}


class _Work:
    """One connection's requests about teams: `teams` is what is to be kept, `events` what was done."""

    def __init__(
        self,
        services: Services,
        side: Side,
        there: Sequence[Team],
        plan: TeamPlan,
        until: datetime,
    ) -> None:
        self._services = services
        self._side = side
        by_id = {team.id: team for team in there}
        self._there = {team.external_id: team for team in there}  # by the group whose it is, or is to be
        self._there |= {planned.group_id: by_id[confirmed.team_id] for planned, confirmed in plan.adopts}
        self._ids = {*by_id}  # of teams that are there, and so of no new one
        self._confirmed_by = {planned.group_id: confirmed.by for planned, confirmed in plan.adopts}
        self._until = until
        self._asked_for = {planned.group_id for planned in plan.requests}
        self.teams = plan.underway(services.clock())
        self.events: list[Event] = []
        self.adopted: list[str] = []  # groups
        self.done: Counter[str] = Counter()
        for known, by in plan.found:
            self._tell_found(known, by)

    def beside(self, current: Mapping[str, GroupTeam]) -> dict[str, GroupTeam]:
        """Return the teams as they are to be kept, with whom looks let out and what is to be tried again meanwhile."""
        return {
            group_id: self._with(team, current[group_id]) if group_id in current else team
            for group_id, team in self.teams.items()
        }

    def _with(self, team: GroupTeam, current: GroupTeam) -> GroupTeam:
        anew = team.state is TeamState.REFUSED and current == team.anew(current.since)
        return current if anew and team.group_id not in self._asked_for else replace(team, removals=current.removals)

    def carry_out(self, plan: TeamPlan) -> None:
        """Send them side by side until Keeper fails, time for teams ends, or nothing is to be done any more."""
        wanted = {planned.group_id: planned for planned in plan.requests}
        unsent = dict(wanted)
        try:
            for planned, written in self._side.keeper.through(wanted, self._sent):
                if written.team is not None:
                    self._done(planned, written.team)
                elif isinstance(written.error, ProvisioningError):
                    self._fail(planned, written.error)
                else:
                    continue
                del unsent[planned.group_id]
        except Throttled:
            log.warning("No more is written about teams: Keeper asked for a wait")
        except ReauthorizationRequired:
            self.teams |= unsent
            raise
        self.teams |= unsent

    def told(self) -> list[Event]:
        """Return what is to be told, as of now: who follows the audit must not be overtaken by the commit."""
        at = self._services.clock()
        events, self.events = self.events, []
        return [replace(event, at=at) for event in events]

    def _sent(self, wanted: Sequence[GroupTeam]) -> Iterator[TeamWritten]:
        """Make, rename or adopt the teams of groups, several at once; neither team nor error: not begun."""
        accounts = self._side.keeper.accounts()
        ends: list[ProvisioningError | None] = []  # why no more is begun

        def send(planned: GroupTeam) -> TeamWritten:
            if not ends and (
                self._services.clock() >= self._until or not as_it_was(self._services, self._side.connection)
            ):
                ends.append(None)
            if ends:  # what a dead token leaves is sent with the next one
                refused = ends[0] if isinstance(ends[0], AuthorizationRefused) else None
                return TeamWritten(key=planned.group_id, error=refused)
            try:
                return TeamWritten(key=planned.group_id, team=self._write(accounts, planned))
            except ProvisioningError as error:
                if isinstance(error, Transient) or (isinstance(error, AuthorizationRefused) and error.status == 401):
                    ends.append(error)
                return TeamWritten(key=planned.group_id, error=error)

        return self._services.executor.each(send, wanted, AT_ONCE)

    def _write(self, accounts: Accounts, planned: GroupTeam) -> Team:
        old = self._there.get(planned.group_id)
        if old is not None:
            return accounts.rename_team(replace(old, external_id=planned.group_id), planned.name, self._until)
        return accounts.create_team(planned.group_id, planned.name, self._until)

    def _done(self, planned: GroupTeam, team: Team) -> None:
        old, by = self._there.get(planned.group_id), self._confirmed_by.get(planned.group_id, "")
        if old is None and team.id and team.id in self._ids:
            self._fail(planned, Unresolved(f"Keeper shows another team as the new one: {team.id[:LONGEST_TOLD]}"))
            return
        self._ids.add(team.id)
        stamp = self._services.stamp(Actor(address=f"run {self._side.run.id}"))
        done = "created" if old is None else "adopted" if by else "renamed"
        self.events.append(_told(stamp, planned, old, team, by))
        self.done[done] += 1
        self.adopted += [planned.group_id] if by else []
        there = replace(
            planned.becomes(TeamState.THERE if team.id else TeamState.SENT, stamp.at),
            team_id=team.id,
            team_name=team.name,
            sent_name=planned.name,
            namesake=None,
            lost=0,
        )
        made = replace(there, created=stamp.at, unseen_since=stamp.at)
        self.teams[planned.group_id] = there if old is not None else made

    def _fail(self, planned: GroupTeam, error: ProvisioningError) -> None:
        if isinstance(error, Throttled):
            self._side.keeper.throttle(error)
            self.teams[planned.group_id] = planned
            return
        log.warning("A team could not be written: %s", type(error).__name__)
        state = TeamState.WAITING if isinstance(error, Transient) else TeamState.REFUSED
        in_doubt = self.teams[planned.group_id] if isinstance(error, Unresolved) else planned
        self.teams[planned.group_id] = in_doubt.failed(state, self._services.clock(), str(error))

    def _tell_found(self, known: GroupTeam, by: str) -> None:
        """Tell what an earlier run did that could not record it; `by` is who confirmed an adoption."""
        old = Team(id=known.team_id, name=known.team_name) if known.team_id else None
        if known.namesake is not None:
            old, by = Team(id=known.namesake.team_id, name=known.namesake.name), by or "an administrator"
        stamp = self._services.stamp(Actor(address=f"run {self._side.run.id}"))
        self.events.append(_told(stamp, known, old, Team(id="", name=known.asked), by))


def _told(stamp: Stamp, planned: GroupTeam, old: Team | None, team: Team, by: str) -> Event:
    """Tell what was done about a team; `by` is who confirmed an adoption."""
    if old is None:
        return of_team(stamp, f"Created a team for the group {planned.email}.", team.id, {}, {TEAM: team.name})
    was, becomes = {TEAM: old.name}, {TEAM: team.name}
    if not by:
        return of_team(stamp, f"Renamed the team for the group {planned.email}.", team.id, was, becomes)
    what = f"Adopted the team {old.name} ({old.id}) for the group {planned.email}, as {by} confirmed."
    return of_team(stamp, what, team.id, {**was, EXTERNAL_ID: None}, {**becomes, EXTERNAL_ID: planned.group_id})


def _tell(side: Side, teams: Iterable[GroupTeam], done: Mapping[str, int], why: Sequence[str]) -> None:
    """Say in the run's record what was done, and how many groups wait for somebody."""
    known = list(teams)
    unread = [team.name for team in known if team.unread]
    if unread:
        told = f"{', '.join(unread[:5])} ({'; '.join(list(dict.fromkeys(why))[:2])})"
        side.notes.append(f"Nobody joins or leaves the teams of groups that could not be read: {told}")
    held = [team for team in known if team.held]
    for who, teams in (
        (LEFT_CHOICE, [team for team in held if team.state is TeamState.LEFT]),
        (LEFT_GROUP, [team for team in held if team.serves]),
    ):
        if teams:
            counts = sorted((team.name, team.held) for team in teams)
            told = ", ".join(f"{count} of {name}" for name, count in counts[:5])
            side.notes.append(f"{who} until that is approved under Teams: {told}")
    if any(team.serves for team in held):
        log.error("Removals from teams are held", extra={"json_fields": {"connection": side.connection.id}})
    waiting = Counter(state_of(team)[0].lower() for team in known if team.state not in UNDISTURBED)
    parts = [f"{count} {what}" for what, count in (*done.items(), *sorted(waiting.items()))]
    if parts:
        side.notes.append(f"{counted(sum(done.values()) + waiting.total(), 'team')}: {', '.join(parts)}")
