"""A mark that ran out is settled by what its change sent: the audit reports nothing that was not done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.adapters.firestore import schema_1
from autoprovisioning.adapters.firestore.codec import decode, encode
from autoprovisioning.domain.accounts import Account, fingerprint, holds, remembered
from autoprovisioning.domain.change_events import RECREATED, event_for
from autoprovisioning.domain.changes import Change, marked
from autoprovisioning.domain.entry import ACCOUNT, EXTERNAL_ID, Action, Entry, Mark
from autoprovisioning.domain.events import NAME_OF
from autoprovisioning.domain.recovery import recover
from tests.support.builders import BY_RUN, DAY, NOW, entry

ADA = {"userName": "ada@example.com", "name.familyName": "Lovelace", "title": "Countess", "nickName": "Ada"}
MARRIED = {**ADA, "name.familyName": "King"}
UNRETURNED = ("title", "nickName")


def found(attributes, scim_id: str = "k1") -> Account:
    """An account as a server shows it that never returns some attributes."""
    shown = {target: value for target, value in attributes.items() if target not in UNRETURNED}
    return Account(scim_id=scim_id, user_name="ada@example.com", external_id="u1", active=True, attributes=shown)


def sent(desired, was=ADA, **known) -> Entry:
    """An entry whose update to `desired` was sent, and whose answer never came."""
    before = entry(fingerprint=fingerprint(was), applied_by="c1", **known)
    change = Change(
        id="lost", entry=before, action=Action.UPDATE, email="ada@example.com", attributes=desired, scim_id="k1"
    )
    return marked(change, "m1", NOW).entry


def test_what_was_not_done_is_not_told_though_the_server_returns_less_than_was_written():
    known = sent(MARRIED)
    settled, outcome = recover(known, found(ADA), MARRIED, ADA, NOW + DAY)
    assert outcome.error is not None
    assert settled.applied_by == "c1"


def test_what_was_done_is_told_and_what_the_server_never_returns_stays_as_it_was():
    known = sent(MARRIED)
    settled, outcome = recover(known, found(MARRIED), MARRIED, ADA, NOW + DAY)
    event = event_for(outcome, BY_RUN, NOW + DAY)
    assert outcome.error is None
    assert settled.fingerprint == fingerprint(MARRIED)
    assert (event.changed, event.before) == ({"name.familyName": "King"}, {"name.familyName": "Lovelace"})
    assert event.after == MARRIED


def test_a_change_of_nothing_but_what_the_server_never_returns_is_not_told():
    desired = {**ADA, "title": "Enchantress"}
    settled, outcome = recover(sent(desired), found(desired), desired, ADA, NOW + DAY)
    assert outcome.error is not None
    assert settled.fingerprint != fingerprint(desired), "it is sent once more"


def test_what_somebody_else_wrote_meanwhile_is_not_told_as_ours():
    somebody = {**ADA, "name.familyName": "Byron"}
    _, outcome = recover(sent(MARRIED), found(somebody), MARRIED, ADA, NOW + DAY)
    assert outcome.error is not None


@pytest.mark.parametrize(("shows", "took_effect"), [(MARRIED, True), (ADA, False)])
def test_what_was_sent_counts_though_the_directory_wants_something_else_by_now(shows, took_effect):
    _, outcome = recover(sent(MARRIED), found(shows), ADA, ADA, NOW + DAY)
    assert (outcome.error is None) is took_effect


def test_the_old_value_in_the_servers_own_spelling_is_no_effect():
    spelled = {**ADA, "name.familyName": "lovelace"}
    known = sent({**ADA, "name.familyName": "Lovelace-King"}, shown=remembered(spelled, ADA))
    _, outcome = recover(known, found(spelled), {**ADA, "name.familyName": "Lovelace-King"}, ADA, NOW + DAY)
    assert outcome.error is not None


def test_without_a_wish_of_the_directory_what_was_sent_tells():
    assert recover(sent(MARRIED), found(MARRIED), {}, ADA, NOW + DAY)[1].error is None
    assert recover(sent(MARRIED), found(ADA), {}, ADA, NOW + DAY)[1].error is not None


def test_of_an_account_of_which_nothing_was_known_before_an_update_arrived_whole_or_not_at_all():
    """It was found with our externalId, and refused the new address; what it has of the rest it had before."""
    desired = {**MARRIED, "userName": "ada.king@example.com"}
    known = replace(sent(desired, {}), fingerprint="", applied_by="")
    settled, outcome = recover(known, found(MARRIED), desired, {}, NOW + DAY)
    assert outcome.error is not None
    assert event_for(outcome, BY_RUN, NOW + DAY) is None
    assert settled.applied_by == ""
    _, outcome = recover(known, found(desired), desired, {}, NOW + DAY)
    assert event_for(outcome, BY_RUN, NOW + DAY).changed == desired


@pytest.mark.parametrize("value", [None, "Countess"])
def test_what_was_mapped_since_the_last_update_tells_nothing_where_the_rest_is_missing(value):
    """The new address was refused; what is mapped newly is there, or not, as it was before."""
    was = {"userName": "ada@example.com", "name.familyName": "Lovelace"}
    desired = {**was, "userName": "ada.king@example.com", "title": value}
    known, account = sent(desired, was, shown=""), replace(found(was), attributes={**was, "title": value})
    assert recover(known, account, desired, was, NOW + DAY)[1].error is not None
    _, outcome = recover(known, replace(account, attributes=desired), desired, was, NOW + DAY)
    assert outcome.error is None


def test_what_is_mapped_again_tells_nothing_where_it_is_as_written_last_and_the_rest_is_missing():
    narrow = {"userName": "ada@example.com"}
    desired = {"userName": "ada.king@example.com", "name.familyName": "Lovelace"}
    known = sent(desired, narrow, shown="")
    assert recover(known, found(ADA), desired, ADA, NOW + DAY)[1].error is not None
    assert recover(known, found(desired), desired, ADA, NOW + DAY)[1].error is None


def test_what_is_mapped_again_tells_nothing_where_all_of_it_is_as_written_last():
    narrow = {target: value for target, value in ADA.items() if target != "name.familyName"}
    assert recover(sent(ADA, narrow, shown=""), found(ADA), ADA, ADA, NOW + DAY)[1].error is not None


def test_what_somebody_changed_in_keeper_and_is_as_before_again_was_put_back_by_us():
    was = {**ADA, "name.familyName": "Mallory"}
    known = sent(ADA, was, drift=("name.familyName",), shown="")
    _, outcome = recover(known, found(ADA), ADA, ADA, NOW + DAY)
    assert event_for(outcome, BY_RUN, NOW + DAY).changed == {"name.familyName": "Lovelace"}


def test_what_somebody_changed_while_it_was_not_mapped_was_put_back_by_us_once_the_account_had_shown_it():
    """Mapped again it was sent, and did not arrive; it was sent once more, and that answer was lost as well."""
    narrow = {target: value for target, value in ADA.items() if target != "name.familyName"}
    theirs = {**ADA, "name.familyName": "Mallory"}
    seen, outcome = recover(sent(ADA, narrow), found(theirs), ADA, ADA, NOW + DAY)
    assert outcome.error is not None
    again = marked(replace(outcome.change, entry=seen), "m2", NOW).entry
    assert recover(again, found(theirs), ADA, ADA, NOW + DAY)[1].error is not None
    _, outcome = recover(again, found(ADA), ADA, ADA, NOW + DAY)
    assert event_for(outcome, BY_RUN, NOW + DAY).changed == {"name.familyName": "Lovelace"}


def test_what_was_sent_is_told_though_it_is_mapped_no_more():
    desired = {**ADA, "timezone": "Europe/London"}
    settled, outcome = recover(sent(desired), found(desired), ADA, ADA, NOW + DAY)
    assert event_for(outcome, BY_RUN, NOW + DAY).changed == {"timezone": "Europe/London"}
    assert settled.fingerprint == fingerprint(desired)


@pytest.mark.parametrize("became", [{}, {"name.familyName": "Lovelace"}])
def test_what_was_removed_is_told_though_it_is_mapped_no_more(became):
    """The title was mapped to nothing, and to no attribute at all before the answer was known."""
    was = {"userName": "ada@example.com", "title": "Countess"}
    wanted, known = {"userName": "ada@example.com", **became}, sent({**was, "title": None}, was, shown="")
    account = replace(found(was), attributes=was)
    assert recover(known, account, wanted, was, NOW + DAY)[1].error is not None
    settled, outcome = recover(known, found(was), wanted, was, NOW + DAY)
    event = event_for(outcome, BY_RUN, NOW + DAY)
    assert (event.changed, event.before) == ({"title": None}, {"title": "Countess"})
    assert holds(settled.fingerprint, "title", None)


@pytest.mark.parametrize("shown", [None, remembered({}, {"title": "Countess"})])
def test_what_the_server_may_never_return_is_not_told_as_removed(shown):
    """It stays unknown what the account has of it: mapped again, it is sent."""
    known, wanted = sent({**MARRIED, "title": None}, shown=shown), {"userName": "ada@example.com"}
    settled, outcome = recover(known, found(MARRIED), wanted, ADA, NOW + DAY)
    assert event_for(outcome, BY_RUN, NOW + DAY).changed == {"name.familyName": "King"}
    assert not holds(settled.fingerprint, "title", None)


def test_a_value_that_is_missing_tells_nothing_where_it_was_not_mapped_before():
    was = {"userName": "ada@example.com", "name.familyName": "Lovelace"}
    desired = {**was, "title": None}
    assert recover(sent(desired, was, shown=""), found(was), desired, was, NOW + DAY)[1].error is not None


def test_an_account_that_was_taken_over_is_kept_current_once_an_update_arrived_though_its_answer_was_lost():
    known = sent(MARRIED, taken_over=True)
    assert not recover(known, found(MARRIED), MARRIED, ADA, NOW + DAY)[0].taken_over
    assert recover(known, found(ADA), MARRIED, ADA, NOW + DAY)[0].taken_over


@pytest.mark.parametrize(("shown", "took_effect"), [("u1", True), ("x705", False), (None, False)])
def test_an_external_id_that_is_ours_again_was_put_back_by_the_update_that_sent_it(shown, took_effect):
    account = replace(found(ADA), external_id=shown)
    settled, outcome = recover(sent(ADA, drift=(EXTERNAL_ID,)), account, ADA, ADA, NOW + DAY)
    assert (outcome.error is None, settled.drift == ()) == (took_effect, took_effect)
    if took_effect:
        assert event_for(outcome, BY_RUN, NOW + DAY).changed == {EXTERNAL_ID: "u1"}


def test_an_account_that_was_created_again_has_its_event():
    known = sent(MARRIED)
    account = found(MARRIED, "k2")
    settled, outcome = recover(known, account, MARRIED, ADA, NOW + DAY)
    event = event_for(outcome, BY_RUN, NOW + DAY)
    assert (outcome.error is None, settled.scim_id, settled.applied_by) == (True, "k2", "lost")
    assert (event.before, event.changed) == ({}, MARRIED)
    assert event.reason == "The account had vanished from Keeper and was created again."


def test_a_mark_keeps_what_was_sent_and_one_stored_before_has_nothing():
    known = sent(MARRIED)
    assert decode(encode({"u1": known})).entries["u1"].mark.sent == known.mark.sent != ""
    # An entry with a mark as it was encoded before `sent` was kept.
    old = bytes.fromhex(OLD_MARK)
    assert schema_1.roster(old, ())["u1"].mark == Mark(
        change_id="lost", message_id="m1", action=Action.UPDATE, until=NOW
    )


OLD_MARK = "91dc0013a2753103a0a0a000c2c0c095a46c6f7374a26d3101cb41dac15484000000c2c2c0c0c0c2c0a0c0c0"


@pytest.mark.parametrize(("scim_id", "reason"), [("k2", RECREATED), ("k1", None)])
def test_a_recreation_is_told_where_there_is_another_account_and_not_where_the_known_one_is_there_again(
    scim_id, reason
):
    known = entry(
        fingerprint=fingerprint(ADA),
        drift=(ACCOUNT,),
        mark=Mark(change_id="lost", message_id="m1", action=Action.CREATE, until=NOW),
    )
    account = found(ADA, scim_id)
    settled, outcome = recover(known, account, ADA, ADA, NOW + DAY)
    assert (outcome.error is None, settled.scim_id, settled.drift) == (reason is not None, scim_id, ())
    if outcome.error is None:
        assert event_for(outcome, BY_RUN, NOW + DAY).reason == reason
    else:
        assert (settled.applied_by, settled.last_action_at) == (known.applied_by, known.last_action_at)


@pytest.mark.parametrize(
    ("action", "scim_id", "external_id", "changed"),
    [
        (Action.CREATE, "", "u1", {}),
        (Action.UPDATE, "k1", "u1", {EXTERNAL_ID: "u1"}),
        (Action.UPDATE, "k0", "u1", {}),
    ],
)
def test_a_write_of_an_account_that_shows_nothing_to_a_mapping_of_nothing_is_told_as_a_write(
    action, scim_id, external_id, changed
):
    """Of a user who was deleted meanwhile nothing is mapped; no access was given."""
    drift = (EXTERNAL_ID,) if EXTERNAL_ID in changed else ()
    mark = Mark(change_id="lost", message_id="m1", action=action, until=NOW)
    known = entry(scim_id=scim_id, mark=mark, drift=drift, taken_over=action is Action.UPDATE)
    account = replace(found({}), external_id=external_id)
    settled, outcome = recover(known, account, {}, {}, NOW + DAY)
    event = event_for(outcome, BY_RUN, NOW + DAY)
    assert (outcome.error, event.name) == (None, NAME_OF[action])
    assert (event.changed, settled.applied_by, settled.taken_over) == (changed, "lost", False)
