"""Which teams one user's account is to be in, as far as a look must know it: asked of the directory group by group.

    why it is looked at                       asked about
    an event or a sweep names groups          those groups: members.hasMember
    access is given back                      the groups of the teams that the account is in: members.hasMember
    an account is created                     the groups that the user is in directly: groups.list with a userKey
    an administrator waits for it             both of these
    it has unlocked the account               both of these
    a membership was refused                  the groups of such teams: members.hasMember
    anything else                             nothing: the account stays in the teams that it is in

Where whoever is suspended is taken out of teams, no look at them asks anything, and right after a reactivation one asks
as after a creation. Teams that somebody who got access is in by a nested group are a sweep's business, which is asked
for as soon as the account is there.

Who is no member joins nothing. Whoever was put into a team is taken out only if a listing of the group's members that
was read to its end lacks them, the sweep's or one of our own, and the team's brake lets them go. A listing that takes
longer than a look may is left to a sweep, which is asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from autoprovisioning.app.provisioning.placement import is_member
from autoprovisioning.app.services import Services
from autoprovisioning.domain.causes import JOINED, LEFT
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.decision import Observed, idles
from autoprovisioning.domain.due_runs import due, due_now
from autoprovisioning.domain.entry import ACCOUNT, Action, Entry, Status
from autoprovisioning.domain.errors import ConfigurationRefused, Incomplete, Transient
from autoprovisioning.domain.memberships import removable, stays_suspended
from autoprovisioning.domain.observation import rules_of
from autoprovisioning.domain.runs import Look, RunKind
from autoprovisioning.domain.team_brake import let_out, spent
from autoprovisioning.domain.teams import GroupTeam

GIVES = (Action.CREATE, Action.RECREATE, Action.UNSUSPEND, Action.UNLOCK)
SHUT_OUT = (Status.SUSPENDED, Status.LOCKED)
LISTING = timedelta(seconds=20)  # of one group, out of a look's minute: some 13,000 members at 0.3 s a page


def teams_of_one(
    services: Services,
    connection: Connection,
    look: Look,
    entry: Entry | None,
    seen: Observed,
    *,
    young: bool,
    done: Action | None = None,
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """Return the ids of the teams that the account is to be in; None: as it is, and nothing was asked.

    The second ones are those of them that the account may be in, and about which nothing was found out.

    `young`: what the directory answers may be older than what the look was asked for because of. `done` is what it has
    done just now.

    Raises:
        Transient: the directory could not be asked, or does not show yet what was reported.
    """
    known, choice = entry or Entry(user_id=seen.user_id), connection.settings.teams
    removed = choice.remove_suspended and stays_suspended(known, entitled=seen.entitled)
    vanished = ACCOUNT in known.drift
    created = seen.entitled and (known.status is Status.NONE or vanished)
    returns = seen.entitled and known.status is Status.SUSPENDED
    rejoins = choice.remove_suspended and done is Action.UNSUSPEND
    waited_for = bool(look.inquiry) or done is Action.UNLOCK
    failing = known.failure is not None and not known.failure.trying
    refused = seen.entitled and bool(known.asked) and (failing or done is not None)
    judged = bool(known.sent_teams) and (returns or removed)
    asks = bool(look.groups) or created or rejoins or refused or judged or waited_for
    gave = seen.entitled and done in GIVES
    if (
        not choice.on
        or connection.state is State.PAUSED
        or known.mark is not None
        or not seen.desired
        or idles(seen, rules_of(connection, {}))
        or not (asks or gave)
    ):
        return None, ()
    teams = [team for team in services.teams.get(connection.id).values() if team.serves]
    if gave and teams:
        _ask_for_sweep(services, connection)
    if not asks:
        return None, ()
    if removed:
        out = [team for team in teams if team.team_id in known.sent_teams and not team.unread]
        leaves = _let_out(services, connection, known, out)
        return tuple(sorted({*known.sent_teams} - leaves)), tuple(sorted({*known.asked} - leaves))
    named = [team for team in teams if team.group_id in look.groups]
    sent = {*known.sent_teams}
    doubtful = sent if created or returns or waited_for else {*known.asked}
    asked = [*named, *(team for team in teams if team.team_id in doubtful and team not in named)]
    asking = _Asking(services, look, seen.user_id, young=young)
    told = services.executor.each(asking.holds, asked, services.reads_at_once)
    inside = dict(zip((team.team_id for team in asked), told, strict=True))
    joins = {team_id for team_id, holds in inside.items() if holds}
    may_join = seen.entitled and (known.status not in SHUT_OUT or vanished)
    if teams and may_join and (created or rejoins or waited_for):
        joins |= asking.direct(teams)
    out = [team for team in asked if team.team_id in sent and not inside[team.team_id] and not created]
    gone = [team for team in out if asking.proves_left(team)]
    leaves = _let_out(services, connection, known, gone)
    _spend(services, connection, seen.user_id, [team for team in teams if team.team_id in joins])
    joined = joins if may_join else set()
    if created:
        return tuple(sorted(joined)), ()  # a new account is in no team yet
    return tuple(sorted((sent - leaves) | joined)), tuple(sorted({*known.asked} - leaves - joined))


class _Asking:
    """Asks the directory about one user, and the groups that are teams."""

    def __init__(self, services: Services, look: Look, user_id: str, *, young: bool) -> None:
        self._services = services
        self._look = look
        self._user_id = user_id
        self._young = young

    def holds(self, team: GroupTeam) -> bool:
        """Say whether the directory calls the user a member of a team's group.

        Raises:
            Transient: it does not show yet what was reported of this group a moment ago.
        """
        holds = is_member(self._services.directory, team.group_id, self._user_id) is True
        cause = self._look.cause
        reported = cause.event if cause is not None and cause.group == team.email.casefold() else ""
        if self._young and reported in (LEFT if holds else JOINED):
            raise Transient("The directory does not yet show what was reported of a group", retry_after=5)
        return holds

    def proves_left(self, team: GroupTeam) -> bool:
        """Say whether a listing of the group's members that was read to its end lacks the user."""
        if team.group_id in self._look.evidence.left_teams:
            return True
        services = self._services
        until = services.clock() + LISTING
        try:
            for page in services.directory.members(team.group_id):
                if self._user_id in page:
                    return False
                if services.clock() >= until:
                    now = services.clock()
                    services.due_runs.add(due_now(RunKind.SWEEP, now), now)
                    services.queue.request_run(RunKind.SWEEP)
                    return False
        except (Incomplete, ConfigurationRefused):
            return False
        return True

    def direct(self, teams: Sequence[GroupTeam]) -> set[str]:
        """Return the teams of the groups that have the user as a direct member; a sweep finds the others."""
        try:
            groups = {group.id for group in self._services.directory.groups_of(self._user_id)}
        except (Incomplete, ConfigurationRefused):
            return set()
        return {team.team_id for team in teams if team.group_id in groups}


def _ask_for_sweep(services: Services, connection: Connection) -> None:
    """Ask for a sweep at once, and a crowd of looks for another one within a minute; a run lists the groups itself."""
    now = services.clock()
    later = due(RunKind.SWEEP, now, timedelta(minutes=1))
    if not later <= {*services.due_runs.all()} and not services.runs.open(connection.id):
        services.due_runs.add(later | due_now(RunKind.SWEEP, now), now)
        services.queue.request_run(RunKind.SWEEP)


def _let_out(services: Services, connection: Connection, entry: Entry, teams: Collection[GroupTeam]) -> set[str]:
    """Count the user into the brakes of these teams; returns the ids of those that let them go."""
    now, leaves = services.clock(), set[str]()
    if not (teams and removable(entry)):
        return leaves

    def edit(current: Mapping[str, GroupTeam]) -> Mapping[str, GroupTeam]:
        leaves.clear()
        becomes = dict(current)
        for team in teams:
            kept = current.get(team.group_id)
            counted = let_out(kept, entry.user_id, now) if kept is not None and kept.team_id == team.team_id else None
            if counted is not None:
                leaves.add(team.team_id)
                becomes[team.group_id] = counted
        return becomes

    services.teams.change(connection.id, edit)
    return leaves


def _spend(services: Services, connection: Connection, user_id: str, teams: Sequence[GroupTeam]) -> None:
    """End approvals to take the user out of these teams, whose groups have them, whether or not that was done."""
    if all(spent(team, user_id) is team for team in teams):
        return
    ids = {team.group_id for team in teams}
    services.teams.change(
        connection.id,
        lambda current: {each: spent(team, user_id) if each in ids else team for each, team in current.items()},
    )
