"""Where images come from: the bucket of sources, Cloud Build, and the repository."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from infra.gcp import commands
from infra.gcp.description import DEPLOYMENT
from tests.gcp.api_messages import problems
from tests.gcp.stand_in.cloud import NUMBER, PROJECT, REGION, Cloud, Handler, Refused, delete, describe, labels
from tests.gcp.stand_in.policies import bind, known_member, policy


def _build(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    """Build what the configuration says: the image is there under its tag, with another digest after each build."""
    if cloud.restricted and flags["region"] != "global":
        raise Refused(
            "FAILED_PRECONDITION: failed precondition: due to quota restrictions, cannot run builds in this region. "
            "Please contact support"
        )
    builder = flags["service-account"].rpartition("/")[2]
    known_member(cloud, f"serviceAccount:{builder}")
    assert "suppress-logs" in flags, "a build that logs to Cloud Logging alone"
    values = dict(pair.split("=", 1) for pair in flags["substitutions"].split(","))
    text = (commands.ROOT / flags["config"]).read_text()
    build = json.loads(re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], text))
    assert problems(build, "cloudbuild.v1", "Build") == []
    bucket, _, _ = flags["gcs-source-staging-dir"].removeprefix("gs://").partition("/")
    cloud.thing("bucket", f"gs://{bucket}")
    _see_that_it_may_be_built(cloud, builder)
    (image,) = build["images"]
    name, _, tag = image.rpartition(":")
    cloud.given[image] += 1
    digest = f"sha256:{hashlib.sha256(f'{image} {cloud.given[image]}'.encode()).hexdigest()}"
    others = [item for item in cloud.things.get("image", {}).values() if item["package"] == name]
    for item in others:
        item["tags"] = [each for each in item["tags"] if each != tag]  # a tag is of one image
    cloud.pushed[f"{name}@{digest}"] = cloud.clock
    cloud.things.setdefault("image", {})[f"{name}@{digest}"] = {"package": name, "tags": [tag], "version": digest}
    return {"id": "1", "status": "SUCCESS", "images": [image]}


def _see_that_it_may_be_built(cloud: Cloud, builder: str) -> None:
    """Refuse, as Cloud Build does, while what was granted is not known to it yet."""
    (account,) = [item for item in DEPLOYMENT.accounts if builder.startswith(f"{item.id}@")]
    agent = f"serviceAccount:service-{NUMBER}@gcp-sa-cloudbuild.iam.gserviceaccount.com"
    project = f"project:{PROJECT}"
    if not cloud.may(agent, "roles/cloudbuild.serviceAgent", project):
        raise Refused("PERMISSION_DENIED: IAM grants may take a while until the permissions are propagated.")
    places = {grant.role: project if grant.on == "project" else grant.on for grant in account.grants}
    places["roles/storage.objectViewer"] = f"bucket:gs://keeper-source-{NUMBER}"
    if not all(cloud.may(f"serviceAccount:{builder}", role, on) for role, on in places.items()):
        raise Refused(
            f"INVALID_ARGUMENT: could not resolve source: googleapi: Error 403: {builder} does not have "
            "storage.objects.get access to the Google Cloud Storage object."
        )


def _images(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    """List the images of a repository, as gcloud does without --show-occurrences: it asks Artifact Registry alone.

    One that was just pushed may be missing.
    """
    assert "include-tags" in flags
    cloud.thing("repository", names[0].rpartition("/")[2])
    there = cloud.things.get("image", {}).items()
    return [item for name, item in there if cloud.pushed[name] + cloud.listing_lag <= cloud.clock]


def _describe_image(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    raise Refused(
        "PERMISSION_DENIED: Permission 'containeranalysis.occurrences.list' denied on resource "
        f"'projects/{PROJECT}' (or it may not exist)."
    )


def _make_bucket(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    bucket = {
        "name": names[0].removeprefix("gs://"),
        "projectNumber": NUMBER,
        "location": flags["location"].upper(),
    }
    return cloud.put("bucket", names[0], bucket | _kept(flags), new=True)


def _update_bucket(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    return cloud.put("bucket", names[0], cloud.thing("bucket", names[0]) | _kept(flags))


def _kept(flags: Any) -> dict[str, Any]:
    assert {"uniform-bucket-level-access", "public-access-prevention"} <= set(flags)
    return {
        "iamConfiguration": {
            "uniformBucketLevelAccess": {"enabled": True},
            "bucketPolicyOnly": {"enabled": True},
            "publicAccessPrevention": "enforced",
        },
        "lifecycle": json.loads((commands.ROOT / flags["lifecycle-file"]).read_text()),
    }


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


def _delete_repository(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    cloud.things.pop("image", None)
    return cloud.delete("repository", names[0])


HANDLERS: dict[str, Handler] = {
    "builds submit": _build,
    "storage buckets create": _make_bucket,
    "storage buckets update": _update_bucket,
    "storage buckets describe": describe("bucket"),
    "storage buckets get-iam-policy": policy("bucket"),
    "storage buckets add-iam-policy-binding": bind("bucket"),
    "storage rm": delete("bucket"),
    "artifacts docker images list": _images,
    "artifacts docker images describe": _describe_image,
    "artifacts repositories create": _make_repository,
    "artifacts repositories update": _update_repository,
    "artifacts repositories describe": describe("repository"),
    "artifacts repositories set-cleanup-policies": _keep_images,
    "artifacts repositories delete": _delete_repository,
    "artifacts repositories get-iam-policy": policy("repository"),
    "artifacts repositories add-iam-policy-binding": bind("repository"),
}
