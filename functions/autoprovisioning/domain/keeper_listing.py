"""Keeper's own listing of a node, and what it shows of a roster entry: drift to be planned away, or somebody's lock."""

from __future__ import annotations

import marshal
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import replace
from datetime import datetime
from functools import cached_property

from .accounts import (
    Account,
    Attributes,
    changed_attributes,
    fingerprint,
    remembered,
)
from .changes import made
from .comparison import aligned, in_step
from .entry import ACCESS, ACCOUNT, EXTERNAL_ID, GROUPS, Entry, Status, Unseen

LOCK = "lock"  # among what somebody else changed in Keeper: it is reported, and left as it is


class Listing(Mapping[str, Account]):
    """Keeper's own listing of a node: its accounts by SCIM id, and what of them this server tells at all.

    One that cannot be addressed is there by its userName. A drift run holds the whole node in memory, so each account
    is packed, which takes a quarter of its memory, and made again when it is asked for.
    """

    def __init__(self, accounts: Iterable[Account], roster: Mapping[str, Entry]) -> None:
        """Take the accounts as they are listed; those of the `roster` are kept under the very ids that it holds."""
        self.told: set[str] = set()  # attributes of which at least one account has a value
        self.there: Collection[str] = ()  # teams that Keeper has, if it was asked: whose membership somebody ended
        self._tells_owners = False
        self._tells_teams = False
        self._packed: dict[str, bytes] = {}
        self._shapes: dict[tuple[str, ...], int] = {}  # by the names of the attributes
        self._names: list[tuple[str, ...]] = []  # by the number of the shape
        self._numbers: dict[tuple[str, ...], int] = {}  # of those teams together
        self._teams: list[tuple[str, ...]] = []  # by that number
        for account in accounts:
            entry = roster.get(account.external_id)
            known = entry is not None and entry.scim_id == account.scim_id
            key = entry.scim_id if entry is not None and known else account.scim_id or account.user_name
            self._packed[key] = self._pack(account)

    def _pack(self, account: Account) -> bytes:
        shown = {target: value for target, value in account.attributes.items() if value is not None}
        names = tuple(shown)
        shape = self._shapes.setdefault(names, len(self._names))
        if shape == len(self._names):
            self._names.append(names)
            self.told.update(names)
        self._tells_owners = self._tells_owners or bool(account.external_id)
        created = account.created.isoformat() if account.created is not None else ""
        head = account.user_name, account.external_id, account.active, created, bool(account.scim_id), account.flaw
        return marshal.dumps((shape, self._number(account.teams), *head, *shown.values()))

    def _number(self, teams: tuple[str, ...] | None) -> int:
        """Return the number of these teams together, which many accounts have in common."""
        self._tells_teams = self._tells_teams or teams is not None
        number = self._numbers.setdefault(teams or (), len(self._teams))
        if number == len(self._teams):
            self._teams.append(teams or ())
        return number

    def __getitem__(self, key: str) -> Account:
        """Return one account."""
        shape, number, user_name, external_id, active, created, named, flaw, *values = marshal.loads(self._packed[key])  # noqa: S302 - ours
        return Account(
            scim_id=key if named else "",
            user_name=user_name,
            external_id=external_id,
            active=active,
            attributes=dict(zip(self._names[shape], values, strict=True)),
            created=datetime.fromisoformat(created) if created else None,
            flaw=flaw,
            teams=self._teams[number] if self._tells_teams else None,
        )

    def __contains__(self, key: object) -> bool:
        """Say whether there is such an account."""
        return key in self._packed

    def __iter__(self) -> Iterator[str]:
        """Go through the keys, in the order of the listing."""
        return iter(self._packed)

    def __len__(self) -> int:
        """Count the accounts."""
        return len(self._packed)

    def disowned(self, account: Account, entry: Entry) -> bool:
        """Say whether an account of ours carries another externalId, where this server tells any."""
        return self._tells_owners and account.external_id != entry.user_id and not entry.taken_over

    def moved(self, entry: Entry) -> bool:
        """Say whether the user of a missing account may have another one, re-created there by somebody."""
        return entry.user_id in self._owners or entry.email.casefold() in self._user_names

    @cached_property
    def _owners(self) -> frozenset[str]:
        return frozenset(account.external_id for account in self.values() if account.external_id)

    @cached_property
    def _user_names(self) -> frozenset[str]:
        return frozenset(account.user_name.casefold() for account in self.values())

    def missed_teams(self, roster: Iterable[Entry]) -> bool:
        """Say whether an account lacks a team that it was in by our doing: whoever asks then says which are `there`."""
        return any(
            _missed(entry, account)
            for entry in roster
            if entry.teams and (account := self.get(entry.scim_id)) is not None
        )


def as_found(entry: Entry, listing: Listing, desired: Attributes, now: datetime, *, entitled: bool) -> Entry:
    """Return the entry as Keeper's own listing shows the account: drift to be repaired, or a lock to be respected.

    What this server never returns is taken as applied. How it stores the values that we wrote is not drift, and is
    remembered if no answer to a write had shown it. For a leaver without a profile (`desired` empty) only access
    counts: somebody may have given it back in Keeper. The names of what changed are added to `drift`.
    """
    if entry.status is Status.NONE or entry.mark is not None or made(entry):
        return entry
    account = listing.get(entry.scim_id)
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
    elif account.external_id == entry.user_id:
        found = found.without_drift(EXTERNAL_ID)
    found = _teams_found(found, account, listing.there, now)
    return _values_found(found, account, listing.told, desired) if desired and not found.deleted else found


def _missed(entry: Entry, account: Account) -> frozenset[str]:
    """Return the teams that an account with access was seen in, and is not shown in any more."""
    if account.teams is None or not account.active:
        return frozenset()  # what answers show of the teams of who is locked is not known
    return frozenset(entry.teams).difference(account.teams, (each.team_id for each in entry.unseen))


def _teams_found(entry: Entry, account: Account, there: Collection[str], now: datetime) -> Entry:
    """Return the entry with what the listing shows of its memberships: those that arrived, and those that are gone.

    One that was never shown waits. A team that is gone as a whole says nothing of anybody's membership.
    """
    if account.teams is None or not entry.teams:
        return entry
    waits = (each for each in entry.unseen if each.team_id in entry.teams and each.team_id not in account.teams)
    ended = sorted(_missed(entry, account).intersection(there))
    unseen = (*waits, *(Unseen(team_id=team_id, since=now, seen=True) for team_id in ended))
    return entry if unseen == entry.unseen else replace(entry, unseen=unseen)


def _values_found(entry: Entry, account: Account, told: Set[str], desired: Attributes) -> Entry:
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
    never where the account carries another externalId. So is what the entry had already to be created or claimed
    again: a plan that is held may be about it.
    """
    stays = {ACCESS, *({EXTERNAL_ID} if found.status is Status.LOCKED else ())}
    stays |= {ACCOUNT, EXTERNAL_ID}.intersection(entry.drift)
    drift = tuple(name for name in found.drift if name in stays)
    return replace(found, fingerprint=entry.fingerprint, drift=drift)


def new_drift(entry: Entry, found: Entry) -> tuple[str, ...]:
    """Return what somebody else changed in Keeper since the listing before; () where nothing.

    A lock is among it, and that somebody took the account out of a team.
    """
    names = tuple(name for name in found.drift if name not in entry.drift)
    if ended_teams(entry, found):
        names = (*names, GROUPS)
    return (*names, LOCK) if found.status is Status.LOCKED and entry.status is not Status.LOCKED else names


def ended_teams(entry: Entry, found: Entry) -> Set[str]:
    """Return the teams that somebody took an account out of since the listing before."""
    before, now = ({each.team_id for each in one.unseen if each.seen} for one in (entry, found))
    return now - before
