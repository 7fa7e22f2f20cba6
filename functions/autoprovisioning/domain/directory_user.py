"""Directory users, as the Admin SDK describes them, reduced to what decisions need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


def to_the_second(at: datetime) -> datetime:
    """Return a time of the directory's as we keep it: what is read again is the same as what was stored."""
    return at.replace(microsecond=0) if at.microsecond else at


class Presence(StrEnum):
    """What the directory says of a user; UNKNOWN is a user who could not be read, which proves nothing."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    ARCHIVED = "archived"
    DELETED = "deleted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryUser:
    """One user of the Workspace customer.

    `profile` is the user resource as the Directory API returned it (partial: only the fields asked for); attribute
    mapping reads it. It is empty for a deleted user. `full_name` is the name in it, where that was read already.
    `org_unit_path` is "" where the directory does not show it, `untold` says why a presence is UNKNOWN. `shown` stands
    for the resource as it came, 0 where none did: as long as the process lives, another resource has another number.
    """

    id: str
    primary_email: str
    presence: Presence
    org_unit_path: str = "/"
    aliases: tuple[str, ...] = ()
    since: datetime | None = None  # suspensionTime, archivalTime or deletionTime, where the directory says
    is_admin: bool = False  # super administrator
    is_delegated_admin: bool = False
    profile: Mapping[str, Any] = field(default_factory=dict)
    created: datetime | None = None  # creationTime
    untold: str = ""
    full_name: str = ""
    shown: int = field(default=0, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The user's full name, empty where the directory has none."""
        return self.full_name or full_name(self.profile)


def full_name(profile: Mapping[str, Any]) -> str:
    """Return name.fullName, which the Directory API defines as the first and last name, and may omit."""
    name = profile.get("name")
    if not isinstance(name, dict):
        return ""
    if full := name.get("fullName"):
        return str(full)
    return " ".join(part for part in (name.get("givenName"), name.get("familyName")) if isinstance(part, str) and part)
