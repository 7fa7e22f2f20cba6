"""Teams of the Keeper simulator: pending until approved, each way of writing a membership, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.contract.keeper_endpoint import PATCH_OP, Answer, Endpoint, person, post, refused, scim2_models

GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"


def group(name: str = "Engineers", external_id: str = "g1", **more: Any) -> dict[str, Any]:
    return {"schemas": [GROUP], "displayName": name, "externalId": external_id, **more}


def made(node: Endpoint, name: str = "Engineers", external_id: str = "g1") -> str:
    answer = node.ask("POST", "/Groups", group(name, external_id))
    assert answer.status == 201, answer
    return str(answer.body["id"])


def change(op: str, *teams: str) -> dict[str, Any]:
    return {"op": op, "path": "groups", "value": [{"value": team} for team in teams]}


def regroup(node: Endpoint, team: str, *operations: dict[str, Any]) -> Answer:
    return node.ask("PATCH", f"/Groups/{team}", {"schemas": [PATCH_OP], "Operations": list(operations)})


def of(node: Endpoint, team: str) -> dict[str, Any]:
    return next(each for each in node.side.teams() if each["id"] == team)


def groups(node: Endpoint, scim_id: str) -> list[str]:
    return [each["value"] for each in node.ask("GET", f"/Users/{scim_id}").body.get("groups", [])]


@pytest.fixture
def other(node: Endpoint) -> Iterator[Endpoint]:
    """A node beside the first one."""
    side = node.side.beside("4243")
    with httpx2.Client(headers={"Authorization": f"Bearer {side.token}"}, trust_env=False) as http:
        yield Endpoint(side, http)
    node.side.alone()


def test_a_new_team_is_pending_until_somebody_with_keys_approves_it(node: Endpoint) -> None:
    answer = node.ask("POST", "/Groups", group())
    team = scim2_models.Group.model_validate(answer.body)
    assert (answer.status, team.display_name, team.external_id, len(str(team.id))) == (201, "Engineers", "g1", 22)
    assert answer.headers["Location"].endswith(f"/Groups/{team.id}")
    assert of(node, str(team.id))["pending"] is True
    node.side.approve()
    assert of(node, str(team.id))["pending"] is False


def test_a_membership_waits_for_the_team_the_invitation_and_the_lock(node: Endpoint) -> None:
    team, (ready, invited, locked) = made(node), (node.created(number)["id"] for number in range(3))
    node.side.accept(ready, locked)
    node.ask("DELETE", f"/Users/{locked}")
    for scim_id in (ready, invited, locked):
        assert node.patched(scim_id, change("add", team)).status == 200
    assert (of(node, team)["queued"], groups(node, ready)) == ([ready, invited, locked], [])
    node.side.approve()
    assert (of(node, team)["members"], of(node, team)["queued"]) == ([ready], [invited, locked])
    assert (groups(node, ready), groups(node, invited)) == ([team], [])
    node.side.accept()
    node.patched(locked, {"op": "replace", "path": "active", "value": True})
    assert groups(node, invited) == []
    node.side.approve(team)
    assert of(node, team)["members"] == [ready, invited, locked]


def test_who_is_said_to_have_been_invited_is_waited_for(node: Endpoint) -> None:
    team, scim_id = made(node), node.created()["id"]
    node.side.accept()
    node.side.control("POST", "invite", {"accounts": [scim_id]})
    node.patched(scim_id, change("add", team))
    node.side.approve()
    assert of(node, team)["queued"] == [scim_id]


def test_a_pending_team_may_not_be_listed(node: Endpoint) -> None:
    first, second = made(node), made(node, "Sales", "g2")
    node.side.approve(second)

    def listed() -> list[str]:
        return [each["id"] for each in node.ask("GET", "/Groups").body["Resources"]]

    assert listed() == [first, second]
    node.side.settings(teams={"pending_listed": False})
    assert listed() == [second]
    assert node.ask("GET", f"/Groups/{first}").status == 200
    node.side.approve()
    assert listed() == [first, second]


def test_somebody_takes_a_user_out_in_the_admin_console(node: Endpoint) -> None:
    team, scim_id = made(node), node.created()["id"]
    node.side.control("PUT", f"teams/{team}/members/{scim_id}")
    assert groups(node, scim_id) == [team]
    node.side.control("DELETE", f"teams/{team}/members/{scim_id}")
    assert (groups(node, scim_id), of(node, team)["members"]) == ([], [])


def test_only_the_approved_team_is_no_longer_pending(node: Endpoint) -> None:
    first, second = made(node), made(node, "Sales", "g2")
    node.side.approve(second)
    assert (of(node, first)["pending"], of(node, second)["pending"]) == (True, False)


def test_answers_show_waiting_memberships_where_that_is_asked_for(node: Endpoint) -> None:
    team, scim_id = made(node), node.created()["id"]
    node.patched(scim_id, change("add", team))
    assert (groups(node, scim_id), node.ask("GET", f"/Groups/{team}").body["members"]) == ([], [])
    node.side.settings(teams={"queued_shown": True})
    assert groups(node, scim_id) == [team]
    assert node.ask("GET", f"/Groups/{team}").body["members"] == [{"value": scim_id, "display": "person0@example.com"}]


def test_one_patch_changes_attributes_and_teams(node: Endpoint) -> None:
    old, new, scim_id = made(node), made(node, "Sales", "g2"), node.created()["id"]
    node.side.accept()
    node.patched(scim_id, change("add", old))
    node.side.approve()
    title = {"op": "replace", "path": "title", "value": "Dr"}
    body = node.patched(scim_id, title, change("Remove", old), change("Add", new)).body
    assert (body["title"], body.get("groups", [])) == ("Dr", [])
    assert (of(node, old)["members"], of(node, new)["queued"]) == ([], [scim_id])


def test_a_node_may_answer_a_membership_with_success_and_keep_none(node: Endpoint) -> None:
    team, scim_id = made(node), node.created()["id"]
    node.side.settings(teams={"groups_in_patch_kept": False})
    answer = node.patched(scim_id, {"op": "replace", "path": "title", "value": "Dr"}, change("add", team))
    assert (answer.status, answer.body["title"], of(node, team)["queued"]) == (200, "Dr", [])


def test_a_node_may_answer_a_membership_with_a_conflict_and_do_nothing(node: Endpoint) -> None:
    team, scim_id = made(node), node.created()["id"]
    node.side.settings(teams={"groups_conflict": True})
    title = {"op": "replace", "path": "title", "value": "Dr"}
    assert node.patched(scim_id, title, change("add", team)).status == 409
    assert node.ask("POST", "/Users", person(1, groups=[{"value": team}])).status == 409
    assert [account.get("title") for account in node.side.accounts()] == [None]
    assert node.patched(scim_id, title).status == 200


@pytest.mark.parametrize("bulk", [False, True])
def test_a_new_user_is_put_into_teams(node: Endpoint, bulk: bool) -> None:
    team = made(node)
    if bulk:
        node.side.settings(bulk=True)
        data = person(1, groups=[{"value": team}])
        (result,) = node.bulk(post(1, data=data)).body["Operations"]
        assert result["status"] == "201"
    else:
        node.created(1, groups=[{"value": team}])
    (account,) = node.side.accounts()
    assert of(node, team)["queued"] == [account["id"]]


def test_before_backend_16_9_10_a_new_user_is_put_into_no_team(node: Endpoint) -> None:
    node.side.settings(teams={"groups_in_post": False})
    team = made(node)
    node.created(1, groups=[{"value": team}])
    assert of(node, team)["queued"] == []


def test_where_groups_are_read_only_a_patch_of_them_is_refused_as_a_whole(node: Endpoint) -> None:
    node.side.settings(teams={"groups_in_patch": False})
    team, scim_id = made(node), node.created()["id"]
    title = {"op": "replace", "path": "title", "value": "Dr"}
    assert refused(node.patched(scim_id, title, change("add", team)), 400).scim_type == "mutability"
    assert "title" not in node.ask("GET", f"/Users/{scim_id}").body
    assert of(node, team)["queued"] == []


def test_members_are_written_with_the_team_only_where_it_takes_them(node: Endpoint) -> None:
    team, scim_id = made(node), node.created()["id"]
    members = [{"$ref": None, "value": scim_id}]  # as Entra's gallery apps send them
    refused(regroup(node, team, {"op": "Add", "path": "members", "value": members}), 400)
    assert node.ask("POST", "/Groups", group("Sales", "g2", members=members)).status == 201
    assert [each["queued"] for each in node.side.teams()] == [[], []]
    node.side.settings(teams={"members_in_groups": True})
    assert regroup(node, team, {"op": "Add", "path": "members", "value": members}).status == 200
    assert node.ask("POST", "/Groups", group("Support", "g3", members=members)).status == 201
    assert [each["queued"] for each in node.side.teams()] == [[scim_id], [], [scim_id]]
    for operation in (
        {"op": "Remove", "path": "members", "value": members},
        {"op": "remove", "path": f'members[value eq "{scim_id}"]'},
    ):
        regroup(node, team, {"op": "add", "path": "members", "value": members}, operation)
        assert of(node, team)["queued"] == []
    refused(regroup(node, team, {"op": "add", "path": "members", "value": [{"value": "nobody"}]}), 404)
    refused(regroup(node, team, {"op": "replace", "path": "members", "value": members}), 400)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "value": {"externalId": "g9", "displayName": "Platform"}},
        {"op": "replace", "value": {"displayName": "Platform"}},
        {"op": "Replace", "path": "displayName", "value": "Platform"},
    ],
)
def test_a_team_is_renamed_in_the_vendors_dialect_and_keeps_its_members(node: Endpoint, operation: Any) -> None:
    team, scim_id = made(node), node.created()["id"]
    node.patched(scim_id, change("add", team))
    body = regroup(node, team, operation).body
    assert (body["id"], body["displayName"]) == (team, "Platform")
    assert body["externalId"] == ("g9" if "externalId" in operation["value"] else "g1")
    assert of(node, team)["queued"] == [scim_id]


def test_names_are_unique_only_where_the_scim_method_says_so(node: Endpoint) -> None:
    first, second = made(node), made(node, "Engineers", "g2")
    assert first != second
    third = made(node, "Sales", "g3")
    node.side.settings(teams={"unique": True})
    assert refused(node.ask("POST", "/Groups", group("ENGINEERS", "g4")), 409).scim_type == "uniqueness"
    refused(regroup(node, third, {"op": "replace", "value": {"displayName": "Engineers"}}), 409)
    assert regroup(node, third, {"op": "replace", "value": {"displayName": "sales"}}).status == 200
    assert len(node.side.teams()) == 3


def test_a_group_whose_name_begins_with_the_prefix_is_a_role_and_nothing_waits(node: Endpoint) -> None:
    node.side.settings(teams={"role_prefix": "role-"})
    role, team, scim_id = made(node, "role-Admins"), made(node, "Role-play", "g2"), node.created()["id"]
    node.patched(scim_id, change("add", role, team))
    assert [(each["role"], each["pending"]) for each in node.side.teams()] == [(True, False), (False, True)]
    assert groups(node, scim_id) == [role]


def test_teams_of_people_and_of_other_nodes_show_and_only_the_first_are_listed(node: Endpoint, other: Endpoint) -> None:
    scim_id = node.created()["id"]
    seeded = [{"id": "theirs", "displayName": "Board", "members": [scim_id]}]
    node.side.control("PUT", "teams", seeded)
    foreign = made(other, "Elsewhere")
    other.side.control("PUT", f"teams/{foreign}/members/{scim_id}")
    assert groups(node, scim_id) == ["theirs", foreign]
    listed = node.ask("GET", "/Groups").body["Resources"]
    assert [(each["id"], each.get("externalId")) for each in listed] == [("theirs", None)]
    refused(node.ask("GET", f"/Groups/{foreign}"), 404)
    refused(node.patched(scim_id, change("remove", foreign)), 404)
    refused(node.ask("POST", "/Users", person(1, groups=[{"value": foreign}])), 404)
    assert len(node.side.accounts()) == 1
    node.side.alone()
    assert groups(node, scim_id) == ["theirs"]


def test_delete_really_deletes_a_team_and_a_locked_user_stays_in_the_others(node: Endpoint) -> None:
    first, second, scim_id = made(node), made(node, "Sales", "g2"), node.created()["id"]
    node.side.accept()
    node.patched(scim_id, change("add", first, second))
    node.side.approve()
    node.ask("DELETE", f"/Users/{scim_id}")
    assert node.ask("DELETE", f"/Groups/{first}").status == 204
    refused(node.ask("GET", f"/Groups/{first}"), 404)
    refused(node.ask("DELETE", f"/Groups/{first}"), 404)
    assert groups(node, scim_id) == [second]


def test_a_user_created_anew_is_in_no_team_any_more(node: Endpoint) -> None:
    team, scim_id = made(node), node.created()["id"]
    node.side.accept()
    node.patched(scim_id, change("add", team))
    node.side.approve()
    fresh = node.side.control("POST", f"recreate/{scim_id}")["id"]
    assert groups(node, fresh) == []
    assert node.ask("GET", f"/Groups/{team}").body["members"] == []


def test_groups_are_listed_in_pages_and_without_members_where_asked(node: Endpoint) -> None:
    names = [f"Team {number}" for number in range(5)]
    for name in names:
        made(node, name, name)
    node.side.settings(page_cap=2)
    answer = node.ask("GET", "/Groups", startIndex=4, excludedAttributes="members")
    page = scim2_models.ListResponse[scim2_models.Group].model_validate(answer.body)
    assert [each.display_name for each in page.resources or []] == names[3:]
    assert (page.total_results, page.items_per_page) == (5, 2)
    assert ["members" in each for each in answer.body["Resources"]] == [False, False]
    assert ["members" in each for each in node.ask("GET", "/Groups").body["Resources"]] == [True, True]
    refused(node.ask("GET", "/Groups", filter='displayName eq "Team 1"'), 400)


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        (change("add", "nobody"), 404),
        (change("replace"), 400),
        ({"op": "add", "path": "groups", "value": ["id"]}, 400),
        ({"op": "replace", "value": {"groups": [{"value": "id"}]}}, 400),
    ],
)
def test_a_membership_that_cannot_be_written_changes_nothing(node: Endpoint, operation: Any, status: int) -> None:
    team, scim_id = made(node), node.created()["id"]
    refused(node.patched(scim_id, change("add", team), operation), status)
    assert of(node, team)["queued"] == []


@pytest.mark.parametrize("body", [group(""), group(None), {"externalId": "g1"}])  # type: ignore[arg-type]
def test_a_team_needs_a_name(node: Endpoint, body: Any) -> None:
    refused(node.ask("POST", "/Groups", body), 400)
    refused(regroup(node, made(node), {"op": "replace", "value": {"displayName": ""}}), 400)
    assert len(node.side.teams()) == 1
