"""The Keeper simulator's refusals, throttling, faults, and the control API."""

from __future__ import annotations

import time

import httpx2
import pytest

from tests.contract.keeper_endpoint import Answer, Endpoint, listing, person, post, refused


def test_a_token_that_is_not_the_nodes_is_refused(node: Endpoint) -> None:
    for header in ("Bearer wrong", "", f"Basic {node.side.token}"):
        response = node.http.get(f"{node.side.endpoint}/Users", headers={"Authorization": header})
        refused(Answer(response.status_code, response.json(), response.headers), 401)
    other = node.http.get(node.side.endpoint.replace("/4242", "/9999") + "/Users")
    assert other.status_code == 404


@pytest.mark.parametrize(("style", "status"), [("429", 429), ("403", 403)])
def test_it_throttles_as_keeper_does(node: Endpoint, style: str, status: int) -> None:
    node.side.settings(rate=0.001, burst=2, throttle_style=style, retry_after=7)
    answers = [node.ask("GET", "/Users") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, status, status]
    if style == "429":
        assert answers[3].headers["Retry-After"] == "7"
    else:
        assert answers[3].body == {
            "error": "throttled",
            "message": "Too many requests. Try again in 7 seconds",
        }


def test_latency_is_added_to_each_request_and_to_each_bulk_operation(node: Endpoint) -> None:
    node.side.settings(bulk=True, latency_ms=40, per_operation_ms=20)
    started = time.monotonic()
    node.ask("GET", "/Users")
    assert time.monotonic() - started >= 0.04
    started = time.monotonic()
    node.bulk(post(1), post(2), post(3))
    assert time.monotonic() - started >= 0.1


def test_a_fault_meets_what_it_matches_as_often_as_asked(node: Endpoint) -> None:
    body = "person2@"
    fault = node.side.fault(
        match={"method": "POST", "path": "/Users$", "body": body}, status=503, times=2, retry_after=3
    )
    node.created(1)
    answers = [node.ask("POST", "/Users", person(2)) for _ in range(3)]
    assert [answer.status for answer in answers] == [503, 503, 201]
    assert answers[0].headers["Retry-After"] == "3"
    assert node.side.matched(fault) == 2


def test_the_connection_is_dropped_before_or_after_the_work(node: Endpoint) -> None:
    for number, (effect, left) in enumerate((("drop_before", 0), ("drop_after", 1))):
        node.side.fault(match={"method": "POST"}, **{effect: True})
        with pytest.raises(httpx2.RemoteProtocolError):
            node.ask("POST", "/Users", person(number))
        assert len(node.side.accounts()) == left


def test_the_work_is_done_behind_a_failure(node: Endpoint) -> None:
    node.side.fault(match={"method": "POST|PATCH"}, status_after=504)
    answer = node.ask("POST", "/Users", person(1))
    assert (answer.status, answer.body["status"]) == (504, "504")
    assert len(node.side.accounts()) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/Teams", 404), ("GET", "/Me", 404), ("GET", "/Users/1/2", 404), ("DELETE", "/Groups", 405),
        ("GET", "/Groups/1", 404), ("PUT", "/Groups/1", 405), ("PUT", "/ServiceProviderConfig", 405),
        ("DELETE", "/Users", 405), ("POST", "/.search", 501), ("POST", "/Users/.search", 501),
    ],
)  # fmt: skip
def test_what_is_not_offered_is_told_apart_from_what_is_not_there(
    node: Endpoint, method: str, path: str, status: int
) -> None:
    refused(node.ask(method, path), status)


def test_the_control_api_seeds_changes_and_removes_accounts(node: Endpoint) -> None:
    node.side.control("PUT", "accounts", [{**person(1), "id": "77"}, person(2)])
    assert node.ask("GET", "/Users/77").body["userName"] == "person1@example.com"
    node.side.control("PATCH", "accounts/77", {"active": False})
    assert node.ask("GET", "/Users/77").body["active"] is False
    node.side.control("DELETE", "accounts/77")
    refused(node.ask("GET", "/Users/77"), 404)
    assert listing(node)[0] == ["d2"]
    seen = node.side.requests()
    assert (seen["methods"], seen["total"]) == ({"GET": 4}, 4)


@pytest.mark.parametrize(
    ("asked", "sent", "kept"),
    [
        ({"lower_case": True}, {"userName": "Ada@Example.com"}, {"userName": "ada@example.com"}),
        ({"trim": True}, {"displayName": " Ada  "}, {"displayName": "Ada"}),
        ({"nfc": True}, {"displayName": "Zoe\u0308"}, {"displayName": "Zo\u00eb"}),
        ({"longest": 3}, {"displayName": "Adam", "title": "Dr"}, {"displayName": "Ada", "title": "Dr"}),
        (
            {"bare_phones": True},
            {"phoneNumbers": [{"type": "work", "value": "+44 (0) 1-2"}]},
            {"phoneNumbers": [{"type": "work", "value": "+44012"}]},
        ),
    ],
)
def test_values_are_normalized_as_asked_wherever_they_come_from(keeper, node, asked, sent, kept):
    keeper.settings(normalization=asked)
    created = node.created(1, **sent)
    patched = node.patched(created["id"], {"op": "replace", "value": sent}).body
    for shown in (created, patched):
        assert {name: shown[name] for name in kept} == kept


def test_a_firewall_answers_before_the_request_or_after_it(keeper, node):
    scim_id = node.created(1)["id"]
    lock = {"op": "replace", "path": "active", "value": False}
    for effect, active in (("page", True), ("page_after", False)):
        keeper.fault(match={"method": "PATCH"}, **{effect: 200})
        response = node.http.patch(f"{node.side.endpoint}/Users/{scim_id}", json={"Operations": [lock]})
        assert (response.status_code, response.headers["content-type"]) == (200, "text/html")
        assert node.ask("GET", f"/Users/{scim_id}").body["active"] is active


def test_bulk_shows_the_accounts_where_that_is_asked_for(keeper, node):
    keeper.settings(bulk=True, bulk_responses=True)
    keeper.fault(match={"method": "POST", "path": "/Bulk"}, result_shows={"active": False, "displayName": None})
    (result,) = node.bulk(post(1)).body["Operations"]
    assert (result["response"]["userName"], result["response"]["active"]) == ("person1@example.com", False)
    assert "displayName" not in result["response"]
    assert node.ask("GET", f"/Users/{result['response']['id']}").body["active"] is True
