"""Log sinks of organizations."""

from __future__ import annotations

from typing import Any

from tests.gcp.stand_in.cloud import Cloud, Handler, Refused


def _home(cloud: Cloud, flags: Any, permission: str) -> str:
    """Return where an organization's sinks are; one that is not ours cannot be told from one that is closed."""
    changing = permission not in ("get", "list")
    organization = flags["organization"]
    known = organization in (*cloud.organizations, *cloud.others)
    if not known or not cloud.sees_sinks or (changing and not cloud.may_sink):
        raise Refused(
            f"PERMISSION_DENIED: Permission 'logging.sinks.{permission}' denied on resource (or it may not exist)."
        )
    return f"organizations/{organization}/sinks"


def _writer(cloud: Cloud, organization: str) -> str:
    address = f"{cloud.writer or f'service-org-{organization}'}@gcp-sa-logging.iam.gserviceaccount.com"
    cloud.agents.add(address)
    return f"serviceAccount:{address}"


def _create(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    home = _home(cloud, flags, "create")
    name, destination = names
    sink = {
        "name": name,
        "resourceName": f"{home}/{name}",
        "destination": destination,
        "filter": flags["log-filter"],
        "description": flags["description"],
        "writerIdentity": _writer(cloud, flags["organization"]),
    }
    return cloud.put("sink", f"{home}/{name}", sink, new=True)


def _update(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    name = f"{_home(cloud, flags, 'update')}/{names[0]}"
    there = {key: value for key, value in cloud.thing("sink", name).items() if key not in ("disabled", "exclusions")}
    assert {"no-disabled", "clear-exclusions"} <= set(flags)
    writer = there.get("writerIdentity") or _writer(cloud, flags["organization"])
    more = {"destination": names[1], "filter": flags["log-filter"], "description": flags["description"]}
    more |= {"writerIdentity": writer}
    return cloud.put("sink", name, there | more)


def _describe(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    return cloud.thing("sink", f"{_home(cloud, flags, 'get')}/{names[0]}")


def _list(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    home = _home(cloud, flags, "list")
    return [each for name, each in cloud.things.get("sink", {}).items() if name.startswith(f"{home}/")]


def _delete(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    return cloud.delete("sink", f"{_home(cloud, flags, 'delete')}/{names[0]}")


HANDLERS: dict[str, Handler] = {
    "logging sinks create": _create,
    "logging sinks update": _update,
    "logging sinks describe": _describe,
    "logging sinks list": _list,
    "logging sinks delete": _delete,
}
