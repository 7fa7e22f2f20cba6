"""Users, groups and members as GoogleDirectory reads them from the Directory simulator."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from autoprovisioning.adapters.directory import GoogleDirectory
from autoprovisioning.domain.directory_user import Presence, to_the_second
from autoprovisioning.domain.errors import Incomplete
from infra.local.simulation import DirectorySide
from tests.contract.directory_reader import FIELDS, PARTNER, group_id, ids
from tests.contract.directory_servers import PEOPLE, SCOPE
from tests.contract.scim_servers import Counts


def test_a_user_is_read_by_id_with_every_field(directory: GoogleDirectory, customer: dict[str, Any]) -> None:
    given = customer["users"][4]
    user = directory.user(given["id"])
    assert user is not None
    assert (user.id, user.primary_email, user.org_unit_path, user.created) == (
        given["id"],
        given["primaryEmail"],
        given["orgUnitPath"],
        datetime.fromisoformat(given["creationTime"]),
    )
    assert user.presence is Presence.ACTIVE
    assert user.profile["customSchemas"] == given["customSchemas"]
    assert user.profile["name"]["familyName"] == given["name"]["familyName"]


def test_a_users_presence_carries_the_directorys_own_time(directory: GoogleDirectory, customer: dict[str, Any]) -> None:
    suspended = next(user for user in customer["users"] if user["suspended"])
    archived = next(user for user in customer["users"] if user["archived"])
    for given, presence, key in (
        (suspended, Presence.SUSPENDED, "suspensionTime"),
        (archived, Presence.ARCHIVED, "archivalTime"),
    ):
        user = directory.user(given["id"])
        assert user is not None
        assert (user.presence, user.since) == (presence, datetime.fromisoformat(given[key]))


def test_times_are_told_to_the_second_as_they_are_kept(directory: GoogleDirectory, workspace: DirectorySide) -> None:
    workspace.insert({"id": "fraction", "primaryEmail": "fraction@example.com", "name": {"givenName": "F"}})
    workspace.patch("fraction", {"suspended": True})
    workspace.patch("fraction", {"suspensionTime": "2026-11-20T09:00:01.987Z"})
    user = directory.user("fraction")
    assert user is not None
    assert user.since == datetime.fromisoformat("2026-11-20T09:00:01Z")


def test_administrators_and_aliases_are_told(directory: GoogleDirectory, customer: dict[str, Any]) -> None:
    admin, delegated_admin = customer["users"][0], customer["users"][1]
    found = [directory.user(admin["id"]), directory.user(delegated_admin["id"])]
    assert [(user.is_admin, user.is_delegated_admin) for user in found if user] == [(True, False), (False, True)]
    assert found[0] is not None
    assert list(found[0].aliases) == admin["aliases"]


def test_a_user_is_read_by_id_alone(directory: GoogleDirectory, customer: dict[str, Any]) -> None:
    for key in ("1", customer["deletedUsers"][0]["id"], "a/b?c#d"):
        assert directory.user(key) is None
    other = directory.user(customer["users"][4]["primaryEmail"])
    assert other is not None
    assert (other.presence, other.profile) == (Presence.UNKNOWN, {})


def test_an_address_finds_its_user(directory: GoogleDirectory, customer: dict[str, Any]) -> None:
    given = next(user for user in customer["users"] if user.get("aliases"))
    for address in (given["primaryEmail"], given["aliases"][0]):
        user = directory.by_address(address)
        assert user is not None
        assert user.id == given["id"]
    assert directory.by_address("nobody@example.com") is None


def test_every_user_is_listed_500_a_page(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any], counts: Counts
) -> None:
    pages = list(directory.users(FIELDS))
    assert [len(page) for page in pages] == [500, PEOPLE - 500]
    by_address = sorted(customer["users"], key=lambda user: str(user["primaryEmail"]))
    assert ids(pages) == [user["id"] for user in by_address]
    assert workspace.control("GET", "requests")["methods"] == {"users.list": 2}
    assert counts == {"directory_requests": 2}
    listed = {user.presence for page in pages for user in page}
    assert listed == {Presence.ACTIVE, Presence.SUSPENDED, Presence.ARCHIVED}


@pytest.mark.parametrize("fields", [FIELDS, FIELDS | {"customSchemas", "externalIds"}])
def test_a_listing_asks_for_the_mapped_fields_and_no_others(directory: GoogleDirectory, fields: frozenset[str]) -> None:
    page = next(iter(directory.users(fields)))
    known = {"id", "suspended", "archived", "orgUnitPath", "aliases", "creationTime", "suspensionTime", "archivalTime",
             "isAdmin", "isDelegatedAdmin"}  # fmt: skip
    for user in page:
        assert set(user.profile) <= known | fields
        assert fields <= set(user.profile)


def test_deleted_users_are_listed_with_the_time(directory: GoogleDirectory, customer: dict[str, Any]) -> None:
    found = [user for page in directory.deleted_users() for user in page]
    assert {(user.id, user.since) for user in found} == {
        (user["id"], to_the_second(datetime.fromisoformat(user["deletionTime"]))) for user in customer["deletedUsers"]
    }
    assert {user.presence for user in found} == {Presence.DELETED}


def test_derived_members_are_users_through_nested_groups(directory: GoogleDirectory, customer: dict[str, Any]) -> None:
    found = [member for page in directory.members(group_id(customer, SCOPE)) for member in page]
    nested = customer["members"][group_id(customer, "sales-emea@example.com")]
    groups = {group["id"] for group in customer["groups"]}
    assert {member["id"] for member in nested if member["type"] == "USER"} <= set(found)
    assert not groups & set(found)
    assert len(found) == len(set(found)) > 400
    assert PARTNER in found  # their id does not belong to a user of this customer


def test_a_group_with_everybody_as_a_member_proves_nothing(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any]
) -> None:
    state = workspace.control("GET", "state")
    scope = group_id(customer, SCOPE)
    state["members"][scope].append({"id": state["customer"], "type": "CUSTOMER", "role": "MEMBER"})
    workspace.control("PUT", "state", state)
    with pytest.raises(Incomplete, match="everybody in the organization"):
        list(directory.members(scope))


def test_membership_of_one_user_is_asked_and_outsiders_come_from_the_listing(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any]
) -> None:
    scope = group_id(customer, SCOPE)
    inside = customer["members"][group_id(customer, "sales-emea@example.com")][0]["id"]
    outside = customer["members"][group_id(customer, "everyone-else@example.com")][0]["id"]
    assert directory.is_member(scope, inside) is True
    assert directory.is_member(scope, outside) is False
    assert "members.list" not in workspace.control("GET", "requests")["methods"]
    assert directory.is_member(scope, PARTNER) is True
    assert directory.is_member(group_id(customer, "finance@example.com"), PARTNER) is None
    with pytest.raises(Incomplete):
        directory.is_member("no-such-group", inside)


@pytest.mark.parametrize("status", [404, 405, 501])
def test_where_has_member_is_not_served_the_listing_answers(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any], status: int
) -> None:
    workspace.fault(match={"method": "members.hasMember"}, status=status, times=None)
    inside = customer["members"][group_id(customer, "sales@example.com")][0]["id"]
    assert directory.is_member(group_id(customer, SCOPE), inside) is True


def test_a_group_is_found_by_id_or_address(directory: GoogleDirectory, customer: dict[str, Any]) -> None:
    scope = group_id(customer, SCOPE)
    for key in (scope, SCOPE, SCOPE.upper()):
        group = directory.group(key)
        assert group is not None
        assert (group.id, group.email, group.name) == (scope, SCOPE, "Keeper Users")
    assert directory.group("nobody@example.com") is None
    assert directory.group("no-such-id") is None


def test_where_groups_get_knows_no_addresses_the_query_does(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any]
) -> None:
    workspace.fault(match={"method": "groups.get"}, status=404, times=None)
    group = directory.group(SCOPE)
    assert group is not None
    assert group.id == group_id(customer, SCOPE)


def test_the_probe_says_whether_somebody_can_be_read(workspace: DirectorySide, directory: GoogleDirectory) -> None:
    assert directory.probe() is True
    workspace.control("PUT", "state", {"users": []})
    assert directory.probe() is False
