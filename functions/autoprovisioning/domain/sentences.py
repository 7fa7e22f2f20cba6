"""Events in a sentence each: what happened to whom, and why, for whoever glances at what was done last."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .accounts import Value
from .entry import GROUPS
from .events import EDITED, Event, EventName
from .words import DONE, attribute_in_words, briefly

OURSELVES = "Autoprovisioning"
MOST_VALUES = 2
MOST_NAMED = 3  # teams
NAME = "displayName"
NAMES = frozenset({NAME, "name.givenName", "name.familyName"})
DIGEST = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{24}\b")  # of a held plan
PLAN = re.compile(r"\s*Plan [0-9a-f]+\.?$")  # how a reason names a held plan
DID: Mapping[EventName, str] = {
    EventName.CREATED: "got an account",
    EventName.UPDATED: "was updated",
    EventName.SUSPENDED: "lost access",
    EventName.UNSUSPENDED: "got access again",
    EventName.DELETED: "was deleted in Keeper",
    EventName.ADOPTED: "keeps an existing account",
    EventName.FAILED: "failed",
    EventName.HELD: "holds changes back",
    EventName.PAUSED: "was paused",
    EventName.REAUTHORIZED: "reauthorized the connection",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """`who` did, or met with, what `did` says; `more` says why, or what exactly. `user_id` is empty for administrators.

    The three read on: "ada@example.com", "could not be created", "No seats are left".
    """

    who: str
    did: str
    more: str = ""
    user_id: str = ""
    failed: bool = False


def plan_of(event: Event) -> str:
    """Return the digest of the held plan that an event is about, empty if it is about none."""
    about = event.name is EventName.HELD or "held plan" in event.changed
    found = DIGEST.search(event.reason) if about else None
    return found[0] if found is not None else ""


def sentence(event: Event) -> Sentence:
    """Tell an event in a sentence."""
    if event.user_id and event.name is not EventName.CONFIGURED:
        return _of_user(event)
    actor = event.actor if "@" in event.actor else OURSELVES
    if event.name is not EventName.CONFIGURED:
        return Sentence(who=actor, did=DID[event.name], more=PLAN.sub("", event.reason))
    if event.reason == EDITED:
        return Sentence(who=actor, did="edited the settings", more=_values(event))
    said = DIGEST.sub(r"\1", event.reason) or "changed something"
    return Sentence(who=actor, did=said[:1].lower() + said[1:])


def _of_user(event: Event) -> Sentence:
    who, user_id = event.email or event.user_id, event.user_id
    if event.name is EventName.FAILED:
        done = DONE[event.attempted] if event.attempted is not None else "provisioned"
        return Sentence(who=who, did=f"could not be {done}", more=event.reason, user_id=user_id, failed=True)
    cause = f"{briefly(event.cause)}, as reported by Google" if event.cause is not None else ""
    teams, did = _teams(event), DID[event.name]
    if event.name is not EventName.UPDATED:
        did = f"{did} and {teams}" if teams else did
        return Sentence(who=who, did=did, more=cause or event.reason, user_id=user_id)
    attributes = {*event.changed} - {GROUPS}
    if teams and not attributes:
        return Sentence(who=who, did=teams, more=cause or event.reason, user_id=user_id)
    if NAME in attributes and attributes <= NAMES:
        did = "was renamed and " + teams if teams else "was renamed"
        return Sentence(who=who, did=did, more=_value(event, NAME), user_id=user_id)
    did = f"{did} and {teams}" if teams else did
    more = _values(event, attribute_in_words, but=GROUPS if teams else "")
    return Sentence(who=who, did=did, more=more or cause or event.reason, user_id=user_id)


def _teams(event: Event) -> str:
    """Tell which teams somebody joined and left: "joined the teams Sales and Support and left the team Interns"."""
    told = ((did, names) for did, names in (("joined", event.joined), ("left", event.left)) if names)
    return " and ".join(f"{did} the {'team' if len(names) == 1 else 'teams'} {_listed(names)}" for did, names in told)


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - MOST_NAMED
    shown = [*names[:MOST_NAMED], *([f"{rest} more"] if rest > 0 else [])]
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def _values(event: Event, called: Callable[[str], str] = str, but: str = "") -> str:
    """Tell the first values that changed: "title: Engineer, was Student"."""
    told = [f"{called(name)}: {_value(event, name)}" for name in event.changed if name != but]
    rest = len(told) - MOST_VALUES
    return "; ".join(told[:MOST_VALUES]) + (f"; and {rest} more" if rest > 0 else "")


def _value(event: Event, name: str) -> str:
    before = event.before or {}
    return _shown(event.changed[name]) + (f", was {_shown(before[name])}" if name in before else "")


def _shown(value: Value) -> str:
    return "empty" if value is None or value == "" else ("yes" if value else "no") if isinstance(value, bool) else value
