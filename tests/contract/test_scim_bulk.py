"""Writes sent in Bulk through faults at the wire: every one gets its true result, and nobody two accounts."""

from __future__ import annotations

import time

import pytest

from autoprovisioning.domain.accounts import Write, WriteKind
from autoprovisioning.domain.errors import SeatsExhausted
from tests.contract.scim_servers import client, creates, patch
from tests.contract.scim_writes import LISTING, POST_BULK, exactly, kinds, seed, sent, write


@pytest.fixture(autouse=True)
def offered(keeper):
    keeper.settings(bulk=True)


def test_few_requests_carry_many_writes(keeper, accounts):
    exactly(keeper, write(accounts, creates(1200)), 1200)
    assert sent(keeper, "POST /Bulk") <= 12
    assert sent(keeper, "POST /Users") == 0


@pytest.mark.parametrize("milliseconds", [0, 10])
def test_bulk_is_not_slower_than_one_request_a_write_however_long_an_operation_takes(keeper, milliseconds):
    """A server works through the operations of one request one after the other."""
    keeper.settings(latency_ms=50, per_operation_ms=milliseconds)

    def seconds(bulk: bool) -> float:
        keeper.settings(bulk=bulk)
        accounts, took = client(keeper.endpoint, keeper.token), []
        for _ in range(3):
            keeper.control("PUT", "accounts", [])
            began = time.perf_counter()
            exactly(keeper, write(accounts, creates(500)), 500)
            took.append(time.perf_counter() - began)
        return min(took)

    assert seconds(bulk=True) < 1.25 * seconds(bulk=False)  # five times as long with two requests under way


def test_a_chunk_whose_operations_take_long_is_made_smaller(keeper, accounts):
    keeper.settings(latency_ms=50, per_operation_ms=10)
    write(accounts, creates(400))
    first = sent(keeper, "POST /Bulk")
    write(accounts, creates(400, 1000))
    second = sent(keeper, "POST /Bulk")
    keeper.settings(per_operation_ms=0)
    write(accounts, creates(400, 2000))
    third = sent(keeper, "POST /Bulk")
    exactly(keeper, write(accounts, creates(400, 3000)), 400, others=1200)
    assert 12 <= first <= 44, "of a quarter of a second each, side by side, from the first answer on"
    assert 14 <= second - first <= 44
    assert sent(keeper, "POST /Bulk") - third <= 6, "and larger again where they take less"


def test_where_bulk_is_slower_writes_go_one_by_one_once_both_ways_were_timed(keeper, accounts):
    keeper.settings(latency_ms=20, per_operation_ms=40)
    for number in range(4):
        exactly(keeper, write(accounts, creates(100, 1000 * number)), 100, others=100 * number)
    assert sent(keeper, "POST /Users") >= 200, "the first call was Bulk's, the second one timed the other way"
    assert 0 < sent(keeper, "POST /Bulk") <= 20


def test_where_bulk_is_faster_nothing_goes_one_by_one(keeper, accounts):
    keeper.settings(latency_ms=50, per_operation_ms=1)
    for number in range(4):
        exactly(keeper, write(accounts, creates(250, 1000 * number)), 250, others=250 * number)
    assert sent(keeper, "POST /Users") == 0


def test_the_first_requests_are_small_since_nobody_knows_how_long_an_operation_takes(keeper, accounts):
    keeper.settings(latency_ms=50, per_operation_ms=40)  # a hundred of them are four seconds
    exactly(keeper, write(accounts, creates(250)), 250)
    assert sent(keeper, "POST /Bulk") == 25


def test_the_servers_limits_are_kept(keeper, accounts):
    keeper.settings(max_operations=30, max_payload=4000)
    exactly(keeper, write(accounts, creates(100)), 100)
    assert sent(keeper, "POST /Bulk") >= 8
    assert sent(keeper, "POST /Users") == 0


def test_too_large_is_halved(keeper, accounts):
    fault = keeper.fault(match=POST_BULK, status=413, times=2)
    exactly(keeper, write(accounts, creates(300)), 300)
    assert keeper.matched(fault) == 2
    assert sent(keeper, "POST /Users") == 0


@pytest.mark.parametrize("fault", [{"drop_after": True}, {"truncate": 100}, {"lose_results": 37}])
def test_a_lost_answer_is_resolved_by_one_listing(keeper, accounts, fault):
    keeper.fault(match=POST_BULK, **fault)
    exactly(keeper, write(accounts, creates(250)), 250)
    assert sent(keeper, "POST /Users") == 0
    assert sent(keeper, "GET /Users") == 1


def test_a_lost_request_is_sent_again_one_by_one(keeper, accounts):
    keeper.fault(match=POST_BULK, drop_before=True)
    exactly(keeper, write(accounts, creates(250)), 250)
    assert sent(keeper, "POST /Users") == 10, "those of the first request"


def test_a_hanging_answer_is_resolved(keeper):
    accounts = client(keeper.endpoint, keeper.token, timeout=0.3)
    keeper.fault(match=POST_BULK, hold_after=True)
    written = write(accounts, creates(5))
    exactly(keeper, written, 5)
    assert sent(keeper, "POST /Users") == 0


def test_a_lost_answer_is_unresolved_while_keeper_cannot_be_asked(keeper, accounts):
    keeper.fault(match=POST_BULK, drop_after=True, times=1)
    keeper.fault(match=LISTING, status=500, times=None)
    assert kinds(write(accounts, creates(50))) == {"Unresolved": 10, "NoneType": 40}
    assert sent(keeper, "POST /Users") == 0


def test_answers_lost_together_are_one_loss_and_resolved_by_one_listing(keeper, accounts):
    keeper.settings(latency_ms=50)  # or one by one may seem the faster way
    write(accounts, creates(400))  # from now on as many may be under way as there are chunks
    keeper.settings(latency_ms=1000)  # of the first listing, too: the other losses come meanwhile
    gone = keeper.fault(match=POST_BULK, drop_after=True, times=2)
    lists = sent(keeper, "GET /Users")
    exactly(keeper, write(accounts, creates(400, 1000)), 400, others=400)
    assert keeper.matched(gone) == 2
    assert sent(keeper, "POST /Users") == 0
    assert sent(keeper, "GET /Users") - lists <= 2


def test_a_burst_of_throttling_does_not_give_bulk_up(keeper, accounts):
    keeper.settings(latency_ms=50)
    write(accounts, creates(400))
    keeper.settings(latency_ms=1000)  # both are under way when the first is refused
    keeper.fault(match=POST_BULK, status=429, retry_after=0, times=2)
    exactly(keeper, write(accounts, creates(400, 1000)), 400, others=400)
    assert sent(keeper, "POST /Users") <= 200, "of one chunk at most, whose connection broke"


def test_changes_and_deletions_are_sent_again_after_a_loss(keeper, accounts):
    ids = seed(keeper, 60)
    keeper.fault(match=POST_BULK, drop_before=True, times=None)
    writes = [patch(scim_id, scim_id, active=False) for scim_id in ids[:30]]
    writes += [Write(key=scim_id, kind=WriteKind.DELETE, scim_id=scim_id) for scim_id in ids[30:]]
    assert kinds(write(accounts, writes)) == {"NoneType": 60}
    assert not any(account["active"] for account in keeper.accounts())
    assert sent(keeper, "GET /Users") == 0


def test_bulk_that_is_always_lost_is_given_up_for_the_call(keeper, accounts):
    fault = keeper.fault(match=POST_BULK, drop_before=True, times=None)
    exactly(keeper, write(accounts, creates(400)), 400)
    assert keeper.matched(fault) <= 6, "two at a time, three times"


@pytest.mark.parametrize("status", [403, 404, 501])
def test_bulk_that_is_refused_is_not_tried_again(keeper, accounts, status):
    fault = keeper.fault(match=POST_BULK, status=status, times=None)
    exactly(keeper, write(accounts, creates(60)), 60)
    assert keeper.matched(fault) <= 2
    write(accounts, creates(60, 100))
    assert keeper.matched(fault) <= 2


def test_a_storm_of_throttling_loses_nothing(keeper, accounts):
    keeper.fault(match=POST_BULK, status=429, retry_after=1, times=2)
    exactly(keeper, write(accounts, creates(300)), 300)
    assert sent(keeper, "POST /Users") == 0


def test_a_long_wait_is_left_to_the_connection(keeper, accounts):
    keeper.fault(match=POST_BULK, status=403, body={"error": "throttled", "message": "Try again in 2 minutes"},
               times=None)  # fmt: skip
    written = write(accounts, creates(300))
    assert kinds(written) == {"Throttled": 300}
    assert sent(keeper, "POST /Bulk") <= 2
    assert sent(keeper, "POST /Users") == 0


def test_a_refused_token_stops_the_sending(keeper, accounts):
    keeper.fault(match=POST_BULK, status=401, skip=1, times=None)
    written = write(accounts, creates(2000))
    assert kinds(written) == {"NoneType": 10, "AuthorizationRefused": 1990}
    assert sent(keeper, "POST /Bulk") <= 5, "those that were under way"
    assert sent(keeper, "POST /Users") == 0


def test_the_last_seat_stops_creates_and_nothing_else(keeper, accounts):
    ids = seed(keeper, 50)
    keeper.settings(seats=70)
    changes = [patch(scim_id, scim_id, active=False) for scim_id in ids]
    writes = [item for pair in zip(changes, creates(50, 100), strict=True) for item in pair] + creates(400, 200)
    written = write(accounts, writes)
    assert kinds(written) == {"NoneType": 70, "SeatsExhausted": 430}
    assert isinstance(written["c599"].error, SeatsExhausted)
    assert sent(keeper, "POST /Bulk") <= 8, "those that were under way"
    assert sent(keeper, "POST /Users") == 0
    assert sum(not account["active"] for account in keeper.accounts()) == 50


def test_each_operation_has_its_own_result(keeper, accounts):
    ids = seed(keeper, 3)
    keeper.settings(taken_addresses=["person12@example.com"])
    gone = patch("gone", "31337", active=False)
    written = write(accounts, [*creates(5, 10), gone, patch("p", ids[0], active=False)])
    assert {key: type(item.error).__name__ for key, item in written.items()} == {
        "c10": "NoneType", "c11": "NoneType", "c12": "AddressTaken", "c13": "NoneType", "c14": "NoneType",
        "gone": "AccountGone", "p": "NoneType",
    }  # fmt: skip
