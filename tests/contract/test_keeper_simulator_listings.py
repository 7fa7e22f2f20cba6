"""Pages and filters of the Keeper simulator, good and bad."""

from __future__ import annotations

import pytest

from tests.contract.keeper_endpoint import Endpoint, listing, refused


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ({}, ["d0", "d1", "d2"]),
        ({"startIndex": 2}, ["d1", "d2", "d3"]),
        ({"startIndex": 4, "count": 100}, ["d3", "d4"]),
        ({"startIndex": 0, "count": 2}, ["d0", "d1"]),
        ({"startIndex": -3, "count": 2}, ["d0", "d1"]),
        ({"startIndex": 6}, []),
        ({"count": 0}, []),
        ({"count": -1}, []),
    ],
)
def test_pages_are_capped_by_the_server(node: Endpoint, params: dict[str, int], wanted: list[str]) -> None:
    for number in range(5):
        node.created(number)
    node.side.settings(page_cap=3)
    found, page = listing(node, **params)
    assert found == wanted
    assert (page.total_results, page.items_per_page) == (5, len(wanted))


def test_it_pages_badly_on_demand(node: Endpoint) -> None:
    for number in range(6):
        node.created(number)
    node.side.settings(repeat_first_page=True)
    assert listing(node, startIndex=4, count=3)[0] == ["d0", "d1", "d2"]
    node.side.settings(repeat_first_page=False, short_pages=True)
    assert listing(node, startIndex=1, count=3)[0] == ["d0", "d1"]
    node.side.settings(short_pages=False, lower_case_resources=True, no_items_per_page=True)
    assert set(node.ask("GET", "/Users").body) == {"schemas", "totalResults", "startIndex", "resources"}


def test_a_page_number_that_is_none_is_refused(node: Endpoint) -> None:
    refused(node.ask("GET", "/Users", startIndex="one"), 400)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('userName eq "PERSON1@example.com"', ["d1"]),
        ('username EQ "person1@example.com"', ["d1"]),
        ('externalId eq "d2"', ["d2"]),
        ('externalId eq "D2"', []),
        ('externalId eq "quoted \\"d\\" \\\\"', ['quoted "d" \\']),
        ('userName eq "nobody@example.com"', []),
    ],
)
def test_a_filter_finds_its_user(node: Endpoint, text: str, wanted: list[str]) -> None:
    for number in range(3):
        node.created(number)
    node.created(3, externalId='quoted "d" \\')
    assert listing(node, filter=text)[0] == wanted


@pytest.mark.parametrize("text", ['userName co "a"', "userName eq a", 'groups eq "a"', 'userName eq "\\x"', "nonsense"])
def test_a_filter_that_it_does_not_know_is_refused(node: Endpoint, text: str) -> None:
    assert refused(node.ask("GET", "/Users", filter=text), 400).scim_type == "invalidFilter"


def test_it_ignores_filters_on_demand(node: Endpoint) -> None:
    for number in range(3):
        node.created(number)
    node.side.settings(ignore_filter=True)
    assert listing(node, filter='userName eq "nobody@example.com"')[0] == ["d0", "d1", "d2"]


def test_a_new_account_is_listed_later_on_demand(node: Endpoint) -> None:
    """As by a search index that lags behind."""
    node.side.settings(listed_after=3600)
    scim_id = node.created(1)["id"]
    assert (listing(node)[0], listing(node, filter='externalId eq "d1"')[0]) == ([], [])
    assert node.ask("GET", f"/Users/{scim_id}").status == 200
    node.side.settings(listed_after=0)
    assert listing(node)[0] == ["d1"]
