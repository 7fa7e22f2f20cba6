"""What the directory answers about one user where it shows none, and what that proves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autoprovisioning.adapters.directory import GoogleDirectory
from autoprovisioning.app.administration.roles import Caller, admitted
from autoprovisioning.app.provisioning.adoption_grounds import deleted_addresses
from autoprovisioning.app.provisioning.read_user import read_user
from autoprovisioning.app.runs.read_directory import begin
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.errors import ConfigurationRefused, Forbidden, Transient
from autoprovisioning.domain.runs import Evidence, Look
from infra.local.simulation import DirectorySide
from tests.contract.directory_reader import FIELDS, PARTNER, answering, group_id, ids
from tests.contract.directory_servers import PEOPLE, SCOPE
from tests.contract.listener import Listener
from tests.support.builders import NOW, SECOND
from tests.support.executors import Inline

NOT_AUTHORIZED = {"status": 403, "reason": "forbidden", "message": "Not Authorized to access this resource/api"}
NOT_COMPLETE = {"status": 412, "reason": "conditionNotMet", "message": "User creation is not complete"}
ABOUT_ONE: list[dict[str, Any]] = [
    NOT_AUTHORIZED,
    {"status": 403, "reason": "forbidden"},
    {"status": 400, "reason": "invalid", "message": "Invalid Input: userKey"},
    {"status": 401, "reason": "authError"},
    {"status": 405, "reason": "httpMethodNotAllowed"},
    {"status": 410, "reason": "gone"},
    {"status": 501, "reason": "notImplemented"},
    {"status": 302},
]


def read(directory: GoogleDirectory, user_id: str, event: str = "", *, missing: bool = False) -> DirectoryUser:
    """Read one user as a worker does, for an event that is no longer young."""
    return read_user(
        directory, Look(user_id=user_id, event=event, evidence=Evidence(missing=missing)), NOW, NOW + SECOND
    )


def test_a_deleted_user_is_answered_412_and_proven_deleted_by_the_list(
    directory: GoogleDirectory, customer: dict[str, Any]
) -> None:
    gone = customer["deletedUsers"][0]["id"]
    assert directory.user(gone) is None
    assert read(directory, gone).presence is Presence.DELETED


@pytest.mark.parametrize("effect", [{"status": 400, "reason": "invalid"}, {"status": 403, "reason": "forbidden"}])
def test_without_the_list_a_412_proves_it_together_with_a_complete_listing(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any], effect: dict[str, Any]
) -> None:
    gone = customer["deletedUsers"][0]["id"]
    workspace.fault(match={"method": "users.list", "deleted": True}, times=None, **effect)
    assert read(directory, gone, "delete").presence is Presence.UNKNOWN
    assert read(directory, gone, missing=True).presence is Presence.DELETED


def test_any_other_412_passes(workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any]) -> None:
    workspace.fault(match={"method": "users.get"}, times=None, **NOT_COMPLETE)
    for ask in (directory.user, directory.by_address):
        with pytest.raises(Transient, match="not complete"):
            ask(customer["users"][4]["id"])


@pytest.mark.parametrize("effect", ABOUT_ONE)
def test_an_answer_about_one_user_is_no_fault_of_the_set_up_and_proves_nothing(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any], effect: dict[str, Any]
) -> None:
    user_id = customer["users"][4]["id"]
    workspace.fault(match={"method": "users.get"}, times=None, **effect)
    user = directory.user(user_id)
    assert user is not None
    assert (user.id, user.presence) == (user_id, Presence.UNKNOWN)
    assert f"HTTP {effect['status']}" in user.untold
    assert read(directory, user_id, missing=True).presence is Presence.UNKNOWN
    assert read(directory, user_id, "delete").presence is Presence.UNKNOWN


@pytest.mark.parametrize("effect", ABOUT_ONE)
def test_where_nobody_can_be_read_it_is_the_set_up(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any], effect: dict[str, Any]
) -> None:
    workspace.fault(times=None, **effect)
    with pytest.raises(ConfigurationRefused):
        directory.user(customer["users"][4]["id"])


@pytest.mark.parametrize("body", [{}, {"id": "2"}, {"id": 1}, {"id": None}, {"kind": "admin#directory#user"}])
def test_an_answer_about_somebody_else_is_not_no_such_user(listener: Listener, body: Any) -> None:
    user = answering(listener, body).user("1")
    assert user is not None
    assert (user.id, user.presence) == ("1", Presence.UNKNOWN)


def test_who_is_not_ours_to_see_is_not_let_in_and_not_found(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any]
) -> None:
    admin = customer["users"][0]["primaryEmail"]
    workspace.fault(match={"method": "users.get"}, times=None, **NOT_AUTHORIZED)
    with pytest.raises(Forbidden):
        admitted(directory, Caller(address=admin))
    assert directory.search_users(admin) == ()
    workspace.control("DELETE", "faults")
    workspace.fault(times=None, **NOT_AUTHORIZED)
    with pytest.raises(ConfigurationRefused):
        admitted(directory, Caller(address=admin))


@pytest.mark.parametrize(
    "told",
    [
        {"suspended": "false"},
        {"suspended": None},
        {"suspended": 0},
        {"archived": "true"},
        {"archived": []},
        {"suspended": True, "archived": "false"},
    ],
)
def test_a_flag_that_is_no_boolean_makes_that_user_unknown_and_a_listing_goes_on(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any], told: dict[str, Any]
) -> None:
    user_id = customer["users"][4]["id"]
    workspace.fault(match={"key": user_id}, times=None, set=told)
    user = read(directory, user_id, missing=True)
    assert (user.presence, bool(user.untold)) == (Presence.UNKNOWN, True)
    state = workspace.control("GET", "state")
    state["users"][4] |= told
    workspace.control("PUT", "state", state)
    listed = {user.id: user.presence for page in directory.users(FIELDS) for user in page}
    assert (len(listed), listed[user_id]) == (PEOPLE, Presence.UNKNOWN)
    assert list(listed.values()).count(Presence.UNKNOWN) == 1


@pytest.mark.parametrize("flag", ["true", 1, [True], None])
def test_nobody_is_an_administrator_by_anything_but_true(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any], flag: Any
) -> None:
    workspace.fault(match={"method": "users.get"}, times=None, set={"isAdmin": flag, "isDelegatedAdmin": flag})
    with pytest.raises(Forbidden, match="not an administrator"):
        admitted(directory, Caller(address=customer["users"][0]["primaryEmail"]))


@pytest.mark.parametrize(
    "told", [{"unset": ["orgUnitPath"]}, {"set": {"orgUnitPath": None}}, {"set": {"orgUnitPath": 7}}]
)
def test_a_unit_that_is_not_told_is_not_the_root(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any], told: dict[str, Any]
) -> None:
    workspace.fault(match={"method": "users.get"}, times=None, **told)
    user = directory.user(customer["users"][4]["id"])
    assert user is not None
    assert (user.org_unit_path, user.presence) == ("", Presence.ACTIVE)


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00+23:59", "1970-01-01T00:00:00.000Z", "9999-12-31T00:00:00Z", "x", 5]
)
def test_a_time_that_cannot_be_is_none(listener: Listener, time: Any) -> None:
    told = {"id": "1", "suspended": True, "suspensionTime": time, "creationTime": time}
    user = answering(listener, told).user("1")
    assert user is not None
    assert (user.presence, user.since, user.created) == (Presence.SUSPENDED, None, None)


@pytest.mark.parametrize("told", [{"aliases": "x@example.com"}, {"aliases": [1, None]}, {"primaryEmail": ["x"]}])
def test_addresses_of_another_type_are_none(listener: Listener, told: dict[str, Any]) -> None:
    user = answering(listener, {"id": "1", **told}).user("1")
    assert user is not None
    assert (user.primary_email, user.aliases) == ("", ())


@pytest.mark.parametrize("body", [{"users": "x"}, {"users": [{}]}, {"users": [{"id": 1}]}, {"users": ["1"]}, {}])
def test_the_probe_takes_nothing_but_a_user_for_one(listener: Listener, body: Any) -> None:
    assert answering(listener, body).probe() is False


@pytest.mark.parametrize("told", ["true", "false", 1, 0, None])
def test_a_membership_that_is_no_boolean_is_told_by_the_listing_or_not_at_all(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any], told: Any
) -> None:
    scope = group_id(customer, SCOPE)
    inside = customer["members"][group_id(customer, "sales-emea@example.com")][0]["id"]
    outside = customer["members"][group_id(customer, "everyone-else@example.com")][0]["id"]
    workspace.fault(match={"method": "members.hasMember"}, times=None, is_member=told)
    assert (directory.is_member(scope, inside), directory.is_member(scope, outside)) == (True, None)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 501])
def test_where_has_member_does_not_answer_a_short_listing_convicts_nobody(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any], status: int
) -> None:
    scope = group_id(customer, SCOPE)
    inside = customer["members"][group_id(customer, "sales-emea@example.com")][0]["id"]
    workspace.fault(match={"method": "members.hasMember"}, status=status, reason="invalid", times=None)
    assert directory.is_member(scope, inside) is True
    workspace.fault(match={"method": "members.list"}, leave_out=[inside], times=None)
    assert directory.is_member(scope, inside) is None


@pytest.mark.parametrize("effect", [{"status": 400, "message": "Invalid Input"}, {"status": 403}, {"status": 503}])
def test_a_list_of_deleted_users_that_fails_is_noted_and_proves_nobody_deleted(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any], effect: dict[str, Any]
) -> None:
    known = {user["primaryEmail"].casefold() for user in customer["deletedUsers"]}
    assert deleted_addresses(directory) == known
    workspace.fault(match={"method": "users.list", "deleted": True}, times=None, **effect)
    survey = begin(directory, [], Inline(), 1)
    assert (survey.deleted, survey.deleted_addresses, deleted_addresses(directory)) == ({}, None, None)
    assert f"HTTP {effect['status']}" in survey.notes[0]
    assert len(ids(directory.users(FIELDS))) == PEOPLE


def test_an_outsider_among_the_members_is_unknown(workspace: DirectorySide, directory: GoogleDirectory) -> None:
    workspace.fault(match={"key": PARTNER}, times=None, **NOT_AUTHORIZED)
    assert read(directory, PARTNER, missing=True).presence is Presence.UNKNOWN


def test_a_group_is_not_another_one_than_was_asked_for(listener: Listener) -> None:
    other = {"id": "g2", "email": "other@example.com", "name": "Other"}
    assert answering(listener, other, {"groups": [other]}).group("g1") is None
    assert answering(listener, other, {"groups": [other]}).group("mine@example.com") is None
    assert answering(listener, json.loads('{"id": "", "email": "mine@example.com"}')).group("mine@example.com") is None
