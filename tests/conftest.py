"""Shared fixtures: the emulators and the whole local cloud, started once a session, at first use."""

from __future__ import annotations

import gc
import os
import uuid
from collections.abc import Collection, Generator, Iterator
from pathlib import Path

import pytest

from infra.local import cloud as local_cloud
from infra.local.cloud import LocalCloud
from infra.local.emulators import EmulatorMissing, java, sdk_root
from infra.local.processes import Supervisor
from infra.local.simulation import wait_for
from tests.support.system import System

HERE = Path(__file__).parent
# Jobs take files in this order: the longest first, so that no job is left alone with one at the end.
LONGEST = (
    "simulation/test_simulation.py",
    "functional/test_commands.py",
    "fuzz/test_engine.py",
    "browser/test_pages.py",
    "gcp/test_walk.py",
    "gcp/test_lost_answers.py",
    "unit/runs/test_properties.py",
)
# Then those that mostly wait, for processes and time limits, among those that compute: neither keeps both cores busy
# alone.
WAITING = ("simulation", "browser", "faults", "functional")
COMPUTING = ("gcp", "fuzz", "contract", "unit")
DEMANDED = bool(os.environ.get("CI") or os.environ.get("REQUIRE_EMULATORS"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among what stays: modules and thousands of tests, in each job."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = _places(dict.fromkeys(item.path.relative_to(HERE) for item in items))
    items.sort(key=lambda item: places[item.path.relative_to(HERE)])


def _places(files: Collection[Path]) -> dict[Path, float]:
    """Return where each file stands in the order: those that wait and those that compute are spread evenly."""
    first = {Path(name): place for place, name in enumerate(LONGEST)}
    found = {file: float(first[file] - len(first)) for file in files if file in first}
    for levels in (WAITING, COMPUTING):
        some = [file for level in levels for file in files if file.parts[0] == level and file not in first]
        found |= {file: (place + 0.5) / len(some) for place, file in enumerate(some)}
    return found


def _need_emulators() -> None:
    try:
        java()
        sdk_root(os.environ.get("GOOGLE_CLOUD_SDK_ROOT", ""))
    except EmulatorMissing as missing:
        if DEMANDED:
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the tests' clouds apart from one that `make local` or `make run` has up in this clone."""
    local_cloud.STATE = tmp_path_factory.mktemp("state")
    local_cloud.ADDRESSES = local_cloud.STATE / "cloud.json"


@pytest.fixture(scope="session")
def backing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """The Firestore, Pub/Sub and Secret Manager emulators."""
    _need_emulators()
    with Supervisor(tmp_path_factory.mktemp("backing")) as supervisor:
        cloud = LocalCloud(supervisor=supervisor)
        cloud.start_backing()
        yield cloud


@pytest.fixture
def project_id() -> str:
    """A project of its own for each test: emulators keep projects apart, so nothing needs resetting."""
    return f"demo-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def whole_system(backing: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> System:
    """The whole local cloud with its simulators, with time limits of seconds, in a project of its own."""
    return System.started(tmp_path_factory.mktemp("system"), backing)


@pytest.fixture
def system(whole_system: System) -> Iterator[System]:
    """The local cloud as new: empty roster, empty Keeper, no faults."""
    whole_system.reset()
    yield whole_system
    whole_system.calm()


@pytest.fixture
def settled(whole_system: System) -> Iterator[System]:
    """A provisioned cloud, shared by tests that change nothing; each one is held to that."""
    if whole_system.settled is None:
        whole_system.reset()
        whole_system.provisioned()
        wait_for(lambda: whole_system.look("u1") == 204, "quiet")
        whole_system.settled = whole_system.snapshot()
    before = whole_system.settled
    yield whole_system
    whole_system.calm()
    whole_system.settled = None
    assert whole_system.snapshot() == before
    whole_system.settled = before
