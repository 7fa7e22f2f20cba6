"""The description as a configuration of OpenTofu, for those who keep their infrastructure in it.

Nothing is run here, and no secret is in it: the two keys are versions that somebody adds on standard input, and the
configuration only says which version is mounted. What differs between projects is a variable.

Sources: opentofu.org/docs/language/syntax/json, and the documentation of the providers google and google-beta.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.gcp.description import DEPLOYMENT, KEYS, Deployment
from infra.gcp.target import ORGANIZATION, Target
from infra.gcp.tofu import foundation, identities, observation, workload
from infra.gcp.tofu.resource import Resource
from infra.gcp.variants import chosen

FOLDER = Path(".local") / "tofu"
CONFIGURATION, VALUES, ADOPTION = "keeper.tf.json", "keeper.auto.tfvars.json", "adopt.tf.json"
PROVIDER = ">= 7.0, < 8.0"  # checked against 7.45: tests/gcp/provider_schema.json

VARIABLES = {
    "project": "id of the project",
    "project_number": "number of the project: gcloud projects describe PROJECT",
    "region": "region of the functions",
    "location": "location of Firestore, which cannot be changed later",
    "admin": "Workspace account in whose name the directory is read",
    "access": "whom Identity-Aware Proxy lets in: group:, user: or domain:",
    "image": "the functions' image, by its digest: REGION-docker.pkg.dev/PROJECT/...@sha256:...",
}


def variable(name: str) -> str:
    """Return an expression for a variable's value."""
    return f"${{var.{name}}}"


def target(given: Target) -> Target:
    """Return the target of the configuration: a variable for everything that differs between projects, except texts."""
    return Target(
        project=variable("project"),
        region=variable("region"),
        admin=variable("admin"),
        alerts="",
        number=variable("project_number"),
        key_versions={key: variable(version_of(key)) for key in KEYS},
        location=variable("location"),
        access=variable("access"),
        runbooks=given.runbooks,
        budget=given.budget,
        sink=given.sink,
        organization=variable("organization"),
        public_webhook=given.public_webhook,
        full_runs=given.full_runs,
    )


def version_of(key: str) -> str:
    """Return the name of the variable with a key's mounted version."""
    return f"{key.replace('-', '_')}_version"


def resources(given: Target, deployment: Deployment = DEPLOYMENT) -> list[Resource]:
    """Return everything that a deployment has."""
    filled = target(given)
    deployment = chosen(replace(filled, tuned=given.tuned), deployment)
    return [
        *foundation.resources(filled, deployment),
        *identities.resources(filled, deployment),
        *workload.resources(filled, deployment),
        *observation.resources(filled),
    ]


def configuration(given: Target) -> dict[str, Any]:
    """Return the configuration."""
    kinds: dict[str, dict[str, Any]] = {}
    for resource in resources(given):
        kinds.setdefault(resource.kind, {})[resource.name] = resource.body
    asked = VARIABLES | ({"billing_account": "id of the billing account"} if given.budget else {})
    asked |= {"organization": "number of the organization whose log sink publishes"} if _sinks(given) else {}
    texts = {name: {"type": "string", "description": text} for name, text in asked.items()}
    versions = {
        version_of(key): {"type": "string", "default": "1", "description": f"mounted version of the secret {key}"}
        for key in KEYS
    }
    notified = {
        "alert_addresses": {"type": "set(string)", "description": "addresses that alerts go to"},
        "alert_channels": {
            "type": "list(string)",
            "default": [],
            "description": "projects/PROJECT/notificationChannels/NUMBER that alerts go to",
        },
    }
    placed = {"project": variable("project"), "region": variable("region")}
    return {
        "//": "Written by `make tofu`. Change the description in infra/gcp, and write it again.",
        "terraform": {
            "required_version": ">= 1.7",
            "required_providers": {
                name: {"source": f"hashicorp/{name}", "version": PROVIDER} for name in ("google", "google-beta")
            },
        },
        "provider": {"google": placed, "google-beta": placed},
        "variable": texts | versions | notified,
        "resource": kinds,
        "output": {
            "client_id": {
                "description": "to enter in the Admin console for domain-wide delegation",
                "value": "${google_service_account.directory.unique_id}",
            },
        },
    }


def values(given: Target) -> dict[str, Any]:
    """Return what the settings say; the project's number, the image and the keys' versions come from elsewhere."""
    return {
        "project": given.project,
        "region": given.region,
        "location": given.location or given.region,
        "admin": given.admin,
        "access": given.may_enter,
        "alert_addresses": list(given.addresses),
        "alert_channels": [each for each in given.alerts_to if "@" not in each],
    } | ({"organization": given.organization} if _sinks(given) else {})


def _sinks(given: Target) -> bool:
    return given.sink == ORGANIZATION


def adoption(given: Target) -> dict[str, Any]:
    """Return the imports of what `make deploy` made, except of what only Google knows the id of."""
    return {"import": [{"to": item.address, "id": item.there} for item in resources(given) if item.there]}


def unknown(given: Target) -> list[str]:
    """Return the addresses of what a deployment made whose id only Google knows."""
    return [item.address for item in resources(given) if not item.there]


def write(root: Path, given: Target, *, adopt: bool) -> Iterable[Path]:
    """Write the files below a folder, and yield their paths; the imports only on request."""
    files = {CONFIGURATION: configuration(given), VALUES: values(given)}
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ADOPTION).unlink(missing_ok=True)
    for name, content in (files | ({ADOPTION: adoption(given)} if adopt else {})).items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
        yield folder / name
