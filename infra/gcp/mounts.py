"""Whether the secrets that revisions mount can still be read: without one of them no instance starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.gcp.gcloud import Gcloud
from infra.gcp.steps import AS_JSON, Command, gcloud
from infra.gcp.target import Target

Mounts = frozenset[tuple[str, str]]  # secret, version


def of(revision: Any) -> Mounts:
    """Return what a revision mounts as variables."""
    containers = (revision.get("spec") or {}).get("containers") or ()
    variables = [item for container in containers for item in container.get("env") or ()]
    references = [(item.get("valueFrom") or {}).get("secretKeyRef") for item in variables]
    return frozenset((str(each["name"]).rpartition("/")[2], str(each["key"])) for each in references if each)


def version_of(target: Target, secret: str, version: str) -> Command:
    """Return the command that describes a version."""
    return (*gcloud("secrets", "versions", "describe", version, secret=secret, project=target.project), AS_JSON)


def trouble(target: Target, cloud: Gcloud, mounted: Mapping[str, Mounts]) -> list[str]:
    """Describe each version that functions mount but cannot read: which, whose, why, and how to fix it.

    Raises:
        GcloudFailed: that cannot be found out.
    """
    found = []
    for secret, version in sorted({each for mounts in mounted.values() for each in mounts}):
        there = cloud.look(version_of(target, secret, version))
        state = "" if there is None else str(there.get("state"))
        if state != "ENABLED":
            users = [name for name, mounts in mounted.items() if (secret, version) in mounts]
            found.append(f"version {version} of {secret} ({', '.join(users)}) {_mend(target, secret, version, state)}")
    return found


def _mend(target: Target, secret: str, version: str, state: str) -> str:
    if state == "DISABLED":
        return f"is disabled: gcloud secrets versions enable {version} --secret={secret} --project={target.project}"
    return "is destroyed" if state else "no longer exists"
