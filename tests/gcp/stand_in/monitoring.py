"""Metrics, alert policies, the dashboard and notification channels."""

from __future__ import annotations

import json
import re
from typing import Any

from infra.gcp import commands
from tests.gcp.stand_in.cloud import PROJECT, Cloud, Handler, Refused, delete, describe, listed


def _content(flags: dict[str, Any], flag: str, stdin: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(stdin if flags[flag] == "-" else (commands.ROOT / flags[flag]).read_text())
    return content


def _put_metric(*, new: bool) -> Handler:
    def act(cloud: Cloud, names: list[str], flags: dict[str, Any], stdin: str) -> Any:
        if new:
            cloud.since["metric", names[0]] = cloud.clock
        return cloud.put("metric", names[0], _metric(_content(flags, "config-from-file", stdin)), new=new)

    return act


def _metric(content: dict[str, Any]) -> dict[str, Any]:
    """Return a metric as Cloud Logging tells it: its labels are a set, and a type that is the default is left out."""
    descriptor = content["metricDescriptor"]
    kept = [
        {key: value for key, value in label.items() if (key, value) != ("valueType", "STRING")}
        for label in descriptor.get("labels", ())
    ]
    told = {
        "type": f"logging.googleapis.com/user/{content['name']}",
        "labels": sorted(kept, key=lambda label: str(label["key"]), reverse=True),
    }
    return content | {"metricDescriptor": descriptor | told}


def _from_file(kind: str, flag: str) -> Handler:
    def act(cloud: Cloud, names: list[str], flags: dict[str, Any], stdin: str) -> Any:
        content = _without_zeros(_content(flags, flag, stdin))
        for name in re.findall(r"logging\.googleapis\.com/user/(\w+)", json.dumps(content)) if kind == "alert" else ():
            if name not in cloud.things.get("metric", {}) or not cloud.known("metric", name):
                raise Refused(
                    "NOT_FOUND: Cannot find metric(s) that match type = "
                    f'"logging.googleapis.com/user/{name}". If a metric was created recently, it could take up to 10 '
                    "minutes to become available. Please try again soon."
                )
        channels = flags.get("notification-channels") or flags.get("set-notification-channels")
        if channels:
            content["notificationChannels"] = [cloud.thing("channel", name)["name"] for name in channels.split(",")]
        name = names[0] if names else cloud.numbered(f"projects/{PROJECT}/{kind}s")
        there = cloud.thing(kind, name) if names else {}
        if kind == "dashboard":
            content = _with_etag(content, there.get("etag", ""), cloud.numbered("etag"))
        for number, condition in enumerate(content.get("conditions", ()), 1):
            condition["name"] = f"{name}/conditions/{number}"
        return cloud.put(kind, name, content | {"name": name})

    return act


def _with_etag(content: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """Return a dashboard with its next etag; an update must have the one that it was read with."""
    if old and not content.get("etag"):
        raise Refused("INVALID_ARGUMENT: Update Dashboard should specify a non empty etag.")
    if old != content.get("etag", ""):
        raise Refused("ABORTED: The etag is not that of the dashboard.")
    return content | {"etag": new}


def _without_zeros(value: Any) -> Any:
    """Leave out of the messages in a value what is zero, as Google's JSON does."""
    if isinstance(value, list):
        return [_without_zeros(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_zeros(item) for key, item in value.items() if item != 0 or key == "enabled"}
    return value


def _make_channel(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    key, _, value = flags["channel-labels"].partition("=")
    name = cloud.numbered(f"projects/{PROJECT}/notificationChannels")
    channel = {"name": name, "type": flags["type"], "displayName": flags["display-name"], "labels": {key: value}}
    return cloud.put("channel", name, channel)


def _enable_channel(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    return cloud.put("channel", names[0], cloud.thing("channel", names[0]) | {"enabled": "enabled" in flags})


def _make_check(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    labels = dict(pair.split("=") for pair in flags["resource-labels"].split(","))
    check = {
        "name": cloud.numbered(f"projects/{PROJECT}/uptimeCheckConfigs"),
        "displayName": names[0],
        "monitoredResource": {"type": flags["resource-type"].replace("-", "_"), "labels": labels},
        "httpCheck": {"useSsl": flags["protocol"] == "https", "port": 443},
    }
    return cloud.put("uptime", check["name"], _asked(check, flags, flags["status-codes"]))


def _update_check(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    return cloud.put("uptime", names[0], _asked(cloud.thing("uptime", names[0]), flags, flags["set-status-codes"]))


def _asked(check: dict[str, Any], flags: dict[str, Any], codes: str) -> dict[str, Any]:
    http = {
        "path": flags["path"],
        "requestMethod": flags["request-method"].upper(),
        "validateSsl": flags["validate-ssl"] == "true",
        "acceptedResponseStatusCodes": [{"statusValue": int(code)} for code in codes.split(",")],
    }
    return check | {"httpCheck": check["httpCheck"] | http, "period": f"{int(flags['period']) * 60}s"}


HANDLERS: dict[str, Handler] = {
    "logging metrics create": _put_metric(new=True),
    "logging metrics update": _put_metric(new=False),
    "logging metrics describe": describe("metric"),
    "logging metrics delete": delete("metric"),
    "monitoring policies create": _from_file("alert", "policy-from-file"),
    "monitoring policies update": _from_file("alert", "policy-from-file"),
    "monitoring policies list": listed("alert"),
    "monitoring policies delete": delete("alert"),
    "monitoring dashboards create": _from_file("dashboard", "config-from-file"),
    "monitoring dashboards update": _from_file("dashboard", "config-from-file"),
    "monitoring dashboards list": listed("dashboard"),
    "monitoring dashboards delete": delete("dashboard"),
    "monitoring uptime create": _make_check,
    "monitoring uptime update": _update_check,
    "monitoring uptime list-configs": listed("uptime"),
    "monitoring uptime delete": delete("uptime"),
    "monitoring channels create": _make_channel,
    "monitoring channels update": _enable_channel,
    "monitoring channels describe": describe("channel"),
    "monitoring channels list": listed("channel"),
    "monitoring channels delete": delete("channel"),
}
