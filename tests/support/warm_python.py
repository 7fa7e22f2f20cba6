"""A Python that has imported Google's and other libraries, and forks itself for each command that is run with it.

Most of what a command takes is the import of libraries, which is the same each time. Our own modules are imported by
the command itself, with its environment.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from infra.local.processes import python

FORKS = """
import gc, json, os, runpy, sys
import aiohttp, google.cloud.firestore, google.cloud.logging_v2.handlers, google.cloud.pubsub_v1
import google.cloud.secretmanager_v1, requests
gc.freeze()
for line in iter(sys.stdin.readline, ""):
    told = json.loads(line)
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
os.environ.clear()
os.environ.update(told["environment"])
for number, path in enumerate((os.devnull, told["out"], told["err"])):
    os.dup2(os.open(path, os.O_RDWR), number)
sys.argv[1:] = told["arguments"]
runpy.run_module(told["module"], run_name="__main__", alter_sys=True)
"""


class WarmPython:
    """Runs `python -m MODULE ARGUMENTS...`, one after the other. A context manager, which ends it."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            python("-c", FORKS), cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> WarmPython:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, module: str, *arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a module to its end, in an environment that has nothing but what is given."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
            told = {"module": module, "arguments": arguments, "environment": dict(environment)}
            self._process.stdin.write(json.dumps({**told, "out": out.name, "err": err.name}) + "\n")
            self._process.stdin.flush()
            status = int(self._process.stdout.readline())
            return subprocess.CompletedProcess(["python", "-m", module, *arguments], status, out.read(), err.read())
