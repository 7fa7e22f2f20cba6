"""The client in memory on a network that fails, and what the adapters make of it; all in no real time."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import greenlet
import pytest
from google.api_core import exceptions

from autoprovisioning.adapters.firestore import (
    Database,
    FirestoreConnections,
    FirestoreLeases,
    FirestoreRoster,
    FirestoreRuns,
)
from autoprovisioning.adapters.firestore.connections import FORGOTTEN, PARTS
from autoprovisioning.adapters.firestore.database import ATTEMPTS
from autoprovisioning.app.ports.roster import Edit, Progress
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.errors import Contention, Transient
from autoprovisioning.domain.events import Event, EventName
from autoprovisioning.domain.runs import Run, RunKind, RunState
from autoprovisioning.domain.settings import Settings
from tests.simulation.firestore import Client
from tests.simulation.firestore_service import Call, Network, Service
from tests.support.builders import NOW

HOME = Connection(id="c1", roster_layout="1")
AWAY = exceptions.ServiceUnavailable("away")
LATE = exceptions.DeadlineExceeded("late")
IN_THE_WAY = exceptions.Aborted("in the way")


class Killed(BaseException):
    """The process is gone."""


class Weather(Network):
    """A network on which calls fail as they are told to, in turn; `before` and `after` hold None for what goes well."""

    def __init__(self) -> None:
        self.now = NOW
        self.calls: list[str] = []
        self.failing_before: deque[Exception | None] = deque()
        self.failing_after: deque[Exception | None] = deque()

    def clock(self) -> datetime:
        return self.now

    def before(self, call: Call) -> None:
        self.calls.append(str(call))
        self._next(self.failing_before)

    def after(self, call: Call) -> None:
        self._next(self.failing_after)

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def _next(self, errors: deque[Exception | None]) -> None:
        error = errors.popleft() if errors else None
        if error is not None:
            raise error


class Stores:
    """The adapters at the end of a network."""

    def __init__(self, service: Service, network: Network) -> None:
        self.client = Client(service, network)
        chance = random.Random(7)
        database = Database(self.client, lambda name, n=1: None, sleep=network.sleep, chance=chance)
        self.roster = FirestoreRoster(database)
        self.connections = FirestoreConnections(database)
        self.runs, self.leases = FirestoreRuns(database), FirestoreLeases(database)

    def ids(self, collection: str) -> set[str]:
        return {snapshot.id for snapshot in self.client.collection(f"connections/c1/{collection}").stream()}


@pytest.fixture
def weather() -> Weather:
    return Weather()


@pytest.fixture
def stores(weather: Weather) -> Stores:
    return Stores(Service(weather.clock), weather)


def grow(stores: Stores, told: str = "e1") -> int:
    """Let an entry become one version newer."""

    def edit(known: Mapping[str, Entry]) -> tuple[Edit, int]:
        entry = known.get("u1", Entry(user_id="u1"))
        event = Event(id=told, at=NOW, name=EventName.CREATED, actor="run r1", user_id="u1")
        progress = Progress(run_id="r1", at=NOW, counts={"created": 1})
        return Edit(
            entries={"u1": replace(entry, version=entry.version + 1)}, events=[event], progress=progress
        ), entry.version + 1

    return stores.roster.commit(HOME, ["u1"], edit)


@pytest.fixture
def running(stores: Stores) -> Stores:
    """Stores with a run that commits add to."""
    stores.runs.put(Run(id="r1", connection_id="c1", kind=RunKind.FULL, fence=1, started=NOW, state=RunState.PLANNED))
    return stores


class TestCallsThatFail:
    def test_what_the_client_repeats_is_done_once_it_arrives(self, running, weather):
        weather.failing_before += [AWAY, AWAY, None, AWAY]
        assert grow(running) == 1
        assert running.roster.entry(HOME, "u1").version == 1
        assert timedelta(0) < weather.now - NOW < timedelta(seconds=2)

    def test_a_service_that_stays_away_is_transient_after_the_clients_time(self, running, weather):
        weather.failing_before += [AWAY] * 1000
        with pytest.raises(Transient):
            grow(running)
        assert timedelta(seconds=17) < weather.now - NOW <= timedelta(seconds=20)

    @pytest.mark.parametrize("error", [LATE, exceptions.ResourceExhausted("full")])
    def test_what_the_client_does_not_repeat_is_transient_at_once(self, running, weather, error):
        weather.failing_before += [None, error]
        with pytest.raises(Transient):
            grow(running)
        assert weather.now == NOW
        assert running.roster.entry(HOME, "u1") is None

    def test_a_write_that_others_are_in_the_way_of_is_made_again(self, running, weather):
        weather.failing_before += [None, IN_THE_WAY, None, IN_THE_WAY]
        assert grow(running) == 1
        assert running.roster.entry(HOME, "u1").version == 1

    def test_a_race_that_is_always_lost_ends_after_pauses_that_nobody_slept(self, running, weather):
        weather.failing_before += [None, IN_THE_WAY] * ATTEMPTS
        with pytest.raises(Contention):
            grow(running)
        assert timedelta(seconds=1) < weather.now - NOW < timedelta(seconds=0.4 * ATTEMPTS)

    def test_the_same_chance_makes_the_same_pauses_and_stamps(self):
        def end() -> tuple[datetime, str]:
            weather = Weather()
            stores = Stores(Service(weather.clock), weather)
            weather.failing_before += [None, IN_THE_WAY] * 5
            stores.leases.take("l", "a", NOW, timedelta(hours=1))
            return weather.now, stores.client.document("leases/l").get().get("stamp")

        assert end() == end()


class TestAnswersThatAreLost:
    @pytest.mark.parametrize("error", [AWAY, IN_THE_WAY])
    def test_a_commit_that_took_effect_is_made_once_and_its_result_stands(self, running, weather, error):
        weather.failing_after += [None, error]
        assert grow(running) == 1
        assert running.roster.entry(HOME, "u1").version == 1
        assert running.runs.get("c1", "r1").counts == {"created": 1}

    def test_one_that_is_not_repeated_took_effect_all_the_same(self, running, weather):
        weather.failing_after += [None, LATE]
        with pytest.raises(Transient):
            grow(running)
        assert running.roster.entry(HOME, "u1").version == 1
        assert running.ids("events") == {"e1"}

    def test_a_connection_is_created_once(self, stores, weather):
        weather.failing_after += [AWAY]
        stores.connections.create(HOME)
        assert stores.connections.get("c1") == HOME


class TestWhatIsToldOfACall:
    def test_every_call_passes_the_network_with_what_it_reads_or_writes(self, running, weather):
        weather.calls.clear()
        grow(running)
        stores = running
        stores.runs.open("c1")
        stores.client.collection("connections").count().get()
        home = "connections/c1"
        assert weather.calls[0] == f"get {home}/roster/0000"
        assert weather.calls[1].startswith(
            f"commit create {home}/roster/0000, set {home}/events/e1, merge {home}/usage"
        )
        assert weather.calls[1].endswith(f", update {home}/runs/r1")
        assert weather.calls[2:] == [f"query {home}/runs state in ['observing', 'planned']", "count connections"]


class Tasks(Network):
    """A network on which whoever calls waits until it is their turn, decided by chance."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._now = NOW

    def clock(self) -> datetime:
        return self._now

    def before(self, call: Call) -> None:
        greenlet.getcurrent().parent.switch()

    after = before

    def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)

    def run(self, works: Iterable[Callable[[], Any]]) -> None:
        waiting = [greenlet.greenlet(work) for work in works]
        while waiting:
            self._chance.choice(waiting).switch()
            waiting = [task for task in waiting if not task.dead]


@pytest.mark.parametrize("seed", range(20))
def test_tasks_that_switch_at_every_call_lose_nothing(seed):
    calm = Network()
    network = Tasks(random.Random(seed))
    service = Service(network.clock)
    Stores(service, calm).runs.put(
        Run(id="r1", connection_id="c1", kind=RunKind.FULL, fence=1, started=NOW, state=RunState.PLANNED)
    )
    stores = Stores(service, network)
    network.run([lambda number=number: grow(stores, f"e{number}") for number in range(5)])
    seen = Stores(service, calm)
    assert seen.roster.entry(HOME, "u1").version == 5
    assert seen.runs.get("c1", "r1").counts == {"created": 5}
    assert seen.ids("events") == {f"e{number}" for number in range(5)}


class TestLimits:
    def test_what_is_in_too_many_indexes_is_refused_unless_the_deployment_exempts_it(self, stores):
        many = {f"n{number}": 1 for number in range(20_001)}
        with pytest.raises(exceptions.InvalidArgument, match="index entries"):
            stores.client.document("connections/c1/runs/r1").set({"planned_by_name": many})
        stores.client.document("connections/c1/runs/r1").set({"planned": many})

    def test_a_commit_has_ten_mebibytes(self, stores):
        batch = stores.client.batch()
        for number in range(11):
            batch.set(stores.client.document(f"things/t{number}"), {"a": b"x" * 1_000_000})
        with pytest.raises(exceptions.InvalidArgument, match="payload size"):
            batch.commit()
        assert list(stores.client.collection("things").stream()) == []


@pytest.mark.parametrize("kept", [False, True], ids=["before", "after"])
def test_a_purge_that_is_cut_short_at_any_call_is_ended_by_the_next(kept):
    """Until its last write the connection is there, being deleted: who finishes deletions finds it."""

    def filled() -> tuple[Weather, Stores]:
        weather = Weather()
        stores = Stores(Service(weather.clock), weather)
        settings = Settings(name="Keeper", endpoint="https://keepersecurity.eu/api/rest/scim/v2/1")
        stores.connections.create(replace(HOME, state=State.DELETING, settings=settings))
        home = stores.client.collection("connections").document("c1")
        for collection in FORGOTTEN:
            home.collection(collection).document("d").set({"schema": 1})
            for parts in filter(None, [PARTS.get(collection)]):
                home.collection(collection).document("d").collection(parts).document("0").set({"schema": 1})
        home.collection("events").document("e").set({"schema": 1})
        weather.calls.clear()
        return weather, stores

    def left(stores: Stores) -> set[str]:
        owned = [*FORGOTTEN, *(f"{owner}/d/{name}" for owner, name in PARTS.items())]
        return {each for each in owned if stores.ids(each)}

    weather, stores = filled()
    stores.connections.purge("c1")
    for number in range(len(weather.calls)):
        weather, stores = filled()
        failing = weather.failing_after if kept else weather.failing_before
        failing.extend([*[None] * number, Killed()])
        with pytest.raises(Killed):
            stores.connections.purge("c1")
        states = [each.state for each in stores.connections.all()]
        assert states == [State.DELETING] or (kept and not left(stores))
        stores.connections.purge("c1")
        assert [(gone.id, gone.name) for gone in stores.connections.deleted()] == [("c1", "Keeper")]
        assert (left(stores), stores.ids("events")) == (set(), {"e"})
