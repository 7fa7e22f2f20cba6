"""Keeper misbehaves: nothing is lost, nobody gets two accounts, nobody is locked out or let in."""

from __future__ import annotations

import pytest

from infra.local.simulation import http, wait_for
from tests.support.system import GROUP_ID, Town, customer, person

EVERYBODY = {f"u{number}" for number in range(12)}
WRITES = r"/(Users|Bulk)"


def exactly_one_account_each(town: Town, expected: set[str]) -> None:
    ids = [account.get("externalId") for account in town.keeper.accounts()]
    assert sorted(ids) == sorted(expected)


@pytest.mark.parametrize("bulk", [False, True])
def test_a_dead_token_pauses_and_reauthorization_catches_up(town, bulk):
    town.keeper.settings(bulk=bulk)
    town.connect()
    town.keeper.fault(match={"method": "POST", "path": WRITES}, status=401, skip=0 if bulk else 4, times=None)
    town.keeper.fault(match={"method": "GET", "path": "/Users"}, status=401, skip=2, times=None)
    town.sync()
    assert town.state() == "paused"
    town.keeper.control("DELETE", "faults")
    town.world.keeper.rotate()
    answer = http("POST", f"{town.world.reauthorize_url}/", {"connection": "keeper", "token": town.keeper.token})
    assert answer["accepted"]
    wait_for(lambda: town.active() == EVERYBODY, "catching up")
    exactly_one_account_each(town, EVERYBODY)
    assert town.state() == "on"


def test_a_wrong_token_never_replaces_a_working_one(town):
    town.provisioned()
    before = town.desk().connections.get("keeper")
    for token in ("wrong", "", "has blanks in it", "has\x01control"):
        with pytest.raises(Exception, match="HTTP Error 400"):
            http("POST", f"{town.world.reauthorize_url}/", {"connection": "keeper", "token": token})
    assert town.desk().connections.get("keeper") == before
    town.directory.patch("u1", {"name": {"familyName": "Still works"}})
    town.await_account("u1", lambda account: account["name"]["familyName"] == "Still works")


def test_a_token_of_another_node_is_refused(town):
    town.provisioned()
    known = town.keeper.accounts()
    town.keeper.control("PUT", "accounts", [])
    with pytest.raises(Exception, match="HTTP Error 400"):
        http("POST", f"{town.world.reauthorize_url}/", {"connection": "keeper", "token": town.keeper.token})
    town.keeper.control("PUT", "accounts", known)


def test_a_token_switched_under_a_worker_is_picked_up(town):
    town.provisioned()
    town.directory.weather(lose=True)
    town.directory.insert(person(60))
    town.directory.join(GROUP_ID, "u60")
    old = town.keeper.token
    hold = town.keeper.fault(match={"method": "GET", "path": "/Users", "token": old}, hold_after=3)
    import threading

    worker = threading.Thread(target=town.look, args=("u60",))
    worker.start()
    wait_for(lambda: town.keeper.matched(hold), "the lookup with the old token")
    town.keeper.rotate()
    http("POST", f"{town.world.reauthorize_url}/", {"connection": "keeper", "token": town.keeper.token})
    worker.join()
    town.await_account("u60", lambda account: account["active"])
    exactly_one_account_each(town, EVERYBODY | {"u60"})
    assert town.state() == "on"


def test_a_403_for_one_user_is_that_users_failure(town):
    town.provisioned()
    scim_id = town.account("u3")["id"]
    town.keeper.fault(match={"method": "PATCH", "path": f"/Users/{scim_id}$"}, status=403, times=None)
    town.directory.weather(lose=True)
    for number in (2, 3, 4):
        town.directory.patch(f"u{number}", {"name": {"familyName": "Changed"}})
    town.keeper.settings(bulk=False)
    summary = town.sync()
    assert (summary["updated"], summary["failed"]) == (2, 1)
    assert town.state() == "on"
    assert "although the access token works" in town.entry("u3").failure.text


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("style", ["429", "403"])
def test_a_storm_of_throttling_loses_nobody(town, style, bulk):
    town.directory.control("PUT", "state", customer(60))
    town.keeper.settings(bulk=bulk, rate=40, burst=10, throttle_style=style, retry_after=1)
    town.connect()
    town.sync()
    town.keeper.settings(rate=None)
    wait_for(lambda: len(town.active()) == 60 or town.sync()["failed"], "everybody", 60)
    exactly_one_account_each(town, {f"u{number}" for number in range(60)})


@pytest.mark.parametrize("bulk", [False, True])
def test_a_burst_of_5xx_is_survived(town, bulk):
    town.keeper.settings(bulk=bulk)
    town.connect()
    town.keeper.fault(match={"method": "POST", "path": WRITES}, status=503, times=3)
    town.keeper.fault(match={"method": "POST", "path": WRITES}, status=500, times=2)
    assert town.sync()["created"] == len(EVERYBODY)
    exactly_one_account_each(town, EVERYBODY)


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("effect", [{"drop_after": True}, {"drop_before": True}, {"hang": True}, {"hold_after": 3}])
def test_an_answer_lost_on_the_way_makes_no_second_account(town, bulk, effect):
    town.keeper.settings(bulk=bulk)
    town.connect()
    town.keeper.fault(match={"method": "POST", "path": WRITES}, times=1, **effect)
    summary = town.sync()
    assert (summary["created"] + summary["adopted"], summary["failed"]) == (len(EVERYBODY), 0)
    exactly_one_account_each(town, EVERYBODY)


@pytest.mark.parametrize("effect", [{"lose_results": 5}, {"truncate": 80}, {"status": 200, "body": {"Operations": []}}])
def test_an_incomplete_bulk_answer_is_resolved_by_a_listing(town, effect):
    town.connect()
    town.keeper.fault(match={"method": "POST", "path": "/Bulk"}, times=1, **effect)
    summary = town.sync()
    assert (summary["created"], summary["failed"]) == (len(EVERYBODY), 0)
    exactly_one_account_each(town, EVERYBODY)


def test_a_dropped_update_is_applied_once(town):
    town.provisioned()
    town.keeper.fault(match={"method": "PATCH"}, drop_after=True, times=1)
    town.directory.patch("u1", {"name": {"familyName": "Dropped"}})
    town.await_account("u1", lambda account: account["name"]["familyName"] == "Dropped")
    wait_for(lambda: town.entry("u1").mark is None and not town.entry("u1").pending, "the outcome")
    assert [event["name"] for event in town.events("u1")][-1] == "Update Auto Provisioned User"


def test_licensed_seats_stop_creations_and_nothing_else(town):
    town.keeper.settings(seats=5, bulk=False)
    town.connect()
    summary = town.sync()
    assert (summary["created"], summary["failed"]) == (5, 7)
    assert "seats" in next(entry.failure.text for entry in _entries(town) if entry.failure)
    town.keeper.settings(seats=None)
    assert town.sync()["created"] == 7
    exactly_one_account_each(town, EVERYBODY)


def _entries(town: Town):
    desk = town.desk()
    return desk.roster.load(desk.connections.get("keeper")).values()


@pytest.mark.parametrize(
    "quirk",
    [
        {"ignore_filter": True},
        {"string_active": True},
        {"short_pages": True, "page_cap": 5},
        {"page_cap": 3},
    ],
)
@pytest.mark.parametrize("through", ["run", "notification"])
def test_quirks_of_the_server_do_not_make_second_accounts(town, quirk, through):
    town.keeper.control(
        "PUT", "accounts", [{"userName": f"person{number}@example.com", "active": True} for number in range(1, 9)]
    )
    town.keeper.settings(**quirk)
    town.directory.control("PUT", "state", customer(40 if through == "run" else 9))
    town.connect()
    summary = town.sync()
    assert (summary["adopted"], summary["failed"]) == (8, 0)
    exactly_one_account_each(town, {f"u{number}" for number in range(40 if through == "run" else 9)})


def test_a_server_that_repeats_its_first_page_is_not_listed_for_ever(town):
    town.directory.control("PUT", "state", customer(40))
    town.keeper.settings(repeat_first_page=True, page_cap=10)
    town.connect()
    assert town.sync()["created"] == 40
    exactly_one_account_each(town, {f"u{number}" for number in range(40)})


def test_an_account_recreated_in_keeper_is_found_again(town):
    town.provisioned()
    old = town.account("u2")["id"]
    town.keeper.control("POST", f"recreate/{old}")
    town.directory.patch("u2", {"name": {"familyName": "Recreated"}})
    account = town.await_account("u2", lambda account: account["name"]["familyName"] == "Recreated")
    assert account["id"] != old
    exactly_one_account_each(town, EVERYBODY)


def test_accounts_vanished_from_keeper_are_recreated_within_the_limit_only(town):
    town.provisioned()
    for user_id in sorted(EVERYBODY):
        town.keeper.control("DELETE", f"accounts/{town.account(user_id)['id']}")
    town.directory.weather(lose=True)
    for user_id in EVERYBODY:
        town.directory.patch(user_id, {"name": {"familyName": "Back"}})
    town.sync()
    assert len(town.keeper.accounts()) == 10


def test_an_account_locked_by_someone_else_is_left_as_it_is_and_asked_about(town):
    town.provisioned()
    town.keeper.control("PATCH", f"accounts/{town.account('u2')['id']}", {"active": False})
    town.sync("drift")
    assert not town.account("u2")["active"]
    assert town.entry("u2").status.value == "locked"
    run = town.world.reconcile()[0]["run"]
    assert town.desk().runs.get("keeper", run).notes == (
        "Accounts locked in Keeper by someone else, to be unlocked as approved only: 1",
        "Held for approval: 1 unlocking of accounts that somebody else seems to have locked in Keeper",
    )
    town.directory.patch("u2", {"name": {"familyName": "Other"}})
    wait_for(lambda: town.directory.control("GET", "requests")["methods"].get("users.get", 0) >= 1, "a look")
    assert not town.account("u2")["active"]


def test_drift_is_repaired_daily(town):
    town.provisioned()
    scim_id = town.account("u2")["id"]
    town.keeper.control("PATCH", f"accounts/{scim_id}", {"displayName": "Vandal", "name": {"familyName": "X"}})
    assert town.sync()["updated"] == 0
    assert town.sync("drift")["updated"] == 1
    assert town.account("u2")["displayName"] == "Given2 Family2"
    assert town.sync("drift")["updated"] == 0


def test_accounts_we_neither_created_nor_adopted_are_never_touched(town):
    stranger = {"userName": "stranger@example.com", "externalId": "someone-else", "displayName": "Stranger"}
    town.keeper.control("PUT", "accounts", [stranger])
    town.provisioned()
    town.sync("drift")
    found = [account for account in town.keeper.accounts() if account["userName"] == "stranger@example.com"]
    assert (found[0]["active"], found[0]["displayName"]) == (True, "Stranger")
