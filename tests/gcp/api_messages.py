"""The messages of Google's APIs, from their discovery documents (google-api-python-client carries them)."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from googleapiclient import discovery_cache

DOCUMENTS = Path(discovery_cache.__file__).parent / "documents"
SIMPLE = {"string": str, "boolean": bool, "integer": int, "number": (int, float)}


@cache
def _schemas(document: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DOCUMENTS / f"{document}.json").read_text())["schemas"]
    return content


def problems(value: Any, document: str, name: str) -> list[str]:
    """Return what in a value is not as the API's message has it: unknown fields, wrong types, unknown enum values."""
    return _problems(json.dumps(value), document, name)


@lru_cache(10_000)  # hundreds of deployments put the same messages
def _problems(value: str, document: str, name: str) -> list[str]:
    return _check(json.loads(value), {"$ref": name}, document, name)


def _check(value: Any, schema: dict[str, Any], document: str, where: str) -> list[str]:
    if "$ref" in schema:
        schema = _schemas(document)[schema["$ref"]]
    kind = schema.get("type", "any")
    if kind == "object":
        return _check_object(value, schema, document, where)
    if kind == "array":
        if not isinstance(value, list):
            return [f"{where} is no list"]
        return [text for item in value for text in _check(item, schema["items"], document, f"{where}[]")]
    if kind in SIMPLE and (not isinstance(value, SIMPLE[kind]) or (kind == "integer" and isinstance(value, bool))):
        return [f"{where} is {value!r}, no {kind}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where} is {value!r}, not one of {schema['enum']}"]
    return []


def _check_object(value: Any, schema: dict[str, Any], document: str, where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where} is no object"]
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    found = []
    for name, item in value.items():
        part = known.get(name, others)
        found += [f"{where} has no {name}"] if part is None else _check(item, part, document, f"{where}.{name}")
    return found
