"""Steps for the image that all functions are started from: the bucket that its source is read from, and the build.

One build serves all functions, since functions-framework asks the environment at each start which one it is to serve
(FUNCTION_TARGET); what the build is given is a default only (buildpacks, pkg/gcpbuildpack/env.go: DefaultLaunchEnv).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from infra.gcp import marks, upload
from infra.gcp.description import DEPLOYMENT, IMAGE, PYTHON, REPOSITORY, SOURCES
from infra.gcp.steps import AS_JSON, Command, Step, gcloud
from infra.gcp.target import Target

CONFIG = "infra/gcp/build.json"  # what Cloud Build does: the same as for `gcloud builds submit --pack`
LIFETIME = "infra/gcp/source.json"  # of what was uploaded
RECIPE = Path(__file__).parent / "build.json"
KEPT = Path(__file__).parent / "source.json"
# What Cloud Build says to some projects, in all but six regions (cloud.google.com/build/docs/locations).
RESTRICTED = "cannot run builds in this region"
ANYWHERE = "global"  # where they may build all the same
DEFAULT = DEPLOYMENT.functions[0].entry_point  # a build must name one


def recipe() -> str:
    """Return what besides the source decides what is built: another builder or Python makes another image."""
    return f"{RECIPE.read_text()}\0{PYTHON}\0{DEFAULT}"


def repository(target: Target) -> str:
    """Return where images are kept."""
    return f"{target.region}-docker.pkg.dev/{target.project}/{REPOSITORY}"


def image(target: Target) -> str:
    """Return the name of the image, without a tag or a digest."""
    return f"{repository(target)}/{IMAGE}"


def image_of(target: Target) -> str:
    """Return what the functions of this deployment are started from, by its digest."""
    return f"{image(target)}@{target.image}"


def listed(target: Target) -> Command:
    """Return the command that lists what the repository has, with tags and digests.

    Not `images describe`: in a project that has the Container Analysis API, it needs a role there, too.
    """
    return (*gcloud("artifacts", "docker", "images", "list", repository(target), include_tags=True), AS_JSON)


def built(target: Target, listed: Any) -> Any:
    """Return the image that was built from this source, its digest as `version`; None if none was."""
    ours = (item for item in listed or () if item["package"] == image(target))
    return next((item for item in ours if target.source in _tags(item)), None)


def _tags(item: Any) -> list[str]:
    """Return the tags of an image, which another release of gcloud returns as one text."""
    tags = item.get("tags") or []
    return tags.split(",") if isinstance(tags, str) else list(tags)


def bucket(target: Target) -> Step:
    """Return the step that makes the bucket that a build reads from."""
    where = f"gs://{SOURCES}-{target.number}"
    kept: dict[str, Any] = {
        "lifecycle_file": LIFETIME,
        "uniform_bucket_level_access": True,
        "public_access_prevention": True,
    }
    make = ("storage", "buckets", "create", where)
    return Step(
        title=f"Bucket {SOURCES}-{target.number} for what is built: not public, and for 30 days",
        look=(*gcloud("storage", "buckets", "describe", where, project=target.project, raw=True), AS_JSON),
        make=(gcloud(*make, location=target.region, **kept, project=target.project),),
        wanted={
            "iamConfiguration": {
                "uniformBucketLevelAccess": {"enabled": True},
                "publicAccessPrevention": "enforced",
            },
            "lifecycle": json.loads(KEPT.read_text()),
        },
        change=(gcloud("storage", "buckets", "update", where, **kept, project=target.project),),
        owned=marks.Owned(what=f"bucket {SOURCES}-{target.number}", whose=_whose(target)),
    )


def _whose(target: Target) -> Any:
    """Return what says whose the bucket is: all of Google shares bucket names; ours has the project's number in it."""

    def whose(there: Any) -> marks.Whose:
        return marks.Whose.OURS if str(there.get("projectNumber")) == target.number else marks.Whose.ANOTHERS

    return whose


def steps(target: Target) -> Iterator[Step]:
    """Yield the step that builds the image, unless there is one of the same source."""
    values = {"_IMAGE": f"{image(target)}:{target.source}", "_PYTHON": PYTHON, "_FUNCTION": DEFAULT}
    builder = f"projects/{target.project}/serviceAccounts/{target.account('build')}"
    yield Step(
        title=f"Image of source {target.source}: built once, for all functions",
        look=listed(target),
        find=partial(built, target),
        make=(
            gcloud(
                *("builds", "submit", upload.staged(target.source)),
                config=CONFIG,
                substitutions=",".join(f"{name}={value}" for name, value in values.items()),
                gcs_source_staging_dir=f"gs://{SOURCES}-{target.number}/source",
                service_account=builder,
                region=target.built_in or target.region,
                project=target.project,
                suppress_logs=True,  # they are in Cloud Logging, which gcloud does not read from
            ),
        ),
    )
