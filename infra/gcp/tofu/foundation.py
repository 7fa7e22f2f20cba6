"""APIs, what images are built from and kept in, Firestore, topics, secrets, the log of who reads them, the budget."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from infra.gcp import audit_logs, budget, build, firestore, marks, sink
from infra.gcp.commands import KEPT_IMAGES
from infra.gcp.description import (
    BACKUP_DAYS,
    DATABASE,
    KEYS,
    PUBLISHER,
    REPOSITORY,
    SOURCES,
    WORKSPACE_CHANGES,
    Deployment,
)
from infra.gcp.target import ORGANIZATION, Target
from infra.gcp.tofu.resource import APIS, NOTIFIED, Resource, named, snake, value_of

STORE = "google_firestore_database.state"


def resources(target: Target, deployment: Deployment) -> Iterator[Resource]:
    """Yield them."""
    yield Resource(
        kind="google_project_service",
        name="enabled",
        body={
            "for_each": f"${{toset({json.dumps([*deployment.services, *budget.services(target)])})}}",
            "project": target.project,
            "service": "${each.value}",
            "disable_on_destroy": False,  # others in the project may need it
        },
    )
    yield _repository(target)
    yield _bucket(target)
    yield from _firestore(target)
    for topic in deployment.topics:
        body = {"name": topic, "labels": marks.LABELS, "project": target.project, "depends_on": [APIS]}
        there = f"projects/{target.project}/topics/{topic}"
        yield Resource(kind="google_pubsub_topic", name=named(topic), body=body, there=there)
    for key in KEYS:
        yield Resource(
            kind="google_secret_manager_secret",
            name=named(key),
            body={
                "secret_id": key,
                "labels": marks.LABELS,
                "replication": [{"auto": [{}]}],
                "project": target.project,
                "depends_on": [APIS],
            },
            there=f"projects/{target.project}/secrets/{key}",
        )
    yield Resource(
        kind="google_project_iam_audit_config",
        name="reads_of_secrets",
        body={
            "project": target.project,
            "service": audit_logs.SERVICE,
            "audit_log_config": [{"log_type": audit_logs.READS}],
            "depends_on": [APIS],
        },
        there=f"{target.project} {audit_logs.SERVICE}",
    )
    if target.budget:
        yield _budget(target)
    if target.sink == ORGANIZATION:
        yield from _sink(target)


def _sink(target: Target) -> Iterator[Resource]:
    yield Resource(
        kind="google_logging_organization_sink",
        name="workspace_changes",
        body={
            "name": sink.name(target),
            "org_id": target.organization,
            "destination": sink.destination(target),
            "filter": sink.entries(target.organization),
            "description": sink.DESCRIPTION,
            "depends_on": [f"google_pubsub_topic.{named(WORKSPACE_CHANGES)}"],
        },
        there=f"organizations/{target.organization}/sinks/{sink.name(target)}",
    )
    yield Resource(
        kind="google_pubsub_topic_iam_member",
        name="sink_publishes",
        body={
            "topic": value_of(f"google_pubsub_topic.{named(WORKSPACE_CHANGES)}", "name"),
            "role": PUBLISHER,
            "member": value_of("google_logging_organization_sink.workspace_changes", "writer_identity"),
            "project": target.project,
        },
    )


def _bucket(target: Target) -> Resource:
    (rule,) = json.loads(build.KEPT.read_text())["rule"]
    name = f"{SOURCES}-{target.number}"
    return Resource(
        kind="google_storage_bucket",
        name="sources",
        body={
            "name": name,
            "location": target.region,
            "project": target.project,
            "uniform_bucket_level_access": True,
            "public_access_prevention": "enforced",
            "lifecycle_rule": [{"action": [rule["action"]], "condition": [rule["condition"]]}],
            "depends_on": [APIS],
        },
        there=f"{target.project}/{name}",
    )


def _budget(target: Target) -> Resource:
    units, currency = budget.amount(target)
    rules = [
        {"threshold_percent": float(percent), "spend_basis": budget.enumerated(basis)}
        for percent, basis in budget.THRESHOLDS
    ]
    return Resource(
        kind="google_billing_budget",
        name="month",
        body={
            "billing_account": "${var.billing_account}",
            "display_name": budget.title(target),
            "budget_filter": [
                {
                    "projects": [f"projects/{target.number}"],
                    "calendar_period": "MONTH",
                    "credit_types_treatment": "INCLUDE_ALL_CREDITS",
                }
            ],
            "amount": [{"specified_amount": [{"units": units} | ({"currency_code": currency} if currency else {})]}],
            "threshold_rules": rules,
            "all_updates_rule": [
                {
                    "monitoring_notification_channels": (
                        f"${{slice([for each in {NOTIFIED} : each.name], 0, "
                        f"min({budget.MOST_CHANNELS}, length({NOTIFIED})))}}"
                    ),
                }
            ],
            "depends_on": [APIS],
        },
    )


def _repository(target: Target) -> Resource:
    return Resource(
        kind="google_artifact_registry_repository",
        name=named(REPOSITORY),
        body={
            "repository_id": REPOSITORY,
            "format": "DOCKER",
            "location": target.region,
            "labels": marks.LABELS,
            "cleanup_policy_dry_run": False,
            "cleanup_policies": [_kept(rule) for rule in json.loads(KEPT_IMAGES.read_text())],
            "project": target.project,
            "depends_on": [APIS],
        },
        there=f"projects/{target.project}/locations/{target.region}/repositories/{REPOSITORY}",
    )


def _kept(rule: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {"id": rule["name"], "action": rule["action"]["type"].upper()}
    if "condition" in rule:
        condition = snake(rule["condition"])
        body["condition"] = [condition | {"tag_state": condition["tag_state"].upper()}]
    if "mostRecentVersions" in rule:
        body["most_recent_versions"] = [snake(rule["mostRecentVersions"])]
    return body


def _firestore(target: Target) -> Iterator[Resource]:
    home = f"projects/{target.project}/databases/{DATABASE}"
    placed = {"project": target.project, "database": value_of(STORE, "name")}
    yield Resource(
        kind="google_firestore_database",
        name="state",
        body={
            "name": DATABASE,
            "location_id": target.location,
            "type": "FIRESTORE_NATIVE",
            "point_in_time_recovery_enablement": "POINT_IN_TIME_RECOVERY_ENABLED",
            "delete_protection_state": "DELETE_PROTECTION_ENABLED",
            "project": target.project,
            "depends_on": [APIS],
        },
        there=home,
    )
    yield Resource(
        kind="google_firestore_backup_schedule",
        name="daily",
        body=placed | {"retention": f"{BACKUP_DAYS * 86_400}s", "daily_recurrence": [{}]},
    )
    described = firestore.described()
    for index in described["indexes"]:
        paths = [field["fieldPath"] for field in index["fields"]]
        yield Resource(
            kind="google_firestore_index",
            name=named(f"{index['collectionGroup']}_{'_'.join(paths)}"),
            body=placed
            | {
                "collection": index["collectionGroup"],
                "query_scope": index["queryScope"],
                "fields": [snake(field) for field in index["fields"]],
            },
        )
    for field in described["fieldOverrides"]:
        group, path = field["collectionGroup"], field["fieldPath"]
        body: dict[str, Any] = placed | {"collection": group, "field": path, "index_config": [{}]}
        yield Resource(
            kind="google_firestore_field",
            name=named(f"{group}_{path}"),
            body=body | ({"ttl_config": [{}]} if field.get("ttl") else {}),
            there=f"{home}/collectionGroups/{group}/fields/{path}",
        )
