"""What must not be left once everything is quiet: whatever was begun has an end, and what is gone leaves nothing."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from autoprovisioning.app.administration.ask_for_run import look_after_run
from autoprovisioning.app.runs.sweep import LEASE as SWEEPS
from autoprovisioning.domain.connections import SERVING, Connection
from autoprovisioning.domain.entry import Action, Entry, Status
from autoprovisioning.domain.guard import Kind, Member, member_of
from autoprovisioning.domain.holds import OPEN, Hold
from autoprovisioning.domain.holds import Standing as Verdict
from autoprovisioning.domain.requests import Became
from autoprovisioning.domain.runs import RunState

if TYPE_CHECKING:
    from tests.simulation.world import World

DAY = timedelta(days=1)
SETTLED = timedelta(hours=9)  # in the quiet days there is a full run every eight hours at least


def judge_requests(world: World) -> None:
    """Everybody who requested a run learns how it ended, two hours later at most."""
    for connection in world.ports.archive.connections():
        for asked in world.ports.archive.asked(connection.id):
            if asked.expires > world.now:
                became = look_after_run(world.services, connection, asked.id)
                if became.became in (Became.WAITING, Became.RUNNING):
                    world.watch.broken("no request is left", f"{connection.id}: {became}")


def judge_leftovers(world: World) -> None:
    """Judge what is stored of every connection, of the deleted ones, and of nobody's."""
    archive = world.ports.archive
    for connection in archive.connections():
        entries = archive.entries(connection)
        _entries(world, connection, entries)
        _holds(world, connection, entries)
        stored = set(world.tokens.stored(connection.id))
        if stored != {connection.token_version}:
            world.watch.broken("no token is left", f"{connection.id}: {sorted(stored)}, {connection.token_version}")
    for connection_id in sorted({*world.truth.told} - {connection.id for connection in archive.connections()}):
        # The record of a run that was opened in the moment of the deletion, and refused, may stay until it expires.
        left = [run for run in archive.runs(connection_id) if not run.ended]
        left += [*archive.holds(connection_id), *archive.asked(connection_id)]
        left += world.tokens.stored(connection_id)
        if left or archive.rosters(connection_id):
            world.watch.broken("a deleted connection leaves its audit alone", f"{connection_id}: {left}")
    # One of sweeps that a fault kept from being released has run out, and stays until a sweep is asked for again.
    leases = [name for name in archive.leases() if name != SWEEPS or not world.weather.struck]
    if leases:
        world.watch.broken("no lease is left", str(leases))
    if world.topics.waiting:
        world.watch.broken("no message is left", str(world.topics.waiting))
    _channels(world)


def _entries(world: World, connection: Connection, entries: dict[str, Entry]) -> None:
    for user_id, entry in entries.items():
        if entry.mark is not None:
            world.watch.broken("no mark is left", f"{connection.id}/{user_id}: {entry}")
        if entry.again:
            world.watch.broken("who asked to look again is answered", f"{connection.id}/{user_id}: {entry}")
        if entry.pending:
            world.watch.broken("nobody is pending", f"{connection.id}/{user_id}: {entry}")
        if entry.deleted and entry.status is not Status.SUSPENDED:
            world.watch.broken("only who has no access was deleted", f"{connection.id}/{user_id}: {entry}")
        claimed_by = world.ports.archive.claimed_by(connection.id, entry.scim_id) if entry.scim_id else ""
        if claimed_by not in ("", user_id):
            told = f"{connection.id}: {entry.scim_id} of {user_id}, claimed by {claimed_by}"
            world.watch.broken("a claim is that of who has the account", told)
    for lock in world.ports.unprovisioned.locks(connection.id).values():
        if lock.until is not None or lock.returns:
            world.watch.broken("no mark is left", f"{connection.id}: {lock}")
    ids = [entry.scim_id for entry in entries.values() if entry.scim_id]
    if len(ids) != len(set(ids)):
        world.watch.broken("one account a person", f"{connection.id}: {sorted(ids)}")
    for run in world.ports.archive.runs(connection.id):
        if run.state in (RunState.OBSERVING, RunState.PLANNED):
            world.watch.broken("no run is left open", str(run))


def _holds(world: World, connection: Connection, entries: dict[str, Entry]) -> None:
    holds = world.ports.archive.holds(connection.id)
    for hold in holds:
        for member, verdict in hold.each():
            if verdict.standing in (*OPEN, Verdict.REJECTED) and _outlived(world, connection, member, entries):
                world.watch.broken("no hold outlives what it is about", f"{connection.id}: {member}, {hold}")
            old = verdict.at is not None and world.now - verdict.at > DAY + SETTLED
            if verdict.standing is Verdict.APPROVED and old:
                world.watch.broken("what is unspent of an approval ends after a day", f"{connection.id}: {hold}")
    waiting = [hold for hold in holds if hold.those(Verdict.WAITING)]
    kinds = Counter(hold.kind for hold in waiting)
    if any(number > 1 for number in kinds.values()):
        world.watch.broken("a waiting plan ends where it differs", f"{connection.id}: {waiting}")
    for hold in waiting:
        _fits(world, connection, hold, entries)


def _outlived(world: World, connection: Connection, member: Member, entries: dict[str, Entry]) -> bool:
    """Say whether what a member is about is over: nobody is to lose access any more, or nobody to get it."""
    if member.kind is Kind.LOCKING:
        lock = world.ports.unprovisioned.locks(connection.id).get(member.resource)
        return lock is None or not lock.waits or lock.member != member
    if member.resource not in world.truth.people:  # taken over, with an id that the directory does not know
        return False
    stood = world.truth.standings[connection.id, member.resource][-1]
    entry = entries.get(member.resource)
    if stood.archived or (entry is not None and entry.failure is not None):
        return False
    if member.kind is Kind.WIPING:
        wanted = world.truth.desired.get((connection.id, member.resource), [])
        return not wanted or entry is None or member_of(Action.UPDATE, entry, None, wanted[-1][1]) != member
    if member.kind is not Kind.TAKING:
        return bool(stood.triggers)
    others = (each.id for each in world.ports.archive.connections() if each.id != connection.id)
    kept_elsewhere = any(not world.truth.standings[other, member.resource][-1].triggers for other in others)
    return not stood.triggers and not kept_elsewhere  # of two that entitle somebody one lets them go


def _fits(world: World, connection: Connection, hold: Hold, entries: dict[str, Entry]) -> None:
    """See that a plan for which there has been room for hours does not wait; some wait however few they are."""
    fresh = world.now - hold.raised_at < DAY + SETTLED  # what was reserved until then, and came to nothing, takes room
    if hold.kind in (Kind.UNLOCKING, Kind.LOCKING) or connection.unproven or fresh:
        return
    active = sum(entry.status is Status.ACTIVE for entry in entries.values())
    limit = (
        connection.settings.limit.taken(active)
        if hold.kind is Kind.TAKING
        else connection.settings.limit.allowed(active)
    )
    if hold.kind is Kind.GIVING:
        limit = world.history.setting.given
    number, lately = len(hold.those(Verdict.WAITING)), world.watch.brakes.lately(connection.id, hold.kind.budget)
    if number + lately <= limit:
        told = f"{connection.id}: {number} wait, {lately} went within a day, at a limit of {limit}: {hold}"
        world.watch.broken("a held plan that fits goes", told)


def _channels(world: World) -> None:
    known = {channel.id for channel in world.ports.channels.all() if channel.address}
    live = {
        channel.id
        for channel in world.customer.channels.values()
        if channel.expires is not None and channel.expires > world.now
    }
    serving = any(connection.state in SERVING for connection in world.ports.archive.connections())
    if live - known or len(known) > 2 or bool(known) is not serving:  # two while the next one is being proven
        told = f"known {sorted(known)}, live {sorted(live)}, somebody is served: {serving}"
        world.watch.broken("a channel is open while somebody is served, and none besides", told)
