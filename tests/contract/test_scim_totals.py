"""totalResults is judged, not obeyed: a filter by what it shows, a listing by whether it goes on."""

from __future__ import annotations

import itertools
import json

import pytest

from autoprovisioning.adapters.scim import paging
from autoprovisioning.domain.accounts import Lookup
from autoprovisioning.domain.errors import Incomplete, KeeperFailed
from tests.contract.listener import Response
from tests.contract.scim_servers import client, creates
from tests.contract.scim_writes import LISTING, exactly, seed, sent, write

FILTER = {**LISTING, "query": "filter="}
NO_TOTALS = ["missing", None, True, -1, 1.5, 10**30, "many", [3], {"a": 1}]


def asked(accounts, number):
    (found,) = accounts.find([Lookup(key="k", external_id=f"d{number}", user_names=(f"person{number}@example.com",))])
    return found


@pytest.mark.parametrize("total", [0, 1, 5, 10**6, *NO_TOTALS])
def test_a_filter_is_judged_by_what_it_shows(keeper, accounts, total):
    seed(keeper, 5)
    keeper.fault(match=FILTER, total=total, times=None)
    assert [account.scim_id for account in asked(accounts, 3).accounts] == ["1003"]
    assert sent(keeper, "GET /Users") == 1


@pytest.mark.parametrize("total", [0, *NO_TOTALS])
def test_a_filter_that_shows_nobody_found_nobody(keeper, accounts, total):
    seed(keeper, 5)
    keeper.fault(match=FILTER, total=total, times=None)
    assert asked(accounts, 77).accounts == ()
    assert asked(accounts, 77).error is None


def test_a_filter_that_counts_somebody_and_shows_nobody_tells_nothing(keeper, accounts):
    seed(keeper, 5)
    keeper.fault(match=FILTER, status=200, body={"totalResults": 1, "Resources": []}, times=None)
    assert [account.scim_id for account in asked(accounts, 3).accounts] == ["1003"]
    assert sent(keeper, "GET /Users") == 2


@pytest.mark.parametrize("total", [0, 3, 19, *NO_TOTALS])
def test_a_listing_goes_on_until_it_ends_whatever_it_announces(keeper, accounts, total):
    ids = seed(keeper, 45)
    keeper.settings(page_cap=10)
    keeper.fault(match=LISTING, total=total, times=None)
    assert [account.scim_id for page in accounts.list() for account in page] == ids


def test_a_new_hire_does_not_wait_for_accounts_that_are_announced_and_not_there(keeper, accounts):
    seed(keeper, 25)
    keeper.settings(page_cap=10, ignore_filter=True)
    keeper.fault(match=LISTING, total=26, times=None)
    found = {
        item.key: item
        for item in accounts.find(
            [Lookup(key="old", external_id="d7", user_names=()), Lookup(key="new", external_id="d100", user_names=())]
        )
    }
    assert {key: item.error for key, item in found.items()} == {"old": None, "new": None}
    assert [len(item.accounts) for item in found.values()] == [1, 0]
    assert sent(keeper, "GET /Users") == 1 + 3 + 2, "the filter, the pages, and twice what comes after them"
    with pytest.raises(Incomplete, match="25 of 26"):
        list(accounts.list())


def test_a_listing_that_breaks_off_once_is_no_end(keeper, accounts):
    seed(keeper, 25)
    keeper.settings(page_cap=10, ignore_filter=True)
    empty = {"totalResults": 25, "Resources": []}
    keeper.fault(match={**LISTING, "query": "startIndex=11"}, status=200, body=empty)
    assert len(asked(accounts, 24).accounts) == 1


def test_what_a_lost_bulk_request_left_is_not_told_by_a_listing_that_lacks_some(keeper):
    keeper.settings(bulk=True)
    accounts = client(keeper.endpoint, keeper.token)
    keeper.fault(match={"path": "/Bulk$"}, drop_after=True)
    keeper.fault(match={**LISTING, "query": "startIndex"}, total=100, times=None)
    written = write(accounts, creates(5))
    assert {type(item.error).__name__ for item in written.values()} <= {"NoneType", "Unresolved"}
    assert len(keeper.accounts()) == 5


def endless(request):
    """Answer with a page of accounts that were never there before."""
    start = int(request.path.partition("startIndex=")[2].partition("&")[0])
    page = [{"id": f"{n}", "userName": f"p{n}@example.com"} for n in range(start, start + 500)]
    return Response(200, json.dumps({"totalResults": 10**9, "Resources": page}).encode())


def test_a_listing_without_end_ends_at_a_number_of_accounts(listener, monkeypatch):
    monkeypatch.setattr(paging, "MOST_RESOURCES", 3000)
    listener.answer = endless
    accounts = client(listener.url, "a-token-of-the-test")
    with pytest.raises(Incomplete, match="no end: 3500 accounts"):
        list(accounts.list())
    assert len(listener.requests) == 7


def test_a_listing_without_end_ends_at_a_number_of_bytes(listener, monkeypatch):
    monkeypatch.setattr(paging, "MOST_BYTES", 100_000)
    listener.answer = endless
    with pytest.raises(Incomplete, match="no end"):
        list(client(listener.url, "a-token-of-the-test").list())
    assert len(listener.requests) < 10


def test_a_listing_without_end_ends_in_time(listener, monkeypatch):
    monkeypatch.setattr(paging, "LISTING_TIME", paging.LISTING_TIME * 0.001)
    listener.answer = endless
    with pytest.raises(Incomplete, match="in time"):
        list(client(listener.url, "a-token-of-the-test").list())


def test_a_user_whose_node_cannot_be_listed_has_a_failure_and_does_not_wait_for_ever(keeper, accounts):
    seed(keeper, 45)
    keeper.settings(page_cap=10, repeat_first_page=True, ignore_filter=True)
    errors = [
        item.error
        for item in accounts.find([Lookup(key=f"k{n}", external_id=f"d{n}", user_names=()) for n in range(20, 23)])
    ]
    assert [type(error) for error in errors] == [KeeperFailed] * 3


def test_a_page_too_long_to_read_is_asked_for_in_parts(listener):
    everybody = [{"id": f"{n}", "userName": f"p{n}@example.com", "title": "x" * 40_000} for n in range(600)]

    def page(request):
        asked = dict(pair.split("=") for pair in request.path.partition("?")[2].split("&"))
        start, count = int(asked["startIndex"]), int(asked["count"])
        shown = list(itertools.islice(everybody, start - 1, start - 1 + count))
        return Response(200, json.dumps({"totalResults": 600, "Resources": shown}).encode())

    listener.answer = page
    listed = [account for page in client(listener.url, "a-token-of-the-test").list() for account in page]
    assert [account.scim_id for account in listed] == [item["id"] for item in everybody]


def test_a_first_run_is_not_troubled_by_any_of_it(keeper, accounts):
    keeper.fault(match=LISTING, total=10**6, times=None)
    found = list(
        accounts.find(
            [Lookup(key=f"k{n}", external_id=f"d{n}", user_names=(f"person{n}@example.com",)) for n in range(30)]
        )
    )
    assert [(item.error, item.accounts) for item in found] == [(None, ())] * 30
    exactly(keeper, write(accounts, creates(30)), 30)
