"""What must be true once the faults have stopped and four quiet days have passed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from autoprovisioning.app.administration import configure
from autoprovisioning.app.administration.take_over import take_over
from autoprovisioning.app.administration.tokens import reauthorize
from autoprovisioning.domain.accounts import Account
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Entry, Status, Trigger
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.holds import OPEN
from autoprovisioning.domain.holds import Standing as Verdict
from autoprovisioning.domain.normalization import same
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.unprovisioned import Offer
from tests.simulation.administrators import ADMIN
from tests.simulation.audit import judge_audit
from tests.simulation.keeper import Node
from tests.simulation.leftovers import judge_leftovers, judge_requests
from tests.simulation.team_ending import judge_teams, team_effects
from tests.simulation.truth import Standing

if TYPE_CHECKING:
    from tests.simulation.world import World

HOUR = timedelta(hours=1)
EARLY = timedelta(minutes=1)  # by which the clock of whoever dates what they have read may be behind
HARDLY = timedelta(minutes=7)  # that a timer ran before its trigger began again: five, and a clock that is off
QUIET = timedelta(days=4)
TAKEN_OVER = timedelta(hours=40)  # a report is kept for a day, and in the quiet days a drift run comes every 12 hours


def judge(world: World) -> None:
    """Let the weather be fair, everybody mend what they broke, and four days pass; then look at everything."""
    _mend(world)
    mended = world.now
    _pass(world)
    if world.scheduler.defects:
        return
    _judge(world, mended)
    if world.scheduler.defects:
        return
    before, teams = {node.name: len(node.effects) for node in world.nodes.values()}, team_effects(world)
    rosters = {each.id: world.ports.archive.entries(each) for each in world.ports.archive.connections()}
    waiting = {  # for room, or for the next attempt, which may come by now
        (connection.id, user_id)
        for connection in world.ports.archive.connections()
        for user_id in world.truth.people
        if _held(world, connection, user_id) or _failing(rosters[connection.id].get(user_id))
    }
    for number, kind in enumerate((RunKind.DRIFT, RunKind.FULL)):
        world.schedule(f"once-more-{number}", lambda kind=kind: world._reconcile(kind), world.now)
        world._until(world.now + HOUR)
    for node in world.nodes.values():
        told = [each for each in node.effects[before[node.name] :] if world.watch.marks[each.write.key] not in waiting]
        if told:
            world.watch.broken("two more runs write nothing", f"{told}")
    if team_effects(world) != teams:
        world.watch.broken("two more runs write nothing", "a team was made or renamed")
    for each in world.ports.archive.connections():
        now = world.ports.archive.entries(each)
        differing = [
            user_id for user_id in {*now, *rosters[each.id]} if now.get(user_id) != rosters[each.id].get(user_id)
        ]
        trying = [
            user_id
            for user_id in differing
            if (each.id, user_id) not in waiting and not _excuses(rosters[each.id].get(user_id), now.get(user_id))
        ]
        if trying:
            world.watch.broken(
                "two more runs change no entry", f"{[(rosters[each.id].get(u), now.get(u)) for u in trying]}"
            )


def _excuses(was: Entry | None, becomes: Entry | None) -> bool:
    """Say whether an entry may still change: its failure was tried again, or something fell due."""
    failed = (was is not None and was.failure is not None) or (becomes is not None and becomes.failure is not None)
    return failed or was is None or becomes is None or was.status is not becomes.status


def _mend(world: World) -> None:
    world.weather.fair = True
    world.scheduler.run_until(max(world.now, world.topics.stopped_until) + timedelta(minutes=20))
    world.customer.unreadable.clear()
    world.directory.lost.clear()
    for connection in list(world.ports.archive.connections()):
        process = world.scheduler.process(f"mend-{connection.id}", timedelta(days=1), quiet=True)

        def mend(connection: Connection = connection) -> None:
            if connection.state is State.OFF or connection.pilot is not None:
                configure.turn_on(world.services, connection.id, ADMIN)
            token = world.new_token(connection.id)
            with contextlib.suppress(BadInput):
                reauthorize(world.services, connection.id, token, ADMIN)

        def confirm(connection_id: str = connection.id) -> None:
            """Say of a node none of whose known accounts is left that it is the same, once a run has paused for it."""
            now = world.ports.connections.get(connection_id)
            if now is not None and now.state is State.PAUSED:
                reauthorize(world.services, connection_id, world.new_token(connection_id), ADMIN, override=True)

        world.scheduler.start(process, mend)
        later = world.scheduler.process(f"confirm-{connection.id}", timedelta(days=1), quiet=True)
        world.scheduler.start(later, confirm, world.now + HOUR)
    world.scheduler.run_until(world.now + timedelta(minutes=10))


def _pass(world: World) -> None:
    """Let the time pass: the whole schedule for two hours, then some runs a day, and what is due at each."""
    start = world.now
    for number in range(1, 25):
        world._tick(start + number * timedelta(minutes=5), 1000 + number)
    world._until(start + 2 * HOUR)
    judge_requests(world)
    at, number = start + 2 * HOUR, 0
    while at < start + QUIET:
        number += 1
        world.seldom(at, 1000 + number)
        at += 4 * HOUR
    world.scheduler.at(start + TAKEN_OVER, lambda: _take_over(world))
    for due in sorted(_due_times(world, start)):
        world.schedule(f"due-{due}", world._full, due + timedelta(minutes=3))
    world._until(start + QUIET)


def _take_over(world: World) -> None:
    """Let the administrators take over what the drift runs offer together."""
    for connection in world.ports.archive.connections():
        process = world.scheduler.process(f"take-over-{connection.id}", timedelta(days=1), quiet=True)
        report = world.ports.unprovisioned.get(connection.id)
        if report is not None and any(row.offer is Offer.ALL for row in report.accounts):
            world.scheduler.start(process, partial(take_over, world.services, connection.id, None, ADMIN))


def _due_times(world: World, start: datetime) -> set[datetime]:
    """Return when something falls due in the quiet days, as the directory and the settings have it, or was noticed."""
    moments: set[datetime] = set()
    for connection in world.ports.archive.connections():
        entries = world.ports.archive.entries(connection)
        for user_id in world.truth.people:
            standing = world.truth.standings[connection.id, user_id][-1]
            for seen in (standing, _as_noticed(standing, entries.get(user_id))):
                for trigger in seen.triggers:
                    delays = connection.settings.deprovisioning.of(trigger)
                    for days in filter(None, (delays.suspend_after, delays.delete_after)):
                        moments.add(world.now + timedelta(days=days) - world.truth.accrued(seen, trigger))
    return {moment for moment in moments if world.now < moment < start + QUIET}


def _judge(world: World, mended: datetime) -> None:
    archive = world.ports.archive
    for connection in archive.connections():
        node = world.node_of(connection.id)
        entries = archive.entries(connection)
        for user_id in sorted(world.truth.people):
            _access(world, connection, node, user_id, entries.get(user_id), mended)
    judge_leftovers(world)
    judge_audit(world)
    judge_teams(world, partial(_waits, world))


def _waits(world: World, connection: Connection, user_id: str) -> bool:
    """Say whether nothing is done about somebody: archived, held, or to be let in on another connection first."""
    held = any(_held(world, each, user_id) for each in world.ports.archive.connections())
    moves = any(fails for _, fails in _elsewhere(world, connection, user_id))
    return held or moves or world.truth.standings[connection.id, user_id][-1].archived


def _access(
    world: World, connection: Connection, node: Node, user_id: str, entry: Entry | None, mended: datetime
) -> None:
    standing = world.truth.standings[connection.id, user_id][-1]
    accounts = _accounts(world, connection, user_id, entry)
    active = [account for account in accounts if account.active]
    where = f"{connection.id}/{user_id}"
    if len(active) > 1:
        world.watch.broken("one account a person", f"{where}: {active}")
    if standing.archived:
        return
    if not standing.triggers:
        others = list(_elsewhere(world, connection, user_id))
        theirs = any(account.scim_id in node.theirs for account in accounts)
        held = any(_held(world, each, user_id) for each in world.ports.archive.connections())
        reported = any(_lost(world, each, user_id) for each in world.ports.archive.connections())
        if not (active or reported or theirs or held or _failing(entry) or any(map(any, others))):
            world.watch.broken("everybody who should have access has it", f"{where}: {accounts}, {entry}")
        if active and any(has and not fails for has, fails in others) and not held and not _failing(entry):
            world.watch.broken("one account a person", f"{where}: {active}, and on another connection")
        if active and not held and not _failing(entry):
            _attributes(world, connection, user_id, active[0])
        return
    # Who moves keeps their access here while a plan of the other connection waits.
    held = any(_held(world, each, user_id) for each in world.ports.archive.connections())
    failing = _failing(entry)
    noticed = _as_noticed(standing, entry)
    due = any(world.truth.due(connection.id, noticed, delete=delete, slack=-HOUR) for delete in (False, True))
    moves = any(fails for _, fails in _elsewhere(world, connection, user_id))  # their access stays here meanwhile
    if active and due and not held and not failing and not moves:
        world.watch.broken("nobody else has access", f"{where}: {standing}, {entry}")
    _unprovisioned(world, connection, node, user_id, entry, due=due)
    if entry is not None and not failing:
        _timers(world, connection, standing, entry, mended)


def _only_reported(world: World, connection: Connection, user_id: str, scim_id: str) -> bool:
    """Say whether somebody changed an account in Keeper, and the connection is to tell that alone; see that it did."""
    if connection.settings.repair_drift or scim_id not in world.node_of(connection.id).hands:
        return False
    if all(change.user_id != user_id for change in world.ports.keeper_changes.get(connection.id)):
        world.watch.broken("what is only reported is told", f"{connection.id}/{user_id}: {scim_id}")
    return True


def _lost(world: World, connection: Connection, user_id: str) -> bool:
    """Say whether the account that a roster has is gone, and a connection that is to tell that alone told it.

    What was found gone when it was to be suspended is told by the line of the suspension, and nothing differs any more.
    """
    entry = world.ports.archive.entry(connection, user_id)
    if entry is not None and entry.deleted and world.truth.standings[connection.id, user_id][-1].triggers:
        return False
    scim_id = entry.scim_id if entry is not None else ""
    gone = bool(scim_id) and scim_id not in world.node_of(connection.id).accounts
    return gone and _only_reported(world, connection, user_id, scim_id)


def _as_noticed(standing: Standing, entry: Entry | None) -> Standing:
    """Return since when leaving a scope counts: nobody tells when that was, so a timer runs from when it was seen."""
    timer = entry.timers.get(Trigger.APP_OFF) if entry is not None else None
    left = standing.triggers.get(Trigger.APP_OFF)
    if timer is None or left is None:
        return standing
    return replace(standing, triggers={**standing.triggers, Trigger.APP_OFF: max(left, timer.since)})


def _accounts(world: World, connection: Connection, user_id: str, entry: Entry | None) -> list[Account]:
    """Return the accounts that are a user's: what the roster holds, and what we made, by externalId.

    Where the roster was lost, what it does not hold is told, to be taken over.
    """
    node = world.node_of(connection.id)
    held = node.accounts.get(entry.scim_id) if entry is not None and entry.status is not Status.NONE else None
    made = [] if connection.id in world.lost else node.of(user_id)
    rest = [account for account in made if account.scim_id not in node.foreign and account != held]
    return [held, *rest] if held is not None else rest


def _unprovisioned(
    world: World, connection: Connection, node: Node, user_id: str, entry: Entry | None, *, due: bool
) -> None:
    """See that the drift runs told of active accounts that carry a leaver's id and are on no roster."""
    holds = entry.scim_id if entry is not None and entry.status is not Status.NONE else ""
    report = world.ports.unprovisioned.get(connection.id)
    told = {row.scim_id: row for row in report.accounts} if report is not None else {}
    for account in node.of(user_id):
        if account.active and account.scim_id != holds:
            row, where = told.get(account.scim_id), f"{connection.id}/{user_id}: {account}"
            if row is None:
                world.watch.broken("accounts that nobody provisions are told", where)
            if due and not holds and row is not None and row.offer is Offer.ALL:
                world.watch.broken("what is taken over is deprovisioned", where)


def _failing(entry: Entry | None) -> bool:
    return entry is not None and entry.failure is not None


def _held(world: World, connection: Connection, user_id: str) -> bool:
    return any(
        member.resource == user_id and verdict.standing in (*OPEN, Verdict.REJECTED)
        for hold in world.ports.archive.holds(connection.id)
        for member, verdict in hold.each()
    )


def _timers(world: World, connection: Connection, standing: Standing, entry: Entry, mended: datetime) -> None:
    """See that the timer of a trigger began when the directory says, to the minute, or within what it takes to see."""
    for trigger, since in standing.triggers.items():
        if Trigger.DELETED in standing.triggers and trigger is not Trigger.DELETED:
            continue  # of deleted users the directory does not say what else they were, nor since when
        timer = entry.timers.get(trigger)
        unseen = trigger is Trigger.APP_OFF and (entry.taken_over or world.directory.blind)
        if (
            timer is None
            or (standing.stood.get(trigger) and not _begins_anew(world, connection, trigger, entry.user_id))
            or unseen
        ):
            continue
        if trigger is Trigger.APP_OFF and _lacked(world, timer.since, since):
            continue
        late = timedelta(minutes=1)
        vanished = trigger is Trigger.DELETED and entry.user_id not in world.customer.removed
        if trigger is Trigger.APP_OFF or vanished:  # of which the directory tells no time: a sweep or a run notices
            late = max(since, mended + HOUR) + world.truth.patience.unseen - since
        began = {since, world.watch.left_since(connection.id, entry.user_id) if trigger is Trigger.APP_OFF else None}
        user = world.customer.live.get(entry.user_id)
        if trigger is Trigger.SUSPENDED and user is not None and user.since is not None:
            # Who is archived and then suspended has the later time in the directory: the first may not have been seen.
            began.add(user.since if user.since - since <= world.truth.patience.unseen else None)
        if any(-EARLY <= timer.since - each <= late for each in began if each is not None):
            continue
        if standing.stood.get(trigger) and world.truth.ran(connection.id, entry.user_id, timer.since, since) <= HARDLY:
            continue
        if not world.truth.seemed_to_last(connection.id, entry.user_id, trigger, timer.since):
            where, told = f"{connection.id}/{entry.user_id}", f"{trigger.value} since {since}, not {timer.since}"
            world.watch.broken("timers are kept to the minute", f"{where}: {told}")


def _begins_anew(world: World, connection: Connection, trigger: Trigger, user_id: str) -> bool:
    """Say whether the directory tells a trigger that began again from the one before, even if nobody saw it end.

    Where archived counts as suspended a later time may be that of who was archived before, whose trigger goes on.
    """
    if connection.settings.archived_as_suspended:
        return False
    known = (live for live, _ in world.directory.history.get(user_id, ((), ()))[1] if live is not None)
    return trigger is Trigger.SUSPENDED and all(live.presence is not Presence.ARCHIVED for live in known)


def _lacked(world: World, begun: datetime, left: datetime) -> bool:
    """Say whether a listing of a scope group lacked somebody right before somebody left, and a timer began by it."""
    lacking = (each.at for each in world.weather.struck if each.kind == "lacks" and "members" in each.call)
    return any(at - EARLY <= begun <= left <= at + world.truth.patience.unseen for at in lacking)


def _elsewhere(world: World, connection: Connection, user_id: str) -> Iterator[tuple[bool, bool]]:
    """Yield, for each other connection entitling somebody, whether they have access and whether it shows a failure."""
    for other in world.ports.archive.connections():
        if other.id != connection.id and not world.truth.standings[other.id, user_id][-1].triggers:
            node, entry = world.node_of(other.id), world.ports.archive.entry(other, user_id)
            accounts = _accounts(world, other, user_id, entry)
            locked = any(account.scim_id in node.theirs for account in accounts)
            yield any(account.active for account in accounts), locked or _failing(entry)


def _attributes(world: World, connection: Connection, user_id: str, account: Account) -> None:
    user = world.customer.live[user_id]
    assert user.presence is Presence.ACTIVE
    wanted = connection.settings.mapping.apply(user.profile)
    wrong = {
        name: (account.attributes.get(name), value)
        for name, value in wanted.items()
        if not same(name, account.attributes.get(name), value)
    }
    if wrong and not _only_reported(world, connection, user_id, account.scim_id):
        world.watch.broken("accounts are as the directory says", f"{connection.id}/{user_id}: {wrong}")
