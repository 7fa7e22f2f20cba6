"""What Keeper's own listing makes of an entry, and what it says nothing of."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest

from autoprovisioning.domain.accounts import Account, remembered
from autoprovisioning.domain.entry import ACCESS, ACCOUNT, EXTERNAL_ID, GROUPS, Action, Mark, Status, Unseen
from autoprovisioning.domain.keeper_listing import Listing, as_found, new_drift, without_repair
from tests.support.builders import ADA, DAY, NOW, entry

OURS = Account(scim_id="k1", user_name="ada@example.com", external_id="u1", active=True, attributes=ADA)
OTHER = Account(scim_id="k9", user_name="other@example.com", external_id="u9", active=True, attributes=ADA)
RECREATED = Account(scim_id="k2", user_name="ada@example.com", external_id="", active=True, attributes=ADA)
MARK = Mark(change_id="c", message_id="m", action=Action.UPDATE, until=NOW)


def found(known, *accounts, desired=ADA, entitled=True):
    """Return the entry as a listing of these accounts shows it."""
    return as_found(known, Listing(accounts, {}), desired, NOW, entitled=entitled)


@pytest.mark.parametrize("known", [entry(Status.NONE), entry(mark=MARK), entry(Status.SUSPENDED, deleted=True)])
def test_of_whom_nothing_is_known_or_a_change_is_on_its_way_or_who_was_deleted_nothing_is_missing(known):
    assert found(known, OTHER, entitled=not known.deleted) == known


def test_an_account_that_is_nowhere_is_missing_and_one_under_the_same_address_is_looked_for():
    assert found(entry(), OTHER).drift == (ACCOUNT,)
    assert found(entry(Status.SUSPENDED, deleted=True), OTHER).drift == (ACCOUNT,), "who returned needs a new one"
    moved = found(entry(Status.LOCKED, locked_at=NOW), OTHER, RECREATED)
    assert (moved.drift, moved.fingerprint, moved.status, moved.locked_at) == ((), "", Status.ACTIVE, None)
    assert found(entry(), RECREATED, desired={}) == entry(), "a look at the leaver finds it"


def test_what_keeper_makes_of_a_value_that_no_listing_shows_stays_remembered():
    known = entry(shown=remembered({"displayName": None}, {"displayName": ADA["displayName"]}))
    shy = Account(
        scim_id="k1", user_name="ada@example.com", external_id="u1", active=True,
        attributes={target: value for target, value in ADA.items() if target != "displayName"},
    )  # fmt: skip
    assert found(known, shy) == known


SENT = Unseen(team_id="t1", since=NOW - DAY)
ENDED = Unseen(team_id="t1", since=NOW - DAY, seen=True)


@pytest.mark.parametrize(
    ("unseen", "shown", "there", "becomes"),
    [
        pytest.param((SENT,), (), ("t1",), (SENT,), id="waits, or is not shown while it waits"),
        pytest.param((SENT,), ("t1", "t9"), (), (), id="arrived"),
        pytest.param((SENT,), None, (), (SENT,), id="not told"),
        pytest.param((), ("t1",), (), (), id="as before"),
        pytest.param((), (), ("t1",), (replace(ENDED, since=NOW),), id="somebody ended it"),
        pytest.param((), ("t9",), ("t9",), (), id="the team is gone"),
        pytest.param((), None, ("t1",), (), id="told no more"),
        pytest.param((ENDED,), (), ("t1",), (ENDED,), id="ended before"),
        pytest.param((ENDED,), ("t1",), (), (), id="somebody put them in again"),
        pytest.param((replace(SENT, team_id="t8"),), ("t1",), (), (), id="left meanwhile, by an earlier version"),
    ],
)
def test_what_a_listing_shows_of_memberships(unseen, shown, there, becomes):
    known = entry(shown="", teams=("t1",), unseen=unseen)
    listing = Listing([replace(OURS, teams=shown), OTHER], {})
    listing.there = there
    after = as_found(known, listing, ADA, NOW, entitled=True)
    assert after == replace(known, unseen=becomes)
    told = (GROUPS,) if becomes == (replace(ENDED, since=NOW),) else ()
    assert new_drift(known, after) == told
    assert as_found(after, listing, ADA, NOW + DAY, entitled=True) == after
    assert without_repair(known, after).unseen == becomes


def test_of_who_is_locked_no_membership_is_missed():
    known = entry(Status.SUSPENDED, shown="", teams=("t1",), locked_at=NOW)
    listing = Listing([replace(OURS, active=False, teams=())], {})
    listing.there = ("t1",)
    assert not listing.missed_teams([known])
    assert as_found(known, listing, {}, NOW, entitled=False) == known


def test_teams_are_asked_for_only_where_a_membership_is_missed():
    listing = Listing([replace(OURS, teams=("t1",)), replace(OTHER, teams=None)], {})
    known = entry(teams=("t1", "t2"), unseen=(replace(SENT, team_id="t2"),))
    assert not listing.missed_teams([known, entry(scim_id="nobody", teams=("t1",)), entry(scim_id="k9")])
    assert listing.missed_teams([replace(known, unseen=())])
    assert listing.missed_teams([replace(known, scim_id="k9")]), "where others' teams are told, it is in none"


SUSPENDED = entry(Status.SUSPENDED)
RENAMED = replace(OURS, attributes={**ADA, "displayName": "Somebody"})
LOCKED = replace(OURS, active=False)


@pytest.mark.parametrize(
    ("known", "shown", "kept"),
    [
        (entry(), OURS, entry(shown="")),
        (entry(), RENAMED, entry()),
        (entry(), OTHER, entry()),
        (entry(), RECREATED, entry()),
        (entry(), replace(OURS, external_id="u9"), entry(shown="")),
        (entry(drift=(ACCOUNT, "displayName")), OURS, entry(shown="")),
        (entry(drift=(ACCOUNT,)), OTHER, entry(drift=(ACCOUNT,))),
        (
            entry(drift=(EXTERNAL_ID,)),
            replace(OURS, external_id="u9"),
            entry(shown="", drift=(EXTERNAL_ID,)),
        ),
        (entry(), LOCKED, entry(Status.LOCKED, locked_at=NOW, shown="")),
        (
            entry(),
            replace(LOCKED, external_id="u9"),
            entry(Status.LOCKED, locked_at=NOW, shown="", drift=(EXTERNAL_ID,)),
        ),
        (SUSPENDED, OURS, entry(drift=(ACCESS,), shown="")),
        (SUSPENDED, RENAMED, entry(drift=(ACCESS,))),
    ],
)
def test_where_drift_is_only_reported_nothing_is_left_to_repair_but_access(known, shown, kept):
    assert without_repair(known, found(known, shown)) == kept


@pytest.mark.parametrize(
    "account",
    [
        OURS,
        replace(OURS, active=False, created=NOW, external_id=""),
        replace(OURS, attributes={}),
        replace(OURS, attributes={"displayName": "Zoë \ud83d 李", "emails.primary": True, "nickName": ""}),
        replace(OURS, scim_id="", flaw="its id is unusable"),
        replace(OURS, user_name="", scim_id="", flaw="it has neither id nor name"),
    ],
)
def test_an_account_is_listed_as_it_was_shown(account):
    listing = Listing([OTHER, account], {})
    assert list(listing.values()) == [OTHER, account]
    assert listing[account.scim_id or account.user_name] == account
    assert "k7" not in listing


def test_an_attribute_without_a_value_is_as_one_that_is_not_shown():
    listing = Listing([replace(OURS, attributes={"displayName": None, "userName": "ada@example.com"})], {})
    assert (listing["k1"].attributes, listing.told) == ({"userName": "ada@example.com"}, {"userName"})


def test_a_listing_takes_less_than_a_third_of_what_its_accounts_take():
    accounts = (
        Account(
            scim_id=f"{number:022}",
            user_name=f"user{number}@example.com",
            external_id=f"{number:021}",
            active=True,
            attributes={name: f"{value}{number}" for name, value in ADA.items()},
        )
        for number in range(1000)
    )
    tracemalloc.start()
    try:
        held = {account.scim_id: account for account in accounts}
        whole = tracemalloc.get_traced_memory()[0]
        roster = {each.external_id: entry(scim_id=each.scim_id) for each in held.values()}
        before = tracemalloc.get_traced_memory()[0]
        listing = Listing(held.values(), roster)
        packed = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert dict(listing) == held
    assert packed < whole / 3
