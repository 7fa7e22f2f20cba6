"""The rule of the provisioning scope: what units and groups say of a user, and whether that tells it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Why(StrEnum):
    """What decided whether a user is in scope."""

    OUTSIDE = "at or below no chosen organizational unit"
    UNIT = "no groups are chosen: the organizational units alone tell"
    MEMBER = "member of a chosen group"
    SILENT = "a chosen group could not be read"
    UNPROVEN = "no member now, which no complete listing proves yet"
    NO_MEMBER = "member of no chosen group"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Whether a user is in scope, None where that cannot be told, and why."""

    in_scope: bool | None
    why: Why


def standing(
    unit: bool | None, groups: Iterable[bool | None], *, unproven: bool = False, approved: bool = False
) -> Standing:
    """Tell a user's scope from what their unit says (`Located.holds_unit`) and each chosen group (None: not read).

    `groups` is not asked where the unit is outside. `unproven`: being no member needs a proof that is not there, as for
    somebody who was in scope and is asked about alone. `approved`: an administrator took the listings' word for it that
    the user has left, which counts where a group cannot be read.
    """
    if unit is False:
        return Standing(in_scope=False, why=Why.OUTSIDE)
    answers = list(groups)
    if not answers:
        return Standing(in_scope=unit, why=Why.UNIT)
    if True in answers:
        return Standing(in_scope=unit, why=Why.MEMBER)
    if None in answers:
        return Standing(in_scope=False if approved else None, why=Why.SILENT)
    if unproven:
        return Standing(in_scope=None, why=Why.UNPROVEN)
    return Standing(in_scope=False, why=Why.NO_MEMBER)
