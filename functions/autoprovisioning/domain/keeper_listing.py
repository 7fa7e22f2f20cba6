"""Keeper's own listing of a node, and what it shows of a roster entry: drift to be planned away, or somebody's lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from .accounts import (
    Account,
    Attributes,
    changed_attributes,
    fingerprint,
    remembered,
)
from .changes import made
from .comparison import aligned, in_step
from .entry import ACCESS, ACCOUNT, EXTERNAL_ID, Entry, Status

LOCK = "lock"  # among what somebody else changed in Keeper: it is reported, and left as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Keeper's own listing of a node: the accounts by SCIM id, and what of them this server tells at all."""

    accounts: Mapping[str, Account]
    told: frozenset[str]
    owned: frozenset[str]  # the externalIds of the accounts
    names: frozenset[str]  # their userNames, casefolded

    @classmethod
    def of(cls, accounts: Mapping[str, Account]) -> Listing:
        """Index a listing."""
        found = accounts.values()
        told = (target for account in found for target, value in account.attributes.items() if value is not None)
        owned = frozenset(account.external_id for account in found if account.external_id)
        return cls(
            accounts=accounts,
            told=frozenset(told),
            owned=owned,
            names=frozenset(account.user_name.casefold() for account in found),
        )

    def disowned(self, account: Account, entry: Entry) -> bool:
        """Say whether an account of ours carries another externalId, where this server tells any."""
        return bool(self.owned) and account.external_id != entry.user_id and not entry.taken_over

    def moved(self, entry: Entry) -> bool:
        """Say whether the user of a missing account may have another one, re-created there by somebody."""
        return entry.user_id in self.owned or entry.email.casefold() in self.names


def as_found(entry: Entry, listing: Listing, desired: Attributes, now: datetime, *, entitled: bool) -> Entry:
    """Return the entry as Keeper's own listing shows the account: drift to be repaired, or a lock to be respected.

    What this server never returns is taken as applied. How it stores the values that we wrote is not drift, and is
    remembered if no answer to a write had shown it. For a leaver without a profile (`desired` empty) only access
    counts: somebody may have given it back in Keeper. The names of what changed are added to `drift`.
    """
    if entry.status is Status.NONE or entry.mark is not None or made(entry):
        return entry
    account = listing.accounts.get(entry.scim_id)
    if account is None:
        if entry.deleted and not entitled:
            return entry  # this server deletes on DELETE
        if not listing.moved(entry):
            return entry.drifted(ACCOUNT)
        if not desired:
            return entry
        # An update meets the 404, and then looks for the other one; nobody's lock outlives the account.
        found = entry.reopened() if entry.status is Status.LOCKED else entry
        return replace(found, fingerprint="")
    found = entry.without_drift(ACCOUNT)
    if account.active is not (entry.status is Status.ACTIVE):
        found = found.reopened() if account.active else found.locked(now)
    if account.active and entry.status is Status.SUSPENDED:
        found = found.drifted(ACCESS)
    if listing.disowned(account, entry):
        found = found.drifted(EXTERNAL_ID)
    elif found.status is Status.LOCKED and account.external_id == entry.user_id:
        found = found.without_drift(EXTERNAL_ID)
    return _values_found(found, account, listing.told, desired) if desired and not found.deleted else found


def _values_found(entry: Entry, account: Account, told: frozenset[str], desired: Attributes) -> Entry:
    """Return the entry with what Keeper's own listing shows of the attributes."""
    shown = aligned(account, desired)
    otherwise = [target for target in desired if target in told and shown[target] != desired[target]]
    if not otherwise and entry.shown is not None:
        return entry
    anew = changed_attributes(entry.fingerprint, desired)  # changed in the directory: written in any case
    differs = [target for target in otherwise if target not in anew and not in_step(entry, target, shown, desired)]
    if not differs:
        memory = remembered(shown, {target: desired[target] for target in otherwise})
        return entry if anew else replace(entry, shown=memory)
    actual = {target: shown[target] if target in anew or target in differs else desired[target] for target in desired}
    return replace(entry, fingerprint=fingerprint(actual)).drifted(*differs)


def without_repair(entry: Entry, found: Entry) -> Entry:
    """Return the entry as found, with nothing to be repaired but access that somebody gave: the rest is only reported.

    A lock is kept: it is an observation, and what somebody else locked is unlocked only by approval in any case, and
    never where the account carries another externalId.
    """
    stays = (ACCESS, EXTERNAL_ID) if found.status is Status.LOCKED else (ACCESS,)
    drift = tuple(name for name in found.drift if name in stays)
    return replace(found, fingerprint=entry.fingerprint, drift=drift)


def new_drift(entry: Entry, found: Entry) -> tuple[str, ...]:
    """Return what somebody else changed in Keeper since the listing before, a lock included; () where nothing."""
    names = tuple(name for name in found.drift if name not in entry.drift)
    return (*names, LOCK) if found.status is Status.LOCKED and entry.status is not Status.LOCKED else names
