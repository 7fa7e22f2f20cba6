"""Find accounts: by filter, each answer checked, or by one shared listing where filters are ignored."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from autoprovisioning.adapters.scim.paging import Kind, listed
from autoprovisioning.adapters.scim.protocol import (
    USERS,
    Answer,
    NotConnected,
    equals,
    error_of,
    is_listing,
    resources,
    total,
)
from autoprovisioning.adapters.scim.resources import read_listed
from autoprovisioning.adapters.scim.sending import Sender
from autoprovisioning.domain.accounts import Account, Lookup
from autoprovisioning.domain.errors import NotSent, Permanent, ProvisioningError, Throttled, Transient

LISTING_KEPT = 10.0  # seconds after its last use before a listing is freed
REFUSED_FOR = 3600.0  # seconds without filters, once the server refused or ignored one
FAILED_FOR = 300.0  # seconds without filters, once one failed
UNPROVEN_FOR = 60.0  # seconds
WITNESSES = 10  # accounts from which one is chosen that a filter must find
REFUSALS = 3  # in a row, of filters that worked before: fewer may be about the values asked for

ByKey = dict[tuple[str, str], list[Account]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """One listing of the node, or why there is none; `began` tells which questions it may answer."""

    began: float
    accounts: ByKey
    error: ProvisioningError | None = None


class AccountLookup:
    """Reads many accounts of one node."""

    def __init__(self, sender: Sender, page_size: int) -> None:
        self._sender = sender
        self._page_size = page_size
        self._without_filters_until = 0.0
        self._filters_worked = False
        self._refusals = 0
        self._finds: dict[str, float] = {}  # attribute -> until when its filter is trusted to find accounts
        self._listing: _Listing | None = None
        self._one_at_a_time = asyncio.Lock()
        self._proving = asyncio.Lock()

    async def find(
        self,
        lookup: Lookup,
        *,
        external_id_only: bool = False,
        since: float | None = None,
        deadline: datetime | None = None,
    ) -> tuple[Account, ...]:
        """Return the accounts that carry the externalId, else those that carry one of the userNames, each once.

        `since` (monotonic seconds, default now) is how fresh an answer must be: lookups of one call share it.
        """
        fresh = time.monotonic() if since is None else since
        found: dict[str, Account] = {}
        questions = [("externalId", lookup.external_id)]
        if not external_id_only:
            questions += [("userName", name) for name in lookup.user_names]
        for attribute, value in questions:
            if not value:
                continue  # `externalId eq ""` would find everybody who has none
            for account in await self._matching(attribute, value, fresh, deadline):
                found.setdefault(account.scim_id, account)
            if attribute == "externalId" and found:
                break
        return tuple(found.values())

    async def _matching(self, attribute: str, value: str, fresh: float, deadline: datetime | None) -> Sequence[Account]:
        matching: Sequence[Account] | None = None
        if time.monotonic() >= self._without_filters_until:
            matching = await self._filtered(attribute, value, deadline)
            if not matching and matching is not None and not await self._finds_others(attribute, deadline):
                matching = None
        if matching is None:
            matching = (await self._listed(fresh, deadline)).get(_key(attribute, value), [])
        flaws = [account.flaw for account in matching if account.flaw]
        if flaws:
            raise Permanent(flaws[0])  # neither found nor not found: to create another one would be wrong
        return matching

    async def _finds_others(self, attribute: str, deadline: datetime | None) -> bool:
        """Say whether a filter by this attribute finds existing accounts: django-scim2 finds nobody by externalId.

        Checked at the first empty answer, and believed from then on; if there is no account to check with, believed for
        a minute. Whoever comes while it is being checked waits for the result.
        """
        async with self._proving:
            if time.monotonic() < self._finds.get(attribute, 0.0):
                return True
            if time.monotonic() < self._without_filters_until:
                return False  # found out meanwhile
            params = {"startIndex": "1", "count": str(WITNESSES)}
            shown = resources((await self._sender.ask("GET", USERS, params=params, deadline=deadline)).body or {})
            there = (_text(read_listed(item), attribute) for item in shown if isinstance(item, dict))
            witness = next(filter(None, there), "")
            if not witness:
                self._finds[attribute] = time.monotonic() + UNPROVEN_FOR
                return True
            found = await self._filtered(attribute, witness, deadline)
            if found == []:
                self._do_without_filters(REFUSED_FOR, f"Keeper's filters by {attribute} do not find existing accounts")
            return bool(found)

    async def _filtered(self, attribute: str, value: str, deadline: datetime | None) -> list[Account] | None:
        """Ask with a filter; None if that proves nothing, and a listing must."""
        params = {"filter": equals(attribute, value)}
        try:
            answer = await self._sender.ask("GET", USERS, params=params, deadline=deadline)
        except (Throttled, NotSent):
            raise
        except Transient as error:
            if isinstance(error.__cause__, NotConnected):
                raise
            self._do_without_filters(FAILED_FOR, f"Filters fail for now: {error}")
            return None
        if answer.status == 404:
            return []  # some servers say so instead of an empty listing
        if answer.status == 401 or 300 <= answer.status < 400:
            raise error_of(answer, self._sender.clock(), known_account=False)
        if not answer.ok:
            self._refused(answer.status)
            return None
        if not is_listing(answer.body):
            self._do_without_filters(FAILED_FOR, "Keeper's answer to a filter is not a listing")
            return None
        matching = _judged(answer, attribute, value)
        if matching is None:
            self._do_without_filters(REFUSED_FOR, "Keeper ignores filters")
            return None
        self._filters_worked, self._refusals = True, 0
        if matching:
            self._finds[attribute] = math.inf
        self._sender.remarks.pop("filter", None)
        return matching

    def _refused(self, status: int) -> None:
        """Note that a filter was refused; one among many that worked may have had an odd value."""
        self._refusals += 1
        if not self._filters_worked or self._refusals >= REFUSALS:
            self._do_without_filters(REFUSED_FOR, f"Keeper refuses filters (HTTP {status})")

    def _do_without_filters(self, seconds: float, why: str) -> None:
        self._without_filters_until = time.monotonic() + seconds
        self._filters_worked, self._refusals = False, 0
        self._sender.remarks["filter"] = f"{why}: accounts are found by listing the node."

    async def _listed(self, fresh: float, deadline: datetime | None) -> ByKey:
        """Return a listing that began at or after `fresh`; those who wait for one share the next."""
        async with self._one_at_a_time:
            if self._listing is None or self._listing.began < fresh:
                self._listing = await self._list_by_key(deadline)
                asyncio.get_running_loop().call_later(LISTING_KEPT, self._forget, self._listing)
            listing = self._listing
        if listing.error is not None:
            raise listing.error
        return listing.accounts

    def _forget(self, listing: _Listing) -> None:
        if self._listing is listing:
            self._listing = None

    async def _list_by_key(self, deadline: datetime | None) -> _Listing:
        began = time.monotonic()
        by_key: ByKey = {}
        try:
            async for page in self.pages(deadline, for_one=True):
                for account in page:
                    by_key.setdefault(_key("userName", account.user_name), []).append(account)
                    by_key.setdefault(_key("externalId", account.external_id), []).append(account)
        except Transient as error:
            return _Listing(began=began, accounts={}, error=await self._sender.verdict(error, began))
        except ProvisioningError as error:
            return _Listing(began=began, accounts={}, error=error)
        return _Listing(began=began, accounts=by_key)

    def pages(self, deadline: datetime | None = None, *, for_one: bool = False) -> AsyncIterator[Sequence[Account]]:
        """List the node's accounts, as `listed` does, also those that cannot be addressed."""
        return listed(self._sender, _ACCOUNTS, self._page_size, ends=deadline, for_one=for_one)


_ACCOUNTS = Kind(
    path=USERS, name="accounts", read=read_listed, identity=lambda account: account.scim_id or _unnamed(account)
)


def _unnamed(account: Account) -> str:
    """Return what distinguishes an account without a usable id from others."""
    return f"\0{account.user_name}\0{account.external_id}"


def _judged(answer: Answer, attribute: str, value: str) -> list[Account] | None:
    """Return what a filter found, judged by what it shows; None where the server does not filter, or shows nothing."""
    items = resources(answer.body or {})
    accounts = [read_listed(item) for item in items if isinstance(item, dict)]
    if not accounts and (items or total(answer.body or {})):
        return None
    # Some servers compare externalId without case: that is still a filter, only its answer is too generous.
    if any(_text(account, attribute).casefold() != value.casefold() for account in accounts):
        return None
    wanted = _key(attribute, value)
    return [account for account in accounts if _key(attribute, _text(account, attribute)) == wanted]


def _text(account: Account, attribute: str) -> str:
    return account.external_id if attribute == "externalId" else account.user_name


def _comparable(attribute: str, value: str) -> str:
    """Return what to compare: userName without case (RFC 7643 4.1.1), externalId as it is (RFC 7643 3.1)."""
    return value.casefold() if attribute == "userName" else value


def _key(attribute: str, value: str) -> tuple[str, str]:
    return attribute, _comparable(attribute, value)
