"""Steps for alert policies, log-based metrics, the dashboard and whom alerts are sent to, from infra/gcp/monitoring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from infra.gcp import monitoring
from infra.gcp.steps import AS_JSON, FOUND, Step, first, gcloud

CHANNEL_TITLE = "Keeper autoprovisioning: "
PREPARED = Path(".local") / "gcp" / "policies"  # the policies with the address of the runbooks filled in


def metrics(project: str) -> list[Step]:
    """Return the steps for the log-based metrics."""
    return [_metric(project, path) for path in monitoring.metrics()]


def _metric(project: str, path: Path) -> Step:
    source, name = {"config_from_file": _relative(path), "project": project}, path.stem
    look = (*gcloud("logging", "metrics", "describe", name, project=project), AS_JSON)
    create, update = (gcloud("logging", "metrics", verb, name, **source) for verb in ("create", "update"))
    return Step(
        title=f"Log-based metric {name}",
        look=look,
        make=(create,),
        wanted=json.loads(path.read_text()),
        change=(update,),
    )


def channel(project: str, address: str) -> Step:
    """Return the step for the e-mail address that alerts go to."""
    look = gcloud("beta", "monitoring", "channels", "list", project=project)
    create = gcloud(
        *("beta", "monitoring", "channels", "create"),
        display_name=f"{CHANNEL_TITLE}{address}",
        type="email",
        channel_labels=f"email_address={address}",
        project=project,
    )
    return Step(title=f"Alerts go to {address}", look=(*look, AS_JSON), make=(create,), find=address_channel(address))


def address_channel(address: str) -> Any:
    """Return a finder of the notification channel of an e-mail address."""
    ours = f"{CHANNEL_TITLE}{address}"
    return first(lambda item: item["type"] == "email" and item.get("displayName") == ours)


def policies(project: str, channel_name: str, runbooks: str) -> list[Step]:
    """Return the steps for the alert policies; `prepare` must have written their files before they run."""
    return [_policy(project, channel_name, runbooks, path) for path in monitoring.policies()]


def _policy(project: str, channel_name: str, runbooks: str, path: Path) -> Step:
    wanted = filled(path, runbooks)
    name = wanted["userLabels"]["alert"]
    group = ("alpha", "monitoring", "policies")
    source = {"policy_from_file": str(PREPARED / path.name), "project": project}
    return Step(
        title=f"Alert policy {name}",
        look=(*gcloud(*group, "list", project=project), AS_JSON),
        make=(gcloud(*group, "create", **source, notification_channels=channel_name),),
        wanted=wanted | {"notificationChannels": [channel_name]},
        change=(gcloud(*group, "update", FOUND, **source, set_notification_channels=channel_name),),
        find=first(lambda policy: policy.get("userLabels", {}).get("alert") == name),
    )


def filled(path: Path, runbooks: str) -> dict[str, Any]:
    """Return a policy with the address of its runbook; where none is known, with the path in this repository only."""
    text = path.read_text().replace(monitoring.PLACEHOLDER, runbooks.rstrip("/") or "docs/runbooks")
    policy: dict[str, Any] = json.loads(text)
    if not runbooks:
        policy["documentation"].pop("links", None)
    return policy


def prepare(root: Path, runbooks: str) -> None:
    """Write the files that the commands of `policies` name, below the folder that they run in."""
    folder = root / PREPARED
    folder.mkdir(parents=True, exist_ok=True)
    for path in monitoring.policies():
        (folder / path.name).write_text(json.dumps(filled(path, runbooks), indent=1))


def dashboard(project: str) -> Step:
    """Return the step for the dashboard."""
    wanted = json.loads(monitoring.DASHBOARD.read_text())
    group, source = ("monitoring", "dashboards"), {"config_from_file": _relative(monitoring.DASHBOARD)}
    return Step(
        title="Dashboard",
        look=(*gcloud(*group, "list", project=project), AS_JSON),
        make=(gcloud(*group, "create", **source, project=project),),
        wanted=wanted,
        change=(gcloud(*group, "update", FOUND, **source, project=project),),
        find=first(lambda there: there.get("displayName") == wanted["displayName"]),
    )


def _relative(path: Path) -> str:
    return str(path.relative_to(monitoring.HOME.parents[2]))
