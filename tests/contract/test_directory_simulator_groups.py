"""The Directory simulator's groups and members, read and changed by Google's own client.

Every answer that `asked` returns was validated against the schema that the method promises, unknown properties refused.
"""

from __future__ import annotations

from typing import Any

from infra.local.simulation import DirectorySide
from tests.contract.directory_servers import SCOPE, asked, error, pages, reached


def test_groups_are_read_and_listed(api: Any, customer: dict[str, Any]) -> None:
    listed = [group for page in pages(api.groups(), "groups", customer="my_customer", maxResults=4) for group in page]
    assert [group["id"] for group in listed] == [group["id"] for group in customer["groups"]]
    for key in (SCOPE, SCOPE.upper(), customer["groups"][0]["id"]):
        assert asked(api.groups().get(groupKey=key))["email"] == SCOPE
    assert asked(api.groups().list(customer="my_customer", query=f"email={SCOPE}"))["groups"][0]["email"] == SCOPE
    found = asked(api.groups().list(customer="my_customer", query="email:sales*"))["groups"]
    assert {group["email"] for group in found} == {"sales@example.com", "sales-emea@example.com"}
    assert error(api.groups().get(groupKey="nobody@example.com"))[:2] == (404, "notFound")
    assert error(api.groups().list(customer="my_customer", maxResults=201))[0] == 400


def test_the_groups_of_a_user_are_those_that_list_them(api: Any, customer: dict[str, Any]) -> None:
    group_id, members = next((key, value) for key, value in customer["members"].items() if value)
    user_id = next(member["id"] for member in members if member["type"] == "USER")
    found = asked(api.groups().list(userKey=user_id))["groups"]
    assert [group["id"] for group in found] == [group_id]


def test_the_groups_of_a_group_are_those_that_have_it_as_a_member(api: Any, customer: dict[str, Any]) -> None:
    ids = {group["email"]: group["id"] for group in customer["groups"]}
    found = asked(api.groups().list(userKey="sales-emea@example.com"))["groups"]
    above = {
        group
        for group, members in customer["members"].items()
        if ids["sales-emea@example.com"] in {member["id"] for member in members}
    }
    assert {group["id"] for group in found} == above
    for key in ("nobody@example.com", ids["sales-emea@example.com"]):  # a group's id is no userKey
        assert error(api.groups().list(userKey=key))[:2] == (404, "notFound")


def test_members_are_listed_directly_or_derived_through_nested_groups(api: Any, customer: dict[str, Any]) -> None:
    for group in customer["groups"]:
        direct = [item for page in pages(api.members(), "members", groupKey=group["id"]) for item in page]
        assert [item["id"] for item in direct] == [item["id"] for item in customer["members"][group["id"]]]
        params = {"groupKey": group["email"], "includeDerivedMembership": True, "maxResults": 200}
        found = pages(api.members(), "members", **params)
        derived = [item for page in found for item in page]
        assert {item["type"] for item in derived} <= {"USER"}
        assert sorted(item["id"] for item in derived) == sorted(reached(customer, group["id"]))
        assert all(len(page) == 200 for page in found[:-1])


def test_a_cycle_of_groups_is_listed_once(api: Any, customer: dict[str, Any]) -> None:
    ids = {group["email"]: group["id"] for group in customer["groups"]}
    sales, emea = ids["sales@example.com"], ids["sales-emea@example.com"]
    assert emea in {member["id"] for member in customer["members"][sales]}
    assert sales in {member["id"] for member in customer["members"][emea]}
    listed = pages(api.members(), "members", groupKey=emea, includeDerivedMembership=True)
    found = [item["id"] for page in listed for item in page]
    assert len(found) == len(set(found))
    assert set(found) == reached(customer, sales)


def test_members_are_asked_for_by_role_and_page(workspace: DirectorySide, api: Any, customer: dict[str, Any]) -> None:
    group_id = customer["groups"][5]["id"]
    owner = asked(api.members().insert(groupKey=group_id, body={"id": customer["users"][0]["id"], "role": "OWNER"}))
    found = asked(api.members().list(groupKey=group_id, roles="OWNER,MANAGER"))["members"]
    assert [item["id"] for item in found] == [owner["id"]]
    assert error(api.members().list(groupKey=group_id, maxResults=201))[0] == 400
    assert error(api.members().list(groupKey="nobody@example.com"))[:2] == (404, "notFound")


def test_has_member_knows_nested_membership_and_refuses_outsiders(api: Any, customer: dict[str, Any]) -> None:
    ids = {group["email"]: group["id"] for group in customer["groups"]}
    nested = customer["members"][ids["sales-emea@example.com"]][0]
    other = customer["members"][ids["everyone-else@example.com"]][0]
    for key in (nested["id"], nested["email"]):
        assert asked(api.members().hasMember(groupKey=SCOPE, memberKey=key)) == {"isMember": True}
    assert asked(api.members().hasMember(groupKey=SCOPE, memberKey=other["id"])) == {"isMember": False}
    assert error(api.members().hasMember(groupKey=SCOPE, memberKey="partner@elsewhere.test"))[0] == 400
    assert error(api.members().hasMember(groupKey="nobody@example.com", memberKey=nested["id"]))[0] == 404


def test_membership_changes_at_once(api: Any, customer: dict[str, Any]) -> None:
    user = customer["users"][0]
    added = asked(api.groups().insert(body={"email": "new@example.com"}))
    assert asked(api.members().list(groupKey=added["id"])) == {
        "kind": "admin#directory#members",
        "etag": '"members-0"',
    }
    asked(api.members().insert(groupKey=added["id"], body={"email": user["primaryEmail"]}))
    assert asked(api.groups().get(groupKey=added["id"]))["directMembersCount"] == "1"
    asked(api.members().delete(groupKey=added["id"], memberKey=user["id"]))
    assert asked(api.members().hasMember(groupKey=added["id"], memberKey=user["id"])) == {"isMember": False}
    asked(api.groups().delete(groupKey=added["id"]))
    assert error(api.groups().get(groupKey=added["id"]))[0] == 404
