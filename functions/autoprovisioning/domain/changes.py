"""A change on its way to Keeper, what became of it, and what that makes of the roster entry and the audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from .accounts import (
    Account,
    Attributes,
    Value,
    Write,
    WriteKind,
    changed_attributes,
    fingerprint,
    holds,
    one_by_one,
    remembered,
    remembers,
)
from .adoption import Beside, Seeker
from .decision import about
from .entry import ACCESS, ACCOUNT, AT_ONCE, EXTERNAL_ID, TEXT_LIMIT, Action, Entry, Failure, Mark, Status, failed
from .errors import (
    Contradicted,
    DirectoryFailed,
    Incomplete,
    KeeperFailed,
    ProvisioningError,
    Unresolved,
    Unsafe,
)
from .events import NAME_OF, Actor, Event, EventName
from .normalization import made_of, same
from .scim_user import whole_families

RECREATED = "The account had vanished from Keeper and was created again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One marked change: `entry` is the entry that holds its mark, `id` the mark's change id.

    `attributes` is everything desired (None where the action does not write any). `scim_id` is set when the account to
    write to is known: the entry's, or one to adopt. `looked_up` says that Keeper was searched and has none. `before` is
    what the account had of the mapping, where that is known; only the audit reads it. `written` is what we wrote last.

    `leaves` is the status that the account found has afterwards, where that is not what the action makes of it: locked
    by someone else, and stays so; locked by ourselves, so that letting the user in is still to be done; active instead
    of suspended, so that suspending it is still to be done.
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
    ours: bool = False  # the one to adopt has our externalId already: `before` is what differs of it, and is written
    leaves: Status | None = None
    recreates: bool = False  # the known account vanished from Keeper
    before: Attributes | None = None
    created: datetime | None = None  # when the directory user was
    confirmed: bool = False  # an administrator confirmed the adoption
    beside: tuple[Beside, ...] = ()  # accounts under aliases of the user
    written: Attributes | None = None
    handed: bool = False  # the account may be on another connection's node by now: this node is asked first

    @property
    def user_id(self) -> str:
        """The directory id."""
        return self.entry.user_id

    @property
    def entitled(self) -> bool:
        """Say whether the directory entitles the user to an account: in scope, and nothing begun to take it away."""
        return self.entry.in_scope and not self.entry.timers and not self.entry.gone

    def user_names(self) -> tuple[str, ...]:
        """The addresses under which an account may be found: the wanted one, the primary one, then aliases.

        Not the one last applied: once the directory took it away it may be anybody's.
        """
        return self.seeker().names

    def seeker(self) -> Seeker:
        """Return the user as the choice among accounts found sees them."""
        return Seeker.of(self.user_id, self.attributes, self.email, self.aliases, self.created)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a change: `error` None is success, then an empty `scim_id` says that there is no account left.

    `shown` is what Keeper showed of the account after it, None where it showed nothing. `made` is the id of an account
    of ours that is there although the change failed: made by the creation, or found with our externalId. `gone`: Keeper
    shows no account of a leaver, which is as good as locked; the id is kept, in case that was not so. `recovered`: the
    answer was lost, and the account was asked.
    """

    change: Change
    scim_id: str = ""
    error: ProvisioningError | None = None
    seconds: float = 0.0
    recovered: bool = False
    sent: Mapping[str, Value] = field(default_factory=dict)
    shown: Attributes | None = None
    made: str = ""
    gone: bool = False


def write_for(change: Change) -> Write:
    """Render the SCIM write of a change: one POST, PATCH or DELETE."""
    match change.action:
        case Action.SUSPEND | Action.UNSUSPEND | Action.UNLOCK:
            external_id = change.user_id if change.adopts or EXTERNAL_ID in change.entry.drift else None
            active = None if change.leaves is Status.LOCKED else change.action is not Action.SUSPEND
            return Write(
                key=change.id,
                kind=WriteKind.PATCH,
                scim_id=change.scim_id,
                external_id=external_id,
                attributes={},
                active=active,
            )
        case Action.DELETE:
            return Write(key=change.id, kind=WriteKind.DELETE, scim_id=change.scim_id)
        case _ if not change.scim_id:
            return Write(
                key=change.id,
                kind=WriteKind.CREATE,
                scim_id="",
                external_id=change.user_id,
                attributes=change.attributes or {},
                active=True,
            )
        case _:
            adopts = change.adopts and not change.ours
            labels = adopts or change.entry.taken_over or EXTERNAL_ID in change.entry.drift
            external_id = change.user_id if labels else None
            active = True if made(change.entry) and not change.adopts else None
            return Write(
                key=change.id,
                kind=WriteKind.PATCH,
                scim_id=change.scim_id,
                external_id=external_id,
                attributes=sent_attributes(change),
                active=active,
            )


def made(entry: Entry) -> bool:
    """Say whether our creation made the account, but not as written: all of it is still to be written, access too."""
    return entry.status is Status.ACTIVE and not (entry.fingerprint or entry.applied_by)


def writes_nothing(change: Change) -> bool:
    """Say whether the account is ours and has everything already: a creation whose answer was lost, say."""
    return change.ours and change.attributes is not None and not sent_attributes(change)


def sent_attributes(change: Change) -> dict[str, Value]:
    """Return the attributes that this change writes: all on creation and adoption, else those that differ."""
    desired = change.attributes or {}
    if change.ours and change.before is not None:
        changed = {target: value for target, value in desired.items() if target in change.before}
    elif not change.scim_id or change.adopts:
        return {target: value for target, value in desired.items() if value is not None}
    else:
        changed = changed_attributes(change.entry.fingerprint, desired)
    return whole_families(changed, desired)


def sending(change: Change) -> Change:
    """Return an update whose mark tells what is sent, which settles it should its answer be lost."""
    if change.action is not Action.UPDATE or change.entry.mark is None:
        return change
    mark = replace(change.entry.mark, sent=one_by_one(sent_attributes(change)))
    return replace(change, entry=replace(change.entry, mark=mark))


def check_moved(change: Change, sent: Attributes, shown: Attributes) -> None:
    """See that no attribute stayed as we wrote it last: the beginning of the new value looks as if that had been cut.

    Raises:
        Contradicted: "Ann Lee" was to become "Ann Lee-Smith", and is shown still.
    """
    last = change.written or {}
    stayed = [
        target.rpartition(":")[2]
        for target, value in sent.items()
        if target in shown and shown[target] == last.get(target) and not same(target, shown[target], value)
    ]
    if stayed:
        raise Contradicted(
            f"Keeper answered an update with success, but shows what was there before in: {', '.join(stayed)[:60]}. "
            "Look at this account in Keeper's Admin Console."
        )


# They say nothing of the user, but come again and again for this one. Unresolved is counted once the account is asked.
PASSING = (KeeperFailed, DirectoryFailed, Incomplete)
PASSING_CODES = frozenset(error.code for error in (*PASSING, Unresolved))


def counted(error: ProvisioningError, previous: Failure | None, what: str, now: datetime) -> Failure | None:
    """Count an error as a failure of one user; None where it is about the connection or the moment, not the user.

    `what` names what was attempted, as `plan.about` does.
    """
    passing = isinstance(error, (*PASSING, Unresolved))
    if error.defers and not passing:
        return None
    if previous is not None and passing is not (previous.code in PASSING_CODES):
        previous = None  # another kind of failure: attempts that cost no wait must not lengthen one
    return failed(previous, error.code, str(error), what, now, at_once=AT_ONCE if passing else 0)


def _failure(outcome: Outcome, previous: Failure | None, now: datetime) -> Failure | None:
    change, error = outcome.change, outcome.error
    if error is None or (isinstance(error, Unresolved) and not outcome.recovered):
        return None
    return counted(error, previous, about(change.action, change.attributes, error.about), now)


def ended(outcome: Outcome, now: datetime) -> bool:
    """Say whether a change is done or has failed; else it waits (for a retry, an approval, a new token)."""
    failure = _failure(outcome, outcome.change.entry.failure, now)
    return outcome.error is None or (failure is not None and not failure.trying)


def recorded(entry: Entry, outcome: Outcome, now: datetime) -> Entry:
    """Return the entry with the outcome: state on success, a counted failure, or "pending" when it must be retried."""
    change, moved = outcome.change, replace(entry, mark=None, version=entry.version + 1)
    if outcome.error is None:
        return _succeeded(moved, outcome, now)
    if isinstance(outcome.error, Unsafe):
        # What vanished is created again within the limit only: the next run plans that, and holds it where need be.
        return replace(moved, pending=False, drift=(ACCOUNT,))
    failure = _failure(outcome, entry.failure, now)
    if failure is None or (failure.trying and not outcome.made):  # nothing was decided anew: the plan may be sent again
        return replace(entry, mark=None, pending=True, failure=failure or entry.failure)
    failing = replace(moved, failure=failure, pending=failure.trying, email=entry.email or change.email)
    if not outcome.made:
        return failing
    status = change.leaves or Status.ACTIVE  # whoever leaves before it is mended must not keep it
    locked_at = now if status is not Status.ACTIVE else None
    return replace(failing, scim_id=outcome.made, status=status, locked_at=locked_at)


def settle(entry: Entry, outcome: Outcome, now: datetime) -> Entry:
    """Return the entry with the outcome; one that stays unknown keeps its mark, run out, so that it is recovered."""
    if isinstance(outcome.error, Unresolved) and entry.mark is not None:
        return replace(entry, mark=replace(entry.mark, until=now, again=False))
    return recorded(entry, outcome, now)


def _succeeded(entry: Entry, outcome: Outcome, now: datetime) -> Entry:
    change = outcome.change
    entry = replace(entry, failure=None, pending=False, last_action_at=now, drift=())
    renamed = entry.status is Status.SUSPENDED and not change.action.deprovisions
    locked_at = entry.locked_at if renamed else now  # an update of a suspended account locks nothing
    if outcome.gone:
        return replace(entry, status=Status.SUSPENDED, deleted=True, locked_at=locked_at)
    if not outcome.scim_id:
        lost = replace(entry, scim_id="", fingerprint="", status=Status.NONE, deleted=False, applied_by="", shown=None)
        return replace(lost, locked_at=now if remembers_lock(entry) else None)
    after = Status.SUSPENDED if change.action.deprovisions else Status.ACTIVE
    status = change.leaves or (entry.status if change.action is Action.UPDATE else after)
    entry = replace(
        entry,
        scim_id=outcome.scim_id,
        status=status,
        deleted=change.action is Action.DELETE or (entry.deleted and status is Status.SUSPENDED),
        shown=_memory(entry, outcome),
        locked_at={Status.LOCKED: now, Status.SUSPENDED: locked_at}.get(status),
    )
    if change.attributes is None:
        return entry
    email = str(change.attributes.get("userName") or change.email)
    applied = fingerprint(change.attributes)
    return replace(entry, fingerprint=applied, email=email, applied_by=change.id, taken_over=False)


def remembers_lock(entry: Entry) -> bool:
    """Say whether what the roster has of a user records a lock of ours, since when the account was not seen active."""
    return entry.status is Status.SUSPENDED or (entry.status is Status.NONE and entry.locked_at is not None)


def _memory(entry: Entry, outcome: Outcome) -> str | None:
    """Return what Keeper made of what was written last: renewed for what this change sent, else as it was."""
    desired, sent, shown = outcome.change.attributes or {}, outcome.sent, outcome.shown
    known = entry.shown if entry.scim_id == outcome.scim_id else None
    if not sent:
        return known
    if not outcome.change.scim_id:
        sent = desired  # a new account: what it shows beside what was sent is Keeper's making too
    whole = all(target in sent for target, value in desired.items() if value is not None)
    if shown is None or (known is None and not whole):
        return None
    mine = {target for target in desired if target in sent or remembers(known or "", target, shown.get(target))}
    return remembered(shown, {target: desired[target] for target in desired if target in mine})


def unmarked(entry: Entry) -> Entry | None:
    """Return the entry without its mark, of which nothing was sent; None where only the mark had made it."""
    return replace(entry, mark=None, version=entry.version + 1) if entry.version else None


def event_for(outcome: Outcome, actor: str, now: datetime, actor_id: str = "") -> Event | None:
    """Return the audit line of an outcome; None for one that will be tried again and changed nothing.

    An account that is there, but not as written, was created all the same: what is tried again is an update.
    """
    change, error = outcome.change, outcome.error
    created = bool(outcome.made) and change.action is Action.CREATE and not change.scim_id  # but not as written
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
        after=(change.attributes or {}) if outcome.scim_id and not outcome.gone else {},
        reason=reason,
        code=error.code if error is not None else "",
        seconds=round(outcome.seconds, 3),
        recovered=outcome.recovered and error is None,
    )


def failure_event(
    change_id: str, entry: Entry, action: Action | None, failure: Failure, by: Actor, now: datetime
) -> Event:
    """Return the audit line of a failure that no answer to a write told."""
    return Event(
        id=change_id,
        at=now,
        name=EventName.FAILED,
        actor=by.address,
        actor_id=by.directory_id,
        user_id=entry.user_id,
        email=entry.email,
        attempted=action,
        reason=failure.text,
        code=failure.code,
    )


def _difference(outcome: Outcome) -> tuple[Mapping[str, Value], Mapping[str, Value] | None]:
    """Return what was changed, and what was there before of exactly that.

    A new account had nothing, which is {}. An attribute is left out where that is not known: it was not mapped then, or
    Keeper's own listing had shown another value than the one that we wrote last.
    """
    change, sent = outcome.change, outcome.sent
    if outcome.gone or not outcome.scim_id or (change.leaves is Status.LOCKED and change.attributes is None):
        return {}, None  # nothing was written
    if change.attributes is None:
        return _access(change.action, change.entry)
    if not change.scim_id:
        return sent, {}  # a new account
    if change.entry.taken_over or EXTERNAL_ID in change.entry.drift:
        sent = {**sent, EXTERNAL_ID: change.user_id}
    if change.before is None:
        return sent, None
    before, wanted = change.before, changed_attributes(change.entry.fingerprint, change.attributes)
    drifted = {target for target in wanted if not change.adopts and before.get(target) == wanted[target]}
    known = {target: before[target] for target in sent if target in before and target not in drifted}
    return sent, known or None


def _access(action: Action, entry: Entry) -> tuple[dict[str, Value], dict[str, Value]]:
    return {ACCESS: not action.deprovisions}, {ACCESS: entry.status is Status.ACTIVE}


def _remark(outcome: Outcome) -> str:
    change = outcome.change
    if change.leaves is Status.LOCKED:
        return _joined("The account was locked in Keeper by someone else and stays so.", _confirmation(change))
    if outcome.gone or not outcome.scim_id:
        return "The account no longer exists in Keeper."
    if change.leaves is Status.SUSPENDED:
        return _joined("We had locked the account ourselves: it is reactivated next.", _confirmation(change))
    if change.action is Action.UNLOCK:
        return "Somebody else had locked the account; an administrator approved to unlock it."
    if change.recreates:
        return _joined(RECREATED, told_beside(change.beside))
    return _joined(told_drift(change.entry.drift), _confirmation(change) or told_beside(change.beside))


def told_drift(drift: Sequence[str]) -> str:
    """Say what somebody else changed in Keeper, by the names of an entry's `drift`; empty where nothing."""
    found = {ACCESS: "the account was active", EXTERNAL_ID: "another externalId", ACCOUNT: "no account"}
    names = [found.get(name, name.rpartition(":")[2]) for name in drift]
    return f"Changed in Keeper by somebody else, where was found: {', '.join(names)}." if names else ""


def _confirmation(change: Change) -> str:
    return "An administrator had confirmed that this account is the user's." if change.confirmed else ""


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def told_beside(beside: Sequence[Beside]) -> str:
    """Say which accounts stand under aliases of a user who gets one of their own; empty where none does."""
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


UNSENT = "unsent"  # among a run's counts: those of the failed ones of which nothing was sent
UNDER_ALIASES = "under_aliases"  # and new accounts beside one under an alias of their user


def count(events: Iterable[Event], outcomes: Iterable[Outcome] = ()) -> dict[str, int]:
    """Count events and outcomes in the words of a run's summary.

    Held are the changes that the guard refused when they were about to be sent.
    """
    names: list[str] = []
    for event in events:
        names += [COUNT_OF[event.name]] if event.name in COUNT_OF else []
        names += [UNSENT] if event.unsent else []
    for outcome in outcomes:
        names += [UNDER_ALIASES] if outcome.change.beside and outcome.scim_id else []
        names += ["held"] if isinstance(outcome.error, Unsafe) else []
    return dict(Counter(names))


def differing(account: Account, desired: Attributes) -> Attributes:
    """Return what an account shows of those of the attributes in which it is not as desired."""
    shown = aligned(account, desired)
    return {target: shown[target] for target in desired if not same(target, shown[target], desired[target])}


def aligned(account: Account, desired: Attributes | None) -> Attributes:
    """Return the account's attributes in the terms of the mapping, so that fingerprints can be compared."""
    if desired is None:
        return {target: value for target, value in account.attributes.items() if value is not None}
    return {target: account.attributes.get(target) for target in desired}


def in_step(entry: Entry, target: str, shown: Attributes, desired: Attributes) -> bool:
    """Say whether Keeper shows what it made of the desired value: nobody changed it there, and it is written already.

    Where Keeper has not shown yet what it made of it, whatever it may have made counts.
    """
    value = shown.get(target)
    if same(target, value, desired[target]):
        return True
    if not holds(entry.fingerprint, target, desired[target]):
        return False
    if entry.shown is not None and remembers(entry.shown, target, value):
        return True
    return _unreturned(entry, target) and made_of(target, shown, desired)


def _as_written(
    entry: Entry, mark: Mark, account: Account, desired: Attributes | None, before: Attributes | None
) -> tuple[dict[str, Value], set[str]]:
    """Return the account's attributes, as they were sent where Keeper shows them otherwise, and which of them are new.

    New is what the change of the mark sent and the account did not have before. An attribute that the server does not
    return tells nothing: it is taken as sent where another one shows that the change was carried out, else as it was.
    """
    unmapped = {target: value for target, value in account.attributes.items() if remembers(mark.sent, target, value)}
    shown, wanted, known = {**unmapped, **aligned(account, desired)}, desired or {}, before or {}
    sent = mark.sent or one_by_one(changed_attributes(entry.fingerprint, wanted))
    untold = {target for target, value in shown.items() if value is None and _unreturned(entry, target)}
    as_wanted = {target for target, value in wanted.items() if remembers(sent, target, value)}

    def arrived(target: str, value: Value) -> bool:
        if holds(entry.fingerprint, target, value) or remembers(entry.shown or "", target, value):
            return False  # it was there before
        if value is None and known and target not in known:
            return False  # it was not mapped, so that it is missing is nothing new
        return made_of(target, shown, wanted) if target in as_wanted else remembers(sent, target, value)

    new = {target for target, value in shown.items() if target not in untold and arrived(target, value)}
    missed = any(not made_of(target, shown, wanted) for target in as_wanted - untold)
    drifted = not new.isdisjoint(entry.drift)  # then Keeper had something else
    there = all(target in known and known[target] == shown[target] for target in new)
    perhaps = all(known.get(target, shown[target]) == shown[target] for target in new)
    if mark.action is Action.UPDATE and not drifted and (there or (missed and perhaps)):
        new = set()  # it was there before, or may have been: a PATCH is carried out whole (RFC 7644 3.5.2)
    if new:
        new |= {target for target in untold & as_wanted if not holds(entry.fingerprint, target, wanted[target])}
    kept = {target for target in untold & set(wanted) if holds(entry.fingerprint, target, wanted[target])}
    kept |= {target for target in wanted if in_step(entry, target, shown, wanted)} | (new & as_wanted)
    return {target: wanted[target] if target in kept else value for target, value in shown.items()}, new


def _unreturned(entry: Entry, target: str) -> bool:
    """Say whether an account without this attribute says nothing of it: this server may never return it."""
    return entry.shown is None or remembers(entry.shown, target, None)


UNDONE = "Keeper did not carry this out, nor said why. It is tried again; if that goes on, ask Keeper's support."


def recover(
    entry: Entry, account: Account | None, desired: Attributes | None, before: Attributes | None, now: datetime
) -> tuple[Entry, Outcome]:
    """Settle a mark that ran out from the account itself, which tells what the change did.

    `before` is what had been written last, where that is known. Returns the entry without its mark, and the outcome:
    Unresolved where the change came to nothing, which is that user's failure by now.
    """
    mark = entry.mark
    assert mark is not None  # noqa: S101 - told by the caller
    values, new = _as_written(entry, mark, account, desired, before) if account is not None else ({}, set())
    found = _as_shown(entry, account, values) if account is not None else entry
    change = Change(
        id=mark.change_id,
        entry=entry,
        action=mark.action,
        email=found.email,
        attributes=desired if mark.action.writes else None,
        scim_id=found.scim_id,
    )
    if not _took_effect(entry, mark, account, new):
        undone = Outcome(change=change, error=Unresolved(UNDONE), recovered=True)
        failure = _failure(undone, entry.failure, now)
        pending = failure is not None and failure.trying
        return replace(found, mark=None, version=entry.version + 1, failure=failure, pending=pending), undone
    done = Outcome(change=change, scim_id=found.scim_id, recovered=True)
    if account is not None and mark.action.writes:
        recreates, creates = _another(entry, account), mark.action is Action.CREATE
        sent = {target: values[target] for target in sorted(values) if values[target] is not None}
        if recreates and not creates:
            change = replace(change, scim_id="")
        elif not creates:
            sent, change = {target: values[target] for target in sorted(new)}, replace(change, before=before)
        elif not account.active:
            change = replace(change, leaves=Status.SUSPENDED if remembers_lock(entry) else Status.LOCKED)
        # Of a creation, which may have been an adoption, nobody knows any more what was there before.
        done = replace(done, change=replace(change, attributes=values, recreates=recreates), sent=sent)
    return recorded(found, done, now), done


def _as_shown(entry: Entry, account: Account, values: Attributes) -> Entry:
    """Return the entry with what the account has; one that is active again is to be suspended anew."""
    open_again = account.active and entry.status is Status.SUSPENDED
    return replace(
        entry,
        scim_id=account.scim_id,
        email=str(values.get("userName") or account.user_name),
        fingerprint=fingerprint(values),
        status=Status.ACTIVE if open_again else entry.status,
        deleted=entry.deleted and not open_again,
        drift=tuple(name for name in entry.drift if name != ACCOUNT),
    )


def _took_effect(entry: Entry, mark: Mark, account: Account | None, new: Collection[str]) -> bool:
    if account is None:
        return mark.action is Action.DELETE
    match mark.action:
        case Action.SUSPEND | Action.DELETE:
            return not account.active and entry.status is not Status.SUSPENDED  # else it was locked before
        case Action.UNSUSPEND | Action.UNLOCK:
            return account.active
        case Action.CREATE:
            return account.scim_id != entry.scim_id  # else the one that had vanished is there again
        case _:
            labelled = EXTERNAL_ID in entry.drift and account.external_id == entry.user_id
            return bool(new) or labelled or _another(entry, account)


def _another(entry: Entry, account: Account) -> bool:
    """Say whether another account has our externalId: the known one had vanished, and a new one was created."""
    return bool(entry.scim_id) and account.scim_id != entry.scim_id
