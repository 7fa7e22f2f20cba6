"""Groups that become teams: what people do to groups and, in Keeper, to teams, and what administrators choose.

What a side would refuse (a group that is not there, a team that is gone) does nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from autoprovisioning.app.administration.adopt_team import adopt_team
from autoprovisioning.app.administration.approve_removals import approve_removals
from autoprovisioning.domain.errors import Rejected
from autoprovisioning.domain.scope import Group
from autoprovisioning.domain.settings import Settings
from autoprovisioning.domain.teams import Namesake, Team, TeamChoice
from tests.simulation.administrators import ADMIN, Administrators
from tests.simulation.history import Step

if TYPE_CHECKING:
    from tests.simulation.world import World

MINUTE = timedelta(minutes=1)
PREFIX = "Role "
FIRST = 3  # groups there are at first
MOST = 6  # ... and that there have been at the end
BY_ADDRESS = TeamChoice(patterns=("team-*",))
CHOICES = (
    BY_ADDRESS,
    TeamChoice(),
    TeamChoice(patterns=("team-*",), exclusions=("*2@*",)),
    TeamChoice(groups=(Group(id="team1", email="", name=""),)),
    TeamChoice(patterns=("team-*", "keeper*")),  # scope groups, too
    TeamChoice(patterns=("team-*",), role_prefix=PREFIX),
    TeamChoice(patterns=("team-*",), role_prefix=PREFIX, roles=True),
    TeamChoice(patterns=("team-*",), most=1),
    TeamChoice(empty_left=True),
    TeamChoice(groups=(Group(id="team1", email="", name=""),), empty_left=True),
)
NAMES = ("Sales", "Board", "sales", f"{PREFIX}Admins", "", "Team 1", "Team 2")


def settle_groups(world: World) -> None:
    """Make the first groups, one of them within another one, and put people into them."""
    chance = Random(f"groups {world.history.seed}")  # a stream of its own: other histories draw as without
    for number in range(1, FIRST + 1):
        _found(world, number)
        members = {user_id for user_id in sorted(world.customer.live) if chance.random() < 0.6}
        world.customer.memberships[f"team{number}"] = members
    world.customer.nested["team1"].add("team3")
    world.teams.changed()


def _found(world: World, number: int) -> None:
    group = Group(id=f"team{number}", email=f"team-{number}@example.com", name=f"Team {number}")
    world.customer.groups[group.id] = group


class Groups:
    """The verbs of a history that are not our administrators'."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._directory = world.customer

    # ---- in the directory

    def create_group(self, step: Step) -> None:
        """Make another group, which somebody is in from the first moment on."""
        number = 1 + sum(1 for each in self._world.teams.names if each.startswith("team"))
        if number <= MOST:
            _found(self._world, number)
            self._put(f"team{number}", step.whom)
            self._world.teams.changed()

    def rename_group(self, step: Step) -> None:
        """Give a group another name, which another one may have; at times another address, too."""
        group = self._group(step)
        if group is not None:
            local = ("team-", "former-")[step.other // 60 % 2] if step.other // 6 % 5 == 0 else group.email[:5]
            email = f"{local}{group.id[4:]}@example.com" if local != group.email[:5] else group.email
            name = NAMES[step.other // 6 % len(NAMES)]
            self._directory.groups[group.id] = replace(group, name=name, email=email)
            self._world.teams.changed()

    def swap_groups(self, step: Step) -> None:
        """Let two groups have each other's name."""
        one, other = self._group(step), self._group(replace(step, other=step.other + 1))
        if one is not None and other is not None:
            self._directory.groups[one.id] = replace(one, name=other.name)
            self._directory.groups[other.id] = replace(other, name=one.name)
            self._world.teams.changed()

    def delete_group(self, step: Step) -> None:
        group = self._group(step)
        if group is not None:
            del self._directory.groups[group.id]
            for below in self._directory.nested.values():
                below.discard(group.id)
            self._directory.nested.pop(group.id, None)
            self._leave(group.id, *self._directory.memberships.pop(group.id, ()))

    def join_group(self, step: Step) -> None:
        group = self._group(step)
        if group is not None:
            self._put(group.id, step.whom)

    def leave_group(self, step: Step) -> None:
        group = self._group(step)
        if group is not None:
            self._leave(group.id, step.whom)

    def leave_groups(self, step: Step) -> None:
        """Take somebody out of every group that is not of a scope."""
        for group in list(self._groups()):
            self._leave(group.id, step.whom)

    def nest_group(self, step: Step) -> None:
        """Put a group into another one, or take it out if it is in there."""
        group, below = self._group(step), self._group(replace(step, other=step.other + 1 + step.other // 6 % 2))
        if group is not None and below is not None and group.id != below.id:
            inside = self._directory.nested[group.id]
            (inside.discard if below.id in inside else inside.add)(below.id)
            self._world.teams.changed()

    def empty_team_group(self, step: Step) -> None:
        """Take everybody out of a group, by mistake."""
        group = self._group(step)
        if group is not None:
            self._directory.nested[group.id].clear()
            self._leave(group.id, *self._directory.memberships[group.id])

    def fill_team_group(self, step: Step) -> None:
        group = self._group(step)
        for user_id in sorted(self._directory.live) if group is not None else ():
            assert group is not None
            self._put(group.id, user_id)

    def break_team_group(self, step: Step) -> None:
        """Let a group not be ours to read for up to two hours: not to its end, or not at all."""
        broken = self._directory.unreadable if step.other // 10 % 2 else self._world.directory.lost
        group = self._group(step)
        if group is not None:
            self._break(broken, group.id, step)

    def break_groups(self, step: Step) -> None:
        """Let no listing of all groups come to its end for up to two hours."""
        self._break(self._directory.unreadable, "groups", step)

    def _break(self, broken: set[str], what: str, step: Step) -> None:
        broken.add(what)
        self._world.teams.broke(what)

        def mended() -> None:
            broken.discard(what)
            self._world.teams.broke(what)

        self._world.scheduler.at(self._world.now + (10 + step.other % 110) * MINUTE, mended)

    def _put(self, group_id: str, user_id: str) -> None:
        if user_id in self._directory.live:
            self._directory.memberships[group_id].add(user_id)
            self._told(user_id)

    def _leave(self, group_id: str, *user_ids: str) -> None:
        self._world.teams.changed()
        for user_id in sorted(user_ids):
            if group_id in self._directory.memberships:
                self._directory.memberships[group_id].discard(user_id)
            self._told(user_id)

    def _told(self, user_id: str) -> None:
        self._world.user_changed(user_id)

    def _groups(self) -> Sequence[Group]:
        return [group for group_id, group in sorted(self._directory.groups.items()) if group_id.startswith("team")]

    def _group(self, step: Step) -> Group | None:
        groups = self._groups()
        return groups[step.other % len(groups)] if groups else None

    # ---- in Keeper

    def delete_team(self, step: Step) -> None:
        team = self._team(step)
        if team is not None:
            self._world.teams.deleted(self._world.node(step.other), team)

    def rename_team_by_hand(self, step: Step) -> None:
        node, team = self._world.node(step.other).teams, self._team(step)
        if team is not None:
            self._unless_taken(lambda: node.rename(team.id, self._name(step), self._world.now, by_hand=True))

    def foreign_team(self, step: Step) -> None:
        """Make a team by hand; other tools give theirs an id, at times that of a group."""
        node, group = self._world.node(step.other).teams, self._group(step)
        external_id = ("", "", f"x{step.other}", group.id if group is not None else "")[step.other // 42 % 4]
        self._unless_taken(lambda: node.create(self._name(step), external_id, self._world.now, by_hand=True))

    def approve_team(self, step: Step) -> None:
        """Approve the teams of a node."""
        self._world.node(step.other).teams.pending.clear()

    def put_into_team(self, step: Step) -> None:
        self._by_hand(step, give=True)

    def take_out_of_team(self, step: Step) -> None:
        self._by_hand(step, give=False)

    def _by_hand(self, step: Step, *, give: bool) -> None:
        node, team = self._world.node(step.other), self._team(step)
        for account in node.of(step.whom)[:1] if team is not None else ():
            assert team is not None
            (node.teams.give if give else node.teams.take)(team.id, account.scim_id)

    def _unless_taken(self, change: object) -> None:
        assert callable(change)
        try:
            change()
        except Rejected:
            return

    def _name(self, step: Step) -> str:
        return NAMES[step.other // 6 % len(NAMES)] or "Somebody's"

    def _team(self, step: Step) -> Team | None:
        teams = list(self._world.node(step.other).teams.there.values())
        return teams[step.other // 6 % len(teams)] if teams else None


class TeamAdministrators(Administrators):
    """The verbs of a history about teams that are calls of our use cases."""

    def choose_teams(self, step: Step) -> None:
        """Choose other groups, by id or by pattern, or none."""
        choice = CHOICES[step.other // 6 % len(CHOICES)]
        self._edited(step, lambda settings: replace(settings, teams=choice))

    def choose_again(self, step: Step) -> None:
        """Choose the groups that were chosen at first."""
        self._edited(step, lambda settings: replace(settings, teams=BY_ADDRESS))

    def remove_suspended(self, step: Step) -> None:
        """Have whoever is suspended taken out of their teams, or let them keep them again."""

        def changed(settings: Settings) -> Settings:
            removes = not settings.teams.remove_suspended
            return replace(settings, teams=replace(settings.teams, remove_suspended=removes))

        self._edited(step, changed)

    def approve_team_removals(self, step: Step) -> None:
        """Approve that people are taken out of a team, once some are held."""
        connection_id = self._connection(step)

        def held() -> Sequence[tuple[str, str]]:
            kept = self._services.teams.get(connection_id).values()
            return [(team.group_id, team.held_digest) for team in kept if team.held]

        for group_id, digest in self._once(held)[:1]:
            approve_removals(self._services, connection_id, group_id, digest, ADMIN)

    def adopt_team(self, step: Step) -> None:
        """Confirm that a team which people made is to be a group's, once one is offered."""
        connection_id = self._connection(step)

        def offered() -> Sequence[tuple[str, Namesake]]:
            kept = self._services.teams.get(connection_id).values()
            return [(team.group_id, team.namesake) for team in kept if team.namesake and not team.namesake.why]

        for group_id, namesake in self._once(offered)[:1]:
            adopt_team(
                self._services, connection_id, group_id, ADMIN, team_id=namesake.team_id, team_name=namesake.name
            )
