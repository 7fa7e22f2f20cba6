"""Find the accounts of users in Keeper, by directory id and addresses, and claim those that may become theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from autoprovisioning.app.ports.claims import Claim
from autoprovisioning.app.provisioning.adoption_grounds import AdoptionGrounds, deleted_addresses
from autoprovisioning.app.provisioning.claiming import claim
from autoprovisioning.app.provisioning.taken_addresses import taken_elsewhere
from autoprovisioning.app.provisioning.target import Keeper
from autoprovisioning.app.services import Services
from autoprovisioning.app.unforeseen import known_or_unforeseen
from autoprovisioning.domain.accounts import Account, Found, Lookup
from autoprovisioning.domain.adoption import choose, locked_by_us
from autoprovisioning.domain.changes import Change, Outcome, remembers_lock
from autoprovisioning.domain.comparison import aligned, differing
from autoprovisioning.domain.entry import Action, Status
from autoprovisioning.domain.errors import ProvisioningError

CLAIMS_AT_ONCE = 16


class AccountSearch:
    """Searches one connection for the accounts of changes, which may be adopted by what `domain.adoption` says."""

    def __init__(self, services: Services, keeper: Keeper) -> None:
        self._services = services
        self._keeper = keeper
        deleted = partial(deleted_addresses, services.directory)
        self._grounds = AdoptionGrounds(services, keeper.connection, deleted, {})

    def unclaimed(self, changes: Sequence[Change]) -> list[Change]:
        """Claim the accounts that the plan chose for adoption; returns the changes that came too late."""
        adopting = [change for change in changes if change.adopts]
        claimed = self._services.executor.each(self._claim, adopting, CLAIMS_AT_ONCE)
        return [change for change, ours in zip(adopting, claimed, strict=True) if not ours]

    def look_up(self, changes: Sequence[Change], found: list[Change]) -> Iterator[Outcome]:
        """Search Keeper; changes with a known answer join those `found`, the rest are outcomes already."""
        for change, answer in self._keeper.through({change.id: change for change in changes}, self._search):
            try:
                found.append(self._matched(change, answer))
            except ProvisioningError as error:
                yield Outcome(change=change, error=error)

    def _search(self, changes: Sequence[Change]) -> Iterator[Found]:
        return self._keeper.accounts().find(
            [Lookup(key=change.id, external_id=change.user_id, user_names=_names_to_ask(change)) for change in changes]
        )

    def _claim(self, change: Change) -> bool:
        ours = Claim(user_id=change.user_id, change_id=change.id)
        return claim(self._services, self._keeper.connection, change.scim_id, ours)

    def _matched(self, change: Change, found: Found) -> Change:
        """Return the change with the account found for it, of which it may become the owner, or with none.

        Raises:
            ProvisioningError: that cannot be told, or the account is somebody else's.
        """
        if found.error is not None:
            raise known_or_unforeseen(found.error)
        choice = choose(found.accounts, change.seeker(), self._grounds)
        account = choice.account
        if account is None:
            return replace(change, beside=choice.beside)
        ours, wanted = account.external_id == change.user_id, change.attributes
        leaves: Status | None = None
        if account.active and change.action is Action.UPDATE and change.entry.status is Status.SUSPENDED:
            leaves = Status.ACTIVE
        elif not account.active and _stays_locked(change, account):
            own = (ours and remembers_lock(change.entry)) or locked_by_us(account, change.user_id, self._grounds.locks)
            leaves = Status.SUSPENDED if own else Status.LOCKED
        matched = replace(
            change,
            scim_id=account.scim_id,
            adopts=True,
            before=(differing(account, wanted) if ours else aligned(account, wanted)) if wanted else {},
            ours=ours,
            confirmed=choice.confirmed,
            beside=(),
        ).finds(leaves)
        if not self._claim(matched):
            raise taken_elsewhere(change)
        return matched


def _names_to_ask(change: Change) -> tuple[str, ...]:
    """Return the addresses to look under; none for somebody who has no access any more: there may be a newcomer."""
    leaver = change.action.deprovisions or (change.action is Action.UPDATE and change.entry.status is not Status.ACTIVE)
    return () if leaver else change.seeker().names


def _stays_locked(change: Change, account: Account) -> bool:
    """Say whether an inactive account that was found stays so, and is not the one that we had suspended."""
    if change.action in (Action.UNSUSPEND, Action.UNLOCK):
        return account.external_id != change.user_id
    return change.action is Action.CREATE or (change.action is Action.UPDATE and change.entry.status is Status.ACTIVE)
