"""Runs gcloud: what it answers, what it does not find, and what is worth another try."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from infra.gcp.commands import ROOT
from infra.gcp.steps import Command, shown

MISSING = ("NOT_FOUND", "not found", "could not be found", "cannot find", "Cannot find", "does not exist")
# What a fresh project says for a minute or two: identities and enabled APIs are known everywhere only after a while.
PASSING = (
    "UNAVAILABLE",
    "RESOURCE_EXHAUSTED",
    "ABORTED",
    "DEADLINE_EXCEEDED",
    "concurrent",
    "try again",
    "retry",
    "has not been used in project",
    "does not exist",
    "is not ready",
    "in progress",
)
SIGN_IN = "gcloud auth login"  # in all that gcloud says where it has no account, or one that must sign in again
PAUSES = (5.0, 10.0, 20.0, 40.0, 60.0)  # seconds
TIMEOUT = 3600.0  # seconds; no build of a function takes as long
NOT_INSTALLED, OUT_OF_TIME = 127, 124  # as a shell and timeout(1) tell them


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a process said and how it ended."""

    status: int
    out: str
    err: str


class Unready(Exception):
    """gcloud cannot be used at all, for any command; the text is one sentence with what mends it."""


class NotInstalled(Unready):
    """There is no gcloud."""

    def __init__(self) -> None:
        super().__init__('gcloud is not installed: install the Google Cloud SDK (docs/install.md, "What you need").')


class NotSignedIn(Unready):
    """gcloud has no account to act as."""

    def __init__(self) -> None:
        super().__init__('Nobody is signed in to gcloud: run "gcloud auth login" (docs/install.md, step 1).')


class GcloudFailed(Exception):
    """A command failed for good; the text has the command, and what gcloud said."""

    def __init__(self, command: Command, answer: Answer) -> None:
        super().__init__(f"{shown(command)}\nfailed: {answer.err.strip() or answer.out.strip() or answer.status}")
        self.answer = answer


Runner = Callable[[Command, str], Answer]


def run_gcloud(command: Command, stdin: str) -> Answer:
    """Run the gcloud on PATH, in the root of the repository, without questions."""
    environment = {**os.environ, "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    try:
        done = subprocess.run(
            command,
            input=stdin,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except (FileNotFoundError, PermissionError):
        return Answer(status=NOT_INSTALLED, out="", err="")
    except subprocess.TimeoutExpired:
        return Answer(status=OUT_OF_TIME, out="", err=f"gcloud did not end within {TIMEOUT:g} seconds and was stopped.")
    return Answer(status=done.returncode, out=done.stdout, err=done.stderr)


class Gcloud:
    """Reads and acts through a runner. Looks are remembered until something is done to what they looked at."""

    def __init__(
        self,
        runner: Runner = run_gcloud,
        sleep: Callable[[float], None] = time.sleep,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._runner = runner
        self._sleep = sleep
        self._pauses = pauses
        self._looks: dict[Command, Any] = {}

    def look(self, command: Command) -> Any:
        """Return the answer's JSON, or None where there is no such thing.

        Raises:
            GcloudFailed: for any other reason.
            Unready: gcloud is not there, or not signed in.
        """
        if command not in self._looks:
            answer = self._patiently(command, "", lambda answer: not answer.status or _missing(answer))
            self._looks[command] = None if answer.status else json.loads(answer.out or "null")
        return self._looks[command]

    def forget(self, command: Command) -> None:
        """Forget a look, since what it looked at was changed."""
        self._looks.pop(command, None)

    def act(self, command: Command, stdin: str = "") -> str:
        """Run a command that changes something; what passes is tried again for about two minutes.

        Raises:
            GcloudFailed: it did not help.
            Unready: gcloud is not there, or not signed in.
        """
        return self._patiently(command, stdin, lambda answer: not answer.status).out

    def _patiently(self, command: Command, stdin: str, settled: Callable[[Answer], bool]) -> Answer:
        for pause in (*self._pauses, None):
            answer = self._runner(command, stdin)
            if answer.status == NOT_INSTALLED:
                raise NotInstalled
            if answer.status and SIGN_IN in answer.err:
                raise NotSignedIn
            if settled(answer):
                return answer
            if pause is None or not any(text in answer.err for text in PASSING):
                break
            self._sleep(pause)
        raise GcloudFailed(command, answer)


def _missing(answer: Answer) -> bool:
    return any(text in answer.err for text in MISSING)
