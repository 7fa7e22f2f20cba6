"""Several nodes of one simulated Keeper: what they share, what each has for itself, and accounts that are moved."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from tests.contract.keeper_endpoint import Endpoint, person, refused


@pytest.fixture
def other(node: Endpoint) -> Iterator[Endpoint]:
    """A node beside the first one."""
    side = node.side.beside("4243")
    with httpx2.Client(headers={"Authorization": f"Bearer {side.token}"}, trust_env=False) as http:
        yield Endpoint(side, http)
    node.side.alone()


def test_an_address_is_taken_on_all_nodes_and_ids_are_different_ones(node: Endpoint, other: Endpoint) -> None:
    first = node.created(1)["id"]
    assert (
        refused(other.ask("POST", "/Users", person(1, userName="PERSON1@example.com")), 409).scim_type == "uniqueness"
    )
    second = other.created(2)["id"]
    renamed = {"op": "replace", "path": "userName", "value": "person1@example.com"}
    refused(other.patched(second, renamed), 409)
    assert first != second
    refused(other.ask("GET", f"/Users/{first}"), 404)
    assert [account["userName"] for account in other.side.accounts()] == ["person2@example.com"]


def test_a_deleted_account_is_locked_and_keeps_its_address_on_every_node(node: Endpoint, other: Endpoint) -> None:
    first = node.created(1)["id"]
    assert node.ask("DELETE", f"/Users/{first}").status == 204
    refused(other.ask("POST", "/Users", person(1)), 409)


def test_each_node_has_its_token_and_its_faults(node: Endpoint, other: Endpoint) -> None:
    other.side.fault(match={"method": "GET"}, status=503)
    assert node.ask("GET", "/Users").status == 200
    assert other.ask("GET", "/Users").status == 503
    assert Endpoint(node.side, other.http).ask("GET", "/Users").status == 401


def test_a_moved_account_is_the_other_nodes_with_its_id_and_its_address(node: Endpoint, other: Endpoint) -> None:
    first = node.created(1)["id"]
    before = node.ask("GET", f"/Users/{first}").body
    other.side.take(first)
    refused(node.ask("GET", f"/Users/{first}"), 404)
    assert other.ask("GET", f"/Users/{first}").body["userName"] == before["userName"]
    refused(node.ask("POST", "/Users", person(1)), 409)
    node.side.take(first)
    assert node.ask("GET", f"/Users/{first}").body == before


def test_a_node_that_is_seeded_keeps_its_neighbours_and_one_that_is_gone_frees_its_addresses(
    node: Endpoint, other: Endpoint
) -> None:
    other.created(1)
    node.side.control("PUT", "accounts", [])
    refused(node.ask("POST", "/Users", person(1)), 409)
    assert node.created(2)["id"] not in {account["id"] for account in other.side.accounts()}
    node.side.alone()
    assert node.created(1)
