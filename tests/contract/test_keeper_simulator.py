"""The Keeper simulator, judged by scim2-tester and by models that we did not write, and each quirk that it claims.

What Keeper does otherwise than RFC 7644 is listed once, with its source; any other failure is a bug of the simulator.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, SupportsIndex

import httpx2
import pytest
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_models import BulkResponse, EnterpriseUser, Error, ListResponse, ServiceProviderConfig, User
from scim2_tester import Status, check_server
from scim2_tester.utils import CheckResult

from infra.local.world import KeeperSide
from tests.contract.scim_servers import as_new, keeper

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
# check and attribute -> where Keeper says that it is so
QUIRKS: dict[tuple[str, str], str] = {
    ("object_deletion", ""): "DELETE locks: docs.keeper.io, Google Workspace User Provisioning with SCIM",
    ("object_query_with_attributes", ""): "excludedAttributes knows `members` only: docs.keeper.io, Using SCIM API",
    ("object_list_with_attributes", ""): "excludedAttributes knows `members` only: docs.keeper.io, Using SCIM API",
    ("check_remove_attribute", "emails"): "userName and emails have one value: learn.microsoft.com, Keeper tutorial",
}
# not offered, and no failure: docs.keeper.io lists the methods, /.search is not among them
NOT_OFFERED = {("search_with_attributes", "")}
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


@dataclass
class Answer:
    """What came back."""

    status: int
    body: Any
    headers: httpx2.Headers


@dataclass
class Endpoint:
    """The simulated endpoint over plain HTTP."""

    side: KeeperSide
    http: httpx2.Client

    def ask(self, method: str, path: str, body: Any = None, **params: Any) -> Answer:
        response = self.http.request(method, self.side.endpoint + path, json=body, params=params)
        return Answer(response.status_code, response.json() if response.content else None, response.headers)

    def created(self, number: int = 0, **more: Any) -> dict[str, Any]:
        answer = self.ask("POST", "/Users", person(number, **more))
        assert answer.status == 201, answer
        return dict(answer.body)

    def patched(self, scim_id: str, *operations: dict[str, Any]) -> Answer:
        return self.ask("PATCH", f"/Users/{scim_id}", {"schemas": [PATCH_OP], "Operations": list(operations)})

    def bulk(self, *operations: dict[str, Any], **more: Any) -> Answer:
        schemas = ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"]
        return self.ask("POST", "/Bulk", {"schemas": schemas, "Operations": list(operations), **more})


def person(number: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": f"person{number}@example.com",
        "externalId": f"d{number}",
        "name": {"givenName": "Ada", "familyName": "Lovelace"},
        **more,
    }


def post(number: int, **more: Any) -> dict[str, Any]:
    return {"method": "POST", "path": "/Users", "bulkId": f"b{number}", "data": person(number), **more}


def refused(answer: Answer, status: int) -> Error:
    """Return the error, which must be RFC 7644's (3.12)."""
    assert answer.status == status, answer
    error = Error.model_validate(answer.body)
    assert error.status == status
    return error


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with keeper(tmp_path_factory.mktemp("keeper")) as side:
        token = {"Authorization": f"Bearer {side.token}"}
        with httpx2.Client(headers=token, trust_env=False) as http:
            yield Endpoint(side, http)


@pytest.fixture
def node(running: Endpoint) -> Endpoint:
    as_new(running.side)
    return running


def judged(node: Endpoint, *, knows_addresses: bool) -> list[CheckResult]:
    """Run scim2-tester; by itself it invents a userName that is no address."""
    headers = {"Authorization": f"Bearer {node.side.token}"}
    with httpx2.Client(base_url=node.side.endpoint, headers=headers, trust_env=False) as http:
        client = SyncSCIMClient(http)
        client.discover()
        if knows_addresses:
            model = client.get_resource_model("User")
            assert model is not None
            model.model_fields["user_name"].examples = Addresses(["any"])
        return check_server(client)


def named(results: list[CheckResult], *statuses: Status) -> Counter[tuple[str, str]]:
    """Count the results of these statuses by check and attribute."""
    return Counter(
        (str(item.title), str(item.data["urn"]) if isinstance(item.data, dict) and "urn" in item.data else "")
        for item in results
        if item.status in statuses
    )


@pytest.mark.parametrize("bulk", [False, True])
def test_scim2_tester_finds_keepers_documented_quirks_and_nothing_else(node: Endpoint, bulk: bool) -> None:
    node.side.settings(bulk=bulk)
    results = judged(node, knows_addresses=True)
    bad = [status for status in Status if status not in (Status.SUCCESS, Status.COMPLIANT, Status.SKIPPED)]
    assert named(results, *bad) == Counter(dict.fromkeys(QUIRKS, 1))
    assert set(named(results, Status.SKIPPED)) == NOT_OFFERED
    assert len(named(results, Status.SUCCESS)) > 60


def test_scim2_tester_creates_nobody_without_an_address(node: Endpoint) -> None:
    failed = [item for item in judged(node, knows_addresses=False) if item.status is not Status.SUCCESS]
    assert {str(item.title) for item in failed} == CREATING
    assert {item.reason for item in failed} == {"userName must be a valid e-mail address"}


def test_what_it_says_of_itself_is_what_it_does(node: Endpoint) -> None:
    node.side.settings(bulk=True, max_operations=7, max_payload=9000, page_cap=11)
    config = ServiceProviderConfig.model_validate(node.ask("GET", "/ServiceProviderConfig").body)
    assert config.bulk is not None
    assert config.filter is not None
    assert (config.bulk.supported, config.bulk.max_operations, config.bulk.max_payload_size) == (True, 7, 9000)
    assert config.filter.max_results == 11
    node.side.settings(bulk=False)
    config = ServiceProviderConfig.model_validate(node.ask("GET", "/ServiceProviderConfig").body)
    assert config.bulk is not None
    assert config.bulk.supported is False
    refused(node.bulk(post(1)), 501)


def test_a_created_user_is_invited_active_and_named_after_the_address(node: Endpoint) -> None:
    answer = node.ask("POST", "/Users", person(1))
    user = User.model_validate(answer.body)
    assert answer.status == 201
    assert answer.headers["Content-Type"] == "application/scim+json"
    assert answer.headers["Location"].endswith(f"/Users/{user.id}")
    assert (user.user_name, user.display_name, user.active) == ("person1@example.com", "person1@example.com", True)
    assert user.emails is not None
    assert [email.value for email in user.emails] == ["person1@example.com"]
    assert str(user.id).isdigit()


@pytest.mark.parametrize(
    ("settings", "body", "status", "detail"),
    [
        ({}, person(1, userName="no-address"), 400, "valid e-mail"),
        ({}, person(1, userName=None), 400, "valid e-mail"),
        ({}, person(1, userName="PERSON0@example.com"), 409, "Email already taken"),
        ({"taken_addresses": ["Person1@Example.com"]}, person(1), 409, "Email already taken"),
        ({"seats": 1}, person(1), 428, "Number of licensed seats was exceeded"),
        ({"reserved_domains": ["example.org"]}, person(1), 400, "not reserved"),
        ({}, person(1, active="perhaps"), 400, "true or false"),
    ],
)
def test_a_user_who_cannot_be_created(
    node: Endpoint, settings: dict[str, Any], body: Any, status: int, detail: str
) -> None:
    node.created(0)
    node.side.settings(**settings)
    error = refused(node.ask("POST", "/Users", body), status)
    assert detail in str(error.detail)
    assert len(node.side.accounts()) == 1


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(node: Endpoint, content: bytes) -> None:
    response = node.http.post(f"{node.side.endpoint}/Users", content=content)
    refused(Answer(response.status_code, response.json(), response.headers), 400)


def test_delete_locks_the_account_and_keeps_its_seat(node: Endpoint) -> None:
    node.side.settings(seats=1)
    scim_id = node.created()["id"]
    assert node.ask("DELETE", f"/Users/{scim_id}").status == 204
    assert node.ask("GET", f"/Users/{scim_id}").body["active"] is False
    refused(node.ask("POST", "/Users", person(1)), 428)


def test_a_user_created_anew_in_the_admin_console_has_a_new_id(node: Endpoint) -> None:
    old = node.created()["id"]
    fresh = node.side.control("POST", f"recreate/{old}")["id"]
    refused(node.ask("GET", f"/Users/{old}"), 404)
    refused(node.patched(old, {"op": "replace", "path": "active", "value": False}), 404)
    refused(node.ask("PUT", f"/Users/{old}", person()), 404)
    refused(node.ask("DELETE", f"/Users/{old}"), 404)
    again = node.ask("GET", f"/Users/{fresh}").body
    assert (again["userName"], again["active"], "externalId" in again) == ("person0@example.com", True, False)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "Replace", "path": "active", "value": "true"},
        {"op": "replace", "path": "active", "value": True},
        {"op": "replace", "value": {"active": True}},
        {"op": "replace", "value": {"ACTIVE": "True"}},
    ],
)
def test_active_is_unlocked_in_every_dialect(node: Endpoint, operation: dict[str, Any]) -> None:
    scim_id = node.created(active="false")["id"]
    assert node.ask("GET", f"/Users/{scim_id}").body["active"] is False
    assert node.patched(scim_id, operation).body["active"] is True


def test_the_vendors_own_dialect_is_understood(node: Endpoint) -> None:
    """Commander and ksm-google-scim send one object with dotted keys and no path."""
    scim_id = node.created()["id"]
    value = {"externalId": "e", "displayName": "D", "name.familyName": "F", "name.givenName": "G", "active": False}
    body = node.patched(scim_id, {"op": "replace", "value": value}).body
    assert (body["externalId"], body["displayName"], body["active"]) == ("e", "D", False)
    assert body["name"] == {"familyName": "F", "givenName": "G"}


@pytest.mark.parametrize(
    ("operation", "address"),
    [
        ({"op": "replace", "path": "userName", "value": "new@example.com"}, "new@example.com"),
        ({"op": "replace", "path": "emails", "value": [{"value": "new@example.com"}]}, "new@example.com"),
        ({"op": "replace", "path": 'emails[type eq "work"].value', "value": "new@example.com"}, "new@example.com"),
        ({"op": "replace", "value": {"userName": "new@example.com"}}, "new@example.com"),
        ({"op": "remove", "path": "emails"}, "person0@example.com"),
    ],
)
def test_user_name_and_e_mail_are_one_value(node: Endpoint, operation: dict[str, Any], address: str) -> None:
    scim_id = node.created()["id"]
    body = node.patched(scim_id, operation).body
    assert (body["userName"], body["emails"][0]["value"]) == (address, address)


def test_an_address_given_up_is_free_again(node: Endpoint) -> None:
    first, second = node.created(1)["id"], node.created(2)["id"]
    take = {"op": "replace", "path": "userName", "value": "person1@example.com"}
    refused(node.patched(second, take), 409)
    assert node.patched(first, {"op": "replace", "path": "userName", "value": "other@example.com"}).status == 200
    assert node.patched(second, take).body["userName"] == "person1@example.com"


@pytest.mark.parametrize(
    "operations",
    [
        [],
        [{"op": "replace", "path": "displayName", "value": "New"}, {"op": "nonsense", "path": "active"}],
        [{"op": "replace", "path": "displayName", "value": "New"}, {"op": "replace", "path": "id", "value": "1"}],
        [{"op": "replace", "path": "displayName", "value": "New"}, {"op": "remove"}],
        [{"op": "replace", "path": "displayName", "value": "New"}, {"op": "replace", "value": ["active"]}],
        [{"op": "replace", "path": "displayName", "value": "New"}, {"op": "replace", "path": ENTERPRISE, "value": 1}],
    ],
)
def test_a_patch_is_done_whole_or_not_at_all(node: Endpoint, operations: list[dict[str, Any]]) -> None:
    scim_id = node.created(displayName="Old")["id"]
    refused(node.patched(scim_id, *operations), 400)
    assert node.ask("GET", f"/Users/{scim_id}").body["displayName"] == "Old"


def test_the_enterprise_extension_is_written_whole_or_by_attribute(node: Endpoint) -> None:
    scim_id = node.created()["id"]
    node.patched(scim_id, {"op": "add", "path": ENTERPRISE, "value": {"department": "Sales", "division": "EMEA"}})
    body = node.patched(scim_id, {"op": "replace", "path": f"{ENTERPRISE}:department", "value": "Finance"}).body
    extension = User[EnterpriseUser].model_validate(body)[EnterpriseUser]
    assert extension is not None
    assert (extension.department, extension.division) == ("Finance", "EMEA")
    assert ENTERPRISE not in node.patched(scim_id, {"op": "remove", "path": ENTERPRISE}).body


def test_put_clears_what_it_leaves_out(node: Endpoint) -> None:
    scim_id = node.created(title="Engineer", active=False)["id"]
    body = node.ask("PUT", f"/Users/{scim_id}", person(title="Analyst", externalId=None)).body
    assert (body["title"], body["externalId"], body["active"]) == ("Analyst", None, False)
    assert "name" not in node.ask("PUT", f"/Users/{scim_id}", {"userName": "person0@example.com"}).body


def test_string_active_answers_strings(node: Endpoint) -> None:
    node.side.settings(string_active=True)
    scim_id = node.created()["id"]
    assert node.ask("GET", f"/Users/{scim_id}").body["active"] == "true"
    assert node.ask("GET", "/Users").body["Resources"][0]["active"] == "true"


def listing(node: Endpoint, **params: Any) -> tuple[list[str], ListResponse[Any]]:
    answer = node.ask("GET", "/Users", **params)
    assert answer.status == 200, answer
    page = ListResponse[User].model_validate(answer.body)
    return [str(user.external_id) for user in page.resources or []], page


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
    results = BulkResponse[User].model_validate(answer.body).operations or []
    assert [str(item.status) for item in results] == ["201", "409", "200", "404", "204"]
    assert [item.bulk_id for item in results] == ["b1", "b0", None, None, None]
    assert str(results[0].location).endswith(node.side.of("d1")["id"])  # type: ignore[index]
    assert Error.model_validate(answer.body["Operations"][1]["response"]).scim_type == "uniqueness"
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


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/Teams", 404), ("GET", "/Me", 404), ("GET", "/Users/1/2", 404), ("POST", "/Groups", 405),
        ("GET", "/Groups/1", 404), ("PUT", "/ServiceProviderConfig", 405), ("DELETE", "/Users", 405),
        ("POST", "/.search", 501), ("POST", "/Users/.search", 501),
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
