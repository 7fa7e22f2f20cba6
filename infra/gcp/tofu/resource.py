"""One resource of a configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

APIS = "google_project_service.enabled"  # what everything else waits for
NOTIFIED = "google_monitoring_notification_channel.address"  # one for each address that alerts go to


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource: the provider's name for its kind, our name, what it is to have."""

    kind: str
    name: str
    body: Mapping[str, Any]
    there: str = ""  # the id by which an existing one is imported; empty if only Google knows it

    @property
    def address(self) -> str:
        """Return what the configuration calls it."""
        return f"{self.kind}.{self.name}"


def named(text: str) -> str:
    """Return a text as a name: letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")


def value_of(address: str, attribute: str) -> str:
    """Return an expression for an attribute; whatever uses it waits for the resource."""
    return f"${{{address}.{attribute}}}"


def literal(text: str) -> str:
    """Return a text so that OpenTofu takes it literally, and sees no expression in it."""
    return text.replace("${", "$${").replace("%{", "%%{")


def snake(value: Any, *maps: str) -> Any:
    """Return JSON of an API as the provider names its fields; the keys of maps, which people choose, stay."""
    if isinstance(value, Mapping):
        return {
            re.sub(r"(?<=[a-z0-9])[A-Z]", lambda found: f"_{found[0].lower()}", key): item
            if key in maps
            else snake(item, *maps)
            for key, item in value.items()
        }
    return [snake(item, *maps) for item in value] if isinstance(value, list) else value
