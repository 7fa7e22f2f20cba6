"""Teams over SCIM: the same tests against our Keeper simulator and scim2-server, which is not ours; and faults."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from autoprovisioning.adapters.scim import ScimAccounts
from autoprovisioning.adapters.scim.teams import read_team
from autoprovisioning.domain.errors import (
    AuthorizationRefused,
    Contradicted,
    Incomplete,
    NotSent,
    Permanent,
    Rejected,
    Throttled,
    Transient,
    Unresolved,
)
from autoprovisioning.domain.teams import Team
from tests.contract.scim_servers import as_new, client, creates, keeper, scim2_server, soon

_numbers = itertools.count()  # scim2-server cannot be emptied: every test has groups of its own


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with keeper(tmp_path_factory.mktemp("keeper")) as side, scim2_server(tmp_path_factory.mktemp("scim2")) as other:
        yield {"keeper": (side.endpoint, side.token), "scim2-server": other, "side": side}


@pytest.fixture(params=["keeper", "scim2-server"])
def node(request: pytest.FixtureRequest, servers: dict[str, Any]) -> ScimAccounts:
    as_new(servers["side"])
    return client(*servers[request.param])


@pytest.fixture
def group_id() -> str:
    return f"03znysh7{next(_numbers):07}"


def of(accounts: ScimAccounts, external_id: str) -> list[Team]:
    return [team for team in accounts.teams() if team.external_id == external_id]


def test_a_team_is_created_listed_and_renamed(node: ScimAccounts, group_id: str) -> None:
    name = f"Engineers of {group_id} & <Köln>"
    team = node.create_team(group_id, name, soon())
    assert (team.name, team.external_id, bool(team.id)) == (name, group_id, True)
    assert of(node, group_id) == [team]
    renamed = node.rename_team(team, f"Builders {group_id}", soon())
    assert renamed == Team(id=team.id, name=f"Builders {group_id}", external_id=group_id)
    assert of(node, group_id) == [renamed]


def test_a_team_without_an_external_id_is_adopted_under_its_id(node: ScimAccounts, group_id: str) -> None:
    made = node.create_team("", f"engineers {group_id}", soon())
    (theirs,) = (team for team in node.teams() if team.id == made.id)
    assert theirs == Team(id=made.id, name=f"engineers {group_id}")
    adopted = Team(id=made.id, name=f"Engineers {group_id}", external_id=group_id)
    assert node.rename_team(replace(theirs, external_id=group_id), adopted.name, soon()) == adopted
    assert of(node, group_id) == [adopted]


def test_a_server_that_tells_nobodys_teams_is_told_apart_from_one_that_has_nobody_in_any(
    servers: dict[str, Any],
) -> None:
    as_new(servers["side"])
    told = {}
    for name in ("keeper", "scim2-server"):
        accounts = client(*servers[name])
        assert [written.error for written in accounts.write(creates(1), soon())] == [None]
        told[name] = {account.teams for page in accounts.list() for account in page}
    assert told == {"keeper": {()}, "scim2-server": {None}}


def test_an_external_id_that_is_not_taken_is_noticed(keeper: Any, accounts: ScimAccounts) -> None:
    keeper.control("PUT", "teams", [{"id": "t9", "displayName": "Engineers", "members": ["k1"]}])
    (theirs,) = accounts.teams()
    keeper.fault(match={"method": "PATCH", "path": "/Groups/"}, show={"externalId": "g2"})
    with pytest.raises(Contradicted):
        accounts.rename_team(replace(theirs, external_id="g1"), "Engineers", soon())
    (team,) = keeper.teams()
    assert (team["externalId"], team["members"]) == ("g1", ["k1"]), "and those who are in it stay"


def test_a_team_that_is_gone_is_not_renamed(node: ScimAccounts, group_id: str) -> None:
    with pytest.raises(Rejected):
        node.rename_team(Team(id=f"nobody{group_id}", name="Engineers", external_id=group_id), "Builders", soon())


def test_a_token_that_is_not_accepted_is_told_apart(servers: dict[str, Any]) -> None:
    endpoint, _ = servers["keeper"]
    stranger = client(endpoint, "wrong")
    for ask in (stranger.teams, lambda: stranger.create_team("g1", "Engineers", soon())):
        with pytest.raises(AuthorizationRefused):
            ask()


def test_many_teams_are_listed_in_pages_without_their_members(keeper, accounts):
    keeper.settings(page_cap=20)
    keeper.control("PUT", "teams", [{"displayName": f"Team {number}"} for number in range(50)])
    assert [team.name for team in accounts.teams()] == [f"Team {number}" for number in range(50)]
    assert keeper.requests()["methods"] == {"GET": 3}
    keeper.fault(match={"method": "GET", "path": "/Groups$", "query": "startIndex=21"}, status=500, times=None)
    with pytest.raises(Incomplete):
        accounts.teams()
    keeper.control("DELETE", "faults")
    keeper.fault(match={"method": "GET", "path": "/Groups$"}, total=51, times=None)
    with pytest.raises(Incomplete):
        accounts.teams()


def test_members_are_not_asked_for(keeper, accounts):
    keeper.fault(match={"method": "GET", "path": "/Groups$", "query": "excludedAttributes=members"}, status=418)
    with pytest.raises(Rejected):
        accounts.teams()


@pytest.mark.parametrize(
    "effect", [{"drop_after": True}, {"status_after": 504}, {"status_after": 500}, {"page_after": 200}]
)
def test_a_creation_whose_answer_is_lost_is_found_and_not_sent_again(keeper, accounts, effect):
    keeper.fault(match={"method": "POST", "path": "/Groups$"}, **effect)
    team = accounts.create_team("g1", "Engineers", soon())
    assert [(team.id, team.name, team.external_id)] == [
        (each["id"], each["displayName"], each["externalId"]) for each in keeper.teams()
    ]
    assert keeper.requests()["methods"] == {"POST": 1, "GET": 1}


@pytest.mark.parametrize(
    ("effect", "listing", "made"),
    [
        ({"drop_before": True}, {}, 0),
        ({"drop_after": True}, {"status": 403}, 1),
        ({"drop_after": True}, {"total": 2}, 1),
    ],
)
def test_a_creation_that_is_not_found_may_have_arrived_and_is_not_sent_again(keeper, accounts, effect, listing, made):
    keeper.fault(match={"method": "POST", "path": "/Groups$"}, **effect)
    if listing:
        keeper.fault(match={"method": "GET", "path": "/Groups$"}, times=None, **listing)
    with pytest.raises(Unresolved):
        accounts.create_team("g1", "Engineers", soon())
    assert len(keeper.teams()) == made
    assert keeper.requests()["methods"]["POST"] == 1


@pytest.mark.parametrize(
    "effect", [{"status_after": 201, "body_after": None}, {"page_after": 201}, {"show": {"id": ".."}}, {"truncate": 9}]
)
def test_a_creation_that_keeper_confirms_without_an_id_is_done_though_no_listing_shows_it(keeper, accounts, effect):
    keeper.settings(teams={"pending_listed": False})
    keeper.fault(match={"method": "POST", "path": "/Groups$"}, **effect)
    assert accounts.create_team("g1", "Engineers", soon()) == Team(id="", name="Engineers", external_id="g1")
    assert keeper.requests()["methods"] == {"POST": 1, "GET": 1}


def test_of_two_teams_with_the_id_of_a_lost_creation_none_is_taken(keeper, accounts):
    keeper.control("PUT", "teams", [{"displayName": "Builders", "externalId": "g1"}])
    keeper.fault(match={"method": "POST", "path": "/Groups$"}, drop_after=True)
    with pytest.raises(Unresolved):
        accounts.create_team("g1", "Engineers", soon())


@pytest.mark.parametrize(
    "effect", [{"status": 503}, {"status": 429}, {"status": 403, "body": {"error": "throttled", "message": ""}}]
)
def test_what_keeper_is_too_busy_for_is_sent_again(keeper, accounts, effect):
    team = accounts.create_team("g1", "Engineers", soon())
    keeper.fault(match={"method": "POST|PATCH", "path": "/Groups"}, times=2, **effect)
    accounts.create_team("g2", "Sales", soon())
    keeper.fault(match={"method": "POST|PATCH", "path": "/Groups"}, times=2, **effect)
    accounts.rename_team(team, "Builders", soon())
    assert [each["displayName"] for each in keeper.teams()] == ["Builders", "Sales"]


@pytest.mark.parametrize(
    ("effect", "error", "sent"),
    [
        ({"status": 503}, Transient, 4),
        ({"status": 429, "retry_after": 60}, Throttled, 1),
        ({"status": 400}, Rejected, 1),
        ({"status": 409}, Rejected, 1),
    ],
)
def test_a_creation_that_keeper_goes_on_refusing_did_not_arrive(keeper, accounts, effect, error, sent):
    keeper.fault(match={"method": "POST", "path": "/Groups$"}, times=None, **effect)
    with pytest.raises(error) as failed:
        accounts.create_team("g1", "Engineers", soon())
    assert not isinstance(failed.value, Unresolved)
    assert (keeper.teams(), keeper.requests()["methods"]) == ([], {"POST": sent})


def test_a_rename_whose_answer_is_lost_is_sent_again(keeper, accounts):
    team = accounts.create_team("g1", "Engineers", soon())
    keeper.fault(match={"method": "PATCH", "path": "/Groups/"}, drop_after=True)
    assert accounts.rename_team(team, "Builders", soon()).name == "Builders"
    assert keeper.requests()["methods"]["PATCH"] == 2


def test_a_listing_ends_in_time(keeper, accounts):
    keeper.settings(page_cap=1)
    keeper.control("PUT", "teams", [{"displayName": f"Team {number}"} for number in range(3)])
    with pytest.raises(Transient):
        accounts.teams(soon(-1))
    keeper.fault(match={"method": "GET", "path": "/Groups$"}, delay=0.3, times=None)
    with pytest.raises(Transient):
        accounts.teams(soon(0.4))
    assert keeper.requests()["methods"]["GET"] < 3


def test_a_rename_that_is_not_carried_out_is_noticed(keeper, accounts):
    team = accounts.create_team("g1", "Engineers", soon())
    keeper.fault(match={"method": "PATCH", "path": "/Groups/"}, show={"displayName": "Engineers"})
    with pytest.raises(Contradicted):
        accounts.rename_team(team, "Builders", soon())
    keeper.settings(teams={"unique": True})
    accounts.create_team("g2", "Sales", soon())
    with pytest.raises(Rejected, match="already exists"):
        accounts.rename_team(team, "Sales", soon())


@pytest.mark.parametrize(("effect", "renamed"), [({"page": 200}, False), ({"page_after": 200}, True)])
def test_a_page_in_place_of_an_answer_proves_no_rename(keeper, accounts, effect, renamed):
    team = accounts.create_team("g1", "Engineers", soon())
    keeper.fault(match={"method": "PATCH", "path": "/Groups/"}, **effect)
    if renamed:
        assert accounts.rename_team(team, "Builders", soon()).name == "Builders"
    else:
        with pytest.raises(Contradicted):
            accounts.rename_team(team, "Builders", soon())
    assert [each["displayName"] for each in keeper.teams()] == ["Builders" if renamed else "Engineers"]


def test_a_page_in_place_of_an_answer_proves_no_adoption(keeper, accounts):
    keeper.control("PUT", "teams", [{"id": "t9", "displayName": "Engineers", "members": ["k1"]}])
    (theirs,) = accounts.teams()
    keeper.fault(match={"method": "PATCH", "path": "/Groups/"}, page=200)
    with pytest.raises(Contradicted):
        accounts.rename_team(replace(theirs, external_id="g1"), "Engineers", soon())


def test_a_new_name_may_be_spelled_in_keepers_own_way(keeper, accounts):
    team = accounts.create_team("g1", "Engineers", soon())
    for shown in ("  builders", "BUILD", ""):
        keeper.fault(match={"method": "PATCH", "path": "/Groups/"}, show={"displayName": shown})
        assert accounts.rename_team(team, "Builders", soon()).name == (shown or "Builders")
    keeper.fault(match={"method": "PATCH", "path": "/Groups/"}, show={"displayName": "engineers"})
    assert accounts.rename_team(team, "ENGINEERS", soon()).name == "engineers"
    keeper.fault(match={"method": "PATCH", "path": "/Groups/"}, show={"displayName": "engineers "})
    with pytest.raises(Contradicted):
        accounts.rename_team(team, "Builders", soon())


def test_nothing_is_sent_once_it_is_too_late(keeper, accounts):
    with pytest.raises(NotSent):
        accounts.create_team("g1", "Engineers", soon(-1))
    with pytest.raises(Permanent):
        accounts.rename_team(Team(id="..", name="Engineers"), "Builders", soon())
    assert (keeper.teams(), keeper.requests()["total"]) == ([], 0)


@pytest.mark.parametrize(
    ("resource", "team"),
    [
        ({}, Team(id="", name="")),
        ({"ID": "t1", "DISPLAYNAME": "A", "externalid": "g"}, Team(id="t1", name="A", external_id="g")),
        ({"id": 7, "displayName": ["A"], "externalId": None}, Team(id="", name="")),
        ({"id": "..", "displayName": "A"}, Team(id="", name="A")),
    ],
)
def test_a_group_is_read_leniently(resource, team):
    assert read_team(resource) == team
