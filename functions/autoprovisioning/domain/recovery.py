"""Find out what a change did whose answer was lost: once its mark has expired, the account shows it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from .accounts import Account, Attributes, Value, changed_attributes, fingerprint, holds, one_by_one, only_of, remembers
from .changes import Change, Outcome, recorded, remembers_lock
from .comparison import aligned, in_step, unreturned
from .entry import ACCOUNT, EXTERNAL_ID, Action, Entry, Mark, Status
from .errors import Unresolved
from .normalization import made_of


def _as_written(
    entry: Entry, mark: Mark, account: Account, wanted: Attributes, known: Attributes
) -> tuple[dict[str, Value], set[str]]:
    """Return the account's attributes, as sent where Keeper only stores them differently, and which of them are new.

    New is what the marked change sent and the account did not have before. An attribute that the server does not
    return proves nothing: it counts as sent if another one shows that the change was carried out, else as unchanged.
    """
    # What no row maps any more, and the account shows no more, this change may have removed.
    absent = dict.fromkeys(target for target in known if not unreturned(entry, target))
    held = {**absent, **account.attributes}
    unmapped = {target: value for target, value in held.items() if remembers(mark.sent, target, value)}
    shown = {**unmapped, **aligned(account, wanted)}
    sent = mark.sent or one_by_one(changed_attributes(entry.fingerprint, wanted))
    untold = {target for target, value in shown.items() if value is None and unreturned(entry, target)}
    as_wanted = {target for target, value in wanted.items() if remembers(sent, target, value)}

    def arrived(target: str, value: Value) -> bool:
        if holds(entry.fingerprint, target, value) or remembers(entry.shown, target, value):
            return False  # it was there before
        if value is None and known and target not in known:
            return False  # it was not mapped before, so its absence is nothing new
        return made_of(target, shown, wanted) if target in as_wanted else remembers(sent, target, value)

    new = {target for target, value in shown.items() if target not in untold and arrived(target, value)}
    missed = any(not made_of(target, shown, wanted) for target in as_wanted - untold)
    # Keeper had another value before: somebody else's, or the one that was written last.
    otherwise = not new.isdisjoint(entry.drift) or any(known.get(each, shown[each]) != shown[each] for each in new)
    # All of it is as we wrote it last, and the account was not seen with anything else since.
    as_known = new <= known.keys() and only_of(entry.fingerprint, known)
    if mark.action is Action.UPDATE and not otherwise and (missed or as_known):
        new = set()  # it was there before, or may have been: a PATCH is carried out whole (RFC 7644 3.5.2)
    if new:
        new |= {target for target in untold & as_wanted if not holds(entry.fingerprint, target, wanted[target])}
    kept = (new & as_wanted) | {
        target
        for target, value in wanted.items()
        if (target in untold and holds(entry.fingerprint, target, value)) or in_step(entry, target, shown, wanted)
    }
    return {target: wanted[target] if target in kept else value for target, value in shown.items()}, new


UNDONE = "Keeper did not carry this out, and gave no reason. It is retried; if it keeps failing, ask Keeper's support."


def recover(
    entry: Entry, account: Account | None, desired: Attributes, before: Attributes, now: datetime
) -> tuple[Entry, Outcome]:
    """Settle an expired mark by the account itself, which shows what the change did.

    `before` is what had been written last, if known. Returns the entry without its mark, and the outcome: Unresolved
    if the change had no effect, which counts as this user's failure.
    """
    mark = entry.mark
    assert mark is not None  # noqa: S101 - the caller saw it
    values: dict[str, Value] = {}
    new, found = set[str](), entry
    if account is not None:
        values, new = _as_written(entry, mark, account, desired, before)
        # If somebody reactivated it, it is to be suspended again.
        found = replace(
            (entry.reopened() if account.active else entry).without_drift(ACCOUNT),
            scim_id=account.scim_id,
            email=str(values.get("userName") or account.user_name),
            fingerprint=fingerprint(values),
        )
    change = Change(
        id=mark.change_id,
        entry=entry,
        action=mark.action,
        email=found.email,
        attributes=desired if mark.action.writes else {},
        scim_id=found.scim_id,
    )
    if not _took_effect(entry, mark, account, new):
        undone = Outcome(change=change, error=Unresolved(UNDONE), recovered=True)
        settled = recorded(replace(found, mark=None), undone, now)
        return replace(settled, version=entry.version + 1), undone
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
        # A creation may have been an adoption: what was there before is not known any more.
        done = replace(done, change=replace(change, attributes=values, recreates=recreates), sent=sent)
    return recorded(found, done, now), done


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
