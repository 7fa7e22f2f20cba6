"""The real runner and the real command line, with a small program called gcloud on PATH."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.gcp import commands, lock
from infra.gcp import gcloud as runner
from infra.gcp.gcloud import Answer, Gcloud, GcloudFailed, NotInstalled
from infra.gcp.steps import Command, gcloud
from infra.gcp.target import Target

SETTINGS = {
    "PROJECT": "keeper-prod",
    "REGION": "europe-west1",
    "ADMIN": "admin@example.com",
    "ALERTS": "on-call@example.com",
    "ACCESS": "domain:example.com",
}
TARGET = replace(Target.given(SETTINGS), number="123456789012")
# Started for each of a hundred commands of a deployment: Perl, which git needs, starts in a tenth of the time that
# Python takes with json. Parts are separated by NUL, which no argument may hold, and runs by \1.
FAKE = """#!/usr/bin/perl
undef $/;
my $stdin = <STDIN>;
open(my $record, ">>", '{record}') or die $!;
my @told = (readlink("/proc/self/cwd"), $ENV{{CLOUDSDK_CORE_DISABLE_PROMPTS}}, $stdin, @ARGV);
syswrite($record, join("\\0", @told) . "\\1");
open(my $file, "<", '{answers}') or die $!;
my @answers = split(/\\0/, <$file>, -1);
while (my ($part, $out, $err, $status, $seconds) = splice(@answers, 0, 5)) {{
    next if index("@ARGV", $part) < 0;
    select(undef, undef, undef, $seconds);
    print STDOUT "$out\\n";
    print STDERR "$err\\n";
    exit $status;
}}
print STDOUT "{{}}\\n";
"""
PROJECT = ("projects describe", json.dumps({"projectNumber": TARGET.number}), "", 0, 0)
POLICY = json.dumps({"etag": "BwY=", "bindings": []})
NOTHING = ("describe", "", "ERROR: (gcloud) NOT_FOUND: no such thing", 1, 0)


class Fake:
    """A program called gcloud that notes how it was run, and answers by the first part of its arguments that fits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._record, self._answers = folder / "record", folder / "answers"
        program = folder / "gcloud"
        program.write_text(FAKE.format(record=self._record, answers=self._answers))
        program.chmod(0o755)

    def answers(self, *answers: tuple[str, str, str, int, float]) -> None:
        self._answers.write_text("\0".join(str(part) for answer in answers for part in answer))

    @property
    def runs(self) -> list[dict[str, Any]]:
        runs = [run.split("\0") for run in self._record.read_text().split("\1")[:-1]]
        return [{"cwd": cwd, "prompts": prompts, "stdin": stdin, "argv": argv} for cwd, prompts, stdin, *argv in runs]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake(tmp_path)
    fake.answers(PROJECT)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return fake


@pytest.fixture
def no_gcloud(tmp_path: Path) -> str:
    """Return a PATH with git, which says what is deployed, and nothing else."""
    git = shutil.which("git")
    assert git
    (tmp_path / "git").symlink_to(git)
    return str(tmp_path)


def made(verb: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "infra.gcp", verb],
        cwd=commands.ROOT,
        env={**os.environ, "PYTHONPATH": "functions", "DIRTY": "yes", **SETTINGS, **environment},
        input="",
        capture_output=True,
        text=True,
        timeout=300,  # a hundred processes, on a machine that may be busy
        check=False,
    )


def test_a_plan_needs_no_gcloud_at_all(no_gcloud):
    done = made("plan", PATH=no_gcloud)
    assert (done.returncode, done.stderr) == (0, "")
    assert "gcloud services enable" in done.stdout


def test_a_plan_whose_reader_has_gone_ends_without_a_traceback():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "infra.gcp", "plan"],
        cwd=commands.ROOT,
        env={**os.environ, "PYTHONPATH": "functions", **SETTINGS},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_deployment_runs_what_it_says_until_something_is_refused(fake):
    refusal = 'ERROR: (gcloud.firestore.databases.create) PERMISSION_DENIED: it\'s not "yours"'
    enabled = json.dumps([{"config": {"name": name}} for name in commands.DEPLOYMENT.services])
    answers = ("services list --enabled", enabled, "", 0, 0), ("get-iam-policy", POLICY, "", 0, 0)
    fake.answers(PROJECT, *answers, ("databases create", "", refusal, 1, 0), NOTHING)
    done = made("deploy")
    assert done.returncode == 1
    runs = fake.runs
    steps = {tuple(command) for step in commands.foundation(TARGET) for command in step.commands}
    changing = [run["argv"] for run in runs if not {"describe", "get", "list", "get-iam-policy"} & set(run["argv"])]
    assert {("gcloud", *argv) for argv in changing if lock.NAME not in argv} <= steps
    assert {(run["cwd"], run["prompts"]) for run in runs} == {(str(commands.ROOT), "1")}
    (policy,) = [run["stdin"] for run in runs if run["stdin"]]
    assert json.loads(policy)["etag"] == "BwY="
    refused = runs[-2]["argv"]  # before the last look at the lock
    assert refused[:3] == ["firestore", "databases", "create"]
    told = done.stderr.strip().splitlines()
    assert shlex.split(told[0]) == ["gcloud", *refused]
    assert told[1] == f"failed: {refusal}"
    assert "same command again" in told[-1]
    said = [shlex.split(line)[1:] for line in done.stdout.splitlines() if line.strip().startswith("gcloud ")]
    assert said == changing
    parts = {part for argv in changing for part in argv}
    assert any(part.startswith("--description=delegated to read the Workspace directory; may do") for part in parts)
    assert any(part.startswith("--condition=title=keeper-token-only,expression=") for part in parts)


@pytest.mark.parametrize(
    "refusal",
    [
        "ERROR: (gcloud.alpha.monitoring) Invalid choice: 'policies'.",
        "ERROR: (gcloud.beta.run.services.update) unrecognized arguments: --iap",
        "ERROR: (gcloud.beta) You do not currently have this command group installed.",
    ],
)
def test_a_gcloud_that_takes_a_command_no_more_is_told_which_one_does(fake, refusal):
    enabled = json.dumps([{"config": {"name": name}} for name in commands.DEPLOYMENT.services])
    fake.answers(
        PROJECT,
        ("services list --enabled", enabled, "", 0, 0),
        ("monitoring channels list", "", refusal, 2, 0),
        NOTHING,
    )
    done = made("deploy")
    assert done.returncode == 1
    assert refusal in done.stderr
    assert f"gcloud components update --version={runner.TRIED}" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("verb", ["deploy", "doctor", "rollback", "detach", "destroy"])
def test_nobody_signed_in_is_one_sentence_that_names_the_mend(fake, verb):
    err = (
        "ERROR: (gcloud.x) You do not currently have an active account selected.\nPlease run:\n\n  $ gcloud auth login"
    )
    fake.answers(("version", json.dumps({"Google Cloud SDK": "528.0.0"}), "", 0, 0), ("", "", err, 1, 0))
    done = made(verb, HTTPS_PROXY="http://127.0.0.1:9")
    sentence = 'Nobody is signed in to gcloud: run "gcloud auth login" (docs/install.md, step 1).'
    assert done.returncode == 1
    assert (done.stdout if verb == "doctor" else done.stderr).count(sentence) == 1
    assert verb == "doctor" or done.stderr == f"{sentence}\n"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["deploy", "doctor", "logs"])
def test_a_missing_gcloud_is_one_sentence_that_names_the_mend(no_gcloud, verb):
    done = made(verb, PATH=no_gcloud, HTTPS_PROXY="http://127.0.0.1:9")
    sentence = 'gcloud is not installed: install the Google Cloud SDK (docs/install.md, "What you need").'
    assert done.returncode == 1
    assert (done.stdout if verb == "doctor" else done.stderr).count(sentence) == 1
    assert "Traceback" not in done.stderr


def test_a_secret_goes_over_standard_input_alone(fake):
    Gcloud().act(gcloud("secrets", "versions", "add", "channel-key", data_file="-"), "se\ncret")
    assert fake.runs[0]["stdin"] == "se\ncret"
    assert "se\ncret" not in str(fake.runs[0]["argv"])


def test_a_gcloud_that_hangs_is_stopped_and_named(fake, monkeypatch):
    monkeypatch.setattr(runner, "TIMEOUT", 0.5)
    fake.answers(("topics create", "", "", 0, 60))
    with pytest.raises(GcloudFailed, match=r"gcloud pubsub topics create x\nfailed: .*did not end within 0.5 seconds"):
        Gcloud(pauses=()).act(gcloud("pubsub", "topics", "create", "x"))


PASSES = [
    "INVALID_ARGUMENT: could not resolve source: googleapi: Error 403: x does not have storage.objects.get access to y",
    "Google Cloud Run Service Agent x must have permission to read the image, y. Ensure that ...",
    "OperationError: code=3, message=Permission denied on secret: x/versions/1 for Revision service account y. The ...",
    "OperationError: code=13, message=An internal error has occurred",
    "ResponseError: status=[429], code=[Too Many Requests], message=[Quota]",
    "NOT_FOUND: Unknown service account",
    "Resource in projects [p] is the subject of a conflict: Service account keeper-push already exists.",
    "INTERNAL: Internal error encountered.",
    "RESOURCE_EXHAUSTED: Quota exceeded for quota metric 'Write requests'",
    "HTTPError 503: <html>",
    "gcloud crashed (ConnectionResetError): [Errno 104] Connection reset by peer",
    "[Errno 101]\nThis may be due to network connectivity issues. Please check your network settings.",
    "ABORTED: sync mutate calls cannot be queued",
    'HTTPError 409: {"error": {"message": "Too many concurrent edits to the project configuration"}}',
    "NOT_FOUND: Cannot find metric(s) that match type = x.",
    "ResponseError: status=[409], code=[Conflict], message=[unable to queue the operation]",
    "HTTPError 409: Conflict for resource 'console': version '1' was specified but current version is '2'.",
    "(gcloud.billing.budgets.list) UNAVAILABLE: projects/billing-prod: constraint-free@billing.example.com",
    "PERMISSION_DENIED: Quota exceeded for quota metric 'Reads' and limit 'Reads per minute' of service 'x'",
]
STAYS = [
    "PERMISSION_DENIED: Permission 'pubsub.topics.create' denied on resource (or it may not exist).",
    "FAILED_PRECONDITION: This requires billing to be enabled. If you did recently, wait a few minutes and retry.",
    "PERMISSION_DENIED: Billing is disabled for project x. Enable it and try again. reason: BILLING_DISABLED",
    "PERMISSION_DENIED: The billing account for the owning project is disabled in state absent, please retry",
    "FAILED_PRECONDITION: Billing account for project '1' is not found. Billing must be enabled for activation.",
    "OperationError: code=13, message=Build failed: No matching distribution found for x. See the logs and try again",
    "OperationError: code=9, message=Container Healthcheck failed.",
    "Revision 'x' is not ready and cannot serve traffic. The user-provided container failed to start and listen on ...",
    'build 1 completed with status "FAILURE"',
    "HTTPError 412: constraint run.managed.requireInvokerIam violated, retry",
    "unrecognized arguments: --min-retry-delay=10s",
    "INVALID_ARGUMENT: The request has 500 errors in 503 places",
]


@pytest.mark.parametrize(("text", "tries"), [*((text, 3) for text in PASSES), *((text, 1) for text in STAYS)])
def test_what_passes_is_tried_again_and_what_does_not_is_told_at_once(text, tries):
    answers, waited, said = [], [], []

    def refuse(command: Command, stdin: str) -> Answer:
        answers.append(command)
        return Answer(status=1, out="", err=text)

    cloud = Gcloud(refuse, sleep=waited.append, pauses=(5.0, 10.0), say=said.append)
    with pytest.raises(GcloudFailed) as failed:
        cloud.patiently(lambda: cloud.act(("gcloud", "x")))
    assert str(failed.value) == f"gcloud x\nfailed: {text}"
    assert (len(answers), len(said)) == (tries, tries - 1)
    assert waited == [5.0, 10.0][: tries - 1]
    assert all(text.splitlines()[0][:60] in line for line in said)


def test_an_answer_that_breaks_off_is_asked_for_again_and_shown_to_nobody():
    whole = json.dumps([{"token": "se-cret"}])
    answers = [Answer(status=0, out=text, err="") for text in (whole[:-4], "se-cret", whole)]
    said: list[str] = []
    cloud = Gcloud(lambda command, stdin: answers.pop(0), sleep=lambda seconds: None, say=said.append)
    assert cloud.look(("gcloud", "x")) == [{"token": "se-cret"}]
    assert [("is no JSON" in text, "se-cret" in text) for text in said] == [(True, False)] * 2


def test_a_gcloud_that_may_not_be_run_counts_as_missing(fake, monkeypatch):
    monkeypatch.setenv("PATH", str(fake.folder))
    (fake.folder / "gcloud").chmod(0o644)
    with pytest.raises(NotInstalled):
        Gcloud().look(commands.project_number(TARGET))
