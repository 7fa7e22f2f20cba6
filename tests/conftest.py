"""Shared fixtures: the emulators and the whole local cloud, started once a session, at first use."""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from collections.abc import Collection, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from infra.local import cloud as local_cloud
from infra.local.cloud import PROJECT, LocalCloud
from infra.local.emulators import EmulatorMissing, java, sdk_root
from infra.local.processes import Supervisor, answers
from infra.local.simulation import wait_for
from tests.support.file_by_file import staying
from tests.support.system import System
from tests.support.warm_python import WarmPython

HERE = Path(__file__).parent
# How long an example takes says something of a busy machine, and nothing of the code.
settings.register_profile("busy", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
# Jobs take files in this order: the longest first, so that no job is left alone with one at the end.
LONGEST = (
    "simulation/test_simulation.py",
    "browser/test_pages.py",
    "functional/test_api_schema.py",
    "functional/test_commands.py",
    "fuzz/test_engine.py",
    "faults/test_truth.py",
    "browser/test_setup.py",
    "faults/test_directory_faults.py",
    "functional/test_workspace_events.py",
    "functional/test_pages.py",
    "faults/test_races.py",
    "faults/test_keeper_faults.py",
    "faults/test_one_user.py",
    "contract/test_state_faults.py",
    "functional/test_supervisor.py",
    "functional/test_reauthorize.py",
    "functional/test_foreign_server.py",
    "functional/test_connections.py",
    "functional/test_teams.py",
    "gcp/test_same_set.py",
    "gcp/test_lost_answers.py",
    "unit/runs/test_properties.py",
)
# Then those that mostly wait, for processes and time limits, among those that compute: neither keeps both cores busy
# alone.
WAITING = ("simulation", "browser", "faults", "functional")
COMPUTING = ("gcp", "fuzz", "contract", "unit")
DEMANDED = bool(os.environ.get("CI") or os.environ.get("REQUIRE_EMULATORS"))
SHARED = pytest.StashKey[dict[str, Any]]()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    with staying():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    files = {path: path.relative_to(HERE) for path in dict.fromkeys(item.path for item in items)}
    places = _places(files.values())
    items.sort(key=lambda item: places[files[item.path]])


def _places(files: Collection[Path]) -> dict[Path, float]:
    """Return where each file stands in the order: those that wait and those that compute are spread evenly."""
    first = {Path(name): place for place, name in enumerate(LONGEST)}
    found = {file: float(first[file] - len(first)) for file in files if file in first}
    for levels in (WAITING, COMPUTING):
        some = [file for level in levels for file in files if file.parts[0] == level and file not in first]
        found |= {file: (place + 0.5) / len(some) for place, file in enumerate(some)}
    return found


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Start Google's emulators once for all jobs, which each have a project there, and tell a job where they are."""
    if SHARED not in node.config.stash:
        node.config.stash[SHARED] = _shared(node.config)
    shared = node.config.stash[SHARED]
    node.workerinput["emulators"] = shared and {**shared, "project": f"{PROJECT}-{node.gateway.id}"}


def _shared(config: pytest.Config) -> dict[str, Any]:
    """Start the emulators for as long as the session lasts; nothing where that is not possible: jobs tell why."""
    with contextlib.ExitStack() as lasting, contextlib.suppress(EmulatorMissing):
        folder = Path(lasting.enter_context(tempfile.TemporaryDirectory()))
        cloud = LocalCloud(supervisor=lasting.enter_context(Supervisor(folder)))
        cloud.start_emulators()
        config.add_cleanup(lasting.pop_all().close)
        return {"ports": cloud.ports, "logs": str(folder)}
    return {}


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
def emulators(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Ports and the folder of logs of the emulators that this job shares with others; nothing where it is alone."""
    shared: dict[str, Any] = getattr(request.config, "workerinput", {}).get("emulators", {})
    return shared


@pytest.fixture(scope="session")
def warm_python() -> Iterator[WarmPython]:
    """A Python that starts functions, simulators and commands without importing their libraries anew."""
    with WarmPython() as started:
        yield started


@pytest.fixture(scope="session")
def backing(
    emulators: dict[str, Any], warm_python: WarmPython, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalCloud]:
    """The Firestore, Pub/Sub and Secret Manager emulators."""
    _need_emulators()
    with Supervisor(tmp_path_factory.mktemp("backing"), warm_python.begin) as supervisor:
        if not emulators:
            cloud = LocalCloud(supervisor=supervisor)
            cloud.start_backing()
        else:
            cloud = LocalCloud(supervisor=supervisor, project=emulators["project"], ports=dict(emulators["ports"]))
            for name, port in emulators["ports"].items():
                wait_for(lambda port=port: answers(f"http://127.0.0.1:{port}/"), name, 60)
            cloud.start_secrets()
            supervisor.wait_ready()
        yield cloud


@pytest.fixture
def project_id() -> str:
    """A project of its own for each test: emulators keep projects apart, so nothing needs resetting."""
    return f"demo-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def whole_system(backing: LocalCloud, emulators: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> System:
    """The whole local cloud with its simulators, with time limits of seconds, in a project of its own."""
    logs = {child.log.parent for child in backing.supervisor.children()}
    if emulators:
        logs.add(Path(emulators["logs"]))
    return System.started(tmp_path_factory.mktemp("system"), backing, logs)


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
        whole_system.settled = whole_system.written()
    before = whole_system.settled
    yield whole_system
    whole_system.calm()
    whole_system.settled = None
    assert whole_system.written() == before
    whole_system.settled = before
