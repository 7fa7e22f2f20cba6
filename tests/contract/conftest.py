"""The simulators, started once a session and as new for each test, what reads them, and the state ports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from autoprovisioning.adapters.directory import GoogleDirectory
from autoprovisioning.adapters.scim import ScimAccounts
from infra.local.simulation import DirectorySide, KeeperSide
from tests.contract import directory_servers, scim_servers
from tests.contract.directory_reader import reading
from tests.contract.keeper_endpoint import Endpoint
from tests.contract.listener import Listener, listening
from tests.contract.scim_servers import Counts
from tests.contract.state_stores import IN_FIRESTORE, Fakes, Firestore, InMemory
from tests.contract.state_stores import State as Stores


@pytest.fixture(scope="session")
def directory_simulator(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[DirectorySide, dict[str, Any], bytes]]:
    with directory_servers.simulator(tmp_path_factory.mktemp("directory")) as started:
        yield started


@pytest.fixture
def workspace(directory_simulator: tuple[DirectorySide, dict[str, Any], bytes]) -> DirectorySide:
    """The Workspace customer of the Directory simulator."""
    side, _, text = directory_simulator
    return directory_servers.as_new(side, text)


@pytest.fixture
def customer(directory_simulator: tuple[DirectorySide, dict[str, Any], bytes]) -> dict[str, Any]:
    """What the simulated customer has at the beginning of a test."""
    return directory_simulator[1]


@pytest.fixture
def api(workspace: DirectorySide) -> Any:
    """Google's own client for the Directory simulator."""
    return directory_servers.google_client(workspace.url)


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def directory(workspace: DirectorySide, counts: Counts) -> GoogleDirectory:
    """The adapter, reading the simulated customer."""
    return reading(workspace.url, counts)


@pytest.fixture(scope="session")
def keeper_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeeperSide]:
    with scim_servers.keeper(tmp_path_factory.mktemp("keeper")) as side:
        yield side


@pytest.fixture
def keeper(keeper_simulator: KeeperSide) -> Iterator[KeeperSide]:
    """The Keeper node of the simulator; what a fault holds is released after the test."""
    yield scim_servers.as_new(keeper_simulator)
    keeper_simulator.control("DELETE", "faults")


@pytest.fixture
def accounts(keeper: KeeperSide) -> ScimAccounts:
    """The adapter, at work on the Keeper node."""
    return scim_servers.client(keeper.endpoint, keeper.token)


@pytest.fixture(scope="session")
def keeper_http(keeper_simulator: KeeperSide) -> Iterator[httpx2.Client]:
    token = {"Authorization": f"Bearer {keeper_simulator.token}"}
    with httpx2.Client(headers=token, trust_env=False) as http:
        yield http


@pytest.fixture
def node(keeper: KeeperSide, keeper_http: httpx2.Client) -> Endpoint:
    """The Keeper node over plain HTTP."""
    return Endpoint(keeper, keeper_http)


@pytest.fixture
def listener() -> Iterator[Listener]:
    """An endpoint that records what arrives and answers whatever a test wants; nothing of an earlier test arrives."""
    with listening() as started:
        yield started


@pytest.fixture
def emulated(backing: Any, project_id: str) -> Iterator[Firestore]:
    """The state ports over the emulator."""
    stores = Firestore(f"127.0.0.1:{backing.ports['firestore']}", project_id)
    yield stores
    stores.close()


@pytest.fixture
def in_memory() -> InMemory:
    """The state ports over the client of simulations."""
    return InMemory()


@pytest.fixture(params=IN_FIRESTORE)
def firestore(request: pytest.FixtureRequest) -> Firestore:
    """The state ports over the emulator, then over the client of simulations, which is to behave alike."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["fakes", *IN_FIRESTORE])
def state(request: pytest.FixtureRequest) -> Stores:
    """The state ports, first as fakes, then over Firestore: the same promises."""
    return Fakes() if request.param == "fakes" else request.getfixturevalue(request.param)
