"""The second opinion on both sides: it finds nothing on a provisioned system, and every kind of corruption."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from infra.local import compare as second_opinion
from infra.local.compare import compare
from tests.support.system import GROUP, GROUP_ID, System, person


def differences(system: System, excused: set[str] = frozenset()) -> list[tuple[str, str]]:
    keeper = system.keeper
    found = compare(system.directory.url, keeper.endpoint, keeper.token, GROUP, set(excused))
    return [(difference.who, difference.what) for difference in found]


def test_a_provisioned_town_shows_no_difference(settled):
    assert differences(settled) == []


def test_a_town_after_a_day_of_changes_shows_no_difference(system):
    system.reset(30)
    system.provisioned()
    system.directory.weather(lose=True)
    system.directory.patch("u1", {"name": {"familyName": "Ångström"}, "primaryEmail": "moved@example.com"})
    system.directory.patch("u2", {"suspended": True})
    system.directory.patch("u3", {"archived": True})
    system.directory.delete("u4")
    system.directory.leave(GROUP_ID, "u5")
    system.directory.insert(person(40))
    system.directory.insert(person(41))
    system.directory.join(GROUP_ID, "u41")
    assert differences(system) != []
    system.sync()
    assert differences(system) == []
    assert len(system.keeper.accounts()) == 31
    system.keeper.settings(string_active=True, page_cap=7)
    assert differences(system) == []


WHO = "person2@example.com"
CORRUPTIONS = {
    "a display name": ({"displayName": "Vandal"}, (WHO, "displayName is 'Vandal', not 'Given2 Family2'")),
    "a given name": (
        {"name": {"givenName": "X", "familyName": "Family2"}},
        (WHO, "name.givenName is 'X', not 'Given2'"),
    ),
    "a family name": (
        {"name": {"givenName": "Given2", "familyName": "X"}},
        (WHO, "name.familyName is 'X', not 'Family2'"),
    ),
    "a type of address": (
        {"emails": [{"value": WHO, "type": "home", "primary": True}]},
        (WHO, "emails.type is 'home', not 'work'"),
    ),
    "a lock": ({"active": False}, (WHO, "is locked although in scope and active")),
}


@pytest.mark.parametrize("what", CORRUPTIONS)
def test_a_corrupted_attribute_is_found(settled, what):
    corruption, difference = CORRUPTIONS[what]
    known = settled.keeper.accounts()
    settled.keeper.control("PATCH", f"accounts/{settled.account('u2')['id']}", corruption)
    assert differences(settled) == [difference]
    assert differences(settled, {"u2"}) == []
    settled.keeper.control("PUT", "accounts", known)


def test_a_user_name_that_moved_is_found(settled):
    known = settled.keeper.accounts()
    settled.keeper.control("PATCH", f"accounts/{settled.account('u2')['id']}", {"userName": "x@example.com"})
    assert (WHO, f"userName is 'x@example.com', not {WHO!r}") in differences(settled)
    settled.keeper.control("PUT", "accounts", known)


def test_a_missing_account_is_found(settled):
    known = settled.keeper.accounts()
    settled.keeper.control("DELETE", f"accounts/{settled.account('u2')['id']}")
    assert differences(settled) == [(WHO, "has no account")]
    settled.keeper.control("PUT", "accounts", known)


STRANGERS = {
    "without an id": ({}, "account without a directory user's id"),
    "with an unknown id": ({"externalId": "u999"}, "active although the directory has no such user"),
    "with somebody's id": ({"externalId": "u2"}, "a second account carries the externalId u2"),
}


@pytest.mark.parametrize("what", STRANGERS)
def test_a_stranger_is_found(settled, what):
    more, difference = STRANGERS[what]
    known = settled.keeper.accounts()
    stranger = {"userName": "stranger@example.com", "active": True, **more}
    settled.keeper.control("PUT", "accounts", [*known, stranger])
    assert differences(settled) == [("stranger@example.com", difference)]
    settled.keeper.control("PUT", "accounts", known)


@pytest.mark.parametrize("change", [{"suspended": True}, "leave", "delete"])
def test_an_account_that_should_not_be_active_is_found(system, change):
    system.restored()
    system.directory.weather(lose=True)
    if change == "leave":
        system.directory.leave(GROUP_ID, "u2")
    elif change == "delete":
        system.directory.delete("u2")
    else:
        system.directory.patch("u2", change)
    [(who, what)] = differences(system)
    assert who == WHO
    assert "active although" in what


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_it_imports_nothing_but_the_standard_library():
    path = Path(second_opinion.__file__)
    roots = {name.partition(".")[0] for name in imported(path)}
    assert roots <= sys.stdlib_module_names
    assert "__import__" not in path.read_text()
    assert "importlib" not in roots
