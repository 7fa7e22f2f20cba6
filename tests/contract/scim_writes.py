"""Write to the Keeper node, and what must hold of the results whatever the weather."""

from __future__ import annotations

from collections import Counter

from autoprovisioning.adapters.scim import ScimAccounts
from autoprovisioning.domain.accounts import Write, Written
from infra.local.simulation import KeeperSide
from tests.contract.scim_servers import soon

POST_USER = {"method": "POST", "path": "/Users$"}
POST_BULK = {"method": "POST", "path": "/Bulk$"}
LISTING = {"method": "GET", "path": "/Users$"}


def write(accounts: ScimAccounts, writes: list[Write], seconds: float = 30) -> dict[str, Written]:
    """Write, and see that every write got exactly one result."""
    told = list(accounts.write(writes, soon(seconds)))
    assert Counter(item.key for item in told) == Counter(item.key for item in writes)
    return {item.key: item for item in told}


def kinds(written: dict[str, Written]) -> Counter[str]:
    return Counter(type(item.error).__name__ for item in written.values())


def exactly(keeper: KeeperSide, written: dict[str, Written], count: int, *, others: int = 0) -> None:
    """See that everybody has one account, the one that was told; `others` had theirs before."""
    assert kinds(written) == {"NoneType": count}
    held = {account["externalId"]: account["id"] for account in keeper.accounts()}
    assert len(keeper.accounts()) == len(held) == count + others
    assert {f"d{key[1:]}": item.scim_id for key, item in written.items()}.items() <= held.items()


def sent(keeper: KeeperSide, what: str) -> int:
    return int(keeper.requests()["paths"].get(what, 0))


def seed(keeper: KeeperSide, count: int) -> list[str]:
    """Put people there; returns their ids."""
    keeper.control(
        "PUT",
        "accounts",
        [{"userName": f"person{n}@example.com", "externalId": f"d{n}", "id": f"{1000 + n}"} for n in range(count)],
    )
    keeper.control("DELETE", "requests")
    return [f"{1000 + n}" for n in range(count)]
