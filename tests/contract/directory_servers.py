"""The Directory simulator as a real process, and the Admin SDK's own description of what it must answer."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import googleapiclient
import httplib2
import pytest
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from googleapiclient.http import HttpRequest

from infra.local.directory.fixture import make
from infra.local.processes import Supervisor, python
from infra.local.simulation import DirectorySide

ROOT = Path(__file__).parents[2]
SCOPE = "keeper-users@example.com"
PEOPLE = 520  # more than one page of 500
DISCOVERY: dict[str, Any] = json.loads(
    (Path(googleapiclient.__file__).parent / "discovery_cache/documents/admin.directory_v1.json").read_text()
)
# User fields of type "any" in the discovery document -> the schema that it describes their entries with.
ENTRIES = {
    "addresses": "UserAddress",
    "emails": "UserEmail",
    "externalIds": "UserExternalId",
    "organizations": "UserOrganization",
    "phones": "UserPhone",
}
FORMATS = {
    "int64": {"pattern": r"^-?\d+$"},
    "date-time": {"pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"},
}


def json_schema(described: dict[str, Any], name: str = "") -> dict[str, Any]:
    """Convert one schema of a discovery document to JSON Schema; properties that it does not know are refused."""
    if "$ref" in described:
        return {"$ref": f"#/$defs/{described['$ref']}"}
    if described["type"] == "any":
        return {"type": "array", "items": {"$ref": f"#/$defs/{ENTRIES[name]}"}} if name in ENTRIES else {}
    schema: dict[str, Any] = {"type": described["type"], **FORMATS.get(described.get("format", ""), {})}
    if name == "kind" and "default" in described:
        schema["const"] = described["default"]
    if described["type"] == "array":
        schema["items"] = json_schema(described["items"])
    if described["type"] == "object":
        properties = described.get("properties", {})
        schema["properties"] = {key: json_schema(value, key) for key, value in properties.items()}
        more = described.get("additionalProperties")
        schema["additionalProperties"] = json_schema(more) if more else False
    return schema


DEFINITIONS = {name: json_schema(described) for name, described in DISCOVERY["schemas"].items()}


def _methods(resources: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for resource in resources.values():
        for method in resource.get("methods", {}).values():
            yield method["id"], method
        yield from _methods(resource.get("resources", {}))


METHODS = dict(_methods(DISCOVERY["resources"]))


def validate(schema: str, answer: Any) -> None:
    """Check an answer against a schema of the discovery document; raises jsonschema.ValidationError."""
    from jsonschema import Draft202012Validator  # builds dozens of parsers when it is imported: by who needs it

    Draft202012Validator({"$ref": f"#/$defs/{schema}", "$defs": DEFINITIONS}).validate(answer)


def asked(request: HttpRequest) -> Any:
    """Send a request of the real client; its answer must fit the schema that the method promises."""
    answer = request.execute()
    promised = METHODS[request.methodId].get("response")
    if promised is None:
        assert not answer, answer
    else:
        validate(promised["$ref"], answer)
    return answer


def google_client(endpoint: str) -> Any:
    """Return Google's own client for the simulator."""
    return build(
        "admin",
        "directory_v1",
        http=httplib2.Http(timeout=10, proxy_info=None),
        client_options={"api_endpoint": endpoint},
        static_discovery=True,
        cache_discovery=False,
    )


@contextlib.contextmanager
def simulator(folder: Path) -> Iterator[tuple[DirectorySide, dict[str, Any], bytes]]:
    """Run the Directory simulator with the fixture that `make run` uses; yields it, the fixture, and that as JSON."""
    state = make(PEOPLE)
    path, text = folder / "fixture.json", json.dumps(state).encode()
    path.write_bytes(text)
    with Supervisor(folder) as supervisor:
        process = supervisor.start("directory", python("-m", "infra.local.directory", "--fixture", str(path)), cwd=ROOT)
        yield DirectorySide(process.wait_ready().address), state, text


def as_new(side: DirectorySide, text: bytes) -> DirectorySide:
    """Restore the fixture from its JSON; lift faults, weather, credentials and channels."""
    side.control("DELETE", "faults")
    side.control("POST", "stale", {"on": False})
    side.control("PUT", "tokens", {"tokens": []})
    side.weather(
        lose=False, duplicate=0, delay=0.0, reorder=False, hold=False, demand_event=False, retry_base=0.01,
        longest_ttl=6 * 3600,
    )  # fmt: skip
    for channel in side.control("GET", "channels")["channels"]:
        side.control("DELETE", f"channels/{channel['id']}")
    side.control("PUT", "state", text)
    side.control("DELETE", "requests")
    return side


def pages(collection: Any, key: str, **params: Any) -> list[list[dict[str, Any]]]:
    """Read a listing to its end as the real client does it."""
    found = []
    request = collection.list(**params)
    while request is not None:
        answer = asked(request)
        found.append(answer.get(key, []))
        request = collection.list_next(request, answer)
    return found


def everybody(api: Any, **params: Any) -> list[dict[str, Any]]:
    return [user for page in pages(api.users(), "users", customer="my_customer", **params) for user in page]


def error(request: Any) -> tuple[int, str, str]:
    """Return status, reason and message of the refusal that the real client understood."""
    with pytest.raises(HttpError) as raised:
        request.execute()
    body = json.loads(raised.value.content)["error"]
    assert set(body) == {"code", "message", "errors"}
    assert set(body["errors"][0]) == {"message", "domain", "reason"}
    assert body["code"] == raised.value.status_code
    return raised.value.status_code, body["errors"][0]["reason"], raised.value.reason


def reached(customer: dict[str, Any], group_id: str) -> set[str]:
    """Return the users that a group reaches, cycles and all, by a rule of its own."""
    users: set[str] = set()
    todo, seen = [group_id], set()
    while todo:
        here = todo.pop()
        if here in seen:
            continue
        seen.add(here)
        for member in customer["members"][here]:
            (users.add if member["type"] == "USER" else todo.append)(member["id"])
    return users
