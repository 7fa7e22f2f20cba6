"""Find accounts: by filter, each answer checked, or by one shared listing where filters are ignored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from autoprovisioning.adapters.scim.protocol import USERS, Answer, equals, error_of, is_listing, resources, total
from autoprovisioning.adapters.scim.resources import read_account
from autoprovisioning.adapters.scim.sending import Sender
from autoprovisioning.domain.accounts import Account, Lookup
from autoprovisioning.domain.errors import Incomplete, ProvisioningError, Transient

LISTING_KEPT = 10.0  # seconds before a listing that nobody asks for any more gives its memory back
UNSUPPORTED = frozenset({400, 501})  # a filter is refused: invalidFilter (RFC 7644 3.12), or not implemented

ByKey = dict[tuple[str, str], list[Account]]


@dataclass(frozen=True, slots=True)
class _Listing:
    """One listing of the node, or why there is none; `began` tells which questions it may answer."""

    began: float
    accounts: ByKey
    error: ProvisioningError | None = None


class Search:
    """Reads many accounts of one node."""

    def __init__(self, sender: Sender, page_size: int) -> None:
        self._sender = sender
        self._page_size = page_size
        self._filters_work = True
        self._listing: _Listing | None = None
        self._one_at_a_time = asyncio.Lock()

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
        if self._filters_work:
            params = {"filter": equals(attribute, value)}
            answer = await self._sender.ask("GET", USERS, params=params, deadline=deadline)
            matching = self._read_filtered(answer, attribute, value)
            if matching is not None:
                return matching
            self._filters_work = False
        return (await self._listed(fresh, deadline)).get(_key(attribute, value), [])

    def _read_filtered(self, answer: Answer, attribute: str, value: str) -> list[Account] | None:
        """Return what matches; None where the server does not filter."""
        if not answer.ok:
            if answer.status in UNSUPPORTED:
                return None
            if answer.status == 404:
                return []  # some servers say so instead of an empty listing
            raise error_of(answer, self._sender.clock(), known_account=False)
        if answer.body is None or not is_listing(answer.body):
            raise Transient("Keeper's answer to a search is not a listing", retry_after=10)
        accounts = [account for account in map(read_account, resources(answer.body)) if account is not None]
        # Some servers compare externalId without case: that is still a filter, only its answer is too generous.
        filtered = all(_text(account, attribute).casefold() == value.casefold() for account in accounts)
        if not filtered or (total(answer.body) or 0) > len(accounts):
            return None
        wanted = _key(attribute, value)
        return [account for account in accounts if _key(attribute, _text(account, attribute)) == wanted]

    async def _listed(self, fresh: float, deadline: datetime | None) -> ByKey:
        """Return a listing that began at or after `fresh`; who waits for one shares the next."""
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
            async for page in self.pages(deadline):
                for account in page:
                    by_key.setdefault(_key("userName", account.user_name), []).append(account)
                    by_key.setdefault(_key("externalId", account.external_id), []).append(account)
        except ProvisioningError as error:
            return _Listing(began, {}, error)
        return _Listing(began, by_key)

    async def pages(self, deadline: datetime | None = None) -> AsyncIterator[Sequence[Account]]:
        """List the node: advance by items received, tolerate short pages and caps, drop duplicates.

        Raises:
            Incomplete: a page could not be read, or the server repeats its first page.
        """
        seen: set[str] = set()
        start = 1
        while True:
            answer = await self._page(start, deadline)
            body = answer.body or {}
            items = resources(body)
            announced = total(body)
            read = {account.scim_id: account for account in map(read_account, items) if account is not None}
            accounts = [account for scim_id, account in read.items() if scim_id not in seen]
            seen |= read.keys()
            if accounts:
                yield accounts
            start += len(items)
            if announced is not None and len(seen) >= announced:
                return
            if not items and announced is None:
                return  # the only end that a server without totalResults can show
            if not items:
                raise Incomplete(f"Keeper's listing ended after {len(seen)} of {announced} accounts")
            if not accounts:
                raise Incomplete("Keeper's listing broke off: the server repeats a page")

    async def _page(self, start: int, deadline: datetime | None) -> Answer:
        params = {"startIndex": str(start), "count": str(self._page_size)}
        try:
            answer = await self._sender.ask("GET", USERS, params=params, deadline=deadline)
        except Transient as error:
            if start == 1:
                raise
            raise Incomplete(f"Keeper's listing broke off: {error}", retry_after=error.retry_after) from error
        if not answer.ok:
            raise error_of(answer, self._sender.clock(), known_account=False)
        if not is_listing(answer.body):
            raise Incomplete("Keeper's listing broke off: the answer is not a listing")
        return answer


def _text(account: Account, attribute: str) -> str:
    return account.external_id if attribute == "externalId" else account.user_name


def _comparable(attribute: str, value: str) -> str:
    """Return what to compare: userName without case (RFC 7643 4.1.1), externalId as it is (RFC 7643 3.1)."""
    return value.casefold() if attribute == "userName" else value


def _key(attribute: str, value: str) -> tuple[str, str]:
    return attribute, _comparable(attribute, value)
