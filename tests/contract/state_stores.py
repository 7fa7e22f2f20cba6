"""What keeps our state, the fakes, Firestore's emulator and its stand-in, behind one set of eyes; and a bad wire."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import pytest

from autoprovisioning.adapters.firestore import (
    Database,
    FirestoreChannels,
    FirestoreReports,
    build_client,
)
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
from autoprovisioning.domain.events import Event, EventName
from autoprovisioning.domain.guard import Member
from autoprovisioning.domain.holds import Hold, Standing, Verdict, digest_of
from tests.simulation.firestore import Client
from tests.simulation.firestore_service import Service
from tests.support import firestore_state, in_memory_state
from tests.support.builders import NOW
from tests.support.in_memory_state import FakeChannels, Store

HOME = Connection(id="c1", roster_layout="64")
HOUR = timedelta(hours=1)
IN_FIRESTORE = [pytest.param("emulated", marks=pytest.mark.emulator), "in_memory"]  # names of fixtures

Failures = Mapping[str, tuple[str, str, int]]  # directory id -> address, code, attempts


class Reads(Counter[str]):
    """Counts documents read and written, by name."""

    def __call__(self, name: str, n: int = 1) -> None:
        self[name] += n


@dataclass
class State:
    """The state ports."""

    roster: Roster
    set_ups: SetUps
    connections: Connections
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
    channels: Channels
    unprovisioned: UnprovisionedAccounts
    teams: Teams
    keeper_changes: KeeperChanges
    people: People

    def audited(self, connection_id: str) -> set[str]:
        """Return the ids of a connection's events."""
        raise NotImplementedError

    def usage(self, connection_id: str) -> dict[str, dict[str, int]]:
        """Return the counters by day and event name."""
        raise NotImplementedError

    def failures(self, connection_id: str) -> Failures:
        """Return what the console would show as failures."""
        raise NotImplementedError

    def pending(self, connection_id: str) -> Mapping[str, str]:
        """Return the addresses of those who wait, by directory id."""
        raise NotImplementedError


class Fakes(State):
    """The fakes."""

    def __init__(self) -> None:
        self._store = store = Store()
        super().__init__(channels=FakeChannels(store), **in_memory_state.state_ports(store))

    def audited(self, connection_id: str) -> set[str]:
        return set(self._store.events[connection_id])

    def usage(self, connection_id: str) -> dict[str, dict[str, int]]:
        return {day: dict(counts) for day, counts in self._store.usage[connection_id].items()}

    def failures(self, connection_id: str) -> Failures:
        known = self._store.failures[connection_id].items()
        return {user_id: (email, failure.code, failure.attempts) for user_id, (email, failure) in known}

    def pending(self, connection_id: str) -> Mapping[str, str]:
        return dict(self._store.pending[connection_id])


class Firestore(State):
    """The adapters on a project of the emulator."""

    def __init__(self, host: str, project: str, timeout: timedelta = timedelta(seconds=20)) -> None:
        with mock.patch.dict(os.environ, {"FIRESTORE_EMULATOR_HOST": host}):
            client = build_client(project, "(default)")
        self._over(client, timeout)

    def _over(self, client: Any, timeout: timedelta = timedelta(seconds=20)) -> None:
        self.client = client
        self.reads = Reads()
        self.database = database = Database(self.client, self.reads, timeout)
        super().__init__(channels=FirestoreChannels(database), **firestore_state.state_ports(database))
        self.reports = FirestoreReports(database)

    def before_writing(self, act: Callable[[], None]) -> None:
        """Do something between the read and the write of a compare-and-set."""
        put = self.database.put

        def put_later(*args: Any) -> None:
            act()
            put(*args)

        self.database.put = put_later  # type: ignore[method-assign]

    def close(self) -> None:
        """Close the channel to the emulator."""
        self.client.close()

    def collection(self, connection_id: str, name: str) -> dict[str, dict[str, Any]]:
        """Read a collection of a connection, as the console would."""
        found = self.client.collection(f"connections/{connection_id}/{name}").stream()
        return {item.id: item.to_dict() or {} for item in found}

    def audited(self, connection_id: str) -> set[str]:
        return set(self.collection(connection_id, "events"))

    def usage(self, connection_id: str) -> dict[str, dict[str, int]]:
        days: dict[str, Counter[str]] = {}
        for fields in self.collection(connection_id, "usage").values():
            days.setdefault(fields["day"], Counter()).update(fields["counts"])
        return {day: dict(counts) for day, counts in days.items()}

    def failures(self, connection_id: str) -> Failures:
        found = self.collection(connection_id, "failures").items()
        return {user_id: (fields["email"], fields["code"], fields["attempts"]) for user_id, fields in found}

    def pending(self, connection_id: str) -> Mapping[str, str]:
        return {user_id: fields["email"] for user_id, fields in self.collection(connection_id, "pending").items()}


class InMemory(Firestore):
    """The adapters on the client of simulations."""

    def __init__(self) -> None:
        self._over(Client(Service(lambda: NOW)))


class Wire:
    """A TCP relay to the emulator that can hold back its answers, fall silent, or break."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._deaf = threading.Event()
        self._mute = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.getsockname()[1]}"

    def swallow_answers(self) -> None:
        """From now on let requests through, but no answer."""
        self._mute.set()

    def fall_silent(self) -> None:
        """From now on let nothing through, without closing anything: a hang."""
        self._deaf.set()
        self._mute.set()

    def cut(self) -> None:
        """Break the connections; new ones work again."""
        self._deaf.clear()
        broken, self._sockets = self._sockets, []
        for one in broken:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._mute.clear()

    def close(self) -> None:
        """Stop listening and break everything."""
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
                far = socket.create_connection(self._target)
            except OSError:
                return
            self._sockets += [near, far]
            threading.Thread(target=self._relay, args=(near, far, self._deaf), daemon=True).start()
            threading.Thread(target=self._relay, args=(far, near, self._mute), daemon=True).start()

    @staticmethod
    def _relay(source: socket.socket, sink: socket.socket, dropping: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not dropping.is_set():
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def wire(port: int) -> Iterator[Wire]:
    """Relay to a loopback port."""
    relay = Wire(("127.0.0.1", port))
    try:
        yield relay
    finally:
        relay.close()


def write(state: State, **edit: Any) -> None:
    """Commit an edit."""
    entries: Mapping[str, Entry | None] = edit.get("entries", {})
    state.roster.commit(HOME, list(entries), lambda _known: (Edit(**edit), None))


def event(event_id: str, name: EventName = EventName.CREATED, **changes: Any) -> Event:
    return replace(
        Event(id=event_id, at=NOW, name=name, actor="run r1", user_id="u1", email="ada@example.com"), **changes
    )


def hold(
    users: list[str], standing: Standing = Standing.WAITING, raised_at: datetime = NOW, by: str = "", **changes: Any
) -> Hold:
    members = tuple(
        Member(resource=user_id, action="suspend", trigger="suspended", since=NOW) for user_id in sorted(users)
    )
    verdict = Verdict() if standing is Standing.WAITING else Verdict(standing=standing, at=NOW, by=by)
    raised = Hold(
        digest=digest_of(members, raised_at),
        raised_at=raised_at,
        members=members,
        reason="too many",
        verdicts=(verdict,) * len(members),
    )
    return replace(raised, **({"decided_by": by, "decided_at": NOW} if by else {}), **changes)
