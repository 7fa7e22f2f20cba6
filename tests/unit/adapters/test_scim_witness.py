"""That a filter found nobody counts once it was seen to find somebody: for everybody who asks meanwhile, too."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from autoprovisioning.adapters.scim.lookup import AccountLookup
from autoprovisioning.adapters.scim.protocol import Answer
from autoprovisioning.domain.accounts import Lookup
from autoprovisioning.domain.errors import Transient

THERE = {"id": "1", "userName": "ada@example.com", "externalId": "d1", "active": True}
LOOKUP = Lookup(key="k", external_id="d1", user_names=())


class Blind:
    """A sender to a server whose filters find nobody; `failing` requests without a filter fail first."""

    def __init__(self, failing: int = 0) -> None:
        self.failing = failing
        self.remarks: dict[str, str] = {}

    def clock(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def left(self, deadline: datetime | None) -> float:
        return 60.0

    async def ask(
        self, method: str, path: str, *, params: Mapping[str, str], deadline: datetime | None = None
    ) -> Answer:
        await asyncio.sleep(0.01)
        if "filter" not in params and self.failing:
            self.failing -= 1
            raise Transient("Keeper did not answer")
        items: list[dict[str, Any]] = [] if "filter" in params else [THERE]
        return Answer(status=200, body={"totalResults": len(items), "Resources": items})


def test_who_asks_while_the_filter_is_tried_out_waits_for_what_it_shows():
    async def many() -> list[Any]:
        search = AccountLookup(Blind(), 100)  # type: ignore[arg-type]
        return await asyncio.gather(*(search.find(LOOKUP) for _ in range(8)))

    assert [[account.scim_id for account in found] for found in asyncio.run(many())] == [["1"]] * 8


def test_where_it_could_not_be_tried_out_nothing_is_believed():
    async def twice() -> Any:
        search = AccountLookup(Blind(failing=1), 100)  # type: ignore[arg-type]
        with pytest.raises(Transient):
            await search.find(LOOKUP)
        return await search.find(LOOKUP)

    assert [account.scim_id for account in asyncio.run(twice())] == ["1"]
