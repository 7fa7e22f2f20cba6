"""gcloud's own parser, offline: `gcloud meta lint-gcloud-commands`, one process for all batches of commands."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from infra.gcp.steps import Command, shown
from infra.gcp.target import Target

# What the commands are made for; number and channels are those that the stand-in gives.
TARGET = Target(
    project="keeper-prod",
    region="europe-west1",
    admin="admin@example.com",
    alerts="on-call@example.com",
    access="domain:example.com",
    number="123456789012",
    channels={"on-call@example.com": "projects/keeper-prod/notificationChannels/1"},
    source="5" * 16,
    image=f"sha256:{'1' * 64}",
    deployed="2026-11-25t12-00-00z",
    deployer="owner_at_example-com",
    before="none",
)

FAST = Path(__file__).with_name("lint_commands.py")
_known: dict[str, str] = {}  # commands that were parsed already -> what the parser said of them
_ALIKE = (
    (re.compile(r"\b(source|release|version|commit|deployed|deployer|before|since|holder|id|does)=[\w-]+"), r"\1=x"),
    (re.compile(r"--etag=\S+"), "--etag=x"),
    (re.compile(r"-\d{5}-abc"), "-00001-abc"),
    (re.compile(r"\.local/upload/[0-9a-f]{16}"), ".local/upload/x"),
    (re.compile(r"@sha256:[0-9a-f]{64}"), "@sha256:x"),
    (re.compile(r"/functions:[0-9a-f]{16}"), "/functions:x"),
    (re.compile(r"/(alert|dashboard)s/\d+"), r"/\1s/1"),
)


def complaints(commands: Iterable[Command]) -> dict[str, str]:
    """Return what the parser says against each command that it does not take, whatever digest or id it has."""
    texts = list(dict.fromkeys(map(_alike, commands)))
    if not _known.keys() >= set(texts):
        with _shared() as known:
            fresh = [text for text in texts if text not in known]
            known.update(_parsed(fresh) if fresh else {})
            _known.update(known)
    return {text: _known[text] for text in texts if _known[text]}


@contextmanager
def _shared() -> Iterator[dict[str, str]]:
    """Take turns with the other workers of this test run, which need the same commands parsed."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")
    if not run:
        yield _known
        return
    with (Path(tempfile.gettempdir()) / f"gcloud-parsed-{run}.json").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        known = json.loads(file.read() or "{}")
        yield known
        file.truncate(0)
        json.dump(known, file)


@cache
def _alike(command: Command) -> str:
    """Return a command as it is typed, with the same digest and id whatever it has."""
    text = shown(command)
    for pattern, same in _ALIKE:
        text = pattern.sub(same, text)
    return text


def _parsed(texts: list[str]) -> dict[str, str]:
    results = _gcloud().results([{"command_string": text} for text in texts])
    assert len(results) == len(texts), "the parser gives one result for each command"
    for text, result in zip(texts, results, strict=True):
        assert result["success"] == (result["error_message"] is None), text
    return {text: result["error_message"] or "" for text, result in zip(texts, results, strict=True)}


class _Gcloud:
    """gcloud as it parses one batch after the other: to start it takes as long as a hundred commands.

    It ends with its standard input, so with this process.
    """

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory()
        self._said = Path(self._home.name) / "stderr"
        with self._said.open("w") as said:
            self._process = subprocess.Popen(
                ["gcloud"],
                env={**os.environ, **quiet(self._home.name), "CLOUDSDK_PYTHON_ARGS": f"-S {FAST.name}"},
                cwd=FAST.parent,  # arguments are separated by spaces, and a path may have some
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )

    def results(self, commands: list[dict[str, str]]) -> list[dict[str, Any]]:
        """Return what the parser says of each command."""
        batch = Path(self._home.name) / "commands.json"
        batch.write_text(json.dumps(commands))
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(batch, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, self._said.read_text()
        results: list[dict[str, Any]] = json.loads(answer)
        return results


@cache
def _gcloud() -> _Gcloud:
    return _Gcloud()


def quiet(home: str) -> dict[str, str]:
    """Return an environment in which gcloud asks nothing, reports nothing and keeps its files in a folder."""
    return {
        "HOME": home,
        "CLOUDSDK_CONFIG": f"{home}/gcloud",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
    }
