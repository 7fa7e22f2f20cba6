"""No process is left behind, however the supervisor ends: Ctrl-C, SIGTERM, a failure, or SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from infra.local.cloud import ROOT
from infra.local.processes import ProcessFailed, Supervisor, port_is_free, python
from infra.local.simulation import wait_for
from tests.functional.test_commands import BESIDE
from tests.support.wire import ask

# A supervisor of a process that starts another one, which ignores SIGTERM, as a function with a worker does.
SMALL = """
import os, sys, time
from pathlib import Path
from infra.local.processes import Supervisor
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
parent = ("import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', sys.argv[1]]);"
          "print('READY here', flush=True); child.wait()")
with Supervisor(Path(sys.argv[1])) as supervisor:
    for name in ("first", "second"):
        supervisor.start(name, [sys.executable, "-c", parent, stubborn])
    supervisor.wait_ready()
    print("READY", flush=True)
    supervisor.watch()
"""


def sessions(pids: set[int]) -> set[int]:
    """Return every process, zombies apart, that belongs to one of these sessions."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended
            if fields[0] != "Z" and int(fields[3]) in pids:
                found.add(int(folder.name))
    return found


def children(pid: int) -> set[int]:
    """Return the processes a process has started."""
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


class Started:
    """A supervisor in a process of its own, and the sessions of what it has started."""

    def __init__(self, argv: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.output = folder / "out"
        with self.output.open("w") as out:
            self.process = subprocess.Popen(
                argv, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )

    def ready(self, seconds: float = 60) -> set[int]:
        wait_for(lambda: "READY\n" in self.output.read_text() or self.process.poll() is not None, "READY", seconds)
        assert self.process.poll() is None, self.output.read_text()
        return children(self.process.pid)

    def leaves_nothing(self, begun: set[int], seconds: float = 20) -> None:
        wait_for(lambda: not sessions(begun), "the end of every process", seconds, every=0.1)

    def clean_up(self, begun: set[int]) -> None:
        for pid in {self.process.pid, *sessions(begun)}:
            with_no_fuss(pid)
        self.process.wait()


def with_no_fuss(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def environment(folder: Path) -> dict[str, str]:
    state = str(folder / "state")
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": "functions", "LOCAL_STATE": state}


@pytest.fixture
def small(tmp_path):
    started = Started(python("-c", SMALL, str(tmp_path / "logs")), tmp_path, environment(tmp_path))
    begun = started.ready()
    assert len(begun) == 2
    assert len(sessions(begun)) == 4
    yield started, begun
    started.clean_up(begun)


@pytest.fixture
def whole(tmp_path):
    """`make local`, on other ports than the documented ones."""
    started = Started(python("-c", BESIDE, "infra.local.start"), tmp_path, environment(tmp_path))
    begun: set[int] = set()
    yield started, begun
    started.clean_up(begun)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything_stubborn_grandchildren_included(small, number):
    started, begun = small
    started.process.send_signal(number)
    started.leaves_nothing(begun)
    assert started.process.wait(5) is not None


def test_a_signal_repeated_in_impatience_ends_everything_all_the_same(small):
    started, begun = small
    while started.process.poll() is None:
        started.process.send_signal(signal.SIGINT)
        started.process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    assert sessions(begun) == set()


def test_a_child_that_dies_ends_everything_and_is_named(small):
    started, begun = small
    victim = min(begun)
    os.kill(victim, signal.SIGKILL)
    started.leaves_nothing(begun)
    assert started.process.wait(5) == 1
    assert "ProcessFailed: first ended with code -9" in started.output.read_text()


def test_a_killed_supervisor_takes_its_children_along(small):
    started, begun = small
    started.process.kill()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in begun), "the end of the children")


BAD_CHILDREN = {
    "one that fails": (python("-c", "import sys; print('the reason'); sys.exit(3)"), "broken ended with code 3"),
    "one that does not exist": (["no-such-command"], "no-such-command: No such file"),
    "one that is never ready": (
        python("-c", "print('thinking', flush=True); import time; time.sleep(600)"),
        "thinking",
    ),
}


@pytest.mark.parametrize("what", BAD_CHILDREN)
def test_a_child_that_does_not_start_is_explained_and_ends_the_others(tmp_path, what):
    argv, reason = BAD_CHILDREN[what]
    patient = "print('READY x', flush=True); import time; time.sleep(600)"
    begun: set[int] = set()

    def start() -> None:
        with Supervisor(tmp_path) as supervisor:
            begun.add(supervisor.start("good", python("-c", patient)).wait_ready().pid)
            begun.add(supervisor.start("broken", argv).pid)
            supervisor.wait_ready(1)

    with pytest.raises(ProcessFailed, match=reason):
        start()
    assert sessions(begun) == set()


@pytest.mark.parametrize("ending", ["SIGTERM while starting", "SIGKILL", "a function dies"])
def test_the_whole_local_cloud_leaves_nothing(whole, ending):
    started, begun = whole
    if ending == "SIGTERM while starting":
        wait_for(lambda: len(children(started.process.pid)) >= 2, "the emulators")
        begun |= children(started.process.pid)
        started.process.terminate()
    else:
        begun |= started.ready()
        assert len(begun) == 11, "three emulators and eight functions"
        if ending == "SIGKILL":
            started.process.kill()
        else:
            os.killpg(max(begun), signal.SIGKILL)
    status = started.process.wait(20)
    assert status == {"SIGKILL": -9, "a function dies": 1}.get(ending, 0), started.output.read_text()
    begun |= sessions({started.process.pid})
    started.leaves_nothing(begun)
    addresses = started.output.parent / "state" / "cloud.json"
    assert addresses.exists() is (ending == "SIGKILL")


def test_a_port_that_is_taken_is_seen():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as holder:
        assert not port_is_free(holder.getsockname()[1])


@pytest.mark.parametrize(("name", "value"), [("WORKERS", "0"), ("DEBUG", "yes")])
def test_a_function_takes_nothing_from_the_shell_that_started_it(system, monkeypatch, name, value):
    # Make passes on variables of its command line, and functions-framework takes WORKERS=0 literally.
    monkeypatch.setenv(name, value)
    answer = ask("GET", f"http://127.0.0.1:{system.second('directory_webhook')}/robots.txt")
    assert (answer.status, answer.headers["Server"]) == (404, "gunicorn")
