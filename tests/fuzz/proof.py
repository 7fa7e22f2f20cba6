"""What counts as proof that somebody must leave or may be adopted: what was answered, whole and with a success.

Written down here once more, knowing nothing of the code under test.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tests.fuzz.liar import Given
from tests.support.system import GROUP_ID


def must_leave(known: Sequence[Given], now: Sequence[Given], user_id: str) -> bool:
    """Say whether the directory itself said that somebody has no right to an account.

    `now` is what was answered in the very delivery that took the access away: a witness who spoke of this user alone
    is in there. `known` goes back to the user's last change: complete listings are.
    """
    about = [given for given in now if _asks(given, f"/users/{user_id}")]
    if any(body.get("id") == user_id and body.get("suspended") is True for body in _objects(about)):
        return True
    gone = any(given.status == 404 or (given.status == 412 and b"deleted" in given.body) for given in about)
    if gone and user_id in _ids(_pages(known, deleted=True)):
        return True
    if gone and any(user_id not in listed for listed in _listings(known, "/users")):
        return any(body.get("users") for body in _pages(now, deleted=False))
    asked = [given for given in now if _asks(given, f"/hasMember/{user_id}")]
    if not any(body.get("isMember") is False for body in _objects(asked)):
        return False
    return any(user_id not in listed for listed in _listings(known, f"/groups/{GROUP_ID}/members"))


def may_adopt(
    known: Sequence[Given], was: Mapping[str, Any], user: Mapping[str, Any], user_id: str, deleted: Collection[str]
) -> bool:
    """Say whether an account was somebody's already, or nobody's under their primary address, in truth or as told.

    Nobody's are those that are not older than the user, under an address that nobody of the `deleted` had.
    """
    users = [user, *(item for given in known for item in _resources(given) if item.get("id") == user_id)]
    shown = [was, *(item for given in known for item in _resources(given) if item.get("id") == was["id"])]
    addresses = {str(item.get("primaryEmail")).casefold() for item in users}
    for account in shown:
        owner, address = account.get("externalId") or "", str(account.get("userName")).casefold()
        if owner == user_id:
            return True
        if owner == "" and address in addresses and _not_older(shown, users) and _nobodys(known, address, deleted):
            return True
    return False


def _not_older(shown: Sequence[Mapping[str, Any]], users: Sequence[Mapping[str, Any]]) -> bool:
    metas = [account["meta"] for account in shown if isinstance(account.get("meta"), dict)]
    accounts, people = _times(metas, "created"), _times(users, "creationTime")
    return any(account >= person for account in accounts for person in people)


def _times(items: Sequence[Mapping[str, Any]], name: str) -> list[datetime]:
    times = []
    for text in (item.get(name) for item in items):
        with contextlib.suppress(ValueError, OverflowError):
            at = datetime.fromisoformat(text) if isinstance(text, str) else None
            times += [] if at is None else [at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)]
    return times


def _nobodys(known: Sequence[Given], address: str, deleted: Collection[str]) -> bool:
    """Say whether nobody deleted had an address, in truth or by a list of them that was told."""
    if address not in {gone.casefold() for gone in deleted}:
        return True
    told = [
        {str(item.get("primaryEmail")).casefold() for item in _resources(given)}
        for given in known
        if _asks(given, "/users") and "showDeleted" in given.request.query and given.object() is not None
    ]
    return any(address not in addresses for addresses in told)


def _asks(given: Given, end: str) -> bool:
    request = given.request
    return request.method == "GET" and request.path.endswith(end) and not request.of_keeper


def _objects(answers: Sequence[Given]) -> Iterator[dict[str, Any]]:
    """Yield the objects that were told with a success and came whole."""
    for given in answers:
        body = given.object() if given.arrived and 200 <= given.status < 300 else None
        if body is not None:
            yield body


def _resources(given: Given) -> Iterator[dict[str, Any]]:
    """Yield the resources in an answer: itself, or those that it lists."""
    for body in _objects([given]):
        yield body
        for items in body.values():
            yield from (item for item in items if isinstance(item, dict)) if isinstance(items, list) else ()


def _pages(answers: Sequence[Given], *, deleted: bool) -> Iterator[dict[str, Any]]:
    """Yield the pages of listings of those who live, or of those who were deleted."""
    for given in answers:
        if _asks(given, "/users") and ("showDeleted" in given.request.query) is deleted:
            yield from _objects([given])


def _ids(pages: Iterator[dict[str, Any]]) -> set[str]:
    lists = [items for page in pages for items in page.values() if isinstance(items, list)]
    return {str(item.get("id")) for items in lists for item in items if isinstance(item, dict)}


def _listings(answers: Sequence[Given], end: str) -> Iterator[set[str]]:
    """Yield the ids of each listing that came to its end."""
    found: set[str] | None = None
    for given in answers:
        query = given.request.query
        partial = "showDeleted" in query or "query" in query or query.get("maxResults") == ["1"]
        if not _asks(given, end) or partial:
            continue
        if "pageToken" not in query:
            found = set()
        pages = list(_objects([given]))
        if not pages or found is None:
            found = None
            continue
        found |= _ids(iter(pages))
        if not pages[0].get("nextPageToken"):
            yield found
            found = None
