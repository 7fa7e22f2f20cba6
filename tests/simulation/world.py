"""The world of one history: both sides, our functions between them, the schedule, and the people."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any
from unittest.mock import patch

from autoprovisioning.app.administration.finish_deletions import finish_deletions
from autoprovisioning.app.administration.inquire import answer_inquiry
from autoprovisioning.app.administration.preview import compute_preview
from autoprovisioning.app.administration.tokens import destroy_retired, destroy_unused
from autoprovisioning.app.notifications.receive import Notification, take_in
from autoprovisioning.app.notifications.renew_watch import renew_watch
from autoprovisioning.app.provisioning.converge import converge
from autoprovisioning.app.provisioning.read_user import Asked
from autoprovisioning.app.runs import brake_plan as braking
from autoprovisioning.app.runs.apply_batch import apply_batch
from autoprovisioning.app.runs.full_runs import reconcile_on_schedule
from autoprovisioning.app.runs.reconcile import reconcile
from autoprovisioning.app.runs.sweep import sweep_if_due, sweep_on_schedule
from autoprovisioning.app.services import ChangeSources, Services
from autoprovisioning.domain import guard, listing_parts, memberships
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.errors import Transient
from autoprovisioning.domain.locks import Locks
from autoprovisioning.domain.requests import PREVIEW, RUN
from autoprovisioning.domain.runs import Batch, RunKind
from autoprovisioning.domain.scope import Group, OrgUnit, Scope
from autoprovisioning.domain.settings import Settings, VolumeLimit
from autoprovisioning.domain.teams import TeamChoice
from tests.simulation.administrators import happen
from tests.simulation.audit_log import AuditLog
from tests.simulation.directory import SimDirectory
from tests.simulation.groups import BY_ADDRESS, settle_groups
from tests.simulation.history import ADDRESSES, POLICIES, USERS, History, OfTeams, Setting
from tests.simulation.keeper import Node, SimAccounts
from tests.simulation.promptness import Promptness
from tests.simulation.pubsub import Entry, Message, Request, Topics
from tests.simulation.scheduler import Killed, Process, Scheduler
from tests.simulation.state import OF_SERVICES, Called, SimRoster, StatePorts
from tests.simulation.stored import few_shards, in_firestore
from tests.simulation.threads import Tasks
from tests.simulation.truth import FAIR, FOUL, Truth
from tests.simulation.watch import Broken, Watch
from tests.simulation.weather import Fair, Strike, Weather
from tests.support.in_memory import START, FakeDirectory, FakeMeter, FakeTokens, Ids
from tests.support.scenario import person

KEY = b"a key of the simulation"
USER_TIMEOUT = timedelta(seconds=75)
BATCH_TIMEOUT = timedelta(seconds=540)
RECONCILE_TIMEOUT = timedelta(minutes=30)
PREVIEW_LIMIT = timedelta(minutes=8)
FOREVER = timedelta(days=3650)
MINUTE = timedelta(minutes=1)
SWEEP_LIMIT = timedelta(minutes=4)
HURRY = timedelta(seconds=4)
ODD = "d"  # what the address begins with that no query finds
BUSY = timedelta(minutes=50)  # for which the whole schedule goes on after each step of a long history
DRAINED = timedelta(minutes=35)  # everything in flight when the writers were stopped has ended


@dataclass(frozen=True)
class Ending:
    """How a history ended: `law` names the broken invariant, "" where all held."""

    law: str
    told: str
    who: str
    calls: int
    struck: tuple[Strike, ...]
    digest: tuple[Any, ...] = ()


class World:
    """Everything, at the beginning of a history."""

    def __init__(self, history: History, only: Collection[str] | None = None, trace: list[str] | None = None) -> None:
        setting = history.setting
        self.history = history
        self.scheduler = scheduler = Scheduler(history.seed, START)
        self.weather = weather = Weather(
            scheduler, setting.rate, setting.kinds, only, not setting.rough_start, trace=trace
        )
        self.customer = FakeDirectory(page=3)
        self.directory = SimDirectory(scheduler, weather, self.customer, lags=setting.sink)
        patience = FOUL if setting.rate else FAIR
        rare = setting.full_runs * MINUTE - ChangeSources().full_run_every
        self.truth = Truth(scheduler, self.customer, replace(patience, unseen=patience.unseen + rare))
        if setting.firestore:
            self.ports = in_firestore(scheduler, weather, self.truth.connection_changed)
        else:
            self.ports = StatePorts.in_memory(scheduler)
        self.watch = Watch(
            scheduler,
            self.truth,
            self.directory,
            self.ports.archive,
            skewed=setting.skewed,
            given=setting.given,
        )
        self.teams = self.watch.teams
        self.truth.follows = self.teams.chose
        self.topics = Topics(scheduler, weather, self._deliver, self._function, self.watch.done)
        self.tokens = FakeTokens()
        self.tokens.clock = scheduler.clock
        self.nodes: dict[str, Node] = {}
        self.homes: dict[str, str] = {}  # connection -> node
        self.lost: dict[str, datetime] = {}  # connections whose roster was lost, and when
        self.lost_marks: set[str] = set()  # ids of the changes whose mark went with a roster
        self.hired: dict[str, datetime] = {}
        self.calls: Any = Fair() if setting.firestore else weather  # over Firestore the calls are those of its client
        self.channels: Any = Called("channels", self.ports.channels, self.calls)
        if not setting.firestore:
            self._follow_connections()
        self.services = self._made_services()
        self.audit_log = AuditLog(self)
        self.promptness = Promptness(self)
        self._settle_in()
        self.audit_log.listening = setting.sink

    def _made_services(self) -> Services:
        weather, watch = self.weather, self.watch

        def accounts_for(connection: Connection, token: str) -> SimAccounts:
            node = self.nodes[connection.settings.endpoint.rpartition("/")[2]]
            return SimAccounts(node, connection.id, token, self.scheduler, weather, watch)

        roster: Any = SimRoster(self.ports.roster, self.scheduler, self.calls, watch.commit)
        called: dict[str, Any] = {name: Called(name, getattr(self.ports, name), self.calls) for name in OF_SERVICES}
        called["holds"].change = self._told_of_decisions(called["holds"].change)
        called["unprovisioned"].change_locks = self._told_of_locks(called["unprovisioned"].change_locks)
        called["teams"].approve = _told(self.teams.approved, called["teams"].approve)
        called["teams"].confirm = _told(self.teams.adopts, called["teams"].confirm)
        tokens: Any = Called("tokens", self.tokens, weather)
        return Services(
            clock=self.scheduler.clock,
            new_id=Ids(),
            directory=self.directory,
            roster=roster,
            **called,
            tokens=tokens,
            queue=self.topics,
            accounts_for=accounts_for,
            meter=FakeMeter(),
            executor=Tasks(self.scheduler),
            through=_sources(self.history.setting),
        )

    def _told_of_decisions(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(connection_id: str, *rest: Any) -> Any:
            plan = change(connection_id, *rest)
            if plan is not None:
                self.watch.brakes.decided(connection_id, plan)
                self.promptness.settled(connection_id, plan)
            return plan

        return changed

    def _told_of_locks(self, change: Callable[..., None]) -> Callable[..., None]:
        def changed(connection_id: str, edit: Callable[..., Any]) -> None:
            def watched(known: Locks) -> Any:
                becomes, events = edit(known)
                self.watch.locks(connection_id, known, becomes)
                return becomes, events

            change(connection_id, watched)

        return changed

    def _follow_connections(self) -> None:
        """Let the truth know of a connection's settings the moment they are stored."""
        ports: Any = self.ports.connections
        roster: Any = self.ports.roster
        change, create, purge, begin = ports.change, ports.create, ports.purge, roster.begin

        def changed(connection_id: str, *rest: Any) -> Any:
            result = change(connection_id, *rest)
            if result is not None:
                self.truth.connection_changed(result, connection_id)
            return result

        def created(connection: Connection, *rest: Any) -> None:
            create(connection, *rest)
            self.truth.connection_changed(connection, connection.id)

        def purged(connection_id: str) -> None:
            purge(connection_id)
            self.truth.connection_changed(None, connection_id)

        def begun(connection: Connection, expected: int) -> Connection:
            result: Connection = begin(connection, expected)
            stored = ports.get(connection.id)
            if stored is not None:
                self.truth.connection_changed(stored, connection.id)
            return result

        ports.change, ports.create, ports.purge, roster.begin = changed, created, purged, begun

    def _settle_in(self) -> None:
        setting = self.history.setting
        self.customer.units["eu"] = "/Europe"
        self.customer.live["admin"] = person("admin", "admin@example.com", "Admin")
        for number in range(1, setting.connections + 1):
            name = f"c{number}"
            group = Group(id=f"g{number}", email=f"keeper{number}@example.com", name=f"Keeper {number}")
            unit = OrgUnit(id=f"ou{number}", path=f"/Unit {number}")
            self.customer.groups[group.id] = group
            self.customer.units[unit.id] = unit.path
            node = Node(f"n{number}", self.scheduler, set(), setting.locks, setting.normalises)
            if setting.teams is not None:
                node.teams = setting.teams.of_node()
            self.nodes[node.name] = node
            self.homes[name] = node.name
            connection = Connection(
                id=name,
                order=number,
                settings=Settings(
                    name=name,
                    endpoint=f"https://keepersecurity.eu/api/rest/scim/v2/{node.name}",
                    scope=Scope(
                        groups=(group,) if setting.scopes != "units" else (),
                        org_units=(unit,) if setting.scopes != "groups" else (),
                    ),
                    deprovisioning=POLICIES[setting.policy],
                    limit=VolumeLimit(minimum=setting.limit),
                    teams=BY_ADDRESS if setting.teams is not None and setting.teams.chosen else TeamChoice(),
                ),
                state=State.ON,
                token_version=self.tokens.add(name, self.new_token(name)),
                changed_at=START,
            )
            self.ports.connections.create(connection)
        if setting.shared:
            together = list(self.nodes.values())
            for node in together:
                node.shared = together
        for number in range(setting.people):
            user = person(USERS[number], ADDRESSES[number], "New")
            self.customer.live[user.id] = replace(user, org_unit_path=self.unit(number))
            self.customer.memberships[f"g{1 + number % setting.connections}"].add(user.id)
            self.user_changed(user.id)
        self.user_changed("admin")
        if setting.teams is not None:
            settle_groups(self)

    @property
    def now(self) -> datetime:
        return self.scheduler.now

    def node(self, number: int) -> Node:
        return self.node_of(f"c{1 + number % self.history.setting.connections}")

    def node_of(self, connection_id: str) -> Node:
        """Return the node that has a connection's accounts by now."""
        return self.nodes[self.homes[connection_id]]

    def move_accounts(self, connection_id: str, to: Node | None = None) -> Node:
        """Let somebody move all accounts of a connection's node to another one, a new one where none is named."""
        old = self.node_of(connection_id)
        new = to or replace(old, name=f"{old.name}x", accepts=set(), effects=[], accounts={})
        new.accounts, old.accounts = old.accounts, {}
        self.nodes[new.name] = new
        if old.shared and new not in old.shared:
            old.shared.append(new)
        self.homes[connection_id] = new.name
        return new

    def unit(self, number: int) -> str:
        """Return the path that the organizational unit of a connection has by now."""
        return self.customer.units[f"ou{1 + number % self.history.setting.connections}"]

    def new_token(self, connection_id: str) -> str:
        """Let a super administrator make another token in Keeper; the one before is refused from now on."""
        node = self.node_of(connection_id)
        token = f"token-{connection_id}-{self.scheduler.calls}-{len(self.tokens.enabled)}"
        node.accepts = {token}
        return token

    def user_changed(self, user_id: str) -> None:
        """Note a change of the directory, for the truth and for stale answers."""
        user = self.customer.live.get(user_id)
        if user is not None and user.created is not None:
            self.hired[user_id] = user.created
        self.directory.changed(user_id)
        self.truth.user_changed(user_id)
        if self.history.setting.teams is not None:
            self.teams.changed()
        self.audit_log.changed(user_id)

    # ---- what our functions do

    def _function(self, name: str, limit: timedelta = BATCH_TIMEOUT) -> Process:
        process = self.scheduler.process(name, limit)
        if self.history.setting.skewed:
            process.skew = timedelta(seconds=process.chance.uniform(-60, 60))
        return process

    def _deliver(self, process: Process, message: Message) -> None:
        payload, services = message.payload, self.services
        now = services.clock()
        published = (
            datetime.fromtimestamp(0, now.tzinfo) if message.published > now + MINUTE else min(message.published, now)
        )
        if isinstance(payload, Entry):
            process.limit = USER_TIMEOUT
            self.audit_log.deliver(message)
        elif isinstance(payload, Request):
            process.limit = RECONCILE_TIMEOUT
            self._requested(payload, published)
        elif isinstance(payload, Batch):
            if self.history.setting.teams is not None and self.history.setting.teams.older:
                payload = _as_older(payload, message.id)
            process.memory["batch"] = payload
            apply_batch(services, payload, message.id, published, now + services.timings.batch_deadline)
        elif payload.event == "sync":
            self.channels.prove(payload.channel, now)
        else:
            process.limit = USER_TIMEOUT
            if payload.channel and message.deliveries == 1:
                self.promptness.told(payload.user_id)
            asked = Asked(look=payload, message_id=message.id, published=published)
            deadline = now + services.timings.user_deadline
            if payload.inquiry:
                answer_inquiry(services, asked, deadline)
            else:
                converge(services, asked, deadline)

    def _requested(self, request: Request, published: datetime) -> None:
        now = self.services.clock()
        work = request.work
        if work is not None and work.kind is PREVIEW:
            compute_preview(self.services, work.connection_id, work.id, now + PREVIEW_LIMIT)
            return
        if request.kind is RunKind.SWEEP:
            sweep_if_due(self.services, now + SWEEP_LIMIT)
            return
        timely = now - published < RUN.patience
        self._reconcile(request.kind, insist=timely, request=work.id if timely and work is not None else "")

    def _sweep(self) -> None:
        finish_deletions(self.services, self.channels)
        sweep_on_schedule(self.services, self.services.clock() + SWEEP_LIMIT)

    def _reconcile(self, kind: RunKind, *, insist: bool = False, request: str = "") -> None:
        finish_deletions(self.services, self.channels)
        reconcile(self.services, kind, self._deadline(), insist=insist, request=request)
        destroy_retired(self.services)
        if kind is RunKind.DRIFT:
            destroy_unused(self.services)

    def _full(self) -> None:
        """Do what the schedule of full runs calls for."""
        finish_deletions(self.services, self.channels)
        reconcile_on_schedule(self.services, self._deadline())
        destroy_retired(self.services)

    def _deadline(self) -> datetime:
        hurried = self.history.setting.hurried and not self.weather.fair
        return self.services.clock() + (HURRY if hurried else self.services.timings.reconcile_deadline)

    def _renew(self) -> None:
        renew_watch(
            self.directory,
            self.channels,
            self.services.connections,
            KEY,
            "https://webhook",
            self.services.clock,
            self.services.new_id,
        )

    def schedule(self, name: str, work: Callable[[], object], at: datetime) -> None:
        """Let Cloud Scheduler call a function."""

        def call() -> None:
            if self.now >= self.topics.stopped_until:
                self.scheduler.start(self._function(name, RECONCILE_TIMEOUT), work)

        self.scheduler.at(at, call)

    def lose_roster(self, connection_id: str) -> None:
        """Lose the roster of a connection as docs/restore.md has it: the writers are stopped until nothing runs."""
        self.topics.stopped_until = self.now + DRAINED + MINUTE

        def lose() -> None:
            self.lost[connection_id] = self.now
            self.topics.drop_batches()
            lost = next((each for each in self.ports.archive.connections() if each.id == connection_id), None)
            entries = self.ports.archive.entries(lost).values() if lost is not None else ()
            self.lost_marks |= {entry.mark.change_id for entry in entries if entry.mark is not None}
            self.ports.archive.lose_roster(connection_id)
            self.watch.brakes.lost(connection_id)

        self.scheduler.at(self.now + DRAINED, lose)

    def notify(self, user_id: str, event: str) -> None:
        """Let Google tell every live channel of a change; some notifications are lost, some late, some come twice."""
        for channel in list(self.customer.channels.values()):
            if channel.expires is not None and channel.expires > self.now:
                name = f"{self.now:%d-%H:%M:%S}-{event}-{user_id}"
                self._post(channel.id, channel.token, event, user_id, name)

    def _post(self, channel_id: str, token: str, state: str, user_id: str, name: str, tried: int = 0) -> None:
        process = self._function(f"{name}/{tried}", USER_TIMEOUT)
        luck, delay, rate = process.chance.random(), 0.5 + 3 * process.chance.random(), self.weather.rate
        if luck < 2 * rate and self.weather.strikes(f"{name}/{tried}", "notification lost", state):
            return
        if luck > 1 - 2 * rate and self.weather.strikes(f"{name}/{tried}", "notification late", state):
            delay *= 300

        def arrives() -> None:
            body = json.dumps({"id": user_id}).encode()
            take_in(
                self.topics,
                KEY,
                Notification(channel_id=channel_id, token=token, state=state, body=lambda: body),
                self.services.clock(),
            )

        def again(error: BaseException | None) -> None:
            if isinstance(error, Transient | Killed) and tried < 5:
                self._post(channel_id, token, state, user_id, name, tried + 1)

        def begin() -> None:
            process.began = self.now
            self.scheduler.start(process, arrives, then=again)

        self.scheduler.at(self.now + timedelta(seconds=delay), begin)

    def sync_channels(self) -> None:
        """Let Google prove the channels that were opened."""
        for channel in list(self.customer.channels.values()):
            name = f"sync-{channel.id}"
            if name not in self.synced:
                self.synced.add(name)
                self._post(channel.id, channel.token, "sync", "", name)

    synced: set[str]

    # ---- the course of a history

    def run(self) -> Ending:
        """Let the history happen; return how it ended."""
        from tests.simulation.ending import judge  # it looks at a World

        self.synced = set()
        setting = self.history.setting
        with (
            few_shards(),
            few_gifts(setting.given),
            few_removals(setting.teams),
            listed_in_parts(setting),
            _quiet_logs(self),
            self.promptness.listening(),
        ):
            try:
                self._beginning()
                self._act()
                if not self.scheduler.defects:
                    judge(self)
            except AssertionError as error:  # Endless
                self.scheduler.defects.append(("the history", error))
        struck = tuple(self.weather.struck)
        digest = self._digest()
        if not self.scheduler.defects:
            return Ending("", "", "", self.scheduler.calls, struck, digest)
        who, error = self.scheduler.defects[0]
        law = error.law if isinstance(error, Broken) else type(error).__name__
        return Ending(law, str(error) or repr(error), who, self.scheduler.calls, struck, digest)

    def _digest(self) -> tuple[Any, ...]:
        """Return what tells two histories apart: every write, when it was done, and every strike."""
        writes = [
            (effect.at, effect.node, effect.write.key, effect.after)
            for node in self.nodes.values()
            for effect in node.effects
        ]
        return (self.scheduler.calls, self.now, tuple(map(repr, writes)), tuple(map(repr, self.weather.struck)))

    def _beginning(self) -> None:
        self.schedule("renew-0", self._renew, START)
        self.schedule("full-0", self._full, START)
        self._until(START + timedelta(minutes=4))
        self.weather.fair = False

    def _act(self) -> None:
        begin = START + timedelta(minutes=5)
        for step in self.history.steps:
            process = self.scheduler.process(f"step-{step.at}-{step.verb}-{step.whom}", FOREVER, quiet=True)
            self.scheduler.start(process, lambda step=step: happen(self, step), begin + step.at * MINUTE)
        end = begin + (self.history.steps[-1].at + 10 if self.history.steps else 0) * MINUTE
        tick, number = begin, 0
        while tick < end:
            number += 1
            if self._busy(tick - begin):
                self._tick(tick, number)
            elif number % 48 == 0:
                self.seldom(tick, number // 48)
            tick += 5 * MINUTE
        self._until(end)

    def _busy(self, after: timedelta) -> bool:
        """Say whether the whole schedule is played then: in long histories around the steps alone."""
        since = (after + 5 * MINUTE - step.at * MINUTE for step in self.history.steps)
        return not self.history.setting.days or any(timedelta(0) <= each <= BUSY for each in since)

    def seldom(self, at: datetime, number: int) -> None:
        """Schedule what stands for four hours of days in which nothing happens: one run, and the channels."""
        run = self._full if number % 3 else lambda: self._reconcile(RunKind.DRIFT)
        self.schedule(f"seldom-{number}", run, at)
        self.schedule(f"seldom-renew-{number}", self._renew, at + MINUTE)
        self.scheduler.at(at + 2 * MINUTE, self.sync_channels)

    def _tick(self, at: datetime, number: int) -> None:
        """Schedule what there is within five minutes: a sweep, at times a full run, a drift run, a renewal."""
        self.schedule(f"sweep-{number}", self._sweep, at + 2 * MINUTE)
        for minute in range(5) if self.history.setting.sink else ():
            self.schedule(f"minute-{number}.{minute}", self.audit_log.tick, at + minute * MINUTE)
        if number % 12 == 5:
            self.schedule(f"drift-{number}", lambda: self._reconcile(RunKind.DRIFT), at + 3 * MINUTE)
        if number % 3 == 0:
            self.schedule(f"full-{number}", self._full, at)
        if number % 6 == 1:
            self.schedule(f"renew-{number}", self._renew, at + 4 * MINUTE)
        self.scheduler.at(at + MINUTE, self.sync_channels)

    def _until(self, end: datetime) -> None:
        self.sync_channels()
        self.scheduler.run_until(end)


def _told(first: Callable[[str, Any], None], then: Callable[..., None]) -> Callable[..., None]:
    """Return what is done, after the oracles are told of it."""

    def done(connection_id: str, what: Any, *rest: Any) -> None:
        first(connection_id, what)
        then(connection_id, what, *rest)

    return done


def _as_older(batch: Batch, message_id: str) -> Batch:
    """Return what a worker of a release that knows of no teams makes of a batch, in one of three."""
    if Random(f"older {message_id}").random() > 1 / 3:
        return batch
    return replace(batch, changes=tuple(replace(each, teams=None, undecided=()) for each in batch.changes))


def _sources(setting: Setting) -> ChangeSources:
    """Return the sources of changes: where full runs are rare, the sweep is a net, too."""
    if setting.full_runs == ChangeSources().full_run_every // MINUTE:
        return ChangeSources()
    return ChangeSources(audit_log=True, sweep_every=60 * MINUTE, full_run_every=setting.full_runs * MINUTE)


@contextlib.contextmanager
def few_gifts(number: int) -> Iterator[None]:
    """Let so few creations and reactivations a day trip the brake, within the block."""
    with patch.object(guard, "GIVEN_AT_LEAST", number), patch.object(braking, "GIVEN_AT_LEAST", number):
        yield


@contextlib.contextmanager
def few_removals(teams: OfTeams | None) -> Iterator[None]:
    """Let so few removals a day trip the brake of a team, within the block."""
    with patch.object(memberships, "LEAST", teams.least if teams is not None else memberships.LEAST):
        yield


@contextlib.contextmanager
def listed_in_parts(setting: Setting) -> Iterator[None]:
    """Let the directory count as large, where the history has it so; with faults, one address is in no part."""
    if not setting.parts:
        yield
        return
    letters = "".join(sorted({address[0] for address in ADDRESSES}))
    odd = ODD if setting.rate else ""
    with patch.multiple(
        listing_parts, SMALL=1, QUICK=timedelta(), WHOLE_EVERY=20 * MINUTE,
        LETTERS=letters.replace(odd, ""), CARRIED=listing_parts.CARRIED - set(odd),
    ):  # fmt: skip
        yield


@contextlib.contextmanager
def _quiet_logs(world: World) -> Any:
    """Keep the log silent, except for unforeseen errors, which are defects."""
    names = ("autoprovisioning", "autoprovisioning.app.unforeseen")
    product, surprise = (logging.getLogger(name) for name in names)
    before = (product.level, surprise.level, surprise.propagate)

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            world.scheduler.defects.append(("a use case", Broken("nothing is unforeseen", record.getMessage())))

    handler = Told()
    product.setLevel(logging.CRITICAL + 1)
    surprise.setLevel(logging.ERROR)
    surprise.addHandler(handler)
    surprise.propagate = False
    try:
        yield
    finally:
        surprise.removeHandler(handler)
        product.setLevel(before[0])
        surprise.setLevel(before[1])
        surprise.propagate = before[2]
