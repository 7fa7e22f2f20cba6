"""Which account may become whose: the table of domain/adoption.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.domain.accounts import Account
from autoprovisioning.domain.adoption import Beside, Choice, Known, Seeker, choose, settled_by
from autoprovisioning.domain.entry import TEXT_LIMIT
from autoprovisioning.domain.errors import AdoptionInDoubt, NotAdoptable
from tests.support.builders import DAY, NOW

ADA = Seeker(user_id="u1", primary=("ada@example.com",), aliases=("countess@example.com",), created=NOW)
NOBODY = Known()


def account(user_name: str = "ada@example.com", external_id: str = "", scim_id: str = "k1", **changes) -> Account:
    return replace(
        Account(scim_id=scim_id, user_name=user_name, external_id=external_id, active=True, created=NOW + DAY),
        **changes,
    )


FREE = account()
ALIAS = account("Countess@example.com")
DELETED = Known(deleted_addresses=frozenset({"ada@example.com"}))
CONFIRMED = Known(
    held_by={},
    deleted_addresses=frozenset({"ada@example.com", "countess@example.com"}),
    confirmed={"u1": frozenset({"k1", "k9"})},
)


@pytest.mark.parametrize(
    ("found", "grounds", "expected"),
    [
        ((), NOBODY, Choice()),
        # Ours by externalId, under whatever address, locked or not, whoever had the address.
        ((account(external_id="u1"),), DELETED, "k1"),
        ((account("old@example.com", "u1", active=False, created=None),), NOBODY, "k1"),
        ((account(scim_id="k2"), account("old@example.com", "u1")), NOBODY, "k1"),
        ((account(external_id="u1"),), Known(held_by={"k1": "u1"}), "k1"),
        # Free, under the primary address, with nothing against it.
        ((FREE,), NOBODY, "k1"),
        ((account("ADA@example.com"),), NOBODY, "k1"),
        ((account(created=NOW),), NOBODY, "k1"),
        ((account(active=False),), NOBODY, "k1"),
        # Under an alias: left alone and reported, locked or not.
        ((ALIAS,), NOBODY, Choice(beside=(Beside(scim_id="k1", user_name="Countess@example.com"),))),
        (
            (replace(ALIAS, active=False),),
            NOBODY,
            Choice(beside=(Beside(scim_id="k1", user_name="Countess@example.com", locked=True),)),
        ),
        ((account("countess@example.com", "u2"),), NOBODY, Choice()),
        ((ALIAS,), Known(held_by={"k1": "u2"}), Choice()),
        ((replace(ALIAS, scim_id="k2"), FREE), NOBODY, "k1"),
        # Confirmed.
        ((account(created=None),), CONFIRMED, "k1"),
        ((ALIAS,), CONFIRMED, "k1"),
        ((replace(ALIAS, active=False),), CONFIRMED, "k1"),
        (
            (replace(ALIAS, scim_id="k2"),),
            CONFIRMED,
            Choice(beside=(Beside(scim_id="k2", user_name="Countess@example.com"),)),
        ),
    ],
)
def test_the_account_that_is_adopted(found, grounds, expected):
    choice = choose(found, ADA, grounds)
    if isinstance(expected, Choice):
        assert choice == expected
    else:
        assert choice.account in found
        assert (choice.account.scim_id, choice.beside) == (expected, ())
        assert choice.confirmed is (grounds is CONFIRMED)


@pytest.mark.parametrize(
    ("found", "grounds"),
    [
        (account(external_id="u2"), NOBODY),
        (account(external_id="u2"), CONFIRMED),
        (FREE, Known(held_by={"k1": "u2"})),
        (account(external_id="u1"), Known(held_by={"k1": "u2"})),
        (FREE, replace(CONFIRMED, held_by={"k1": "u2"})),
    ],
)
def test_another_users_account_under_the_wanted_address_is_refused_whoever_confirmed_it(found, grounds):
    with pytest.raises(NotAdoptable, match="another directory user's account") as refused:
        choose((found,), ADA, grounds)
    assert not isinstance(refused.value, AdoptionInDoubt)


NO_TIME = replace(ADA, created=None)


@pytest.mark.parametrize(
    ("found", "seeker", "grounds", "why"),
    [
        (FREE, ADA, DELETED, "a recently deleted user had this address"),
        (account("Ada@Example.com"), ADA, DELETED, "a recently deleted user had this address"),
        (FREE, ADA, Known(deleted_addresses=None), "the directory did not list its deleted users"),
        (account(created=None), ADA, NOBODY, "Keeper does not say when it was created"),
        (FREE, NO_TIME, NOBODY, "the directory does not say when the user was created"),
        (account(created=NOW - timedelta(seconds=1)), ADA, NOBODY, "it is older than the user in the directory"),
        (account(active=False, created=None), ADA, NOBODY, "Keeper does not say when it was created"),
        (FREE, ADA, replace(DELETED, confirmed={"u2": frozenset({"k1"}), "u1": frozenset({"k2"})}), "recently deleted"),
        (account(created=NOW - DAY), ADA, DELETED, "had this address; it is older"),
    ],
)
def test_an_account_that_may_be_somebody_elses_waits_for_a_confirmation(found, seeker, grounds, why):
    with pytest.raises(AdoptionInDoubt) as doubt:
        choose((found,), seeker, grounds)
    assert why in doubt.value.detail
    assert doubt.value.detail.startswith(f"{found.user_name}: ")
    assert doubt.value.scim_id == "k1"
    assert doubt.value.about == settled_by(grounds.confirmed.get("u1", frozenset()))


def test_the_text_of_a_doubt_with_one_reason_is_not_cut_in_a_failure():
    with pytest.raises(AdoptionInDoubt) as doubt:
        choose((account("grace.hopper-murray@example.com", created=None),),
               replace(ADA, primary=("grace.hopper-murray@example.com",)), NOBODY)  # fmt: skip
    assert len(str(doubt.value)) <= TEXT_LIMIT
    assert "preview" in str(doubt.value)


def test_the_primary_address_counts_also_where_another_user_name_is_wanted():
    seeker = replace(ADA, primary=("a.byron@example.com", "ada@example.com"))
    assert choose((FREE,), seeker, NOBODY).account is FREE
    with pytest.raises(AdoptionInDoubt):
        choose((FREE,), seeker, DELETED)
    assert choose((account(external_id="u2"),), seeker, NOBODY) == Choice()


def test_of_two_accounts_with_our_id_the_one_under_the_wanted_address_comes_first():
    former, current = account("old@example.com", "u1", "k1"), account("ada@example.com", "u1", "k2")
    assert choose((former, current), ADA, NOBODY).account is current


def test_what_was_confirmed_for_a_user_is_named_by_what_it_is_not_by_its_order():
    assert settled_by(frozenset()) == ""
    assert settled_by(frozenset({"k1", "k2"})) == settled_by(frozenset({"k2", "k1"}))
    assert settled_by(frozenset({"k1"})) != settled_by(frozenset({"k1", "k2"}))


class Unasked:
    """Grounds of which only what the first table row needs may be read."""

    held_by = NOBODY.held_by

    @property
    def confirmed(self):
        raise AssertionError("read for nothing")

    deleted_addresses = confirmed


@pytest.mark.parametrize("found", [(), (account(external_id="u1"),)])
def test_nothing_is_read_where_nothing_is_to_be_weighed(found):
    choose(found, ADA, Unasked())
