"""Steps for alert policies, metrics, the dashboard, the uptime check and whom alerts reach: infra/gcp/monitoring."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from infra.gcp import marks, monitoring
from infra.gcp.steps import AS_JSON, FOUND, Command, Exactly, OneOf, Step, first, gcloud
from infra.gcp.target import Target

CHANNEL_TITLE = "Keeper autoprovisioning: "
WEBHOOK_TITLE = "Keeper autoprovisioning: the webhook refuses strangers"
REFUSAL = 405  # what the webhook answers to a GET: if Google checked callers again, it would answer 403
CHANNELS = ("beta", "monitoring", "channels")
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
        wanted=_as_told(json.loads(path.read_text())),
        change=(update,),
        owned=marks.Owned(what=f"log-based metric {name}", whose=marks.by_description),
    )


def _as_told(metric: dict[str, Any]) -> dict[str, Any]:
    """Return a metric as Cloud Logging may return it: it leaves out the type of a label that is the default."""
    descriptor = metric["metricDescriptor"]
    labels = [label | {"valueType": OneOf((label["valueType"], None))} for label in descriptor.get("labels", ())]
    return metric | {"metricDescriptor": descriptor | {"labels": labels}}


def channels(project: str, alerts_to: Iterable[str]) -> list[Step]:
    """Return the steps for whom alerts reach: addresses, and notification channels that somebody made before."""
    return [_address(project, each) if "@" in each else _channel(project, each) for each in alerts_to]


def every_channel(project: str) -> Command:
    """Return the command that lists the notification channels."""
    return (*gcloud(*CHANNELS, "list", project=project), AS_JSON)


def _channel(project: str, name: str) -> Step:
    """Return the step that looks for a channel: if there is none, asking once more says so in gcloud's words."""
    describe = gcloud(*CHANNELS, "describe", name, project=project)
    return Step(title=f"Alerts go to {name}, which exists", look=(*describe, AS_JSON), make=(describe,))


def _address(project: str, address: str) -> Step:
    create = gcloud(
        *(*CHANNELS, "create"),
        display_name=f"{CHANNEL_TITLE}{address}",
        type="email",
        channel_labels=f"email_address={address}",
        project=project,
    )
    return Step(
        title=f"Alerts go to {address}",
        look=every_channel(project),
        make=(create,),
        wanted={"enabled": True},  # somebody may have silenced it during an incident
        change=(gcloud(*CHANNELS, "update", FOUND, enabled=True, project=project),),
        find=lambda listed: _told(address_channel(address)(listed)),
    )


def _told(channel: Any) -> Any:
    """Return a channel with what is left out where it is the default."""
    return None if channel is None else {"enabled": True} | channel


def address_channel(address: str) -> Any:
    """Return a finder of the notification channel of an e-mail address."""
    ours = f"{CHANNEL_TITLE}{address}"
    return first(lambda item: our_channel(item) and item.get("displayName") == ours)


def our_channel(channel: Any) -> bool:
    """Say whether a deployment made a notification channel: it is then named after the address that it reaches."""
    address = (channel.get("labels") or {}).get("email_address", "")
    return bool(channel.get("type") == "email" and channel.get("displayName") == f"{CHANNEL_TITLE}{address}")


def names(addresses: Iterable[str], listed: Any) -> dict[str, str]:
    """Return the names of the addresses' channels that exist, by address."""
    found = {address: address_channel(address)(listed) for address in addresses}
    return {address: str(item["name"]) for address, item in found.items() if item is not None}


def webhook_check(target: Target) -> list[Step]:
    """Return the step for the uptime check: a stranger's request gets the webhook's own refusal, not Google's."""
    if target.webhook:
        return [_webhook_check(target)]
    list_them = gcloud("monitoring", "uptime", "list-configs", project=target.project)
    delete = gcloud("monitoring", "uptime", "delete", FOUND, project=target.project, quiet=True)
    return [_none("No uptime check of the webhook", (*list_them, AS_JSON), delete, our_check(target))]


def _none(title: str, look: Command, delete: Command, unwanted: Callable[[Any], bool]) -> Step:
    """Return a step that deletes what is not wanted of what is listed."""
    return Step(
        title=title,
        look=look,
        make=(),
        wanted={"unwanted": Exactly([])},
        change=(delete,),
        find=lambda listed: {"unwanted": [str(each["name"]) for each in listed or () if unwanted(each)]},
        names=lambda found: list(found["unwanted"]),
    )


def _webhook_check(target: Target) -> Step:
    host, ours = _webhook_host(target), our_check(target)
    asked = {"path": "/", "request_method": "get", "validate_ssl": "true", "period": "15"}
    group = ("monitoring", "uptime")
    create = gcloud(
        *(*group, "create", WEBHOOK_TITLE),
        resource_type="uptime-url",
        resource_labels=f"host={host},project_id={target.project}",
        protocol="https",
        **asked,
        status_codes=str(REFUSAL),
        project=target.project,
    )
    return Step(
        title=f"Uptime check: the webhook refuses a stranger itself, with {REFUSAL}",
        look=(*gcloud(*group, "list-configs", project=target.project), AS_JSON),
        make=(create,),
        wanted={
            "httpCheck": {
                "path": "/",
                "requestMethod": "GET",
                "useSsl": True,
                "validateSsl": True,
                "acceptedResponseStatusCodes": [{"statusValue": REFUSAL}],
            },
            "period": "900s",
        },
        change=(gcloud(*group, "update", FOUND, **asked, set_status_codes=str(REFUSAL), project=target.project),),
        find=first(ours),
    )


def our_check(target: Target) -> Callable[[Any], bool]:
    """Return the test whether an uptime check is the webhook's."""

    def ours(check: Any) -> bool:
        host = ((check.get("monitoredResource") or {}).get("labels") or {}).get("host")
        return check.get("displayName") == WEBHOOK_TITLE and host == _webhook_host(target)

    return ours


def _webhook_host(target: Target) -> str:
    return target.url("directory-webhook").removeprefix("https://")


def policies(target: Target) -> list[Step]:
    """Return the steps for the alert policies; `prepare` must have written their files before they run."""
    steps = [_policy(target, path) for path in policies_of(target)]
    if target.webhook:
        return steps
    group = ("alpha", "monitoring", "policies")
    look = (*gcloud(*group, "list", project=target.project), AS_JSON)
    delete = gcloud(*group, "delete", FOUND, project=target.project, quiet=True)
    return [*steps, _none(f"No alert policy {monitoring.OF_WEBHOOK}", look, delete, _of_webhook)]


def policies_of(target: Target) -> list[Path]:
    """Return the alert policies of a deployment: without a webhook there is nothing of it to be alerted about."""
    return [path for path in monitoring.policies() if target.webhook or path.stem != monitoring.OF_WEBHOOK]


def _of_webhook(policy: Any) -> bool:
    return ours(policy) and policy["userLabels"].get("alert") == monitoring.OF_WEBHOOK


def _policy(target: Target, path: Path) -> Step:
    project, notified = target.project, target.notified
    wanted = filled(path, target)
    name = wanted["userLabels"]["alert"]
    group = ("alpha", "monitoring", "policies")
    source = {"policy_from_file": str(PREPARED / path.name), "project": project}
    channels = ",".join(notified)
    return Step(
        title=f"Alert policy {name}",
        look=(*gcloud(*group, "list", project=project), AS_JSON),
        make=(gcloud(*group, "create", **source, notification_channels=channels),),
        wanted=wanted | {"notificationChannels": list(notified)},
        change=(gcloud(*group, "update", FOUND, **source, set_notification_channels=channels),),
        find=first(lambda policy: ours(policy) and policy["userLabels"].get("alert") == name),
    )


def ours(policy: Any) -> bool:
    """Say whether an alert policy has our mark."""
    return bool(policy.get("userLabels", {}).get("system") == marks.SYSTEM)


def filled(path: Path, target: Target) -> dict[str, Any]:
    """Return a policy with the address of its runbook; if none is known, with the path in this repository only."""
    text = path.read_text().replace(monitoring.RUNBOOKS, target.runbooks.rstrip("/") or "docs/runbooks")
    policy: dict[str, Any] = json.loads(text.replace(monitoring.WEBHOOK, _webhook_host(target)))
    if not target.runbooks:
        policy["documentation"].pop("links", None)
    return policy


def prepare(root: Path, target: Target) -> None:
    """Write the files that the commands of `policies` name, below the folder that they run in.

    What is there already is left: to replace a file takes as long as the disk does.
    """
    folder = root / PREPARED
    folder.mkdir(parents=True, exist_ok=True)
    for path in monitoring.policies():
        prepared, text = folder / path.name, json.dumps(filled(path, target), indent=1)
        if prepared.exists() and prepared.read_text() == text:
            continue
        written = folder / f"{path.name}.{os.getpid()}"  # whole at once: several jobs of the tests read and write it
        written.write_text(text)
        written.replace(prepared)


def dashboard(project: str) -> Step:
    """Return the step for the dashboard."""
    wanted = json.loads(monitoring.DASHBOARD.read_text())
    group, file = ("monitoring", "dashboards"), _relative(monitoring.DASHBOARD)
    return Step(
        title="Dashboard",
        look=(*gcloud(*group, "list", project=project), AS_JSON),
        make=(gcloud(*group, "create", config_from_file=file, project=project),),
        wanted=wanted,
        change=(gcloud(*group, "update", FOUND, config_from_file="-", project=project),),
        # Cloud Monitoring refuses to update a dashboard without the etag that was read.
        stdin=lambda there: json.dumps(wanted | {"etag": there["etag"]}) if there else "",
        find=first(lambda there: there.get("displayName") == wanted["displayName"] and our_dashboard(there)),
    )


def our_dashboard(dashboard: Any) -> bool:
    """Say whether a dashboard has our mark."""
    return marks.SYSTEM in dashboard.get("labels", {})


def _relative(path: Path) -> str:
    return str(path.relative_to(monitoring.HOME.parents[2]))
