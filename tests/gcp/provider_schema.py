"""Checks a configuration of OpenTofu against the provider's schema, in the shape of `tofu providers schema -json`.

provider_schema.json holds the kinds of resources that we use, as the sources of hashicorp/google 7.45 declare them
(those of the identities, which google-beta has alone, by its documentation). Who has OpenTofu can make it anew:
tofu providers schema -json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

META = {"depends_on", "for_each", "provider"}  # of OpenTofu itself, for every resource
LITERALS: dict[Any, type | tuple[type, ...]] = {"string": str, "bool": bool, "number": (int, float)}


@lru_cache(maxsize=1)
def kinds() -> dict[str, Any]:
    """Return the schema of each kind of resource."""
    content = json.loads((Path(__file__).parent / "provider_schema.json").read_text())
    found: dict[str, Any] = content["provider_schemas"]["hashicorp/google"]["resource_schemas"]
    return {kind: schema["block"] for kind, schema in found.items()}


def problems(kind: str, body: Mapping[str, Any]) -> list[str]:
    """Return what the provider would refuse of a resource."""
    if kind not in kinds():
        return [f"{kind} is no kind of resource"]
    return list(_in_block(kinds()[kind], {key: value for key, value in body.items() if key not in META}, kind))


def _in_block(schema: Mapping[str, Any], body: Mapping[str, Any], where: str) -> Iterator[str]:
    attributes, blocks = schema.get("attributes", {}), schema.get("block_types", {})
    yield from _miscounted(attributes, blocks, body, where)
    for name, value in body.items():
        if name in blocks:
            for each in _listed(value):
                yield from _in_block(blocks[name]["block"], each, f"{where}.{name}")
        elif trouble := _trouble(attributes.get(name), value):
            yield f"{where}.{name} {trouble}"


def _miscounted(
    attributes: Mapping[str, Any], blocks: Mapping[str, Any], body: Mapping[str, Any], where: str
) -> Iterator[str]:
    for name, attribute in attributes.items():
        if attribute.get("required") and body.get(name) is None:
            yield f"{where}.{name} is required"
    for name, block in blocks.items():
        count = len(_listed(body.get(name)))
        if count < block.get("min_items", 0):
            yield f"{where}.{name} is required"
        if "max_items" in block and count > block["max_items"]:
            yield f"{where}.{name} may stand {block['max_items']} times"


def _trouble(attribute: Mapping[str, Any] | None, value: Any) -> str:
    if attribute is None:
        return "is unknown"
    if not attribute.keys() & {"required", "optional"}:
        return "is told by the provider only"
    if attribute.get("deprecated"):
        return "is deprecated"
    return "" if _fits(attribute["type"], value) else f"must be of type {attribute['type']}"


def _listed(value: Any) -> list[Any]:
    """Return the blocks that stand under a name: JSON has one as an object, several as a list."""
    return [] if value is None else value if isinstance(value, list) else [value]


def _fits(wanted: Any, value: Any) -> bool:
    if isinstance(value, str) and value.startswith("${"):
        return True  # an expression, whose type only OpenTofu knows
    if isinstance(wanted, str):
        return isinstance(value, LITERALS[wanted]) and (wanted == "bool" or not isinstance(value, bool))
    collection, item = wanted
    if collection == "map":
        return isinstance(value, Mapping) and all(_fits(item, each) for each in value.values())
    return isinstance(value, list) and all(_fits(item, each) for each in value)
