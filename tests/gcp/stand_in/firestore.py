"""Firestore's database, fields and indexes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.gcp.stand_in.cloud import PROJECT, Cloud, Handler, Refused, describe, listed


def _make_database(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    database = {
        "name": f"projects/{PROJECT}/databases/{flags['database']}",
        "uid": cloud.numbered("database"),
        "locationId": flags["location"],
        "type": flags["type"].upper().replace("-", "_"),
    }
    return cloud.put("database", flags["database"], database | _protection(flags), new=True)


def _update_database(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    return cloud.put("database", flags["database"], cloud.thing("database", flags["database"]) | _protection(flags))


def _protection(flags: dict[str, Any]) -> dict[str, str]:
    found = {}
    if "enable-pitr" in flags:
        found["pointInTimeRecoveryEnablement"] = "POINT_IN_TIME_RECOVERY_ENABLED"
    for flag, word in (("delete-protection", "ENABLED"), ("no-delete-protection", "DISABLED")):
        if flag in flags:
            found["deleteProtectionState"] = f"DELETE_PROTECTION_{word}"
    return found


def _delete_database(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    if cloud.thing("database", flags["database"])["deleteProtectionState"].endswith("ENABLED"):
        raise Refused("FAILED_PRECONDITION: Delete protection is enabled.")
    return cloud.delete("database", flags["database"])


def _field(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    cloud.thing("database", flags["database"])
    key = f"{flags['collection-group']}/fields/{names[0]}"
    name = f"projects/{PROJECT}/databases/(default)/collectionGroups/{key}"
    there = cloud.things.get("field", {}).get(key, {"name": name, "indexConfig": {"usesAncestorConfig": True}})
    if "disable-indexes" in flags:
        there = there | {"indexConfig": {}}
    if "enable-ttl" in flags:
        there = there | {"ttlConfig": {"state": "CREATING"}}
    return cloud.put("field", key, there)


def _fields(which: Callable[[Any], bool]) -> Handler:
    def act(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
        default = {"name": f"projects/{PROJECT}/databases/(default)/collectionGroups/__default__/fields/*"}
        listed = [default | {"indexConfig": {"indexes": []}}, *cloud.things.get("field", {}).values()]
        return [field for field in listed if which(field)]

    return act


def _indexed(config: dict[str, str]) -> dict[str, str]:
    """Return how an index has a field: in an order, or each entry of its list."""
    if "array-config" in config:
        return {"arrayConfig": config["array-config"].upper()}
    return {"order": config["order"].upper()}


def _make_index(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    cloud.thing("database", flags["database"])
    configs = [dict(part.split("=") for part in text.split(",")) for text in flags["field-config"]]
    fields = [{"fieldPath": config["field-path"]} | _indexed(config) for config in configs]
    there = cloud.things.get("index", {}).values()
    if any(index["fields"][:-1] == fields and f"/{flags['collection-group']}/" in index["name"] for index in there):
        raise Refused("ALREADY_EXISTS: index already exists")
    number = len(there) + 1
    index = {
        "name": f"projects/{PROJECT}/databases/(default)/collectionGroups/{flags['collection-group']}/indexes/{number}",
        "queryScope": flags["query-scope"].upper().replace("-", "_"),
        "fields": [*fields, {"fieldPath": "__name__", "order": fields[-1]["order"]}],
        "state": "CREATING",
    }
    return cloud.put("index", str(number), index)


def _make_backups(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    cloud.thing("database", flags["database"])
    if any("dailyRecurrence" in schedule for schedule in cloud.things.get("backups", {}).values()):
        raise Refused("ALREADY_EXISTS: a daily backup schedule exists already")
    name = cloud.numbered(f"projects/{PROJECT}/databases/(default)/backupSchedules")
    schedule = {"name": name, f"{flags['recurrence']}Recurrence": {}, "retention": _seconds(flags["retention"])}
    return cloud.put("backups", name.rpartition("/")[2], schedule)


def _update_backups(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    there = cloud.thing("backups", flags["backup-schedule"])
    return cloud.put("backups", flags["backup-schedule"], there | {"retention": _seconds(flags["retention"])})


def _delete_backups(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    return cloud.delete("backups", flags["backup-schedule"])


def _delete_backup(cloud: Cloud, names: list[str], flags: Any, stdin: str) -> Any:
    name = f"projects/{PROJECT}/locations/{flags['location']}/backups/{flags['backup']}"
    if cloud.thing("backup", name)["state"] == "CREATING":
        raise Refused("FAILED_PRECONDITION: The backup is still being created.")
    return cloud.delete("backup", name)


def _seconds(days: str) -> str:
    return f"{int(days.removesuffix('d')) * 86_400}s"


HANDLERS: dict[str, Handler] = {
    "firestore backups schedules create": _make_backups,
    "firestore backups schedules update": _update_backups,
    "firestore backups schedules delete": _delete_backups,
    "firestore backups schedules list": listed("backups"),
    "firestore backups list": listed("backup"),
    "firestore backups delete": _delete_backup,
    "firestore databases create": _make_database,
    "firestore databases update": _update_database,
    "firestore databases describe": describe("database"),
    "firestore databases delete": _delete_database,
    "firestore indexes fields update": _field,
    "firestore indexes fields list": _fields(lambda field: not field.get("indexConfig", {}).get("usesAncestorConfig")),
    "firestore fields ttls update": _field,
    "firestore fields ttls list": _fields(lambda field: "ttlConfig" in field),
    "firestore indexes composite create": _make_index,
    "firestore indexes composite list": listed("index"),
}
