"""The state ports in memory; tests/contract/test_state*.py hold them to Firestore's contract."""

from __future__ import annotations

import threading
import zlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from autoprovisioning.app.notifications.channel_token import PROOF_KEPT
from autoprovisioning.app.ports.adoptions import Pair
from autoprovisioning.app.ports.channels import Channel
from autoprovisioning.app.ports.claims import Claim
from autoprovisioning.app.ports.connections import Telling
from autoprovisioning.app.ports.due_runs import NO_CAUSES
from autoprovisioning.app.ports.roster import Edit, Progress
from autoprovisioning.domain.accounts import Attributes
from autoprovisioning.domain.causes import Cause, kept
from autoprovisioning.domain.connections import Connection, Deleted
from autoprovisioning.domain.due_runs import DueRun, DueRunSet, added, struck
from autoprovisioning.domain.entry import Entry, Failure
from autoprovisioning.domain.errors import Contention, Stale, Transient
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.guard import GuardState
from autoprovisioning.domain.holds import Hold, HoldState
from autoprovisioning.domain.keeper_changes import KeeperChange, with_newer
from autoprovisioning.domain.listing_parts import Listings
from autoprovisioning.domain.locks import Locks
from autoprovisioning.domain.memberships import WINDOW, ApprovedRemovals
from autoprovisioning.domain.people import Lines, Listed, Person, Roll, again, entitled, line_of, person_of
from autoprovisioning.domain.runs import Run, RunKind, RunState
from autoprovisioning.domain.sources import NOTHING, AllHeard, Feed, Heard, heard
from autoprovisioning.domain.teams import ConfirmedAdoption, GroupTeam
from autoprovisioning.domain.unprovisioned import Ignored, Report
from tests.support.in_memory_requests import FakePreviewLines, FakeRequests, StoredRequests

T = TypeVar("T")

ATTEMPTS = 100
SHARDS_A_PART = 2  # few, so that there are several parts
NEVER = datetime.min.replace(tzinfo=UTC)


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
    pending: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))  # address, by user
    runs: dict[str, dict[str, Run]] = field(default_factory=lambda: defaultdict(dict))
    asked: StoredRequests = field(default_factory=StoredRequests)
    guards: dict[str, GuardState] = field(default_factory=dict)
    holds: dict[str, dict[str, Hold]] = field(default_factory=lambda: defaultdict(dict))
    swept: dict[str, frozenset[str]] = field(default_factory=dict)
    due_runs: DueRunSet = frozenset()
    causes: Mapping[str, Cause] = field(default_factory=dict)
    listings: Listings = field(default_factory=Listings)
    sources: dict[Feed, Heard] = field(default_factory=dict)
    deleted: list[Deleted] = field(default_factory=list)
    claims: dict[tuple[str, str], Claim] = field(default_factory=dict)
    adoptions: dict[str, dict[Pair, tuple[str, datetime]]] = field(default_factory=lambda: defaultdict(dict))
    unprovisioned: dict[str, Report] = field(default_factory=dict)
    ignored: dict[str, dict[str, Ignored]] = field(default_factory=dict)
    locks: dict[str, Locks] = field(default_factory=dict)
    keeper_changes: dict[str, tuple[KeeperChange, ...]] = field(default_factory=dict)
    teams: dict[str, dict[str, GroupTeam]] = field(default_factory=dict)
    approvals: dict[str, dict[str, ApprovedRemovals]] = field(default_factory=dict)
    team_adoptions: dict[str, dict[str, ConfirmedAdoption]] = field(default_factory=dict)
    people: dict[str, tuple[datetime, dict[str, Person]]] = field(default_factory=dict)
    leases: dict[str, tuple[str, datetime, int]] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    set_ups: dict[str, datetime] = field(default_factory=dict)
    meanwhile: deque[Callable[[], None]] = field(default_factory=deque)
    stutters: bool = False
    split: int = 64  # the shards of a roster that is begun

    def interrupt(self) -> None:
        """Let something else happen between a read and its write."""
        with self.lock:
            happening = self.meanwhile.popleft() if self.meanwhile else None
        if happening is not None:
            happening()

    def put_entry(self, connection: Connection, entry: Entry) -> None:
        """Put an entry in place past the port, as if nothing had been written."""
        self.shards[connection.id, shard(connection, entry.user_id)][1][entry.user_id] = entry

    def append(self, connection_id: str, events: Iterable[Event]) -> None:
        """Append to the audit and count the day's usage."""
        for event in events:
            self.events[connection_id][event.id] = event
            self.usage[connection_id][event.at.date().isoformat()][event.name.value] += 1


def shard(connection: Connection, user_id: str) -> int:
    """Name the part of the roster that a user's entry is in."""
    return zlib.crc32(user_id.encode()) % int(connection.roster_layout)


class FakeRoster:
    """The Roster port: optimistic, like the real one, so that `edit` may be called again."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def entry(self, connection: Connection, user_id: str) -> Entry | None:
        return self._read(connection, shard(connection, user_id))[1].get(user_id) if connection.begun else None

    def entries(self, connection: Connection, user_ids: Iterable[str]) -> dict[str, Entry]:
        wanted = set(user_ids)
        return {user_id: entry for user_id, entry in self.load(connection).items() if user_id in wanted}

    def load(self, connection: Connection) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for number in range(int(connection.roster_layout or 0)):
            entries |= self._read(connection, number)[1]
        return entries

    def begin(self, connection: Connection, expected: int) -> Connection:
        if connection.begun:
            return connection
        with self._store.lock:
            known = self._store.connections.get(connection.id)
            if known is None:
                return replace(connection, roster_layout=f"{self._store.split}")
            if not known.begun:
                known = replace(known, roster_layout=f"{self._store.split}", revision=known.revision + 1)
                self._store.connections[connection.id] = known
            return known

    def as_stored(self, connection: Connection, user_ids: Iterable[str]) -> list[str]:
        return sorted(user_ids, key=lambda user_id: shard(connection, user_id))

    def commit(
        self, connection: Connection, user_ids: Iterable[str], edit: Callable[[Mapping[str, Entry]], tuple[Edit, T]]
    ) -> T:
        wanted = set(user_ids)
        numbers = sorted({shard(connection, user_id) for user_id in wanted})
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

    def commit_in_parts(
        self,
        connection: Connection,
        user_ids: Iterable[str],
        edit: Callable[[Sequence[str], Mapping[str, Entry]], tuple[Edit, T]],
    ) -> list[T]:
        named: dict[int, list[str]] = defaultdict(list)
        for user_id in user_ids:
            named[shard(connection, user_id) // SHARDS_A_PART].append(user_id)
        return [self.commit(connection, ids, partial(edit, ids)) for ids in named.values()]

    def _read(self, connection: Connection, number: int) -> tuple[int, dict[str, Entry]]:
        return self._store.shards.get((connection.id, number), (0, {}))

    def _write(self, connection: Connection, read: Mapping[int, tuple[int, dict[str, Entry]]], change: Edit) -> bool:
        store = self._store
        touched = {shard(connection, user_id) for user_id in change.entries}
        with store.lock:
            if any(self._read(connection, number)[0] != read[number][0] for number in touched):
                return False
            if change.progress is not None:
                self._advance(connection.id, change.progress)
            for number in touched:
                version, entries = read[number]
                mine = {
                    user_id: entry for user_id, entry in change.entries.items() if shard(connection, user_id) == number
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
        if entry is not None and entry.failure is not None and not entry.failure.trying:
            failures[user_id] = (entry.email, entry.failure)
        pending = self._store.pending[connection_id]
        if entry is None or not entry.pending:
            pending.pop(user_id, None)
        else:
            pending.setdefault(user_id, entry.email)

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
            last_progress=progress.at or run.last_progress,
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

    def create(self, connection: Connection, event: Event | None = None) -> None:
        with self._store.lock:
            if connection.id in self._store.used:
                raise Stale(f"The connection id {connection.id!r} was used before.")
            self._store.used.add(connection.id)
            self._store.connections[connection.id] = connection
            self._store.append(connection.id, [event] if event is not None else [])

    def change(
        self,
        connection_id: str,
        edit: Callable[[Connection], Connection | None],
        tell: Telling[Connection] | None = None,
    ) -> Connection | None:
        with self._store.lock:
            current = self._store.connections.get(connection_id)
            wanted = edit(current) if current is not None else None
            if current is None or wanted is None:
                return None
            changed = replace(wanted, revision=current.revision + 1)
            self._store.connections[connection_id] = changed
            self._store.append(connection_id, [tell(current, wanted)] if tell is not None else [])
            return changed

    def deleted(self) -> Sequence[Deleted]:
        return list(self._store.deleted)

    def purge(self, connection_id: str) -> None:
        store = self._store
        with store.lock:
            gone = store.connections.pop(connection_id, None)
            store.deleted.insert(
                0, Deleted(id=connection_id, name=gone.settings.name if gone is not None else "", at=NEVER)
            )
            store.shards = {key: value for key, value in store.shards.items() if key[0] != connection_id}
            store.claims = {key: value for key, value in store.claims.items() if key[0] != connection_id}
            store.asked.forget(connection_id)
            for kept in (
                store.failures,
                store.pending,
                store.runs,
                store.guards,
                store.holds,
                store.swept,
                store.adoptions,
                store.unprovisioned,
                store.ignored,
                store.locks,
                store.keeper_changes,
                store.teams,
                store.approvals,
                store.team_adoptions,
                store.people,
            ):
                kept.pop(connection_id, None)


class FakeSetUps:
    """The SetUps port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, connection_id: str, now: datetime) -> None:
        self._store.set_ups[connection_id] = now

    def begun(self) -> Mapping[str, datetime]:
        return dict(self._store.set_ups)

    def end(self, connection_id: str) -> None:
        self._store.set_ups.pop(connection_id, None)


class FakeRuns:
    """The Runs port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, run: Run) -> None:
        with self._store.lock:
            known = self._store.runs[run.connection_id].get(run.id)
            self._store.runs[run.connection_id][run.id] = _own_fields(known, run)

    def get(self, connection_id: str, run_id: str) -> Run | None:
        return self._store.runs[connection_id].get(run_id)

    def open(self, connection_id: str) -> Sequence[Run]:
        with self._store.lock:
            return [
                run
                for run in self._store.runs[connection_id].values()
                if run.state in (RunState.OBSERVING, RunState.PLANNED)
            ]

    def latest(self, connection_id: str, limit: int) -> Sequence[Run]:
        with self._store.lock:
            found = list(self._store.runs[connection_id].values())
        return sorted(found, key=lambda run: run.started, reverse=True)[:limit]

    def change(self, connection_id: str, run_id: str, edit: Callable[[Run], Run | None]) -> Run | None:
        with self._store.lock:
            current = self._store.runs[connection_id].get(run_id)
            wanted = edit(current) if current is not None else None
            if current is None or wanted is None:
                return None
            self._store.runs[connection_id][run_id] = _own_fields(current, wanted)
            return wanted

    def asked_for(self, connection_id: str, request_id: str) -> Run | None:
        found = (run for run in self._store.runs[connection_id].values() if run.request == request_id)
        return min(found, key=lambda run: (run.started, run.id), default=None)


def _own_fields(known: Run | None, run: Run) -> Run:
    """Keep what only commits add to: `done`, `counts`, seats."""
    if known is None:
        return replace(run, done={}, counts={}, seats_exhausted=False)
    return replace(run, done=known.done, counts=known.counts, seats_exhausted=known.seats_exhausted)


class FakeHolds:
    """The Holds port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, connection_id: str, digest: str) -> Hold | None:
        return self._store.holds[connection_id].get(digest)

    def standing(self, connection_id: str) -> Sequence[Hold]:
        over = (HoldState.CLOSED, HoldState.SUPERSEDED)
        current = [hold for hold in self._store.holds[connection_id].values() if hold.state not in over]
        return sorted(current, key=lambda hold: hold.raised_at, reverse=True)

    def put(self, connection_id: str, hold: Hold, raised: Event | None = None) -> None:
        self._store.holds[connection_id][hold.digest] = hold
        self._store.append(connection_id, [raised] if raised is not None else [])

    def change(
        self,
        connection_id: str,
        digest: str,
        edit: Callable[[Hold], Hold | None],
        tell: Callable[[Hold, Hold], Event | None] | None = None,
    ) -> Hold | None:
        with self._store.lock:
            current = self._store.holds[connection_id].get(digest)
            wanted = edit(current) if current is not None else None
            if current is None or wanted is None:
                return None
            decided = replace(wanted, members=current.members, raised_at=current.raised_at)
            self._store.holds[connection_id][digest] = decided
            told = tell(current, decided) if tell is not None else None
            self._store.append(connection_id, [told] if told is not None else [])
            return decided


class FakeGuard:
    """The Guard port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def change(self, connection_id: str, edit: Callable[[GuardState], GuardState | None]) -> GuardState | None:
        with self._store.lock:
            wanted = edit(self._store.guards.get(connection_id, GuardState()))
            if wanted is not None:
                self._store.guards[connection_id] = wanted
            return wanted


class FakeClaims:
    """The Claims port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def claim(self, connection_id: str, scim_id: str, claim: Claim, instead_of: Claim | None = None) -> Claim:
        with self._store.lock:
            held = self._store.claims.get((connection_id, scim_id))
            if held is not None and held != instead_of and held.user_id != claim.user_id:
                return held
            self._store.claims[connection_id, scim_id] = claim
            return claim


class FakeSweeps:
    """The Sweeps port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, connection_id: str) -> frozenset[str]:
        return self._store.swept.get(connection_id, frozenset())

    def put(self, connection_id: str, names: frozenset[str]) -> None:
        self._store.swept[connection_id] = names


class FakeDueRuns:
    """The DueRuns port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> Collection[DueRun]:
        return self._store.due_runs

    def causes(self) -> Mapping[str, Cause]:
        return self._store.causes

    def add(self, runs: Collection[DueRun], now: datetime, causes: Mapping[str, Cause] = NO_CAUSES) -> None:
        with self._store.lock:
            self._store.due_runs = added(self._store.due_runs, runs, now)
            self._store.causes = kept(self._store.causes, causes, now)

    def strike(self, kind: RunKind, until: datetime) -> None:
        with self._store.lock:
            self._store.due_runs = struck(self._store.due_runs, kind, until)


class FakeListings:
    """The ListingSizes port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self) -> Listings:
        return self._store.listings

    def put(self, listings: Listings) -> None:
        self._store.listings = listings


class FakeSources:
    """The Sources port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> AllHeard:
        return dict(self._store.sources)

    def hear(self, source: Feed, at: datetime, *, user: bool) -> None:
        with self._store.lock:
            self._store.sources[source] = heard(self._store.sources.get(source, NOTHING), at, user=user)


class FakeAudit:
    """The Audit port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(self, connection_id: str, events: Sequence[Event]) -> None:
        with self._store.lock:
            if not any(event.id in self._store.events[connection_id] for event in events):
                self._store.append(connection_id, events)

    def applied(self, connection_id: str, change_ids: Sequence[str]) -> dict[str, Attributes]:
        events = self._store.events[connection_id]
        return {name: events[name].after for name in change_ids if name in events and events[name].after}


class FakeLeases:
    """The Leases port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def take(self, name: str, holder: str, now: datetime, length: timedelta) -> int | None:
        with self._store.lock:
            known, until, fence = self._store.leases.get(name, ("", NEVER, 0))
            if known != holder and until > now:
                return None
            fence = fence if known == holder else fence + 1
            self._store.leases[name] = (holder, now + length, fence)
            return fence

    def release(self, name: str, holder: str) -> None:
        with self._store.lock:
            known, _until, fence = self._store.leases.get(name, ("", NEVER, 0))
            if known == holder:
                self._store.leases[name] = ("", NEVER, fence)


class FakeAdoptions:
    """The Adoptions port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def confirm(self, connection_id: str, pairs: Sequence[Pair], by: str, at: datetime, told: Event) -> None:
        with self._store.lock:
            known = self._store.adoptions[connection_id]
            new = [pair for pair in pairs if pair not in known]
            known.update(dict.fromkeys(new, (by, at)))
            self._store.append(connection_id, [told] if new else [])

    def confirmed(self, connection_id: str) -> dict[str, frozenset[str]]:
        confirmed: dict[str, set[str]] = defaultdict(set)
        for user_id, scim_id in self._store.adoptions.get(connection_id, {}):
            confirmed[user_id].add(scim_id)
        return {user_id: frozenset(ids) for user_id, ids in confirmed.items()}


class FakeUnprovisioned:
    """The UnprovisionedAccounts port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, connection_id: str, report: Report) -> None:
        self._store.unprovisioned[connection_id] = report

    def get(self, connection_id: str) -> Report | None:
        return self._store.unprovisioned.get(connection_id)

    def ignored(self, connection_id: str) -> Mapping[str, Ignored]:
        return self._store.ignored.get(connection_id, {})

    def ignore(
        self, connection_id: str, edit: Callable[[Mapping[str, Ignored]], Mapping[str, Ignored]], told: Event
    ) -> None:
        with self._store.lock:
            known = self.ignored(connection_id)
            wanted = dict(edit(known))
            self._store.ignored[connection_id] = wanted
            self._store.append(connection_id, [told] if wanted != known else [])

    def locks(self, connection_id: str) -> Locks:
        return self._store.locks.get(connection_id, {})

    def change_locks(self, connection_id: str, edit: Callable[[Locks], tuple[Locks, Sequence[Event]]]) -> None:
        for _ in range(ATTEMPTS):
            known = self.locks(connection_id)
            wanted, events = edit(known)
            self._store.interrupt()
            with self._store.lock:
                if self.locks(connection_id) != known:
                    continue
                self._store.locks[connection_id] = dict(wanted)
                self._store.append(connection_id, events if wanted != known else [])
                return
        raise Contention("raced")


class FakeKeeperChanges:
    """The KeeperChanges port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, connection_id: str, changes: Sequence[KeeperChange], now: datetime) -> None:
        with self._store.lock:
            self._store.keeper_changes[connection_id] = with_newer(self.get(connection_id), changes, now)

    def get(self, connection_id: str) -> Sequence[KeeperChange]:
        return self._store.keeper_changes.get(connection_id, ())


class FakeTeams:
    """The Teams port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, connection_id: str) -> Mapping[str, GroupTeam]:
        return self._store.teams.get(connection_id, {})

    def change(
        self,
        connection_id: str,
        edit: Callable[[Mapping[str, GroupTeam]], Mapping[str, GroupTeam]],
        events: Sequence[Event] = (),
    ) -> Mapping[str, GroupTeam]:
        for _ in range(ATTEMPTS):
            stored = self._store.teams.get(connection_id)
            becomes = edit(stored or {})
            with self._store.lock:
                if self._store.teams.get(connection_id) is not stored:
                    continue
                if events or becomes != (stored or {}):
                    self._store.teams[connection_id] = dict(becomes)
                    self._store.append(connection_id, events)
                return becomes
        raise Contention("the teams keep changing")

    def approvals(self, connection_id: str) -> Mapping[str, ApprovedRemovals]:
        return self._store.approvals.get(connection_id, {})

    def approve(self, connection_id: str, approval: ApprovedRemovals, told: Event) -> None:
        with self._store.lock:
            kept = {**self.approvals(connection_id), approval.group_id: approval}
            self._store.approvals[connection_id] = {
                group_id: each for group_id, each in kept.items() if approval.at - each.at < WINDOW
            }
            self._store.append(connection_id, [told])

    def adoptions(self, connection_id: str) -> Mapping[str, ConfirmedAdoption]:
        return self._store.team_adoptions.get(connection_id, {})

    def confirm(self, connection_id: str, confirmed: ConfirmedAdoption, told: Event) -> None:
        with self._store.lock:
            kept = {**self.adoptions(connection_id), confirmed.group_id: confirmed}
            self._store.team_adoptions[connection_id] = {
                group_id: each for group_id, each in kept.items() if each.lasts(confirmed.at)
            }
            self._store.append(connection_id, [told])

    def settle(self, connection_id: str, settled: Collection[ConfirmedAdoption]) -> None:
        with self._store.lock:
            self._store.team_adoptions[connection_id] = {
                group_id: each for group_id, each in self.adoptions(connection_id).items() if each not in settled
            }


class FakePeople:
    """The People port: always as of now."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(
        self, connection: Connection, at: datetime, listed: Mapping[str, Listed], roster: Mapping[str, Entry]
    ) -> None:
        known = {user_id: entitled(user_id, each) for user_id, each in listed.items() if user_id not in roster}
        known |= {user_id: person_of(entry, listed.get(user_id)) for user_id, entry in roster.items()}
        self._store.people[connection.id] = (at, known)

    def read(self, connection: Connection, now: datetime) -> Roll:
        if not connection.begun:
            return Roll(at=now)
        at, known = self._store.people.get(connection.id, (None, {}))
        entries = FakeRoster(self._store).load(connection)
        stays = (again(person, entries.get(user_id)) for user_id, person in known.items())
        found = [person for person in stays if person is not None]
        found += [person_of(entry, None) for user_id, entry in entries.items() if user_id not in known]
        return Roll(at=now, listed=at, lines=Lines(map(line_of, found)))


class FakeChannels:
    """The Channels port."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> Sequence[Channel]:
        return list(self._store.channels.values())

    def put(self, channel: Channel) -> None:
        known = self._store.channels.get(channel.id)
        proven = known is not None and known.proven
        self._store.channels[channel.id] = replace(channel, token="", proven=proven)

    def prove(self, channel_id: str, heard: datetime) -> None:
        known = self._store.channels.get(channel_id, Channel(id=channel_id, address="", expires=heard + PROOF_KEPT))
        self._store.channels[channel_id] = replace(known, proven=True)

    def remove(self, channel_id: str) -> None:
        self._store.channels.pop(channel_id, None)


def state_ports(store: Store) -> dict[str, Any]:
    """Return the state ports of `Services` by name, over one store."""
    return {
        "connections": FakeConnections(store),
        "set_ups": FakeSetUps(store),
        "roster": FakeRoster(store),
        "runs": FakeRuns(store),
        "requests": FakeRequests(store.asked),
        "preview_lines": FakePreviewLines(store.asked),
        "holds": FakeHolds(store),
        "guard": FakeGuard(store),
        "claims": FakeClaims(store),
        "sweeps": FakeSweeps(store),
        "sources": FakeSources(store),
        "due_runs": FakeDueRuns(store),
        "listings": FakeListings(store),
        "audit": FakeAudit(store),
        "leases": FakeLeases(store),
        "adoptions": FakeAdoptions(store),
        "unprovisioned": FakeUnprovisioned(store),
        "keeper_changes": FakeKeeperChanges(store),
        "teams": FakeTeams(store),
        "people": FakePeople(store),
    }
