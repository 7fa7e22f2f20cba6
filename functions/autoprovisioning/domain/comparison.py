"""What Keeper shows of an account beside what is desired and what we wrote."""

from __future__ import annotations

from .accounts import Account, Attributes, holds, remembers
from .entry import Entry
from .normalization import made_of, same


def differing(account: Account, desired: Attributes) -> Attributes:
    """Return what an account shows of those of the attributes in which it is not as desired."""
    shown = aligned(account, desired)
    return {target: shown[target] for target in desired if not same(target, shown[target], desired[target])}


def aligned(account: Account, desired: Attributes) -> Attributes:
    """Return the account's attributes in the terms of the mapping, so that fingerprints can be compared."""
    if not desired:
        return {target: value for target, value in account.attributes.items() if value is not None}
    return {target: account.attributes.get(target) for target in desired}


def in_step(entry: Entry, target: str, shown: Attributes, desired: Attributes) -> bool:
    """Say whether Keeper shows the desired value as it stores it: it is written, and nobody changed it there.

    If Keeper has not shown yet how it stores the value, any way it may do so counts.
    """
    value = shown.get(target)
    if same(target, value, desired[target]):
        return True
    if not holds(entry.fingerprint, target, desired[target]):
        return False
    return remembers(entry.shown, target, value) or (unreturned(entry, target) and made_of(target, shown, desired))


def unreturned(entry: Entry, target: str) -> bool:
    """Say whether the absence of this attribute means nothing: this server may never return it."""
    return entry.shown is None or remembers(entry.shown, target, None)
