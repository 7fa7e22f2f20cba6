"""From the description to ordered steps of gcloud commands, for one project. Pure: nothing is run here."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from infra.gcp import (
    access,
    agents,
    audit_logs,
    budget,
    build,
    firestore,
    labels,
    marks,
    services,
    sink,
    upload,
    watching,
)
from infra.gcp.description import (
    BACKUP_DAYS,
    DATABASE,
    DEAD_LETTERS,
    DEAD_LETTERS_DEADLINE,
    DEAD_LETTERS_RETENTION,
    DEPLOYMENT,
    KEYS,
    REPOSITORY,
    SOURCES,
    TIME_ZONE,
    WEBHOOK,
    Deployment,
    Job,
    Subscription,
)
from infra.gcp.steps import AS_JSON, FOUND, Command, Exactly, OneOf, Step, first, gcloud, under
from infra.gcp.target import IMAGE, RELEASE, Target
from infra.gcp.variants import chosen

ROOT = Path(__file__).resolve().parents[2]
IMAGES = "infra/gcp/images.json"  # Artifact Registry's cleanup policies
KEPT_IMAGES = Path(__file__).parent / "images.json"
_CLEANUP = ("artifacts", "repositories", "set-cleanup-policies")
SINK = "Log sink of the organization"
TRAFFIC = "Traffic"  # the chapter before which new revisions are tested
DEFAULT_DEADLINE = "180s"  # of a scheduler's attempt; Google may leave it out


def project_number(target: Target) -> Command:
    """Return the command that shows the project's number."""
    return (*gcloud("projects", "describe", target.project), AS_JSON)


def apis(target: Target, deployment: Deployment = DEPLOYMENT) -> Step:
    """Return the first step, whose look tells what of the project can be looked at."""
    return under("APIs", [_Plan(target, deployment).services()])[0]


def foundation(target: Target, deployment: Deployment = DEPLOYMENT) -> list[Step]:
    """Return the steps before the functions: APIs, whom alerts reach, identities, database, topics, keys, metrics."""
    deployment = chosen(target, deployment)
    plan = _Plan(target, deployment)
    granted = ("project", *(f"account:{account.name}" for account in deployment.accounts))
    topics = [(plan.topic(topic), *plan.grants_on(f"topic:{topic}")) for topic in deployment.topics]
    return [
        apis(target, deployment),
        *under("Whom alerts reach", watching.channels(target.project, target.alerts_to)),
        *under("Google's own identities", agents.steps(target)),
        *under("Identities", access.accounts(target, deployment)),
        *under("Roles", access.roles(target, deployment)),
        *under("Roles", (step for what in granted for step in plan.grants_on(what))),
        *under("Audit logs", [audit_logs.reads_of_secrets(target)]),
        *under("Images", plan.repository()),
        *under("Images", [build.bucket(target), *plan.grants_on(f"bucket:{SOURCES}")]),
        *under("Firestore", [plan.database(), plan.backups()]),
        *under("Firestore", firestore.exemptions(target.project, DATABASE)),
        *under("Firestore", firestore.indexes(target.project, DATABASE)),
        *under("Topics", (step for steps in topics for step in steps)),
        *under(SINK, sink.made(target)),
        *under("Secrets", (step for key in KEYS for step in plan.key(key))),
        # Cloud Monitoring takes up to ten minutes to know a metric that an alert policy names: the build gives it time.
        *under("Log-based metrics", watching.metrics(target.project)),
    ]


def publishing(target: Target) -> list[Step]:
    """Return the step that lets the log sink publish; its identity must be known."""
    return under(SINK, sink.published(target))


def image(target: Target) -> list[Step]:
    """Return the step that builds what all functions are started from."""
    return under("Image", build.steps(_settled(target)))


def functions(target: Target, deployment: Deployment = DEPLOYMENT) -> list[Step]:
    """Return the steps for the functions except their traffic; the image and the keys' versions must be known."""
    deployment = chosen(target, deployment)
    plan = _Plan(target, deployment)
    settled = (services.settled(target, deployment, plan.labels, item) for item in deployment.functions)
    return under(
        "Functions, and access to each",
        [
            *(step for steps in settled for step in steps),
            *services.tried(target, deployment),
        ],
    )


def traffic(target: Target, deployment: Deployment = DEPLOYMENT) -> list[Step]:
    """Return the steps that move traffic to what was deployed, once that was tested."""
    return under(TRAFFIC, services.moved(target, chosen(target, deployment)))


def workload(target: Target, deployment: Deployment = DEPLOYMENT) -> list[Step]:
    """Return the steps from what calls the functions on, once all of them serve."""
    deployment = chosen(target, deployment)
    plan = _Plan(target, deployment)
    return [
        *under("Subscriptions", (step for item in deployment.subscriptions for step in plan.subscription(item))),
        *under("Subscriptions", [plan.dead_letters()]),
        *under("Schedule", map(plan.job, deployment.jobs)),
        *under("Firestore: what expires", firestore.lifetimes(target.project, DATABASE)),
        *under("Monitoring", [watching.dashboard(target.project), *watching.webhook_check(target)]),
        *under("No public function", [] if target.webhook else [services.without(target, WEBHOOK)]),
        *under("Roles that are not needed any more", access.nothing_more(target, deployment)),
        *under("Roles that are not needed any more", [*access.nothing_else(target, deployment), access.former(target)]),
    ]


def alerts(target: Target) -> list[Step]:
    """Return the steps for alert policies and a budget; notification channels and billing account must be known."""
    return [*under("Alert policies", watching.policies(target)), *under("Budget", budget.steps(target))]


def sinks(target: Target) -> list[Step]:
    """Return the steps that remove log sinks that are not wanted any more, once all functions do without."""
    return under("Log sinks that are not wanted any more", sink.ended(target))


def key_versions(target: Target, key: str) -> Command:
    """Return the command that lists a key's enabled versions."""
    look = gcloud("secrets", "versions", "list", key, filter="state=ENABLED", project=target.project)
    return (*look, AS_JSON)


def database_look(target: Target) -> Command:
    """Return the command that describes Firestore's database."""
    return (*gcloud("firestore", "databases", "describe", database=DATABASE, project=target.project), AS_JSON)


def delegated_identity(target: Target) -> Command:
    """Return the command that shows the numeric client id to enter in the Admin console."""
    look = gcloud("iam", "service-accounts", "describe", target.account("directory"), project=target.project)
    return (*look, AS_JSON)


def source_digest() -> str:
    """Return a digest of what is uploaded, and of how an image is built from it.

    Raises:
        NoClone: git cannot say what is uploaded.
    """
    return upload.digest(ROOT, build.recipe())


def release(target: Target, deployment: Deployment = DEPLOYMENT) -> str:
    """Return the name of the release that a deployment makes, computed from the image and the functions' settings."""
    if target.image == IMAGE:  # unknown until it is built
        return RELEASE
    keys = {key: target.mounted(key) for key in KEYS}
    functions = chosen(target, deployment).functions
    given = (target.image, functions, target.project, target.region, target.admin, keys)
    return hashlib.sha256(repr(given).encode()).hexdigest()[:16]


def _settled(target: Target) -> Target:
    """Return the target with the digest of what is uploaded.

    Raises:
        NoClone: git cannot say what that is.
    """
    return target if target.source else replace(target, source=source_digest())


class _Plan:
    """Makes the steps of one deployment."""

    def __init__(self, target: Target, deployment: Deployment) -> None:
        self._target = target
        self._deployment = deployment
        self._project = target.project

    def _cloud(self, *parts: str, **flags: Any) -> Command:
        return gcloud(*parts, **flags, project=self._project)

    def _regional(self, *parts: str, **flags: Any) -> Command:
        return gcloud(*parts, **flags, region=self._target.region, project=self._project)

    def grants_on(self, what: str) -> list[Step]:
        return access.grants_on(what, self._target, self._deployment)

    def services(self) -> Step:
        wanted = (*self._deployment.services, *budget.services(self._target))
        names = ", ".join(name.removesuffix(".googleapis.com") for name in wanted)
        return Step(
            title=f"APIs enabled: {names}",
            look=(*self._cloud("services", "list", enabled=True), AS_JSON),
            make=(self._cloud("services", "enable", *wanted),),
            find=lambda enabled: enabled if {*wanted} <= {item["config"]["name"] for item in enabled or []} else None,
        )

    def repository(self) -> Iterator[Step]:
        where = {"location": self._target.region}
        yield Step(
            title=f"Repository {REPOSITORY} for the functions' images",
            look=(*self._cloud("artifacts", "repositories", "describe", REPOSITORY, **where), AS_JSON),
            make=(
                self._cloud(
                    *("artifacts", "repositories", "create", REPOSITORY),
                    **where,
                    repository_format="docker",
                    labels=marks.LABEL,
                ),
            ),
            wanted={"format": "DOCKER", "labels": marks.LABELS},
            change=(
                self._cloud("artifacts", "repositories", "update", REPOSITORY, **where, update_labels=marks.LABEL),
            ),
            owned=marks.Owned(what=f"repository {REPOSITORY}", whose=marks.by_label),
        )
        yield Step(
            title="Images older than 90 days are deleted, except the last ten",
            look=(*self._cloud("artifacts", "repositories", "describe", REPOSITORY, **where), AS_JSON),
            make=(self._cloud(*_CLEANUP, REPOSITORY, **where, policy=IMAGES, dry_run=False),),
            wanted={"cleanupPolicies": {rule["name"]: _as_kept(rule) for rule in json.loads(KEPT_IMAGES.read_text())}},
        )
        yield from self.grants_on(f"repository:{REPOSITORY}")

    def database(self) -> Step:
        settings = {"database": DATABASE, "enable_pitr": True, "delete_protection": True}
        location = self._target.location or self._target.region
        return Step(
            title="Firestore in native mode, with point-in-time recovery and delete protection",
            look=database_look(self._target),
            make=(
                self._cloud("firestore", "databases", "create", **settings, location=location, type="firestore-native"),
            ),
            wanted={
                "type": "FIRESTORE_NATIVE",
                "pointInTimeRecoveryEnablement": "POINT_IN_TIME_RECOVERY_ENABLED",
                "deleteProtectionState": "DELETE_PROTECTION_ENABLED",
            },
            change=(self._cloud("firestore", "databases", "update", **settings),),
        )

    def backups(self) -> Step:
        group, where = ("firestore", "backups", "schedules"), {"database": DATABASE}
        return Step(
            title=f"A backup of Firestore every day, kept for {BACKUP_DAYS} days",
            look=(*self._cloud(*group, "list", **where), AS_JSON),
            make=(self._cloud(*group, "create", **where, recurrence="daily", retention=f"{BACKUP_DAYS}d"),),
            wanted={"retention": f"{BACKUP_DAYS * 86_400}s"},
            change=(self._cloud(*group, "update", **where, backup_schedule=FOUND, retention=f"{BACKUP_DAYS}d"),),
            find=first(lambda schedule: "dailyRecurrence" in schedule),
            names=lambda found: [found["name"].rpartition("/")[2]],
        )

    def topic(self, name: str) -> Step:
        group = ("pubsub", "topics")
        return Step(
            title=f"Topic {name}",
            look=(*self._cloud(*group, "describe", name), AS_JSON),
            make=(self._cloud(*group, "create", name, labels=marks.LABEL),),
            wanted={"labels": marks.LABELS},
            change=(self._cloud(*group, "update", name, update_labels=marks.LABEL),),
            owned=marks.Owned(what=f"topic {name}", whose=marks.by_label),
        )

    def key(self, key: str) -> Iterator[Step]:
        yield Step(
            title=f"Secret {key}",
            look=(*self._cloud("secrets", "describe", key), AS_JSON),
            make=(self._cloud("secrets", "create", key, replication_policy="automatic", labels=marks.LABEL),),
            wanted={"labels": marks.LABELS},
            change=(self._cloud("secrets", "update", key, update_labels=marks.LABEL),),
            owned=marks.Owned(what=f"secret {key}", whose=marks.by_label),
        )
        yield Step(
            title=f"A version of {key}: 32 random bytes, on standard input and nowhere else",
            look=key_versions(self._target, key),
            make=(self._cloud("secrets", "versions", "add", key, data_file="-"),),
            find=first(bool),
            stdin=lambda _: secrets.token_hex(32),
        )
        yield from self.grants_on(f"secret:{key}")

    @cached_property
    def labels(self) -> dict[str, str]:
        target = self._target
        return {
            "release": release(target, self._deployment),
            "source": _settled(target).source,
            "version": labels.fit(target.version or upload.version(ROOT)),
            "commit": labels.fit(target.commit or upload.commit(ROOT)),
            "deployed": target.deployed,
            "deployer": target.deployer,
            "before": target.before,
            **marks.LABELS,
            **labels.schemas(),
        }

    def subscription(self, wanted: Subscription) -> Iterator[Step]:
        url, identity = self._target.url(wanted.function), self._target.account("push")
        settings = {
            "push_endpoint": url,
            "push_auth_service_account": identity,
            "push_auth_token_audience": url,
            "ack_deadline": str(wanted.ack_deadline),
            "min_retry_delay": f"{wanted.min_retry}s",
            "max_retry_delay": f"{wanted.max_retry}s",
            "dead_letter_topic": DEAD_LETTERS,
            "max_delivery_attempts": str(wanted.attempts),
            "message_retention_duration": f"{wanted.retention}s",
            "expiration_period": "never",
        }
        name, topics = wanted.topic, f"projects/{self._project}/topics"
        yield Step(
            title=f"Subscription {name}, pushed to {wanted.function}",
            look=(*self._cloud("pubsub", "subscriptions", "describe", name), AS_JSON),
            make=(self._cloud("pubsub", "subscriptions", "create", name, topic=name, labels=marks.LABEL, **settings),),
            wanted={
                "topic": f"{topics}/{name}",
                "pushConfig": {"pushEndpoint": url, "oidcToken": {"serviceAccountEmail": identity, "audience": url}},
                "ackDeadlineSeconds": wanted.ack_deadline,
                "retryPolicy": {"minimumBackoff": f"{wanted.min_retry}s", "maximumBackoff": f"{wanted.max_retry}s"},
                "deadLetterPolicy": {
                    "deadLetterTopic": f"{topics}/{DEAD_LETTERS}",
                    "maxDeliveryAttempts": wanted.attempts,
                },
                "messageRetentionDuration": f"{wanted.retention}s",
                "expirationPolicy": Exactly({}),
                "labels": marks.LABELS,
            },
            change=(self._cloud("pubsub", "subscriptions", "update", name, update_labels=marks.LABEL, **settings),),
            owned=marks.Owned(what=f"subscription {name}", whose=marks.by_topic(f"{topics}/{name}")),
        )
        yield from self.grants_on(f"subscription:{name}")

    def dead_letters(self) -> Step:
        deadline, retention = DEAD_LETTERS_DEADLINE, f"{DEAD_LETTERS_RETENTION}s"
        settings = {
            "ack_deadline": str(deadline),
            "message_retention_duration": retention,
            "expiration_period": "never",
        }
        wanted = {
            "ackDeadlineSeconds": deadline,
            "messageRetentionDuration": retention,
            "expirationPolicy": Exactly({}),
        }
        name, group = DEAD_LETTERS, ("pubsub", "subscriptions")
        return Step(
            title=f"Subscription {DEAD_LETTERS}, which keeps what could not be delivered for seven days",
            look=(*self._cloud(*group, "describe", name), AS_JSON),
            make=(self._cloud(*group, "create", name, topic=name, labels=marks.LABEL, **settings),),
            wanted=wanted | {"labels": marks.LABELS},
            change=(self._cloud(*group, "update", name, update_labels=marks.LABEL, **settings),),
            owned=marks.Owned(
                what=f"subscription {name}", whose=marks.by_topic(f"projects/{self._project}/topics/{name}")
            ),
        )

    def job(self, job: Job) -> Step:
        url, identity = self._target.url(job.function), self._target.account("scheduler")
        deadline = f"{job.deadline}s"
        settings = {
            "schedule": job.schedule,
            "time_zone": TIME_ZONE,
            "uri": url,
            "http_method": "post",
            "message_body": job.body,
            "oidc_service_account_email": identity,
            "oidc_token_audience": url,
            "attempt_deadline": deadline,
            "max_retry_attempts": str(job.retries),
            "min_backoff": f"{job.min_backoff}s",
            "max_backoff": f"{job.max_backoff}s",
        }
        where, json_type = {"location": self._target.region}, "Content-Type=application/json"
        return Step(
            title=f"Job {job.name}: {job.schedule} (UTC) posts {job.body} to {job.function}",
            look=(*self._cloud("scheduler", "jobs", "describe", job.name, **where), AS_JSON),
            make=(
                self._cloud("scheduler", "jobs", "create", "http", job.name, **settings, headers=json_type, **where),
            ),
            wanted={
                "schedule": job.schedule,
                "timeZone": TIME_ZONE,
                "attemptDeadline": OneOf((deadline, None)) if deadline == DEFAULT_DEADLINE else deadline,
                "retryConfig": {
                    "retryCount": job.retries,
                    "minBackoffDuration": f"{job.min_backoff}s",
                    "maxBackoffDuration": f"{job.max_backoff}s",
                },
                "httpTarget": {
                    "uri": OneOf((url, f"{url}/")),  # Cloud Scheduler adds a slash to an address without a path
                    "httpMethod": "POST",
                    "body": base64.b64encode(job.body.encode()).decode(),
                    "oidcToken": {"serviceAccountEmail": identity, "audience": url},
                },
            },
            change=(
                self._cloud(
                    "scheduler", "jobs", "update", "http", job.name, **settings, update_headers=json_type, **where
                ),
            ),
            owned=marks.Owned(what=f"job {job.name} in {self._target.region}", whose=marks.of_job(identity)),
        )


def all_steps(target: Target) -> list[Step]:
    """Return every step in order."""
    return [
        *foundation(target),
        *publishing(target),
        *image(target),
        *functions(target),
        *traffic(target),
        *workload(target),
        *alerts(target),
        *sinks(target),
    ]


def _as_kept(rule: dict[str, Any]) -> dict[str, Any]:
    """Return a cleanup policy as Artifact Registry returns it: by id, in capitals, with ages in seconds."""
    told = {"id": rule["name"], "action": rule["action"]["type"].upper()}
    if "mostRecentVersions" in rule:
        return told | {"mostRecentVersions": rule["mostRecentVersions"]}
    condition, days = rule["condition"], int(rule["condition"]["olderThan"].removesuffix("d"))
    return told | {"condition": {"tagState": condition["tagState"].upper(), "olderThan": f"{days * 86_400}s"}}
