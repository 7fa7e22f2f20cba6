"""A connection that only reports what somebody else changes in Keeper still takes access from those without a claim."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.test_api_connections import ONE, edit
from tests.support.system import GROUP_ID, System

LEFT = {"suspended": "u2", "deleted": "u3", "out of scope": "u4"}


@pytest.fixture
def reporting(system: System) -> System:
    """Three who left in three ways and are suspended in Keeper, on a connection that only reports."""
    system.reset(people=30)  # so that the volume limit has room for them twice
    system.provisioned()
    assert edit(system, {"repair_drift": False}).status == 200
    system.directory.patch(LEFT["suspended"], {"suspended": True})
    system.directory.call("DELETE", f"users/{LEFT['deleted']}")
    system.directory.leave(GROUP_ID, LEFT["out of scope"])
    system.sync()
    for user_id in LEFT.values():
        system.await_account(user_id, lambda account: not account["active"])
    return system


def change(system: System, user_id: str, **what: Any) -> None:
    account = system.account(user_id)
    assert account is not None
    system.keeper.control("PATCH", f"accounts/{account['id']}", what)


def test_whoever_left_and_is_unlocked_in_keeper_is_locked_again_and_nothing_else_is_written(reporting):
    for user_id in LEFT.values():
        change(reporting, user_id, active=True, displayName="Vandal")
    change(reporting, "u1", displayName="Vandal")
    change(reporting, "u5", active=False)
    reporting.sync("drift")
    shown = {user_id: reporting.account(user_id) for user_id in ("u1", "u5", *LEFT.values())}
    assert {user_id: account["active"] for user_id, account in shown.items()} == {
        "u1": True, "u5": False, "u2": False, "u3": False, "u4": False,
    }  # fmt: skip
    assert {account["displayName"] for user_id, account in shown.items() if user_id != "u5"} == {"Vandal"}
    told = {item["user_id"]: item["repair"] for item in reporting.api("GET", f"{ONE}/keeper-changes").json()["items"]}
    assert told == {"u1": None, "u5": "unlock", "u2": "suspend", "u3": "suspend", "u4": "suspend"}
