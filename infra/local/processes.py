"""Child processes: started in a group of their own, awaited until ready, and never left behind.

A child is killed by the kernel when its parent dies (`tether.py`), so even a killed supervisor leaves nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

TETHER = Path(__file__).with_name("tether.py")
TAIL = 30  # lines of a log shown when its process failed
READY_LINE = re.compile(r"^READY (\S+)$", re.MULTILINE)


class ProcessFailed(Exception):
    """A child did not start, or died; the text holds the end of its log."""


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_free(port: int) -> bool:
    """Say whether nothing listens on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Child(Protocol):
    """What was started, as subprocess.Popen has it: the first of a session, and of a group, of its own."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code; raises subprocess.TimeoutExpired."""


# Starts a command: in an environment that has nothing but what is given, with all that it prints in a file.
Begin = Callable[[Sequence[str], Mapping[str, str], Path | None, Path], Child]


def tethered(argv: Sequence[str], env: Mapping[str, str], cwd: Path | None, output: Path) -> Child:
    """Start a command that ends with this process."""
    with output.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), *argv],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )


@dataclass(kw_only=True)
class Process:
    """One child: what to run, and how to tell that it is ready ("line": it prints READY and its address)."""

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    ready: str = "line"  # "line", or an http:// address that must answer
    cwd: Path | None = None
    begin: Begin = tethered
    address: str = ""
    _child: Child | None = None

    def start(self) -> Process:
        """Start it; returns itself at once."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        self._child = self.begin(self.argv, {**os.environ, **self.env}, self.cwd, self.log)
        return self

    def wait_ready(self, seconds: float = 60) -> Process:
        """Wait until it is ready; raises ProcessFailed with the end of its log."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.exit_code() is not None:
                raise ProcessFailed(
                    f"{self.name} ended with code {self.exit_code()} before it was ready:\n{self.tail()}"
                )
            if self._is_ready():
                return self
            time.sleep(0.03)
        raise ProcessFailed(f"{self.name} was not ready within {seconds:.0f} s:\n{self.tail()}")

    def _is_ready(self) -> bool:
        if self.ready == "line":
            match = READY_LINE.search(self.log.read_text(errors="replace"))
            self.address = match[1] if match else ""
            return bool(match)
        self.address = self.ready
        return answers(self.ready)

    @property
    def pid(self) -> int:
        """Return the process id, which is its group's too."""
        if self._child is None:
            raise ProcessFailed(f"{self.name} was not started")
        return self._child.pid

    def exit_code(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._child.poll() if self._child is not None else None

    def tail(self) -> str:
        """Return the end of its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-TAIL:])

    def signal_group(self, number: int) -> None:
        """Send a signal to the whole group."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)

    def stop(self, grace: float = 5) -> None:
        """End it and everything it started: SIGTERM, and SIGKILL after the grace."""
        if self._child is None:
            return
        self.signal_group(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(grace)
        self.signal_group(signal.SIGKILL)
        self._child.wait()


def answers(url: str) -> bool:
    """Say whether a server answers there, whatever the status."""
    try:
        with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - a loopback address of ours
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def python(*arguments: str) -> list[str]:
    """Return the command that runs this interpreter with the arguments."""
    return [sys.executable, *arguments]


class Supervisor:
    """Starts children in order, watches them, and stops them in reverse, whatever happens.

    Use it as a context manager: SIGTERM and SIGHUP end the block like Ctrl-C does.
    """

    def __init__(self, logs: Path, begin: Begin = tethered) -> None:
        self._logs = logs
        self._begin = begin
        self._children: list[Process] = []
        self._handlers: dict[int, Any] = {}
        self._ending = False

    def __enter__(self) -> Supervisor:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._handlers[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        self.stop()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, _frame: object) -> None:
        """End the block, once: a second signal must not end the stopping and leave half of them running."""
        if not self._ending:
            self._ending = True
            raise KeyboardInterrupt(signal.Signals(number).name)

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        ready: str = "line",
        cwd: Path | None = None,
    ) -> Process:
        """Start a child without waiting for it."""
        log = self._logs / f"{name}.log"
        child = Process(name=name, argv=argv, log=log, env=env or {}, ready=ready, cwd=cwd, begin=self._begin)
        self._children.append(child)
        return child.start()

    def wait_ready(self, seconds: float = 60) -> None:
        """Wait until every child is ready."""
        for child in self._children:
            if not child.address:
                child.wait_ready(seconds)

    def check(self) -> None:
        """Raise ProcessFailed if a child has died."""
        for child in self._children:
            code = child.exit_code()
            if code is not None:
                raise ProcessFailed(f"{child.name} ended with code {code}:\n{child.tail()}")

    def watch(self, until: Callable[[], bool] = lambda: False) -> None:
        """Stay until `until` says so, Ctrl-C, or a child dies (ProcessFailed)."""
        while not until():
            self.check()
            time.sleep(0.3)

    def children(self) -> list[Process]:
        """Return the children, in the order they were started."""
        return list(self._children)

    def stop(self) -> None:
        """Stop everything: all are told at once, then awaited in reverse order."""
        for child in reversed(self._children):
            child.signal_group(signal.SIGTERM)
        for child in reversed(self._children):
            child.stop()
        self._children.clear()
