"""What must be true of teams at every moment, by the directory's groups, the choice, and who gave which membership.

A membership follows its group within what a full run takes: it is compared with the groups as they were in the last
`Patience.planned`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import combinations
from typing import TYPE_CHECKING

from autoprovisioning.domain import memberships
from autoprovisioning.domain.accounts import Account, Write, WriteKind
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.memberships import PERCENT, ApprovedRemovals, digest_of
from autoprovisioning.domain.runs import Batch
from autoprovisioning.domain.scope import Group
from autoprovisioning.domain.teams import ConfirmedAdoption, Team, TeamChoice, team_name
from tests.simulation.directory import SimDirectory
from tests.simulation.keeper import Effect, Node
from tests.simulation.node_teams import NodeTeams
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.truth import DAY, Patience, Truth

if TYPE_CHECKING:
    from tests.simulation.state import Archive

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SKEW = timedelta(minutes=2)
WINDOW = DAY - HOUR  # a removal is counted when it is planned, and takes effect once its message has arrived
COUNTED = 9 * HOUR  # how long ago a run may have counted who is in a team: there are few in the quiet days
LONGEST_LAG = timedelta(minutes=30)  # of a listing behind what was made

Broken = Callable[[str, str], None]


class TeamLaws:
    """Keeps how groups and choices were, and judges what is written about teams and who is in them."""

    def __init__(
        self,
        scheduler: Scheduler,
        truth: Truth,
        directory: SimDirectory,
        archive: Archive,
        broken: Broken,
    ) -> None:
        self._scheduler = scheduler
        self._truth = truth
        self._directory = directory
        self._archive = archive
        self._broken = broken
        self.inside: dict[str, list[tuple[datetime, frozenset[str]]]] = {}  # group -> who was in it, and from when on
        self.names: dict[str, list[tuple[datetime, Group | None]]] = {}  # group -> what it was called; None: deleted
        self.choices: dict[str, list[tuple[datetime, TeamChoice]]] = {}  # by connection
        self._breaks: dict[str, datetime] = {}  # group -> when it was last not ours to read
        self._broken_now: set[str] = set()
        self._removals: dict[tuple[int, str], list[tuple[datetime, str]]] = defaultdict(list)  # node's teams, team
        self._sizes: dict[tuple[int, str], list[tuple[datetime, int]]] = defaultdict(list)
        self._approved: list[tuple[datetime, str, str, frozenset[str]]] = []  # at, connection, group, users
        self._spent: dict[tuple[int, str], datetime] = {}  # which approval, and user: when it was carried out
        self._adoptions: set[tuple[str, str, str, str]] = set()  # connection, group, team and its name, as confirmed
        self.known_gone: dict[str, dict[str, datetime]] = defaultdict(dict)  # connection -> group whose team is gone

    @property
    def _patience(self) -> Patience:
        return self._truth.patience

    @property
    def _now(self) -> datetime:
        return self._scheduler.now

    # ---- what is learnt on the way

    def changed(self) -> None:
        """Take over who is in which group, and what the groups are called."""
        customer = self._directory.truth
        for group_id in {*customer.groups, *self.names}:
            group = customer.groups.get(group_id)
            inside = frozenset(customer._inside(group_id)) if group is not None else frozenset[str]()
            _append(self.inside.setdefault(group_id, []), self._now, inside)
            _append(self.names.setdefault(group_id, []), self._now, group)

    def chose(self, connection: Connection | None, connection_id: str) -> None:
        """Take over which groups a connection makes teams of."""
        choice = connection.settings.teams if connection is not None else TeamChoice()
        _append(self.choices.setdefault(connection_id, []), self._now, choice)

    def broke(self, what: str) -> None:
        """Take over that a group, or all groups, cannot be read, or can be again."""
        (self._broken_now.discard if what in self._broken_now else self._broken_now.add)(what)
        self._breaks[what] = self._now

    def approved(self, connection_id: str, approval: ApprovedRemovals) -> None:
        """Take over that an administrator approved removals: of those people whom the digest names."""
        people = sorted(self._truth.people)
        for number in range(1, len(people) + 1):
            for users in combinations(people, number):
                if digest_of(users) == approval.digest:
                    self._approved.append((self._now, connection_id, approval.group_id, frozenset(users)))
                    return

    def adopts(self, connection_id: str, confirmed: ConfirmedAdoption) -> None:
        """Take over that an administrator confirmed that a team is to be a group's."""
        self._adoptions.add((connection_id, confirmed.group_id, confirmed.team_id, confirmed.team_name))

    def deleted(self, node: Node, team: Team) -> None:
        """Let somebody delete a team, of which the connections of its node know or do not."""
        node.teams.delete(team.id, self._now)
        for connection in self._archive.connections():
            known = self._archive.teams(connection.id).get(team.external_id)
            if known is not None and known.team_id == team.id:
                self.known_gone[connection.id][team.external_id] = self._now

    # ---- what was, lately

    def was_in(self, group_id: str, user_id: str, within: timedelta) -> bool:
        """Say whether somebody was in a group at any time of the last so long."""
        return any(user_id in inside for inside in _lately(self.inside.get(group_id, []), self._now - within))

    def was_out(self, group_id: str, user_id: str, within: timedelta) -> bool:
        """Say whether somebody was not in a group at any time of the last so long."""
        return any(user_id not in inside for inside in _lately(self.inside.get(group_id, []), self._now - within))

    def was_chosen(self, connection_id: str, group_id: str, within: timedelta) -> bool:
        """Say whether a group was to be a team at any time of the last so long."""
        since = self._now - within
        groups = [group for group in _lately(self.names.get(group_id, []), since) if group is not None]
        choices = list(_lately(self.choices.get(connection_id, []), since))
        return any(choice.chooses(group) for choice in choices for group in groups)

    def always_chosen(self, connection_id: str, group_id: str, since: datetime) -> bool:
        """Say whether a group was to be a team all the time since then."""
        groups = list(_lately(self.names.get(group_id, []), since))
        choices = list(_lately(self.choices.get(connection_id, []), since))
        return all(group is not None and choice.chooses(group) for choice in choices for group in groups)

    def unread(self, group_id: str, since: datetime) -> bool:
        """Say whether a group, or all of them, could not be read at any time since then, or was read wrongly."""
        lacked = (self._directory.lacked.get(what) for what in (f"members {group_id}", "all_groups"))
        if any(at is not None and at >= since for at in lacked):
            return True
        whats = (group_id, "groups")
        return any(what in self._broken_now or self._breaks.get(what, since) > since for what in whats)

    # ---- the laws

    def write(
        self, process: Process, connection: Connection, node: Node, user_id: str, write: Write, before: Account | None
    ) -> None:
        """Judge the memberships in a write right before it takes effect."""
        if write.kind is WriteKind.PATCH and write.empty:
            self._broken("no PATCH is empty", f"{connection.id}/{user_id}: {write}")
        teams, where = node.teams, f"{connection.id}/{user_id}: {write}"
        for team_id in (*write.joins, *write.leaves):
            team = teams.ever.get(team_id)
            if team is None or team.external_id not in self.names:
                self._broken("no foreign team is touched", f"{team}, {where}")
        for team_id in write.joins:
            group_id = teams.ever[team_id].external_id if team_id in teams.ever else ""
            if not self.was_in(group_id, user_id, self._patience.planned):
                self._broken("nobody joins a team but from its group", f"{team_id} of {group_id}, {where}")
            if not self.was_chosen(connection.id, group_id, self._patience.planned):
                self._broken("a group that is not chosen keeps its team as it is", f"{team_id} of {group_id}, {where}")
            if team_id in teams.there and self._is_role(connection.id, teams, teams.there[team_id]):
                self._broken("nobody is put into a role unless that is chosen", f"{team_id} of {group_id}, {where}")
        if write.joins:
            self._has_access(connection, node, user_id, write, before)
        for team_id in write.leaves:
            self._leaves(connection, teams, user_id, team_id, write, where)
        gives = before is not None and not before.active and write.active is True
        if gives and write.scim_id not in node.theirs:  # nothing is written to what people locked before it is unlocked
            self._out_before_in(process, connection, teams, user_id, write)
        for team_id in write.joins if before is not None else ():
            teams.asked[team_id, write.scim_id] = self._now

    def _is_role(self, connection_id: str, teams: NodeTeams, team: Team) -> bool:
        """Say whether a team has been a role for long enough, on a connection that has chosen none."""
        since = self._now - self._patience.planned
        choices = _lately(self.choices.get(connection_id, []), since)
        return teams.named[team.id] < since and all(choice.bars(team.name) for choice in choices)

    def _has_access(
        self, connection: Connection, node: Node, user_id: str, write: Write, before: Account | None
    ) -> None:
        lately = list(self._truth.lately(connection.id, user_id, self._patience.planned))
        if all(standing.triggers or standing.archived or standing.outside for standing in lately):
            self._broken("nobody joins without access", f"{connection.id}/{user_id}: {write}, {lately[:2]}")
        theirs = write.scim_id in node.theirs  # people locked it, which a drift run alone sees
        if before is not None and not before.active and write.active is not True and not theirs:
            self._broken("nobody joins without access", f"{connection.id}/{user_id}: {write}, {before}")

    def _leaves(
        self, connection: Connection, teams: NodeTeams, user_id: str, team_id: str, write: Write, where: str
    ) -> None:
        mine = (team_id, write.scim_id)
        if mine in teams.given and mine not in teams.asked:
            self._broken("no foreign membership is taken away", f"{team_id}, {where}")
        group_id, lately = teams.ever[team_id].external_id, self._now - self._patience.planned
        if self._empties(connection.id, group_id) and self._is_approved(connection.id, group_id, user_id):
            return
        if not self.was_chosen(connection.id, group_id, self._patience.planned):
            self._broken("a group that is not chosen keeps its team as it is", f"{team_id} of {group_id}, {where}")
        if not self.was_out(group_id, user_id, self._patience.planned) and not self._shut_out(connection.id, user_id):
            lacked = self._directory.lacked.get(f"members {group_id}")
            if lacked is None or lacked < lately:
                self._broken("nobody is taken out of a team while in its group", f"{team_id} of {group_id}, {where}")

    def _empties(self, connection_id: str, group_id: str) -> bool:
        """Say whether a group was lately not chosen, on a connection that has such teams emptied."""
        since = self._now - self._patience.planned
        empties = any(choice.empty_left for choice in _lately(self.choices.get(connection_id, []), since))
        lacked = self._directory.lacked.get("all_groups")
        missed = lacked is not None and lacked >= since
        return empties and (missed or not self.always_chosen(connection_id, group_id, since))

    def _shut_out(self, connection_id: str, user_id: str) -> bool:
        """Say whether somebody was lately without access, on a connection that takes such people out of teams."""
        within = self._patience.planned
        removes = any(
            choice.remove_suspended for choice in _lately(self.choices.get(connection_id, []), self._now - within)
        )
        return removes and any(each.triggers for each in self._truth.lately(connection_id, user_id, within))

    def _is_approved(self, connection_id: str, group_id: str, user_id: str) -> bool:
        """Say whether an administrator approved lately that somebody is taken out of the team of a group."""
        return bool(self._approvals(connection_id, group_id, user_id))

    def _approvals(self, connection_id: str, group_id: str, user_id: str) -> list[int]:
        within = DAY + self._patience.planned + SKEW
        return [
            number
            for number, (at, *of, users) in enumerate(self._approved)
            if self._now - at < within and of == [connection_id, group_id] and user_id in users
        ]

    def _spends(self, connection_id: str, group_id: str, user_id: str) -> bool:
        """Say whether a removal is carried out as approved: once, and again until somebody need have seen that."""
        approvals = self._approvals(connection_id, group_id, user_id)
        begun = [self._spent.setdefault((number, user_id), self._now) for number in approvals]
        return any(self._now - at <= self._patience.planned for at in begun)

    def _out_before_in(
        self, process: Process, connection: Connection, teams: NodeTeams, user_id: str, write: Write
    ) -> None:
        """See that a run which read that somebody had left a group gives access only once they are out of its team."""
        batch = process.memory.get("batch")
        if not isinstance(batch, Batch):
            return
        run = next((run for run in self._archive.runs(batch.connection_id) if run.id == batch.run_id), None)
        entry = self._archive.entry(connection, user_id)
        if run is None or entry is None or entry.failure is not None or any("left alone" in note for note in run.notes):
            return
        known = self._archive.teams(connection.id)
        for team_id in entry.sent_teams:
            if write.scim_id not in teams.members.get(team_id, ()):
                continue
            group_id, since = teams.ever[team_id].external_id, run.started - SKEW
            team = known.get(group_id)
            kept = team is None or not team.serves or team.unread or team.held or team.since >= since
            if kept or self.unread(group_id, since) or self.was_in(group_id, user_id, self._now - since):
                continue
            told = f"{connection.id}/{user_id} is in {team_id} of {group_id}: {write}"
            self._broken("who left a group is out of its team before they have access", told)

    def moved(self, connection_id: str, teams: NodeTeams, user_id: str, effect: Effect) -> None:
        """Count who was put into teams and taken out of them just now."""
        scim_id = effect.after.scim_id if effect.after is not None else effect.write.scim_id
        for team_id in effect.joined:
            teams.asked[team_id, scim_id] = self._now
        for team_id in (*effect.joined, *effect.left):
            ours = sum((team_id, each) in teams.asked for each in teams.members[team_id])
            self._sizes[id(teams), team_id].append((self._now, ours))
        for team_id in effect.left:
            self._brake(connection_id, teams, user_id, team_id)

    def _brake(self, connection_id: str, teams: NodeTeams, user_id: str, team_id: str) -> None:
        """See that a team loses no more than its limit in every window of a day, but as approved."""
        group_id = teams.ever[team_id].external_id
        if self._spends(connection_id, group_id, user_id):
            return
        gone = self._removals[id(teams), team_id]
        gone.append((self._now, user_id))
        number = len({user for at, user in gone if self._now - at < WINDOW})
        sizes, since = self._sizes[id(teams), team_id], self._now - DAY - COUNTED
        whole = max([n for at, n in sizes if at >= since] + [n for at, n in sizes if at < since][-1:])
        most = max(memberships.LEAST, whole * PERCENT // 100)
        if number > 1 and (2 * number >= whole or number > most):
            told = f"{connection_id}/{user_id}: {number} of {whole} have left {team_id} of {group_id} within a day"
            self._broken("a team's limit of removals is kept", told)

    def team(
        self, connection: Connection, node: Node, before: Team | None, name: str, external_id: str, *, creates: bool
    ) -> None:
        """Judge a team that is to be made, renamed or adopted, right before that."""
        if before is None and not creates:
            return  # somebody deleted it meanwhile
        told = f"{connection.id}: {before} -> {name!r} of {external_id}"
        off = self._truth.off_since.get(connection.id)
        if off is not None and self._now - off > MINUTE:
            self._broken("no team is made on a connection that is off", told)
        group_id, planned = external_id, self._patience.planned
        if before is not None and before.external_id != external_id:
            adopted = (connection.id, external_id, before.id, before.name)
            lately = self._now - node.teams.by_hand.get(before.id, self._now - DAY) <= planned
            if before.external_id or (adopted not in self._adoptions and not lately):
                self._broken("no team is handed to another group", told)
        if not self.was_chosen(connection.id, group_id, planned):
            self._broken("teams are made of chosen groups", told)
        named = [group for group in _lately(self.names.get(group_id, []), self._now - planned) if group is not None]
        if name not in map(team_name, named):
            self._broken("a team is named like its group", told)
        choices = list(_lately(self.choices.get(connection.id, []), self._now - planned))
        if before is None and not any(choice.roles or not choice.makes_role(name) for choice in choices):
            self._broken("no role is made unless that is chosen", told)
        others = [team for team in self._settled(node.teams) if before is None or team.id != before.id]
        keeps = before is not None and _comparable(before.name) == _comparable(name)
        if not keeps and any(_comparable(team.name) == _comparable(name) for team in others):
            self._broken("a name that is taken is not used", told)
        if before is None:
            self._may_make(connection, node, group_id, choices, others, told)

    def _may_make(
        self,
        connection: Connection,
        node: Node,
        group_id: str,
        choices: list[TeamChoice],
        others: list[Team],
        told: str,
    ) -> None:
        lately = self._now - self._patience.planned
        if any(team.id not in node.teams.by_hand or team in others for team in node.teams.of(group_id)):
            self._broken("a group has one team", told)
        gone = self.known_gone[connection.id].get(group_id)
        if gone is not None and gone < lately and self.always_chosen(connection.id, group_id, gone):
            self._broken("a team that somebody deleted is not made again", told)
        there = sum(self.was_chosen(connection.id, team.external_id, timedelta(0)) for team in others)
        if there >= max(choice.most for choice in choices):
            self._broken("no more teams are made than were allowed", told)

    def _settled(self, teams: NodeTeams) -> list[Team]:
        """Return the teams that have been listed under their names for long enough."""
        until = self._now - max(self._patience.planned, LONGEST_LAG)
        return [team for team in teams.there.values() if teams.named[team.id] < until]


def _append(past: list, now: datetime, what: object) -> None:  # type: ignore[type-arg]
    if not past or past[-1][1] != what:
        past.append((now, what))


def _lately(past: list, since: datetime) -> Iterator:  # type: ignore[type-arg]
    for at, what in reversed(past):
        yield what
        if at <= since:
            return


def _comparable(name: str) -> str:
    return " ".join(name.split()).casefold()
