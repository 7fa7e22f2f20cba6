"""Ids that cannot be used: their user has a failure that says so, nobody is taken for absent, and nothing is stored."""

from __future__ import annotations

import pytest

from autoprovisioning.domain.accounts import LONGEST_ID, Lookup, Write, WriteKind
from autoprovisioning.domain.errors import Permanent
from tests.contract.scim_servers import client, creates, patch
from tests.contract.scim_writes import LISTING, POST_USER, kinds, seed, sent, write

UNUSABLE = ["", ".", "..", "x" * (LONGEST_ID + 1), "x" * 1_500_000, "1\n2", {"a": 1}, None]
TOLD = "id in Keeper cannot be used"


@pytest.mark.parametrize("scim_id", UNUSABLE, ids=range(len(UNUSABLE)))
@pytest.mark.parametrize("weather", [{}, {"ignore_filter": True}])
def test_a_search_that_finds_it_is_that_users_failure_and_not_nobody(keeper, accounts, scim_id, weather):
    seed(keeper, 3)
    keeper.settings(**weather)
    keeper.fault(match=LISTING, id=scim_id, times=None)
    (found,) = accounts.find([Lookup(key="k", external_id="d1", user_names=("person1@example.com",))])
    assert type(found.error) is Permanent
    assert TOLD in str(found.error)
    assert found.accounts == ()
    assert len(str(found.error)) < 300


@pytest.mark.parametrize("scim_id", UNUSABLE[:-2], ids=range(len(UNUSABLE[:-2])))
def test_a_listing_shows_it_with_its_flaw_and_without_its_id(keeper, accounts, scim_id):
    seed(keeper, 3)
    keeper.fault(match=LISTING, id=scim_id)
    listed = [account for page in accounts.list() for account in page]
    assert [(account.scim_id, account.external_id) for account in listed] == [("", "d0"), ("", "d1"), ("", "d2")]
    assert all(TOLD in account.flaw for account in listed)


def test_only_the_account_asked_for_is_an_answer(keeper, accounts):
    ids = seed(keeper, 2)
    keeper.fault(match={"method": "GET", "path": "/Users/"}, id=ids[1], times=None)
    with pytest.raises(Permanent, match=TOLD) as failure:
        accounts.get(ids[0])
    assert type(failure.value) is Permanent
    account = accounts.get(ids[1])
    assert account is not None
    assert account.scim_id == ids[1]


@pytest.mark.parametrize("scim_id", [".", "..", "", "x" * 5000])
def test_nothing_is_asked_or_written_under_an_id_that_reaches_something_else(keeper, accounts, scim_id):
    seed(keeper, 2)
    with pytest.raises(Permanent, match=TOLD):
        accounts.get(scim_id)
    written = write(
        accounts, [patch("p", scim_id, active=False), Write(key="d", kind=WriteKind.DELETE, scim_id=scim_id)]
    )
    assert kinds(written) == {"Permanent": 2}
    assert keeper.requests()["total"] == keeper.requests()["methods"].get("GET", 0)
    assert all(account["active"] for account in keeper.accounts())


@pytest.mark.parametrize("scim_id", UNUSABLE[1:-1], ids=range(len(UNUSABLE[1:-1])))
def test_a_new_account_with_such_an_id_is_a_failure_and_not_made_again(keeper, accounts, scim_id):
    keeper.fault(match=POST_USER, id=scim_id, times=None)
    written = write(accounts, creates(1))
    assert kinds(written) == {"Permanent": 1}
    assert sent(keeper, "POST /Users") == 1


def test_such_an_account_among_those_that_a_lost_bulk_request_made_is_its_users_failure(keeper):
    keeper.settings(bulk=True)
    keeper.fault(match={"path": "/Bulk$"}, drop_after=True)
    keeper.fault(match=LISTING, id="..", times=None)
    written = write(client(keeper.endpoint, keeper.token), creates(3))
    assert kinds(written) == {"Permanent": 3}


def test_whatever_else_an_id_is_reaches_that_account(keeper, accounts):
    odd = ["a/b", "a?b#c", "%2e%2e", "...", "ä b", "x" * LONGEST_ID]
    people = [{"userName": f"p{n}@example.com", "externalId": f"d{n}", "id": scim_id} for n, scim_id in enumerate(odd)]
    keeper.control("PUT", "accounts", people)
    written = write(accounts, [patch(scim_id, scim_id, active=False) for scim_id in odd])
    assert kinds(written) == {"NoneType": len(odd)}
    for scim_id in odd:
        account = accounts.get(scim_id)
        assert account is not None
        assert (account.scim_id, account.active) == (scim_id, False)
