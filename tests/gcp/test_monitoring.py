"""Alerts, metrics and dashboard: real API messages, and filters that match what the code really logs."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import functions_framework
import pytest
from functions_framework.execution_id import ExecutionContext, LoggingHandlerAddExecutionId
from google.api.metric_pb2 import MetricDescriptor
from google.cloud import monitoring_dashboard_v1, monitoring_v3
from google.cloud.logging_v2.types import LogMetric

from infra.gcp import commands, monitoring, watching
from infra.gcp.description import DEPLOYMENT
from tests.gcp.gcloud_parser import TARGET
from tests.gcp.scenes import MINUTE, PLATFORM, STARTED, Line, said, written

FUNCTIONS = Path(__file__).parents[2] / "functions" / "autoprovisioning"

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

# Resource type, kind, value type and labels (cloud.google.com/monitoring/api/metrics_gcp).
GAUGE, DELTA = MetricDescriptor.GAUGE, MetricDescriptor.DELTA
INT64, DOUBLE, DISTRIBUTION = MetricDescriptor.INT64, MetricDescriptor.DOUBLE, MetricDescriptor.DISTRIBUTION
BOOL = MetricDescriptor.BOOL
GOOGLES: dict[str, tuple[str, int, int, set[str]]] = {
    "pubsub.googleapis.com/subscription/num_undelivered_messages": ("pubsub_subscription", GAUGE, INT64, set()),
    "pubsub.googleapis.com/subscription/oldest_unacked_message_age": ("pubsub_subscription", GAUGE, INT64, set()),
    "run.googleapis.com/request_count": ("cloud_run_revision", DELTA, INT64, {"response_code_class"}),
    "run.googleapis.com/request_latencies": ("cloud_run_revision", DELTA, DISTRIBUTION, {"response_code_class"}),
    "monitoring.googleapis.com/uptime_check/check_passed": ("uptime_url", GAUGE, BOOL, {"check_id"}),
    "firestore.googleapis.com/document/read_ops_count": ("firestore.googleapis.com/Database", DELTA, INT64, {"type"}),
    "firestore.googleapis.com/document/write_ops_count": ("firestore.googleapis.com/Database", DELTA, INT64, {"op"}),
}
RESOURCE_LABELS = {  # those that we use (cloud.google.com/monitoring/api/resources)
    "pubsub_subscription": {"subscription_id"},
    "cloud_run_revision": {"service_name"},
    "uptime_url": {"host", "project_id"},
    "firestore.googleapis.com/Database": set(),
}
NUMBERS = (INT64, DOUBLE)
# What an aligner takes, and the value type it makes (common.proto, Aggregation.Aligner); None: as it was.
ALIGNERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], int | None]] = {
    "ALIGN_DELTA": ((DELTA,), (*NUMBERS, DISTRIBUTION), None),
    "ALIGN_RATE": ((DELTA,), NUMBERS, DOUBLE),
    "ALIGN_MAX": ((GAUGE, DELTA), NUMBERS, None),
    "ALIGN_NEXT_OLDER": ((GAUGE,), (*NUMBERS, BOOL), None),
    "ALIGN_PERCENTILE_50": ((GAUGE, DELTA), (DISTRIBUTION,), DOUBLE),
    "ALIGN_PERCENTILE_95": ((GAUGE, DELTA), (DISTRIBUTION,), DOUBLE),
    "ALIGN_PERCENTILE_99": ((GAUGE, DELTA), (DISTRIBUTION,), DOUBLE),
}
# What a reducer takes, and makes (Aggregation.Reducer).
REDUCERS: dict[str, tuple[tuple[int, ...], int | None]] = {
    "REDUCE_SUM": ((*NUMBERS, DISTRIBUTION), None),
    "REDUCE_MAX": (NUMBERS, None),
    "REDUCE_COUNT_FALSE": ((BOOL,), INT64),
    "REDUCE_MEAN": ((*NUMBERS, DISTRIBUTION), DOUBLE),
}
SPAN = "logging.googleapis.com/spanId"
SEVEN_DAYS = 7 * 24 * 60 * MINUTE

# --- the filters --------------------------------------------------------------------------------------------------

TERM = re.compile(
    r'(?P<field>[\w.]+)(?P<operator>:\*|:|>=|=)(?:"(?P<text>[^"]*)"|one_of\((?P<several>[^)]*)\)|(?P<word>[A-Z]+))?\Z'
)
SEVERITIES = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def terms(text: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """Take a filter apart: field, operator, the texts it may equal. Anything else than these terms and AND fails."""
    found = []
    for term in text.split(" AND "):
        match = TERM.match(term)
        assert match, term
        several = tuple(item.strip().strip('"') for item in (match["several"] or "").split(",") if item)
        found.append((match["field"], match["operator"], several or (match["text"] or match["word"],)))
    return found


def matches(metric: LogMetric, line: Line) -> bool:
    """Say whether a log-based metric counts the line, were it of a function."""
    for field, operator, texts in terms(metric.filter):
        if field == "resource.type":
            assert texts == ("cloud_run_revision",)
            continue
        if field == "logName":
            if texts[0] not in line.get("logName", ""):
                return False
            continue
        if field == "severity":
            if SEVERITIES.index(line["severity"]) < SEVERITIES.index(texts[0]):
                return False
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


def every_line() -> list[Line]:
    """Return what the code and the platform write."""
    return [*said(), *PLATFORM.values()]


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
def test_a_metric_counts_lines_that_the_code_writes_with_every_label_and_value(name):
    metric = METRICS[name]
    counted = [line for line in every_line() if matches(metric, line)]
    assert metric.name == name
    assert counted
    assert {label.key for label in metric.metric_descriptor.labels} == set(metric.label_extractors)
    for expression in metric.label_extractors.values():
        assert any(isinstance(extracted(expression, line), str) for line in counted)
    if metric.value_extractor:
        assert metric.metric_descriptor.value_type == MetricDescriptor.DISTRIBUTION
        assert all(isinstance(extracted(metric.value_extractor, line), int | float) for line in counted)


@pytest.mark.parametrize("scene", written())
def test_execution_ids_take_nothing_from_a_line(scene):
    """With LOG_EXECUTION_ID, which Cloud Functions sets, functions-framework rewrites what goes to stdout."""
    stream = io.StringIO()
    with flask.Flask("x").test_request_context():
        flask.g.execution_id_context = ExecutionContext("an execution", "a span")
        for line in written()[scene]:
            LoggingHandlerAddExecutionId(stream).write(f"{json.dumps(line)}\n")
    rewritten = [json.loads(line) for line in stream.getvalue().splitlines()]
    labels = "logging.googleapis.com/labels"
    assert [line.pop(labels)["execution_id"] for line in rewritten] == ["an execution"] * len(rewritten)
    for line, was in zip(rewritten, written()[scene], strict=True):
        assert line == {**{name: value for name, value in was.items() if name != labels}, SPAN: "a span"}


@pytest.mark.parametrize(("slug", "condition"), [(slug, item) for slug, item, *_ in conditions()])
def test_a_condition_is_met_by_a_line_that_the_code_writes(slug, condition):
    text = condition.condition_threshold.filter or condition.condition_absent.filter
    metric = our_metric(text)
    if metric is None:
        kind, _ = _kind_and_places(text)
        assert kind in GOOGLES
        return
    wanted = [(field.split(".")[-1], texts) for field, _, texts in terms(text) if field.startswith("metric.labels.")]
    counted = [line for line in every_line() if matches(metric, line)]
    for value in wanted[0][1] if wanted else ("",):
        assert any(not wanted or extracted(metric.label_extractors[wanted[0][0]], line) == value for line in counted), (
            value
        )


def _kind_and_places(text: str) -> tuple[str, set[str]]:
    """Return the metric of a filter, and the subscriptions or services that it is restricted to."""
    found = {field: texts for field, _, texts in terms(text)}
    (kind,) = found["metric.type"]
    places = (*found.get("resource.labels.subscription_id", ()), *found.get("resource.labels.service_name", ()))
    return kind, set(places)


def test_the_queues_that_are_watched_are_all_that_there_are():
    queues = [(slug, text) for slug, _, text, _ in conditions() if 'resource.type="pubsub_subscription"' in text]
    watched = {slug: _kind_and_places(text)[1] for slug, text in queues}
    pushed = {subscription.topic for subscription in DEPLOYMENT.subscriptions}
    assert watched == {"pending-too-long": pushed, "dead-letters": set(DEPLOYMENT.topics) - pushed}


@pytest.mark.parametrize(
    ("scene", "slugs"),
    [
        ("vital signs", {"plan-held", "no-successful-run", "pending-too-long", "no-live-channel", "failure-ratio"}),
        ("vital signs while paused", {"connection-paused"}),
        ("vital signs while throttled", {"keeper-throttling"}),
        ("vital signs after a refused run", {"failure-ratio"}),
        ("pause", {"connection-paused"}),
        ("throttle", {"keeper-throttling"}),
        ("hold", {"plan-held"}),
        ("contradicted write", {"keeper-contradicts"}),
        ("changed in Keeper", {"changed-in-keeper"}),
        ("many at once", {"many-at-once"}),
        ("unproven channel", {"no-live-channel"}),
        ("unreadable group", {"incomplete-listing"}),
        ("unreadable units", {"incomplete-listing"}),
        ("vital signs with a unit gone", {"incomplete-listing"}),
        ("unforeseen", {"function-error"}),
        ("run refused", set()),
        ("run done", set()),
        ("a change", set()),
    ],
)
def test_each_state_raises_its_alert(scene, slugs):
    codes = {line["alert"] for line in written()[scene] if "alert" in line}
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
    health = (FUNCTIONS / "app" / "administration" / "health.py").read_text()
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
        "keeper-contradicts",
        "changed-in-keeper",
        "many-at-once",
        "incomplete-listing",
        "function-error",
        "server-errors",
        "does-not-start",
        "webhook-unreachable",
        "silent-source",
    }


def test_what_people_and_the_directory_call_is_watched_for_what_it_cannot_say_itself():
    """A console that does not start writes no line of ours; of the private functions the queues and runs tell."""
    doors = {function.name for function in DEPLOYMENT.functions if function.iap or function.public}
    named = {slug: _kind_and_places(text) for slug, _, text, _ in conditions()}
    assert named["server-errors"] == ("run.googleapis.com/request_count", doors)
    assert named["does-not-start"] == ("logging.googleapis.com/user/autoprovisioning_start_failures", doors)


def test_an_instance_that_started_is_none_that_did_not():
    metric = METRICS["autoprovisioning_start_failures"]
    assert all(matches(metric, line) for line in PLATFORM.values())
    assert not matches(metric, STARTED)
    assert [line for line in said() if matches(metric, line)] == []


def test_the_uptime_check_asks_for_what_the_webhook_answers(monkeypatch, tmp_path):
    credentials = tmp_path / "credentials.json"
    fields = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    credentials.write_text(json.dumps(fields))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "keeper-prod")
    monkeypatch.setenv("CHANNEL_KEY", "0" * 64)
    app = functions_framework.create_app(target="directory_webhook", source=str(FUNCTIONS.parent / "main.py"))
    answer = app.test_client().get("/")
    assert (answer.status_code, answer.is_json) == (watching.REFUSAL, True)


def test_the_alert_about_the_webhook_is_of_its_own_uptime_check():
    (path,) = [path for path in monitoring.policies() if path.stem == "webhook-unreachable"]
    text = watching.filled(path, TARGET)["conditions"][0]["conditionThreshold"]["filter"]
    host = {field: texts for field, _, texts in terms(text)}["resource.labels.host"]
    (step,) = [step for step in commands.all_steps(TARGET) if "Uptime check" in step.title]
    assert f"--resource-labels=host={host[0]},project_id=keeper-prod" in step.make[0]
    assert f"https://{host[0]}" == TARGET.url("directory-webhook")
    assert "{" not in json.dumps(text)


def test_it_is_noticed_when_nobody_takes_the_vital_signs():
    absent = [item for slug, item, *_ in conditions() if slug == "no-successful-run" and "condition_absent" in item]
    (condition,) = absent
    metric = our_metric(condition.condition_absent.filter)
    assert metric is not None
    assert [name for name, lines in written().items() if any(matches(metric, line) for line in lines)] == [
        "vital signs",
        "vital signs while paused",
        "vital signs while throttled",
        "vital signs with a unit gone",
        "vital signs after a refused run",
        "vital signs with a silent source",
    ]


@pytest.mark.parametrize(("slug", "condition"), [(slug, item) for slug, item, *_ in conditions()])
def test_the_service_takes_the_conditions(slug, condition):
    """What the parser does not say: cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies."""
    part = condition.condition_threshold if "condition_threshold" in condition else condition.condition_absent
    assert part.duration.total_seconds() % 60 == 0
    assert part.duration >= MINUTE  # asked for where missing data ends an incident, and of an absence 2 minutes
    for aggregation in part.aggregations:
        assert aggregation.alignment_period >= MINUTE
    assert 30 * MINUTE <= POLICIES[slug].alert_strategy.auto_close <= SEVEN_DAYS
    assert POLICIES[slug].severity.name in ("CRITICAL", "ERROR", "WARNING")


def test_an_alert_of_silence_is_not_closed_by_silence():
    """autoClose ends an incident "if a policy that was active has no data for this long" (AlertPolicy.AlertStrategy).

    An absence could not be told again before data came, so nobody would hear of it a second time.
    """
    silent = {slug for slug, condition, *_ in conditions() if "condition_absent" in condition}
    assert silent == {"no-successful-run"}
    assert all(POLICIES[slug].alert_strategy.auto_close == SEVEN_DAYS for slug in silent)


def _described(text: str) -> tuple[str, int, int, set[str]]:
    """Return resource type, kind, value type and labels of a filter's metric."""
    metric = our_metric(text)
    if metric is None:
        return GOOGLES[_kind_and_places(text)[0]]
    descriptor = metric.metric_descriptor
    return "cloud_run_revision", descriptor.metric_kind, descriptor.value_type, set(metric.label_extractors)


ALIGNED = [(text, each, True) for _, _, text, several in conditions() for each in several]
ALIGNED += [(text, each, False) for text, each in charts()]


@pytest.mark.parametrize(("text", "aggregation", "compared"), ALIGNED)
def test_an_aggregation_fits_its_metric(text, aggregation, compared):
    resource, kind, value, labels = _described(text)
    kinds, values, aligned = ALIGNERS[aggregation.per_series_aligner.name]
    assert kind in kinds
    assert value in values
    reduced_from, reduced = REDUCERS[aggregation.cross_series_reducer.name]
    value = aligned or value
    assert value in reduced_from
    assert not compared or (reduced or value) in NUMBERS
    named = [field for field, *_ in terms(text)] + list(aggregation.group_by_fields)
    assert {field.removeprefix("metric.labels.") for field in named if field.startswith("metric.labels.")} <= labels
    mine = {field.removeprefix("resource.labels.") for field in named if field.startswith("resource.labels.")}
    assert mine <= RESOURCE_LABELS[resource]
    assert ("resource.type", "=", (resource,)) in terms(text)


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
def test_the_deployed_door_takes_the_vital_signs_with_every_sweep(system):
    system.provisioned()
    assert system.ask("reconcile", body=b'{"kind": "sweep"}').status == 200
    written = system.log("reconcile") + system.log("apply_changes")
    lines = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    for name in ("vital_signs", "oldest_pending", "hour_changes", "runs"):
        assert any(matches(METRICS[f"autoprovisioning_{name}"], line) for line in lines), name
    signs = [line for line in lines if "vital_signs_of" in line]
    assert (signs[-1]["state"], signs[-1]["waiting"], signs[-1]["hour_failed"]) == ("on", 0, 0)
