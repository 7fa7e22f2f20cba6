"""The state ports of the simulation, all made in one place.

Another implementation (the real adapters over a Firestore in memory) takes the place of `StatePorts.in_memory`; the
oracles read through `Archive` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoprovisioning.app.ports.adoptions import Adoptions, UnprovisionedAccounts
from autoprovisioning.app.ports.audit import Audit
from autoprovisioning.app.ports.channels import Channels
from autoprovisioning.app.ports.claims import Claims
from autoprovisioning.app.ports.connections import Connections
from autoprovisioning.app.ports.due_runs import DueRuns
from autoprovisioning.app.ports.guard import Guard
from autoprovisioning.app.ports.holds import Holds
from autoprovisioning.app.ports.keeper_changes import KeeperChanges
from autoprovisioning.app.ports.leases import Leases
from autoprovisioning.app.ports.listings import ListingSizes
from autoprovisioning.app.ports.people import People
from autoprovisioning.app.ports.requests import PreviewLines, Requests
from autoprovisioning.app.ports.roster import Edit, Roster
from autoprovisioning.app.ports.runs import Runs
from autoprovisioning.app.ports.set_ups import SetUps
from autoprovisioning.app.ports.sources import Sources
from autoprovisioning.app.ports.sweeps import Sweeps
from autoprovisioning.app.ports.teams import Teams
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.requests import RUN, AskedRun
from autoprovisioning.domain.runs import Run
from autoprovisioning.domain.teams import GroupTeam
from tests.simulation.scheduler import Scheduler
from tests.simulation.weather import Weather
from tests.support.in_memory_state import (
    FakeChannels,
    FakeRoster,
    Store,
    state_ports,
)

FEW = 4  # shards, instead of 64: reading them all costs more than all else, and few people share one the sooner
RACE = 0.3  # seconds between the read and the write of a commit
SEEN = Callable[[Connection, Mapping[str, Entry], Edit], None]

VERBS: Mapping[str, tuple[str, ...]] = {
    "connections": ("all", "get", "deleted", "create", "change", "purge"),
    "set_ups": ("begin", "begun", "end"),
    "runs": ("put", "get", "open", "latest", "change", "asked_for"),
    "requests": ("open", "put", "get"),
    "preview_lines": ("put", "page", "every"),
    "holds": ("get", "standing", "put", "change"),
    "guard": ("change",),
    "claims": ("claim",),
    "sweeps": ("get", "put"),
    "sources": ("all", "hear"),
    "due_runs": ("all", "causes", "add", "strike"),
    "listings": ("get", "put"),
    "audit": ("record", "applied"),
    "leases": ("take", "release"),
    "adoptions": ("confirm", "confirmed"),
    "unprovisioned": ("put", "get", "ignored", "ignore", "locks", "change_locks"),
    "keeper_changes": ("add", "get"),
    "teams": ("get", "change", "approvals", "approve", "adoptions", "confirm", "settle"),
    "people": ("put", "read"),
    "channels": ("all", "put", "prove", "remove"),
    "tokens": ("read", "add", "disable", "destroy", "stored"),
}  # fmt: skip
OF_SERVICES = tuple(name for name in VERBS if name not in ("channels", "tokens"))


@dataclass(frozen=True, kw_only=True)
class StatePorts:
    """The state ports, without faults."""

    connections: Connections
    roster: Roster
    set_ups: SetUps
    runs: Runs
    requests: Requests
    preview_lines: PreviewLines
    holds: Holds
    guard: Guard
    claims: Claims
    sweeps: Sweeps
    sources: Sources
    due_runs: DueRuns
    listings: ListingSizes
    audit: Audit
    leases: Leases
    adoptions: Adoptions
    unprovisioned: UnprovisionedAccounts
    keeper_changes: KeeperChanges
    teams: Teams
    people: People
    channels: Channels
    archive: Archive

    @staticmethod
    def in_memory(scheduler: Scheduler) -> StatePorts:
        """Make those of tests/support/in_memory_state.py; others may come between a commit's read and its write."""
        store = _Store(scheduler)
        return StatePorts(
            channels=FakeChannels(store),
            archive=Archive(store),
            **state_ports(store),
        )


class _Store(Store):
    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__(split=FEW)
        self._scheduler = scheduler

    def interrupt(self) -> None:
        task = self._scheduler.current
        if task is not None:
            self._scheduler.pause(RACE * task.chance.random() ** 4)


class Archive:
    """What is stored, for the oracles; and for losing it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def entries(self, connection: Connection) -> dict[str, Entry]:
        return FakeRoster(self._store).load(connection)

    def entry(self, connection: Connection, user_id: str) -> Entry | None:
        return FakeRoster(self._store).entry(connection, user_id)

    def connections(self) -> Sequence[Connection]:
        return list(self._store.connections.values())

    def events(self, connection_id: str) -> dict[str, Event]:
        return self._store.events[connection_id]

    def usage(self, connection_id: str) -> dict[str, int]:
        """Return how many events of each name were counted."""
        counted: dict[str, int] = {}
        for day in self._store.usage[connection_id].values():
            for name, number in day.items():
                counted[name] = counted.get(name, 0) + number
        return counted

    def runs(self, connection_id: str) -> list[Run]:
        return list(self._store.runs[connection_id].values())

    def holds(self, connection_id: str) -> list[Any]:
        return list(self._store.holds[connection_id].values())

    def teams(self, connection_id: str) -> Mapping[str, GroupTeam]:
        return self._store.teams.get(connection_id, {})

    def leases(self) -> list[str]:
        """Return the names of the leases that somebody holds."""
        return [name for name, (holder, _, _) in self._store.leases.items() if holder]

    def lose_roster(self, connection_id: str) -> None:
        """Lose what docs/restore.md deletes of a connection."""
        for key in [key for key in self._store.shards if key[0] == connection_id]:
            del self._store.shards[key]
        self._store.pending.pop(connection_id, None)
        self._store.failures.pop(connection_id, None)

    def claimed_by(self, connection_id: str, scim_id: str) -> str:
        """Return who claimed an account for adoption last, "" where nobody did."""
        claim = self._store.claims.get((connection_id, scim_id))
        return claim.user_id if claim is not None else ""

    def asked(self, connection_id: str) -> list[AskedRun]:
        return [request for request in self._store.asked.requests[connection_id].values() if request.kind is RUN]

    def rosters(self, connection_id: str) -> int:
        """Return how many shards are stored."""
        return sum(owner == connection_id for owner, _ in self._store.shards)


class Called:
    """A port each of whose verbs is a call to the outside."""

    def __init__(self, name: str, port: object, weather: Weather) -> None:
        for verb in VERBS[name]:
            setattr(self, verb, weather.around(f"{name}.{verb}", getattr(port, verb)))


class SimRoster:
    """The Roster port as calls to the outside; the oracles see every edit with the entries it was made from.

    What a process read last of which user is kept with it: its decisions must be made from exactly that.
    """

    def __init__(self, roster: Roster, scheduler: Scheduler, weather: Weather, seen: SEEN) -> None:
        self._roster = roster
        self._scheduler = scheduler
        self._weather = weather
        self._seen = seen
        self.as_stored = roster.as_stored
        self.begin = weather.around("roster.begin", roster.begin)

    def entry(self, connection: Connection, user_id: str) -> Entry | None:
        entry = self._weather.around("roster.entry", self._roster.entry)(connection, user_id)
        self._keep(connection, {user_id: entry})
        task = self._scheduler.current
        if task is not None:
            task.process.memory.setdefault("glanced", {})[user_id] = self._scheduler.now
        return entry

    def entries(self, connection: Connection, user_ids: Iterable[str]) -> dict[str, Entry]:
        asked = list(user_ids)
        entries = self._weather.around("roster.entries", self._roster.entries)(connection, asked)
        self._keep(connection, {user_id: entries.get(user_id) for user_id in asked})
        return entries

    def load(self, connection: Connection) -> dict[str, Entry]:
        entries = self._weather.around("roster.load", self._roster.load)(connection)
        task = self._scheduler.current
        if task is not None:
            task.process.memory[f"loaded {connection.id}"] = True
        self._keep(connection, entries)
        return entries

    def commit(self, connection: Connection, user_ids: Iterable[str], edit: Callable[..., Any]) -> Any:
        def watched(entries: Mapping[str, Entry]) -> Any:
            change, result = edit(entries)
            self._seen(connection, entries, change)
            return change, result

        return self._weather.around("roster.commit", self._roster.commit)(connection, user_ids, watched)

    def commit_in_parts(self, connection: Connection, user_ids: Iterable[str], edit: Callable[..., Any]) -> Any:
        def watched(part: Sequence[str], entries: Mapping[str, Entry]) -> Any:
            change, result = edit(part, entries)
            self._seen(connection, entries, change)
            return change, result

        return self._weather.around("roster.commit", self._roster.commit_in_parts)(connection, user_ids, watched)

    def _keep(self, connection: Connection, entries: Mapping[str, Entry | None]) -> None:
        task = self._scheduler.current
        if task is not None:
            known = task.process.memory.setdefault("entries", {})
            known |= {(connection.id, user_id): entry for user_id, entry in entries.items()}
            for user_id in entries:
                task.process.memory.get("open", {}).pop((connection.id, user_id), None)
