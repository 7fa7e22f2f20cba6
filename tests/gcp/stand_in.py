"""A stand-in for gcloud: parses every command with gcloud's own parser first, keeps state, answers in API messages.

It is as strict as the cloud where an order matters: an identity must exist before it is granted something, an API be
enabled before it is used, and a redeployed function has lost what was set on its service.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from typing import Any

from infra.gcp import commands, destroy, doctor, rollback
from infra.gcp.description import DEPLOYMENT
from infra.gcp.gcloud import Answer
from infra.gcp.steps import FOUND, Command, filled, shown
from tests.gcp.api_messages import problems
from tests.gcp.gcloud_parser import TARGET, complaints

PROJECT, REGION, NUMBER = TARGET.project, TARGET.region, TARGET.number
FORMER = "domain:former.example.com"  # somebody who was let in before
READING = ("describe", "list", "get-iam-policy", "read", "print-access-token", "version")
APIS = {  # group of commands -> the API it uses
    "firestore": "firestore",
    "pubsub": "pubsub",
    "secrets": "secretmanager",
    "functions": "cloudfunctions",
    "run": "run",
    "scheduler": "cloudscheduler",
    "iap": "iap",
    "iam": "iam",
}
Handler = Callable[["StandIn", list[str], dict[str, Any], str], Any]


def foreseen() -> list[Command]:
    """Return the commands that are likely to come; any other is parsed when it comes."""
    names = [f"projects/{PROJECT}/{kind}/1" for kind in ("alerts", "dashboards", "notificationChannels")]
    found = [*names, "channel-key", "keeper-token-c1"]
    functions = [function.name for function in DEPLOYMENT.functions]
    templates = [
        *(command for step in commands.all_steps(TARGET) for command in step.commands),
        *(part for item in destroy.removals(TARGET, audit=True) for part in (item.look, *item.commands)),
        *(rollback.serve(TARGET, name, f"{name}-00001-abc") for name in functions),
        *(rollback.revisions_of(TARGET, name) for name in functions),
        doctor.VERSION,
        doctor.ACCESS_TOKEN,
    ]
    return [
        named for command in templates for named in filled(command, found if FOUND in command else (FORMER, "allUsers"))
    ]


class Refused(Exception):
    """What gcloud prints before it exits with 1."""


class StandIn:
    """Runs commands as gcloud would."""

    def __init__(self) -> None:
        complaints(foreseen())  # one call for all of them
        self.issued: list[Command] = []
        self.things: dict[str, dict[str, Any]] = {}
        self.policies: dict[str, dict[str, Any]] = {}
        self.enabled: set[str] = {"serviceusage.googleapis.com", "cloudresourcemanager.googleapis.com"}
        self.agents: set[str] = set()
        self.inputs: list[str] = []
        self.failures: list[tuple[str, str, int]] = []  # (part of the command, what gcloud says, how often)
        self.interrupt_after: int | None = None
        self.sdk = {"Google Cloud SDK": "528.0.0", "alpha": "2025.06.20", "beta": "2025.06.20"}
        self.clock = 0

    def __call__(self, command: Command, stdin: str) -> Answer:
        said = complaints([command])
        assert not said, said
        if self.interrupt_after is not None and len(self.changes()) >= self.interrupt_after and not reads(command):
            raise KeyboardInterrupt
        self.issued.append(command)
        self.clock += 1
        words = [part for part in command[1:] if not part.startswith("--")]
        try:
            self._fail(command)
            answer = self._handle(words, _flags(command), stdin)
        except Refused as refused:
            return Answer(1, "", f"ERROR: (gcloud) {refused}")
        return Answer(0, json.dumps(answer), "")

    def changes(self) -> list[Command]:
        """Return the commands that change something, in order."""
        return [command for command in self.issued if not reads(command)]

    def thing(self, kind: str, name: str) -> Any:
        """Return what there is of a name."""
        if name not in self.things.get(kind, {}):
            raise Refused(f"NOT_FOUND: {kind} {name} could not be found.")
        return self.things[kind][name]

    def put(self, kind: str, name: str, value: dict[str, Any], *, new: bool = False) -> dict[str, Any]:
        """Store an API message."""
        document, message = MESSAGES[kind]
        assert problems(value, document, message) == []
        if new and name in self.things.get(kind, {}):
            raise Refused(f"ALREADY_EXISTS: {kind} {name}")
        self.things.setdefault(kind, {})[name] = value
        return value

    def delete(self, kind: str, name: str) -> dict[str, Any]:
        """Remove a thing."""
        self.thing(kind, name)
        del self.things[kind][name]
        return {}

    def time(self) -> str:
        """Return a time that grows with every command."""
        return f"2026-11-25T{self.clock // 3600:02}:{self.clock // 60 % 60:02}:{self.clock % 60:02}.000000Z"

    def policy(self, key: str) -> dict[str, Any]:
        """Return the IAM policy of a resource."""
        return self.policies.setdefault(key, {"version": 1, "etag": "BwY=", "bindings": []})

    def _fail(self, command: Command) -> None:
        for place, (part, text, times) in enumerate(self.failures):
            if part in shown(command) and times > 0:
                self.failures[place] = (part, text, times - 1)
                raise Refused(text)

    def _handle(self, words: list[str], flags: dict[str, Any], stdin: str) -> Any:
        if words[0] in ("alpha", "beta"):
            words = words[1:]
        api = f"{APIS.get(words[0], '')}.googleapis.com"
        if words[0] in APIS and api not in self.enabled:
            raise Refused(f"SERVICE_DISABLED: {api} has not been used in project {NUMBER} before or it is disabled.")
        for length in range(len(words), 0, -1):
            handler = HANDLERS.get(" ".join(words[:length]))
            if handler is not None:
                return copy.deepcopy(handler(self, words[length:], flags, stdin))
        raise AssertionError(f"the stand-in does not know: {' '.join(words)}")


def reads(command: Command) -> bool:
    return bool(set(READING) & set(command))


def _flags(command: Command) -> dict[str, Any]:
    flags: dict[str, Any] = {}
    for part in command:
        if part.startswith("--"):
            name, _, value = part[2:].partition("=")
            flags[name] = [*flags.get(name, []), value] if name == "field-config" else value
    return flags


MESSAGES = {
    "project": ("cloudresourcemanager.v1", "Project"),
    "account": ("iam.v1", "ServiceAccount"),
    "role": ("iam.v1", "Role"),
    "database": ("firestore.v1", "GoogleFirestoreAdminV1Database"),
    "field": ("firestore.v1", "GoogleFirestoreAdminV1Field"),
    "index": ("firestore.v1", "GoogleFirestoreAdminV1Index"),
    "topic": ("pubsub.v1", "Topic"),
    "subscription": ("pubsub.v1", "Subscription"),
    "secret": ("secretmanager.v1", "Secret"),
    "version": ("secretmanager.v1", "SecretVersion"),
    "function": ("cloudfunctions.v2", "Function"),
    "service": ("run.v1", "Service"),
    "revision": ("run.v1", "Revision"),
    "job": ("cloudscheduler.v1", "Job"),
    "metric": ("logging.v2", "LogMetric"),
    "alert": ("monitoring.v3", "AlertPolicy"),
    "channel": ("monitoring.v3", "NotificationChannel"),
    "dashboard": ("monitoring.v1", "Dashboard"),
}


# ---- projects, services, identities


def _project(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    if names != [PROJECT]:
        raise Refused(f"NOT_FOUND: project {names[0]}")
    return {"projectId": PROJECT, "projectNumber": NUMBER, "lifecycleState": "ACTIVE", "name": "Keeper"}


def _enable(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    cloud.enabled |= set(names)


def _enabled(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    listed = [
        {"config": {"name": name}, "name": f"projects/{NUMBER}/services/{name}", "state": "ENABLED"}
        for name in sorted(cloud.enabled)
    ]
    assert [problems(item, "serviceusage.v1", "GoogleApiServiceusageV1Service") for item in listed] == [[]] * len(
        listed
    )
    return listed


def _agent(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    known = {"pubsub.googleapis.com": "gcp-sa-pubsub", "iap.googleapis.com": "gcp-sa-iap"}[flags["service"]]
    cloud.agents.add(f"service-{NUMBER}@{known}.iam.gserviceaccount.com")


def _make_account(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    address = f"{names[0]}@{PROJECT}.iam.gserviceaccount.com"
    account = {
        "name": f"projects/{PROJECT}/serviceAccounts/{address}",
        "projectId": PROJECT,
        "uniqueId": str(100000000000000000000 + cloud.clock),
        "email": address,
        "displayName": flags["display-name"],
        "description": flags["description"],
    }
    return cloud.put("account", address, account, new=True)


def _update_account(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    there = cloud.thing("account", names[0])
    more = {"displayName": flags["display-name"], "description": flags["description"]}
    return cloud.put("account", names[0], there | more)


def _put_role(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    role = {
        "name": f"projects/{PROJECT}/roles/{names[0]}",
        "title": flags["title"],
        "stage": flags["stage"],
        "includedPermissions": sorted(flags["permissions"].split(","), reverse=True),
        "etag": "BwY=",
    }
    return cloud.put("role", names[0], role)


# ---- IAM


def _known_member(cloud: StandIn, member: str) -> None:
    kind, _, address = member.partition(":")
    if kind == "serviceAccount" and address not in cloud.agents and address not in cloud.things.get("account", {}):
        raise Refused(f"INVALID_ARGUMENT: Service account {address} does not exist.")


def _bind(kind: str) -> Handler:
    def act(cloud: StandIn, names: list[str], flags: dict[str, Any], stdin: str) -> Any:
        name = _resource(cloud, kind, names, flags)
        if flags["member"] == "allUsers":  # as an organization says that restricts sharing to its domain
            raise Refused("FAILED_PRECONDITION: One or more users do not belong to a permitted customer.")
        _known_member(cloud, flags["member"])
        if flags["role"].startswith(f"projects/{PROJECT}/roles/"):
            cloud.thing("role", flags["role"].rpartition("/")[2])
        policy, condition = cloud.policy(f"{kind}:{name}"), _condition(flags)
        assert kind == "project" or not condition
        for binding in policy["bindings"]:
            if binding["role"] == flags["role"] and binding.get("condition", {}) == condition:
                binding["members"] = sorted({*binding["members"], flags["member"]})
                break
        else:
            more = {"condition": condition} if condition else {}
            policy["bindings"].append({"role": flags["role"], "members": [flags["member"]], **more})
        assert problems(policy, "iam.v1", "Policy") == []
        return policy

    return act


def _condition(flags: dict[str, Any]) -> dict[str, str]:
    text = flags.get("condition", "None")
    if text == "None":
        return {}
    title, _, expression = text.removeprefix("title=").partition(",expression=")
    return {"title": title, "expression": expression}


def _unbind(kind: str) -> Handler:
    def act(cloud: StandIn, names: list[str], flags: dict[str, Any], stdin: str) -> Any:
        assert "all" in flags
        policy = cloud.policy(f"{kind}:{_resource(cloud, kind, names, flags)}")
        for binding in policy["bindings"]:
            if binding["role"] == flags["role"]:
                binding["members"] = [member for member in binding["members"] if member != flags["member"]]
        policy["bindings"] = [binding for binding in policy["bindings"] if binding["members"]]
        return policy

    return act


def _policy(kind: str) -> Handler:
    def act(cloud: StandIn, names: list[str], flags: dict[str, Any], stdin: str) -> Any:
        return cloud.policy(f"{kind}:{_resource(cloud, kind, names, flags)}")

    return act


def _resource(cloud: StandIn, kind: str, names: list[str], flags: dict[str, Any]) -> str:
    name = str(flags["service"] if kind == "iap" else names[0])
    if kind != "project":
        cloud.thing("service" if kind == "iap" else kind, name)
    return name


# ---- Firestore


def _make_database(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    database = {
        "name": f"projects/{PROJECT}/databases/{flags['database']}",
        "locationId": flags["location"],
        "type": flags["type"].upper().replace("-", "_"),
    }
    return cloud.put("database", flags["database"], database | _protection(flags), new=True)


def _update_database(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    return cloud.put("database", flags["database"], cloud.thing("database", flags["database"]) | _protection(flags))


def _protection(flags: dict[str, Any]) -> dict[str, str]:
    found = {}
    if "enable-pitr" in flags:
        found["pointInTimeRecoveryEnablement"] = "POINT_IN_TIME_RECOVERY_ENABLED"
    for flag, word in (("delete-protection", "ENABLED"), ("no-delete-protection", "DISABLED")):
        if flag in flags:
            found["deleteProtectionState"] = f"DELETE_PROTECTION_{word}"
    return found


def _delete_database(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    if cloud.thing("database", flags["database"])["deleteProtectionState"].endswith("ENABLED"):
        raise Refused("FAILED_PRECONDITION: Delete protection is enabled.")
    return cloud.delete("database", flags["database"])


def _field(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    cloud.thing("database", flags["database"])
    key = f"{flags['collection-group']}/fields/{names[0]}"
    name = f"projects/{PROJECT}/databases/(default)/collectionGroups/{key}"
    there = cloud.things.get("field", {}).get(key, {"name": name, "indexConfig": {"usesAncestorConfig": True}})
    if "disable-indexes" in flags:
        there = there | {"indexConfig": {}}
    if "enable-ttl" in flags:
        there = there | {"ttlConfig": {"state": "CREATING"}}
    return cloud.put("field", key, there)


def _fields(which: Callable[[Any], bool]) -> Handler:
    def act(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
        default = {"name": f"projects/{PROJECT}/databases/(default)/collectionGroups/__default__/fields/*"}
        listed = [default | {"indexConfig": {"indexes": []}}, *cloud.things.get("field", {}).values()]
        return [field for field in listed if which(field)]

    return act


def _make_index(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    cloud.thing("database", flags["database"])
    configs = [dict(part.split("=") for part in text.split(",")) for text in flags["field-config"]]
    fields = [{"fieldPath": config["field-path"], "order": config["order"].upper()} for config in configs]
    number = len(cloud.things.get("index", {})) + 1
    index = {
        "name": f"projects/{PROJECT}/databases/(default)/collectionGroups/{flags['collection-group']}/indexes/{number}",
        "queryScope": flags["query-scope"].upper().replace("-", "_"),
        "fields": [*fields, {"fieldPath": "__name__", "order": fields[-1]["order"]}],
        "state": "CREATING",
    }
    return cloud.put("index", str(number), index)


# ---- Pub/Sub, secrets, scheduler


def _make_topic(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    return cloud.put("topic", names[0], {"name": f"projects/{PROJECT}/topics/{names[0]}"}, new=True)


def _put_subscription(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    name = names[0]
    topic = (
        cloud.thing("topic", flags["topic"])
        if "topic" in flags
        else {"name": cloud.thing("subscription", name)["topic"]}
    )
    subscription = {
        "name": f"projects/{PROJECT}/subscriptions/{name}",
        "topic": topic["name"],
        "ackDeadlineSeconds": int(flags["ack-deadline"]),
        "messageRetentionDuration": flags["message-retention-duration"],
        "expirationPolicy": {} if flags["expiration-period"] == "never" else {"ttl": flags["expiration-period"]},
        "state": "ACTIVE",
    }
    if "push-endpoint" in flags:
        identity = flags["push-auth-service-account"]
        _known_member(cloud, f"serviceAccount:{identity}")
        dead = cloud.thing("topic", flags["dead-letter-topic"])["name"]
        subscription |= {
            "pushConfig": {
                "pushEndpoint": flags["push-endpoint"],
                "oidcToken": {"serviceAccountEmail": identity, "audience": flags["push-auth-token-audience"]},
            },
            "retryPolicy": {"minimumBackoff": flags["min-retry-delay"], "maximumBackoff": flags["max-retry-delay"]},
            "deadLetterPolicy": {"deadLetterTopic": dead, "maxDeliveryAttempts": int(flags["max-delivery-attempts"])},
        }
    return cloud.put("subscription", name, subscription, new="topic" in flags)


def _make_secret(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    secret = {"name": f"projects/{NUMBER}/secrets/{names[0]}", "replication": {"automatic": {}}}
    return cloud.put("secret", names[0], secret, new=True)


def _add_version(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    cloud.thing("secret", names[0])
    assert flags["data-file"] == "-"
    cloud.inputs.append(stdin)
    number = 1 + sum(key.startswith(f"{names[0]}/") for key in cloud.things.get("version", {}))
    version = {"name": f"projects/{NUMBER}/secrets/{names[0]}/versions/{number}", "state": "ENABLED"}
    return cloud.put("version", f"{names[0]}/{number}", version)


def _versions(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    cloud.thing("secret", names[0])
    listed = [value for key, value in cloud.things.get("version", {}).items() if key.startswith(f"{names[0]}/")]
    return [version for version in listed[::-1] if version["state"] == "ENABLED"]


def _put_job(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    _known_member(cloud, f"serviceAccount:{flags['oidc-service-account-email']}")
    job = {
        "name": f"projects/{PROJECT}/locations/{REGION}/jobs/{names[0]}",
        "schedule": flags["schedule"],
        "timeZone": flags["time-zone"],
        "state": "ENABLED",
        "attemptDeadline": flags["attempt-deadline"],
        "httpTarget": {
            "uri": flags["uri"],
            "httpMethod": flags["http-method"].upper(),
            "headers": {"Content-Type": "application/json", "User-Agent": "Google-Cloud-Scheduler"},
            "body": base64.b64encode(flags["message-body"].encode()).decode(),
            "oidcToken": {
                "serviceAccountEmail": flags["oidc-service-account-email"],
                "audience": flags["oidc-token-audience"],
            },
        },
        "retryConfig": {
            **({"retryCount": int(flags["max-retry-attempts"])} if int(flags["max-retry-attempts"]) else {}),
            "maxRetryDuration": "0s",
            "minBackoffDuration": flags["min-backoff"],
            "maxBackoffDuration": flags["max-backoff"],
            "maxDoublings": 5,
        },
    }
    return cloud.put("job", names[0], job, new="headers" in flags)


# ---- functions and the services below them


def _deploy(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    name, there = names[0], cloud.things.get("function", {}).get(names[0], {})
    for account in (flags["service-account"], flags["build-service-account"].rpartition("/")[2]):
        _known_member(cloud, f"serviceAccount:{account}")
    assert "gen2" in flags
    assert "serve-all-traffic-latest-revision" in flags
    revision = _make_revision(cloud, name)
    config = {
        "service": f"projects/{PROJECT}/locations/{REGION}/services/{name}",
        "uri": f"https://{name}-abcdefghij-ew.a.run.app",
        "availableMemory": flags["memory"],
        "availableCpu": flags["cpu"],
        "timeoutSeconds": int(flags["timeout"].rstrip("s")),
        "maxInstanceCount": int(flags["max-instances"]),
        "maxInstanceRequestConcurrency": int(flags["concurrency"]),
        "serviceAccountEmail": flags["service-account"],
        "ingressSettings": "ALLOW_ALL",
        "environmentVariables": {"LOG_EXECUTION_ID": "true", **_listed(flags["set-env-vars"])},
        "allTrafficOnLatestRevision": True,
        "revision": revision,
    }
    if "set-secrets" in flags:
        config["secretEnvironmentVariables"] = [_mounted(cloud, text) for text in flags["set-secrets"].split(",")]
    labels = dict(pair.split("=") for pair in flags["update-labels"].split(","))
    function = {
        "name": f"projects/{PROJECT}/locations/{REGION}/functions/{name}",
        "environment": "GEN_2",
        "state": "ACTIVE",
        "updateTime": cloud.time(),
        "buildConfig": {"runtime": flags["runtime"], "entryPoint": flags["entry-point"]},
        "serviceConfig": config,
        "labels": there.get("labels", {}) | {"deployment-tool": "cli-gcloud"} | labels,
        "url": f"https://{REGION}-{PROJECT}.cloudfunctions.net/{name}",
    }
    cloud.put("function", name, function)
    _serve(cloud, name, {"latestRevision": True, "percent": 100, "revisionName": revision})
    assert "no-allow-unauthenticated" in flags
    return function


def _listed(text: str) -> dict[str, str]:
    assert text.startswith("^;^")
    return dict(pair.split("=", 1) for pair in text[3:].split(";"))


def _mounted(cloud: StandIn, text: str) -> dict[str, str]:
    key, _, place = text.partition("=")
    secret, _, version = place.partition(":")
    cloud.thing("version", f"{secret}/{version}")
    return {"key": key, "projectId": NUMBER, "secret": secret, "version": version}


def _make_revision(cloud: StandIn, name: str) -> str:
    number = 1 + sum(key.startswith(f"{name}-0") for key in cloud.things.get("revision", {}))
    revision = f"{name}-{number:05}-abc"
    image = f"{REGION}-docker.pkg.dev/{PROJECT}/gcf-artifacts/{name}@sha256:{cloud.clock:064}"
    message = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Revision",
        "metadata": {
            "name": revision,
            "creationTimestamp": cloud.time(),
            "labels": {"serving.knative.dev/service": name},
        },
        "spec": {"containers": [{"image": image}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    cloud.put("revision", revision, message)
    return revision


def _serve(cloud: StandIn, name: str, traffic: dict[str, Any]) -> None:
    """Point a service's traffic; what was set on the service itself is gone, as after a redeployment."""
    plain = {key: value for key, value in traffic.items() if key != "revisionName" or not traffic.get("latestRevision")}
    service = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": NUMBER,
            "annotations": {
                "run.googleapis.com/urls": json.dumps([TARGET.url(name), f"https://{name}-abc-ew.a.run.app"])
            },
        },
        "spec": {"traffic": [plain]},
        "status": {"traffic": [traffic], "url": TARGET.url(name)},
    }
    cloud.put("service", name, service)


def _traffic(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    name, service = names[0], cloud.thing("service", names[0])
    if "to-latest" in flags:
        latest = cloud.things["function"][name]["serviceConfig"]["revision"]
        wanted = {"latestRevision": True, "percent": 100, "revisionName": latest}
    else:
        revision, _, percent = flags["to-revisions"].partition("=")
        cloud.thing("revision", revision)
        wanted = {"revisionName": revision, "percent": int(percent)}
    annotations = service["metadata"]["annotations"]
    _serve(cloud, name, wanted)
    cloud.things["service"][name]["metadata"]["annotations"] = annotations
    return cloud.things["service"][name]


def _protect(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    annotations = cloud.thing("service", names[0])["metadata"]["annotations"]
    if "iap" in flags:
        annotations["run.googleapis.com/iap-enabled"] = "true"
    else:
        assert "no-invoker-iam-check" in flags
        annotations["run.googleapis.com/invoker-iam-disabled"] = "True"  # as gcloud writes it


def _revisions(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    wanted = flags["service"]
    every = cloud.things.get("revision", {}).values()
    return [item for item in every if item["metadata"]["labels"]["serving.knative.dev/service"] == wanted][::-1]


def _delete_function(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    cloud.delete("service", names[0])
    return cloud.delete("function", names[0])


# ---- monitoring


def _from_file(kind: str, flag: str) -> Handler:
    def act(cloud: StandIn, names: list[str], flags: dict[str, Any], stdin: str) -> Any:
        content = json.loads((commands.ROOT / flags[flag]).read_text())
        channels = flags.get("notification-channels") or flags.get("set-notification-channels")
        if channels:
            content["notificationChannels"] = [cloud.thing("channel", channels)["name"]]
        if kind == "metric":
            return cloud.put(kind, names[0], content)
        name = names[0] if names else f"projects/{PROJECT}/{kind}s/{len(cloud.things.get(kind, {})) + 1}"
        if names:
            cloud.thing(kind, name)
        return cloud.put(kind, name, content | {"name": name})

    return act


def _make_channel(cloud: StandIn, names: list[str], flags: Any, stdin: str) -> Any:
    key, _, value = flags["channel-labels"].partition("=")
    name = f"projects/{PROJECT}/notificationChannels/{len(cloud.things.get('channel', {})) + 1}"
    channel = {"name": name, "type": flags["type"], "displayName": flags["display-name"], "labels": {key: value}}
    return cloud.put("channel", name, channel)


def _describe(kind: str) -> Handler:
    return lambda cloud, names, flags, stdin: cloud.thing(kind, flags["database"] if kind == "database" else names[0])


def _list(kind: str) -> Handler:
    return lambda cloud, names, flags, stdin: list(cloud.things.get(kind, {}).values())


def _delete(kind: str) -> Handler:
    return lambda cloud, names, flags, stdin: cloud.delete(kind, names[0])


HANDLERS: dict[str, Handler] = {
    "version": lambda cloud, names, flags, stdin: cloud.sdk,
    "auth print-access-token": lambda cloud, names, flags, stdin: {"token": "token-of-the-operator"},
    "projects describe": _project,
    "projects get-iam-policy": _policy("project"),
    "projects add-iam-policy-binding": _bind("project"),
    "projects remove-iam-policy-binding": _unbind("project"),
    "services list": _enabled,
    "services enable": _enable,
    "services identity create": _agent,
    "iam service-accounts create": _make_account,
    "iam service-accounts update": _update_account,
    "iam service-accounts describe": _describe("account"),
    "iam service-accounts delete": _delete("account"),
    "iam service-accounts get-iam-policy": _policy("account"),
    "iam service-accounts add-iam-policy-binding": _bind("account"),
    "iam roles create": _put_role,
    "iam roles update": _put_role,
    "iam roles describe": _describe("role"),
    "firestore databases create": _make_database,
    "firestore databases update": _update_database,
    "firestore databases describe": _describe("database"),
    "firestore databases delete": _delete_database,
    "firestore indexes fields update": _field,
    "firestore indexes fields list": _fields(lambda field: not field.get("indexConfig", {}).get("usesAncestorConfig")),
    "firestore fields ttls update": _field,
    "firestore fields ttls list": _fields(lambda field: "ttlConfig" in field),
    "firestore indexes composite create": _make_index,
    "firestore indexes composite list": _list("index"),
    "pubsub topics create": _make_topic,
    "pubsub topics describe": _describe("topic"),
    "pubsub topics delete": _delete("topic"),
    "pubsub topics get-iam-policy": _policy("topic"),
    "pubsub topics add-iam-policy-binding": _bind("topic"),
    "pubsub subscriptions create": _put_subscription,
    "pubsub subscriptions update": _put_subscription,
    "pubsub subscriptions describe": _describe("subscription"),
    "pubsub subscriptions delete": _delete("subscription"),
    "pubsub subscriptions get-iam-policy": _policy("subscription"),
    "pubsub subscriptions add-iam-policy-binding": _bind("subscription"),
    "secrets create": _make_secret,
    "secrets describe": _describe("secret"),
    "secrets list": _list("secret"),
    "secrets delete": _delete("secret"),
    "secrets versions add": _add_version,
    "secrets versions list": _versions,
    "secrets get-iam-policy": _policy("secret"),
    "secrets add-iam-policy-binding": _bind("secret"),
    "functions deploy": _deploy,
    "functions describe": _describe("function"),
    "functions delete": _delete_function,
    "run services describe": _describe("service"),
    "run services update": _protect,
    "run services update-traffic": _traffic,
    "run services get-iam-policy": _policy("service"),
    "run services add-iam-policy-binding": _bind("service"),
    "run services remove-iam-policy-binding": _unbind("service"),
    "run revisions list": _revisions,
    "iap web get-iam-policy": _policy("iap"),
    "iap web add-iam-policy-binding": _bind("iap"),
    "iap web remove-iam-policy-binding": _unbind("iap"),
    "scheduler jobs create http": _put_job,
    "scheduler jobs update http": _put_job,
    "scheduler jobs describe": _describe("job"),
    "scheduler jobs list": _list("job"),
    "scheduler jobs delete": _delete("job"),
    "logging metrics create": _from_file("metric", "config-from-file"),
    "logging metrics update": _from_file("metric", "config-from-file"),
    "logging metrics describe": _describe("metric"),
    "logging metrics delete": _delete("metric"),
    "monitoring policies create": _from_file("alert", "policy-from-file"),
    "monitoring policies update": _from_file("alert", "policy-from-file"),
    "monitoring policies list": _list("alert"),
    "monitoring policies delete": _delete("alert"),
    "monitoring dashboards create": _from_file("dashboard", "config-from-file"),
    "monitoring dashboards update": _from_file("dashboard", "config-from-file"),
    "monitoring dashboards list": _list("dashboard"),
    "monitoring dashboards delete": _delete("dashboard"),
    "monitoring channels create": _make_channel,
    "monitoring channels list": _list("channel"),
    "monitoring channels delete": _delete("channel"),
}
