"""Listings, lookups and capabilities read through bad weather: complete, or told as incomplete."""

from __future__ import annotations

import json

import pytest

from autoprovisioning.domain.accounts import Lookup, Write, WriteKind
from autoprovisioning.domain.errors import AuthorizationRefused, ConfigurationRefused, Incomplete, Transient
from tests.contract.listener import Response
from tests.contract.scim_servers import Counts, client, creates, patch, soon
from tests.contract.scim_writes import LISTING, POST_USER, exactly, kinds, seed, sent, write


@pytest.mark.parametrize(
    "weather",
    [
        {"page_cap": 10},
        {"page_cap": 10, "short_pages": True},
        {"page_cap": 10, "lower_case_resources": True, "no_items_per_page": True},
        {"string_active": True},
    ],
)
def test_a_listing_is_complete_in_any_weather(keeper, accounts, weather):
    ids = seed(keeper, 45)
    keeper.settings(**weather)
    listed = [account for page in accounts.list() for account in page]
    assert [account.scim_id for account in listed] == ids
    assert {account.active for account in listed} == {True}


def test_a_suspended_account_is_seen_where_active_is_a_string(keeper, accounts):
    ids = seed(keeper, 2)
    keeper.control("PATCH", f"accounts/{ids[1]}", {"active": False})
    keeper.settings(string_active=True)
    assert {account.scim_id: account.active for page in accounts.list() for account in page} == {
        ids[0]: True, ids[1]: False,
    }  # fmt: skip


def test_a_server_that_repeats_its_first_page_is_incomplete(keeper, accounts):
    seed(keeper, 45)
    keeper.settings(page_cap=10, repeat_first_page=True)
    with pytest.raises(Incomplete, match="repeats"):
        list(accounts.list())


def test_a_page_that_fails_once_is_asked_for_again(keeper, accounts):
    ids = seed(keeper, 45)
    keeper.settings(page_cap=10)
    keeper.fault(match=LISTING, status=502, skip=2)
    assert [account.scim_id for page in accounts.list() for account in page] == ids


def test_a_page_that_fails_for_ever_makes_it_incomplete(keeper, accounts):
    seed(keeper, 45)
    keeper.settings(page_cap=10)
    keeper.fault(match=LISTING, drop_before=True, skip=2, times=None)
    pages = accounts.list()
    assert [len(next(pages)), len(next(pages))] == [10, 10]
    with pytest.raises(Incomplete):
        next(pages)


@pytest.mark.parametrize("body", [{}, {"detail": "maintenance"}, []])
def test_a_success_that_is_no_listing_proves_nothing(keeper, accounts, body):
    keeper.fault(match=LISTING, status=200, body=body, times=None)
    with pytest.raises(Incomplete):
        list(accounts.list())
    (found,) = accounts.find([Lookup(key="k", external_id="d1", user_names=("a@example.com",))])
    assert isinstance(found.error, Transient)


def test_a_listing_without_totals_goes_on_to_an_empty_page(keeper, accounts):
    one = {"Resources": [{"id": "1", "userName": "a@example.com"}]}
    two = {"resources": [{"id": 2, "userName": "b@example.com"}]}
    for body in (one, two, {"Resources": []}):
        keeper.fault(match=LISTING, status=200, body=body)
    assert [account.scim_id for page in accounts.list() for account in page] == ["1", "2"]


def test_a_listing_that_ends_early_is_incomplete(keeper, accounts):
    short = {"totalResults": 3, "Resources": [{"id": "1", "userName": "a@example.com"}]}
    keeper.fault(match=LISTING, status=200, body=short)
    keeper.fault(match=LISTING, status=200, body={"totalResults": 3, "Resources": []})
    with pytest.raises(Incomplete, match="1 of 3"):
        list(accounts.list())


def test_ignored_filters_are_recognised_and_one_listing_answers_all(keeper, accounts):
    seed(keeper, 60)
    keeper.settings(ignore_filter=True, page_cap=25)
    lookups = [Lookup(key=f"k{n}", external_id=f"d{n}", user_names=(f"person{n}@example.com",)) for n in range(40, 80)]
    found = {item.key: item for item in accounts.find(lookups)}
    assert [len(found[f"k{n}"].accounts) for n in range(40, 80)] == [1] * 20 + [0] * 20
    assert found["k44"].accounts[0].scim_id == "1044"
    assert sent(keeper, "GET /Users") == 1 + 3
    again = list(accounts.find(lookups[:5]))
    assert [len(item.accounts) for item in again] == [1] * 5
    assert sent(keeper, "GET /Users") == 1 + 3 + 3


def test_refused_filters_lead_to_a_listing_too(keeper, accounts):
    seed(keeper, 10)
    keeper.fault(match=LISTING, status=400, body={"scimType": "invalidFilter"})
    found = list(accounts.find([Lookup(key=f"k{n}", external_id=f"d{n}", user_names=()) for n in range(5)]))
    assert [len(item.accounts) for item in found] == [1] * 5
    assert sent(keeper, "GET /Users") == 2


def test_a_lost_create_is_never_judged_by_a_listing_from_before_it(keeper, accounts):
    seed(keeper, 5)
    keeper.settings(ignore_filter=True)
    assert [len(item.accounts) for item in accounts.find([Lookup(key="k", external_id="d100", user_names=())])] == [0]
    keeper.fault(match=POST_USER, drop_after=True, times=30)
    written = write(accounts, creates(30, 100))
    assert kinds(written) == {"NoneType": 30}
    assert sent(keeper, "POST /Users") == 30
    assert sent(keeper, "GET /Users") <= 1 + 30 // 3, "those that were lost together share a listing"


def test_a_lookup_that_fails_is_that_lookups_error(keeper, accounts):
    seed(keeper, 5)
    keeper.fault(match=LISTING, status=500, skip=1, times=8)  # the filter, then the listing instead
    found = [
        item.error
        for item in accounts.find(
            [Lookup(key="a", external_id="d1", user_names=()), Lookup(key="b", external_id="d2", user_names=())]
        )
    ]
    assert [type(error).__name__ for error in found] == ["NoneType", "KeeperFailed"]


def test_only_a_404_means_gone(keeper, accounts):
    ids = seed(keeper, 1)
    keeper.fault(match={"method": "GET", "path": "/Users/"}, truncate=5)
    with pytest.raises(Transient):
        accounts.get(ids[0])
    assert accounts.get(ids[0]) is not None
    assert accounts.get("31337") is None


def test_redirects_are_not_followed(keeper, accounts):
    to = keeper.endpoint.replace("/4242", "/elsewhere") + "/Users"
    keeper.fault(match={}, status=307, headers={"Location": to}, times=None)
    for call in (accounts.probe, lambda: accounts.get("1"), lambda: list(accounts.list())):
        with pytest.raises(ConfigurationRefused):
            call()
    assert kinds(write(accounts, creates(1))) == {"ConfigurationRefused": 1}
    assert not [item for item in keeper.requests()["log"] if "elsewhere" in item["path"]]


def test_capabilities_are_remembered_only_when_the_server_told_them(keeper, accounts):
    keeper.settings(bulk=True)
    keeper.fault(match={"path": "/ServiceProviderConfig"}, status=403)
    assert not accounts.capabilities().bulk
    assert accounts.capabilities().bulk
    assert accounts.capabilities().max_operations == 1000
    assert sent(keeper, "GET /ServiceProviderConfig") == 2
    keeper.fault(match={"path": "/ServiceProviderConfig"}, status=401)
    with pytest.raises(AuthorizationRefused):
        client(keeper.endpoint, keeper.token).capabilities()


def test_a_server_without_capabilities_offers_nothing(keeper, accounts):
    keeper.fault(match={"path": "/ServiceProviderConfig"}, status=404, times=None)
    assert not accounts.capabilities().bulk
    exactly(keeper, write(accounts, creates(3)), 3)
    assert sent(keeper, "GET /ServiceProviderConfig") == 1


def test_requests_are_counted(keeper):
    counts = Counts()
    accounts = client(keeper.endpoint, keeper.token, count=counts)
    ids = seed(keeper, 2)
    write(
        accounts,
        [*creates(3, 10), patch("p", ids[0], active=False), Write(key="d", kind=WriteKind.DELETE, scim_id=ids[1])],
    )
    assert counts == {"scim_get": 1, "scim_post": 3, "scim_patch": 1, "scim_delete": 1}


def test_requests_are_strict_scim(listener):
    """RFC 7644 section 3.1 and RFC 6750: the media type, a boolean that is one, the token in its header."""
    created = {"id": "1", "userName": "person0@example.com", "externalId": "d0", "active": True}
    listener.answer = lambda _: Response(201, json.dumps(created).encode())
    accounts = client(listener.url, "a-token-of-the-test")
    assert [item.scim_id for item in accounts.write(creates(1), soon())] == ["1"]
    (request,) = listener.requests
    assert (request.method, request.path) == ("POST", "/Users")
    assert request.headers["accept"].startswith("application/scim+json")
    assert request.headers["content-type"] == "application/scim+json"
    assert request.headers["authorization"] == "Bearer a-token-of-the-test"
    assert json.loads(request.body)["active"] is True
