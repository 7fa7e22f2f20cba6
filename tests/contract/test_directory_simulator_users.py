"""The Directory simulator's users, read and changed by Google's own client.

Every answer that `asked` returns was validated against the schema that the method promises, unknown properties refused.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.local.simulation import DirectorySide
from tests.contract.directory_servers import PEOPLE, asked, error, everybody, pages


def test_the_listing_pages_to_its_end(api: Any, customer: dict[str, Any]) -> None:
    found = pages(api.users(), "users", customer="my_customer", maxResults=500)
    assert [len(page) for page in found] == [500, PEOPLE - 500]
    by_address = sorted(customer["users"], key=lambda user: str(user["primaryEmail"]))
    assert [user["id"] for page in found for user in page] == [user["id"] for user in by_address]


def test_a_page_has_100_users_unless_asked_otherwise(api: Any) -> None:
    assert len(asked(api.users().list(customer="my_customer"))["users"]) == 100


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ({"customer": "my_customer", "maxResults": 501}, "range: [1, 500]"),
        ({"customer": "my_customer", "maxResults": 0}, "range: [1, 500]"),
        ({}, "Bad Request"),
        ({"customer": "my_customer", "query": "nonsense"}, "query"),
        ({"customer": "my_customer", "query": "unknownField=1"}, "query"),
        ({"customer": "my_customer", "pageToken": "nonsense"}, "pageToken"),
        ({"customer": "my_customer", "fields": "users(id,nickname)"}, "Invalid field selection nickname"),
        ({"customer": "my_customer", "fields": "users(name/given)"}, "Invalid field selection given"),
        ({"customer": "my_customer", "fields": "people"}, "Invalid field selection people"),
        ({"customer": "my_customer", "fields": "users(id"}, "Invalid field selection"),
        ({"customer": "my_customer", "projection": "custom"}, "customFieldMask"),
    ],
)
def test_a_listing_that_is_refused(api: Any, params: dict[str, Any], wanted: str) -> None:
    status, _, message = error(api.users().list(**params))
    assert status == 400
    assert wanted in message


@pytest.mark.parametrize(
    ("fields", "envelope", "user"),
    [
        ("nextPageToken,users(id,primaryEmail)", {"nextPageToken", "users"}, {"id", "primaryEmail"}),
        ("users/id", {"users"}, {"id"}),
        ("users(id,name/givenName)", {"users"}, {"id", "name"}),
        ("kind,users(id,customSchemas/HR/costCenter)", {"kind", "users"}, {"id", "customSchemas"}),
        ("kind", {"kind"}, set()),
        ("*", {"kind", "etag", "nextPageToken", "users"}, None),
    ],
)
def test_a_mask_selects_fields(api: Any, fields: str, envelope: set[str], user: set[str] | None) -> None:
    answer = asked(api.users().list(customer="my_customer", projection="full", fields=fields))
    assert set(answer) == envelope
    for item in answer.get("users", []):
        assert user is None or set(item) == user
    if "givenName" in fields:
        assert {key for item in answer["users"] for key in item["name"]} == {"givenName"}
    if "costCenter" in fields:
        assert answer["users"][0]["customSchemas"].keys() == {"HR"}
        assert answer["users"][0]["customSchemas"]["HR"].keys() == {"costCenter"}


@pytest.mark.parametrize(
    ("params", "shown"),
    [
        ({}, None),
        ({"projection": "basic"}, None),
        ({"projection": "full"}, {"HR"}),
        ({"projection": "custom", "customFieldMask": "HR"}, {"HR"}),
        ({"projection": "custom", "customFieldMask": "Other"}, None),
    ],
)
def test_custom_schemas_are_shown_as_the_projection_says(api: Any, params: dict[str, str], shown: Any) -> None:
    listed = asked(api.users().list(customer="my_customer", maxResults=1, **params))["users"][0]
    read = asked(api.users().get(userKey=listed["id"], **params))
    for user in (listed, read):
        assert (set(user["customSchemas"]) if "customSchemas" in user else None) == shown


def _at_or_below_sales(user: dict[str, Any]) -> bool:
    return user["orgUnitPath"] == "/Sales" or user["orgUnitPath"].startswith("/Sales/")


@pytest.mark.parametrize(
    ("query", "test"),
    [
        ("isSuspended=true", lambda user: user["suspended"]),
        ("isSuspended=false isArchived=false", lambda user: not user["suspended"] and not user["archived"]),
        ("isAdmin=true", lambda user: user["isAdmin"]),
        ("orgUnitPath='/Sales'", _at_or_below_sales),
        ("orgUnitPath=/", lambda _: True),
        ("email:ada*", lambda user: user["primaryEmail"].startswith("ada")),
        ("externalId=E-000017", lambda user: user["externalIds"][0]["value"] == "E-000017"),
        ("givenName:'美咲'", lambda user: user["name"]["givenName"] == "美咲"),
        ("email=nobody@example.com", lambda _: False),
    ],
)
def test_a_query_finds_those_it_describes(api: Any, customer: dict[str, Any], query: str, test: Any) -> None:
    found = {user["id"] for user in everybody(api, maxResults=500, query=query)}
    assert found == {user["id"] for user in customer["users"] if test(user)}


def test_an_empty_listing_leaves_the_list_out(api: Any) -> None:
    answer = asked(api.users().list(customer="my_customer", query="email=nobody@example.com"))
    assert set(answer) == {"kind", "etag"}


def test_a_listing_is_of_one_domain_or_of_the_customer(api: Any, customer: dict[str, Any]) -> None:
    found = [user for page in pages(api.users(), "users", domain="example.co.jp", maxResults=500) for user in page]
    wanted = {user["id"] for user in customer["users"] if user["primaryEmail"].endswith("@example.co.jp")}
    assert {user["id"] for user in found} == wanted


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ("email", lambda user: user["primaryEmail"].casefold()),
        ("familyName", lambda user: user["name"]["familyName"].casefold()),
        ("givenName", lambda user: user["name"]["givenName"].casefold()),
    ],
)
def test_a_listing_is_sorted_on_demand(api: Any, field: str, key: Any) -> None:
    up = [key(user) for user in everybody(api, maxResults=500, orderBy=field)]
    down = [key(user) for user in everybody(api, maxResults=500, orderBy=field, sortOrder="DESCENDING")]
    assert up == sorted(up)
    assert down == sorted(down, reverse=True)


def test_deleted_users_are_listed_apart_and_for_20_days(
    workspace: DirectorySide, api: Any, customer: dict[str, Any]
) -> None:
    listed = everybody(api, showDeleted="true")
    assert {user["id"] for user in listed} == {user["id"] for user in customer["deletedUsers"]}
    assert all(user["deletionTime"] for user in listed)
    gone = customer["users"][5]
    workspace.delete(gone["id"])
    assert gone["id"] in {user["id"] for user in everybody(api, showDeleted="true")}
    assert gone["id"] not in {user["id"] for user in everybody(api, maxResults=500)}
    state = workspace.control("GET", "state")
    for user in state["deletedUsers"]:
        user["deletionTime"] = (datetime.now(UTC) - timedelta(days=21)).isoformat()
    workspace.control("PUT", "state", state)
    assert everybody(api, showDeleted="true") == []


def test_a_user_is_read_by_id_address_or_alias(api: Any, customer: dict[str, Any]) -> None:
    user = next(user for user in customer["users"] if user.get("aliases"))
    for key in (user["id"], user["primaryEmail"], user["primaryEmail"].upper(), user["aliases"][0]):
        assert asked(api.users().get(userKey=key))["id"] == user["id"]
    masked = asked(api.users().get(userKey=user["id"], fields="id,name(givenName)"))
    assert masked == {"id": user["id"], "name": {"givenName": user["name"]["givenName"]}}


def test_an_unknown_user_is_not_found(api: Any, customer: dict[str, Any]) -> None:
    for key in ("nobody@example.com", "1", customer["deletedUsers"][0]["primaryEmail"]):
        assert error(api.users().get(userKey=key)) == (404, "notFound", "Resource Not Found: userKey")


def test_a_deleted_user_is_told_from_an_unknown_one_for_twenty_days(
    workspace: DirectorySide, api: Any, customer: dict[str, Any]
) -> None:
    gone = customer["deletedUsers"][0]["id"]
    assert error(api.users().get(userKey=gone)) == (412, "conditionNotMet", "User is deleted.")
    state = workspace.control("GET", "state")
    state["deletedUsers"][0]["deletionTime"] = "2020-01-01T00:00:00.000Z"
    workspace.control("PUT", "state", state)
    assert error(api.users().get(userKey=gone))[0] == 404


def test_a_rename_keeps_the_old_address_as_an_alias(api: Any, customer: dict[str, Any]) -> None:
    user = customer["users"][4]
    renamed = asked(api.users().patch(userKey=user["id"], body={"primaryEmail": "renamed@example.com"}))
    assert renamed["id"] == user["id"]
    assert user["primaryEmail"] in renamed["aliases"]
    assert asked(api.users().get(userKey=user["primaryEmail"]))["primaryEmail"] == "renamed@example.com"
    body = {"primaryEmail": user["primaryEmail"], "name": {"givenName": "A", "familyName": "B"}}
    assert error(api.users().insert(body=body))[:2] == (409, "duplicate")


def test_suspension_and_archival_carry_their_time(api: Any, customer: dict[str, Any]) -> None:
    key = customer["users"][4]["id"]
    suspended = asked(api.users().patch(userKey=key, body={"suspended": True}))
    assert suspended["suspensionReason"] == "ADMIN"
    assert datetime.fromisoformat(suspended["suspensionTime"]) <= datetime.now(UTC)
    back = asked(api.users().patch(userKey=key, body={"suspended": False, "archived": True}))
    assert "suspensionTime" not in back
    assert back["archivalTime"]


def test_an_undelete_needs_the_id_and_a_free_address(api: Any, customer: dict[str, Any]) -> None:
    gone = customer["deletedUsers"][0]
    assert error(api.users().undelete(userKey=gone["primaryEmail"], body={}))[0] == 404
    asked(api.users().undelete(userKey=gone["id"], body={"orgUnitPath": "/Sales"}))
    back = asked(api.users().get(userKey=gone["id"]))
    assert (back["orgUnitPath"], "deletionTime" in back) == ("/Sales", False)
