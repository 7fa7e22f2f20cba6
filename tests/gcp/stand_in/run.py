"""Functions, the Cloud Run services and revisions below them, and Identity-Aware Proxy before them."""

from __future__ import annotations

import json
from typing import Any

from infra.gcp import commands
from infra.gcp.description import ACCESSOR, DEPLOYMENT
from tests.gcp.gcloud_parser import TARGET
from tests.gcp.stand_in.cloud import NUMBER, PROJECT, REGION, Cloud, Handler, Refused, delete, describe, labels, listed
from tests.gcp.stand_in.policies import bind, known_member, policy, unbind


def _deploy(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    name, there = names[0], cloud.things.get("function", {}).get(names[0], {})
    for account in (flags["service-account"], flags["build-service-account"].rpartition("/")[2]):
        known_member(cloud, f"serviceAccount:{account}")
    assert "gen2" in flags
    cloud.thing("repository", flags["docker-repository"].rpartition("/")[2])
    assert "serve-all-traffic-latest-revision" in flags
    _see_that_it_may_be_built(cloud, flags)
    labelled = {"deployment-tool": "cli-gcloud"} | labels(flags, there)["labels"]
    revision = _make_revision(cloud, name, labelled, flags.get("set-secrets", ""))
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
    function = {
        "name": f"projects/{PROJECT}/locations/{REGION}/functions/{name}",
        "environment": "GEN_2",
        "state": "ACTIVE",
        "updateTime": cloud.time(),
        "buildConfig": {
            "runtime": flags["runtime"],
            "entryPoint": flags["entry-point"],
            "dockerRepository": flags["docker-repository"],
        },
        "serviceConfig": config,
        "labels": labelled,
        "url": f"https://{REGION}-{PROJECT}.cloudfunctions.net/{name}",
    }
    cloud.put("function", name, function)
    _serve(cloud, name, {"latestRevision": True, "percent": 100, "revisionName": revision})
    assert "no-allow-unauthenticated" in flags
    return function


def _make_repository(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    name = f"projects/{PROJECT}/locations/{REGION}/repositories/{names[0]}"
    repository = {"name": name, "format": flags["repository-format"].upper(), **labels(flags)}
    return cloud.put("repository", names[0], repository, new=True)


def _keep_images(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    policies = {}
    for rule in json.loads((commands.ROOT / flags["policy"]).read_text()):
        policies[rule["name"]] = {"id": rule["name"], "action": rule["action"]["type"].upper()}
        if "condition" in rule:
            days = int(rule["condition"]["olderThan"].removesuffix("d"))
            condition = {"tagState": rule["condition"]["tagState"].upper(), "olderThan": f"{days * 86_400}s"}
            policies[rule["name"]]["condition"] = condition
        else:
            policies[rule["name"]]["mostRecentVersions"] = rule["mostRecentVersions"]
    assert "no-dry-run" in flags
    return cloud.put("repository", names[0], cloud.thing("repository", names[0]) | {"cleanupPolicies": policies})


def _update_repository(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    there = cloud.thing("repository", names[0])
    return cloud.put("repository", names[0], there | labels(flags, there))


def _see_that_it_may_be_built(cloud: Cloud, flags: Any) -> None:
    """Refuse, as Cloud Functions, Cloud Build and Cloud Run do, while what was granted is not known to them yet."""
    project = f"project:{PROJECT}"
    agent = f"serviceAccount:service-{NUMBER}@gcf-admin-robot.iam.gserviceaccount.com"
    if not cloud.may(agent, "roles/cloudfunctions.serviceAgent", project):
        raise Refused(
            "ResponseError: status=[403], code=[Ok], message=[Unable to retrieve the repository metadata for "
            f"{flags['docker-repository']}. Ensure that the Cloud Functions service account has "
            "'artifactregistry.repositories.list' and 'artifactregistry.repositories.get' permissions.]"
        )
    builder = flags["build-service-account"].rpartition("/")[2]
    (account,) = [item for item in DEPLOYMENT.accounts if builder.startswith(f"{item.id}@")]
    places = {grant.role: project if grant.on == "project" else grant.on for grant in account.grants}
    if not all(cloud.may(f"serviceAccount:{builder}", role, on) for role, on in places.items()):
        raise Refused(
            "OperationError: code=3, message=Build failed with status: FAILURE. Could not build the function due to a "
            "missing permission on the build service account."
        )
    for text in filter(None, flags.get("set-secrets", "").split(",")):
        secret, _, version = text.partition("=")[2].partition(":")
        if not cloud.may(f"serviceAccount:{flags['service-account']}", ACCESSOR, f"secret:{secret}"):
            raise Refused(
                "OperationError: code=3, message=Could not create or update Cloud Run service. spec.template.spec."
                "containers[0].env[0].value_from.secret_key_ref.name: Permission denied on secret: "
                f"projects/{NUMBER}/secrets/{secret}/versions/{version} for Revision service account "
                f"{flags['service-account']}. The service account used must be granted the 'Secret Manager Secret "
                "Accessor' role (roles/secretmanager.secretAccessor) at the secret, project or higher level."
            )


def _listed(text: str) -> dict[str, str]:
    assert text.startswith("^;^")
    return dict(pair.split("=", 1) for pair in text[3:].split(";"))


def _mounted(cloud: Cloud, text: str) -> dict[str, str]:
    key, _, place = text.partition("=")
    secret, _, version = place.partition(":")
    cloud.thing("version", f"{secret}/{version}")
    return {"key": key, "projectId": NUMBER, "secret": secret, "version": version}


def _make_revision(cloud: Cloud, name: str, labels: dict[str, str], mounts: str) -> str:
    number = 1 + sum(key.startswith(f"{name}-0") for key in cloud.things.get("revision", {}))
    revision = f"{name}-{number:05}-abc"
    image = f"{REGION}-docker.pkg.dev/{PROJECT}/keeper-functions/{name}@sha256:{cloud.clock:064}"
    message = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Revision",
        "metadata": {
            "name": revision,
            "creationTimestamp": cloud.time(),
            "labels": labels | {"serving.knative.dev/service": name},
        },
        "spec": {"containers": [{"image": image, "env": [_variable(text) for text in mounts.split(",") if text]}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    cloud.put("revision", revision, message)
    return revision


def _variable(mount: str) -> dict[str, Any]:
    """Return a secret as a revision has it: the version is called its key."""
    name, _, place = mount.partition("=")
    secret, _, version = place.partition(":")
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": version}}}


def _serve(cloud: Cloud, name: str, traffic: dict[str, Any]) -> None:
    """Point a service's traffic; what was set on the service itself is gone, as after a redeployment."""
    account = cloud.thing("function", name)["serviceConfig"]["serviceAccountEmail"]
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
        "spec": {"traffic": [plain], "template": {"spec": {"serviceAccountName": account}}},
        "status": {"traffic": [traffic], "url": TARGET.url(name)},
    }
    cloud.put("service", name, service)


def _traffic(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
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


def _protect(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    annotations = cloud.thing("service", names[0])["metadata"]["annotations"]
    if "iap" in flags:
        annotations["run.googleapis.com/iap-enabled"] = "true"
    else:
        assert "no-invoker-iam-check" in flags
        annotations["run.googleapis.com/invoker-iam-disabled"] = "True"  # as gcloud writes it


def _revisions(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    wanted = flags["service"]
    every = cloud.things.get("revision", {}).values()
    return [item for item in every if item["metadata"]["labels"]["serving.knative.dev/service"] == wanted][::-1]


def _delete_function(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    cloud.delete("service", names[0])
    return cloud.delete("function", names[0])


HANDLERS: dict[str, Handler] = {
    "functions deploy": _deploy,
    "functions list": listed("function"),
    "functions describe": describe("function"),
    "functions delete": _delete_function,
    "artifacts repositories create": _make_repository,
    "artifacts repositories update": _update_repository,
    "artifacts repositories describe": describe("repository"),
    "artifacts repositories set-cleanup-policies": _keep_images,
    "artifacts repositories delete": delete("repository"),
    "artifacts repositories get-iam-policy": policy("repository"),
    "artifacts repositories add-iam-policy-binding": bind("repository"),
    "run services describe": describe("service"),
    "run services update": _protect,
    "run services update-traffic": _traffic,
    "run services get-iam-policy": policy("service"),
    "run services add-iam-policy-binding": bind("service"),
    "run services remove-iam-policy-binding": unbind("service"),
    "run revisions list": _revisions,
    "iap web get-iam-policy": policy("iap"),
    "iap web add-iam-policy-binding": bind("iap"),
    "iap web remove-iam-policy-binding": unbind("iap"),
}
