"""What must come in time, while a history goes on: a good end, days later, hides that nobody followed something up.

A leaver of whom a notification told a worker is out within minutes, whatever process dies meanwhile; if their account
was taken over after that, within the time that a run needs. And a run takes nothing out of a held plan as no longer due
that the directory has had due all the time.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.entry import Action, Entry, Status, Trigger
from autoprovisioning.domain.guard import Kind, Member
from autoprovisioning.domain.holds import OPEN, Hold
from autoprovisioning.domain.holds import Standing as Verdict

if TYPE_CHECKING:
    from tests.simulation.world import World

SECOND = timedelta(seconds=1)
# A look takes a minute at most, and its message comes again after 10, 20, 40 ... seconds.
PROMPT = timedelta(minutes=6)
EACH = timedelta(minutes=3)  # more for each call that was struck meanwhile
# Other faults make what is read wrong or late, lose messages, or have Keeper refuse.
HARMLESS = frozenset({"crash before", "crash after", "unavailable", "ambiguous", "failed"})


class Promptness:
    """Waits for what must come of what became known."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._held_at: dict[str, datetime] = {}  # connection -> when a look left a change to the next run last
        self._struck: set[tuple[str, str, Member]] = set()  # connection, plan: known to be no longer due

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear of changes that looks leave to the next run, which holds them, within the block."""
        promptness, log = self, logging.getLogger("autoprovisioning.app.provisioning.converge")

        class Held(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                fields = getattr(record, "json_fields", {})
                if fields.get("alert") == "change_held":
                    promptness._held_at[fields["connection"]] = promptness._world.now

        handler, before = Held(), (log.level, log.propagate)
        log.setLevel(logging.WARNING)
        log.propagate = False
        log.addHandler(handler)
        try:
            yield
        finally:
            log.removeHandler(handler)
            log.setLevel(before[0])
            log.propagate = before[1]

    # ---- leavers

    def told(self, user_id: str) -> None:
        """Take over that a notification about a user has reached a worker."""
        now = self._world.now
        for connection in self._world.ports.archive.connections():
            if self._leaves(connection, user_id):
                due = partial(self._out, connection, user_id, now, now)
                self._world.scheduler.at(now + PROMPT, due)

    def _leaves(self, connection: Connection, user_id: str) -> bool:
        """Say whether somebody is to lose their access here now, and is nobody else's."""
        truth, archive = self._world.truth, self._world.ports.archive
        past = truth.standings.get((connection.id, user_id))
        if (
            connection.state is not State.ON
            or not connection.begun
            or not past
            or past[-1].archived
            or past[-1].outside
        ):
            return False
        others = [each for each in archive.connections() if each.id != connection.id]
        if any(archive.entry(each, user_id) or not truth.standings[each.id, user_id][-1].triggers for each in others):
            return False
        causes = {trigger for trigger, _ in truth.causes(connection.id, past[-1], delete=False, slack=-SECOND)}
        causes -= {Trigger.APP_OFF}  # a membership is proven by listings alone
        gone = past[-1].triggers.get(Trigger.DELETED)
        for trigger, since in past[-1].triggers.items() if gone is not None else ():
            if since < gone and truth.ran(connection.id, user_id, since, gone) < SECOND:
                causes -= {trigger}  # what stood still until the deletion does not begin with it
        return not self._edited(connection.id) and bool(causes)

    def _edited(self, connection_id: str) -> bool:
        """Say whether the policy was changed within an hour: what is due by one of them may not be by the other."""
        policies = self._world.truth.policies[connection_id]
        return any(at > self._world.now - timedelta(hours=1) for at, _ in policies[1:])

    def _out(self, then: Connection, user_id: str, told: datetime, since: datetime) -> None:
        """See that somebody is out who was to lose access when told, unless something is in the way, or changed."""
        world, now = self._world, self._world.now
        connection = next((each for each in world.ports.archive.connections() if each.id == then.id), None)
        if connection is None or _settings(connection) != _settings(then) or then.id in world.lost:
            return
        entry = world.ports.archive.entry(connection, user_id)
        if entry is None or entry.status is not Status.ACTIVE or not self._has_access(connection, entry):
            return
        begun = world.watch.had_since(connection.id, user_id) if entry.taken_over else told
        by_run = begun > told  # there was no account to look at: a run follows upon taking over
        if by_run and world.history.setting.hurried:
            return  # nothing says how many deliveries a run needs there
        strikes = [
            each for each in world.weather.struck if each.at >= told and (by_run or _concerns(each.key, user_id))
        ]
        if self._excused(connection, user_id, entry, told) or any(each.kind not in HARMLESS for each in strikes):
            return
        if entry.mark is not None:
            since = max(since, entry.mark.until)
        patience = world.truth.patience.planned if by_run else PROMPT
        allowed = max(since, begun) + patience + EACH * len(strikes)
        if now < allowed:
            world.scheduler.at(allowed, partial(self._out, then, user_id, told, since))
            return
        world.watch.broken("a leaver is out within minutes", f"{connection.id}/{user_id}, told at {told}: {entry}")

    def _has_access(self, connection: Connection, entry: Entry) -> bool:
        account = self._world.node_of(connection.id).accounts.get(entry.scim_id)
        return account is not None and account.active

    def _excused(self, connection: Connection, user_id: str, entry: Entry, told: datetime) -> bool:
        world = self._world
        changed = world.truth.standings[connection.id, user_id][-1].at > told
        blind = world.directory.blind or world.topics.stopped_until > told
        held = self._held_at.get(connection.id, told - SECOND) >= told or any(
            member.resource == user_id and verdict.standing in (*OPEN, Verdict.REJECTED)
            for hold in world.ports.archive.holds(connection.id)
            for member, verdict in hold.each()
        )
        return changed or blind or held or entry.failure is not None

    # ---- held plans

    def settled(self, connection_id: str, plan: Hold) -> None:
        """Judge what a run took out of a held plan as no longer due."""
        for member, verdict in plan.each():
            key = (connection_id, plan.digest, member)
            if verdict.standing is Verdict.NOT_DUE and key not in self._struck:
                self._struck.add(key)
                if member.kind is Kind.TAKING and self._still_due(connection_id, member):
                    self._world.watch.broken("what is due stays in its held plan", f"{connection_id}: {member}, {plan}")

    def _still_due(self, connection_id: str, member: Member) -> bool:
        """Say whether it has been due for that trigger alone, and nothing besides, for as long as a run takes to see.

        Of who may have an account elsewhere, of what waits for something else besides, and of who left a scope, which
        has no time of its own, that is not told here.
        """
        world, user_id, truth = self._world, member.resource, self._world.truth
        entry = world.ports.archive.entry(truth.connections[connection_id], user_id)
        past = truth.standings.get((connection_id, user_id), ())
        if self._edited(connection_id):
            return False
        if len(truth.connections) > 1 or not past or past[-1].archived or member.trigger in ("", Trigger.APP_OFF.value):
            return False
        since, patience = past[-1].triggers.get(Trigger(member.trigger)), truth.patience.planned
        if since is None or len(past[-1].triggers) > 1 or member.since is None or member.since < since - SECOND:
            return False  # it is about another time
        if entry is None or entry.status is not Status.ACTIVE or entry.failure or entry.mark or entry.pending:
            return False
        lasts = world.now - past[-1].at > patience and member.action == Action.SUSPEND
        due = truth.due(connection_id, past[-1], delete=False, slack=-patience)
        return lasts and due and not truth.due(connection_id, past[-1], delete=True, slack=patience)


def _concerns(key: str, user_id: str) -> bool:
    """Say whether the call that was struck may have been made for a user: by a batch, or by a message about them."""
    name = key.partition("#")[0]
    about = re.search(r"-(?:add|update|delete|undelete)-(u\d+)/", name)
    return about[1] == user_id if about else "/" in name


def _settings(connection: Connection) -> tuple[object, ...]:
    return connection.state, connection.edition, connection.token_version, connection.throttled_until
