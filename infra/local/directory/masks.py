"""Partial responses: the `fields` parameter (Admin SDK, performance page), compiled once per mask."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from infra.local.directory.customer import Refused

Mask = dict[str, "Mask"]


@lru_cache(maxsize=256)
def compiled(fields: str) -> Mask:
    """Read `a,b/c,items(d,e/f)`; an empty mask selects everything below."""
    mask, rest = _list(fields, 0)
    if rest != len(fields):
        raise Refused(400, "invalidParameter", f"Invalid field selection {fields[rest:]}")
    return mask


def _list(text: str, at: int) -> tuple[Mask, int]:
    mask: Mask = {}
    while True:
        at = _item(text, at, mask)
        if at >= len(text) or text[at] != ",":
            return mask, at
        at += 1


def _item(text: str, at: int, mask: Mask) -> int:
    start = at
    while at < len(text) and text[at] not in ",()/":
        at += 1
    name = text[start:at].strip()
    if not name:
        raise Refused(400, "invalidParameter", f"Invalid field selection {text}")
    child = mask.setdefault(name, {})
    if at < len(text) and text[at] == "/":
        return _item(text, at + 1, child)
    if at < len(text) and text[at] == "(":
        inner, at = _list(text, at + 1)
        if at >= len(text) or text[at] != ")":
            raise Refused(400, "invalidParameter", f"Invalid field selection {text}")
        child.update(inner)
        at += 1
    return at


def select(value: Any, mask: Mask) -> Any:
    """Return the part of a value that a mask selects."""
    if not mask or "*" in mask:
        return value
    if isinstance(value, list):
        return [select(item, mask) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: select(value[name], child) for name, child in mask.items() if name in value}
