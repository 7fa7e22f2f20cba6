"""The audit: each change in Keeper and each edit of an administrator is one event, each event one of them."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from autoprovisioning.domain.accounts import WriteKind
from autoprovisioning.domain.entry import GROUPS, Action
from autoprovisioning.domain.events import TURNED_OFF_PILOT, Event, EventName
from autoprovisioning.domain.memberships import removable
from tests.simulation.keeper import Effect, Node

if TYPE_CHECKING:
    from tests.simulation.world import World

HOUR = timedelta(hours=1)
CHANGES = {
    EventName.CREATED, EventName.UPDATED, EventName.SUSPENDED, EventName.UNSUSPENDED, EventName.DELETED,
    EventName.ADOPTED,
}  # fmt: skip
COUNTED = {
    EventName.CREATED: "created", EventName.UPDATED: "updated", EventName.SUSPENDED: "suspended",
    EventName.UNSUSPENDED: "unsuspended", EventName.DELETED: "deleted", EventName.ADOPTED: "adopted",
}  # fmt: skip


def judge_audit(world: World) -> None:
    """Judge the audit of every connection, deleted ones included: it outlives them."""
    for connection_id in world.truth.told:
        _changes(world, connection_id, world.node_of(connection_id))
        _edits(world, connection_id)
        _causes(world, connection_id)


def _causes(world: World, connection_id: str) -> None:
    """A cause is what the audit log reported, and none is told of what an administrator asked for."""
    for event in world.ports.archive.events(connection_id).values():
        cause = event.cause
        if cause is not None and (cause.event, cause.group) not in world.audit_log.told:
            world.watch.broken("a cause is what was reported", f"{connection_id}/{event.user_id}: {cause}")


def _edits(world: World, connection_id: str) -> None:
    """Each edit of an administrator, each decision about a held plan and each pause is exactly one event."""
    events = world.ports.archive.events(connection_id).values()
    wanted = +world.truth.told[connection_id]
    wanted["held plan"] = world.watch.brakes.decisions[connection_id]
    wanted["Deleted the configuration"] = int(connection_id not in world.truth.connections)
    found = Counter(_about(event) for event in events)
    told = {what: (wanted[what], found[what]) for what in (*wanted, *_OWN) if wanted[what] != found[what]}
    if told:
        world.watch.broken("each edit is one event", f"{connection_id}: happened, told: {told}")


_OWN = (
    "Edited", "Turned on", "Turned off", TURNED_OFF_PILOT, "Requested deletion of the configuration",
    "Deleted the configuration", "held plan",
    EventName.REAUTHORIZED.value, EventName.PAUSED.value,
)  # fmt: skip


def _about(event: Event) -> str:
    if event.name is EventName.CONFIGURED:
        return "held plan" if "held plan" in event.changed else event.reason
    return event.name.value


def _changes(world: World, connection_id: str, node: Node) -> None:
    """Each effective change has exactly one event, each event its change, and the counters tell the events."""
    events = world.ports.archive.events(connection_id)
    effects: dict[str, list[Effect]] = {}
    for effect in (each for other in world.nodes.values() for each in other.effects):
        if world.watch.marks[effect.write.key][0] != connection_id:
            continue
        effects.setdefault(effect.write.key, []).append(effect)
        name, before, after = effect.write, effect.before, effect.after
        moved = before is None or after is None or before != after or effect.joined or effect.left
        lost = (
            connection_id not in world.truth.connections
        )  # who died with a write under way left its mark, and it went
        key = effect.write.key
        told = key in events and (not world.watch.locks_by(key) or events[key].name in CHANGES)
        if moved and not lost and not told and not _excused(world, node, effect):
            world.watch.broken("each change has its event", f"{connection_id}: {name}, {before} -> {after}")
    for event in events.values():
        if event.name in CHANGES and event.id not in effects and not _without_write(world, connection_id, node, event):
            world.watch.broken("each event has its change", f"{connection_id}: {event}")
    counted = Counter(event.name.value for event in events.values())
    if dict(counted) != world.ports.archive.usage(connection_id):
        told = f"{connection_id}: {dict(counted)}, {world.ports.archive.usage(connection_id)}"
        world.watch.broken("counters tell the events", told)
    for run in world.ports.archive.runs(connection_id):
        mine = Counter(
            COUNTED[event.name] for event in events.values() if event.actor == f"run {run.id}" and event.name in COUNTED
        )
        told_counts = {name: run.counts.get(name, 0) for name in COUNTED.values() if run.counts.get(name, 0)}
        if dict(mine) != told_counts:
            world.watch.broken("counts of a run tell its events", f"{run.id}: {dict(mine)}, {told_counts}")


def _excused(world: World, node: Node, effect: Effect) -> bool:
    """Say whether nobody could know about a change: somebody else undid it, or a failure reports it."""
    connection_id, user_id = world.watch.marks[effect.write.key]
    told = [each for each in world.ports.archive.events(connection_id).values() if each.user_id == user_id]
    near = (each for each in told if abs(each.at - effect.at) < timedelta(minutes=5) and each.name in CHANGES)
    if world.history.setting.skewed and any(near):
        return True  # who takes a live mark for one that ran out does the same, and tells it
    if effect.write.key in world.lost_marks:
        return True  # the mark that nobody had settled yet went with the roster
    again = (each for each in told if each.name is EventName.DELETED and effect.at < each.at < effect.at + HOUR)
    if effect.write.kind is WriteKind.DELETE and any(again):
        return True  # the roster had the account locked before, so nothing told: it was sent once more
    if effect.before == effect.after and _told_again(world, connection_id, user_id, effect):
        return True
    scim_id = effect.after.scim_id if effect.after is not None else effect.write.scim_id
    return node.hands.get(scim_id, effect.at - HOUR) >= effect.at


def _told_again(world: World, connection_id: str, user_id: str, effect: Effect) -> bool:
    """Say whether memberships whose answer was lost were told since: nothing shows them, so they are asked for again.

    That waits as long as the user fails, or is not to be written to.
    """
    events = world.ports.archive.events(connection_id).values()
    if any(GROUPS in each.changed for each in events if each.user_id == user_id and each.at >= effect.at):
        return True
    connection = world.truth.connections.get(connection_id)
    entry = world.ports.archive.entry(connection, user_id) if connection is not None else None
    if entry is None or entry.failure is not None or not removable(entry):
        return True
    return not {*entry.asked}.isdisjoint((*effect.joined, *effect.left))  # it may stay in doubt


def _without_write(world: World, connection_id: str, node: Node, event: Event) -> bool:
    """Say whether an event tells that there was nothing to write: adopted as it is, or gone from Keeper.

    Whoever finds a user's own account after a crash cannot tell whether they were about to create or to adopt it. Where
    somebody locks or unlocks an account by hand, and our worker dies right before it does the same, nothing tells
    whose doing it was.
    """
    if event.recovered and event.attempted in (Action.SUSPEND, Action.UNSUSPEND):
        # One may be gone by now, or have been moved to this node since.
        written = (effect for each in world.nodes.values() for effect in each.effects)
        theirs = (effect.after for effect in written if effect.after is not None)
        return any(account.external_id == event.user_id and account.scim_id in node.hands for account in theirs)
    again = event.attempted is Action.UPDATE and event.before == {}  # of an account that had vanished
    if event.recovered and (again or event.attempted is Action.CREATE):
        own = {each.scim_id for each in node.of(event.user_id)}
        found = any(scim_id in own or event.user_id in node.were[scim_id] for scim_id in node.foreign)
        if found or (event.attempted is Action.CREATE and connection_id in world.lost):
            return True
    if event.recovered and event.attempted is Action.UPDATE and event.before is None:
        return True  # what was not mapped when the account was written last may have been there all along
    return not event.changed
