"""Users of the Keeper simulator: created, changed in every dialect, locked, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.keeper_endpoint import Answer, Endpoint, person, refused, scim2_models

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


def test_a_created_user_is_invited_active_and_named_after_the_address(node: Endpoint) -> None:
    answer = node.ask("POST", "/Users", person(1))
    user = scim2_models.User.model_validate(answer.body)
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
    enterprise = scim2_models.EnterpriseUser
    extension = scim2_models.User[enterprise].model_validate(body)[enterprise]
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


def test_the_time_of_creation_outlives_changes_and_is_told_or_not(node: Endpoint) -> None:
    made = node.created()
    created = made["meta"]["created"]
    node.patched(made["id"], {"op": "replace", "path": "displayName", "value": "New"})
    node.ask("PUT", f"/Users/{made['id']}", person(title="Analyst"))
    assert node.ask("GET", f"/Users/{made['id']}").body["meta"] == {"resourceType": "User", "created": created}
    node.side.settings(tell_created=False)
    assert node.ask("GET", f"/Users/{made['id']}").body["meta"] == {"resourceType": "User"}
    assert "created" not in node.ask("GET", "/Users").body["Resources"][0]["meta"]
    seeded = {"id": "77", "userName": "old@example.com", "meta": {"created": "2001-01-01T00:00:00Z"}}
    node.side.control("PUT", "accounts", [seeded])
    node.side.control("PATCH", "accounts/77", {"active": False})
    node.side.settings(tell_created=True)
    assert node.ask("GET", "/Users/77").body["meta"]["created"] == "2001-01-01T00:00:00Z"
    fresh = node.side.control("POST", "recreate/77")["id"]
    assert node.ask("GET", f"/Users/{fresh}").body["meta"]["created"] >= created
