"""What a server refuses, or fails at again and again, is done without it, and told."""

from __future__ import annotations

import pytest

from autoprovisioning.adapters.scim import lookup
from autoprovisioning.domain.accounts import Lookup
from autoprovisioning.domain.errors import AuthorizationRefused, NotOffered, ProvisioningError
from tests.contract.scim_servers import client, creates, patch
from tests.contract.scim_writes import LISTING, POST_BULK, exactly, kinds, seed, sent, write

FILTER = {**LISTING, "query": "filter="}
PAGE = {**LISTING, "query": "startIndex"}
CONFIG = {"path": "/ServiceProviderConfig"}


def found_by(accounts, numbers):
    lookups = [Lookup(key=f"k{n}", external_id=f"d{n}", user_names=(f"person{n}@example.com",)) for n in numbers]
    return {item.key: item for item in accounts.find(lookups)}


@pytest.mark.parametrize("status", [400, 403, 405, 406, 412, 414, 415, 422, 501, 505])
def test_filters_that_are_refused_are_never_sent_again(keeper, accounts, status):
    seed(keeper, 12)
    keeper.settings(filter_status=status)
    for _ in range(2):
        found = found_by(accounts, range(10, 14))
        assert [len(item.accounts) for item in found.values()] == [1, 1, 0, 0]
        assert {item.error for item in found.values()} == {None}
    assert sent(keeper, "GET /Users") == 1 + 2
    told = f"Keeper refuses filters (HTTP {status}): accounts are found by listing the node."
    assert accounts.remarks() == (told,)


@pytest.mark.parametrize("status", [500, 502, 504])
def test_filters_that_fail_are_done_without_for_some_minutes(keeper, accounts, monkeypatch, status):
    seed(keeper, 12)
    keeper.fault(match=FILTER, status=status, times=4)
    assert [len(item.accounts) for item in found_by(accounts, range(10, 14)).values()] == [1, 1, 0, 0]
    assert sent(keeper, "GET /Users") == 4 + 1
    (told,) = accounts.remarks()
    assert f"HTTP {status}" in told
    assert "listing the node" in told
    monkeypatch.setattr(accounts._search, "_without_filters_until", 0.0)
    assert len(found_by(accounts, [3])["k3"].accounts) == 1
    assert sent(keeper, "GET /Users") == 4 + 1 + 1
    assert accounts.remarks() == ()


def test_filters_are_tried_again_after_an_hour_at_most():
    assert 60 <= lookup.FAILED_FOR <= 600
    assert lookup.REFUSED_FOR <= 3600


def test_one_odd_value_among_filters_that_work_is_no_end_of_filters(keeper, accounts):
    seed(keeper, 12)
    keeper.fault(match={**FILTER, "query": "d3\\b"}, status=400, times=None)
    assert [len(item.accounts) for item in found_by(accounts, range(6)).values()] == [1] * 6
    assert accounts.remarks() == ()
    assert sent(keeper, "GET /Users") == 6 + 1


def test_the_listings_error_counts_where_both_are_refused(keeper, accounts):
    seed(keeper, 3)
    keeper.fault(match=LISTING, status=403, times=None)
    (error,) = [item.error for item in found_by(accounts, [1]).values()]
    assert isinstance(error, AuthorizationRefused)
    assert error.status == 403


@pytest.mark.parametrize("status", [401, 429])
def test_a_refused_token_and_a_throttle_are_not_about_filters(keeper, accounts, status):
    seed(keeper, 3)
    keeper.fault(match=LISTING, status=status, retry_after=60, times=None)
    assert [isinstance(item.error, ProvisioningError) for item in found_by(accounts, [1]).values()] == [True]
    assert sent(keeper, "GET /Users") == 1
    assert accounts.remarks() == ()


ODD_CONFIGS = [
    {"status": 501},
    {"status": 500},
    {"status": 403},
    {"status": 400},
    {"status": 503, "retry_after": 60},
    {"status": 200, "body": "<html>"},
    {"status": 200, "body": [1]},
    {"status": 200, "body": {}},
    {"status": 200, "body": {"bulk": True}},
    {"not_utf8": True},
    {"drop_before": True},
    *({"extra": {"bulk": {"supported": True, "maxOperations": most, "maxPayloadSize": 10**6}}}
      for most in (-1, 0, 1.5, True, "many", None, [])),
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD_CONFIGS, ids=range(len(ODD_CONFIGS)))
def test_a_first_run_creates_whatever_the_server_says_of_itself(keeper, odd):
    keeper.settings(bulk=True)
    keeper.fault(match=CONFIG, times=None, **odd)
    accounts = client(keeper.endpoint, keeper.token)
    exactly(keeper, write(accounts, creates(5)), 5)
    assert sent(keeper, "POST /Bulk") == 0


@pytest.mark.parametrize("most", [10**30, 10**9])
def test_limits_beyond_sense_are_ours(keeper, most):
    keeper.settings(bulk=True)
    bulk = {"supported": True, "maxOperations": most, "maxPayloadSize": most}
    keeper.fault(match=CONFIG, extra={"bulk": bulk}, times=None)
    accounts = client(keeper.endpoint, keeper.token)
    assert accounts.capabilities().max_operations <= 10_000
    assert accounts.capabilities().max_payload <= 16 * 1024 * 1024
    exactly(keeper, write(accounts, creates(20)), 20)


@pytest.mark.parametrize("status", [501, 404, 405])
def test_what_the_server_definitely_does_not_say_is_asked_once(keeper, status):
    keeper.fault(match=CONFIG, status=status, times=None)
    accounts = client(keeper.endpoint, keeper.token)
    for first in (0, 10):
        write(accounts, creates(3, first))
    assert sent(keeper, "GET /ServiceProviderConfig") == 1


@pytest.mark.parametrize("status", [400, 403, 405, 501])
def test_bulk_that_is_refused_is_done_one_by_one_and_told(keeper, status):
    keeper.settings(bulk=True)
    keeper.fault(match=POST_BULK, status=status, times=None)
    accounts = client(keeper.endpoint, keeper.token)
    exactly(keeper, write(accounts, creates(5)), 5)
    assert accounts.remarks() == (f"Keeper refuses Bulk (HTTP {status}): changes are sent one by one.",)


@pytest.mark.parametrize("status", [501, 505])
def test_a_write_that_is_not_offered_is_sent_once(keeper, accounts, status):
    ids = seed(keeper, 3)
    keeper.fault(match={"method": "PATCH"}, status=status, times=None)
    written = write(accounts, [patch(scim_id, scim_id, active=False) for scim_id in ids])
    assert kinds(written) == {"NotOffered": 3}
    assert {type(item.error) for item in written.values()} == {NotOffered}
    assert sent(keeper, "PATCH /Users") == 3
