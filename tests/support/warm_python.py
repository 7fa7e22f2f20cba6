"""A Python that has imported Google's and other libraries, and forks itself for each command that is run with it.

Most of what a command takes is the import of libraries, which is the same each time. Our own modules are imported by
the command itself, with its environment.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.local.processes import Child, python, tethered

FORKS = """
import ctypes, gc, json, os, runpy, signal, sys
import aiohttp, click, cloudevents.http, flask, google.auth.transport.requests, google.cloud.firestore
import google.cloud.logging_v2.handlers, google.cloud.pubsub_v1, google.cloud.secretmanager_v1, google.oauth2.id_token
import google.oauth2.service_account, gunicorn.app.base, gunicorn.workers.gthread, httptools, jinja2, msgspec
import requests, uvicorn, uvloop
gc.freeze()
for line in iter(sys.stdin.readline, ""):
    told = json.loads(line)
    if "end" in told:
        ended, status = os.waitpid(told["end"], os.WNOHANG)
        answer = os.waitstatus_to_exitcode(status) if ended else None
    else:
        answer = os.fork()
        if not answer:
            break
    print(json.dumps(answer), flush=True)
else:
    sys.exit()
os.setsid()
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, as infra/local/tether.py does
os.environ.clear()
os.environ.update(told["environment"])
for number, path in enumerate((os.devnull, told["out"], told["err"])):
    os.dup2(os.open(path, os.O_RDWR | os.O_APPEND), number)
os.chdir(told["folder"])
sys.path[:1] = [os.getcwd(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
sys.argv[1:] = told["arguments"]
runpy.run_module(told["module"], run_name="__main__", alter_sys=True)
"""


class WarmPython:
    """Runs `python -m MODULE ARGUMENTS...`. A context manager, which ends it and what it has started."""

    def __init__(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._process = subprocess.Popen(
            python("-u", "-c", FORKS),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for who uses it
        )
        self._turn = threading.Lock()

    def __enter__(self) -> WarmPython:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def begin(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path | None, output: Path) -> Child:
        """Start a command as a supervisor does: without any import if it is Python's, of a module."""
        if list(argv[:2]) != [sys.executable, "-m"]:
            return tethered(argv, env, cwd, output)
        return self._forked(argv[2], argv[3:], env, cwd or Path.cwd(), output, output)

    def run(
        self, module: str, *arguments: str, environment: Mapping[str, str], folder: Path
    ) -> subprocess.CompletedProcess[str]:
        """Run a module to its end, in an environment that has nothing but what is given."""
        with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
            status = self._forked(module, arguments, environment, folder, Path(out.name), Path(err.name)).wait()
            return subprocess.CompletedProcess(["python", "-m", module, *arguments], status, out.read(), err.read())

    def _forked(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, out: Path, err: Path
    ) -> Forked:
        told = {"module": module, "arguments": arguments, "environment": dict(environment), "folder": str(folder)}
        return Forked(self, self.ask({**told, "out": str(out), "err": str(err)}))

    def ask(self, told: dict[str, Any]) -> Any:
        """Tell the process something and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._turn:
            self._process.stdin.write(json.dumps(told) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())


class Forked:
    """One command, with what a supervisor needs of subprocess.Popen. Who has forked it knows how it ended."""

    def __init__(self, parent: WarmPython, pid: int) -> None:
        self.pid = pid
        self._parent = parent
        self._status: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        if self._status is None:
            self._status = self._parent.ask({"end": self.pid})
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code."""
        if self.poll() is None:
            end = os.pidfd_open(self.pid)
            try:
                if not select.select([end], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            finally:
                os.close(end)
        status = self.poll()
        assert status is not None
        return status
