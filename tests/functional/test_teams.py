"""A group becomes a team, from the choice in the API to the members in Keeper, through the deployed functions."""

from __future__ import annotations

from typing import Any

import pytest

from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.functional.test_pages import HOME, browser
from tests.support.system import GROUP_ID, System, person

TEAM, NESTED = "g-team", "g-nested"
FUNCTION = "workspace_events"
JSON = {"Content-Type": "application/json"}


def member(key: str, kind: str = "USER") -> dict[str, str]:
    number = key.removeprefix("u")
    address = f"person{number}@example.com" if kind == "USER" else f"{key}@example.com"
    return {"id": key, "email": address, "type": kind, "role": "MEMBER"}


def arrange(system: System, name: str = "Engineers", *users: str) -> None:
    """Have the group under this name with these members, and another group in it that has the third person."""
    state = system.directory.control("GET", "state")
    state["groups"] = [group for group in state["groups"] if group["id"] not in (TEAM, NESTED)]
    state["groups"] += [
        {"id": TEAM, "email": "keeper-engineers@example.com", "name": name},
        {"id": NESTED, "email": f"{NESTED}@example.com", "name": "Backend"},
    ]
    state["members"][TEAM] = [*map(member, users), member(NESTED, "GROUP")]
    state["members"][NESTED] = [member("u3")]
    system.directory.control("PUT", "state", state)


@pytest.fixture
def teams(system: System) -> System:
    """A connection that makes teams of groups named keeper-eng*, after its first run."""
    arrange(system, "Engineers", "u1", "u2")
    system.provisioned()
    choose(system)
    return system


def choose(system: System, **more: Any) -> None:
    edition = system.world.console("GET", "connections/keeper")["edition"]
    choice = {"teams": {"patterns": ["keeper-eng*"], **more}}

    def edit() -> None:
        answer = system.api("PATCH", "/connections/keeper", choice, {"If-Match": f'"{edition}"'})
        assert answer.status == 200, answer.body

    system.followed(edit)


def inside(system: System) -> set[str]:
    (team,) = system.keeper.teams()
    owners = {account["id"]: account["externalId"] for account in system.keeper.accounts()}
    return {owners[scim_id] for scim_id in (*team["members"], *team["queued"])}


def listed(system: System) -> dict[str, Any]:
    (item,) = system.world.console("GET", "connections/keeper/teams")["items"]
    return dict(item)


def test_a_group_with_a_nested_one_becomes_a_team_that_waits_and_then_works(teams):
    (team,) = teams.keeper.teams()
    assert (team["displayName"], team["externalId"], team["pending"]) == ("Engineers", TEAM, True)
    assert inside(teams) == {"u1", "u2", "u3"}
    assert team["members"] == [], "nobody has accepted the invitation, and nobody has approved the team"
    teams.keeper.accept()
    teams.keeper.approve()
    before = teams.keeper.requests()["methods"]
    teams.sync()
    after = teams.keeper.requests()["methods"]
    assert {name: after[name] - before.get(name, 0) for name in after if name != "GET"} == dict.fromkeys(
        (name for name in after if name != "GET"), 0
    ), "what waits, and what works, is not sent again"
    (team,) = teams.keeper.teams()
    assert (len(team["members"]), team["queued"]) == (3, [])
    teams.sync()
    assert (listed(teams)["state"], listed(teams)["people"]) == ("there", 3)


def test_a_rename_a_leave_and_an_emptied_group(teams):
    arrange(teams, "Builders", "u1", "u2", "u4")
    teams.sync()
    (team,) = teams.keeper.teams()
    assert (team["displayName"], inside(teams)) == ("Builders", {"u1", "u2", "u3", "u4"})
    arrange(teams, "Builders", "u1", "u2")
    teams.sync()
    assert inside(teams) == {"u1", "u2", "u3"}
    arrange(teams, "Builders")
    teams.sync()
    assert inside(teams) == {"u1", "u2", "u3"}, "two of three at once are held"
    assert listed(teams)["held"] == 2
    done = browser(teams).open(f"{HOME}/teams").send("Decisions", "remove")
    assert "Approved." in done.text
    teams.sync()
    assert inside(teams) == {"u3"}


def test_who_joins_or_leaves_is_in_the_team_in_seconds_by_the_audit_log_alone(teams):
    teams.directory.weather(lose=True)
    teams.kill(FUNCTION)
    teams.restart(FUNCTION)
    teams.world.follow_audit_log(delay=0.2)
    teams.directory.join(TEAM, "u4")
    last = f"/connections/{CONNECTION}/events?user=u1"

    def told() -> dict[str, Any] | None:
        event = dict(teams.api("GET", last).json()["items"][0])
        return event if (event["changed"] or {}).get("groups") == "" else None

    wait_for(lambda: inside(teams) == {"u1", "u2", "u3", "u4"}, "a join by event")
    teams.directory.leave(TEAM, "u1")
    wait_for(lambda: inside(teams) == {"u2", "u3", "u4"}, "a leave by event")
    left = wait_for(told, "the audit, which is written after Keeper has answered")
    assert (left["cause"]["event"], left["cause"]["actor"]) == ("REMOVE_GROUP_MEMBER", "admin@example.com")
    assert (left["before"]["groups"], left["changed"]["groups"]) == ("Engineers", "")


def test_a_sweep_finds_who_joined_or_left_directly_or_by_a_nested_group(teams):
    teams.directory.weather(lose=True)
    arrange(teams, "Engineers", "u2", "u4")
    assert teams.ask("reconcile", body=b'{"kind": "sweep"}', headers=JSON).status == 200
    wait_for(lambda: inside(teams) == {"u2", "u3", "u4"}, "a join and a leave by a sweep")
    teams.directory.join(NESTED, "u5")
    assert teams.ask("reconcile", body=b'{"kind": "sweep"}', headers=JSON).status == 200
    wait_for(lambda: inside(teams) == {"u2", "u3", "u4", "u5"}, "a nested join by a sweep")


def test_who_returns_is_out_of_the_team_that_they_left_before_access_is_given_back(teams):
    teams.directory.patch("u1", {"suspended": True})
    teams.await_account("u1", lambda account: not account["active"])
    arrange(teams, "Engineers", "u2")
    teams.directory.patch("u1", {"suspended": False})
    teams.await_account("u1", lambda account: bool(account["active"]))
    assert inside(teams) == {"u2", "u3"}


def test_who_is_suspended_is_taken_out_where_that_is_chosen_and_is_in_the_team_again_once_back(teams):
    choose(teams, remove_suspended=True)
    teams.directory.patch("u1", {"suspended": True})
    teams.await_account("u1", lambda account: not account["active"])
    wait_for(lambda: inside(teams) == {"u2", "u3"}, "a removal by the look that suspended")
    teams.directory.patch("u2", {"suspended": True})
    teams.await_account("u2", lambda account: not account["active"])
    teams.sync()
    assert (inside(teams), listed(teams)["held"]) == ({"u2", "u3"}, 1), "the second of three would be more than half"
    teams.directory.patch("u1", {"suspended": False})
    wait_for(lambda: inside(teams) == {"u1", "u2", "u3"}, "a join by the look that reactivated")


def test_a_group_that_cannot_be_read_loses_nobody(teams):
    arrange(teams, "Engineers", "u1")
    teams.directory.fault(match={"method": "members.list", "key": TEAM}, status=503, times=None)
    teams.sync()
    assert inside(teams) == {"u1", "u2", "u3"}
    teams.directory.control("DELETE", "faults")
    teams.sync()
    assert inside(teams) == {"u1", "u3"}


@pytest.mark.parametrize("door", ["page", "api"])
def test_a_team_that_people_made_is_adopted_once_somebody_confirms_it_and_nobody_in_it_is_touched(system, door):
    arrange(system, "Engineers", "u1", "u2")
    system.provisioned()
    (u4,) = (account["id"] for account in system.keeper.accounts() if account["externalId"] == "u4")
    system.keeper.control("PUT", "teams", [{"id": "theirs", "displayName": "engineers", "members": [u4]}])
    choose(system)
    assert (listed(system)["state"], listed(system)["namesake"]["obstacle"]) == ("name_taken", None)
    if door == "page":
        assert "Confirmed." in browser(system).open(f"{HOME}/teams").send("Decisions", "adopt").text
    else:
        body = {"team_id": "theirs", "team_name": "engineers"}
        answer = system.api("POST", f"/connections/keeper/teams/{TEAM}/adoption", body)
        assert answer.status == 200, answer.body
        body["team_name"] = "Engineers"
        assert system.api("POST", f"/connections/keeper/teams/{TEAM}/adoption", body).status == 412
    system.sync()
    (team,) = system.keeper.teams()
    assert (team["id"], team["displayName"], team["externalId"]) == ("theirs", "Engineers", TEAM)
    assert (listed(system)["state"], inside(system)) == ("there", {"u1", "u2", "u3", "u4"})
    arrange(system, "Engineers", "u1")
    system.sync()
    assert inside(system) == {"u1", "u3", "u4"}


def test_the_team_of_a_deleted_group_is_left_or_emptied_once_that_is_approved(teams):
    (team,) = teams.keeper.teams()
    (u4,) = (account["id"] for account in teams.keeper.accounts() if account["externalId"] == "u4")
    teams.keeper.control("PUT", f"teams/{team['id']}/members/{u4}")
    state = teams.directory.control("GET", "state")
    state["groups"] = [group for group in state["groups"] if group["id"] != TEAM]
    teams.directory.control("PUT", "state", state)
    teams.sync()
    assert (listed(teams)["state"], listed(teams)["held"], len(inside(teams))) == ("left", 0, 4)
    choose(teams, empty_left=True)
    assert (listed(teams)["held"], len(inside(teams))) == (3, 4)
    page = browser(teams).open(f"{HOME}/teams")
    assert "To be emptied" in page.text
    page.send("Decisions", "remove")
    teams.sync()
    assert inside(teams) == {"u4"}, "somebody else put them there"
    assert [each["id"] for each in teams.keeper.teams()] == [team["id"]]


@pytest.mark.parametrize("shown", [True, False], ids=["Keeper shows what waits", "Keeper does not"])
def test_what_waits_in_keeper_is_told_until_it_is_shown_and_whom_somebody_takes_out_stays_out(teams, shown):
    teams.keeper.settings(teams={"queued_shown": shown})
    teams.sync()
    waits = listed(teams)["unsettled"]
    assert (waits["waiting"], waits["late"], waits["ended"]) == (3, 0, 0)
    teams.sync("drift")
    teams.sync()
    assert listed(teams)["unsettled"]["waiting"] == (0 if shown else 3)
    if not shown:
        assert "3 people not seen there yet" in browser(teams).open(f"{HOME}/teams").text
    teams.keeper.accept()
    teams.keeper.approve()
    before = teams.keeper.requests()["methods"]
    teams.sync("drift")
    after = teams.keeper.requests()["methods"]
    assert {name for name in after if after[name] != before.get(name, 0)} == {"GET"}
    (team,) = teams.keeper.teams()
    teams.keeper.control("DELETE", f"teams/{team['id']}/members/{team['members'][0]}")
    teams.sync("drift")
    (told,) = teams.world.console("GET", "connections/keeper/keeper-changes")["items"]
    assert (told["found"], told["before"], told["repair"]) == ({"groups": ""}, {"groups": "Engineers"}, None)
    teams.sync("drift")
    teams.sync()
    assert listed(teams)["unsettled"] == {"waiting": 0, "since": None, "late": 0, "ended": 1}
    assert (len(inside(teams)), len(teams.world.console("GET", "connections/keeper/keeper-changes")["items"])) == (2, 1)


def test_a_pending_team_that_keeper_does_not_list_is_awaited_and_not_made_twice(system):
    arrange(system, "Engineers", "u1", "u2")
    system.keeper.settings(teams={"pending_listed": False})
    system.provisioned()
    choose(system)
    arrange(system, "Engineers", "u1", "u2", "u4")
    system.sync()
    assert (listed(system)["state"], len(system.keeper.teams())) == ("sent", 1)
    assert inside(system) == {"u1", "u2", "u3"}, "nobody else joins before it is listed"
    assert "Sent, waits for Keeper" in browser(system).open(f"{HOME}/teams").text
    system.keeper.approve()
    system.sync()
    assert (listed(system)["state"], listed(system)["unseen_since"]) == ("there", None)
    assert (inside(system), len(system.keeper.teams())) == ({"u1", "u2", "u3", "u4"}, 1)


@pytest.mark.parametrize("door", ["page", "api"])
def test_a_team_that_keeper_refused_is_asked_for_again_at_once(system, door):
    arrange(system, "Engineers", "u1", "u2")
    system.provisioned()
    system.keeper.fault(match={"method": "POST", "path": "/Groups$"}, status=400)
    choose(system)
    assert (listed(system)["state"], system.keeper.teams()) == ("refused", [])
    system.sync()
    assert system.keeper.teams() == [], "by itself only after an hour"
    if door == "page":
        system.followed(lambda: browser(system).open(f"{HOME}/teams").send("Decisions", "retry"))
    else:
        system.followed(lambda: system.api("POST", f"/connections/keeper/teams/{TEAM}/retry", {}))
    assert (listed(system)["state"], inside(system)) == ("there", {"u1", "u2", "u3"})
    assert system.api("POST", f"/connections/keeper/teams/{TEAM}/retry", {}).status == 409


def failures(system: System) -> dict[str, str]:
    items = system.world.console("GET", "connections/keeper/failures")["items"]
    return {item["user_id"]: item["reason"] for item in items}


def hired(system: System, number: int, *groups: str) -> str:
    """Hire somebody, put them into these groups, and look at them once all that is so."""
    system.directory.weather(lose=True)
    system.directory.insert(person(number))
    for group in (GROUP_ID, *groups):
        system.directory.join(group, f"u{number}")
    system.look(f"u{number}")
    system.await_account(f"u{number}", lambda account: bool(account["active"]))
    return f"u{number}"


def test_an_account_is_created_though_keeper_answers_409_because_of_its_team_and_joins_once_it_may(teams):
    teams.keeper.settings(teams={"groups_conflict": True})
    user_id = hired(teams, 50, TEAM)
    told = wait_for(lambda: failures(teams).get(user_id), "the failure of the membership, by the sweep that follows")
    assert ("teams" in told, "address" in told, user_id in inside(teams)) == (True, False, False)
    teams.keeper.settings(teams={})
    assert teams.api("POST", "/connections/keeper/failures", {"users": [user_id]}).status == 202
    wait_for(lambda: user_id in inside(teams) and user_id not in failures(teams), "the join")


def test_a_new_account_is_in_the_team_of_a_nested_group_by_the_sweep_that_its_look_asks_for(teams):
    user_id = hired(teams, 50, NESTED)
    wait_for(lambda: user_id in inside(teams), "a nested join")


def test_the_failure_of_a_refused_membership_outlives_a_rename(teams):
    teams.keeper.settings(teams={"groups_in_patch": False})
    arrange(teams, "Engineers", "u1", "u2", "u4")
    teams.sync()
    refused = failures(teams)
    assert {*refused} == {"u4"}
    teams.directory.weather(lose=True)
    teams.directory.patch("u4", {"name": {"givenName": "Other", "familyName": "Name"}})
    for _ in range(2):
        assert teams.look("u4") == 204
        account = teams.account("u4")
        assert account is not None
        assert (account["name"]["givenName"], failures(teams)) == ("Other", refused)
