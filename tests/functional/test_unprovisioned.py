"""Moving in, and a roster that was lost: nobody who left keeps an account that nobody provisions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.test_pages import DELEGATED, HOME, browser
from tests.functional.test_reauthorize import staff
from tests.support.system import System

LISTED = "connections/keeper/unprovisioned"


@pytest.fixture
def moved_in(system: System) -> System:
    """A node that another provisioner left: leavers among its active accounts, and some that are nobody's."""
    system.keeper.control(
        "PUT",
        "accounts",
        [
            {"userName": "person1@example.com", "externalId": "u1", "active": True},
            {"userName": "old2@example.com", "externalId": "u2", "displayName": "Two", "active": True},
            {"userName": "person3@example.com", "externalId": "u3", "active": True},
            {"userName": "person4@example.com", "active": True},
            {"userName": "contractor@example.com", "active": True},
            {"userName": "gone@example.com", "externalId": "100000000000000000001", "active": True},
            {"userName": "locked@example.com", "active": False},
        ],
    )
    for user_id in ("u2", "u4"):
        system.directory.patch(user_id, {"suspended": True})
    system.directory.call("DELETE", "users/u3")
    system.provisioned()
    system.directory.weather(lose=True)
    system.sync("drift")
    return system


def rows(system: System) -> dict[str, tuple[Any, ...]]:
    listed = system.world.console("GET", LISTED)["items"]
    return {row["user_name"]: (row["user_id"], row["by"], row["offer"], row["presence"]) for row in listed}


def test_each_is_told_with_its_owner(moved_in):
    assert rows(moved_in) == {
        "old2@example.com": ("u2", "external_id", "all", "suspended"),
        "person3@example.com": ("u3", "external_id", "all", "deleted"),
        "gone@example.com": ("100000000000000000001", "unknown_id", "chosen", "unknown"),
        "person4@example.com": ("u4", "address", "chosen", "suspended"),
        "contractor@example.com": ("", "nothing", "none", "unknown"),
    }


def test_those_who_left_are_taken_over_together_and_locked(moved_in):
    answer = moved_in.world.console("POST", f"{LISTED}/take-over", {"all": True})
    assert answer == {"taken_over": 2}
    moved_in.await_account("u2", lambda account: not account["active"])
    moved_in.await_account("u3", lambda account: not account["active"])
    left = moved_in.account("u2")
    assert (left["userName"], left["displayName"]) == ("old2@example.com", "Two")
    moved_in.sync("drift")
    assert set(rows(moved_in)) == {"gone@example.com", "person4@example.com", "contractor@example.com"}


def test_one_is_chosen_on_the_page(moved_in):
    page = browser(moved_in).open(f"{HOME}/unprovisioned")
    form = page.form("Take over")
    account = next(one["id"] for one in moved_in.keeper.accounts() if one["userName"] == "person4@example.com")
    assert account in form.offered["account"]
    done = browser(moved_in).send("post", form.action, [*form.fields, ("account", account), ("do", "chosen")])
    assert (done.status, "Taken over." in done.text) == (200, True)
    moved_in.sync()
    named = {one["userName"]: one["active"] for one in moved_in.keeper.accounts()}
    assert (named["person4@example.com"], named["old2@example.com"]) == (False, True)


def test_choosing_none_is_refused_with_the_list_shown(moved_in):
    page = browser(moved_in).open(f"{HOME}/unprovisioned")
    form = page.form("Take over")
    refused = browser(moved_in).send("post", form.action, [*form.fields, ("do", "chosen")])
    assert (refused.status, "one is selected" in refused.text, "old2@example.com" in refused.text) == (400, True, True)


def test_a_delegated_administrator_only_looks(moved_in):
    staff(moved_in)
    page = browser(moved_in, DELEGATED).open(f"{HOME}/unprovisioned")
    assert ("old2@example.com" in page.text, page.buttons()) == (True, [])


def test_what_is_not_offered_is_refused(moved_in):
    contractor = next(one["id"] for one in moved_in.keeper.accounts() if one["userName"] == "contractor@example.com")
    for body in ({"accounts": [contractor]}, {"accounts": []}, {}, {"all": True, "accounts": [contractor]}):
        assert moved_in.api("POST", f"/{LISTED}/take-over", body).status == 400


def named(system: System, user_name: str) -> dict[str, Any]:
    return next(one for one in system.keeper.accounts() if one["userName"] == user_name)


def test_one_that_nobody_knows_is_locked_as_chosen_and_approved_and_unlocked_again(moved_in):
    account = named(moved_in, "contractor@example.com")["id"]
    page = browser(moved_in).open(f"{HOME}/unprovisioned")
    form = page.form("Take over")
    foreseen = browser(moved_in).send("post", form.action, [*form.fields, ("account", account), ("do", "lock")])
    assert "1 account would be locked" in foreseen.text
    assert "may be a service account" in foreseen.text
    held = foreseen.send("Lock", "lock:1")
    assert "1 account that nobody provisions would be locked" in held.text
    moved_in.sync()
    assert named(moved_in, "contractor@example.com")["active"]
    held.send("Decide", "approve:1")
    moved_in.sync()
    assert not named(moved_in, "contractor@example.com")["active"]
    [lock] = moved_in.world.console("GET", f"{LISTED}/locks")["items"]
    assert (lock["scim_id"], lock["by"], lock["locked_at"] is not None) == (account, lock["approved_by"], True)
    [plan] = moved_in.world.console("GET", "connections/keeper/holds")["items"]
    assert (plan["state"], plan["standings"]) == ("closed", {"done": 1})
    told = [event["reason"] for event in moved_in.events() if event["email"] == "contractor@example.com"]
    assert any("which nobody provisions, was locked" in reason for reason in told)
    browser(moved_in).open(f"{HOME}/unprovisioned").send("Locked accounts", f"unlock:{account}")
    moved_in.sync()
    assert named(moved_in, "contractor@example.com")["active"]


def test_through_the_api_the_account_of_an_entitled_person_is_refused(moved_in):
    account = named(moved_in, "gone@example.com")["id"]
    body = {"accounts": [account]}
    [would] = moved_in.world.console("POST", f"{LISTED}/foresee-locks", body)["items"]
    assert (would["suggestion"], would["users"], would["entitled"]) == ("leaver", [], False)
    moved_in.directory.call("POST", "users/u5/aliases", {"alias": "gone@example.com"})
    [would] = moved_in.world.console("POST", f"{LISTED}/foresee-locks", body)["items"]
    assert (would["users"], would["entitled"]) == (["person5@example.com"], True)
    assert moved_in.api("POST", f"/{LISTED}/lock", body).json()["field"] == "accounts"
    moved_in.directory.call("DELETE", "users/u5/aliases/gone@example.com")
    first, again = (moved_in.world.console("POST", f"{LISTED}/lock", body) for _ in range(2))
    assert first == again
