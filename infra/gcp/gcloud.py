"""Runs gcloud: what it answers, what it does not find, and which failures are worth a retry."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from infra.gcp.commands import ROOT
from infra.gcp.steps import Command, shown

UNUSED = "has not been used in project"  # of an API that is not enabled, or was a moment ago
MISSING = ("NOT_FOUND", "not found", "could not be found", "cannot find", "Cannot find", "does not exist")
# What a new project says for some minutes, since identities, grants, APIs and metrics are not known everywhere yet.
PASSING = (
    UNUSED,
    "storage.objects.get",  # "... does not have ... access", of the build's identity
    "must have permission to read the image",
    "does not have permission to write logs",
    "for Revision service account",  # "Permission denied on secret ..."
    "permissions are propagated",
    "Cannot find metric",
)
# Not retried, even if Google says to try again, or calls an error internal, or something never ready "not ready".
# Several words each: projects, accounts and commands may be called "billing", too.
FINAL = (
    *("billing account", "billing must", "billing is", "billing to be enabled", "enable billing", "billing_disabled"),
    *("constraint ", "constraints/", "build failed", "completed with status", "failed to start and listen"),
)
# Load, a broken connection, two changes at once; and things that are there, or not yet, contrary to the look.
AGAIN = re.compile(
    r"\b(UNAVAILABLE|RESOURCE_EXHAUSTED|ABORTED|DEADLINE_EXCEEDED|INTERNAL|ALREADY_EXISTS)\b"
    r"|OperationError: code=(4|8|10|13|14)\b|(HTTPError |status=\[|'status': ')(409|429|5\d\d)\b"
    r"|concurrent|contention|cannot be queued|in progress|is not ready|already exists|Quota exceeded for quota metric"
    r"|(?i:try again|please retry|and retry|retry th)"
    r"|[Cc]onnection (reset|aborted)|network connectivity|timed out"
)
TRIED = "528.0.0"  # the SDK whose parser the tests use
# What gcloud's parser says of a command that this release does not have, or has in another track.
UNKNOWN = ("Invalid choice", "unrecognized argument", "command group installed")
SIGN_IN = "gcloud auth login"  # in all that gcloud says where it has no account, or one that must sign in again
# Seconds. IAM's page says that a change takes two to seven minutes, or longer.
PAUSES = (5.0, 10.0, 20.0, 25.0, *9 * (60.0,))
TIMEOUT = 3600.0  # seconds; no build of a function takes as long
NOT_INSTALLED, OUT_OF_TIME = 127, 124  # as a shell and timeout(1) report them


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a process said and how it ended."""

    status: int
    out: str
    err: str


class Unready(Exception):
    """gcloud cannot be used at all, for any command; the text is one sentence that says how to fix it."""


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
        self.command = command
        self.answer = answer

    @property
    def mend(self) -> str:
        """How to fix it, if what gcloud said does not say so."""
        if not any(text in self.answer.err for text in UNKNOWN):
            return "Fix that and run the same command again: it goes on from there."
        return (
            f"This gcloud does not know that command; {TRIED} with alpha and beta does (gcloud version shows yours). "
            f"gcloud components install alpha beta, or gcloud components update --version={TRIED}, or that version of "
            "your package manager's; then run the same command again: it goes on from there."
        )

    @property
    def said(self) -> str:
        """What gcloud said, in one line."""
        return " ".join((self.answer.err.strip() or self.answer.out.strip()).split())[:300]

    @property
    def missing(self) -> bool:
        """Whether what the command is about is not there."""
        return _missing(self.answer)


class Passing(GcloudFailed):
    """A command failed for a passing reason. It may have been carried out nevertheless: look before the next try."""


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
    """Reads and acts through a runner. Looks are remembered until something changes what they looked at."""

    def __init__(
        self,
        runner: Runner = run_gcloud,
        sleep: Callable[[float], None] = time.sleep,
        pauses: Sequence[float] = PAUSES,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,  # seconds
        *,
        unused_is_missing: bool = False,  # for commands that enable no API: if one is not enabled, nothing of it exists
    ) -> None:
        self._unused_is_missing = unused_is_missing
        self._say = say
        self._clock = clock
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
            self._looks[command] = self.patiently(lambda: self._seen(command))
        return self._looks[command]

    def forget(self, command: Command) -> None:
        """Forget a look, since what it looked at was changed."""
        self._looks.pop(command, None)

    def forget_all(self) -> None:
        """Forget every look, since anything may have been changed."""
        self._looks.clear()

    def act(self, command: Command, stdin: str = "") -> None:
        """Run a command that changes something, once.

        Raises:
            Passing: another try is worth it, after another look.
            GcloudFailed: it is not.
            Unready: gcloud is not there, or not signed in.
        """
        answer = self._run(command, stdin)
        if answer.status:
            raise _failed(command, answer)

    def patiently(self, attempt: Callable[[], T]) -> T:
        """Return the result of an attempt; one that fails for a passing reason is repeated, after a pause.

        Raises:
            GcloudFailed: it did not pass.
            Unready: gcloud is not there, or not signed in.
        """
        for pause in self._pauses:
            try:
                return attempt()
            except Passing as error:
                at_most = f"{sum(self._pauses) / 60:g} minutes"
                self._say(f"  wait       {pause:g} s of up to {at_most}, since this may pass: {error.said}")
                self._sleep(pause)
        try:
            return attempt()
        except Passing as error:
            raise GcloudFailed(error.command, error.answer) from None

    def until(self, wrong: Callable[[], str], tries: int | None = None) -> str:
        """Ask what is wrong until nothing is, with the same pauses; returns what is still wrong after the last one.

        Asking takes time, too: no try begins after the sum of all pauses.
        """
        begun, said = self._clock(), wrong()
        for pause in self._pauses[: None if tries is None else tries - 1]:
            if not said or self._clock() - begun + pause > sum(self._pauses):
                break
            self._say(f"  wait       {pause:g} s, since this may pass: {said}")
            self._sleep(pause)
            said = wrong()
        return said

    def _seen(self, command: Command) -> Any:
        answer = self._run(command, "")
        if not answer.status:
            try:
                return json.loads(answer.out or "null")
            except json.JSONDecodeError as error:  # what it says of itself may be a secret
                raise Passing(command, replace(answer, out="", err=f"its answer is no JSON: {error}")) from None
        if _missing(answer) or (self._unused_is_missing and UNUSED in answer.err):
            return None
        raise _failed(command, answer)

    def _run(self, command: Command, stdin: str) -> Answer:
        answer = self._runner(command, stdin)
        if answer.status == NOT_INSTALLED:
            raise NotInstalled
        if answer.status and SIGN_IN in answer.err:
            raise NotSignedIn
        return answer


def _failed(command: Command, answer: Answer) -> GcloudFailed:
    return (Passing if _passes(command, answer) else GcloudFailed)(command, answer)


def _passes(command: Command, answer: Answer) -> bool:
    if any(text in answer.err for text in PASSING):
        return True
    if any(text in answer.err.lower() for text in FINAL):
        return False
    # What a change depends on may exist soon; what is only described should exist already, and waiting does not help.
    return bool(AGAIN.search(answer.err)) or (_missing(answer) and "describe" not in command)


def _missing(answer: Answer) -> bool:
    return any(text in answer.err for text in MISSING)
