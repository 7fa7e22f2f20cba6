"""Alerts, metrics and dashboard: real API messages, and filters that match what the code really logs."""

from __future__ import annotations

import io
import json
import logging
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import flask
import pytest
from google.api.metric_pb2 import MetricDescriptor
from google.cloud import monitoring_dashboard_v1, monitoring_v3
from google.cloud.logging_v2.types import LogMetric

import main
from autoprovisioning import telemetry
from autoprovisioning.app.finishing import close_if_finished, close_unfinished
from autoprovisioning.app.holding import admit
from autoprovisioning.app.keeper import Keeper
from autoprovisioning.app.reconcile import reconcile
from autoprovisioning.app.renew_watch import renew_watch
from autoprovisioning.app.reports import Pace, Waiting
from autoprovisioning.app.survey import read_groups
from autoprovisioning.app.vital_signs import log_vital_signs
from autoprovisioning.config import Misconfigured
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.errors import ConfigurationRefused, ReauthorizationRequired, Throttled
from autoprovisioning.domain.roster import Action
from autoprovisioning.domain.runs import Run, RunKind, RunState
from autoprovisioning.domain.users import DirectoryUser, Group, Scope
from autoprovisioning.entrypoints import answers
from infra.gcp import monitoring, watching
from infra.gcp.description import DEPLOYMENT
from infra.local.cloud import DEAD_LETTERS
from tests.fake_state import FakeChannels
from tests.fakes import START, Desk
from tests.gcp.gcloud_parser import complaints

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
FUNCTIONS = ROOT / "functions" / "autoprovisioning"
MINUTE = timedelta(minutes=1)

POLICIES = {path.stem: monitoring_v3.AlertPolicy.from_json(path.read_text()) for path in monitoring.policies()}
METRICS = {path.stem: LogMetric.from_json(path.read_text()) for path in monitoring.metrics()}
DASHBOARD = monitoring_dashboard_v1.Dashboard.from_json(monitoring.DASHBOARD.read_text())

NOT_PAGED = {
    "change_held": "the run after it raises the plan",
    "bad_input": "one message that cannot be read; on the dashboard",
    "forbidden": "only where a person asks",
    "not_found": "only where a person asks",
    "stale": "only where a person asks",
    "held": "the plan is",
    "permanent": "recorded as the failure of a user",
    "reauthorization_required": "the pause is",
}

Line = dict[str, Any]


# --- what the code logs -------------------------------------------------------------------------------------------


class Told:
    """The Reports port, as far as health reads it: nothing is well."""

    def runs(self, connection_id: str, limit: int) -> list[Run]:
        return []

    def waiting(self, connection_id: str) -> Waiting:
        return Waiting(3, START - 16 * MINUTE)

    def pace(self, connection_id: str, since: object) -> Pace:
        return Pace(20, 5, 3.0)

    def plans_held(self, connection_id: str) -> int:
        return 1


ON = Connection("c1", state=State.ON, token_version="1", shards=64, changed_at=START - timedelta(days=1))


def desk_with(connection: Connection = ON, **changes: Any) -> Desk:
    desk = Desk(**changes)
    desk.tokens.add("c1", "secret")
    desk.services.connections.create(connection)
    desk.directory.live["u1"] = DirectoryUser("u1", "ada@example.com", {"primaryEmail": "ada@example.com"})
    return desk


def vital_signs(connection: Connection) -> None:
    desk = desk_with(connection)
    log_vital_signs(desk.services, Told(), FakeChannels(desk.store))  # type: ignore[arg-type]


def pause() -> None:
    desk = desk_with()
    desk.keeper.accepts.clear()
    with pytest.raises(ReauthorizationRequired):
        Keeper(desk.services, ON).after_refusal()


def throttle() -> None:
    Keeper(desk_with().services, ON).throttle(Throttled("429", retry_after=30))


def hold() -> None:
    admit(desk_with().services, ON, {f"u{number}": Action.SUSPEND for number in range(30)})


def unproven_channel() -> None:
    desk = desk_with()
    parts = (desk.directory, FakeChannels(desk.store), desk.services.connections, b"key", "https://hook", desk.clock)
    renew_watch(*parts, desk.services.new_id)
    desk.clock.advance(20 * MINUTE)
    renew_watch(*parts, desk.services.new_id)


def unreadable_group() -> None:
    desk = desk_with()
    desk.directory.unreadable.add("g1")
    read_groups(desk.directory, [replace(ON, scope=Scope((Group("g1", "g@example.com", "G"),)))])


def failing(error: Exception) -> Callable[[], None]:
    def act() -> None:
        def fail() -> None:
            raise error

        with flask.Flask("x").test_request_context(method="POST"):
            answers.push(flask.request, fail)

    return act


def run_done_at_once() -> None:
    desk = desk_with(replace(ON, scope=Scope((), ("/elsewhere",))))
    assert [run.state for run in reconcile(desk.services, RunKind.FULL, START + 20 * MINUTE)] == [RunState.DONE]


def run_refused() -> None:
    desk = desk_with()
    desk.directory.user = desk.directory.deleted_users = _unreachable  # type: ignore[method-assign,assignment]
    with pytest.raises(ConfigurationRefused):
        reconcile(desk.services, RunKind.FULL, START + 20 * MINUTE)


def _unreachable(*_: object) -> Any:
    raise ConfigurationRefused("delegation")


def run_closed(done: bool) -> None:
    desk = desk_with()
    run = Run("r1", "c1", RunKind.FULL, 1, START - MINUTE, RunState.PLANNED, batches=0 if done else 1)
    desk.services.records.put_run(run)
    if done:
        close_if_finished(desk.services, run)
    else:
        close_unfinished(desk.services, run)


SCENES: dict[str, Callable[[], None]] = {
    "vital signs": lambda: vital_signs(ON),
    "vital signs while paused": lambda: vital_signs(replace(ON, state=State.PAUSED)),
    "vital signs while throttled": lambda: vital_signs(replace(ON, throttled_until=START + MINUTE)),
    "pause": pause,
    "throttle": throttle,
    "hold": hold,
    "unproven channel": unproven_channel,
    "unreadable group": unreadable_group,
    "unforeseen": failing(RuntimeError("no")),
    "configuration": failing(ConfigurationRefused("no")),
    "misconfigured": failing(Misconfigured("no")),
    "run done at once": run_done_at_once,
    "run refused": run_refused,
    "run done": lambda: run_closed(done=True),
    "run superseded": lambda: run_closed(done=False),
}


@pytest.fixture(scope="module")
def written() -> dict[str, list[Line]]:
    """What each scene logs, as Cloud Logging is given it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    scenes = {}
    for name, play in SCENES.items():
        root.handlers[:] = []
        telemetry.set_up("demo", "INFO")
        stream = io.StringIO()
        root.handlers[0].setStream(stream)  # type: ignore[attr-defined]
        play()
        scenes[name] = [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)
    return scenes


def said(written: dict[str, list[Line]]) -> list[Line]:
    return [line for lines in written.values() for line in lines]


# --- the filters --------------------------------------------------------------------------------------------------

TERM = re.compile(r'(?P<field>[\w.]+)(?P<operator>:\*|=)(?:"(?P<text>[^"]*)"|one_of\((?P<several>[^)]*)\))?\Z')


def terms(text: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """Take a filter apart: field, operator, the texts it may equal. Anything else than these terms and AND fails."""
    found = []
    for term in text.split(" AND "):
        match = TERM.match(term)
        assert match, term
        several = tuple(item.strip().strip('"') for item in (match["several"] or "").split(",") if item)
        found.append((match["field"], match["operator"], several or (match["text"],)))
    return found


def matches(metric: LogMetric, line: Line) -> bool:
    """Say whether a log-based metric counts the line, were it of a function."""
    for field, operator, texts in terms(metric.filter):
        if field == "resource.type":
            assert texts == ("cloud_run_revision",)
            continue
        scope, name = field.split(".")
        assert scope == "jsonPayload"
        value = line.get(name)
        if value is None or (operator == "=" and value not in texts):
            return False
    return True


def extracted(expression: str, line: Line) -> Any:
    match = re.fullmatch(r"EXTRACT\(jsonPayload\.(\w+)\)", expression)
    assert match, expression
    return line.get(match[1])


def conditions() -> Iterator[tuple[str, monitoring_v3.AlertPolicy.Condition, str, list[Any]]]:
    """Yield policy, condition, filter and aggregations."""
    for slug, policy in POLICIES.items():
        for condition in policy.conditions:
            part = condition.condition_threshold if "condition_threshold" in condition else condition.condition_absent
            yield slug, condition, part.filter, list(part.aggregations)


def charts() -> Iterator[tuple[str, Any]]:
    for tile in DASHBOARD.mosaic_layout.tiles:
        for each in tile.widget.xy_chart.data_sets:
            query = each.time_series_query.time_series_filter
            yield query.filter, query.aggregation


def our_metric(text: str) -> LogMetric | None:
    kind = next(texts[0] for field, _, texts in terms(text) if field == "metric.type")
    prefix = "logging.googleapis.com/user/"
    return METRICS[kind.removeprefix(prefix)] if kind.startswith(prefix) else None


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_counts_lines_that_the_code_writes_with_every_label_and_value(name, written):
    metric = METRICS[name]
    counted = [line for line in said(written) if matches(metric, line)]
    assert metric.name == name
    assert counted
    assert {label.key for label in metric.metric_descriptor.labels} == set(metric.label_extractors)
    for expression in metric.label_extractors.values():
        assert any(isinstance(extracted(expression, line), str) for line in counted)
    if metric.value_extractor:
        assert metric.metric_descriptor.value_type == MetricDescriptor.DISTRIBUTION
        assert all(isinstance(extracted(metric.value_extractor, line), int | float) for line in counted)


@pytest.mark.parametrize(("slug", "condition"), [(slug, item) for slug, item, *_ in conditions()])
def test_a_condition_is_met_by_a_line_that_the_code_writes(slug, condition, written):
    text = condition.condition_threshold.filter or condition.condition_absent.filter
    metric = our_metric(text)
    if metric is None:
        assert slug == "dead-letters"
        assert ("resource.labels.subscription_id", "=", (DEAD_LETTERS,)) in terms(text)
        assert DEAD_LETTERS in DEPLOYMENT.topics
        return
    wanted = [(field.split(".")[-1], texts) for field, _, texts in terms(text) if field.startswith("metric.labels.")]
    counted = [line for line in said(written) if matches(metric, line)]
    for value in wanted[0][1] if wanted else ("",):
        assert any(not wanted or extracted(metric.label_extractors[wanted[0][0]], line) == value for line in counted), (
            value
        )


@pytest.mark.parametrize(
    ("scene", "slugs"),
    [
        ("vital signs", {"plan-held", "no-successful-run", "pending-too-long", "no-live-channel", "failure-ratio"}),
        ("vital signs while paused", {"connection-paused"}),
        ("vital signs while throttled", {"keeper-throttling"}),
        ("pause", {"connection-paused"}),
        ("throttle", {"keeper-throttling"}),
        ("hold", {"plan-held"}),
        ("unproven channel", {"no-live-channel"}),
        ("unreadable group", {"incomplete-listing"}),
        ("unforeseen", {"function-error"}),
        ("run refused", set()),
        ("run done", set()),
    ],
)
def test_each_state_raises_its_alert(scene, slugs, written):
    codes = {line["alert"] for line in written[scene] if "alert" in line}
    raised = {slug for slug, paged in paged_codes().items() if codes & paged}
    assert raised >= slugs
    assert bool(raised) is bool(slugs)


def paged_codes() -> dict[str, set[str]]:
    codes: dict[str, set[str]] = {}
    for slug, _, text, _ in conditions():
        codes.setdefault(slug, set()).update(
            value for field, _, texts in terms(text) if field == "metric.labels.alert" for value in texts
        )
    return codes


def test_every_alert_in_the_code_calls_somebody_out_or_is_known_not_to():
    source = "\n".join(path.read_text() for path in FUNCTIONS.rglob("*.py"))
    health = (FUNCTIONS / "app" / "health.py").read_text()
    said = set(re.findall(r'"alert": "(\w+)"', source)) | set(re.findall(r'_alert\("(\w+)"\)', source))
    said |= set(re.findall(r'"([a-z]+(?:_[a-z]+)+)"', health)) | {"configuration", "misconfigured"}
    paged = set().union(*paged_codes().values())
    assert said - paged <= set(NOT_PAGED)
    assert paged <= said


def test_the_alerts_of_the_brief_are_all_there():
    assert set(POLICIES) == {
        "connection-paused",
        "plan-held",
        "no-successful-run",
        "pending-too-long",
        "dead-letters",
        "no-live-channel",
        "failure-ratio",
        "keeper-throttling",
        "incomplete-listing",
        "function-error",
    }


def test_it_is_noticed_when_nobody_takes_the_vital_signs(written):
    absent = [item for slug, item, *_ in conditions() if slug == "no-successful-run" and "condition_absent" in item]
    (condition,) = absent
    metric = our_metric(condition.condition_absent.filter)
    assert metric is not None
    assert [name for name, lines in written.items() if any(matches(metric, line) for line in lines)] == [
        "vital signs",
        "vital signs while paused",
        "vital signs while throttled",
    ]


@pytest.mark.parametrize(("slug", "condition"), [(slug, item) for slug, item, *_ in conditions()])
def test_the_service_takes_the_conditions(slug, condition):
    """What the parser does not say: cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies."""
    part = condition.condition_threshold if "condition_threshold" in condition else condition.condition_absent
    assert part.duration.total_seconds() % 60 == 0
    assert part.duration >= MINUTE  # asked for where missing data ends an incident, and of an absence 2 minutes
    for aggregation in part.aggregations:
        assert aggregation.alignment_period >= MINUTE
    assert POLICIES[slug].alert_strategy.auto_close >= 30 * MINUTE
    assert POLICIES[slug].severity.name in ("CRITICAL", "ERROR", "WARNING")


def test_labels_that_are_grouped_by_exist():
    grouped = [(text, aggregation) for _, _, text, all_ in conditions() for aggregation in all_] + list(charts())
    assert len(grouped) > 15
    for text, aggregation in grouped:
        metric = our_metric(text)
        names = [name.removeprefix("metric.labels.") for name in aggregation.group_by_fields if "metric.labels" in name]
        if metric is not None:
            assert set(names) <= set(metric.label_extractors)


def test_the_dashboard_shows_every_metric_of_ours_and_no_tile_covers_another():
    assert {metric.name for text, _ in charts() if (metric := our_metric(text)) is not None} == set(METRICS)
    tiles = DASHBOARD.mosaic_layout.tiles
    taken = [(x, y) for tile in tiles for x in range(tile.x_pos, tile.x_pos + tile.width) for y in (tile.y_pos,)]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < DASHBOARD.mosaic_layout.columns
    assert all(tile.widget.title for tile in tiles)


def test_a_message_of_another_shape_is_refused():
    with pytest.raises(Exception, match="no field named"):
        monitoring_v3.AlertPolicy.from_json('{"display": "typing error"}')


@pytest.mark.emulator
def test_the_deployed_door_takes_the_vital_signs_with_every_sweep(town):
    town.provisioned()
    assert town.ask("reconcile", body=b'{"kind": "sweep"}').status == 200
    written = town.log("reconcile") + town.log("apply_changes")
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    for name in ("vital_signs", "oldest_pending", "hour_changes", "runs"):
        assert any(matches(METRICS[f"autoprovisioning_{name}"], line) for line in lines), name
    signs = [line for line in lines if "vital_signs_of" in line]
    assert (signs[-1]["state"], signs[-1]["waiting"], signs[-1]["hour_failed"]) == ("on", 0, 0)


# --- runbooks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", POLICIES)
def test_a_policy_links_its_runbook(slug):
    path = next(path for path in monitoring.policies() if path.stem == slug)
    page = RUNBOOKS / f"{slug}.md"
    address = f"https://example.com/docs/runbooks/{page.name}"
    policy = monitoring_v3.AlertPolicy.from_json(
        json.dumps(watching.filled(path, "https://example.com/docs/runbooks/"))
    )
    assert [link.url for link in policy.documentation.links] == [address]
    assert policy.documentation.content.endswith(f"Runbook: {address}")
    assert str(page.relative_to(ROOT)) in json.dumps(watching.filled(path, ""))
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
        for page in RUNBOOKS.glob("*.md")
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    ]
    return sorted({line for block in blocks for line in block.splitlines()})


def test_gcloud_understands_the_commands_of_the_runbooks():
    assert len(commands()) > 10
    assert all(command.startswith("gcloud ") for command in commands())
    assert complaints(tuple(shlex.split(command)) for command in commands()) == {}


def test_the_runbooks_name_services_that_are_deployed():
    named = set(re.findall(r'service_name="([^"]+)"', "\n".join(commands())))
    assert named
    assert named <= {name.replace("_", "-") for name in main.__all__}
