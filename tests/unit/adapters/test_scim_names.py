"""Attribute names are compared without case (RFC 7643 2.1)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprovisioning.adapters.scim.names import NAMES, spelled
from autoprovisioning.adapters.scim.protocol import is_listing, resources, total
from autoprovisioning.adapters.scim.resources import read_account, read_listed
from autoprovisioning.domain.scim_user import ENTERPRISE

RESOURCE = {
    "id": "17",
    "userName": "ada@example.com",
    "externalId": "d1",
    "active": False,
    "title": "Countess",
    "name": {"givenName": "Ada", "familyName": "Lovelace"},
    "emails": [{"value": "old@example.com"}, {"value": "ada@example.com", "type": "work", "primary": True}],
    "phoneNumbers": [{"type": "mobile", "value": "1"}],
    "addresses": [{"type": "work", "postalCode": "2"}],
    "meta": {"created": "2026-11-24T09:00:00Z"},
    ENTERPRISE: {"department": "Engines", "manager": {"value": "18"}},
}


def recased(value, how):
    if isinstance(value, dict):
        return {how(name): recased(item, how) for name, item in value.items()}
    return [recased(item, how) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("how", [str.lower, str.upper, str.title, str.swapcase])
def test_a_resource_reads_the_same_in_any_case(how):
    account = read_account(recased(RESOURCE, how))
    assert account == read_account(RESOURCE)
    assert account is not None
    assert (account.external_id, account.active) == ("d1", False)
    assert account.attributes["name.givenName"] == "Ada"
    assert account.attributes[f"{ENTERPRISE}:department"] == "Engines"
    assert account.attributes[f"{ENTERPRISE}:manager.value"] == "18"
    assert account.attributes["emails.value"] == "ada@example.com"
    assert account.attributes['phoneNumbers[type eq "mobile"].value'] == "1"
    assert account.attributes['addresses[type eq "work"].postalCode'] == "2"


@pytest.mark.parametrize("how", [str.lower, str.upper])
def test_a_listing_reads_the_same_in_any_case(how):
    listing = recased({"totalResults": 3, "Resources": [RESOURCE]}, how)
    assert is_listing(listing)
    assert total(listing) == 3
    assert [read_account(item) for item in resources(listing)] == [read_account(RESOURCE)]


def test_the_usual_spelling_wins_where_an_attribute_is_told_twice():
    assert spelled({"ID": "2", "id": "1"})["id"] == "1"
    assert spelled({"Id": "2", "ID": "3"})["id"] == "2"


@given(st.dictionaries(st.text(max_size=12) | st.sampled_from(sorted(NAMES)), st.integers()))
def test_nothing_but_names_changes_and_nothing_is_made_up(named):
    read = spelled(named)
    assert set(read.values()) <= set(named.values())
    assert {key.lower() for key in read} >= {key.lower() for key in named if key in NAMES}
    assert {key: named[key] for key in named if key in NAMES} == {key: read[key] for key in named if key in NAMES}


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ("2026-11-24T09:00:00Z", datetime(2026, 11, 24, 9, tzinfo=UTC)),
        ("2026-11-24T10:30:00.123456789+01:30", datetime(2026, 11, 24, 9, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-24t09:00:00z", datetime(2026, 11, 24, 9, tzinfo=UTC)),
        ("2026-11-24 09:00:00", datetime(2026, 11, 24, 9, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("2026-13-24T09:00:00Z", None),
        ("2026-11-24", None),
        ("2026-W48-2", None),
        ("٢٠٢٦-11-24T09:00:00Z", None),
        ("yesterday", None),
        ("2" * 100_000, None),
        (1795510890, None),
        (None, None),
        ({}, None),
    ],
)
def test_when_an_account_was_created_is_read_or_it_is_not_known(told, read):
    account = read_account({"id": "1", "meta": {"created": told}})
    assert account is not None
    assert account.created == read


@pytest.mark.parametrize(
    ("groups", "teams"),
    [
        ([], ()),
        ([{"value": "t2", "display": "B"}, {"VALUE": "t1"}, {"value": "t2"}], ("t1", "t2")),
        ([{"value": 7}, {"value": ""}, {"value": "x" * 1_000}, "t1", None, {}], ()),
        ({"value": "t1"}, None),
        ("t1", None),
        (None, None),
    ],
)
def test_the_teams_of_an_account_are_read_or_they_are_not_told(groups, teams):
    assert read_listed({"id": "1", "Groups": groups}).teams == teams
    assert read_listed({"id": "1"}).teams is None


def test_no_meta_is_no_time():
    for meta in (None, [], "2026-11-24T09:00:00Z", {}):
        assert read_listed({"id": "1", "meta": meta}).created is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*RESOURCE, "ID", "username", "Emails", "META"]), JSON))
def test_whatever_a_resource_holds_it_is_read_as_an_account_or_with_a_flaw(resource):
    account = read_listed(resource)
    assert bool(account.scim_id) != bool(account.flaw)
    assert len(account.user_name) <= 1024
    assert len(account.external_id) <= 1024


@pytest.mark.parametrize("told", [{"a": 1}, ["d1"], True, 1.5])
def test_an_external_id_that_is_no_text_makes_the_account_somebodys(told):
    assert read_listed({"id": "1", "externalId": told}).external_id not in ("", "d1")
