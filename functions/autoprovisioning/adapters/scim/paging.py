"""List resources of one kind, a page at a time, from servers that page as they like."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from autoprovisioning.adapters.scim.protocol import Answer, error_of, is_listing, resources, total
from autoprovisioning.adapters.scim.sending import Sender
from autoprovisioning.domain.errors import Incomplete, Transient

LISTING_TIME = timedelta(minutes=10)  # of one listing: 100,000 accounts take less than two
MOST_RESOURCES = 500_000  # five times the largest node that this was measured with
MOST_BYTES = 512 * 1024 * 1024  # of one listing: a thousand for each of so many accounts

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[T]):
    """A kind of resources: its path and what they are called, how one is read, and what tells it from others."""

    path: str
    name: str
    read: Callable[[Mapping[str, Any]], T]
    identity: Callable[[T], str]
    params: Mapping[str, str] = field(default_factory=dict)


async def listed(
    sender: Sender, kind: Kind[T], page_size: int, *, ends: datetime | None = None, for_one: bool = False
) -> AsyncIterator[Sequence[T]]:
    """List them all: advance by items received, tolerate short pages and caps, drop duplicates.

    A server that announces more than it shows has shown all there is to find, if it says so twice (`for_one`): who is
    looked for must not wait for ever, and Keeper refuses a second account under an address. It proves nothing about
    what is missing.

    Raises:
        Incomplete: a page could not be read, the server repeats a page, or there is no end to it.
    """
    latest = sender.clock() + LISTING_TIME
    ends = latest if ends is None else min(ends, latest)
    seen: set[str] = set()
    start, size, count, said_so = 1, 0, page_size, False
    while True:
        answer = await _page(sender, kind, start, count, ends)
        if answer.too_long and count > 1:
            count //= 2
            continue
        items = resources(_listing(answer))
        on_page = {kind.identity(one): one for one in (kind.read(item) for item in items if isinstance(item, dict))}
        fresh = [one for identity, one in on_page.items() if identity not in seen]
        seen |= on_page.keys()
        if fresh:
            yield fresh
        start += len(items)
        size += answer.size
        announced = total(answer.body or {})
        if announced == len(seen):
            return
        if not items:
            if announced is None or announced < len(seen):
                return  # the only end that a server without a total can show
            if not for_one:
                raise Incomplete(f"Keeper's listing ended after {len(seen)} of {announced} {kind.name}")
            if said_so:
                return
            said_so = True
            continue
        if not fresh:
            raise Incomplete("Keeper's listing broke off: the server repeats a page")
        if len(seen) > MOST_RESOURCES or size > MOST_BYTES:
            raise Incomplete(f"Keeper's listing has no end: {len(seen)} {kind.name} in {size} bytes were read")


async def _page(sender: Sender, kind: Kind[T], start: int, count: int, ends: datetime) -> Answer:
    if sender.left(ends) <= 0:
        raise Incomplete("Keeper's listing broke off: it did not end in time")
    params = {"startIndex": str(start), "count": str(count), **kind.params}
    try:
        answer = await sender.ask("GET", kind.path, params=params, deadline=ends)
    except Transient as error:
        if start == 1:
            raise
        raise Incomplete(f"Keeper's listing broke off: {error}", retry_after=error.retry_after) from error
    if not answer.ok:
        raise error_of(answer, sender.clock(), known_account=False)
    return answer


def _listing(answer: Answer) -> dict[str, Any]:
    if answer.body is None or not is_listing(answer.body):
        raise Incomplete("Keeper's listing broke off: the answer is not a listing")
    return answer.body
