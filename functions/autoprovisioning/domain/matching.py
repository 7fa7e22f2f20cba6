"""Match the creations of a plan with what Keeper lists: adopt, create without another lookup, or refuse."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .accounts import (
    Account,
)
from .adoption import Grounds, Known, Seeker, choose, locked_by_us
from .changes import PlannedChange
from .comparison import differing
from .decision import (
    about,
)
from .entry import Action
from .errors import NotAdoptable
from .mapping import addresses
from .plan import Plan, Refusal


def match_accounts(plan: Plan, pages: Iterable[Iterable[Account]], grounds: Grounds) -> dict[str, str]:
    """Match the creations of a plan with a listing of Keeper: adopt, create without another lookup, or refuse.

    Returns the userNames of the accounts to adopt, by SCIM id.

    Nothing is indexed before Keeper shows an account, and of those only what decides is kept: a first run into an empty
    node plans as many creations as the directory has users.
    """
    found: dict[str, list[Account]] = {}
    wanted: _Wanted | None = None
    for page in pages:
        for account in page:
            wanted = wanted or _Wanted(plan.writes)
            for user_id in wanted.takers(account):
                ours = account.external_id == user_id
                found.setdefault(user_id, []).append(account if ours else replace(account, attributes={}))
    if found:  # what decides is read before the plan is taken apart: it may fail
        grounds = Known(
            held_by=grounds.held_by,
            deleted_addresses=grounds.deleted_addresses,
            confirmed=grounds.confirmed,
            locks=grounds.locks,
        )
    kept: list[PlannedChange] = []
    taken: dict[str, str] = {}
    while plan.writes:
        change = plan.writes.pop()
        if change.action is Action.CREATE:
            try:
                change = _matched(change, found.get(change.user_id, ()), grounds, taken)
            except NotAdoptable as error:
                what = about(Action.CREATE, change.attributes, error.about)
                refusal = Refusal(
                    user_id=change.user_id,
                    email=change.email,
                    action=Action.CREATE,
                    error=error,
                    about=what,
                    version=change.version,
                )
                plan.refusals.append(refusal)
                continue
        kept.append(change)
    plan.writes = kept
    return taken


class _Wanted:
    """Which account could become whose: by externalId, or by one of the addresses that a user has or had."""

    def __init__(self, writes: Iterable[PlannedChange]) -> None:
        self._users: set[str] = set()
        self._names: dict[str, str] = {}
        self._shared: dict[str, set[str]] = {}  # addresses that several users claim
        for change in writes:
            if change.action is Action.CREATE:
                self._users.add(change.user_id)
                for name in addresses(change.aliases, change.email, change.attributes):
                    first = self._names.setdefault(name, change.user_id)
                    if first != change.user_id:
                        self._shared.setdefault(name, {first}).add(change.user_id)

    def takers(self, account: Account) -> set[str]:
        """Return the ids of the users who could take an account."""
        name = account.user_name.casefold()
        takers = set(self._shared.get(name, ()))
        if name in self._names:
            takers.add(self._names[name])
        if account.external_id in self._users:
            takers.add(account.external_id)
        return takers


def _matched(
    change: PlannedChange, candidates: Iterable[Account], grounds: Grounds, taken: dict[str, str]
) -> PlannedChange:
    flaws = [found.flaw for found in candidates if found.flaw]
    if flaws:
        raise NotAdoptable(flaws[0])
    free = [account for account in candidates if account.scim_id not in taken]
    if not free:
        return replace(change, looked_up=True)
    seeker = Seeker.of(change.user_id, change.attributes, change.email, change.aliases, change.created)
    choice = choose(free, seeker, grounds)
    account = choice.account
    if account is None:
        return replace(change, looked_up=True, beside=choice.beside)
    taken[account.scim_id] = account.user_name
    ours = account.external_id == change.user_id
    suspended = locked_by_us(account, change.user_id, grounds.locks)
    return replace(
        change,
        looked_up=True,
        scim_id=account.scim_id,
        locked=not account.active and not suspended,
        suspended=suspended,
        confirmed=choice.confirmed,
        ours=ours,
        found=differing(account, change.attributes) if ours else change.found,
    )
