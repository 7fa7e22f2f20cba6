"""A server's own form of a value differs from another value, and is remembered as shown after our write."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprovisioning.adapters.firestore.codec import decode, encode
from autoprovisioning.domain.accounts import Account, fingerprint, remembered, remembers
from autoprovisioning.domain.changes import Change, Outcome, not_moved, recorded, sent_attributes
from autoprovisioning.domain.comparison import in_step
from autoprovisioning.domain.entry import Action, Mark, Status
from autoprovisioning.domain.errors import Contradicted
from autoprovisioning.domain.keeper_listing import Listing, as_found
from autoprovisioning.domain.normalization import made_of, same
from tests.support.builders import ADA, NOW, entry

PHONE = 'phoneNumbers[type eq "work"].value'
MANAGER = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value"
NFD = unicodedata.normalize("NFD", "Zoë")

SAME = [
    ("userName", "Ada@Example.com", "ada@example.com"),
    ("emails.value", "ada@example.com", " ADA@example.com"),
    ("displayName", "Ada ", "Ada"),
    ("displayName", NFD, "Zoë"),
    ("displayName", None, ""),
    (PHONE, "+44 (20) 7946-0000", "tel:+442079460000"),
    ("emails.primary", True, "True"),
]
OTHER = [
    ("displayName", "Ada", "ada"),
    ("displayName", "Ada", None),
    ("userName", "straße@example.com", "strasse@example.com"),
    (PHONE, "+44 1", "+44 2"),
    (PHONE, "reception", "porter"),
    ("title", "true", "false"),
]


@pytest.mark.parametrize(("target", "one", "other"), SAME)
def test_another_spelling_is_the_same_value(target, one, other):
    assert same(target, one, other)
    assert same(target, other, one)


@pytest.mark.parametrize(("target", "one", "other"), OTHER)
def test_another_value_is_not(target, one, other):
    assert not same(target, one, other)


@pytest.mark.parametrize(
    ("target", "shown", "sent", "made"),
    [
        ("displayName", "Ada Love", "Ada Lovelace", True),
        ("displayName", "Ada ", NFD, False),
        ("displayName", "", "Ada", False),
        ("displayName", "Ada", None, False),
        (PHONE, "+44 20", "+44 (20) 79", True),
        ("userName", "ada@example.com", "ada@example.com.au", False),
        ("emails.value", "ada@example.co", "ada@example.com", False),
        ("emails.type", "home", "work", True),
        (MANAGER, "12", "123", False),
    ],
)
def test_a_cut_value_is_made_of_the_whole_but_an_address_or_a_reference_is_another(target, shown, sent, made):
    assert made_of(target, {target: shown}, {target: sent}) is made


def test_keeper_mirrors_addresses_and_names_by_them_who_has_no_name():
    both = {"userName": "one@example.com", "emails.value": "two@example.com"}
    assert made_of("emails.value", {"emails.value": "ONE@example.com"}, both)
    assert made_of("userName", {"userName": "two@example.com"}, both)
    assert not made_of("emails.value", {"emails.value": "three@example.com"}, both)
    nameless = {"userName": "one@example.com", "displayName": "one@example.com"}
    assert made_of("displayName", nameless, {"displayName": None})
    assert not made_of("displayName", nameless, {"displayName": "Ada"})


ATTRIBUTES = st.dictionaries(
    st.sampled_from(["userName", "title", PHONE, "emails.primary"]), st.one_of(st.none(), st.booleans(), st.text())
)


@given(ATTRIBUTES, ATTRIBUTES)
def test_exactly_what_was_shown_otherwise_is_remembered(shown, written):
    memory = remembered(shown, written)
    for target, value in written.items():
        assert remembers(memory, target, shown.get(target)) is (shown.get(target) != value)
    assert remembered(written, written) == ""


CUT = {**ADA, "displayName": "Ada Love"}
MARKED = entry(Status.NONE, mark=Mark(change_id="c2", message_id="m1", action=Action.CREATE, until=NOW))
CREATE = Change(id="c2", entry=MARKED, action=Action.CREATE, email="ada@example.com", attributes=ADA)
UPDATE = Change(
    id="c2",
    entry=entry(
        mark=Mark(change_id="c2", message_id="m1", action=Action.UPDATE, until=NOW), shown=remembered(CUT, ADA)
    ),
    action=Action.UPDATE,
    email="ada@example.com",
    attributes={**ADA, "userName": "countess@example.com"},
    scim_id="k1",
)


def after(change: Change, shown, scim_id: str = "k1"):
    outcome = Outcome(change=change, scim_id=scim_id, sent=sent_attributes(change), shown=shown)
    return recorded(change.entry, outcome, NOW)


def test_a_creation_remembers_what_it_was_shown():
    assert remembers(after(CREATE, CUT).shown, "displayName", "Ada Love")
    assert after(CREATE, ADA).shown == ""
    assert after(CREATE, None).shown is None


def test_an_update_renews_the_memory_of_what_it_sent_and_keeps_the_rest():
    shown = {"userName": "Countess@example.com", "displayName": "Ada Love"}
    memory = after(UPDATE, shown).shown
    assert remembers(memory, "userName", "Countess@example.com")
    assert remembers(memory, "displayName", "Ada Love")


def test_what_somebody_else_wrote_meanwhile_is_not_remembered_by_an_update_of_something_else():
    memory = after(UPDATE, {"userName": "countess@example.com", "displayName": "Somebody"}).shown
    assert memory == ""


def test_the_memory_goes_with_the_account():
    assert after(UPDATE, None, scim_id="").shown is None
    assert (
        after(replace(UPDATE, scim_id="", recreates=True), {**ADA, "userName": "countess@example.com"}, "k2").shown
        == ""
    )


def test_access_given_or_taken_leaves_the_memory_alone():
    suspend = replace(UPDATE, action=Action.SUSPEND, attributes={})
    outcome = Outcome(change=suspend, scim_id="k1", shown=ADA)
    assert recorded(suspend.entry, outcome, NOW).shown == suspend.entry.shown


@pytest.mark.parametrize(
    ("memory", "shown", "expected"),
    [
        (None, "Ada Love", True),
        (None, "Somebody", False),
        (None, None, False),
        ("", "Ada Love", False),
        (remembered(CUT, ADA), "Ada Love", True),
        (remembered(CUT, ADA), "Ada", False),
        (remembered({"userName": ADA["userName"]}, ADA), "Ada Love", True),  # the answer to our write did not show it
    ],
)
def test_only_what_keeper_made_of_our_own_write_is_in_step(memory, shown, expected):
    known = entry(shown=memory)
    assert in_step(known, "displayName", {**ADA, "displayName": shown}, ADA) is expected
    assert in_step(known, "displayName", {"displayName": shown}, {"displayName": "Ada Lovelace the Countess"}) is False


def test_what_was_learnt_from_a_listing_is_kept_and_exact_from_then_on():
    learnt = as_listed(entry(), CUT)
    assert (learnt.fingerprint, remembers(learnt.shown, "displayName", "Ada Love")) == (fingerprint(ADA), True)
    drifted = as_listed(learnt, {**ADA, "displayName": "Ada"})
    assert (drifted.fingerprint != learnt.fingerprint, drifted.drift) == (True, ("displayName",))
    assert as_listed(learnt, CUT) == learnt


def as_listed(known, attributes):
    account = Account(scim_id="k1", user_name="ada@example.com", external_id="u1", active=True, attributes=attributes)
    listing = Listing([account], {})
    return as_found(known, listing, ADA, NOW, entitled=True)


def test_an_attribute_that_stays_as_it_was_is_no_cut_value():
    change = replace(UPDATE, written={"displayName": "Ada", "title": "Countess"})
    stayed = not_moved(change, {"title": "Countess of Lovelace"}, {"title": "Countess"})
    assert (type(stayed), "in: title." in str(stayed)) == (Contradicted, True)
    assert not_moved(change, {"title": "Countess of Lovelace"}, {"title": "Countess of"}) is None
    assert not_moved(change, {"title": "Countess "}, {"title": "Countess"}) is None
    assert not_moved(replace(change, written={}), {"title": "Countess of Lovelace"}, {"title": "Countess"}) is None


def test_a_shard_of_an_older_version_is_read():
    known = entry(timers={}, last_action_at=NOW, shown="abcdef")
    assert decode(encode({"u1": known})).entries == {"u1": known}
    (record,) = msgspec.msgpack.decode(encode({"u1": known}))
    older = msgspec.msgpack.encode([record[:17]])  # the fields of then
    assert decode(older).entries == {"u1": replace(known, shown=None)}
