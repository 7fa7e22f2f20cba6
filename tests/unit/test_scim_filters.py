"""Filters that find nobody are found out before their silence counts, however many ask at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from autoprovisioning.adapters.scim.lookup import Search
from autoprovisioning.adapters.scim.protocol import Answer
from autoprovisioning.adapters.scim.sending import Sender
from autoprovisioning.domain.accounts import Lookup

NODE = [{"id": f"k{number}", "externalId": f"d{number}", "userName": f"p{number}@example.com"} for number in range(4)]


class Blind:
    """A server that answers every filter with an empty listing."""

    async def send(self, _method: str, _path: str, *, params: Mapping[str, str], at_most: float) -> Answer:
        await asyncio.sleep(0.001 * (at_most > 0))
        if "filter" in params:
            return Answer(200, {"Resources": [], "totalResults": 0})
        start = int(params["startIndex"]) - 1
        page: list[dict[str, Any]] = NODE[start : start + int(params["count"])]
        return Answer(200, {"Resources": page, "totalResults": len(NODE)})


def test_who_asks_while_a_filter_is_put_to_the_proof_waits_for_it():
    async def search() -> list[list[str]]:
        sender = Sender(Blind(), lambda: datetime.now(UTC), 8)  # type: ignore[arg-type]
        found = Search(sender, 100)
        wanted = [Lookup(f"d{number}", f"d{number}", ()) for number in range(4)]
        answers = await asyncio.gather(*(found.find(lookup, external_id_only=True) for lookup in wanted))
        return [[account.scim_id for account in accounts] for accounts in answers]

    assert asyncio.run(search()) == [["k0"], ["k1"], ["k2"], ["k3"]]
