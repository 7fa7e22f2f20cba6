"""Memberships over SCIM: written with the user, in one request, whatever way users are written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autoprovisioning.adapters.scim import ScimAccounts
from autoprovisioning.adapters.scim.resources import create_body, patch_body
from autoprovisioning.domain.accounts import Write, WriteKind
from autoprovisioning.domain.errors import AccountGone, Rejected, Unresolved
from autoprovisioning.domain.keeper import PatchDialect
from infra.local.simulation import KeeperSide
from tests.contract.scim_servers import client, creates, patch, soon
from tests.support.lazily import Lazily

scim2_models = Lazily("scim2_models")
WAYS = ["one by one", "Bulk", "Keeper's dialect"]


@pytest.fixture(params=WAYS)
def node(request: pytest.FixtureRequest, keeper: KeeperSide) -> tuple[KeeperSide, ScimAccounts]:
    """The simulated node with two teams, and the adapter at work on it."""
    keeper.settings(bulk=request.param == "Bulk")
    keeper.control("PUT", "teams", [{"id": "t1", "displayName": "A"}, {"id": "t2", "displayName": "B"}])
    dialect = PatchDialect.KEEPER if "dialect" in request.param else PatchDialect.STANDARD
    return keeper, client(keeper.endpoint, keeper.token, dialect=dialect)


def written(accounts: ScimAccounts, *writes: Write) -> list[Any]:
    return [each.error for each in accounts.write(writes, soon())]


def queued(keeper: KeeperSide) -> dict[str, int]:
    return {team["id"]: len(team["queued"]) for team in keeper.teams()}


def ids(keeper: KeeperSide) -> list[str]:
    return [account["id"] for account in keeper.accounts()]


def test_new_users_are_created_in_their_teams_in_one_write_each(node):
    keeper, accounts = node
    writes = [replace(write, joins=("t1", "t2")) for write in creates(3)]
    before = keeper.requests()["total"]
    assert written(accounts, *writes) == [None] * 3
    assert queued(keeper) == {"t1": 3, "t2": 3}
    seen = keeper.requests()
    writing = seen["methods"].get("POST", 0) + seen["methods"].get("PATCH", 0)
    assert writing == (1 if keeper.requests()["paths"].get("POST /Bulk") else 3)
    assert before <= seen["total"]


def test_memberships_change_with_attributes_or_alone(node):
    keeper, accounts = node
    assert written(accounts, *[replace(write, joins=("t1",)) for write in creates(2)]) == [None] * 2
    first, second = ids(keeper)
    together = replace(patch("p", first, attributes={"title": "Countess"}), joins=("t2",), leaves=("t1",))
    alone = replace(patch("q", second), leaves=("t1",))
    assert written(accounts, together, alone) == [None, None]
    assert queued(keeper) == {"t1": 0, "t2": 1}
    assert [account.get("title") for account in keeper.accounts()] == ["Countess", None]
    again = replace(patch("r", first), joins=("t2",), leaves=("t1",))
    assert written(accounts, again) == [None], "what was lost may be sent again"
    assert queued(keeper) == {"t1": 0, "t2": 1}


def test_a_team_that_is_not_there_is_the_users_failure_and_changes_nothing(node):
    keeper, accounts = node
    written(accounts, *creates(2))
    first, second = ids(keeper)
    errors = written(
        accounts,
        replace(patch("p", first, attributes={"title": "Countess"}), joins=("nobody",)),
        replace(patch("q", second), joins=("t1",)),
    )
    assert sorted(type(error).__name__ for error in errors) == [AccountGone.__name__, "NoneType"]
    assert queued(keeper) == {"t1": 1, "t2": 0}
    assert all("title" not in account for account in keeper.accounts())


@pytest.mark.parametrize("shown", [True, False], ids=["Keeper shows what waits", "Keeper does not"])
def test_a_listing_tells_in_which_teams_everybody_is(node, shown):
    keeper, accounts = node
    keeper.settings(teams={"queued_shown": shown})
    written(accounts, *[replace(write, joins=("t2", "t1")) for write in creates(2)])
    waits = ("t1", "t2") if shown else ()
    assert [account.teams for page in accounts.list() for account in page] == [waits, waits]
    keeper.accept()
    keeper.approve()
    first, _ = ids(keeper)
    keeper.control("DELETE", f"teams/t1/members/{first}")
    assert {account.scim_id == first: account.teams for page in accounts.list() for account in page} == {
        True: ("t2",),
        False: ("t1", "t2"),
    }


@pytest.mark.parametrize("leaves", [False, True])
def test_a_page_in_place_of_an_answer_proves_no_membership(node, leaves):
    keeper, accounts = node
    (create,) = creates(1)
    written(accounts, replace(create, joins=("t1",) if leaves else ()))
    keeper.accept()
    keeper.approve()
    change = replace(patch("p", ids(keeper)[0]), joins=() if leaves else ("t1",), leaves=("t1",) if leaves else ())
    for effect, done in (("page", False), ("page_after", leaves)):  # a membership that waits is not shown
        keeper.fault(match={"method": "PATCH|POST", "path": "/(Users|Bulk)"}, times=None, **{effect: 200})
        (error,) = written(accounts, change)
        assert (error is None) is done, error
        assert done or isinstance(error, Unresolved)
        keeper.control("DELETE", "faults")
    assert written(accounts, change) == [None], "it may be sent again"


def test_a_node_that_takes_no_memberships_says_so(keeper):
    keeper.settings(teams={"groups_in_patch": False})
    keeper.control("PUT", "teams", [{"id": "t1", "displayName": "A"}])
    accounts = client(keeper.endpoint, keeper.token)
    written(accounts, *creates(1))
    (error,) = written(accounts, replace(patch("p", ids(keeper)[0]), joins=("t1",)))
    assert isinstance(error, Rejected)


@pytest.mark.parametrize("dialect", PatchDialect)
def test_what_is_sent_is_valid(dialect):
    (create,) = creates(1)
    user = scim2_models.User.model_validate(create_body(replace(create, joins=("t1", "t2"))))
    assert [group.value for group in user.groups] == ["t1", "t2"]
    change = Write(key="k", kind=WriteKind.PATCH, scim_id="17", active=True, joins=("t1",), leaves=("t2", "t3"))
    body = patch_body(change, dialect)
    assert len(body["Operations"]) == 3
    assert body["Operations"][1:] == [
        {"op": "remove", "path": "groups", "value": [{"value": "t2"}, {"value": "t3"}]},
        {"op": "add", "path": "groups", "value": [{"value": "t1"}]},
    ]
    assert "groups" not in create_body(create)
