"""The line of the audit that an outcome makes, and what it adds to the counts of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from .account_teams import UNCHANGED
from .accounts import Value, changed_attributes
from .adoption import Beside
from .causes import Origin
from .changes import Outcome, ended
from .entry import ACCESS, ACCOUNT, EXTERNAL_ID, TEXT_LIMIT, Action, Status
from .events import NAME_OF, Actor, Event, EventName, Stamp
from .events import changed as told
from .memberships import named
from .runs import UNDER_ALIASES, UNSENT

RECREATED = "The account had vanished from Keeper and was created again."


def event_for(
    outcome: Outcome,
    by: Actor,
    now: datetime,
    origin: Origin | None = None,
    team_names: Mapping[str, str] = MappingProxyType({}),
) -> Event | None:
    """Return the audit line of an outcome; None for one that will be tried again and changed nothing.

    An account that exists, but not as written, counts as created: the retry is an update.
    """
    change, error = outcome.change, outcome.error
    created = bool(outcome.made) and not change.scim_id  # but not as written
    trying = not ended(outcome, now)
    if trying and not created:
        return None
    name = NAME_OF[change.action]
    if error is not None and not trying:
        name = EventName.FAILED
    elif change.adopts and change.action is Action.CREATE:
        name = EventName.ADOPTED
    reason = str(error)[:TEXT_LIMIT] if error is not None else _remark(outcome)
    changed, before = _difference(outcome)
    teams = change.team_changes if outcome.teams is not None else UNCHANGED
    if teams:
        inside, were_inside = teams.told(outcome.teams or (), team_names)
        changed, before = {**changed, **inside}, {**(before or {}), **were_inside}
    return told(
        Stamp(id=change.id, at=now, by=by, origin=origin),
        name,
        change.user_id,
        email=str(change.attributes.get("userName") or change.entry.email or change.email),
        attempted=change.action,
        changed=changed,
        before=before,
        after=change.attributes if outcome.there else {},
        reason=reason,
        code=error.code if error is not None else "",
        seconds=round(outcome.seconds, 3),
        recovered=outcome.recovered and error is None,
        teams=tuple(sorted({*teams.joins, *teams.leaves})),
        joined=named(teams.joins, team_names),
        left=named(teams.leaves, team_names),
    )


def _difference(outcome: Outcome) -> tuple[Mapping[str, Value], Mapping[str, Value] | None]:
    """Return what was changed, and the values before of exactly those attributes.

    A new account had none: {}. An attribute is left out if its value is not known: it was not mapped then, or Keeper's
    own listing had shown another value than the one that we wrote last.
    """
    change, sent = outcome.change, outcome.sent
    if not outcome.there or (change.leaves is Status.LOCKED and not change.action.writes):
        return {}, None  # nothing was written
    if not change.action.writes:
        return {ACCESS: not change.action.deprovisions}, {ACCESS: change.entry.status is Status.ACTIVE}
    if not change.scim_id:
        return sent, {}  # a new account
    if change.entry.taken_over or EXTERNAL_ID in change.entry.drift:
        sent = {**sent, EXTERNAL_ID: change.user_id}
    before, wanted = change.before, changed_attributes(change.entry.fingerprint, change.attributes)
    known = {
        target: before[target]
        for target in sent
        if target in before and (change.adopts or (target, before[target]) not in wanted.items())
    }
    return sent, known or None


def _remark(outcome: Outcome) -> str:
    change = outcome.change
    confirmed = "An administrator had confirmed that this account is the user's." if change.confirmed else ""
    if change.leaves is Status.LOCKED:
        told = "The account was locked in Keeper by someone else and stays locked.", confirmed
    elif not outcome.there:
        told = "The account no longer exists in Keeper.", ""
    elif change.leaves is Status.SUSPENDED:
        told = "We had locked the account ourselves: it is reactivated next.", confirmed
    elif change.action is Action.UNLOCK:
        told = "Somebody else had locked the account; an administrator approved unlocking it.", ""
    elif change.recreates:
        told = RECREATED, told_beside(change.beside)
    else:
        told = told_drift(change.entry.drift), confirmed or told_beside(change.beside)
    return " ".join(filter(None, told))


def told_drift(drift: Sequence[str]) -> str:
    """Say what somebody else changed in Keeper, by the names of an entry's `drift`; empty where nothing."""
    found = {ACCESS: "the account was active", EXTERNAL_ID: "another externalId", ACCOUNT: "no account"}
    names = [found.get(name, name.rpartition(":")[2]) for name in drift]
    return f"Changed in Keeper by somebody else. Found: {', '.join(names)}." if names else ""


def told_beside(beside: Sequence[Beside]) -> str:
    """Name the accounts under aliases of a user who gets a new one; empty if there are none."""
    if not beside:
        return ""
    names = ", ".join(account.user_name + (" (locked)" if account.locked else "") for account in beside)
    return f"Left alone: an account in Keeper under an alias of this user, {names}."


COUNT_OF: Mapping[EventName, str] = {
    EventName.CREATED: "created",
    EventName.UPDATED: "updated",
    EventName.SUSPENDED: "suspended",
    EventName.UNSUSPENDED: "unsuspended",
    EventName.DELETED: "deleted",
    EventName.ADOPTED: "adopted",
    EventName.FAILED: "failed",
}


def count(events: Collection[Event], outcomes: Collection[Outcome] = ()) -> dict[str, int]:
    """Count events and outcomes in the words of a run's summary."""
    counts = Counter(COUNT_OF[event.name] for event in events)
    counts[UNSENT] = sum(event.unsent for event in events)
    counts[UNDER_ALIASES] = sum(bool(outcome.change.beside and outcome.scim_id) for outcome in outcomes)
    return dict(+counts)
