"""Directory users, as the Admin SDK describes them, reduced to what decisions need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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

    @property
    def name(self) -> str:
        """The user's full name, empty where the directory has none."""
        return full_name(self.profile)


def full_name(profile: Mapping[str, Any]) -> str:
    """Return name.fullName, which the Directory API defines as the first and last name, and may omit."""
    name = profile.get("name")
    if not isinstance(name, dict):
        return ""
    parts = [part for part in (name.get("givenName"), name.get("familyName")) if isinstance(part, str) and part]
    return str(name.get("fullName") or " ".join(parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A Workspace group; stored by `id`, so that renaming it changes nothing."""

    id: str
    email: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgUnit:
    """An organizational unit; kept by `id`, so that renaming or moving it changes nothing.

    The root has the path "/" and no id: it is never renamed, and the directory's listings leave it out. Any other unit
    without an id was chosen when only paths were kept. `listed` False: the directory had it no more when last asked.
    """

    id: str
    path: str
    listed: bool = True

    @property
    def key(self) -> str:
        """What settings name it by: its id, or the path where there is none."""
        return self.id or self.path

    def holds(self, path: str) -> bool:
        """Say whether a unit's path is this one's, or below it."""
        return f"{path.rstrip('/')}/".startswith(f"{self.path.rstrip('/')}/")


ROOT = OrgUnit(id="", path="/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """The chosen organizational units of a scope as the directory lists them now; `paths` are those of all units."""

    org_units: tuple[OrgUnit, ...] = ()
    paths: frozenset[str] = frozenset()

    @property
    def unlisted(self) -> tuple[OrgUnit, ...]:
        """The chosen units that the directory did not list."""
        return tuple(unit for unit in self.org_units if not unit.listed)

    def holds_unit(self, path: str) -> bool | None:
        """Say whether a user's organizational unit is at or below a chosen one; None where that cannot be told.

        Who is at or below no chosen unit is outside only if every chosen unit is listed, and so is the user's own: one
        that is not was renamed, moved or made between reading the one and the other, or one of the two was stale.
        """
        if not self.org_units or any(unit.listed and unit.holds(path) for unit in self.org_units):
            return True
        return None if self.unlisted or not self.lists(path) else False

    def lists(self, path: str) -> bool:
        """Say whether the directory lists a unit of this path; a path that is not told ("") is none."""
        return path == ROOT.path or path in self.paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Provisioning scope: who may have an account.

    In scope = (no organizational unit chosen, or at or below a chosen one) and (no group chosen, or a derived member
    of a chosen one). Groups and units are kept by id; a unit's path is the one that it had when last seen.
    """

    groups: tuple[Group, ...] = ()
    org_units: tuple[OrgUnit, ...] = ()

    @classmethod
    def named(cls, groups: Iterable[str] = (), org_units: Iterable[str] = ()) -> Scope:
        """Return a scope as somebody names it: groups by e-mail address or id, units by path or id.

        An id stays with what was chosen when a path or an address has become another one's.
        """
        units = (OrgUnit(id="", path=key) if key.startswith("/") else OrgUnit(id=key, path="") for key in org_units)
        return cls(groups=tuple(Group(id=key) for key in groups), org_units=tuple(units))

    def located(self, listed: Sequence[OrgUnit] | None) -> Located:
        """Find the chosen units among all those that the directory lists now; None: it could not list them.

        They are found by id, and by path where no id was kept: a unit that took the path of a chosen one is another.
        """
        by_id = {unit.id: unit for unit in listed or ()}
        by_path = {unit.path: unit for unit in listed or ()}

        def now(chosen: OrgUnit) -> OrgUnit:
            if chosen == ROOT:
                return chosen
            found = by_id.get(chosen.id) if chosen.id else by_path.get(chosen.path.rstrip("/"))
            return found or replace(chosen, listed=False)

        return Located(org_units=tuple(map(now, self.org_units)), paths=frozenset(by_path))
