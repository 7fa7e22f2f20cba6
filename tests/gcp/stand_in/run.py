"""Cloud Run's services and revisions, what is left of Cloud Functions, and Identity-Aware Proxy before them."""

from __future__ import annotations

import json
from typing import Any

from infra.gcp.description import ACCESSOR
from infra.gcp.smoke import PROBLEM, SIGN_IN, Question, Reply
from tests.gcp.gcloud_parser import TARGET
from tests.gcp.stand_in.cloud import NUMBER, PROJECT, REGION, Cloud, Handler, Refused, describe, labels, listed
from tests.gcp.stand_in.policies import bind, known_member, policy, unbind

IAP, UNASKED = "run.googleapis.com/iap-enabled", "run.googleapis.com/invoker-iam-disabled"
BASE_IMAGES = "run.googleapis.com/base-images"
SCALES = {"min-instances": "autoscaling.knative.dev/minScale", "max-instances": "autoscaling.knative.dev/maxScale"}
OPERATORS = "identity-token-of-the-operator"


def _deploy(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    """Read, change and write back, as gcloud does; a revision that does not start is made, and gets no traffic."""
    name, new = names[0], names[0] not in cloud.things.get("service", {})
    if new and "no-traffic" in flags:
        raise Refused("--no-traffic not supported when creating a new service.")
    assert ("no-traffic" in flags) is not ("no-allow-unauthenticated" in flags)
    known_member(cloud, f"serviceAccount:{flags['service-account']}")
    _see_that_it_may_start(cloud, flags)
    service = _empty(name) if new else cloud.things["service"][name]
    metadata = service["metadata"] | labels(flags, service["metadata"])
    metadata["annotations"] = service["metadata"]["annotations"] | {"run.googleapis.com/ingress": flags["ingress"]}
    template = _template(flags, service["spec"]["template"], metadata["labels"])
    revision = _make_revision(cloud, name, template)
    traffic = [dict(share) for share in service["spec"].get("traffic", [{"latestRevision": True, "percent": 100}])]
    if "no-traffic" in flags:
        for share in traffic:
            if share.pop("latestRevision", False):
                share |= _named(service["status"])
        if any(share.keys().isdisjoint(("revisionName", "latestRevision")) for share in traffic):
            raise Refused("HTTPError 400: spec.traffic[0]: exactly one of revisionName and latestRevision must be set.")
    traffic = [share for share in traffic if share.get("percent") or share.get("tag", flags["tag"]) != flags["tag"]]
    traffic.append({"revisionName": revision, "tag": flags["tag"]})
    starts, staged = name not in cloud.broken, "no-traffic" in flags
    status = service["status"] | {"latestCreatedRevisionName": revision}
    status |= {"latestReadyRevisionName": revision} if starts and not (staged and cloud.retires) else {}
    spec = {"traffic": traffic, "template": template}
    _put(cloud, service | {"metadata": metadata, "spec": spec, "status": status})
    if not starts:
        raise Refused(
            f"Revision '{revision}' is not ready and cannot serve traffic. The user-provided container failed to start "
            "and listen on the port defined provided by the PORT=8080 environment variable within the allowed time."
        )
    return cloud.things["service"][name]


def _empty(name: str) -> dict[str, Any]:
    urls = json.dumps([TARGET.url(name), f"https://{name}-abc-ew.a.run.app"])
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NUMBER, "annotations": {"run.googleapis.com/urls": urls}},
        "spec": {"template": {}},
        "status": {"url": TARGET.url(name)},
    }


def _template(flags: Any, before: Any, labelled: dict[str, str]) -> dict[str, Any]:
    annotations = dict(before.get("metadata", {}).get("annotations", {}))
    for flag, annotation in SCALES.items():
        annotations.pop(annotation, None)
        if flags[flag] != "0":
            annotations[annotation] = flags[flag]
    assert "clear-base-image" in flags
    annotations.pop(BASE_IMAGES, None)
    plain = [{"name": key, "value": value} for key, value in _listed(flags["set-env-vars"]).items()]
    mounts = [_mounted(text) for text in filter(None, flags.get("set-secrets", "").split(","))]
    assert bool(mounts) is not ("clear-secrets" in flags)
    container = {
        "image": flags["image"],
        "env": [*plain, *mounts],
        "resources": {"limits": {"memory": flags["memory"], "cpu": f"{flags['cpu']}000m"}},
    }
    return {
        "metadata": {"labels": dict(labelled), "annotations": annotations},
        "spec": {
            "serviceAccountName": flags["service-account"],
            "timeoutSeconds": int(flags["timeout"].rstrip("s")),
            "containerConcurrency": int(flags["concurrency"]),
            "containers": [container],
        },
    }


def _see_that_it_may_start(cloud: Cloud, flags: Any) -> None:
    """Refuse, as Cloud Run does, while what was granted is not known to it yet."""
    agent = f"service-{NUMBER}@serverless-robot-prod.iam.gserviceaccount.com"
    stored = flags["image"] in cloud.things["image"]
    if not stored or not cloud.may(f"serviceAccount:{agent}", "roles/run.serviceAgent", f"project:{PROJECT}"):
        raise Refused(
            f"Google Cloud Run Service Agent {agent} must have permission to read the image, {flags['image']}. Ensure "
            "that the provided container image URL is correct and that the above account has permission to access it."
        )
    for text in filter(None, flags.get("set-secrets", "").split(",")):
        secret, _, version = text.partition("=")[2].partition(":")
        cloud.thing("version", f"{secret}/{version}")
        if not cloud.may(f"serviceAccount:{flags['service-account']}", ACCESSOR, f"secret:{secret}"):
            raise Refused(
                "spec.template.spec.containers[0].env[0].value_from.secret_key_ref.name: Permission denied on secret: "
                f"projects/{NUMBER}/secrets/{secret}/versions/{version} for Revision service account "
                f"{flags['service-account']}. The service account used must be granted the 'Secret Manager Secret "
                "Accessor' role (roles/secretmanager.secretAccessor) at the secret, project or higher level."
            )


def _listed(text: str) -> dict[str, str]:
    assert text.startswith("^;^")
    return dict(pair.split("=", 1) for pair in text[3:].split(";"))


def _mounted(text: str) -> dict[str, Any]:
    key, _, place = text.partition("=")
    secret, _, version = place.partition(":")
    return {"name": key, "valueFrom": {"secretKeyRef": {"name": secret, "key": version}}}


def _make_revision(cloud: Cloud, name: str, template: dict[str, Any]) -> str:
    number = 1 + sum(key.startswith(f"{name}-0") for key in cloud.things.get("revision", {}))
    revision = f"{name}-{number:05}-abc"
    message = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Revision",
        "metadata": {
            "name": revision,
            "creationTimestamp": cloud.time(),
            "labels": template["metadata"]["labels"] | {"serving.knative.dev/service": name},
        },
        "spec": template["spec"],
        "status": {"conditions": [{"type": "Ready", "status": "False" if name in cloud.broken else "True"}]},
    }
    cloud.put("revision", revision, message)
    return revision


def _put(cloud: Cloud, service: dict[str, Any], *, routed: bool = True) -> None:
    """Store a service; its status says what its traffic amounts to.

    That stays as it was where a share names a revision that did not start. gcloud waits until the status is of what it
    has asked for; who lost its answer may be told the one before.
    """
    name, status = service["metadata"]["name"], service["status"]
    generation = service["metadata"].get("generation", 0) + 1
    told = []
    for share in service["spec"]["traffic"]:
        latest = _named(status) if share.get("latestRevision") else {}
        tagged = {"url": f"https://{share['tag']}---{TARGET.url(name)[8:]}"} if "tag" in share else {}
        told.append(share | latest | tagged)
    ready = all(_started(cloud, share.get("revisionName", "")) for share in told)
    if status.get("traffic") and not (ready and routed):
        told = status.get("traffic", [])
    cloud.stale.pop(name, None)
    if cloud.losing and cloud.status_lag:
        before = cloud.things.get("service", {}).get(name, {}).get("status", {"traffic": []})
        cloud.stale[name] = (cloud.clock + cloud.status_lag, before)
    status = status | {
        "traffic": told,
        "observedGeneration": generation,
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
    }
    cloud.put(
        "service", name, service | {"metadata": service["metadata"] | {"generation": generation}, "status": status}
    )


def _started(cloud: Cloud, revision: str) -> bool:
    """Say whether a revision is there and has started."""
    there = cloud.things.get("revision", {}).get(revision, {})
    return [item["status"] for item in there.get("status", {}).get("conditions", ())] == ["True"]


def _named(status: dict[str, Any]) -> dict[str, str]:
    """Return the revision that started last, as a share of traffic names it."""
    ready = status.get("latestReadyRevisionName")
    return {"revisionName": ready} if ready else {}


def _traffic(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    service = cloud.thing("service", names[0])
    gone = flags.get("remove-tags", "")
    kept = [share for share in service["spec"]["traffic"] if share.get("tag", gone) != gone]
    if "update-tags" in flags:
        tag, _, revision = flags["update-tags"].partition("=")
        cloud.thing("revision", revision)
        kept = [share for share in service["spec"]["traffic"] if share.get("tag") != tag]
        kept.append({"revisionName": revision, "tag": tag})
        _put(cloud, service | {"spec": service["spec"] | {"traffic": kept}})
        return cloud.things["service"][names[0]]
    if "to-latest" in flags:
        wanted = {"latestRevision": True, "percent": 100}
        created = service["status"]["latestCreatedRevisionName"]
        if _started(cloud, created) and not cloud.latest_stays:
            service = service | {"status": service["status"] | {"latestReadyRevisionName": created}}
    else:
        revision, _, percent = flags["to-revisions"].partition("=")
        cloud.thing("revision", revision)
        wanted = {"revisionName": revision, "percent": int(percent)}
        if revision == service["status"]["latestCreatedRevisionName"]:
            service = service | {"status": service["status"] | {"latestReadyRevisionName": revision}}
    kept = [{key: value for key, value in share.items() if key != "percent"} for share in kept]
    moved = service | {"spec": service["spec"] | {"traffic": [wanted, *kept]}}
    _put(cloud, moved, routed=names[0] not in cloud.unrouted)
    return cloud.things["service"][names[0]]


def _described(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    service = cloud.thing("service", names[0])
    until, status = cloud.stale.get(names[0], (0, None))
    if cloud.clock < until:
        service = service | {"status": status}
    if names[0] in cloud.nowhere:
        traffic = [
            {key: value for key, value in share.items() if key != "url"} for share in service["status"]["traffic"]
        ]
        service = service | {"status": service["status"] | {"traffic": traffic}}
    return service


def _protect(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    annotations = cloud.thing("service", names[0])["metadata"]["annotations"]
    if "iap" in flags:
        annotations[IAP] = "true"
    else:
        assert ("no-invoker-iam-check" in flags) is not ("invoker-iam-check" in flags)
        annotations[UNASKED] = str("no-invoker-iam-check" in flags)  # as gcloud writes it


def _revisions(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    wanted = flags["service"]
    every = cloud.things.get("revision", {}).values()
    return [item for item in every if item["metadata"]["labels"]["serving.knative.dev/service"] == wanted][::-1]


def _functions(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    """List functions; those in a region that cannot be reached are left out, and gcloud exits with 0 all the same."""
    every = cloud.things.get("function", {}).values()
    return [item for item in every if item["name"].split("/")[3] not in cloud.unreachable]


def _detach(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    """Hand a function over to Cloud Run alone: its service serves on as it did."""
    cloud.delete("function", names[0])
    cloud.thing("service", names[0])["metadata"]["labels"].pop("goog-managed-by", None)


def _delete_function(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    """Delete a function with its service, if that is there."""
    cloud.delete("function", names[0])
    cloud.things["service"].pop(names[0], None)


def _delete_service(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    """Delete a service; Cloud Run lets anybody do that below a function, which is broken then."""
    assert names[0] not in cloud.things.get("function", {}), f"the function {names[0]} would lose its service"
    return cloud.delete("service", names[0])


def managed_by_functions(cloud: Cloud) -> None:
    """Make of a deployment what a version before made with `gcloud functions deploy`: an image for each function."""
    cloud.things["image"] = {}
    for name, service in cloud.things["service"].items():
        template = service["spec"]["template"]
        service["metadata"]["labels"]["goog-managed-by"] = "cloudfunctions"
        template["metadata"]["annotations"][BASE_IMAGES] = '{"worker":"python311"}'
        package = f"{REGION}-docker.pkg.dev/{PROJECT}/keeper-functions/{name}"
        template["spec"]["containers"][0]["image"] = f"{package}@sha256:1"
        cloud.things["image"][f"{package}@sha256:1"] = {"package": package, "tags": ["1"], "version": "sha256:1"}
        function = {
            "name": f"projects/{PROJECT}/locations/{REGION}/functions/{name}",
            "environment": "GEN_2",
            "state": "ACTIVE",
            "serviceConfig": {"serviceAccountEmail": template["spec"]["serviceAccountName"]},
            "labels": service["metadata"]["labels"],
        }
        cloud.put("function", name, function)


def visited(cloud: Cloud, question: Question) -> Reply:
    """Answer a request as Google's front end and the function behind it do."""
    tag, _, host = question.url.removeprefix("https://").rpartition("---")
    (service,) = [
        item for item in cloud.things["service"].values() if item.get("status", {}).get("url") == f"https://{host}"
    ]
    (share,) = [item for item in service["status"]["traffic"] if item.get("tag", "") == tag]
    annotations = service["metadata"]["annotations"]
    if annotations.get(IAP) == "true":
        return Reply(status=302, location=f"{SIGN_IN}o/oauth2/v2/auth?client_id=1")
    allowed = question.headers.get("Authorization") == f"Bearer {OPERATORS}" and cloud.may_invoke
    if annotations.get(UNASKED, "").lower() != "true" and not allowed:
        return Reply(status=403, kind="text/html; charset=UTF-8")
    (container,) = cloud.things["revision"][share["revisionName"]]["spec"]["containers"]
    target = next(item["value"] for item in container["env"] if item["name"] == "FUNCTION_TARGET")
    if target in cloud.sick:
        return Reply(status=500, kind=PROBLEM)
    if question.method == "GET":
        return Reply(status=405, kind=PROBLEM)
    return (
        Reply(status=403, kind=PROBLEM) if target == "directory_webhook" else Reply(status=200, kind="application/json")
    )


def _identity(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    machine = cloud.account.endswith(".gserviceaccount.com")
    assert machine is ("audiences" in flags)
    if machine and not cloud.machine_has_identity:
        raise Refused("No identity token can be obtained from the current credentials.")
    return {"id_token": OPERATORS, "access_token": "token-of-the-operator"}


HANDLERS: dict[str, Handler] = {
    "auth print-identity-token": _identity,
    "functions list": _functions,
    "functions describe": describe("function"),
    "functions detach": _detach,
    "functions delete": _delete_function,
    "run deploy": _deploy,
    "run services list": listed("service"),
    "run services describe": _described,
    "run services delete": _delete_service,
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
