"""The state ports of the simulation over the real Firestore adapters: every call to Firestore is one of its own.

Tasks switch between the read and the write of a compare-and-set, the client repeats what was UNAVAILABLE, and answers
of commits that took effect are lost.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any
from unittest.mock import patch

from google.api_core import exceptions

from autoprovisioning.adapters.firestore import (
    Database,
    FirestoreChannels,
    FirestoreConnections,
    FirestoreHolds,
    FirestoreRequests,
    FirestoreRoster,
    FirestoreTeams,
    roster,
)
from autoprovisioning.adapters.firestore.audit import event_of
from autoprovisioning.adapters.firestore.runs import run_of
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.errors import Transient
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.holds import Hold
from autoprovisioning.domain.requests import RUN, AskedRun
from autoprovisioning.domain.runs import Run
from autoprovisioning.domain.teams import GroupTeam
from tests.simulation.firestore import Client
from tests.simulation.firestore_service import Call, Network, Service, Write
from tests.simulation.scheduler import Scheduler, Task
from tests.simulation.state import FEW, StatePorts
from tests.simulation.weather import STATE, Weather
from tests.support.firestore_state import state_ports

Told = Callable[[Connection | None, str], None]  # what is stored of a connection now, and its id


class Wire(Network):
    """What is between a process and Firestore in a history."""

    def __init__(self, scheduler: Scheduler, weather: Weather) -> None:
        self._scheduler = scheduler
        self._weather = weather
        self._struck: dict[Task, str] = {}

    def before(self, call: Call) -> None:
        try:
            kind = self._weather.before(f"firestore.{call.kind}", STATE)
        except Transient:
            raise exceptions.ServiceUnavailable("struck") from None
        task = self._scheduler.current
        if kind and task is not None:
            self._struck[task] = kind

    def after(self, call: Call) -> None:
        task = self._scheduler.current
        kind = self._struck.pop(task, "") if task is not None else ""
        if kind == "ambiguous" and task is not None:
            lost = (exceptions.ServiceUnavailable, exceptions.DeadlineExceeded)
            raise task.chance.choice(lost)("struck")  # the client repeats the first by itself
        self._weather.after(kind)

    def sleep(self, seconds: float) -> None:
        self._scheduler.pause(seconds)


class ByTask(Random):
    """Pauses as each task's own chance has them, so that what one draws changes nothing for the others.

    Stamps are counted: two tasks may draw alike, but never the stamp by which one knows its own write.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler
        self._stamps = 0

    def random(self) -> float:
        task = self._scheduler.current
        return task.chance.random() if task is not None else 0.5

    def getrandbits(self, k: int) -> int:
        self._stamps += 1
        return self._stamps


class Settings(Service):
    """A service that shows connections the moment they are stored."""

    def __init__(self, scheduler: Scheduler, told: Told) -> None:
        super().__init__(lambda: scheduler.now)
        self._told = told
        self._connections = FirestoreConnections(_database(Client(self)))

    def commit(self, writes: Sequence[Write]) -> None:
        super().commit(writes)
        for write in writes:
            if write.collection == "connections":
                self._told(self._connections.get(write.id), write.id)


def in_firestore(scheduler: Scheduler, weather: Weather, told: Told) -> StatePorts:
    """Make the ports; what strikes them strikes their calls to Firestore, and they themselves are no calls."""
    service, wire = Settings(scheduler, told), Wire(scheduler, weather)
    database = _database(Client(service, wire), sleep=wire.sleep, chance=ByTask(scheduler))
    return StatePorts(
        channels=FirestoreChannels(database),
        archive=StoredArchive(service),
        **state_ports(database),
    )


def _database(client: Client, **named: Any) -> Database:
    return Database(client, lambda name, n=1: None, **named)


@contextmanager
def few_shards() -> Iterator[None]:
    """Let a roster that is begun have few shards, within the block."""
    with patch.object(roster, "SMALLEST", FEW):
        yield


class StoredArchive:
    """What is stored, for the oracles, read past the network, in no time; and for losing it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._client = Client(service)
        database = _database(self._client)
        self._roster = FirestoreRoster(database)
        self._holds, self._requests = FirestoreHolds(database), FirestoreRequests(database)
        self._connections, self._teams = FirestoreConnections(database), FirestoreTeams(database)

    def entries(self, connection: Connection) -> dict[str, Entry]:
        return self._roster.load(connection)

    def entry(self, connection: Connection, user_id: str) -> Entry | None:
        return self._roster.entry(connection, user_id)

    def connections(self) -> Sequence[Connection]:
        return self._connections.all()

    def events(self, connection_id: str) -> dict[str, Event]:
        return {snapshot.id: event_of(snapshot) for snapshot in self._all(connection_id, "events")}

    def usage(self, connection_id: str) -> dict[str, int]:
        """Return how many events of each name were counted."""
        counted: Counter[str] = Counter()
        for snapshot in self._all(connection_id, "usage"):
            counted.update(snapshot.get("counts"))
        return dict(counted)

    def runs(self, connection_id: str) -> list[Run]:
        return [run_of(connection_id, snapshot) for snapshot in self._all(connection_id, "runs")]

    def holds(self, connection_id: str) -> list[Hold]:
        found = [self._holds.get(connection_id, snapshot.id) for snapshot in self._all(connection_id, "holds")]
        return [hold for hold in found if hold is not None]

    def teams(self, connection_id: str) -> Mapping[str, GroupTeam]:
        return self._teams.get(connection_id)

    def leases(self) -> list[str]:
        """Return the names of the leases that somebody holds."""
        return [lease.id for lease in self._client.collection("leases").stream() if lease.get("holder")]

    def lose_roster(self, connection_id: str) -> None:
        """Lose what docs/restore.md deletes of a connection."""
        for collection in ("roster", "pending", "failures"):
            self._service.collections.pop(f"connections/{connection_id}/{collection}", None)

    def claimed_by(self, connection_id: str, scim_id: str) -> str:
        """Return who claimed an account for adoption last, "" where nobody did."""
        name = hashlib.sha256(scim_id.encode()).hexdigest()[:32]
        claim = self._client.collection(f"connections/{connection_id}/claims").document(name).get()
        return claim.get("user_id") if claim.exists else ""

    def asked(self, connection_id: str) -> list[AskedRun]:
        found = [self._requests.get(RUN, connection_id, each.id) for each in self._all(connection_id, "requests")]
        return [asked for asked in found if asked is not None]

    def rosters(self, connection_id: str) -> int:
        """Return how many shards are stored."""
        return sum(1 for _ in self._all(connection_id, "roster"))

    def _all(self, connection_id: str, collection: str) -> Any:
        return self._client.collection(f"connections/{connection_id}/{collection}").stream()
