"""A change on its way to Keeper, what became of it, and what that makes of the roster entry and the audit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    holds,
    one_by_one,
    remembered,
    remembers,
)
from autoprovisioning.domain.adoption import Beside, Seeker
from autoprovisioning.domain.errors import (
    AddressTaken,
    AdoptionInDoubt,
    Contradicted,
    DirectoryFailed,
    Incomplete,
    KeeperFailed,
    ProvisioningError,
    SeatsExhausted,
    Unresolved,
    Unsafe,
)
from autoprovisioning.domain.events import NAME_OF, Event, EventName
from autoprovisioning.domain.normalization import made_of, same
from autoprovisioning.domain.plan import about
from autoprovisioning.domain.roster import (
    ACCESS,
    ACCOUNT,
    AT_ONCE,
    EXTERNAL_ID,
    TEXT_LIMIT,
    Action,
    Entry,
    Failure,
    Status,
    failed,
)

MULTI_VALUED = ("emails.", "phoneNumbers[", "addresses[")
RECREATED = "The account had vanished from Keeper and was created again."
ACTIVE = "active"  # in the audit only: access is no attribute of the mapping


@dataclass(frozen=True, slots=True)
class Change:
    """One marked change: `entry` is the entry that holds its mark, `id` the mark's change id.

    `attributes` is everything desired (None where the action does not write any). `scim_id` is set when the account to
    write to is known: the entry's, or one to adopt. `looked_up` says that Keeper was searched and has none. `before` is
    what the account had of the mapping, where that is known; only the audit reads it. `written` is what we wrote last.
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
    ours: bool = (
        False  # the account to adopt has our externalId already: `before` is what differs of it, and is written
    )
    locked: bool = False  # the account to adopt was locked by someone else
    suspended: bool = False  # the account to adopt was locked by ourselves: letting the user in is still to be done
    unlocked: bool = False  # the account found instead of a suspended one is active: suspending it is still to be done
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a change: `error` None is success, then an empty `scim_id` says that there is no account left.

    `shown` is what Keeper showed of the account after it, None where it showed nothing. `made` is the id of an account
    of ours that is there although the change failed: made by the creation, or found with our externalId. `gone`: Keeper
    shows no account of a leaver, which is as good as locked; the id is kept, in case that was not so.
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
            active = None if change.locked else change.action is not Action.SUSPEND
            return Write(change.id, WriteKind.PATCH, change.scim_id, external_id, {}, active=active)
        case Action.DELETE:
            return Write(change.id, WriteKind.DELETE, change.scim_id)
        case _ if not change.scim_id:
            return Write(change.id, WriteKind.CREATE, "", change.user_id, change.attributes or {}, active=True)
        case _:
            adopts = change.adopts and not change.ours
            external_id = change.user_id if adopts or EXTERNAL_ID in change.entry.drift else None
            active = True if made(change.entry) and not change.adopts else None
            return Write(change.id, WriteKind.PATCH, change.scim_id, external_id, sent_attributes(change), active)


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
    for family in MULTI_VALUED:
        # A multi-valued attribute is replaced whole: RFC 7644 3.5.2.3 refuses to replace an entry that is not there.
        if any(target.startswith(family) for target in changed):
            changed |= {target: value for target, value in desired.items() if target.startswith(family)}
    return changed


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


_STATUS_AFTER = {
    Action.CREATE: Status.ACTIVE,
    Action.SUSPEND: Status.SUSPENDED,
    Action.UNSUSPEND: Status.ACTIVE,
    Action.DELETE: Status.SUSPENDED,
    Action.UNLOCK: Status.ACTIVE,
}


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
    if error is None or isinstance(error, Unresolved):
        return None
    attributes = change.attributes if change.action in (Action.CREATE, Action.UPDATE) else None
    told = error.about if isinstance(error, AdoptionInDoubt | AddressTaken) else ""
    return counted(error, previous, about(change.action, attributes, told), now)


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
    if outcome.made and failure is not None:  # whoever leaves before it is mended must not keep it
        status = Status.LOCKED if change.locked else Status.SUSPENDED if change.suspended else Status.ACTIVE
        known = replace(moved, scim_id=outcome.made, status=status, email=entry.email or change.email)
        known = replace(known, locked_at=now if status is not Status.ACTIVE else None)
        return replace(known, failure=failure, pending=failure.trying)
    if failure is None or failure.trying:  # nothing was decided anew: the same plan may be sent again
        return replace(entry, mark=None, pending=True, failure=failure or entry.failure)
    return replace(moved, failure=failure, pending=False, email=entry.email or change.email)


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
        ours = now if remembers_lock(entry) else None
        lost = replace(entry, scim_id="", fingerprint="", status=Status.NONE, deleted=False, applied_by="", shown=None)
        return replace(lost, locked_at=ours)
    status = _STATUS_AFTER.get(change.action, entry.status)
    if change.locked:
        status = Status.LOCKED
    elif change.suspended:
        status = Status.SUSPENDED
    elif change.unlocked:
        status = Status.ACTIVE
    memory = _memory(entry, outcome)
    deleted = change.action is Action.DELETE or (entry.deleted and status is Status.SUSPENDED)
    entry = replace(entry, scim_id=outcome.scim_id, status=status, deleted=deleted, shown=memory)
    since = {Status.LOCKED: now, Status.SUSPENDED: locked_at}
    entry = replace(entry, locked_at=since.get(status))
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
        recovered=outcome.recovered,
    )


def _difference(outcome: Outcome) -> tuple[Mapping[str, Value], Mapping[str, Value] | None]:
    """Return what was changed, and what was there before of exactly that.

    A new account had nothing, which is {}. An attribute is left out where that is not known: it was not mapped then, or
    Keeper's own listing had shown another value than the one that we wrote last.
    """
    change, sent = outcome.change, outcome.sent
    if outcome.gone or not outcome.scim_id or (change.locked and change.attributes is None):
        return {}, None  # nothing was written
    if change.attributes is None:
        return _access(change.action, change.entry)
    if not change.scim_id:
        return sent, {}  # a new account
    if EXTERNAL_ID in change.entry.drift:
        sent = {**sent, EXTERNAL_ID: change.user_id}
    if change.before is None:
        return sent, None
    before, wanted = change.before, changed_attributes(change.entry.fingerprint, change.attributes)
    drifted = {target for target in wanted if not change.adopts and before.get(target) == wanted[target]}
    known = {target: before[target] for target in sent if target in before and target not in drifted}
    return sent, known or None


def _access(action: Action, entry: Entry) -> tuple[dict[str, Value], dict[str, Value]]:
    return {ACTIVE: action in (Action.UNSUSPEND, Action.UNLOCK)}, {ACTIVE: entry.status is Status.ACTIVE}


def _remark(outcome: Outcome) -> str:
    change = outcome.change
    if change.locked:
        return _joined("The account was locked in Keeper by someone else and stays so.", _confirmation(change))
    if outcome.gone or not outcome.scim_id:
        return "The account no longer exists in Keeper."
    if change.suspended:
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


def count(events: list[Event]) -> dict[str, int]:
    """Count events in the words of a run's summary."""
    counts: dict[str, int] = {}
    for event in events:
        if event.name in COUNT_OF:
            name = COUNT_OF[event.name]
            counts[name] = counts.get(name, 0) + 1
        if event.unsent:
            counts[UNSENT] = counts.get(UNSENT, 0) + 1
    return counts


UNDER_ALIASES = "under_aliases"  # among a run's counts: new accounts beside one under an alias of their user


def created_beside(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Count the new accounts of users under one of whose aliases another account stands."""
    number = sum(bool(outcome.change.beside and outcome.scim_id) for outcome in outcomes)
    return {UNDER_ALIASES: number} if number else {}


def kept_back(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Count the changes that the guard refused when they were about to be sent: they are held."""
    number = sum(isinstance(outcome.error, Unsafe) for outcome in outcomes)
    return {"held": number} if number else {}


def exhausts_seats(outcome: Outcome) -> bool:
    """Say whether Keeper refused a creation for want of licensed seats (428): no more creations in that run."""
    return isinstance(outcome.error, SeatsExhausted)


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
    unseen = entry.shown is None or remembers(entry.shown, target, None)
    return unseen and made_of(target, shown, desired)


def _as_written(entry: Entry, account: Account, desired: Attributes | None) -> tuple[dict[str, Value], set[str]]:
    """Return the account's attributes, as they were sent where Keeper shows them otherwise, and which of them are new.

    New is what the change of the mark sent and the account did not have before. An attribute that the server does not
    return tells nothing: it is taken as sent where another one shows that the change was carried out, else as it was.
    """
    shown, wanted = aligned(account, desired), desired or {}
    assert entry.mark is not None  # noqa: S101 - told by the caller
    sent = entry.mark.sent or one_by_one(changed_attributes(entry.fingerprint, wanted))
    untold = {target for target, value in shown.items() if value is None and _unreturned(entry, target)}
    as_wanted = {target for target, value in wanted.items() if remembers(sent, target, value)}

    def arrived(target: str, value: Value) -> bool:
        if holds(entry.fingerprint, target, value) or remembers(entry.shown or "", target, value):
            return False  # it was there before
        return made_of(target, shown, wanted) if target in as_wanted else remembers(sent, target, value)

    new = {target for target, value in shown.items() if target not in untold and arrived(target, value)}
    if new:
        new |= {target for target in untold & as_wanted if not holds(entry.fingerprint, target, wanted[target])}
    kept = {target for target in untold & set(wanted) if holds(entry.fingerprint, target, wanted[target])}
    kept |= {target for target in wanted if in_step(entry, target, shown, wanted)} | (new & as_wanted)
    return {target: wanted[target] if target in kept else value for target, value in shown.items()}, new


def _unreturned(entry: Entry, target: str) -> bool:
    """Say whether an account without this attribute says nothing of it: this server may never return it."""
    return entry.shown is None or remembers(entry.shown, target, None)


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
            gone = replace(cleared, status=Status.SUSPENDED, deleted=True, locked_at=now, last_action_at=now)
            return gone, mark.change_id, True
        return cleared, mark.change_id, False
    values, new = _as_written(entry, account, desired)
    open_again = account.active and entry.status is Status.SUSPENDED  # re-created in Keeper: to be suspended anew
    found = replace(
        cleared,
        scim_id=account.scim_id,
        email=str(values.get("userName") or account.user_name),
        fingerprint=fingerprint(values),
        status=Status.ACTIVE if open_again else entry.status,
        deleted=entry.deleted and not open_again,
        drift=tuple(name for name in entry.drift if name != ACCOUNT),
    )
    written = replace(found, applied_by=mark.change_id, shown=None, drift=())
    if mark.action is Action.UPDATE and _recreated(entry, account):
        return replace(written, last_action_at=now), mark.change_id, True
    match mark.action:
        case Action.CREATE if account.scim_id != entry.scim_id:  # else the one that had vanished is there again
            status = Status.ACTIVE if account.active else Status.SUSPENDED if remembers_lock(entry) else Status.LOCKED
            locked_at = now if status is not Status.ACTIVE else None
            return replace(written, status=status, locked_at=locked_at, last_action_at=now), mark.change_id, True
        case Action.SUSPEND | Action.DELETE if not account.active and entry.status is not Status.SUSPENDED:
            locked = replace(found, status=Status.SUSPENDED, deleted=mark.action is Action.DELETE, locked_at=now)
            return replace(locked, last_action_at=now), mark.change_id, True
        case Action.UNSUSPEND | Action.UNLOCK if account.active:
            let_in = replace(found, status=Status.ACTIVE, deleted=False, locked_at=None, last_action_at=now)
            return let_in, mark.change_id, True
        case Action.UPDATE if new:
            return written, mark.change_id, True
    return found, mark.change_id, False


def _recreated(entry: Entry, account: Account) -> bool:
    """Say whether another account has our externalId: the known one had vanished, and a new one was created."""
    return bool(entry.scim_id) and account.scim_id != entry.scim_id


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
    after, new = _as_written(entry, account, desired)
    if mark.action is Action.CREATE:  # or it was an adoption: then nobody knows any more what was there
        filled = {target: value for target, value in after.items() if value is not None}
        reason = RECREATED if _recreated(entry, account) else ""
        return replace(event, changed=filled, after=after, reason=reason)
    if _recreated(entry, account):
        filled = {target: value for target, value in after.items() if value is not None}
        return replace(event, changed=filled, before={}, after=after, reason=RECREATED)
    differing = {target: after[target] for target in sorted(new)}
    was = {target: before[target] for target in differing if before is not None and target in before}
    return replace(event, changed=differing, before=was or None, after=after)
