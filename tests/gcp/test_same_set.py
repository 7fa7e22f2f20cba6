"""What is deployed is what the code has: functions, targets, identities, environment; and the upload runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

import main
from autoprovisioning.config import load
from infra.gcp import access
from infra.gcp.description import (
    DATABASE_ONLY,
    DEPLOYMENT,
    INVOKER,
    MOVED,
    TOKENS_ONLY,
    Function,
    Grant,
)
from infra.local.cloud import CHANGES, DEAD_LETTERS, FUNCTIONS, SUBSCRIPTIONS
from tests.gcp.gcloud_parser import TARGET
from tests.unit.test_docs import ROOT, asked, first_column, rows

FRAMEWORK = {"THREADS"}  # read by functions-framework's gunicorn, not by us
LOCAL = {"LOCAL_MODE", "FIRESTORE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST", "SECRET_MANAGER_EMULATOR_HOST"}
NAMES = {function.name for function in DEPLOYMENT.functions}
each = pytest.mark.parametrize("function", DEPLOYMENT.functions, ids=lambda function: function.name)


def environment(function: Function) -> dict[str, str]:
    texts = {name: TARGET.filled(text, DEPLOYMENT) for name, text in function.environment.items()}
    return texts | dict.fromkeys(function.secrets, "of the secret")


def used_by(function: Function) -> dict[str, bool]:
    """Return the variables that README says a function uses, and whether they must be set for it."""
    everybody, found, before = set(main.__all__), {}, ""
    for variable, _, _, users in rows("Configuration"):
        text = before if users == "the same" else users
        before = text
        names = set(re.findall(r"`(\w+)`", text))
        if text.startswith("all"):
            names = everybody - names
        if function.entry_point in names:
            found[variable.strip("`")] = "must be set" in text
    return found


# ---- one set, told in five places


def test_the_same_functions_everywhere():
    described = sorted(function.entry_point for function in DEPLOYMENT.functions)
    assert described == sorted(main.__all__) == sorted(first_column("Functions")) == sorted(FUNCTIONS)
    assert sorted(MOVED) == sorted(NAMES)


def test_the_same_subscriptions_as_on_the_local_cloud():
    assert {item.topic: (item.function.replace("-", "_"), item.ack_deadline) for item in DEPLOYMENT.subscriptions} == (
        SUBSCRIPTIONS
    )
    assert set(DEPLOYMENT.topics) == {*SUBSCRIPTIONS, DEAD_LETTERS}


def test_every_target_of_a_subscription_or_a_job_exists():
    assert {item.function for item in (*DEPLOYMENT.subscriptions, *DEPLOYMENT.jobs)} <= NAMES
    assert {item.topic for item in DEPLOYMENT.subscriptions} <= set(DEPLOYMENT.topics)


def test_the_jobs_ask_for_what_reconcile_knows():
    from autoprovisioning.messages import decode_run_request

    asked_for = [
        decode_run_request(job.body.encode()).kind.value for job in DEPLOYMENT.jobs if job.function == "reconcile"
    ]
    assert sorted(asked_for) == ["drift", "full", "sweep"]


# ---- identities and what they may do


def grants_of(name: str) -> set[tuple[str, str]]:
    (account,) = [item for item in DEPLOYMENT.accounts if item.name == name]
    return {(grant.role, grant.on) for grant in account.grants}


def test_every_function_has_an_identity_of_its_own():
    accounts = [account.name for account in DEPLOYMENT.accounts]
    assert len(accounts) == len(set(accounts))
    assert set(accounts) >= NAMES
    assert set(accounts) - NAMES == {"directory", "push", "scheduler", "build"}


def test_private_functions_are_invoked_by_the_scheduler_and_the_push_identity_alone():
    callers: dict[str, set[str]] = {name: set() for name in NAMES}
    for member, grant in access.grants(TARGET, DEPLOYMENT):
        if grant.role == INVOKER:
            callers[grant.on.removeprefix("service:")].add(member.removeprefix("serviceAccount:").partition("@")[0])
    agent = "service-123456789012"
    assert callers == {
        "directory-webhook": set(),  # nobody is asked who he is
        "provision-user": {"keeper-push"},
        "apply-changes": {"keeper-push"},
        "reconcile": {"keeper-push", "keeper-scheduler"},
        "renew-watch": {"keeper-scheduler"},
        "workspace-events": {"keeper-push", "keeper-scheduler"},
        "reauthorize": {agent},
        "console": {agent},
    }
    targets = {("keeper-push", item.function) for item in DEPLOYMENT.subscriptions}
    targets |= {("keeper-scheduler", job.function) for job in DEPLOYMENT.jobs}
    assert targets == {(caller, name) for name, several in callers.items() for caller in several if "keeper-" in caller}


def test_who_adds_access_tokens_cannot_read_them_and_who_reads_them_cannot_add_any():
    adding = {role.id for role in DEPLOYMENT.roles if "secretmanager.versions.add" in role.permissions}
    on_tokens = [(account.name, grant) for account in DEPLOYMENT.accounts for grant in account.grants]
    on_tokens = [(name, grant) for name, grant in on_tokens if grant.only is TOKENS_ONLY]
    assert {name for name, grant in on_tokens if grant.role in adding} == {"console", "reauthorize"}
    creating = {name for name in NAMES if ("keeperTokenCreator", "project") in grants_of(name)}
    assert creating == {"console", "reauthorize"}  # a new token for a connection whose secret is gone creates it again
    reading = {name for name, grant in on_tokens if grant.role.endswith("secretAccessor")}
    assert reading == {"provision-user", "apply-changes", "reconcile"}


def test_only_reconcile_can_destroy_access_tokens():
    """What a browser talks to can undo all that it may do to a token."""
    destroying = {role.id for role in DEPLOYMENT.roles if "secretmanager.versions.destroy" in role.permissions}
    holders = {account.name for account in DEPLOYMENT.accounts for grant in account.grants if grant.role in destroying}
    assert (destroying, holders) == ({"keeperTokenDestroyer"}, {"reconcile"})


def test_nobody_has_a_broad_role():
    roles = {grant.role for _, grant in access.grants(TARGET, DEPLOYMENT)}
    broad = {"roles/owner", "roles/editor", "roles/viewer", "roles/secretmanager.admin", "roles/datastore.owner"}
    assert roles & broad == set()
    on_project = {grant.role for account in DEPLOYMENT.accounts for grant in account.grants if grant.on == "project"}
    assert not {role for role in on_project if "admin" in role.lower() or "TokenCreator" in role.partition("/")[2]}
    unrestricted = {
        (account.name, grant.role)
        for account in DEPLOYMENT.accounts
        for grant in account.grants
        if (grant.on, grant.only) == ("project", None)
    }
    # No condition can name a secret that is to be made, nor a log.
    assert unrestricted == {
        ("console", "keeperTokenCreator"),
        ("reauthorize", "keeperTokenCreator"),
        ("build", "roles/logging.logWriter"),
    }
    assert grants_of("directory") == set()


def allowed(only, name: str) -> bool:
    """Say whether a condition is met by a resource; comparisons, `startsWith` and || alone."""
    condition = access.condition(TARGET, Grant(role="x", on="project", why="x", only=only))
    met = []
    for term in condition.split(" || "):
        if match := re.fullmatch(r'resource\.name == "([^"]+)"', term):
            met.append(name == match[1])
        else:
            match = re.fullmatch(r'resource\.name\.startsWith\("([^"]+)"\)', term)
            assert match, term
            met.append(name.startswith(match[1]))
    return any(met)


@pytest.mark.parametrize(
    ("only", "name", "met"),
    [
        (DATABASE_ONLY, "projects/keeper-prod/databases/(default)", True),
        (DATABASE_ONLY, "projects/keeper-prod/databases/other", False),
        (TOKENS_ONLY, "projects/123456789012/secrets/keeper-token-c1/versions/1", True),
        (TOKENS_ONLY, "projects/123456789012/secrets/form-key/versions/1", False),
    ],
)
def test_a_condition_is_met_by_what_is_ours_alone(only, name, met):
    assert allowed(only, name) is met


def test_the_pages_table_of_roles_is_the_description():
    text = (ROOT / "docs" / "security.md").read_text()
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `keeper-")]
    told = {tuple(cell.strip().strip("`") for cell in line) for line in lines}
    described = {
        (account.id, grant.role, where(grant), grant.why) for account in DEPLOYMENT.accounts for grant in account.grants
    }
    assert told == described


def where(grant) -> str:
    if grant.only:
        return grant.only.what
    return grant.on.replace(":", " ").replace("account directory", "keeper-directory")


# ---- environment


@each
def test_a_function_gets_what_it_reads_and_nothing_else(function):
    given, uses = environment(function), used_by(function)
    assert set(given) - FRAMEWORK <= set(asked())
    assert set(given) - FRAMEWORK <= set(uses)
    must = {name for name, needed in uses.items() if needed}
    assert must | {"GOOGLE_CLOUD_PROJECT"} <= set(given)
    assert not set(given) & LOCAL


@each
def test_what_is_left_to_defaults_is_right_for_production(function):
    given = environment(function)
    config = load(given, reads_directory=function.entry_point != "directory_webhook")
    assert config.directory_endpoint == "https://admin.googleapis.com"
    assert (config.local, config.firestore_emulator, config.pubsub_emulator) == (False, "", "")
    assert config.iap_issuer == "https://cloud.google.com/iap"
    topics = {config.topic_looks, config.topic_batches, config.topic_runs, CHANGES}  # CHANGES: Cloud Logging publishes
    assert topics == {item.topic for item in DEPLOYMENT.subscriptions}
    if function.entry_point != "directory_webhook":
        assert (config.directory_admin, config.directory_service_account) == (
            "admin@example.com",
            "keeper-directory@keeper-prod.iam.gserviceaccount.com",
        )


def test_addresses_that_the_functions_are_told_are_those_of_the_functions():
    told = {function.name: environment(function) for function in DEPLOYMENT.functions}
    assert told["renew-watch"]["WEBHOOK_URL"] == TARGET.url("directory-webhook")
    assert told["console"]["REAUTHORIZE_URL"] == TARGET.url("reauthorize")
    assert told["reauthorize"]["CONSOLE_URL"] == TARGET.url("console")
    for name in ("console", "reauthorize"):
        assert told[name]["IAP_AUDIENCE"] == f"/projects/123456789012/locations/europe-west1/services/{name}"
    assert {function.name for function in DEPLOYMENT.functions if function.iap} == {"console", "reauthorize"}
    assert {function.name for function in DEPLOYMENT.functions if function.public} == {"directory-webhook"}


# ---- the upload


@pytest.mark.timeout(900)
def test_the_upload_alone_installs_and_starts_every_function(tmp_path: Path):
    source, venv = tmp_path / "source", tmp_path / "venv"
    shutil.copytree(ROOT / "functions", source, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", f"--python={python}"]
    quiet = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    given = {
        name: value
        for name, value in os.environ.items()
        if name.lower().startswith(("pip_", "http", "no_proxy", "ssl"))
    }
    subprocess.run(
        [*pip, "install", "-q", "--no-compile", "-r", source / "requirements.txt"],
        env=os.environ | {"PYTHONPATH": ""} | given,
        check=True,
    )
    subprocess.run([*pip, "check"], env=quiet, check=True)
    subprocess.run([python, "-m", "compileall", "-q", source], env=quiet, check=True)
    somebody = tmp_path / "credentials.json"  # as the metadata server would give them: made, and not used here
    fields = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    somebody.write_text(json.dumps(fields))
    for function in DEPLOYMENT.functions:
        given = quiet | environment(function) | {"GOOGLE_APPLICATION_CREDENTIALS": str(somebody)}
        robots, answered = started(venv / "bin" / "functions-framework", source, given, function.entry_point)
        assert robots == 404
        refused = 403 if function.iap else 405  # nobody signed in; nobody starts work by looking
        assert answered == refused, function.name


def started(framework: Path, source: Path, given: dict[str, str], target: str) -> tuple[int, int]:
    """Start the build as the image does, where only FUNCTION_TARGET says what to serve; ask for two pages."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = given | {"FUNCTION_TARGET": target, "HOST": "127.0.0.1", "PORT": str(port)}
    with subprocess.Popen([framework], cwd=source, env=told, stderr=subprocess.PIPE, text=True) as server:
        try:
            for _ in range(600):
                try:
                    return tuple(
                        requests.get(f"http://127.0.0.1:{port}{path}", timeout=30).status_code
                        for path in ("/robots.txt", "/")
                    )  # type: ignore[return-value]
                except requests.ConnectionError:
                    assert server.poll() is None, server.stderr and server.stderr.read()
                    time.sleep(0.1)
            raise AssertionError(f"{target} does not listen")
        finally:
            server.terminate()
