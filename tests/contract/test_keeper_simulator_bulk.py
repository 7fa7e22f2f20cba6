"""Bulk requests to the Keeper simulator (RFC 7644 section 3.7)."""

from __future__ import annotations

from tests.contract.keeper_endpoint import PATCH_OP, Endpoint, person, post, refused, scim2_models


def test_bulk_answers_every_operation_by_itself(node: Endpoint) -> None:
    node.side.settings(bulk=True)
    scim_id = node.created(0)["id"]
    patch = {"schemas": [PATCH_OP], "Operations": [{"op": "replace", "path": "title", "value": "New"}]}
    answer = node.bulk(
        post(1),
        post(0),
        {"method": "PATCH", "path": f"/Users/{scim_id}", "data": patch},
        {"method": "PUT", "path": "/Users/1", "data": person(7)},
        {"method": "DELETE", "path": f"/Users/{scim_id}"},
    )
    results = scim2_models.BulkResponse[scim2_models.User].model_validate(answer.body).operations or []
    assert [str(item.status) for item in results] == ["201", "409", "200", "404", "204"]
    assert [item.bulk_id for item in results] == ["b1", "b0", None, None, None]
    assert str(results[0].location).endswith(node.side.of("d1")["id"])  # type: ignore[index]
    assert scim2_models.Error.model_validate(answer.body["Operations"][1]["response"]).scim_type == "uniqueness"
    assert node.ask("GET", f"/Users/{scim_id}").body["title"] == "New"


def test_bulk_stops_after_as_many_errors_as_were_allowed(node: Endpoint) -> None:
    node.side.settings(bulk=True)
    node.created(0)
    answer = node.bulk(post(0), post(1), post(0), post(2), failOnErrors=2)
    assert [item["status"] for item in answer.body["Operations"]] == ["409", "201", "409"]
    assert len(node.side.accounts()) == 2


def test_bulk_is_refused_whole_above_its_limits(node: Endpoint) -> None:
    node.side.settings(bulk=True, max_operations=2)
    refused(node.bulk(post(1), post(2), post(3)), 413)
    node.side.settings(max_operations=1000, max_payload=300)
    refused(node.bulk(post(1), post(2)), 413)
    assert node.side.accounts() == []
    node.side.settings(max_payload=1_048_576)
    assert node.bulk(post(1), post(2), post(3)).status == 200


def test_bulk_refuses_circular_references_and_nonsense(node: Endpoint) -> None:
    node.side.settings(bulk=True)
    first = post(1) | {"data": person(1, manager="bulkId:b2")}
    second = post(2) | {"data": person(2, manager="bulkId:b1")}
    refused(node.bulk(first, second), 409)
    refused(node.ask("POST", "/Bulk", {"Operations": [1]}), 400)
    refused(node.ask("POST", "/Bulk", {"Operations": {}}), 400)
    refused(node.bulk(post(1), {"method": "GET", "path": "/Users"}), 400)
    refused(node.ask("GET", "/Bulk"), 405)
    assert node.side.accounts() == []


def test_bulk_operations_are_done_behind_a_failure(node: Endpoint) -> None:
    node.side.settings(bulk=True)
    node.side.fault(match={"path": "/Bulk"}, results_after=504)
    answer = node.bulk(post(1), post(2))
    assert [item["status"] for item in answer.body["Operations"]] == ["504", "504"]
    assert len(node.side.accounts()) == 2


def test_bulk_results_are_lost_on_demand(node: Endpoint) -> None:
    node.side.settings(bulk=True)
    node.side.fault(match={"path": "/Bulk"}, lose_results=2)
    answer = node.bulk(post(1), post(2), post(3))
    assert [item["bulkId"] for item in answer.body["Operations"]] == ["b1"]
    assert len(node.side.accounts()) == 3


def test_bulk_results_are_unnamed_and_in_another_order_on_demand(node: Endpoint) -> None:
    node.side.settings(bulk=True)
    node.side.fault(match={"path": "/Bulk"}, unnamed=True, reverse=True)
    answer = node.bulk(post(1), post(2))
    assert [set(item) for item in answer.body["Operations"]] == [{"method", "status", "location"}] * 2
    assert answer.body["Operations"][0]["location"].endswith(node.side.of("d2")["id"])  # type: ignore[index]


def test_bulk_carries_out_a_part_of_a_request_on_demand(node: Endpoint) -> None:
    node.side.settings(bulk=True)
    node.side.fault(match={"path": "/Bulk"}, only=1)
    answer = node.bulk(post(1), post(2), post(3))
    assert [item["bulkId"] for item in answer.body["Operations"]] == ["b1"]
    assert len(node.side.accounts()) == 1
