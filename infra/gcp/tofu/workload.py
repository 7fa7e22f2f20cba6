"""The functions as services of Cloud Run, who may call each, the subscriptions and the schedule."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from infra.gcp import access, marks
from infra.gcp.description import (
    DEAD_LETTERS,
    DEAD_LETTERS_DEADLINE,
    DEAD_LETTERS_RETENTION,
    INVOKER,
    TIME_ZONE,
    Deployment,
    Function,
    Job,
    Subscription,
)
from infra.gcp.target import Target
from infra.gcp.tofu.identities import grant_address, grants
from infra.gcp.tofu.resource import APIS, Resource, named, value_of


def resources(target: Target, deployment: Deployment) -> Iterator[Resource]:
    """Yield them."""
    for function in deployment.functions:
        yield _service(target, deployment, function)
        yield from _callers(target, deployment, function)
    for subscription in deployment.subscriptions:
        yield _subscription(target, subscription)
    yield _dead_letters(target)
    for job in deployment.jobs:
        yield _job(target, job)


def _service(target: Target, deployment: Deployment, function: Function) -> Resource:
    owner = next(account for account in deployment.accounts if account.name == function.name)
    # When Cloud Run makes a revision, it checks that the account may read the secrets mounted into it.
    readable = [grant_address(owner, grant) for grant in owner.grants if grant.on.startswith("secret:")]
    environment = {"FUNCTION_TARGET": function.entry_point} | function.environment
    variables: list[dict[str, Any]] = [
        {"name": name, "value": target.filled(text, deployment)} for name, text in environment.items()
    ]
    variables += [
        {"name": name, "value_source": [{"secret_key_ref": [_mounted(target, secret)]}]}
        for name, secret in function.secrets.items()
    ]
    container = {
        "image": "${var.image}",
        "env": variables,
        "resources": [{"limits": {"cpu": function.cpu, "memory": function.memory}, "cpu_idle": True}],
    }
    return Resource(
        kind="google_cloud_run_v2_service",
        name=named(function.name),
        body={
            "name": function.name,
            "location": target.region,
            "project": target.project,
            "labels": marks.LABELS,
            "ingress": "INGRESS_TRAFFIC_ALL",
            "iap_enabled": function.iap,
            "invoker_iam_disabled": function.public,
            "deletion_protection": False,
            "template": [
                {
                    "service_account": value_of(f"google_service_account.{named(function.name)}", "email"),
                    "timeout": f"{function.timeout}s",
                    "max_instance_request_concurrency": function.concurrency,
                    "scaling": [
                        {"min_instance_count": function.min_instances, "max_instance_count": function.max_instances}
                    ],
                    "containers": [container],
                }
            ],
            "traffic": [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}],
            "depends_on": [APIS, *readable],
        },
        there=f"projects/{target.project}/locations/{target.region}/services/{function.name}",
    )


def _mounted(target: Target, secret: str) -> dict[str, str]:
    address = f"google_secret_manager_secret.{named(secret)}"
    return {"secret": value_of(address, "secret_id"), "version": target.mounted(secret)}


def _callers(target: Target, deployment: Deployment, function: Function) -> Iterator[Resource]:
    """Yield who may invoke a function, and whom Identity-Aware Proxy lets through: these and nobody else."""
    what = f"service:{function.name}"
    members = [member for member, _, grant in grants(deployment) if (grant.role, grant.on) == (INVOKER, what)]
    address = f"google_cloud_run_v2_service.{named(function.name)}"
    place = {"project": target.project, "location": target.region}
    if members:
        yield Resource(
            kind="google_cloud_run_v2_service_iam_binding",
            name=f"{named(function.name)}_invokers",
            body=place | {"name": value_of(address, "name"), "role": INVOKER, "members": members},
            there=f"projects/{target.project}/locations/{target.region}/services/{function.name} {INVOKER}",
        )
    if function.iap:
        proxied = f"projects/{target.project}/iap_web/cloud_run-{target.region}/services/{function.name}"
        yield Resource(
            kind="google_iap_web_cloud_run_service_iam_binding",
            name=f"{named(function.name)}_people",
            body=place
            | {
                "cloud_run_service_name": value_of(address, "name"),
                "role": access.IAP_ACCESSOR,
                "members": [target.access],
            },
            there=f"{proxied} {access.IAP_ACCESSOR}",
        )


def _url(target: Target, function: str) -> str:
    """Return a function's address, as an expression: whoever uses it waits for the service."""
    return target.url(value_of(f"google_cloud_run_v2_service.{named(function)}", "name"))


def _subscription(target: Target, wanted: Subscription) -> Resource:
    url = _url(target, wanted.function)
    return Resource(
        kind="google_pubsub_subscription",
        name=named(wanted.topic),
        body={
            "name": wanted.topic,
            "topic": value_of(f"google_pubsub_topic.{named(wanted.topic)}", "id"),
            "project": target.project,
            "labels": marks.LABELS,
            "ack_deadline_seconds": wanted.ack_deadline,
            "message_retention_duration": f"{wanted.retention}s",
            "expiration_policy": [{"ttl": ""}],  # never
            "retry_policy": [
                {"minimum_backoff": f"{wanted.min_retry}s", "maximum_backoff": f"{wanted.max_retry}s"},
            ],
            "dead_letter_policy": [
                {
                    "dead_letter_topic": value_of(f"google_pubsub_topic.{named(DEAD_LETTERS)}", "id"),
                    "max_delivery_attempts": wanted.attempts,
                }
            ],
            "push_config": [
                {
                    "push_endpoint": url,
                    "oidc_token": [
                        {"service_account_email": value_of("google_service_account.push", "email"), "audience": url}
                    ],
                }
            ],
        },
        there=f"projects/{target.project}/subscriptions/{wanted.topic}",
    )


def _dead_letters(target: Target) -> Resource:
    return Resource(
        kind="google_pubsub_subscription",
        name=named(DEAD_LETTERS),
        body={
            "name": DEAD_LETTERS,
            "topic": value_of(f"google_pubsub_topic.{named(DEAD_LETTERS)}", "id"),
            "project": target.project,
            "labels": marks.LABELS,
            "ack_deadline_seconds": DEAD_LETTERS_DEADLINE,
            "message_retention_duration": f"{DEAD_LETTERS_RETENTION}s",
            "expiration_policy": [{"ttl": ""}],
        },
        there=f"projects/{target.project}/subscriptions/{DEAD_LETTERS}",
    )


def _job(target: Target, job: Job) -> Resource:
    url = _url(target, job.function)
    return Resource(
        kind="google_cloud_scheduler_job",
        name=named(job.name),
        body={
            "name": job.name,
            "region": target.region,
            "project": target.project,
            "schedule": job.schedule,
            "time_zone": TIME_ZONE,
            "attempt_deadline": f"{job.deadline}s",
            "retry_config": [
                {
                    "retry_count": job.retries,
                    "min_backoff_duration": f"{job.min_backoff}s",
                    "max_backoff_duration": f"{job.max_backoff}s",
                }
            ],
            "http_target": [
                {
                    "uri": url,
                    "http_method": "POST",
                    "body": base64.b64encode(job.body.encode()).decode(),
                    "headers": {"Content-Type": "application/json"},
                    "oidc_token": [
                        {
                            "service_account_email": value_of("google_service_account.scheduler", "email"),
                            "audience": url,
                        }
                    ],
                }
            ],
            "depends_on": [APIS],
        },
        there=f"projects/{target.project}/locations/{target.region}/jobs/{job.name}",
    )
