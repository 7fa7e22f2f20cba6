"""Active accounts in Keeper that no roster entry holds: whose each is, as far as the directory shows.

    account                                              its owner is                        offered
    its externalId is a directory id                     suspended or deleted                with all of its kind
    the same                                             active, not in scope, or archived   if chosen
    its externalId is unknown (deleted long ago, or      the user who had that id            if chosen
    another provisioner's)
    without an externalId of a directory user, its       suspended, deleted, archived, or    if chosen
    userName is somebody's primary address               not in scope
    anything else, an alias included                     not told                            never

Accounts whose owner is active and in scope are left out: a run adopts them, or says why not. An account taken over is
deprovisioned with its owner, and neither renamed nor unlocked before the owner returns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from .accounts import Account
from .directory_user import DirectoryUser, Presence
from .entry import Entry, Status

LEFT = (Presence.SUSPENDED, Presence.DELETED)


class By(StrEnum):
    """What shows whose an account is."""

    EXTERNAL_ID = "external_id"
    ADDRESS = "address"
    UNKNOWN_ID = "unknown_id"  # an externalId that the directory does not know, or not any more
    NOTHING = "nothing"


class Offer(StrEnum):
    """How an account may be taken over."""

    ALL = "all"
    CHOSEN = "chosen"
    NONE = "none"


class Suggestion(StrEnum):
    """What an account probably is, and so what to do about it."""

    LEAVER = "leaver"  # from before this connection
    OUT_OF_SCOPE = "out_of_scope"
    SECOND = "second"  # the owner has another one
    SHARED = "shared"  # nobody's: a service account, one that several people use, or somebody from outside


@dataclass(frozen=True, slots=True, kw_only=True)
class Unprovisioned:
    """One account, and its owner: `user_id` is empty where nothing tells; `since` is when the owner left.

    `found` is when a drift run first met it, None where an earlier version did.
    """

    scim_id: str
    user_name: str
    external_id: str
    by: By = By.NOTHING
    offer: Offer = Offer.NONE
    user_id: str = ""
    email: str = ""
    presence: Presence = Presence.UNKNOWN
    since: datetime | None = None
    found: datetime | None = None

    @property
    def suggestion(self) -> Suggestion:
        """Say what it probably is."""
        if not self.user_id:
            return Suggestion.SHARED
        if self.offer is Offer.NONE:
            return Suggestion.SECOND
        left = self.offer is Offer.ALL or self.by is By.UNKNOWN_ID or self.presence in LEFT
        return Suggestion.LEAVER if left else Suggestion.OUT_OF_SCOPE


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """An account that stays as it is: why, by whose word, and since when."""

    scim_id: str
    note: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a drift run found: of each account of the node that was active and on no roster.

    `digest` names the set of accounts: while it is the same, the directory need not be asked again.
    """

    at: datetime
    digest: str
    accounts: tuple[Unprovisioned, ...] = ()

    def without(self, ignored: Container[str]) -> list[Unprovisioned]:
        """Return the accounts that are not ignored, by their SCIM ids."""
        return [account for account in self.accounts if account.scim_id not in ignored]


def unprovisioned(listed: Mapping[str, Account], roster: Mapping[str, Entry]) -> list[Account]:
    """Return the active accounts that no entry holds, without those that an entry is about to hold.

    `listed` has them by SCIM id; those that are held, nearly all, are not looked at.
    """
    held = {entry.scim_id for entry in roster.values() if entry.scim_id}
    coming = {entry.user_id for entry in roster.values() if entry.mark is not None}
    others = (listed[key] for key in listed if key not in held)
    return [account for account in others if account.active and account.scim_id and account.external_id not in coming]


def digest_of(accounts: Iterable[Account]) -> str:
    """Name a set of accounts."""
    lines = sorted(f"{account.scim_id}\x1f{account.external_id}\x1f{account.user_name}" for account in accounts)
    return hashlib.blake2b("\x1e".join(lines).encode(), digest_size=16).hexdigest()


class OwnerSearch:
    """Joins accounts with the directory, a user at a time."""

    def __init__(self, accounts: Iterable[Account], roster: Mapping[str, Entry], archived_as_suspended: bool) -> None:
        """Join these; `roster` tells who has another account."""
        self.accounts = tuple(accounts)
        self._roster = roster
        self._left = (*LEFT, Presence.ARCHIVED) if archived_as_suspended else LEFT
        self._ids = {account.external_id for account in self.accounts if account.external_id}
        self._names = {account.user_name.casefold() for account in self.accounts}
        self._owners: dict[str, tuple[DirectoryUser, bool]] = {}  # by directory id: and whether they are entitled
        self._addresses: dict[str, tuple[DirectoryUser, bool]] = {}  # by primary address; whoever is listed first

    def see(self, user: DirectoryUser, in_scope: bool | None) -> None:
        """Take note of a user, live ones before deleted ones."""
        entitled = user.presence is Presence.ACTIVE and in_scope is not False
        if user.id in self._ids:
            self._owners.setdefault(user.id, (user, entitled))
        if user.primary_email.casefold() in self._names:
            self._addresses.setdefault(user.primary_email.casefold(), (user, entitled))

    def report(self, at: datetime, before: Report | None = None) -> Report:
        """Say whose the accounts are, once everybody was seen; the report before tells since when each is known."""
        known = {row.scim_id: row.found for row in before.accounts} if before is not None else {}
        rows = (row for account in self.accounts if (row := self._row(account)) is not None)
        found = [replace(row, found=known.get(row.scim_id, at)) for row in rows]
        order = (By.EXTERNAL_ID, By.UNKNOWN_ID, By.ADDRESS, By.NOTHING)
        found.sort(key=lambda row: (order.index(row.by), row.user_name))
        return Report(at=at, digest=digest_of(self.accounts), accounts=tuple(found))

    def _row(self, account: Account) -> Unprovisioned | None:
        """Return what is told of an account; None where a run adopts it."""
        bare = Unprovisioned(scim_id=account.scim_id, user_name=account.user_name, external_id=account.external_id)
        if account.external_id in self._owners:
            return self._of(bare, By.EXTERNAL_ID, *self._owners[account.external_id])
        if account.external_id:
            known = self._roster.get(account.external_id)
            free = known is None or known.status is Status.NONE
            offer = Offer.CHOSEN if free else Offer.NONE
            return replace(bare, by=By.UNKNOWN_ID, offer=offer, user_id=account.external_id)
        owner = self._addresses.get(account.user_name.casefold())
        return self._of(bare, By.ADDRESS, *owner) if owner is not None else bare

    def _of(self, bare: Unprovisioned, by: By, user: DirectoryUser, entitled: bool) -> Unprovisioned | None:
        known = self._roster.get(user.id)
        second = known is not None and known.status is not Status.NONE
        if entitled and not second:
            return None
        row = replace(bare, by=by, user_id=user.id, email=user.primary_email, presence=user.presence, since=user.since)
        if entitled or second or user.presence is Presence.UNKNOWN:
            return row  # nobody has two accounts on a roster
        return replace(row, offer=Offer.ALL if by is By.EXTERNAL_ID and user.presence in self._left else Offer.CHOSEN)
