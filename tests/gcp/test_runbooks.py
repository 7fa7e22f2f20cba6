"""Runbooks: one for each alert, linked from it; gcloud takes their commands, and queries find what is logged."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
from google.cloud import monitoring_v3

import main
from infra.gcp import monitoring, watching
from infra.gcp.description import DEAD_LETTERS, DEPLOYMENT
from tests.gcp.gcloud_parser import TARGET, complaints
from tests.gcp.scenes import LOGS, PLATFORM, Line, said, written

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
BESIDE = (ROOT / "docs" / "keys.md", ROOT / "docs" / "deploy-from-ci.md")  # pages of commands that no alert links
POLICIES = [path.stem for path in monitoring.policies()]


@pytest.mark.parametrize("slug", POLICIES)
def test_a_policy_links_its_runbook(slug):
    path = next(path for path in monitoring.policies() if path.stem == slug)
    page = RUNBOOKS / f"{slug}.md"
    address = f"https://example.com/docs/runbooks/{page.name}"
    policy = monitoring_v3.AlertPolicy.from_json(
        json.dumps(watching.filled(path, replace(TARGET, runbooks="https://example.com/docs/runbooks/")))
    )
    assert [link.url for link in policy.documentation.links] == [address]
    assert policy.documentation.content.endswith(f"Runbook: {address}")
    assert str(page.relative_to(ROOT)) in json.dumps(watching.filled(path, TARGET))
    assert page.exists()


def test_there_is_a_runbook_for_each_policy_and_no_other():
    assert {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"} == set(POLICIES)


@pytest.mark.parametrize("slug", POLICIES)
def test_a_runbook_has_its_four_parts(slug):
    parts = re.split(r"^## (.+)$", (RUNBOOKS / f"{slug}.md").read_text(), flags=re.MULTILINE)
    assert parts[1::2] == ["What it means", "How to look", "What to do", "How to know it is over"]
    assert all(len(part.strip()) > 60 for part in parts[2::2])


@pytest.mark.parametrize("slug", POLICIES)
def test_the_index_of_runbooks_names_it(slug):
    assert f"({slug}.md)" in (RUNBOOKS / "README.md").read_text()


@lru_cache
def commands() -> list[str]:
    blocks = [
        block
        for page in [*RUNBOOKS.glob("*.md"), *BESIDE]
        for block in re.findall(r"^ *```sh\n(.*?)^ *```$", page.read_text(), re.MULTILINE | re.DOTALL)
    ]
    lines = {line.strip() for block in blocks for line in block.splitlines()}
    return sorted(line.rpartition(" | ")[2] for line in lines if not line.startswith("make "))


def test_gcloud_understands_the_commands_of_the_runbooks():
    assert len(commands()) > 10
    assert all(command.startswith("gcloud ") for command in commands())
    named = (command.replace("PROJECT", TARGET.project) for command in commands())
    assert complaints(tuple(shlex.split(command)) for command in named) == {}


def test_the_runbooks_name_what_is_deployed():
    text = "\n".join(commands())
    services = set(re.findall(r'service_name="([^"]+)"', text))
    assert services
    assert services <= {name.replace("_", "-") for name in main.__all__}
    assert set(re.findall(r"jobs (?:run|resume|pause|describe) (\S+)", text)) <= {job.name for job in DEPLOYMENT.jobs}
    subscriptions = {subscription.topic for subscription in DEPLOYMENT.subscriptions} | {DEAD_LETTERS}
    assert set(re.findall(r"subscriptions (?:pull|seek|describe) (\S+)", text)) <= subscriptions


# --- queries of the log -------------------------------------------------------------------------------------------

SEVERITIES = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
TERM = re.compile(
    r'(?P<field>[\w.]+)(?P<operator>:\*|:|>=|>|=)(?:"(?P<text>[^"]*)"|(?P<word>\w+)|\((?P<several>"[^)]*")\))?\Z'
)


def queries() -> list[str]:
    """Return the queries of the pages (cloud.google.com/logging/docs/view/logging-query-language) for our own lines."""
    read = [shlex.split(command) for command in commands() if command.startswith("gcloud logging read ")]
    return sorted({parts[3] for parts in read if not parts[3].startswith("protoPayload.")})


def found(query: str) -> list[Line]:
    """Return the lines that a query finds. Anything else than terms, AND, and OR in parentheses fails."""
    lines = [*said(), *PLATFORM.values()]
    for term in query.split(" AND "):
        match = TERM.match(term)
        assert match, term
        wanted = [item.strip('"') for item in (match["several"] or "").split(" OR ") if item]
        lines = _narrowed(lines, match["field"], match["operator"], wanted or [match["text"] or match["word"]])
    return lines


def _narrowed(lines: list[Line], field: str, operator: str, wanted: list[str]) -> list[Line]:
    scope, _, name = field.rpartition(".")
    match scope, operator:
        case "jsonPayload", ":*":
            return [line for line in lines if line.get(name) is not None]
        case "jsonPayload", "=":
            return [line for line in lines if line.get(name) in wanted]
        case "jsonPayload", ">":
            return [line for line in lines if line.get(name) is not None and line[name] > float(wanted[0])]
        case "", ":":
            assert name == "logName"
            return [line for line in lines if wanted[0] in line.get("logName", "")]
        case "", ">=":
            assert name == "severity"
            return [line for line in lines if SEVERITIES.index(line["severity"]) >= SEVERITIES.index(wanted[0])]
        case "resource.labels", "=":
            assert name == "service_name"
            own = [line for name in wanted for scene in LOGS.get(name, ()) for line in written()[scene]]
            return [line for line in lines if line in own or line in PLATFORM.values()]
        case "resource", "=":
            assert wanted == ["cloud_run_revision"]
            return lines
    raise AssertionError(f"{field} {operator}")


@pytest.mark.parametrize("query", queries())
def test_a_query_of_a_runbook_finds_lines_that_the_code_writes(query):
    assert found(query)


@pytest.mark.parametrize(
    "query", ['jsonPayload.alert="no_such"', "jsonPayload.hour_failed>100", "jsonPayload.nothing:*"]
)
def test_a_query_that_nothing_is_written_for_finds_nothing(query):
    assert found(query) == []
