"""Find accounts: by filter, each answer checked, or by one listing where filters are ignored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from autoprovisioning.adapters.scim.protocol import USERS, Answer, equals, error_of, resources, total
from autoprovisioning.adapters.scim.resources import read_account
from autoprovisioning.adapters.scim.sending import Sender
from autoprovisioning.domain.accounts import Account, Lookup
from autoprovisioning.domain.errors import Incomplete, ProvisioningError, Transient

PAGE = 1000  # Keeper's default page; a server's own cap may be lower
LISTING_KEPT = 2.0  # seconds a listing serves lookups that come together
UNSUPPORTED = frozenset({400, 403, 501})


class Search:
    """Reads many accounts of one node."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._filters_work = True
        self._listing: tuple[float, asyncio.Future[dict[str, list[Account]]]] | None = None

    async def find(self, lookup: Lookup, *, external_id_only: bool = False) -> tuple[Account, ...]:
        """Return the accounts that carry the externalId or one of the userNames, each once, in that order."""
        found: dict[str, Account] = {}
        questions = [("externalId", lookup.external_id)]
        if not external_id_only:
            questions += [("userName", name) for name in lookup.user_names]
        for attribute, value in questions:
            for account in await self._matching(attribute, value):
                found.setdefault(account.scim_id, account)
            if attribute == "externalId" and found:
                break
        return tuple(found.values())

    async def _matching(self, attribute: str, value: str) -> Sequence[Account]:
        if self._filters_work:
            answer = await self._sender.ask("GET", USERS, params={"filter": equals(attribute, value)})
            matching = self._read_filtered(answer, attribute, value)
            if matching is not None:
                return matching
        listing = await self._listed()
        return listing.get(_key(attribute, value), [])

    def _read_filtered(self, answer: Answer, attribute: str, value: str) -> list[Account] | None:
        """Return what matches; None where the server does not filter, which is remembered."""
        if not answer.ok:
            if answer.status not in UNSUPPORTED:
                if answer.status == 404:
                    return []  # some servers say so instead of an empty listing
                raise error_of(answer, self._sender.clock(), known_account=False)
            if answer.status == 403:
                raise error_of(answer, self._sender.clock(), known_account=False)
            self._filters_work = False
            return None
        body = answer.body or {}
        accounts = [account for account in map(read_account, resources(body)) if account is not None]
        matching = [account for account in accounts if _matches(account, attribute, value)]
        others = len(accounts) > len(matching) or (total(body) or 0) > len(accounts)
        if others and not matching:
            self._filters_work = False  # the filter was ignored: what was asked for may be on another page
            return None
        return matching

    async def _listed(self) -> dict[str, list[Account]]:
        """Return one listing of the node by key, shared by lookups that come together."""
        now = time.monotonic()
        if self._listing is None or now - self._listing[0] > LISTING_KEPT:
            self._listing = (now, asyncio.ensure_future(self._list_by_key()))
        try:
            return await asyncio.shield(self._listing[1])
        except ProvisioningError:
            self._listing = None
            raise

    async def _list_by_key(self) -> dict[str, list[Account]]:
        listing: dict[str, list[Account]] = {}
        async for page in self.pages():
            for account in page:
                listing.setdefault(_key("userName", account.user_name), []).append(account)
                if account.external_id:
                    listing.setdefault(_key("externalId", account.external_id), []).append(account)
        return listing

    async def pages(self) -> AsyncIterator[Sequence[Account]]:
        """List the node: advance by items received, tolerate short pages and caps, drop duplicates.

        Raises:
            Incomplete: a page could not be read, or the server repeats its first page.
        """
        seen: set[str] = set()
        start = 1
        while True:
            try:
                params = {"startIndex": str(start), "count": str(PAGE)}
                answer = await self._sender.ask("GET", USERS, params=params)
            except Transient as error:
                if start == 1:
                    raise
                raise Incomplete(f"Keeper's listing broke off: {error}") from error
            if not answer.ok:
                raise error_of(answer, self._sender.clock(), known_account=False)
            if answer.body is None:
                raise Incomplete("Keeper's listing broke off: the answer is not JSON")
            items, announced = resources(answer.body), total(answer.body)
            accounts = [account for account in map(read_account, items) if account and account.scim_id not in seen]
            seen.update(account.scim_id for account in accounts)
            if accounts:
                yield accounts
            start += len(items)
            if not items or (announced is None and len(items) < PAGE):
                _check_whole(announced, len(seen))
                return
            if announced is not None and len(seen) >= announced:
                return
            if not accounts:
                raise Incomplete("Keeper's listing broke off: the server repeats a page")


def _check_whole(announced: int | None, received: int) -> None:
    if announced is not None and received < announced:
        raise Incomplete(f"Keeper's listing ended after {received} of {announced} accounts")


def _matches(account: Account, attribute: str, value: str) -> bool:
    if attribute == "externalId":
        return account.external_id == value
    return account.user_name.casefold() == value.casefold()


def _key(attribute: str, value: str) -> str:
    return f"{attribute} {value.casefold() if attribute == 'userName' else value}"
