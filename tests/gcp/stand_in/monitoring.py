"""Metrics, alert policies, the dashboard and notification channels."""

from __future__ import annotations

import json
from typing import Any

from infra.gcp import commands
from tests.gcp.stand_in.cloud import PROJECT, Cloud, Handler, delete, describe, listed


def _from_file(kind: str, flag: str) -> Handler:
    def act(cloud: Cloud, names: list[str], flags: dict[str, Any], stdin: str) -> Any:
        content = json.loads((commands.ROOT / flags[flag]).read_text())
        channels = flags.get("notification-channels") or flags.get("set-notification-channels")
        if channels:
            content["notificationChannels"] = [cloud.thing("channel", name)["name"] for name in channels.split(",")]
        if kind == "metric":
            return cloud.put(kind, names[0], content)
        name = names[0] if names else f"projects/{PROJECT}/{kind}s/{len(cloud.things.get(kind, {})) + 1}"
        if names:
            cloud.thing(kind, name)
        return cloud.put(kind, name, content | {"name": name})

    return act


def _make_channel(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    key, _, value = flags["channel-labels"].partition("=")
    name = f"projects/{PROJECT}/notificationChannels/{len(cloud.things.get('channel', {})) + 1}"
    channel = {"name": name, "type": flags["type"], "displayName": flags["display-name"], "labels": {key: value}}
    return cloud.put("channel", name, channel)


HANDLERS: dict[str, Handler] = {
    "logging metrics create": _from_file("metric", "config-from-file"),
    "logging metrics update": _from_file("metric", "config-from-file"),
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
    "monitoring channels create": _make_channel,
    "monitoring channels describe": describe("channel"),
    "monitoring channels list": listed("channel"),
    "monitoring channels delete": delete("channel"),
}
