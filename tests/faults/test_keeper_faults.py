"""Keeper misbehaves: nothing is lost, nobody gets two accounts, nobody is locked out or let in."""

from __future__ import annotations

import pytest

from infra.local.simulation import http, wait_for
from tests.support.system import GROUP_ID, System, customer, person

EVERYBODY = {f"u{number}" for number in range(12)}
WRITES = r"/(Users|Bulk)"


def exactly_one_account_each(system: System, expected: set[str]) -> None:
    ids = [account.get("externalId") for account in system.keeper.accounts()]
    assert sorted(ids) == sorted(expected)


@pytest.mark.parametrize("bulk", [False, True])
def test_a_dead_token_pauses_and_reauthorization_catches_up(system, bulk):
    system.keeper.settings(bulk=bulk)
    system.connect()
    system.keeper.fault(match={"method": "POST", "path": WRITES}, status=401, skip=0 if bulk else 4, times=None)
    system.keeper.fault(match={"method": "GET", "path": "/Users"}, status=401, skip=2, times=None)
    system.sync()
    assert system.state() == "paused"
    system.keeper.control("DELETE", "faults")
    system.world.keeper.rotate()
    answer = http("POST", f"{system.world.reauthorize_url}/", {"connection": "keeper", "token": system.keeper.token})
    assert answer["accepted"]
    wait_for(lambda: system.active() == EVERYBODY, "catching up")
    exactly_one_account_each(system, EVERYBODY)
    assert system.state() == "on"


def test_a_wrong_token_never_replaces_a_working_one(system):
    system.restored()
    before = system.services().connections.get("keeper")
    for token in ("wrong", "", "has blanks in it", "has\x01control"):
        with pytest.raises(Exception, match="HTTP Error 400"):
            http("POST", f"{system.world.reauthorize_url}/", {"connection": "keeper", "token": token})
    assert system.services().connections.get("keeper") == before
    system.directory.patch("u1", {"name": {"familyName": "Still works"}})
    system.await_account("u1", lambda account: account["name"]["familyName"] == "Still works")


def test_a_token_of_another_node_is_refused(system):
    system.restored()
    known = system.keeper.accounts()
    system.keeper.control("PUT", "accounts", [])
    with pytest.raises(Exception, match="HTTP Error 400"):
        http("POST", f"{system.world.reauthorize_url}/", {"connection": "keeper", "token": system.keeper.token})
    system.keeper.control("PUT", "accounts", known)


def test_a_token_switched_under_a_worker_is_picked_up(system):
    system.restored()
    system.directory.weather(lose=True)
    system.directory.insert(person(60))
    system.directory.join(GROUP_ID, "u60")
    old = system.keeper.token
    hold = system.keeper.fault(match={"method": "GET", "path": "/Users", "token": old}, hold_after=3)
    import threading

    worker = threading.Thread(target=system.look, args=("u60",))
    worker.start()
    wait_for(lambda: system.keeper.matched(hold), "the lookup with the old token")
    system.keeper.rotate()
    http("POST", f"{system.world.reauthorize_url}/", {"connection": "keeper", "token": system.keeper.token})
    worker.join()
    system.await_account("u60", lambda account: account["active"])
    exactly_one_account_each(system, EVERYBODY | {"u60"})
    assert system.state() == "on"


def test_a_403_for_one_user_is_that_users_failure(system):
    system.restored()
    scim_id = system.account("u3")["id"]
    system.keeper.fault(match={"method": "PATCH", "path": f"/Users/{scim_id}$"}, status=403, times=None)
    system.directory.weather(lose=True)
    for number in (2, 3, 4):
        system.directory.patch(f"u{number}", {"name": {"familyName": "Changed"}})
    system.keeper.settings(bulk=False)
    summary = system.sync()
    assert (summary["updated"], summary["failed"]) == (2, 1)
    assert system.state() == "on"
    assert "although the access token works" in system.entry("u3").failure.text


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("style", ["429", "403"])
def test_a_storm_of_throttling_loses_nobody(system, style, bulk):
    system.directory.control("PUT", "state", customer(60))
    system.keeper.settings(bulk=bulk, rate=40, burst=10, throttle_style=style, retry_after=1)
    system.connect()
    system.sync()
    system.keeper.settings(rate=None)
    wait_for(lambda: len(system.active()) == 60 or system.sync()["failed"], "everybody", 60)
    exactly_one_account_each(system, {f"u{number}" for number in range(60)})


@pytest.mark.parametrize("bulk", [False, True])
def test_a_burst_of_5xx_is_survived(system, bulk):
    system.keeper.settings(bulk=bulk)
    system.connect()
    system.keeper.fault(match={"method": "POST", "path": WRITES}, status=503, times=3)
    system.keeper.fault(match={"method": "POST", "path": WRITES}, status=500, times=2)
    assert system.sync()["created"] == len(EVERYBODY)
    exactly_one_account_each(system, EVERYBODY)


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("effect", [{"drop_after": True}, {"drop_before": True}, {"hang": True}, {"hold_after": 3}])
def test_an_answer_lost_on_the_way_makes_no_second_account(system, bulk, effect):
    system.keeper.settings(bulk=bulk)
    system.connect()
    system.keeper.fault(match={"method": "POST", "path": WRITES}, times=1, **effect)
    summary = system.sync()
    assert (summary["created"] + summary["adopted"], summary["failed"]) == (len(EVERYBODY), 0)
    exactly_one_account_each(system, EVERYBODY)


@pytest.mark.parametrize("effect", [{"lose_results": 5}, {"truncate": 80}, {"status": 200, "body": {"Operations": []}}])
def test_an_incomplete_bulk_answer_is_resolved_by_a_listing(system, effect):
    system.connect()
    system.keeper.fault(match={"method": "POST", "path": "/Bulk"}, times=1, **effect)
    summary = system.sync()
    assert (summary["created"], summary["failed"]) == (len(EVERYBODY), 0)
    exactly_one_account_each(system, EVERYBODY)


def test_a_dropped_update_is_applied_once(system):
    system.restored()
    system.keeper.fault(match={"method": "PATCH"}, drop_after=True, times=1)
    system.directory.patch("u1", {"name": {"familyName": "Dropped"}})
    system.await_account("u1", lambda account: account["name"]["familyName"] == "Dropped")
    wait_for(lambda: system.entry("u1").mark is None and not system.entry("u1").pending, "the outcome")
    assert [event["name"] for event in system.events("u1")][-1] == "Update Auto Provisioned User"


def test_licensed_seats_stop_creations_and_nothing_else(system):
    system.keeper.settings(seats=5, bulk=False)
    system.connect()
    summary = system.sync()
    assert (summary["created"], summary["failed"]) == (5, 7)
    assert "seats" in next(entry.failure.text for entry in _entries(system) if entry.failure)
    system.keeper.settings(seats=None)
    assert system.sync()["created"] == 7
    exactly_one_account_each(system, EVERYBODY)


def _entries(system: System):
    services = system.services()
    return services.roster.load(services.connections.get("keeper")).values()


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
def test_quirks_of_the_server_do_not_make_second_accounts(system, quirk, through):
    system.keeper.control(
        "PUT", "accounts", [{"userName": f"person{number}@example.com", "active": True} for number in range(1, 9)]
    )
    system.keeper.settings(**quirk)
    system.directory.control("PUT", "state", customer(40 if through == "run" else 9))
    system.connect()
    summary = system.sync()
    assert (summary["adopted"], summary["failed"]) == (8, 0)
    exactly_one_account_each(system, {f"u{number}" for number in range(40 if through == "run" else 9)})


def test_a_server_that_repeats_its_first_page_is_not_listed_for_ever(system):
    system.directory.control("PUT", "state", customer(40))
    system.keeper.settings(repeat_first_page=True, page_cap=10)
    system.connect()
    assert system.sync()["created"] == 40
    exactly_one_account_each(system, {f"u{number}" for number in range(40)})


def test_an_account_recreated_in_keeper_is_found_again(system):
    system.restored()
    old = system.account("u2")["id"]
    system.keeper.control("POST", f"recreate/{old}")
    system.directory.patch("u2", {"name": {"familyName": "Recreated"}})
    account = system.await_account("u2", lambda account: account["name"]["familyName"] == "Recreated")
    assert account["id"] != old
    exactly_one_account_each(system, EVERYBODY)


def test_accounts_vanished_from_keeper_are_recreated_within_the_limit_only(system):
    system.restored()
    for user_id in sorted(EVERYBODY):
        system.keeper.control("DELETE", f"accounts/{system.account(user_id)['id']}")
    system.directory.weather(lose=True)
    for user_id in EVERYBODY:
        system.directory.patch(user_id, {"name": {"familyName": "Back"}})
    system.sync()
    assert len(system.keeper.accounts()) == 10


def test_an_account_locked_by_someone_else_is_left_as_it_is_and_asked_about(system):
    system.restored()
    system.keeper.control("PATCH", f"accounts/{system.account('u2')['id']}", {"active": False})
    system.sync("drift")
    assert not system.account("u2")["active"]
    assert system.entry("u2").status.value == "locked"
    run = system.world.reconcile()[0]["run"]
    assert system.services().runs.get("keeper", run).notes == (
        "Accounts locked in Keeper by someone else, to be unlocked only if approved: 1",
        "Held for approval: 1 unlock of accounts that somebody else seems to have locked in Keeper",
    )
    system.directory.patch("u2", {"name": {"familyName": "Other"}})
    wait_for(lambda: system.directory.control("GET", "requests")["methods"].get("users.get", 0) >= 1, "a look")
    assert not system.account("u2")["active"]


def test_drift_is_repaired_daily(system):
    system.restored()
    scim_id = system.account("u2")["id"]
    system.keeper.control("PATCH", f"accounts/{scim_id}", {"displayName": "Vandal", "name": {"familyName": "X"}})
    assert system.sync()["updated"] == 0
    assert system.sync("drift")["updated"] == 1
    assert system.account("u2")["displayName"] == "Given2 Family2"
    assert system.sync("drift")["updated"] == 0


def test_accounts_we_neither_created_nor_adopted_are_never_touched(system):
    stranger = {"userName": "stranger@example.com", "externalId": "someone-else", "displayName": "Stranger"}
    system.keeper.control("PUT", "accounts", [stranger])
    system.provisioned()
    system.sync("drift")
    found = [account for account in system.keeper.accounts() if account["userName"] == "stranger@example.com"]
    assert (found[0]["active"], found[0]["displayName"]) == (True, "Stranger")
