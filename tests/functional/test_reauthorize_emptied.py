"""A node whose known accounts were deleted in Keeper can be reauthorized; new accounts there need approval first."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.system import GROUP_ID, System, person
from tests.support.wire import Answer

EVERYBODY = {f"u{number}" for number in range(12)}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def paused(system: System) -> System:
    """A connection whose token Keeper has replaced."""
    system.restored()
    system.directory.weather(lose=True)
    system.keeper.rotate()
    system.world.reconcile()
    assert system.state() == "paused"
    return system


def enter(system: System, **more: Any) -> Answer:
    body = json.dumps({"connection": "keeper", "token": system.keeper.token, **more}).encode()
    return system.through_proxy("POST", "/", body, JSON, function="reauthorize")


def remove(system: System, users: set[str]) -> None:
    for user_id in users:
        account = system.account(user_id)
        assert account is not None
        system.keeper.control("DELETE", f"accounts/{account['id']}")


@pytest.mark.parametrize("left", ["u1", "u4", "u7", "u10"])
def test_one_account_that_is_left_is_found(paused, left):
    remove(paused, EVERYBODY - {left})
    assert enter(paused).status == 200
    assert paused.state() == "on"


@pytest.mark.parametrize("external_id", ["u7", ""])
def test_accounts_made_anew_are_found_by_external_id_or_address(paused, external_id):
    made = {"id": "77", "userName": "PERSON7@example.com", "externalId": external_id, "active": True}
    paused.keeper.control("PUT", "accounts", [made])
    assert enter(paused).status == 200


def test_it_is_found_where_the_node_cannot_be_listed(paused):
    paused.keeper.control("PUT", "accounts", [{"id": "77", "userName": "person7@example.com", "externalId": "u7"}])
    paused.keeper.fault(match={"method": "GET", "query": "startIndex=1(&|$)"}, status=501, times=None, skip=1)
    assert enter(paused).status == 200


def test_an_account_of_somebody_else_under_a_known_address_proves_nothing(paused):
    paused.keeper.control(
        "PUT", "accounts", [{"id": "77", "userName": "person7@example.com", "externalId": "somebody"}]
    )
    assert enter(paused).status == 400


def test_an_emptied_node_takes_a_confirmation_and_then_approvals(paused):
    remove(paused, EVERYBODY)
    refused = enter(paused)
    assert (refused.status, "override" in refused.text) == (400, True)
    assert enter(paused, override="yes").status == 400
    assert enter(paused, override=True).status == 200
    assert paused.state() == "on"
    paused.directory.insert(person(60))
    paused.directory.join(GROUP_ID, "u60")
    paused.look("u60")
    paused.sync()
    assert paused.keeper.accounts() == []
    paused.sync("drift")
    assert paused.sync()["held"] == 13
    assert paused.keeper.accounts() == []
    held = [
        item for item in paused.world.console("GET", "connections/keeper/holds")["items"] if item["state"] == "waiting"
    ]
    assert sorted(str(hold["counts"]) for hold in held) == ["{'create': 1}", "{'recreate': 12}"]
    for hold in held:
        paused.world.console("POST", f"connections/keeper/holds/{hold['digest']}", {"decision": "approve"})
    paused.sync()
    assert paused.active() == EVERYBODY | {"u60"}
    paused.directory.insert(person(61))
    paused.directory.join(GROUP_ID, "u61")
    assert paused.sync()["created"] == 1


def test_only_a_paused_connection_takes_it(system):
    system.restored()
    remove(system, EVERYBODY)
    assert enter(system, override=True).status == 400


def test_a_known_account_ends_it(paused):
    known = paused.keeper.accounts()
    remove(paused, EVERYBODY)
    assert enter(paused, override=True).status == 200
    paused.sync("drift")
    paused.keeper.control("PUT", "accounts", known)
    paused.sync("drift")
    assert not paused.services().connections.get("keeper").unproven
    paused.sync()
    assert paused.active() == EVERYBODY
