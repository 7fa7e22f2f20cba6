"""The customer that the Directory simulator starts with."""

from __future__ import annotations

import unicodedata
from typing import Any

from tests.contract.directory_servers import PEOPLE, SCOPE, reached, validate


def test_the_fixture_is_a_realistic_customer(customer: dict[str, Any]) -> None:
    users = customer["users"]
    for user in [*users, *customer["deletedUsers"]]:
        validate("User", user)
        assert all(0 < len(part) <= 60 for part in user["name"].values())
    assert len({user["id"] for user in users}) == len(users)
    addresses = [address for user in users for address in (user["primaryEmail"], *user.get("aliases", []))]
    assert len({address.casefold() for address in addresses}) == len(addresses)
    assert len({user["primaryEmail"].rpartition("@")[2] for user in users}) == 3
    assert {item["domainName"] for item in customer["domains"]} == {
        user["primaryEmail"].rpartition("@")[2] for user in users
    }
    units = {user["orgUnitPath"] for user in users}
    assert len(units) >= 6
    assert any(path.count("/") > 1 for path in units)
    names = [user["name"]["givenName"] + user["name"]["familyName"] for user in users]
    scripts = {unicodedata.name(char).split()[0] for name in names for char in name if char.isalpha()}
    assert {"LATIN", "CYRILLIC", "GREEK", "ARABIC", "CJK", "DEVANAGARI", "THAI"} <= scripts
    assert any(unicodedata.normalize("NFC", name) != name for name in names)
    counts = {
        "aliases": sum(bool(user.get("aliases")) for user in users),
        "customSchemas": sum("costCenter" in user["customSchemas"]["HR"] for user in users),
        "suspended": sum(user["suspended"] for user in users),
        "archived": sum(user["archived"] for user in users),
        "deleted": len(customer["deletedUsers"]),
        "administrators": sum(user["isAdmin"] for user in users),
    }
    assert all(counts.values()), counts
    assert all(user["suspensionTime"] for user in users if user["suspended"])
    assert all(user["archivalTime"] for user in users if user["archived"])


def test_the_fixtures_scope_group_reaches_most_people_through_nested_groups(customer: dict[str, Any]) -> None:
    scope = next(group["id"] for group in customer["groups"] if group["email"] == SCOPE)
    direct = {member["id"] for member in customer["members"][scope] if member["type"] == "USER"}
    share = len(reached(customer, scope)) / PEOPLE
    assert 0.75 < share < 0.95
    assert len(direct) < share * PEOPLE / 2
    known = {user["id"] for user in customer["users"]}
    assert any(user_id not in known for user_id in direct), "nobody from outside"
