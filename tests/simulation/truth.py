"""Who was entitled to what, and when: from the directory and the settings alone, nothing of the code under test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from autoprovisioning.domain.accounts import Attributes
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.deprovisioning import Deprovisioning
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.entry import Trigger
from autoprovisioning.domain.events import CHOSE_OTHERS, ENDED_PILOT, TURNED_OFF_PILOT, TURNED_ON_FOR_CHOSEN, EventName
from autoprovisioning.domain.scope import OrgUnit
from tests.simulation.scheduler import Scheduler
from tests.support.in_memory import FakeDirectory

SERVING = (State.ON, State.PAUSED)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
UNNOTICED = timedelta(hours=4)  # a scope left while faults strike; from the weather being fair on it is `unseen`


@dataclass(frozen=True, slots=True)
class Patience:
    """How old the truth may be that something rests on, as the product's own times have it.

    `planned`: a batch was planned on it. `looked`: the user was read right before. `reread`: since that reading.
    `unseen`: whoever is back for less need not have been seen.
    """

    planned: timedelta
    looked: timedelta
    reread: timedelta
    unseen: timedelta


# A run every 15 minutes, of which one may fail to read the directory, and a message that comes again after up to 10. A
# look has 60 seconds for its work, and reads what is up to 60 seconds behind; then a clock that is 2 minutes off.
FOUL = Patience(45 * MINUTE, 4 * MINUTE, 3 * MINUTE, 45 * MINUTE)
# Without faults the next run sees everybody, what is told is true, and messages are delivered at once, but for those
# that meet another worker: they come again after 10, 20, 40 ... seconds.
FAIR = Patience(20 * MINUTE, 2 * MINUTE, 1 * MINUTE, 20 * MINUTE)


@dataclass(frozen=True, slots=True)
class Standing:
    """How one user stands with one connection: no trigger means that access is due.

    `stood` is how long the timer of each trigger has stood still when this began: archived, outside a pilot, or the
    connection off.
    """

    at: datetime
    triggers: Mapping[Trigger, datetime]
    still: bool  # timers stand still from now on: archived, outside a pilot, or the connection off
    archived: bool
    stood: Mapping[Trigger, timedelta] = field(default_factory=dict)
    ended: Mapping[Trigger, datetime] = field(default_factory=dict)  # a while ago: nobody may have seen that end
    outside: bool = False  # of a pilot
    told: datetime | None = None  # since when the user is suspended or archived, as the directory has it


class Truth:
    """Keeps how everybody stood with every connection."""

    def __init__(self, scheduler: Scheduler, directory: FakeDirectory, patience: Patience) -> None:
        self.patience = patience
        self._scheduler = scheduler
        self._directory = directory
        self.connections: dict[str, Connection] = {}
        self.follows: Callable[[Connection | None, str], None] = lambda *_: None  # told of each change of one
        self.policies: dict[str, list[tuple[datetime, Deprovisioning]]] = {}
        self.limits: dict[str, list[tuple[datetime, int]]] = {}
        self.standings: dict[tuple[str, str], list[Standing]] = {}
        self.desired: dict[tuple[str, str], list[tuple[datetime, Attributes]]] = {}
        self.people: set[str] = set()
        self.off_since: dict[str, datetime] = {}
        self.told: dict[str, Counter[str]] = {}  # what the audit must say about the connection itself, and how often

    def connection_changed(self, connection: Connection | None, connection_id: str) -> None:
        """Take a connection's settings over; None: it is deleted."""
        now = self._scheduler.now
        self.follows(connection, connection_id)
        if connection is None:
            self.connections.pop(connection_id, None)
            return
        known = self.connections.get(connection.id)
        told = self.told.setdefault(connection.id, Counter())
        told.update(_told(known, connection) if known is not None else ())
        self.connections[connection.id] = connection
        if connection.state in SERVING:
            self.off_since.pop(connection.id, None)
        else:
            self.off_since.setdefault(connection.id, now)
        policies = self.policies.setdefault(connection.id, [])
        if not policies or policies[-1][1] != connection.settings.deprovisioning:
            policies.append((now, connection.settings.deprovisioning))
        limits = self.limits.setdefault(connection.id, [])
        if not limits or limits[-1][1] != connection.settings.limit.minimum:
            limits.append((now, connection.settings.limit.minimum))
        if known is None or _placing(known) != _placing(connection):
            for user_id in self.people:
                self._stands(connection, user_id)
        if known is not None and known.settings.mapping != connection.settings.mapping:
            for user_id in self.people & self._directory.live.keys():
                self._wants(connection, self._directory.live[user_id])

    def user_changed(self, user_id: str) -> None:
        """Take over what the directory says of a user."""
        self.people.add(user_id)
        user = self._directory.live.get(user_id)
        for connection in self.connections.values():
            self._stands(connection, user_id)
            if user is not None:
                self._wants(connection, user)

    def _wants(self, connection: Connection, user: DirectoryUser) -> None:
        versions = self.desired.setdefault((connection.id, user.id), [])
        versions.append((self._scheduler.now, connection.settings.mapping.apply(user.profile)))

    def _stands(self, connection: Connection, user_id: str) -> None:
        now, key = self._scheduler.now, (connection.id, user_id)
        past = self.standings.setdefault(key, [])
        last = past[-1] if past else None
        user, gone = self._directory.live.get(user_id), self._directory.removed.get(user_id)
        archived = (
            user is not None and user.presence is Presence.ARCHIVED and not connection.settings.archived_as_suspended
        )
        found = self._triggers(connection, user, gone, last)
        triggers = {trigger: since or _since(last, trigger, now) for trigger, since in found.items()}
        if archived and last is not None:
            triggers = {**last.triggers, **triggers}
        outside = connection.pilot is not None and user_id not in connection.pilot
        still = archived or outside or connection.state not in SERVING
        stood: dict[Trigger, timedelta] = {}
        for trigger, since in triggers.items():
            before = last is not None and last.triggers.get(trigger) == since
            stood[trigger] = last.stood.get(trigger, timedelta(0)) if last is not None and before else timedelta(0)
            if last is not None and before and last.still:
                stood[trigger] += now - max(last.at, since)
        ended = self._ended(connection, user_id)
        if user is not None:  # who was back for a moment only need not have been seen
            ended = {trigger: since for trigger, since in ended.items() if triggers.get(trigger, since) != since}
        told = user.since if user is not None else None
        standing = Standing(now, triggers, still, archived, stood, ended, outside, told)
        if last is None or replace(standing, at=last.at) != last:
            past.append(standing)

    def _ended(self, connection: Connection, user_id: str) -> dict[Trigger, datetime]:
        """Return the triggers of the last hour: for deleted users, nothing says that a membership had come back."""
        ended: dict[Trigger, datetime] = {}
        for standing in self.lately(connection.id, user_id, timedelta(hours=1)):
            ended = {**ended, **standing.triggers, **standing.ended}
        return ended

    def _triggers(
        self, connection: Connection, user: DirectoryUser | None, gone: DirectoryUser | None, last: Standing | None
    ) -> dict[Trigger, datetime | None]:
        if user is None:
            kept = dict.fromkeys(last.triggers) if last is not None else {}
            return {**kept, Trigger.DELETED: gone.since if gone is not None else None}
        triggers: dict[Trigger, datetime | None] = {}
        if not self.in_scope(connection, user):
            triggers[Trigger.APP_OFF] = None
        if user.presence in (Presence.SUSPENDED, Presence.ARCHIVED):
            begun = last.triggers.get(Trigger.SUSPENDED) if last is not None else None
            triggers[Trigger.SUSPENDED] = begun or user.since
        return triggers

    def in_scope(self, connection: Connection, user: DirectoryUser) -> bool:
        """Say whether a user is in a connection's scope; units are found by id, wherever they are by now."""
        scope, paths = connection.settings.scope, self._directory.units
        chosen = [OrgUnit(id=unit.id, path=paths.get(unit.id, unit.path)) for unit in scope.org_units]
        if chosen and not any(unit.holds(user.org_unit_path) for unit in chosen):
            return False
        return not scope.groups or any(user.id in self._directory.memberships[group.id] for group in scope.groups)

    def told_since(self, user_id: str) -> datetime | None:
        """Return since when a user is what they are, as the directory tells."""
        user = self._directory.removed.get(user_id) or self._directory.live.get(user_id)
        return user.since if user is not None else None

    def lately(self, connection_id: str, user_id: str, within: timedelta) -> Iterator[Standing]:
        """Yield how a user stood with a connection in the last so long, latest first."""
        since = self._scheduler.now - within
        for standing in reversed(self.standings.get((connection_id, user_id), [])):
            yield standing
            if standing.at <= since:
                return

    def seemed_to_last(self, connection_id: str, user_id: str, trigger: Trigger, begun: datetime) -> bool:
        """Say whether a trigger that began then ended for so short a time only that nobody need have seen it."""
        past, ended = self.standings[connection_id, user_id], None
        began = [trigger in each.triggers and self._begins(each, trigger, begun) for each in past]
        for standing in past[began.index(True) :] if True in began else ():
            if trigger not in standing.triggers:
                ended = ended or standing.at
            elif ended is not None and standing.at - ended > self.patience.unseen:
                return False
            else:
                ended = None
        return True in began

    def outside_since(self, connection_id: str, user_id: str) -> datetime | None:
        """Return since when somebody is outside a pilot, None who is not."""
        since: datetime | None = None
        for standing in reversed(self.standings.get((connection_id, user_id), [])):
            if not standing.outside:
                break
            since = standing.at
        return since

    def ran(self, connection_id: str, user_id: str, start: datetime, end: datetime) -> timedelta:
        """Return for how long timers ran between two moments."""
        past = self.standings[connection_id, user_id]
        spans = zip(past, [*(each.at for each in past[1:]), end], strict=True)
        ran = (min(until, end) - max(each.at, start) for each, until in spans if not each.still)
        return sum((each for each in ran if each > timedelta(0)), timedelta(0))

    def in_scope_throughout(self, connection_id: str, user_id: str, start: datetime, end: datetime) -> bool:
        """Say whether a scope held somebody all the time between two moments."""
        past = self.standings[connection_id, user_id]
        before = [standing for standing in past if standing.at <= start][-1:]
        within = [standing for standing in past if start < standing.at < end]
        return bool(before) and all(Trigger.APP_OFF not in standing.triggers for standing in (*before, *within))

    def left_since(
        self, connection_id: str, user_id: str, elsewhere: Callable[[datetime, datetime], bool]
    ) -> datetime | None:
        """Return since when somebody is out of a scope, or with another connection that had them when they were back.

        `elsewhere` says whether another one had them all the time between two moments. Who came back and left again
        while the connection was off was never seen there: a membership tells nothing of its past.
        """
        since: datetime | None = None
        ended: datetime | None = None
        seen = False
        for standing in self.standings[connection_id, user_id]:
            left = standing.triggers.get(Trigger.APP_OFF)
            if left is None:
                ended, seen = ended or standing.at, seen or not standing.still
                continue
            if since is None or (ended is not None and seen and not elsewhere(ended, standing.at)):
                since = left
            ended, seen = None, False
        return since if ended is None or elsewhere(ended, self._scheduler.now) else None

    def _begins(self, standing: Standing, trigger: Trigger, begun: datetime) -> bool:
        """Say whether a timer that began then is that of a trigger.

        Leaving a scope was noticed some time after it. Of who is suspended and then archived, or archived and then
        suspended, the directory tells the later time alone: the first may not have been seen.
        """
        since, told = standing.triggers[trigger], standing.told
        if trigger is Trigger.SUSPENDED and told is not None and abs(told - begun) <= MINUTE:
            return standing.archived or told - since <= self.patience.unseen
        return abs(since - begun) <= MINUTE or (trigger is Trigger.APP_OFF and since <= begun <= since + UNNOTICED)

    def accrued(self, standing: Standing, trigger: Trigger) -> timedelta:
        """Return how long the timer of a trigger has run."""
        now, since = self._scheduler.now, standing.triggers[trigger]
        ran = now - since - standing.stood.get(trigger, timedelta(0))
        return ran - (now - max(standing.at, since)) if standing.still else ran

    def due(self, connection_id: str, standing: Standing, *, delete: bool, slack: timedelta) -> bool:
        """Say whether a trigger makes taking access away due, by a policy of the last hour."""
        return any(True for _ in self.causes(connection_id, standing, delete=delete, slack=slack))

    def causes(
        self, connection_id: str, standing: Standing, *, delete: bool, slack: timedelta
    ) -> Iterator[tuple[Trigger, datetime]]:
        """Yield the triggers that make it due, each with when it began.

        That somebody is archived is noticed by a run: their timer may have run on until then.
        """
        if standing.archived or standing.outside:
            return
        horizon = self._scheduler.now - timedelta(hours=1)
        policies = self.policies[connection_id]
        latest = [policy for at, policy in policies if at >= horizon]
        in_force = [policy for at, policy in policies if at < horizon][-1:]
        for policy in (*in_force, *latest):
            for trigger, since in standing.triggers.items():
                delays = policy.of(trigger)
                days = delays.delete_after if delete else delays.suspend_after
                late = self.patience.unseen if standing.stood.get(trigger) and slack >= timedelta(0) else timedelta(0)
                if days is not None and self.accrued(standing, trigger) + slack + late >= days * DAY:
                    yield trigger, since
            for trigger, since in standing.ended.items() if slack >= timedelta(0) else ():
                delays = policy.of(trigger)
                days = delays.delete_after if delete else delays.suspend_after
                if days is not None and self._scheduler.now - since + slack >= days * DAY:
                    yield trigger, since

    def limit(self, connection_id: str) -> int:
        """Return the largest volume limit of the last day."""
        horizon = self._scheduler.now - DAY
        limits = self.limits[connection_id]
        return max([number for at, number in limits if at >= horizon] + [n for at, n in limits if at < horizon][-1:])

    def wanted_lately(self, connection_id: str, user_id: str, within: timedelta) -> list[Attributes]:
        """Return what the directory said of a user's attributes in the last so long."""
        since, found = self._scheduler.now - within, list[Attributes]()
        for at, desired in reversed(self.desired.get((connection_id, user_id), [])):
            found.append(desired)
            if at <= since:
                break
        return found


def _placing(connection: Connection) -> tuple[object, ...]:
    """Return what of a connection says who is entitled, and to what is done about them."""
    settings = connection.settings
    return connection.state, connection.pilot, settings.scope, settings.archived_as_suspended


def _told(was: Connection, becomes: Connection) -> Iterator[str]:
    """Yield what a change of a connection makes the audit tell: the reason, or the name where it has one of its own."""
    if becomes.pilot != was.pilot and becomes.state in SERVING:
        yield CHOSE_OTHERS if was.pilot and becomes.pilot else TURNED_ON_FOR_CHOSEN if becomes.pilot else ENDED_PILOT
    elif becomes.edition != was.edition and becomes.pilot == was.pilot:
        yield "Edited"  # with a new token, too, where it was given with the edit
    elif becomes.token_version != was.token_version:
        yield EventName.REAUTHORIZED.value
    match was.state, becomes.state:
        case State.OFF, State.ON if becomes.pilot is None:
            yield "Turned on"
        case State.ON | State.PAUSED, State.OFF:
            yield "Turned off" if was.pilot is None else TURNED_OFF_PILOT
        case State.ON, State.PAUSED:
            yield EventName.PAUSED.value
        case _, State.DELETING if was.state is not State.DELETING:
            yield "Requested deletion of the configuration"


def _since(last: Standing | None, trigger: Trigger, now: datetime) -> datetime:
    return last.triggers.get(trigger, now) if last is not None else now
