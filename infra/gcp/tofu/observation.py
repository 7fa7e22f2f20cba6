"""Log-based metrics, alert policies and whom they reach, the dashboard and the uptime check."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from infra.gcp import monitoring, watching
from infra.gcp.target import Target
from infra.gcp.tofu.resource import APIS, NOTIFIED, Resource, literal, named, snake

# Of the fields of the API that hold an object, those that the provider takes as a map, whose keys people choose.
MAPS = ("userLabels", "labelExtractors")


def resources(target: Target) -> Iterator[Resource]:
    """Yield them."""
    placed = {"project": target.project, "depends_on": [APIS]}
    for path in monitoring.metrics():
        body: dict[str, Any] = snake(json.loads(path.read_text()), *MAPS)
        yield Resource(
            kind="google_logging_metric",
            name=path.stem,
            body=body | {"name": path.stem} | placed,
            there=f"{target.project} {path.stem}",
        )
    yield Resource(
        kind="google_monitoring_notification_channel",
        name="address",
        body={
            "for_each": "${var.alert_addresses}",
            "display_name": f"{watching.CHANNEL_TITLE}${{each.value}}",
            "type": "email",
            "labels": {"email_address": "${each.value}"},
        }
        | placed,
    )
    metrics = [f"google_logging_metric.{path.stem}" for path in monitoring.metrics()]
    for path in watching.policies_of(target):
        yield _policy(target, path.stem, watching.filled(path, target), metrics)
    yield Resource(
        kind="google_monitoring_dashboard",
        name="keeper",
        body={"dashboard_json": literal(monitoring.DASHBOARD.read_text())} | placed,
    )
    if target.webhook:
        yield _webhook_check(target, placed)


def _policy(target: Target, name: str, policy: dict[str, Any], metrics: list[str]) -> Resource:
    return Resource(
        kind="google_monitoring_alert_policy",
        name=named(name),
        body=snake(policy, *MAPS)
        | {
            "notification_channels": f"${{concat([for each in {NOTIFIED} : each.name], var.alert_channels)}}",
            "project": target.project,
            "depends_on": metrics,  # a policy is refused while Cloud Monitoring does not know its metric
        },
    )


def _webhook_check(target: Target, placed: dict[str, Any]) -> Resource:
    host = target.url("directory-webhook").removeprefix("https://")
    return Resource(
        kind="google_monitoring_uptime_check_config",
        name="webhook",
        body={
            "display_name": watching.WEBHOOK_TITLE,
            "period": "900s",
            "timeout": "60s",
            "monitored_resource": [
                {"type": "uptime_url", "labels": {"host": host, "project_id": target.project}},
            ],
            "http_check": [
                {
                    "path": "/",
                    "request_method": "GET",
                    "use_ssl": True,
                    "validate_ssl": True,
                    "port": 443,
                    "accepted_response_status_codes": [{"status_value": watching.REFUSAL}],
                }
            ],
        }
        | placed,
    )
