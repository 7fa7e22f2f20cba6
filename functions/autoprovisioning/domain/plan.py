"""The decision for one directory user on one connection.

    directory user      in scope   account                     decision
    active              yes        none known                  CREATE (look up; adopt, create or fail, see below)
    active              yes        active                      UPDATE if a mapped attribute differs; timers cancelled
    active              yes        suspended or deleted by us  UNSUSPEND, timers cancelled
    active              yes        locked by someone else      nothing, reported
    active              unknown    suspended by us             UPDATE if a mapped attribute differs
    active              unknown    active                      UPDATE if a mapped attribute differs
    active              no         active                      trigger app off: SUSPEND or DELETE when due, else UPDATE
    suspended           any        none known                  nothing
    suspended           any        active                      trigger suspended, and app off when out of scope
    deleted             -          any of ours                 trigger deleted
    any                 any        locked by someone else      never written to: neither deleted nor let in again
    suspended, deleted  -          suspended by us             the delete timer goes on; UPDATE if an attribute differs
    archived            -          any                         nothing, timers frozen (or as suspended, if so chosen)
    could not be read   -          any                         nothing

Whom complete listings lack, but of whom nothing tells alone, counts as not told ("unknown", "could not be read"): since
when is remembered, and from the second listing on (`missed_twice`) an administrator may let the listings count.

Who left for another connection's scope keeps the active account until that one has let them in (`domain.ownership`).
Which account found on CREATE may be adopted is decided in `domain.adoption`. What is not in scope and has no account
is nothing to us: no entry is made for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from autoprovisioning.domain.accounts import (
    Attributes,
    changed_attributes,
    fingerprint,
    unchanged,
    whole_fingerprint,
)
from autoprovisioning.domain.adoption import Confirmed, settled_by
from autoprovisioning.domain.deprovisioning import Deprovisioning, Due, Span, due, observe
from autoprovisioning.domain.errors import AddressTaken, AdoptionInDoubt, MappingFailure, Permanent
from autoprovisioning.domain.roster import Action, Entry, Failure, Status, Trigger
from autoprovisioning.domain.users import Presence

READING = "read"  # what was attempted where the directory does not show one user: it stands in the way of every reread
SECOND_LISTING = timedelta(minutes=15)  # what one listing lacked by accident, another one this much later has
RETENTION = timedelta(days=30)  # undelete is possible for 20; the rest is for people asking what happened


@dataclass(frozen=True, slots=True)
class Observed:
    """One directory user as seen now, for one connection.

    `in_scope` is None where that could not be told. `desired` is None where there is nothing to map (deleted, unknown)
    or the mapping failed; then `mapping_failure` says why. `missing` is True where complete listings lack the user and
    nothing tells of this one alone, False where the directory tells, and None where it was not asked. `moving` is True
    where the user belongs to another connection, which has not let them in yet. `handed` is True where the account may
    be on that one's node by now. `holder` is the directory id of who has the wanted address on this connection, empty
    where nobody has, None where that was not looked up.
    """

    user_id: str
    presence: Presence
    in_scope: bool | None
    email: str = ""
    aliases: tuple[str, ...] = ()
    since: datetime | None = None
    desired: Attributes | None = None
    mapping_failure: MappingFailure | None = None
    created: datetime | None = None  # the directory's creationTime: an account that is older was somebody else's
    missing: bool | None = None
    moving: bool = False
    handed: bool = False
    holder: str | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What a connection's configuration contributes to a decision, and what administrators confirmed on it."""

    deprovisioning: Deprovisioning
    off_spans: tuple[Span, ...] = ()
    archived_as_suspended: bool = False
    retry_failures: bool = False  # an administrator asked: do not wait for the next attempt
    by_groups: bool = False  # the scope names groups: who is in them is remembered, for the scope sweep
    confirmed: Confirmed = field(default_factory=dict)  # adoptions; a doubt that one of them settles waits no longer


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and the entry with what was noticed on the way (timers, scope); None: no entry is to be kept.

    `failure` is one that needs no call to Keeper to be known. `backing_off` says that an earlier failure waits for its
    next attempt.
    """

    action: Action | None
    noted: Entry | None
    attributes: Attributes | None = None
    reason: str = ""
    failure: Permanent | None = None
    backing_off: bool = False
    trigger: Trigger | None = None


def decide(entry: Entry | None, seen: Observed, rules: Rules, now: datetime) -> Decision:
    """Decide by the table above; pure, so the same inputs always give the same decision."""
    if _settled(entry, seen):
        return Decision(None, entry)
    presence = seen.presence
    if presence is Presence.ARCHIVED and rules.archived_as_suspended:
        presence = Presence.SUSPENDED
    if presence is Presence.UNKNOWN:
        unread = _remembered(entry, seen, rules)
        return Decision(None, _missed(unread, seen, now) if unread is not None else None, reason="could not be read")
    if presence is Presence.ARCHIVED:
        noted = _frozen(_remembered(entry, seen, rules), now)
        return Decision(None, noted, reason="archived users are not operated on")
    known = _thawed(entry, now) if entry is not None else Entry(seen.user_id, email=seen.email)
    known = _missed(known, seen, now)
    if seen.in_scope is not None:
        known = replace(known, in_scope=seen.in_scope)
    if presence is Presence.ACTIVE and seen.in_scope is not False:
        return _provision(entry, known, seen, rules, now)
    return _deprovision(entry, known, replace_presence(seen, presence), rules, now)


def replace_presence(seen: Observed, presence: Presence) -> Observed:
    """Return what was seen, with another presence (archived treated as suspended)."""
    return seen if seen.presence is presence else replace(seen, presence=presence)


def _settled(entry: Entry | None, seen: Observed) -> bool:
    """Say whether nothing can have changed: the fast way for nearly everybody in nearly every run."""
    return (
        entry is not None
        and entry.status is Status.ACTIVE
        and seen.presence is Presence.ACTIVE
        and seen.in_scope is True
        and entry.in_scope
        and not entry.timers
        and entry.frozen_at is None
        and entry.failure is None
        and entry.held is None
        and not entry.pending
        and not entry.gone
        and entry.missing_since is None
        and seen.desired is not None
        and unchanged(entry.fingerprint, seen.desired)
    )


def missed_twice(entry: Entry | None, now: datetime) -> bool:
    """Say whether complete listings have lacked the user for so long that an administrator may approve by them alone.

    `now` is that of another complete listing which lacks the user.
    """
    return entry is not None and entry.missing_since is not None and now - entry.missing_since >= SECOND_LISTING


def _missed(known: Entry, seen: Observed, now: datetime) -> Entry:
    """Remember since when listings alone say that the user is gone or left; forget it once anything else tells."""
    in_scope = seen.in_scope and seen.presence is not Presence.UNKNOWN  # a scope without groups holds everybody
    if in_scope or seen.missing is False or seen.presence is Presence.DELETED:
        return replace(known, missing_since=None) if known.missing_since is not None else known
    if seen.missing and known.missing_since is None:
        return replace(known, missing_since=now)
    return known


def _remembered(entry: Entry | None, seen: Observed, rules: Rules) -> Entry | None:
    """Keep a scope group's member without an account in mind, so that the sweep does not find them anew each time."""
    if entry is None and seen.in_scope and rules.by_groups:
        return Entry(seen.user_id, email=seen.email, in_scope=True)
    return entry


def _frozen(entry: Entry | None, now: datetime) -> Entry | None:
    """Let the timers stand still; nothing waits or fails meanwhile, but what was held stays known."""
    if entry is None:
        return None
    if entry.pending or entry.failure is not None:
        entry = replace(entry, pending=False, failure=None)
    if entry.frozen_at is not None or entry.status is Status.NONE:
        return entry
    return replace(entry, frozen_at=now)


def _thawed(entry: Entry, now: datetime) -> Entry:
    if entry.frozen_at is None:
        return entry
    stood = now - entry.frozen_at
    return replace(entry, frozen_at=None, timers={trigger: at + stood for trigger, at in entry.timers.items()})


def _provision(entry: Entry | None, known: Entry, seen: Observed, rules: Rules, now: datetime) -> Decision:
    """Active, and in scope or not known to be out of it."""
    returned = seen.in_scope is True
    noted = replace(known, timers={}, gone=False) if returned else replace(known, gone=False)
    action: Action | None
    match known.status:
        case Status.NONE:
            if not returned:
                return Decision(None, entry, reason="scope could not be told")
            action = Action.CREATE
        case Status.SUSPENDED | Status.DELETED if returned:
            return _attempt(Action.UNSUSPEND, noted, seen, rules, now)
        case Status.LOCKED:
            return Decision(None, _clean(noted), reason="locked in Keeper by someone else")
        case Status.DELETED:
            return Decision(None, _clean(noted), reason="deleted, and scope could not be told")
        case _:
            action = Action.UPDATE
    if seen.mapping_failure is not None:
        return _fail(noted, seen.mapping_failure, action, rules, now)
    if action is Action.UPDATE and not _differs(known.fingerprint, seen.desired):
        settled = _clean(noted) if returned else noted
        return Decision(None, _in_step(settled, seen.desired), reason="in step")
    return _attempt(action, noted, seen, rules, now)


def _differs(applied: str, desired: Attributes | None) -> bool:
    """Say whether an attribute must be written; a mapping that only lost a row writes nothing."""
    return desired is not None and not unchanged(applied, desired) and bool(changed_attributes(applied, desired))


def _in_step(noted: Entry, desired: Attributes | None) -> Entry:
    """Keep the fingerprint that of the mapping in force."""
    if desired is None or unchanged(noted.fingerprint, desired):
        return noted
    return replace(noted, fingerprint=fingerprint(desired))


def _deprovision(entry: Entry | None, known: Entry, seen: Observed, rules: Rules, now: datetime) -> Decision:
    """Out of scope, suspended or deleted."""
    if known.status is Status.NONE:
        if entry is not None and entry.mark is not None:
            return Decision(None, entry, reason="an attempt is under way")
        noted = _remembered(None, seen, rules)
        if noted is not None and entry is not None:
            noted = _clean(known)
        return Decision(None, noted, reason="no account")
    timers = observe(known.timers, _triggers(known, seen), now)
    noted = replace(known, timers=timers, gone=seen.presence is Presence.DELETED)
    when = due(rules.deprovisioning, timers, rules.off_spans, now)
    stays = seen.moving and known.status is Status.ACTIVE  # until the other connection has let them in
    if when.delete is not None and when.delete <= now and _keeps_current(known.status) and not stays:
        return _attempt(Action.DELETE, noted, seen, rules, now, when.delete_by)
    if when.suspend is not None and when.suspend <= now and known.status is Status.ACTIVE and not stays:
        return _attempt(Action.SUSPEND, noted, seen, rules, now, when.suspend_by)
    if _keeps_current(known.status) and _differs(known.fingerprint, seen.desired):
        return _attempt(Action.UPDATE, noted, seen, rules, now)
    if noted.gone and _forgettable(noted, when, now):
        return Decision(None, None, reason="deleted long ago")
    current = _in_step(noted, seen.desired) if _keeps_current(noted.status) else noted
    return Decision(None, _clean(current), reason=_waiting(when))


def _keeps_current(status: Status) -> bool:
    return status in (Status.ACTIVE, Status.SUSPENDED)


def _triggers(known: Entry, seen: Observed) -> dict[Trigger, datetime | None]:
    triggers: dict[Trigger, datetime | None] = {}
    if seen.in_scope is False or (Trigger.APP_OFF in known.timers and seen.in_scope is not True):
        triggers[Trigger.APP_OFF] = None
    if seen.presence is Presence.SUSPENDED:
        triggers[Trigger.SUSPENDED] = seen.since
    if seen.presence is Presence.DELETED:
        # Nobody returned: triggers that were running before the deletion go on, the earliest due wins.
        triggers.update(dict.fromkeys(known.timers))
        triggers[Trigger.DELETED] = seen.since
    return triggers


def _forgettable(noted: Entry, when: Due, now: datetime) -> bool:
    still_to_suspend = when.suspend is not None and noted.status is Status.ACTIVE
    still_to_delete = when.delete is not None and _keeps_current(noted.status)
    if still_to_suspend or still_to_delete or noted.mark is not None:
        return False
    last = max(filter(None, (noted.last_action_at, *noted.timers.values())), default=now)
    return now - last >= RETENTION


def _waiting(when: Due) -> str:
    dates = [at for at in (when.suspend, when.delete) if at is not None]
    return f"next due {min(dates).date().isoformat()}" if dates else "nothing due"


def _clean(noted: Entry) -> Entry:
    """Drop the flags of an action that is no longer wanted."""
    if noted.held is None and not noted.pending and noted.failure is None:
        return noted
    return replace(noted, held=None, held_by=None, pending=False, failure=None)


def about(action: Action, attributes: Attributes | None, text: str = "") -> str:
    """Name what is attempted, so that a failure is retried at once when that changes."""
    return f"{action.value}:{whole_fingerprint(attributes or {})}{':' + text[:60] if text else ''}"


def stuck(entry: Entry, seen: Observed, rules: Rules, now: datetime) -> str:
    """Name what a mark that ran out stands in the way of, as `about` does: what would be done if it were not there."""
    assert entry.mark is not None  # noqa: S101 - told by the caller
    action = decide(replace(entry, mark=None, failure=None), seen, rules, now).action or entry.mark.action
    return about(action, seen.desired if action in (Action.CREATE, Action.UPDATE) else None)


def rests(entry: Entry, seen: Observed, rules: Rules, now: datetime) -> bool:
    """Say whether a mark that ran out is to be left alone: its account could not be fetched, and nothing changed."""
    failure = entry.failure
    if failure is None or now >= failure.next_attempt or rules.retry_failures:
        return False
    return failure.about == stuck(entry, seen, rules, now)


def _attempt(
    action: Action, noted: Entry, seen: Observed, rules: Rules, now: datetime, trigger: Trigger | None = None
) -> Decision:
    failure = noted.failure
    attributes = seen.desired if action in (Action.CREATE, Action.UPDATE) else None
    same = failure is not None and (
        _stands(failure, about(action, attributes, _settled_by(failure, seen, rules)), seen)
        or (failure.about == READING and action.rereads)
    )
    if failure is not None and same and now < failure.next_attempt and not rules.retry_failures:
        return _backing_off(noted, failure)
    unsure = action is Action.UPDATE and seen.in_scope is None  # what is held may be due all the same
    if noted.held is not None and not unsure and (noted.held, noted.held_by) != (action, trigger):
        noted = replace(noted, held=None, held_by=None)
    return Decision(action, noted, attributes, trigger=trigger)


def _backing_off(noted: Entry, failure: Failure) -> Decision:
    """Wait for the next attempt: it is the failure that this waits for, and nothing besides."""
    return Decision(None, replace(noted, pending=False), reason=failure.text, backing_off=True)


def _stands(failure: Failure, attempted: str, seen: Observed) -> bool:
    """Say whether a failure is about this attempt; one who has an address may have given it up since."""
    if failure.code == AddressTaken.code and seen.holder is None:
        return failure.about.startswith(attempted)
    return failure.about == attempted


def _settled_by(failure: Failure, seen: Observed, rules: Rules) -> str:
    if failure.code == AddressTaken.code:
        return seen.holder or ""
    if failure.code != AdoptionInDoubt.code:
        return ""
    return settled_by(rules.confirmed.get(seen.user_id, frozenset()))


def _fail(noted: Entry, failure: MappingFailure, action: Action, rules: Rules, now: datetime) -> Decision:
    standing = noted.failure
    same = standing is not None and standing.about == about(action, None, str(failure))
    if standing is not None and same and now < standing.next_attempt and not rules.retry_failures:
        return _backing_off(noted, standing)
    return Decision(None, noted, failure=failure, reason=str(failure))
