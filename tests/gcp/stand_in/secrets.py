"""Secrets and their versions."""

from __future__ import annotations

from typing import Any

from tests.gcp.stand_in.cloud import NUMBER, Cloud, Handler, Refused, describe, labels, listed
from tests.gcp.stand_in.policies import bind, policy


def _make_secret(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    secret = {
        "name": f"projects/{NUMBER}/secrets/{names[0]}",
        "replication": {"automatic": {}},
        "etag": f'"{cloud.clock:x}"',
    }
    return cloud.put("secret", names[0], secret | labels(flags), new=True)


def _update_secret(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    there = cloud.thing("secret", names[0])
    return cloud.put("secret", names[0], there | labels(flags, there))


def _delete_secret(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    if flags.get("etag", "") not in ("", cloud.thing("secret", names[0])["etag"]):
        raise Refused("ABORTED: The etag does not match the etag of the resource.")
    return cloud.delete("secret", names[0])


def _add_version(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    cloud.thing("secret", names[0])
    assert flags["data-file"] == "-"
    cloud.inputs.append(stdin)
    number = 1 + sum(key.startswith(f"{names[0]}/") for key in cloud.things.get("version", {}))
    version = {"name": f"projects/{NUMBER}/secrets/{names[0]}/versions/{number}", "state": "ENABLED"}
    return cloud.put("version", f"{names[0]}/{number}", version)


def _versions(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    cloud.thing("secret", names[0])
    listed = [value for key, value in cloud.things.get("version", {}).items() if key.startswith(f"{names[0]}/")]
    return [version for version in listed[::-1] if version["state"] == "ENABLED"]


def _describe_version(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    return cloud.thing("version", f"{flags['secret']}/{names[0]}")


def _set_state(state: str) -> Handler:
    def act(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
        there = _describe_version(cloud, names, flags, stdin)
        if there["state"] == "DESTROYED":
            raise Refused("FAILED_PRECONDITION: SecretVersion is already in a terminal state.")
        return cloud.put("version", f"{flags['secret']}/{names[0]}", there | {"state": state})

    return act


HANDLERS: dict[str, Handler] = {
    "secrets create": _make_secret,
    "secrets update": _update_secret,
    "secrets describe": describe("secret"),
    "secrets list": listed("secret"),
    "secrets delete": _delete_secret,
    "secrets versions add": _add_version,
    "secrets versions list": _versions,
    "secrets versions describe": _describe_version,
    "secrets versions enable": _set_state("ENABLED"),
    "secrets versions disable": _set_state("DISABLED"),
    "secrets versions destroy": _set_state("DESTROYED"),
    "secrets get-iam-policy": policy("secret"),
    "secrets add-iam-policy-binding": bind("secret"),
}
