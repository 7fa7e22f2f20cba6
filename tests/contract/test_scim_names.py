"""A server that spells attributes its own way (RFC 7643 2.1), and when it says that accounts were created."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from autoprovisioning.domain.accounts import Lookup
from autoprovisioning.domain.errors import Rejected, Throttled
from autoprovisioning.domain.scim_user import ENTERPRISE
from tests.contract.scim_servers import client, creates, patch, person
from tests.contract.scim_writes import exactly, seed, sent, write

HOW = ["lower", "upper", "title"]


@pytest.mark.parametrize("names", HOW)
def test_accounts_are_read_found_and_listed(keeper, accounts, names):
    ids = seed(keeper, 25)
    keeper.control("PATCH", f"accounts/{ids[3]}", {"active": False, ENTERPRISE: {"department": "Engines"}})
    keeper.settings(page_cap=10)
    keeper.fault(match={"method": "GET"}, names=names, times=None)
    account = accounts.get(ids[3])
    assert account is not None
    assert (account.user_name, account.external_id, account.active) == ("person3@example.com", "d3", False)
    assert account.attributes[f"{ENTERPRISE}:department"] == "Engines"
    assert account.attributes["emails.value"] == "person3@example.com"
    assert sorted(account.scim_id for page in accounts.list() for account in page) == ids
    (found,) = accounts.find([Lookup(key="k", external_id="d3", user_names=())])
    assert found.accounts == (account,)


@pytest.mark.parametrize("names", HOW)
def test_bulk_is_recognised_and_its_results_are_read(keeper, names):
    keeper.settings(bulk=True)
    keeper.fault(match={}, names=names, times=None)
    accounts = client(keeper.endpoint, keeper.token)
    exactly(keeper, write(accounts, creates(10)), 10)
    assert sent(keeper, "POST /Bulk") == 1
    assert sent(keeper, "POST /Users") == 0


@pytest.mark.parametrize("names", HOW)
def test_a_new_accounts_id_and_a_refusals_words_are_read(keeper, accounts, names):
    keeper.fault(match={}, names=names, times=None)
    exactly(keeper, write(accounts, creates(3)), 3)
    keeper.settings(reserved_domains=["elsewhere.example"])
    change = patch("p", keeper.accounts()[0]["id"], attributes=person(7))
    error = write(accounts, [change])["p"].error
    assert isinstance(error, Rejected)
    assert "not reserved" in str(error)


@pytest.mark.parametrize("names", HOW)
def test_keepers_throttling_is_recognised(keeper, accounts, names):
    keeper.settings(rate=0.001, burst=0, throttle_style="403", retry_after=120)
    keeper.fault(match={}, names=names, times=None)
    with pytest.raises(Throttled) as told:
        accounts.probe()
    assert told.value.retry_after == 120


def test_when_an_account_was_created_is_told_where_the_server_tells(keeper, accounts):
    keeper.settings(tell_created=False)
    ids = seed(keeper, 3)
    assert {account.created for page in accounts.list() for account in page} == {None}
    keeper.settings(tell_created=True)
    keeper.control("PATCH", f"accounts/{ids[0]}", {"meta": {"created": "2019-05-17T10:00:00.5+02:00"}})
    keeper.control("PATCH", f"accounts/{ids[1]}", {"meta": {"created": "long ago"}})
    created = {account.scim_id: account.created for page in accounts.list() for account in page}
    assert created[ids[0]] == datetime(2019, 5, 17, 8, 0, 0, 500_000, tzinfo=UTC)
    assert created[ids[1]] is None
    assert created[ids[2]] is not None
    assert datetime.now(UTC) - created[ids[2]] < timedelta(hours=1)
