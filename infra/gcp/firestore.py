"""Steps for Firestore's indexes, exemptions and lifetimes, from firestore.indexes.json (the Firebase CLI's format).

Index builds and field changes go on in the background, for minutes: nothing here waits for them. `make doctor` says
when they are done.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from infra.gcp.steps import AS_JSON, Command, Step, first, gcloud

FILE = Path(__file__).parent / "firestore.indexes.json"


@lru_cache(maxsize=1)
def described() -> dict[str, Any]:
    """Return the file."""
    content: dict[str, Any] = json.loads(FILE.read_text())
    return content


def exemptions(project: str, database: str) -> list[Step]:
    """Return the steps that take fields out of every index."""
    fields = [field for field in described()["fieldOverrides"] if not field["indexes"]]
    return [_exemption(project, database, field["collectionGroup"], field["fieldPath"]) for field in fields]


def lifetimes(project: str, database: str) -> list[Step]:
    """Return the steps that let documents expire; long after the exemptions, which change the same fields."""
    fields = [field for field in described()["fieldOverrides"] if field.get("ttl")]
    return [_lifetime(project, database, field["collectionGroup"], field["fieldPath"]) for field in fields]


def indexes(project: str, database: str) -> list[Step]:
    """Return the steps that make the composite indexes."""
    return [_index(project, database, index) for index in described()["indexes"]]


def _exemption(project: str, database: str, group: str, path: str) -> Step:
    where = {"database": database, "project": project}
    change = gcloud(
        *("firestore", "indexes", "fields", "update", path), collection_group=group, **where, disable_indexes=True
    )
    return Step(
        title=f"Field {path} of {group} in no index",
        look=every_exemption(project, database),
        make=((*change, "--async"),),
        find=first(lambda field: _is(field, group, path) and _is_exempt(field)),
        among="fields in no index, since no query asks for them and an index costs with every write",
    )


def every_exemption(project: str, database: str) -> Command:
    """Return the command that lists the fields with indexes of their own, or none."""
    return (*gcloud("firestore", "indexes", "fields", "list", database=database, project=project), AS_JSON)


def is_exemption_of_ours(field: dict[str, Any]) -> bool:
    """Say whether a field is one that a deployment takes out of every index."""
    ours = [(each["collectionGroup"], each["fieldPath"]) for each in described()["fieldOverrides"]]
    return any(_is(field, group, path) for group, path in ours) and _is_exempt(field)


def _lifetime(project: str, database: str, group: str, path: str) -> Step:
    where = {"database": database, "project": project}
    change = gcloud(*("firestore", "fields", "ttls", "update", path), collection_group=group, **where, enable_ttl=True)
    return Step(
        title=f"Documents of {group} expire when {path} has passed",
        look=(*gcloud("firestore", "fields", "ttls", "list", **where), AS_JSON),
        make=((*change, "--async"),),
        find=first(lambda field: _is(field, group, path) and field["ttlConfig"]["state"] in ("ACTIVE", "CREATING")),
    )


def _is(field: dict[str, Any], group: str, path: str) -> bool:
    return bool(field["name"].endswith(f"/collectionGroups/{group}/fields/{path}"))


def _is_exempt(field: dict[str, Any]) -> bool:
    """Say whether a field is in no index, by its own configuration and not by the database's."""
    config = field.get("indexConfig", {})
    return not config.get("usesAncestorConfig") and not config.get("indexes")


def _index(project: str, database: str, wanted: dict[str, Any]) -> Step:
    group, fields = wanted["collectionGroup"], wanted["fields"]
    configs = [f"field-path={field['fieldPath']},{_kind(field)}" for field in fields]
    create = gcloud(
        *("firestore", "indexes", "composite", "create"),
        collection_group=group,
        query_scope=wanted["queryScope"].lower().replace("_", "-"),
        field_config=configs,
        database=database,
        project=project,
    )
    look = gcloud("firestore", "indexes", "composite", "list", database=database, project=project)
    return Step(
        title=f"Index on {group}: {', '.join(field['fieldPath'] for field in fields)}",
        look=(*look, AS_JSON),
        make=((*create, "--async"),),
        find=lambda there: next((index for index in there or [] if _same(index, wanted)), None),
    )


def _kind(field: dict[str, str]) -> str:
    if "order" in field:
        return f"order={field['order'].lower()}"
    return f"array-config={field['arrayConfig'].lower()}"


def _same(index: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Compare with what Firestore returns: it adds __name__ as the last field."""
    fields = [field for field in index["fields"] if field["fieldPath"] != "__name__"]
    group = index["name"].split("/collectionGroups/")[1].partition("/")[0]
    scope = index.get("queryScope", "COLLECTION")
    return (group, scope, fields) == (wanted["collectionGroup"], wanted["queryScope"], wanted["fields"])
