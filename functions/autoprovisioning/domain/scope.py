"""The provisioning scope: the groups and units chosen, and the rule by which they tell whether a user is in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


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
    without an id was chosen when only paths were kept. `listed` False: the directory no longer had it when last asked.
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
        """Say whether a user's organizational unit is at or below a chosen one; None if that is not known.

        A user in no chosen unit is outside only if every chosen unit is listed, and the user's own too: an unlisted one
        was renamed, moved or created between the two reads, or one of them was stale.
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


class Why(StrEnum):
    """What decided whether a user is in scope."""

    OUTSIDE = "not at or below a chosen organizational unit"
    UNIT = "no groups are chosen: the organizational units alone decide"
    MEMBER = "member of a chosen group"
    SILENT = "a chosen group could not be read"
    UNPROVEN = "not a member now, though no complete listing proves it yet"
    NO_MEMBER = "not a member of a chosen group"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeAnswer:
    """Whether a user is in scope, None if not known, and why."""

    in_scope: bool | None
    why: Why


def standing(
    unit: bool | None, groups: Iterable[bool | None], *, unproven: bool = False, approved: bool = False
) -> ScopeAnswer:
    """Determine a user's scope from their unit (`Located.holds_unit`) and each chosen group (None: not read).

    `groups` is not read if the unit is outside. `unproven`: not being a member would need a proof that is missing, as
    for somebody who was in scope and is asked about individually. `approved`: an administrator accepted the listings as
    proof that the user has left, which counts if a group cannot be read.
    """
    if unit is False:
        return ScopeAnswer(in_scope=False, why=Why.OUTSIDE)
    answers = list(groups)
    if not answers:
        return ScopeAnswer(in_scope=unit, why=Why.UNIT)
    if True in answers:
        return ScopeAnswer(in_scope=unit, why=Why.MEMBER)
    if None in answers:
        return ScopeAnswer(in_scope=False if approved else None, why=Why.SILENT)
    if unproven:
        return ScopeAnswer(in_scope=None, why=Why.UNPROVEN)
    return ScopeAnswer(in_scope=False, why=Why.NO_MEMBER)
