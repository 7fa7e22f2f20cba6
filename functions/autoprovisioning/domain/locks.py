"""Locks of accounts that nobody provisions: an administrator chooses each, a held plan is decided, it can be undone.

Nothing tells when such an account is due, so nothing but that decision locks it. What counts right before is what
Keeper, the rosters and the directory show then: `why_not`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from .accounts import Account
from .directory_user import DirectoryUser
from .entry import Action, Entry, Status
from .events import Actor, Event, EventName, Stamp, changed
from .guard import Member
from .unprovisioned import Report, Unprovisioned

GONE = "Keeper has no such account any more"
PROVISIONED = "a connection provisions it by now"
OTHERWISE = "its userName or externalId is another one than when it was chosen"
ENTITLED = "somebody whom the directory entitles to access has its externalId or address"
LOCKED = "somebody else locked it in Keeper meanwhile"
UNLOCKED = "somebody unlocked it in Keeper meanwhile"
UNLISTED = "it is no longer among the active accounts that nobody provisions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """An account that an administrator chose to have locked, as it was then, and what became of that.

    It waits for a decision until it is locked (`locked_at`) or not due any more (`ended` says why). `change_id` and
    `until` are the mark: a request may be under way, and once that has passed its outcome is unknown.
    """

    account: Unprovisioned
    by: str
    at: datetime
    administrator: bool | None = None  # whether its owner administers Workspace; None where that is not known
    change_id: str = ""
    until: datetime | None = None
    approved_by: str = ""
    locked_at: datetime | None = None
    ended: str = ""
    unlock_by: str = ""  # who asked to undo it

    @property
    def waits(self) -> bool:
        """Say whether it is still to be locked, as far as that is approved."""
        return self.locked_at is None and not self.ended

    @property
    def returns(self) -> bool:
        """Say whether it is to be unlocked."""
        return self.locked_at is not None and bool(self.unlock_by)

    @property
    def over(self) -> bool:
        """Say whether nothing more is to be done, be it locked or not."""
        return not (self.waits or self.returns)

    @property
    def member(self) -> Member:
        """Name it in a held plan; whoever chooses the account again is asked again."""
        account = self.account
        at = self.at.replace(microsecond=0)
        return Member(resource=account.scim_id, action=Action.LOCK.value, trigger=account.user_name, since=at)

    @property
    def entry(self) -> Entry:
        """Return what a roster would have of it: held plans are settled by that."""
        status = Status.ACTIVE if self.locked_at is None else Status.SUSPENDED
        return Entry(user_id=self.account.scim_id, status=status, last_action_at=self.locked_at)

    def live(self, now: datetime) -> bool:
        """Say whether somebody may be working on it."""
        return self.until is not None and now < self.until

    def marked(self, change_id: str, until: datetime, approved_by: str) -> Lock:
        """Return it as it is while a request may be under way."""
        return replace(self, change_id=change_id, until=until, approved_by=approved_by or self.approved_by)

    def unmarked(self) -> Lock:
        """Return it as it is if nothing was sent."""
        return replace(self, change_id="", until=None)

    def outlived(self, report: Report) -> bool:
        """Say whether a report that came after the choice no longer has the account; one under way may be why."""
        return self.until is None and report.at > self.at and all(row.scim_id != self.key for row in report.accounts)

    @property
    def key(self) -> str:
        """Return the SCIM id."""
        return self.account.scim_id


Locks = Mapping[str, Lock]  # by SCIM id


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose an account may be, by its externalId, its address or an alias, and whether the directory entitles them.

    Both are None if the directory does not tell; `users` are all whom it showed.
    """

    users: tuple[DirectoryUser, ...] = ()
    entitled: bool | None = False

    @property
    def administrator(self) -> bool | None:
        """Say whether one of them administers Workspace."""
        found = any(user.is_admin or user.is_delegated_admin for user in self.users)
        return True if found else None if self.entitled is None else False


def why_not(lock: Lock, account: Account | None, owner: Owner, *, provisioned: bool) -> str:
    """Say why an account is not to be locked, or unlocked again, after all; empty where it is.

    What is to be unlocked may be anybody's: that gives back what was there before.
    """
    if account is None:
        return GONE
    if provisioned:
        return PROVISIONED
    known = lock.account
    if account.external_id != known.external_id or account.user_name.casefold() != known.user_name.casefold():
        return OTHERWISE
    if lock.returns:
        return UNLOCKED if account.active else ""
    if owner.entitled:
        return ENTITLED
    return "" if account.active else LOCKED


def done(lock: Lock, account: Account) -> bool:
    """Say whether an earlier attempt, whose outcome was unknown, did it."""
    return lock.until is not None and account.active is lock.returns


def after(lock: Lock, at: datetime) -> Lock | None:
    """Return what is kept of it once it was carried out; None once it is unlocked."""
    return None if lock.returns else replace(lock.unmarked(), locked_at=at)


def not_after_all(lock: Lock, reason: str) -> Lock | None:
    """Return what is kept of it once it is not to be carried out; None of what is not ours to unlock any more."""
    return None if lock.returns else replace(lock.unmarked(), ended=reason)


def told(lock: Lock, at: datetime, reason: str = "", *, failed: str = "", recovered: bool = False) -> Event:
    """Record what became of it: carried out, or else not for a `reason`; `failed` is the code of an error."""
    by = lock.unlock_by if lock.returns else lock.approved_by or lock.by
    stamp = Stamp(id=lock.change_id, at=at, by=Actor(address=by))
    whom = {"user_id": lock.account.user_id, "email": lock.account.user_name}
    what = "unlocked again" if lock.returns else "locked"
    chosen = f"{lock.by} chose it, {lock.approved_by} approved"
    asked = f"{lock.unlock_by} asked for it" if lock.returns else chosen
    action = Action.UNSUSPEND if lock.returns else Action.SUSPEND  # to which versions before the locks have a name
    if reason:
        name = EventName.FAILED if failed else EventName.CONFIGURED
        said = f"Account {lock.key} that nobody provisions was not {what}: {reason}"
        return changed(stamp, name, **whom, attempted=action if failed else None, reason=said, code=failed)
    name = EventName.UNSUSPENDED if lock.returns else EventName.SUSPENDED
    return changed(
        stamp,
        name,
        **whom,
        attempted=action,
        changed={"active": lock.returns},
        before={"active": not lock.returns},
        reason=f"Account {lock.key}, which nobody provisions, was {what}: {asked}",
        recovered=recovered,
    )


def kept(locks: Iterable[Lock], most: int) -> dict[str, Lock]:
    """Return locks by their SCIM ids; of too many, those that are over go first, the oldest of them first."""
    known = {lock.key: lock for lock in locks}
    spare = sorted((lock for lock in known.values() if lock.over), key=lambda lock: lock.at)
    for lock in spare[: max(0, len(known) - most)]:
        del known[lock.key]
    return known


def still_active(report: Report, ignored: Container[str], locks: Locks) -> list[Unprovisioned]:
    """Return the accounts of a report that are neither ignored nor locked since."""
    return [row for row in report.without(ignored) if not locked_since(locks.get(row.scim_id), report.at)]


def locked_since(lock: Lock | None, at: datetime) -> bool:
    """Say whether an account was locked after a report, which then tells nothing about it."""
    return lock is not None and lock.locked_at is not None and lock.locked_at >= at


def latest_first(locks: Locks) -> list[Lock]:
    """Return them in the order in which they were chosen, the latest first."""
    return sorted(locks.values(), key=lambda lock: (lock.at, lock.key), reverse=True)
