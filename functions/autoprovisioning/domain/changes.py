"""A change on its way to Keeper, what became of it, and what that makes of the roster entry and the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from autoprovisioning.domain.accounts import (
    Account,
    Attributes,
    Value,
    Write,
    WriteKind,
    changed_attributes,
    fingerprint,
)
from autoprovisioning.domain.errors import ProvisioningError, SeatsExhausted, Unresolved, Unsafe
from autoprovisioning.domain.events import NAME_OF, Event, EventName
from autoprovisioning.domain.plan import about
from autoprovisioning.domain.roster import TEXT_LIMIT, Action, Entry, Status, failed

MULTI_VALUED = ("emails.", "phoneNumbers[", "addresses[")
ACTIVE = "active"  # in the audit only: access is no attribute of the mapping


@dataclass(frozen=True, slots=True)
class Change:
    """One marked change: `entry` is the entry that holds its mark, `id` the mark's change id.

    `attributes` is everything desired (None where the action does not write any). `scim_id` is set when the account to
    write to is known: the entry's, or one to adopt. `looked_up` says that Keeper was searched and has none. `before` is
    what the account had of the mapping, where that is known; only the audit reads it.
    """

    id: str
    entry: Entry
    action: Action
    email: str
    attributes: Attributes | None = None
    aliases: tuple[str, ...] = ()
    scim_id: str = ""
    looked_up: bool = False
    adopts: bool = False
    locked: bool = False  # the account to adopt was locked by someone else
    unlocked: bool = False  # the account found instead of a suspended one is active: suspending it is still to be done
    recreates: bool = False  # the known account vanished from Keeper
    before: Attributes | None = None

    @property
    def user_id(self) -> str:
        """The directory id."""
        return self.entry.user_id

    def user_names(self) -> tuple[str, ...]:
        """The addresses under which an account may be found: the wanted one, then aliases.

        Not the one last applied: once the directory took it away it may be anybody's.
        """
        wanted = str((self.attributes or {}).get("userName") or self.email)
        return tuple(dict.fromkeys(name for name in (wanted, *self.aliases) if name))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a change: `error` None is success, then an empty `scim_id` says that there is no account left."""

    change: Change
    scim_id: str = ""
    error: Exception | None = None
    seconds: float = 0.0
    recovered: bool = False
    sent: Mapping[str, Value] = field(default_factory=dict)


def write_for(change: Change) -> Write:
    """Render the SCIM write of a change: one POST, PATCH or DELETE."""
    match change.action:
        case Action.SUSPEND | Action.UNSUSPEND:
            external_id = change.user_id if change.adopts else None
            active = None if change.locked else change.action is Action.UNSUSPEND
            return Write(change.id, WriteKind.PATCH, change.scim_id, external_id, {}, active=active)
        case Action.DELETE:
            return Write(change.id, WriteKind.DELETE, change.scim_id)
        case _ if not change.scim_id:
            return Write(change.id, WriteKind.CREATE, "", change.user_id, change.attributes or {}, active=True)
        case _:
            external_id = change.user_id if change.adopts else None
            return Write(change.id, WriteKind.PATCH, change.scim_id, external_id, sent_attributes(change))


def sent_attributes(change: Change) -> dict[str, Value]:
    """Return the attributes that this change writes: all on creation and adoption, else those that differ."""
    desired = change.attributes or {}
    if not change.scim_id or change.adopts:
        return {target: value for target, value in desired.items() if value is not None}
    changed = changed_attributes(change.entry.fingerprint, desired)
    for family in MULTI_VALUED:
        # A multi-valued attribute is replaced whole: RFC 7644 3.5.2.3 refuses to replace an entry that is not there.
        if any(target.startswith(family) for target in changed):
            changed |= {target: value for target, value in desired.items() if target.startswith(family)}
    return changed


_STATUS_AFTER = {
    Action.CREATE: Status.ACTIVE,
    Action.SUSPEND: Status.SUSPENDED,
    Action.UNSUSPEND: Status.ACTIVE,
    Action.DELETE: Status.DELETED,
}


def deferred(error: Exception) -> bool:
    """Say whether the change waits (retry, approval, new token) instead of having failed."""
    return not isinstance(error, ProvisioningError) or error.defers


def recorded(entry: Entry, outcome: Outcome, now: datetime) -> Entry:
    """Return the entry with the outcome: state on success, a counted failure, or "pending" when it must be retried."""
    change = outcome.change
    if outcome.error is not None and deferred(outcome.error) and not isinstance(outcome.error, Unsafe):
        return replace(entry, mark=None, pending=True)  # nothing was decided anew: the same plan may be sent again
    entry = replace(entry, mark=None, version=entry.version + 1)
    if outcome.error is None:
        return _succeeded(entry, outcome, now)
    if isinstance(outcome.error, Unsafe):
        return replace(entry, held=change.action, pending=False)
    attributes = change.attributes if change.action in (Action.CREATE, Action.UPDATE) else None
    what = about(change.action, attributes)
    code = outcome.error.code if isinstance(outcome.error, ProvisioningError) else ""
    failure = failed(entry.failure, code, str(outcome.error), what, now)
    return replace(entry, failure=failure, pending=False, email=entry.email or change.email)


def settle(entry: Entry, outcome: Outcome, now: datetime) -> Entry:
    """Return the entry with the outcome; one that stays unknown keeps its mark, run out, so that it is recovered."""
    if isinstance(outcome.error, Unresolved) and entry.mark is not None:
        return replace(entry, mark=replace(entry.mark, until=now, again=False))
    return recorded(entry, outcome, now)


def _succeeded(entry: Entry, outcome: Outcome, now: datetime) -> Entry:
    change = outcome.change
    entry = replace(entry, failure=None, pending=False, last_action_at=now)
    if change.action is not Action.UPDATE:  # an update says nothing about what is held
        entry = replace(entry, held=None, held_by=None)
    if not outcome.scim_id:
        return replace(entry, scim_id="", fingerprint="", status=Status.NONE, applied_by="")
    status = _STATUS_AFTER.get(change.action, entry.status)
    if change.locked:
        status = Status.LOCKED
    elif change.unlocked:
        status = Status.ACTIVE
    entry = replace(entry, scim_id=outcome.scim_id, status=status)
    if change.attributes is None:
        return entry
    email = str(change.attributes.get("userName") or change.email)
    return replace(entry, fingerprint=fingerprint(change.attributes), email=email, applied_by=change.id)


def unmarked(entry: Entry) -> Entry | None:
    """Return the entry without its mark, of which nothing was sent; None where only the mark had made it."""
    return replace(entry, mark=None, version=entry.version + 1) if entry.version else None


def event_for(outcome: Outcome, actor: str, now: datetime, actor_id: str = "") -> Event | None:
    """Return the audit line of an outcome; None for one that will be tried again and changed nothing."""
    change, error = outcome.change, outcome.error
    if error is not None and deferred(error):
        return None
    name = NAME_OF[change.action]
    if error is not None:
        name = EventName.FAILED
    elif change.adopts and change.action is Action.CREATE:
        name = EventName.ADOPTED
    reason = str(error)[:TEXT_LIMIT] if error is not None else _remark(outcome)
    changed, before = _difference(outcome)
    return Event(
        id=change.id,
        at=now,
        name=name,
        actor=actor,
        actor_id=actor_id,
        user_id=change.user_id,
        email=str((change.attributes or {}).get("userName") or change.entry.email or change.email),
        attempted=change.action,
        changed=changed,
        before=before,
        after=(change.attributes or {}) if outcome.scim_id else {},
        reason=reason,
        code=error.code if isinstance(error, ProvisioningError) else "",
        seconds=round(outcome.seconds, 3),
        recovered=outcome.recovered,
    )


def _difference(outcome: Outcome) -> tuple[Mapping[str, Value], Mapping[str, Value] | None]:
    """Return what was changed, and what was there before of exactly that.

    A new account had nothing, which is {}. An attribute is left out where that is not known: it was not mapped then, or
    Keeper's own listing had shown another value than the one that we wrote last.
    """
    change, sent = outcome.change, outcome.sent
    if not outcome.scim_id or (change.locked and change.attributes is None):
        return {}, None  # nothing was written
    if change.attributes is None:
        return _access(change.action, change.entry)
    if not change.scim_id:
        return sent, {}  # a new account
    if change.before is None:
        return sent, None
    before, wanted = change.before, changed_attributes(change.entry.fingerprint, change.attributes)
    drifted = {target for target in wanted if not change.adopts and before.get(target) == wanted[target]}
    known = {target: before[target] for target in sent if target in before and target not in drifted}
    return sent, known or None


def _access(action: Action, entry: Entry) -> tuple[dict[str, Value], dict[str, Value]]:
    return {ACTIVE: action is Action.UNSUSPEND}, {ACTIVE: entry.status is Status.ACTIVE}


def _remark(outcome: Outcome) -> str:
    if outcome.change.locked:
        return "The account was locked in Keeper by someone else and stays so."
    if not outcome.scim_id:
        return "The account no longer exists in Keeper."
    if outcome.change.recreates:
        return "The account had vanished from Keeper and was created again."
    return ""


COUNT_OF: Mapping[EventName, str] = {
    EventName.CREATED: "created",
    EventName.UPDATED: "updated",
    EventName.SUSPENDED: "suspended",
    EventName.UNSUSPENDED: "unsuspended",
    EventName.DELETED: "deleted",
    EventName.ADOPTED: "adopted",
    EventName.FAILED: "failed",
}


def count(events: list[Event]) -> dict[str, int]:
    """Count events in the words of a run's summary."""
    counts: dict[str, int] = {}
    for event in events:
        if event.name in COUNT_OF:
            name = COUNT_OF[event.name]
            counts[name] = counts.get(name, 0) + 1
    return counts


def exhausts_seats(outcome: Outcome) -> bool:
    """Say whether Keeper refused a creation for want of licensed seats (428): no more creations in that run."""
    return isinstance(outcome.error, SeatsExhausted)


def aligned(account: Account, desired: Attributes | None) -> Attributes:
    """Return the account's attributes in the terms of the mapping, so that fingerprints can be compared."""
    if desired is None:
        return {target: value for target, value in account.attributes.items() if value is not None}
    return {target: account.attributes.get(target) for target in desired}


def recover(
    entry: Entry, account: Account | None, desired: Attributes | None, now: datetime
) -> tuple[Entry, str, bool]:
    """Settle an expired mark from the account itself.

    Returns the entry without its mark, the id of the change (for the audit), and whether that change had taken effect.
    """
    mark = entry.mark
    if mark is None:
        return entry, "", False
    cleared = replace(entry, mark=None, version=entry.version + 1)
    if account is None:
        if mark.action is Action.DELETE:
            return replace(cleared, status=Status.DELETED, last_action_at=now), mark.change_id, True
        return cleared, mark.change_id, False
    applied = fingerprint(aligned(account, desired))
    open_again = account.active and entry.status is Status.SUSPENDED  # re-created in Keeper: to be suspended anew
    found = replace(
        cleared,
        scim_id=account.scim_id,
        email=account.user_name,
        fingerprint=applied,
        status=Status.ACTIVE if open_again else entry.status,
    )
    written = replace(found, applied_by=mark.change_id)
    match mark.action:
        case Action.CREATE:
            status = Status.ACTIVE if account.active else Status.LOCKED
            return replace(written, status=status, last_action_at=now), mark.change_id, True
        case Action.SUSPEND | Action.DELETE if not account.active:
            return replace(found, status=_STATUS_AFTER[mark.action], last_action_at=now), mark.change_id, True
        case Action.UNSUSPEND if account.active:
            return replace(found, status=Status.ACTIVE, last_action_at=now), mark.change_id, True
        case Action.UPDATE if found.fingerprint != entry.fingerprint:
            return written, mark.change_id, True
    return found, mark.change_id, False


def recovered_event(
    entry: Entry,
    settled: Entry,
    account: Account | None,
    desired: Attributes | None,
    before: Attributes | None,
    actor: str,
    now: datetime,
    actor_id: str = "",
) -> Event:
    """Return the audit line of a change that `recover` found to have taken effect: what the account shows tells what.

    `entry` is the one with the mark, `settled` what became of it.
    """
    mark = entry.mark
    assert mark is not None  # noqa: S101 - told by the caller
    event = Event(
        mark.change_id,
        now,
        NAME_OF[mark.action],
        actor,
        entry.user_id,
        settled.email,
        mark.action,
        recovered=True,
        actor_id=actor_id,
    )
    if mark.action not in (Action.CREATE, Action.UPDATE) or account is None:
        changed, access = _access(mark.action, entry)
        return replace(event, changed=changed, before=access)
    after = aligned(account, desired)
    if mark.action is Action.CREATE:  # or it was an adoption: then nobody knows any more what was there
        filled = {target: value for target, value in after.items() if value is not None}
        return replace(event, changed=filled, after=after)
    differing = changed_attributes(entry.fingerprint, after)
    was = {target: before[target] for target in differing if before is not None and target in before}
    return replace(event, changed=differing, before=was or None, after=after)
