"""A server that fails every request is left alone for a while, and those who wait learn of it."""

from __future__ import annotations

import time

import pytest

from autoprovisioning.adapters.scim import streak
from autoprovisioning.domain.accounts import Lookup
from autoprovisioning.domain.errors import KeeperFailed, Transient
from tests.contract.scim_servers import client, creates, patch
from tests.contract.scim_writes import LISTING, POST_USER, exactly, kinds, seed, sent, write

FILTER = {**LISTING, "query": "filter="}
LOOKUPS = [Lookup(key=f"k{n}", external_id=f"d{n}", user_names=(f"person{n}@example.com",)) for n in range(600)]


def test_a_first_run_whose_searches_fail_sends_a_handful_of_requests(keeper, accounts):
    keeper.fault(match=LISTING, status=500, times=None)
    errors = [item.error for item in accounts.find(LOOKUPS)]
    assert len(errors) == 600
    assert {type(error) for error in errors} == {Transient}
    assert keeper.requests()["total"] <= 4 + 4 + 1, "a filter, the listing instead, and whether Keeper answers at all"


def test_a_run_whose_filters_fail_is_carried_out_by_listing(keeper, accounts):
    ids = seed(keeper, 300)
    keeper.fault(match=FILTER, status=500, times=None)
    found = {item.key: item for item in accounts.find(LOOKUPS)}
    assert {item.error for item in found.values()} == {None}
    assert sorted(item.accounts[0].scim_id for item in found.values() if item.accounts) == ids
    assert keeper.requests()["total"] <= 4 + 1


@pytest.mark.parametrize("bulk", [False, True])
def test_writes_that_fail_are_stopped_and_whoever_waits_is_told_when(keeper, bulk):
    keeper.settings(bulk=bulk)
    ids = seed(keeper, 600)
    accounts = client(keeper.endpoint, keeper.token)
    keeper.fault(match={"method": "PATCH|POST"}, status=500, times=None)
    written = write(accounts, [patch(scim_id, scim_id, active=False) for scim_id in ids], 60)
    assert set(kinds(written)) == {"Unresolved", "Transient"}
    assert kinds(written)["Transient"] > (0 if bulk else 400)
    told = [item.error.retry_after for item in written.values() if type(item.error) is Transient]
    assert all(wait is not None and 5 < wait <= streak.STOP_FOR for wait in told)
    sent_writes = sum(keeper.requests()["methods"].get(method, 0) for method in ("PATCH", "POST"))
    assert sent_writes <= 120


def test_creations_that_fail_while_searches_succeed_are_stopped(keeper, accounts):
    keeper.fault(match=POST_USER, status=500, times=None)
    written = write(accounts, creates(600), 60)
    assert set(kinds(written)) == {"Unresolved", "Transient"}
    assert sent(keeper, "POST /Users") <= 120


def test_nothing_is_sent_while_stopped_and_all_is_done_afterwards(keeper):
    accounts = client(keeper.endpoint, keeper.token, stop_for=1.0)
    ids = seed(keeper, 40)
    writes = [patch(scim_id, scim_id, active=False) for scim_id in ids]
    failing = keeper.fault(match={"method": "PATCH"}, status=503, times=None)
    write(accounts, writes)
    keeper.control("DELETE", f"faults/{failing}")
    before = sent(keeper, "PATCH /Users")
    stopped = write(accounts, writes)
    assert kinds(stopped) == {"Transient": 40}
    assert sent(keeper, "PATCH /Users") == before
    time.sleep(max(outcome.error.retry_after for outcome in stopped.values()))
    assert kinds(write(accounts, writes)) == {"NoneType": 40}


def test_what_fails_alone_is_that_users_failure_and_stops_nobody(keeper, accounts):
    ids = seed(keeper, 40)
    keeper.fault(match={"method": "PATCH", "path": "/1007$"}, status=503, times=None)
    for active in (False, True, False):
        written = write(accounts, [patch(scim_id, scim_id, active=active) for scim_id in ids])
        assert kinds(written) == {"NoneType": 39, "KeeperFailed": 1}
        assert isinstance(written["1007"].error, KeeperFailed)
    assert sum(account["active"] for account in keeper.accounts()) == 1


def test_one_user_who_always_fails_is_told_from_a_keeper_that_fails(keeper, accounts):
    ids = seed(keeper, 2)
    keeper.fault(match={"method": "GET", "path": f"/{ids[0]}$"}, status=500, times=None)
    for _ in range(3):
        with pytest.raises(KeeperFailed):
            accounts.get(ids[0])
    keeper.fault(match={"method": "GET"}, status=500, times=None)
    with pytest.raises(Transient) as all_of_it:
        accounts.get(ids[1])
    assert type(all_of_it.value) is Transient


def test_nor_do_the_attempts_of_one_user_add_up_to_a_keeper_that_fails(keeper):
    accounts = client(keeper.endpoint, keeper.token, first_pause=0.01)
    ids = seed(keeper, 2)
    keeper.fault(match={"method": "PATCH", "path": f"/{ids[0]}$"}, status=503, times=None)
    for number in range(streak.STOP_AFTER + 2):
        assert kinds(write(accounts, [patch(f"change{number}", ids[0], active=False)])) == {"KeeperFailed": 1}
    assert kinds(write(accounts, [patch("other", ids[1], active=False)])) == {"NoneType": 1}


def test_nobody_is_blamed_while_keeper_cannot_be_reached_at_all():
    accounts = client("http://127.0.0.1:9/scim", "a-token-of-the-test")
    (found,) = accounts.find([Lookup(key="k", external_id="d1", user_names=())])
    assert type(found.error) is Transient
    assert accounts.remarks() == ()


@pytest.mark.parametrize(
    "trouble",
    [{"status": 500}, {"status": 502}, {"status": 503}, {"drop_before": True, "times": 2}],  # aiohttp repeats a GET
)
def test_the_pace_halves(keeper, accounts, trouble):
    ids = seed(keeper, 1)
    keeper.fault(match={"method": "GET"}, **trouble)
    assert accounts.get(ids[0]) is not None
    assert accounts._sender.pace.limit == 16


def test_a_timeout_halves_it_too(keeper):
    ids = seed(keeper, 1)
    accounts = client(keeper.endpoint, keeper.token, timeout=0.3)
    keeper.fault(match={"method": "GET"}, hang=True)
    assert accounts.get(ids[0]) is not None
    assert accounts._sender.pace.limit == 16


def test_a_burst_is_survived_within_the_call(keeper, accounts):
    keeper.fault(match=POST_USER, status=502, times=32)
    exactly(keeper, write(accounts, creates(100)), 100)
