"""The Keeper simulator, judged by scim2-tester, and by what it says of itself.

What Keeper does otherwise than RFC 7644 is listed once, with its source; any other failure is a bug of the simulator.
"""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any, SupportsIndex

import httpx2
import pytest

from tests.contract.keeper_endpoint import Endpoint, post, refused, scim2_models
from tests.support.lazily import Lazily

scim2_client, scim2_tester = Lazily("scim2_client.engines.httpx2"), Lazily("scim2_tester")

# resource, check and attribute -> where Keeper says that it is so
EXCLUDED = "excludedAttributes knows `members` only: docs.keeper.io, Using SCIM API"
QUIRKS: dict[tuple[str, str, str], str] = {
    ("User", "object_deletion", ""): "DELETE locks: docs.keeper.io, Google Workspace User Provisioning with SCIM",
    ("User", "object_query_with_attributes", ""): EXCLUDED,
    ("User", "object_list_with_attributes", ""): EXCLUDED,
    ("User", "check_remove_attribute", "emails"): "one value with userName: learn.microsoft.com, Keeper tutorial",
    ("Group", "object_replacement", ""): "Groups have no PUT: docs.keeper.io, API Provisioning with SCIM",
}
# not offered, and no failure: docs.keeper.io lists the methods, /.search is not among them
NOT_OFFERED = {("User", "search_with_attributes", ""), ("Group", "search_with_attributes", "")}
# a userName that is no e-mail address is refused, so nothing that creates a user works: docs.keeper.io, Users POST
CREATING = {
    "object_creation", "object_query", "object_query_without_id", "object_query_with_attributes",
    "object_list_with_attributes", "search_with_attributes", "object_replacement", "object_deletion",
    "check_add_attribute", "check_remove_attribute", "check_replace_attribute",
}  # fmt: skip


class Addresses(list[str]):
    """Examples without end: scim2-tester chooses one of an attribute's examples as its value."""

    def __getitem__(self, _index: SupportsIndex | slice) -> str:  # type: ignore[override]
        return f"{uuid.uuid4()}@example.com"


def judged(node: Endpoint, *, knows_addresses: bool) -> list[Any]:
    """Run scim2-tester; by itself it invents a userName that is no address."""
    headers = {"Authorization": f"Bearer {node.side.token}"}
    with httpx2.Client(base_url=node.side.endpoint, headers=headers, trust_env=False) as http:
        client = scim2_client.SyncSCIMClient(http)
        client.discover()
        if knows_addresses:
            model = client.get_resource_model("User")
            assert model is not None
            model.model_fields["user_name"].examples = Addresses(["any"])
        return scim2_tester.check_server(client)


def named(results: list[Any], *statuses: Any) -> Counter[tuple[str, str, str]]:
    """Count the results of these statuses by resource, check and attribute."""
    return Counter(
        (
            str(item.resource_type),
            str(item.title),
            str(item.data["urn"]) if isinstance(item.data, dict) and "urn" in item.data else "",
        )
        for item in results
        if item.status in statuses
    )


@pytest.mark.parametrize("bulk", [False, True])
def test_scim2_tester_finds_keepers_documented_quirks_and_nothing_else(node: Endpoint, bulk: bool) -> None:
    node.side.settings(bulk=bulk)
    results = judged(node, knows_addresses=True)
    status = scim2_tester.Status
    bad = set(status) - {status.SUCCESS, status.COMPLIANT, status.SKIPPED}
    assert named(results, *bad) == Counter(dict.fromkeys(QUIRKS, 1))
    assert set(named(results, status.SKIPPED)) == NOT_OFFERED
    assert len(named(results, status.SUCCESS)) > 60


def test_scim2_tester_creates_nobody_without_an_address(node: Endpoint) -> None:
    results = judged(node, knows_addresses=False)
    success = scim2_tester.Status.SUCCESS
    failed = [item for item in results if item.status is not success and item.resource_type == "User"]
    assert {str(item.title) for item in failed} == CREATING
    assert {item.reason for item in failed} == {"userName must be a valid e-mail address"}


def test_what_it_says_of_itself_is_what_it_does(node: Endpoint) -> None:
    node.side.settings(bulk=True, max_operations=7, max_payload=9000, page_cap=11)
    config = scim2_models.ServiceProviderConfig.model_validate(node.ask("GET", "/ServiceProviderConfig").body)
    assert config.bulk is not None
    assert config.filter is not None
    assert (config.bulk.supported, config.bulk.max_operations, config.bulk.max_payload_size) == (True, 7, 9000)
    assert config.filter.max_results == 11
    node.side.settings(bulk=False)
    config = scim2_models.ServiceProviderConfig.model_validate(node.ask("GET", "/ServiceProviderConfig").body)
    assert config.bulk is not None
    assert config.bulk.supported is False
    refused(node.bulk(post(1)), 501)
