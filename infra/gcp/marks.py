"""What shows that a thing is ours: a label where Google has labels, otherwise a text, or the account it acts as."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

SYSTEM = "keeper-autoprovisioning"
LABELS = {"system": SYSTEM}
LABEL = f"system={SYSTEM}"  # as flags take it, and as it stands in a description
TITLE = "Keeper: "  # of our roles, and they have nothing else
_REGION = re.compile(rf"\({LABEL}, region=([a-z0-9-]+)\)$")


class Whose(StrEnum):
    """Who made what stands under a name of ours."""

    OURS = "ours"
    UNMARKED = "not marked"  # by anybody, or by a version of ours from before there were marks
    ANOTHERS = "somebody else's"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """A thing under a name of ours that somebody else may have taken before."""

    what: str
    whose: Callable[[Any], Whose]


def described(purpose: str, region: str = "") -> str:
    """Return a description with our mark; the region is recorded in that of one account (`region_of`)."""
    return f"{purpose} ({LABEL}, region={region})" if region else f"{purpose} ({LABEL})"


def region_of(account: Any) -> str:
    """Return the region that an account's description records; empty for none."""
    found = _REGION.search(str((account or {}).get("description", "")))
    return found[1] if found else ""


def by_label(thing: Any) -> Whose:
    """Judge what takes labels."""
    system = (thing.get("labels") or {}).get("system", "")
    if system == SYSTEM:
        return Whose.OURS
    return Whose.ANOTHERS if system else Whose.UNMARKED


def by_description(thing: Any) -> Whose:
    """Judge what takes no labels."""
    return Whose.OURS if f"({LABEL}" in thing.get("description", "") else Whose.UNMARKED


def by_title(role: Any) -> Whose:
    """Judge a role."""
    return Whose.OURS if str(role.get("title", "")).startswith(TITLE) else Whose.ANOTHERS


def by_display_name(name: str) -> Callable[[Any], Whose]:
    """Return what judges an account: earlier versions gave it its own name as the display name."""

    def whose(account: Any) -> Whose:
        marked = by_description(account)
        return marked if marked is Whose.OURS or account.get("displayName") == name else Whose.ANOTHERS

    return whose


def by_topic(topic: str) -> Callable[[Any], Whose]:
    """Return what judges a subscription, whose topic nobody can change."""

    def whose(subscription: Any) -> Whose:
        return by_label(subscription) if subscription.get("topic") == topic else Whose.ANOTHERS

    return whose


def acting_as(address: str, *path: str, labelled: tuple[str, ...] = ()) -> Callable[[Any], Whose]:
    """Return what judges by the account that a thing acts as.

    What was only half made has none, and what somebody else made may have none: that is judged by its labels.
    """

    def whose(thing: Any) -> Whose:
        account = _at(thing, *path)
        if not account:
            return by_label(_at(thing, *labelled) or {})
        return Whose.OURS if account == address else Whose.ANOTHERS

    return whose


def _at(thing: Any, *path: str) -> Any:
    for name in path:
        thing = thing.get(name) or {}
    return thing


def of_function(address: str) -> Callable[[Any], Whose]:
    """Return what judges a function by the account that it must run as."""
    return acting_as(address, "serviceConfig", "serviceAccountEmail")


def of_service(address: str) -> Callable[[Any], Whose]:
    """Return what judges the Cloud Run service of a function."""
    return acting_as(address, "spec", "template", "spec", "serviceAccountName", labelled=("metadata",))


def of_job(address: str) -> Callable[[Any], Whose]:
    """Return what judges a job of the scheduler by the account that it calls as."""
    return acting_as(address, "httpTarget", "oidcToken", "serviceAccountEmail")
