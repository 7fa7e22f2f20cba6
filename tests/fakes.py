"""The ports in memory, for tests of the use cases; tests/contract/test_state*.py holds them to Firestore's contract."""

from __future__ import annotations

import itertools
import threading
import zlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from autoprovisioning.app.ports import Channel, Edit, Progress
from autoprovisioning.app.services import Services
from autoprovisioning.domain.accounts import Account, Capabilities, Found, Lookup, Write, WriteKind, Written
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.errors import (
    AccountGone,
    AddressTaken,
    AuthorizationRefused,
    ConfigurationRefused,
    Contention,
    Incomplete,
    NotSent,
    ProvisioningError,
    Stale,
    Transient,
    Unresolved,
)
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.guard import GuardState, Hold, HoldState
from autoprovisioning.domain.roster import Entry, Failure
from autoprovisioning.domain.runs import Batch, Look, Run, RunKind, RunState
from autoprovisioning.domain.users import DirectoryUser, Group

T = TypeVar("T")

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
ATTEMPTS = 100


class Clock:
    """A clock that only tests move."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, step: timedelta) -> None:
        self.now += step


class Ids:
    """Ids in order."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __call__(self) -> str:
        return f"id{next(self._numbers)}"


class FakeDirectory:
    """A Workspace customer.

    After `broken_after` pages its listing of users breaks off; those of `unreadable` groups lack their last page;
    `hidden` users are answered with a 404.
    """

    def __init__(self, page: int = 2) -> None:
        self.live: dict[str, DirectoryUser] = {}
        self.removed: dict[str, DirectoryUser] = {}
        self.groups: dict[str, Group] = {}
        self.memberships: dict[str, set[str]] = defaultdict(set)
        self.channels: dict[str, Channel] = {}
        self.broken_after: int | None = None
        self.unreadable: set[str] = set()
        self.hidden: set[str] = set()
        self._page = page

    def user(self, user_id: str) -> DirectoryUser | None:
        return self.live.get(user_id) if user_id not in self.hidden else None

    def users(self, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        for number, page in enumerate(self._paged(list(self.live.values()))):
            if number == self.broken_after:
                raise Incomplete("users.list broke off")
            yield page

    def deleted_users(self) -> Iterator[Sequence[DirectoryUser]]:
        return self._paged(list(self.removed.values()))

    def members(self, group_id: str) -> Iterator[Sequence[str]]:
        pages = list(self._paged(sorted(self._inside(group_id))))
        if group_id in self.unreadable:
            yield from pages[:-1]
            raise Incomplete("members.list broke off")
        yield from pages

    def is_member(self, group_id: str, user_id: str) -> bool:
        return user_id in self._inside(group_id)

    def group(self, key: str) -> Group | None:
        return next((group for group in self.groups.values() if key in (group.id, group.email)), None)

    def probe(self) -> bool:
        return bool(self.live)

    def watch(self, channel: Channel, event: str) -> Channel:
        self.channels[channel.id] = channel
        return replace(channel, token="", event=event, resource_id=f"r-{channel.id}")

    def stop(self, channel: Channel) -> None:
        self.channels.pop(channel.id, None)

    def _inside(self, group_id: str) -> set[str]:
        return self.memberships[group_id] & set(self.live)

    def _paged(self, items: list[T]) -> Iterator[list[T]]:
        for start in range(0, max(1, len(items)), self._page):
            yield items[start : start + self._page]


class FakeKeeper:
    """A Keeper node: unique e-mail addresses, DELETE locks, ids of its own; only the tokens in `accepts` get in.

    What stands in `meanwhile` happens while a write is under way, one at each write, and `faults` are what becomes of
    the next writes: "lost" (done, but the answer is lost), or the error to answer with; None goes well. `locks` False
    makes DELETE delete.
    """

    def __init__(self, clock: Clock, accepts: Iterable[str] = ("secret",), *, locks: bool = True) -> None:
        self.accounts: dict[str, Account] = {}
        self.accepts = set(accepts)
        self.clock = clock
        self.locks = locks
        self.meanwhile: deque[Callable[[], None]] = deque()
        self.faults: deque[Exception | str | None] = deque()
        self.lock = threading.RLock()
        self._numbers = itertools.count(1)

    def seed(self, user_name: str, external_id: str = "", *, active: bool = True) -> Account:
        """Put an account there that somebody else made."""
        scim_id = f"k{next(self._numbers)}"
        account = Account(scim_id, user_name, external_id, active, {"userName": user_name})
        self.accounts[scim_id] = account
        return account

    def of(self, user_id: str) -> list[Account]:
        """Return the accounts that carry a directory id."""
        return [account for account in self.accounts.values() if account.external_id == user_id]

    def named(self, user_name: str) -> Account | None:
        """Return the account that has an address."""
        wanted = user_name.casefold()
        return next((account for account in self.accounts.values() if account.user_name.casefold() == wanted), None)

    def opened(self, _connection: Connection, token: str) -> FakeAccounts:
        """Stand for `accounts_for`."""
        return FakeAccounts(self, token)

    def write(self, write: Write) -> str:
        """Carry one write out, or raise as Keeper refuses it; returns the SCIM id."""
        with self.lock:
            if write.kind is WriteKind.CREATE:
                return self._put(Account(f"k{next(self._numbers)}", "", "", active=True), write)
            if write.scim_id not in self.accounts:
                raise AccountGone("404")
            account = self.accounts[write.scim_id]
            if write.kind is WriteKind.DELETE:
                if self.locks:
                    self.accounts[write.scim_id] = replace(account, active=False)
                else:
                    del self.accounts[write.scim_id]
                return write.scim_id
            return self._put(account, write)

    def interrupt(self) -> None:
        """Let something else happen before a write arrives."""
        with self.lock:
            happening = self.meanwhile.popleft() if self.meanwhile else None
        if happening is not None:
            happening()

    def next_fault(self) -> Exception | str | None:
        """Take the next fault."""
        with self.lock:
            return self.faults.popleft() if self.faults else None

    def _put(self, account: Account, write: Write) -> str:
        attributes = {**account.attributes, **write.attributes}
        user_name = str(attributes.get("userName") or account.user_name)
        holder = self.named(user_name)
        if holder is not None and holder.scim_id != account.scim_id:
            raise AddressTaken("409")
        self.accounts[account.scim_id] = Account(
            account.scim_id,
            user_name,
            account.external_id if write.external_id is None else write.external_id,
            account.active if write.active is None else write.active,
            {name: value for name, value in attributes.items() if value is not None},
        )
        return account.scim_id


class FakeAccounts:
    """The Accounts port on a FakeKeeper, with one token."""

    def __init__(self, node: FakeKeeper, token: str) -> None:
        self._node = node
        self._token = token

    def probe(self) -> None:
        if self._token not in self._node.accepts:
            raise AuthorizationRefused("401", status=401)

    def capabilities(self) -> Capabilities:
        return Capabilities()

    def get(self, scim_id: str) -> Account | None:
        self.probe()
        return self._node.accounts.get(scim_id)

    def find(self, lookups: Sequence[Lookup]) -> Iterator[Found]:
        for lookup in lookups:
            try:
                self.probe()
            except AuthorizationRefused as error:
                yield Found(lookup.key, error=error)
                continue
            ours = tuple(self._node.of(lookup.external_id))
            named = dict.fromkeys(name.casefold() for name in lookup.user_names)
            found = [account for name in named if (account := self._node.named(name)) is not None]
            yield Found(lookup.key, ours or tuple(found))

    def list(self) -> Iterator[Sequence[Account]]:
        self.probe()
        yield list(self._node.accounts.values())

    def write(self, writes: Sequence[Write], deadline: datetime) -> Iterator[Written]:
        conflicts: list[Write] = []
        for write in writes:
            written = self._written(write, deadline)
            if isinstance(written.error, AddressTaken) and write.kind is WriteKind.PATCH:
                conflicts.append(write)  # tried again after the rest: chains of e-mail changes
            else:
                yield written
        for write in conflicts:
            yield self._written(write, deadline)

    def _written(self, write: Write, deadline: datetime) -> Written:
        try:
            self.probe()
            if self._node.clock() >= deadline:
                raise NotSent("the deadline passed")
            self._node.interrupt()
            fault = self._node.next_fault()
            if isinstance(fault, Exception):
                raise fault
            scim_id = self._node.write(write)
            if fault == "lost":
                raise Unresolved("the answer was lost")
            return Written(write.key, scim_id)
        except ProvisioningError as error:
            return Written(write.key, error=error)


@dataclass
class Store:
    """What Firestore would hold; the fakes of the state ports share one.

    What stands in `meanwhile` happens between the read and the write of a roster commit, one at each commit; with
    `stutters` each commit loses its first race.
    """

    lock: threading.RLock = field(default_factory=threading.RLock)
    connections: dict[str, Connection] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)  # connection ids, tombstones included
    shards: dict[tuple[str, int], tuple[int, dict[str, Entry]]] = field(default_factory=dict)
    events: dict[str, dict[str, Event]] = field(default_factory=lambda: defaultdict(dict))
    usage: dict[str, dict[str, Counter[str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Counter)))
    failures: dict[str, dict[str, tuple[str, Failure]]] = field(default_factory=lambda: defaultdict(dict))
    runs: dict[str, dict[str, Run]] = field(default_factory=lambda: defaultdict(dict))
    guards: dict[str, GuardState] = field(default_factory=dict)
    holds: dict[str, dict[str, Hold]] = field(default_factory=lambda: defaultdict(dict))
    claims: dict[tuple[str, str], str] = field(default_factory=dict)
    leases: dict[str, tuple[str, datetime, int]] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    meanwhile: deque[Callable[[], None]] = field(default_factory=deque)
    stutters: bool = False

    def interrupt(self) -> None:
        """Let something else happen between a read and its write."""
        with self.lock:
            happening = self.meanwhile.popleft() if self.meanwhile else None
        if happening is not None:
            happening()

    def append(self, connection_id: str, events: Iterable[Event]) -> None:
        """Append to the audit and count the day's usage."""
        for event in events:
            self.events[connection_id][event.id] = event
            self.usage[connection_id][event.at.date().isoformat()][event.name.value] += 1


class FakeRoster:
    """The Roster port: optimistic, like the real one, so that `edit` may be called again."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def entry(self, connection: Connection, user_id: str) -> Entry | None:
        return self._read(connection, self.shard(connection, user_id))[1].get(user_id)

    def load(self, connection: Connection) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for shard in range(connection.shards):
            entries |= self._read(connection, shard)[1]
        return entries

    def shard(self, connection: Connection, user_id: str) -> int:
        return zlib.crc32(user_id.encode()) % connection.shards

    def commit(
        self, connection: Connection, user_ids: Iterable[str], edit: Callable[[Mapping[str, Entry]], tuple[Edit, T]]
    ) -> T:
        wanted = set(user_ids)
        numbers = sorted({self.shard(connection, user_id) for user_id in wanted})
        for attempt in range(ATTEMPTS):
            with self._store.lock:
                read = {number: self._read(connection, number) for number in numbers}
            named = {
                user_id: entry
                for _version, entries in read.values()
                for user_id, entry in entries.items()
                if user_id in wanted
            }
            change, result = edit(named)
            self._store.interrupt()
            if self._store.stutters and attempt == 0:
                continue
            if self._write(connection, read, change):
                return result
        raise Contention("too many writers on one shard")

    def _read(self, connection: Connection, number: int) -> tuple[int, dict[str, Entry]]:
        return self._store.shards.get((connection.id, number), (0, {}))

    def _write(self, connection: Connection, read: Mapping[int, tuple[int, dict[str, Entry]]], change: Edit) -> bool:
        store = self._store
        touched = {self.shard(connection, user_id) for user_id in change.entries}
        with store.lock:
            if any(self._read(connection, number)[0] != read[number][0] for number in touched):
                return False
            if change.progress is not None:
                self._advance(connection.id, change.progress)
            for number in touched:
                version, entries = read[number]
                mine = {
                    user_id: entry
                    for user_id, entry in change.entries.items()
                    if self.shard(connection, user_id) == number
                }
                merged = {**entries, **mine}
                kept = {user_id: entry for user_id, entry in merged.items() if entry is not None}
                store.shards[connection.id, number] = (version + 1, kept)
                for user_id, entry in mine.items():
                    self._mirror(connection.id, user_id, entry)
            store.append(connection.id, change.events)
            return True

    def _mirror(self, connection_id: str, user_id: str, entry: Entry | None) -> None:
        failures = self._store.failures[connection_id]
        failures.pop(user_id, None)
        if entry is not None and entry.failure is not None:
            failures[user_id] = (entry.email, entry.failure)

    def _advance(self, connection_id: str, progress: Progress) -> None:
        run = self._store.runs[connection_id].get(progress.run_id)
        if run is None:
            raise Transient(f"There is no run {progress.run_id}")
        counts = Counter(run.counts)
        counts.update({name: n for name, n in progress.counts.items() if n})
        done = {**run.done, progress.done: progress.continued} if progress.done else run.done
        self._store.runs[connection_id][progress.run_id] = replace(
            run,
            counts=dict(counts),
            done=done,
            last_progress=progress.at,
            seats_exhausted=run.seats_exhausted or progress.seats_exhausted,
        )


class FakeConnections:
    """The Connections port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> Sequence[Connection]:
        return sorted(self._store.connections.values(), key=lambda connection: (connection.order, connection.id))

    def get(self, connection_id: str) -> Connection | None:
        return self._store.connections.get(connection_id)

    def create(self, connection: Connection) -> None:
        with self._store.lock:
            if connection.id in self._store.used:
                raise Stale(f"The connection id {connection.id!r} was used before.")
            self._store.used.add(connection.id)
            self._store.connections[connection.id] = connection

    def change(self, connection_id: str, edit: Callable[[Connection], Connection | None]) -> Connection | None:
        with self._store.lock:
            current = self._store.connections.get(connection_id)
            wanted = edit(current) if current is not None else None
            if current is None or wanted is None:
                return None
            changed = replace(wanted, revision=current.revision + 1)
            self._store.connections[connection_id] = changed
            return changed

    def purge(self, connection_id: str) -> None:
        store = self._store
        with store.lock:
            store.connections.pop(connection_id, None)
            store.shards = {key: value for key, value in store.shards.items() if key[0] != connection_id}
            store.claims = {key: value for key, value in store.claims.items() if key[0] != connection_id}
            for kept in (store.failures, store.runs, store.guards, store.holds):
                kept.pop(connection_id, None)


class FakeRecords:
    """The Records port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put_run(self, run: Run) -> None:
        with self._store.lock:
            known = self._store.runs[run.connection_id].get(run.id)
            self._store.runs[run.connection_id][run.id] = _own_fields(known, run)

    def run(self, connection_id: str, run_id: str) -> Run | None:
        return self._store.runs[connection_id].get(run_id)

    def open_runs(self, connection_id: str) -> Sequence[Run]:
        with self._store.lock:
            return [
                run
                for run in self._store.runs[connection_id].values()
                if run.state in (RunState.OBSERVING, RunState.PLANNED)
            ]

    def change_run(self, connection_id: str, run_id: str, edit: Callable[[Run], Run | None]) -> Run | None:
        with self._store.lock:
            current = self._store.runs[connection_id].get(run_id)
            wanted = edit(current) if current is not None else None
            if current is None or wanted is None:
                return None
            self._store.runs[connection_id][run_id] = _own_fields(current, wanted)
            return wanted

    def change_guard(self, connection_id: str, edit: Callable[[GuardState], GuardState | None]) -> GuardState | None:
        with self._store.lock:
            wanted = edit(self._store.guards.get(connection_id, GuardState()))
            if wanted is not None:
                self._store.guards[connection_id] = wanted
            return wanted

    def hold(self, connection_id: str, digest: str) -> Hold | None:
        return self._store.holds[connection_id].get(digest)

    def holds(self, connection_id: str) -> Sequence[Hold]:
        current = [hold for hold in self._store.holds[connection_id].values() if hold.state is not HoldState.SUPERSEDED]
        return sorted(current, key=lambda hold: hold.raised_at, reverse=True)

    def put_hold(self, connection_id: str, hold: Hold) -> None:
        self._store.holds[connection_id][hold.digest] = hold

    def claim_account(self, connection_id: str, scim_id: str, user_id: str) -> bool:
        with self._store.lock:
            return self._store.claims.setdefault((connection_id, scim_id), user_id) == user_id

    def record(self, connection_id: str, events: Sequence[Event]) -> None:
        with self._store.lock:
            self._store.append(connection_id, events)

    def lease(self, name: str, holder: str, now: datetime, length: timedelta) -> int | None:
        with self._store.lock:
            known, until, fence = self._store.leases.get(name, ("", datetime.min.replace(tzinfo=UTC), 0))
            if known != holder and until > now:
                return None
            fence = fence if known == holder else fence + 1
            self._store.leases[name] = (holder, now + length, fence)
            return fence

    def release(self, name: str, holder: str) -> None:
        with self._store.lock:
            known, _until, fence = self._store.leases.get(name, ("", START, 0))
            if known == holder:
                self._store.leases[name] = ("", datetime.min.replace(tzinfo=UTC), fence)


def _own_fields(known: Run | None, run: Run) -> Run:
    """Keep what only commits add to: `done`, `counts`, seats."""
    if known is None:
        return replace(run, done={}, counts={}, seats_exhausted=False)
    return replace(run, done=known.done, counts=known.counts, seats_exhausted=known.seats_exhausted)


class FakeChannels:
    """The Channels port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> Sequence[Channel]:
        return [channel for channel in self._store.channels.values() if channel.address]

    def put(self, channel: Channel) -> None:
        known = self._store.channels.get(channel.id)
        proven = known is not None and known.proven
        self._store.channels[channel.id] = replace(channel, token="", proven=proven)

    def prove(self, channel_id: str) -> None:
        known = self._store.channels.get(channel_id, Channel(channel_id, ""))
        self._store.channels[channel_id] = replace(known, proven=True)

    def remove(self, channel_id: str) -> None:
        self._store.channels.pop(channel_id, None)


class FakeTokens:
    """The Tokens port."""

    def __init__(self) -> None:
        self.enabled: dict[tuple[str, str], str] = {}
        self._numbers = itertools.count(1)

    def read(self, connection_id: str, version: str) -> str:
        if (connection_id, version) not in self.enabled:
            raise ConfigurationRefused(f"Token version {version} cannot be read.")
        return self.enabled[connection_id, version]

    def add(self, connection_id: str, token: str) -> str:
        version = str(next(self._numbers))
        self.enabled[connection_id, version] = token
        return version

    def disable(self, connection_id: str, version: str) -> None:
        self.enabled.pop((connection_id, version), None)

    def destroy(self, connection_id: str, version: str) -> None:
        self.enabled.pop((connection_id, version), None)


class FakeQueue:
    """The Queue port: what was published and not yet delivered."""

    def __init__(self) -> None:
        self.looks: list[Look] = []
        self.batches: list[Batch] = []
        self.runs: list[RunKind] = []

    def look_again(self, looks: Sequence[Look]) -> None:
        self.looks += looks

    def apply(self, batches: Sequence[Batch]) -> None:
        self.batches += batches

    def request_run(self, kind: RunKind, *, retry_failures: bool = False) -> None:
        self.runs.append(kind)


class FakeMeter:
    """The Meter port, with nothing to tell."""

    def take(self) -> Mapping[str, int]:
        return {}


class Desk:
    """Services over the fakes, and the fakes themselves to look at."""

    def __init__(self, **changes: Any) -> None:
        self.clock = Clock()
        self.directory = FakeDirectory()
        self.keeper = FakeKeeper(self.clock)
        self.store = Store()
        self.tokens = FakeTokens()
        self.queue = FakeQueue()
        self.services = Services(
            clock=self.clock,
            new_id=Ids(),
            directory=self.directory,
            connections=FakeConnections(self.store),
            roster=FakeRoster(self.store),
            records=FakeRecords(self.store),
            tokens=self.tokens,
            queue=self.queue,
            accounts_for=self.keeper.opened,
            meter=FakeMeter(),
            **changes,
        )
