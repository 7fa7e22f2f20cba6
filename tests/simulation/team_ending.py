"""What must be true of teams once the faults have stopped and the quiet days have passed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import TYPE_CHECKING

from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Entry, Status
from autoprovisioning.domain.events import EventName
from autoprovisioning.domain.memberships import removable
from autoprovisioning.domain.scope import Group
from autoprovisioning.domain.teams import GroupTeam, TeamState, team_name
from tests.simulation.keeper import Node
from tests.simulation.truth import DAY

if TYPE_CHECKING:
    from tests.simulation.world import World

SEEN_AGAIN = timedelta(hours=1)  # runs list the teams every 15 minutes, unless several fail


def judge_teams(world: World, waits: Callable[[Connection, str], bool]) -> None:
    """Judge the teams of every connection, and who is in them; of whoever `waits` nothing is said."""
    if world.history.setting.teams is None:
        return
    for connection in world.ports.archive.connections():
        node, kept = world.node_of(connection.id), world.ports.archive.teams(connection.id)
        entries = world.ports.archive.entries(connection)
        chosen = _chosen(world, connection)
        awaited = {group_id: _comparable(team.team_name) for group_id, team in kept.items() if team.unseen_since}
        for group in chosen:
            others = {name for group_id, name in awaited.items() if group_id != group.id}
            _team(world, connection, node, group, kept.get(group.id), len(chosen), others)
        teams = (kept[group.id] for group in chosen if group.id in kept)
        serving = {team.team_id: team for team in teams if team.serves}
        for user_id, entry in sorted(entries.items()):
            if user_id not in world.truth.people:  # taken over with an id that the directory does not know
                continue
            if not waits(connection, user_id):
                _memberships(world, connection, node, entry, serving)
            _nobody_fails(world, connection, node, user_id, entry)
    _told(world)


def _chosen(world: World, connection: Connection) -> list[Group]:
    choice = connection.settings.teams
    return [group for _, group in sorted(world.customer.groups.items()) if choice.on and choice.chooses(group)]


def _team(
    world: World,
    connection: Connection,
    node: Node,
    group: Group,
    kept: GroupTeam | None,
    chosen: int,
    awaited: Collection[str],
) -> None:
    """See that a chosen group has a team of its name, or is told what stands in the way of that, and that it does."""
    teams, wanted, choice = node.teams.of(group.id), team_name(group), connection.settings.teams
    state = kept.state if kept is not None else None
    role = choice.makes_role(wanted)
    others = [team for team in node.teams.there.values() if team.external_id != group.id]
    taken = _comparable(wanted) in {*awaited, *(_comparable(team.name) for team in others)}
    match teams:
        case []:
            deleted = group.id in world.teams.known_gone[connection.id] or (kept is not None and kept.team_id)
            reasons = {
                TeamState.DELETED: bool(deleted),
                TeamState.SENT: bool(deleted),  # before any listing showed it: it is awaited for weeks
                TeamState.ROLE: role and not choice.roles,
                TeamState.NAME_TAKEN: taken,
                TeamState.TOO_MANY: chosen > choice.most,
            }
        case [team]:
            by_hand = team.id in node.teams.by_hand  # which may be Keeper's own spelling, for all we know
            named = team.name == wanted or (by_hand and _comparable(team.name) == _comparable(wanted))
            turns = role is not choice.makes_role(team.name)
            reasons = {
                TeamState.THERE: named and not choice.bars(team.name),
                TeamState.NAME_TAKEN: taken and team.name != wanted,
                TeamState.ROLE: turns or choice.bars(team.name),
            }
        case _:
            reasons = {TeamState.DOUBLE: any(team.id in node.teams.by_hand for team in teams)}
    if state is None or not reasons.get(state, False):
        told = f"{connection.id}: {group}, {teams}, {kept}; others: {others}"
        world.watch.broken("every chosen group has its team, of its name", told)


def _memberships(world: World, connection: Connection, node: Node, entry: Entry, serving: dict[str, GroupTeam]) -> None:
    """See that somebody is in the teams of their groups, and by our doing in no others."""
    where, teams = f"{connection.id}/{entry.user_id}", node.teams
    account = node.accounts.get(entry.scim_id)
    if account is None or entry.failure is not None:
        return
    for team_id, kept in serving.items():
        belongs = entry.user_id in world.customer._inside(kept.group_id)
        inside, mine = account.scim_id in teams.members.get(team_id, ()), (team_id, account.scim_id)
        stays = kept.held or entry.taken_over or connection.id in world.lost or not removable(entry)
        suspended = entry.status is Status.SUSPENDED and not entry.entitled
        if inside and mine in teams.asked and mine not in teams.given and not stays:
            if not belongs:
                world.watch.broken("nobody is in a team whose group they are not in", f"{where}: {kept}, {entry}")
            if suspended and connection.settings.teams.remove_suspended:
                world.watch.broken(
                    "nobody suspended stays in a team, where they are to be taken out", f"{where}: {kept}, {entry}"
                )
        active = entry.status is Status.ACTIVE and entry.in_scope and not entry.timers and account.active
        if belongs and active and not inside and mine not in teams.taken:
            world.watch.broken("everybody is in the teams of their groups", f"{where}: {kept}, {entry}")
        if team_id in entry.asked and removable(entry) and active and not kept.held:
            world.watch.broken("nobody's membership stays in doubt", f"{where}: {entry}")


def _nobody_fails(world: World, connection: Connection, node: Node, user_id: str, entry: Entry) -> None:
    """See that nobody fails for a team that is gone."""
    gone = set(entry.asked) - node.teams.there.keys()
    if entry.failure is not None and entry.failure.code == "rejected" and gone:
        world.watch.broken("nobody fails for a team that is gone", f"{connection.id}/{user_id}: {entry}")


def _told(world: World) -> None:
    """See that each team made, and each that was renamed, is one event.

    What was in doubt when the choice ended is forgotten with it, and what became of a team that people renamed or
    deleted before a run listed it again cannot be told. What another tool made meanwhile of a group whose own team was
    in doubt is taken for ours.
    """
    ends = [at for choices in world.teams.choices.values() for at, choice in choices if not choice.on]
    forgotten = Counter[tuple[bool, str]]()
    happened, told = Counter[tuple[bool, str]](), Counter[tuple[bool, str]]()
    theirs = 0
    for teams in {id(node.teams): node.teams for node in world.nodes.values()}.values():
        for effect in teams.effects:
            if effect.before is None or effect.before.name != effect.after.name:
                happened[effect.before is None, effect.after.name] += 1
                by_hand = teams.by_hand.get(effect.after.id)
                unseen = by_hand is not None and effect.at <= by_hand <= effect.at + SEEN_AGAIN
                doubted = unseen or any(effect.at <= at <= effect.at + DAY for at in ends)
                forgotten[effect.before is None, effect.after.name] += doubted
        theirs += sum(team.id in teams.by_hand and bool(team.external_id) for team in teams.ever.values())
    for connection_id in world.truth.told:
        for event in world.ports.archive.events(connection_id).values():
            if event.name is EventName.CONFIGURED and "team" in event.changed:
                told[not (event.before or {}).get("team"), str(event.changed["team"])] += 1
    differing = {
        what: (happened[what], told[what])
        for what in {*happened, *told}
        if not happened[what] - forgotten[what] <= told[what] <= happened[what] + theirs * what[0]
    }
    if differing:
        world.watch.broken("each team that is made or renamed is one event", f"happened, told: {differing}")


def team_effects(world: World) -> int:
    """Return how many teams were made and renamed so far."""
    return sum(len(teams.effects) for teams in {id(node.teams): node.teams for node in world.nodes.values()}.values())


def _comparable(name: str) -> str:
    return " ".join(name.split()).casefold()
