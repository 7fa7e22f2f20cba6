"""Directory users, as the Admin SDK describes them, reduced to what decisions need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

USER_ID = re.compile(r"[A-Za-z0-9]{1,64}")  # as the directory makes them; users.get takes addresses as well


class Presence(StrEnum):
    """What the directory says of a user; UNKNOWN is a user who could not be read, which proves nothing."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    ARCHIVED = "archived"
    DELETED = "deleted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DirectoryUser:
    """One user of the Workspace customer.

    `profile` is the user resource as the Directory API returned it (partial: only the fields asked for); attribute
    mapping reads it. It is empty for a deleted user. `org_unit_path` is "" where the directory does not tell it,
    `untold` says why a presence is UNKNOWN.
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


@dataclass(frozen=True, slots=True)
class Group:
    """A Workspace group; stored by `id`, so that renaming it changes nothing."""

    id: str
    email: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """Provisioning scope: who may have an account.

    In scope = (no organizational unit chosen, or at or below a chosen one) and (no group chosen, or a derived member
    of a chosen one).
    """

    groups: tuple[Group, ...] = ()
    org_units: tuple[str, ...] = ()

    def holds_unit(self, org_unit_path: str) -> bool | None:
        """Say whether the organizational unit is at or below a chosen one; "/" is the whole customer.

        None where units are chosen and the user's is not told.
        """
        if not self.org_units:
            return True
        if not org_unit_path:
            return None
        path = org_unit_path.rstrip("/") + "/"
        return any(path.startswith(unit.rstrip("/") + "/") for unit in self.org_units)
