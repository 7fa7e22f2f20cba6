"""What a change sends, what becomes of it, and what the audit says of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.domain.accounts import Account, Write, WriteKind, changed_attributes, fingerprint, unchanged
from autoprovisioning.domain.change_events import count, event_for
from autoprovisioning.domain.changes import Change, Outcome, made, recorded, sent_attributes, write_for
from autoprovisioning.domain.comparison import aligned
from autoprovisioning.domain.decision import about
from autoprovisioning.domain.entry import Action, Entry, Mark, Status, Unseen, failed
from autoprovisioning.domain.errors import (
    AddressTaken,
    NotAsWritten,
    NotSent,
    ReauthorizationRequired,
    Throttled,
    Transient,
    Unresolved,
    Vanished,
)
from autoprovisioning.domain.events import EventName
from autoprovisioning.domain.recovery import recover
from tests.support.builders import ADA, BY_RUN, DAY, GRACE, NOW, entry
from tests.support.entries import contradiction

PHONE = 'phoneNumbers[type eq "work"].value'
MOBILE = 'phoneNumbers[type eq "mobile"].value'
MARK = Mark(change_id="c1", message_id="m1", action=Action.UPDATE, until=NOW)


def change(action: Action, status: Status = Status.ACTIVE, **changes) -> Change:
    known = entry(status, mark=replace(MARK, action=action))
    attributes = ADA if action in (Action.CREATE, Action.UPDATE) else {}
    base = Change(
        id="c1", entry=known, action=action, email="ada@example.com", attributes=attributes, scim_id=known.scim_id
    )
    return replace(base, **changes)


NEW = change(Action.CREATE, Status.NONE)
ADOPTING = replace(NEW, scim_id="k9", adopts=True)

WRITES = [
    (NEW, Write(key="c1", kind=WriteKind.CREATE, scim_id="", external_id="u1", attributes=ADA, active=True)),
    (ADOPTING, Write(key="c1", kind=WriteKind.PATCH, scim_id="k9", external_id="u1", attributes=ADA)),
    (
        replace(ADOPTING, leaves=Status.LOCKED),
        Write(key="c1", kind=WriteKind.PATCH, scim_id="k9", external_id="u1", attributes=ADA),
    ),
    (
        change(Action.UPDATE, attributes=GRACE),
        Write(
            key="c1", kind=WriteKind.PATCH, scim_id="k1", external_id=None, attributes={"displayName": "Grace Hopper"}
        ),
    ),
    (
        change(Action.SUSPEND),
        Write(key="c1", kind=WriteKind.PATCH, scim_id="k1", external_id=None, attributes={}, active=False),
    ),
    (
        change(Action.UNSUSPEND),
        Write(key="c1", kind=WriteKind.PATCH, scim_id="k1", external_id=None, attributes={}, active=True),
    ),
    (
        replace(change(Action.SUSPEND), adopts=True),
        Write(key="c1", kind=WriteKind.PATCH, scim_id="k1", external_id="u1", attributes={}, active=False),
    ),
    (change(Action.DELETE), Write(key="c1", kind=WriteKind.DELETE, scim_id="k1")),
]


@pytest.mark.parametrize(("planned", "expected"), WRITES)
def test_one_change_is_one_write(planned, expected):
    assert write_for(planned) == expected


def test_an_account_that_was_made_but_not_as_written_is_written_with_its_access():
    made = entry(mark=MARK, fingerprint="", applied_by="")
    written = write_for(replace(change(Action.UPDATE), entry=made))
    assert (written.active, dict(written.attributes)) == (True, ADA)
    known = replace(made, applied_by="c0")  # it vanished from a listing of Keeper, say
    assert write_for(replace(change(Action.UPDATE), entry=known)).active is None


def test_adoption_never_unlocks():
    assert write_for(replace(ADOPTING, leaves=Status.LOCKED)).active is None


def test_an_update_sends_what_differs_and_removes_what_has_no_value():
    known = entry(fingerprint=fingerprint({**ADA, "title": "Countess"}))
    wanted = replace(change(Action.UPDATE), entry=known, attributes={**GRACE, "title": None})
    assert sent_attributes(wanted) == {"displayName": "Grace Hopper", "title": None}


def test_creation_and_adoption_send_everything_that_has_a_value():
    for planned in (NEW, ADOPTING):
        assert sent_attributes(replace(planned, attributes={**ADA, "title": None})) == ADA


def test_a_multi_valued_attribute_is_replaced_whole():
    before = {**ADA, PHONE: "+44 1", MOBILE: "+44 2"}
    known = entry(fingerprint=fingerprint(before))
    wanted = replace(change(Action.UPDATE), entry=known, attributes={**before, MOBILE: "+44 3"})
    assert sent_attributes(wanted) == {PHONE: "+44 1", MOBILE: "+44 3"}


def test_fingerprints_tell_which_attributes_changed():
    applied = fingerprint({**ADA, "emails.primary": True})
    assert unchanged(applied, {"emails.primary": True, **ADA})
    assert not unchanged(applied, {**ADA, "emails.primary": "True"})
    assert changed_attributes(applied, {**GRACE, "emails.primary": True}) == {"displayName": "Grace Hopper"}
    assert changed_attributes("", ADA) == ADA


def test_lookups_ask_for_the_wanted_address_then_aliases_never_for_one_that_was_given_up():
    moved = replace(
        NEW, attributes={**ADA, "userName": "new@x.org"}, email="new@x.org", aliases=("alias@x.org", "new@x.org")
    )
    assert moved.seeker().names == ("new@x.org", "alias@x.org")


SUCCESSES = [
    (NEW, "k5", Status.ACTIVE, ADA),
    (ADOPTING, "k9", Status.ACTIVE, ADA),
    (replace(ADOPTING, leaves=Status.LOCKED), "k9", Status.LOCKED, ADA),
    (change(Action.UPDATE, attributes=GRACE), "k1", Status.ACTIVE, GRACE),
    (change(Action.UPDATE, Status.SUSPENDED, attributes=GRACE), "k1", Status.SUSPENDED, GRACE),
    (change(Action.SUSPEND), "k1", Status.SUSPENDED, ADA),
    (change(Action.UNSUSPEND, Status.SUSPENDED), "k1", Status.ACTIVE, ADA),
    (change(Action.DELETE), "k1", Status.SUSPENDED, ADA),
]


@pytest.mark.parametrize(("done", "scim_id", "status", "attributes"), SUCCESSES)
def test_a_success_is_recorded(done, scim_id, status, attributes):
    before = replace(done.entry, pending=True, failure=failed(None, "x", "x", "x", NOW))
    after = recorded(before, Outcome(change=done, scim_id=scim_id), NOW)
    assert (after.scim_id, after.status, after.version) == (scim_id, status, before.version + 1)
    assert after.deleted is (done.action is Action.DELETE)
    assert unchanged(after.fingerprint, attributes)
    assert (after.mark, after.failure, after.pending, after.last_action_at) == (None, None, False, NOW)


def test_what_was_sent_is_unseen_since_then_and_what_was_known_of_other_teams_stays():
    waits, ended = Unseen(team_id="t1", since=NOW - DAY), Unseen(team_id="t2", since=NOW - DAY, seen=True)
    before = entry(teams=("t1", "t2", "t3"), unseen=(waits, ended))
    done = Outcome(change=change(Action.UPDATE, entry=before), scim_id="k1", teams=("t2", "t3", "t4"))
    after = recorded(before, done, NOW)
    assert (after.teams, after.unseen) == (("t2", "t3", "t4"), (ended, Unseen(team_id="t4", since=NOW)))
    assert recorded(before, replace(done, teams=None), NOW).unseen == before.unseen
    assert recorded(before, replace(done, scim_id="k9"), NOW).unseen == tuple(
        Unseen(team_id=team_id, since=NOW) for team_id in ("t2", "t3", "t4")
    )


def test_an_account_that_vanished_leaves_an_entry_without_one():
    after = recorded(change(Action.SUSPEND).entry, Outcome(change=change(Action.SUSPEND)), NOW)
    assert (after.scim_id, after.fingerprint, after.status) == ("", "", Status.NONE)


@pytest.mark.parametrize(
    "error",
    [Throttled("429"), NotSent("late"), ReauthorizationRequired("401"), Transient("HTTP 500")],
)
def test_what_waits_is_pending_and_the_same_plan_may_be_sent_again(error):
    before = change(Action.UPDATE).entry
    after = recorded(before, Outcome(change=change(Action.UPDATE), error=error), NOW)
    assert after == replace(before, mark=None, pending=True)
    assert event_for(Outcome(change=change(Action.UPDATE), error=error), BY_RUN, NOW) is None


def test_what_stays_unknown_keeps_its_mark_run_out_for_the_account_to_be_asked():
    unknown = Outcome(change=change(Action.UPDATE), error=Unresolved("lost"))
    before = replace(unknown.change.entry, again=True)
    assert recorded(before, unknown, NOW) == replace(before, mark=replace(before.mark, until=NOW))
    assert event_for(unknown, BY_RUN, NOW) is None


def test_of_a_vanished_account_it_is_decided_anew_what_becomes():
    after = recorded(change(Action.UPDATE).entry, Outcome(change=change(Action.UPDATE), error=Vanished("gone")), NOW)
    assert (after.drift, after.pending, after.failure, after.mark) == (("account",), False, None, None)
    assert after.version == 4


def test_a_refusal_is_that_users_counted_failure():
    done = replace(NEW, attributes=GRACE)
    once = recorded(done.entry, Outcome(change=done, error=AddressTaken("x" * 500)), NOW)
    assert (once.failure.code, once.failure.attempts, len(once.failure.text)) == ("address_taken", 1, 200)
    assert once.failure.about == about(Action.CREATE, GRACE)
    assert (once.status, once.mark) == (Status.NONE, None)
    twice = recorded(replace(once, mark=MARK), Outcome(change=done, error=AddressTaken("again")), NOW + DAY)
    assert (twice.failure.attempts, twice.failure.first) == (2, NOW)


OFF, ON = {"active": False}, {"active": True}
EVENTS = [
    (Outcome(change=NEW, scim_id="k5", sent=ADA), EventName.CREATED, ADA, ""),
    (Outcome(change=ADOPTING, scim_id="k9", sent=ADA), EventName.ADOPTED, ADA, ""),
    (
        Outcome(change=replace(ADOPTING, leaves=Status.LOCKED), scim_id="k9"),
        EventName.ADOPTED,
        {},
        "locked in Keeper by someone else",
    ),
    (Outcome(change=change(Action.UPDATE), scim_id="k1"), EventName.UPDATED, {}, ""),
    (Outcome(change=change(Action.SUSPEND), scim_id="k1"), EventName.SUSPENDED, OFF, ""),
    (Outcome(change=change(Action.SUSPEND)), EventName.SUSPENDED, {}, "no longer exists"),
    (Outcome(change=change(Action.UNSUSPEND), scim_id="k1"), EventName.UNSUSPENDED, ON, ""),
    (Outcome(change=change(Action.DELETE), scim_id="k1"), EventName.DELETED, OFF, ""),
    (
        Outcome(change=replace(change(Action.UPDATE), recreates=True), scim_id="k7"),
        EventName.UPDATED,
        {},
        "created again",
    ),
    (Outcome(change=NEW, error=AddressTaken("taken by another")), EventName.FAILED, {}, "taken by another"),
]


@pytest.mark.parametrize(("outcome", "name", "changed", "reason"), EVENTS)
def test_every_outcome_is_one_line_of_the_audit_in_googles_words(outcome, name, changed, reason):
    event = event_for(outcome, BY_RUN, NOW)
    assert (event.name, event.id, event.user_id, event.actor, event.at) == (name, "c1", "u1", "run r1", NOW)
    assert event.email == "ada@example.com"
    assert event.attempted is outcome.change.action
    assert event.changed == changed
    assert reason in event.reason
    assert bool(event.reason) is bool(reason)


def test_a_run_counts_its_events_in_its_own_words():
    events = [event_for(outcome, BY_RUN, NOW) for outcome, *_ in EVENTS]
    assert count(events) == {
        "created": 1, "adopted": 2, "updated": 2, "suspended": 2, "unsuspended": 1, "deleted": 1, "failed": 1,
        "unsent": 1,
    }  # fmt: skip


def test_an_unresolved_outcome_says_nothing_yet():
    assert event_for(Outcome(change=NEW, error=Unresolved("lost")), BY_RUN, NOW) is None


def test_an_account_that_was_made_but_not_as_written_was_created_though_the_rest_is_tried_again():
    outcome = Outcome(change=NEW, error=NotAsWritten("Keeper made it without access"), made="k9", seconds=0.2)
    event = event_for(outcome, BY_RUN, NOW)
    assert (event.id, event.name, event.reason) == ("c1", EventName.CREATED, "Keeper made it without access")
    assert count([event]) == {"created": 1}
    assert event_for(replace(outcome, made=""), BY_RUN, NOW) is None
    ours = replace(outcome, change=replace(ADOPTING, ours=True))
    assert event_for(ours, BY_RUN, NOW) is None


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.SUSPENDED])
def test_of_an_account_that_was_made_again_nothing_is_known_from_the_one_that_vanished(status):
    """All of it is written next, access included, as after a first creation."""
    gone = entry(status, deleted=status is Status.SUSPENDED, drift=("account",), shown="x", applied_by="c0")
    again = replace(NEW, entry=gone, recreates=True)
    outcome = Outcome(change=again, error=NotAsWritten("Keeper made it without access"), made="k9", seconds=0.2)
    new = recorded(gone, outcome, NOW)
    assert (new.scim_id, new.status, new.deleted, new.drift) == ("k9", Status.ACTIVE, False, ())
    assert made(new)
    assert new.shown is None
    same = recorded(gone, replace(outcome, made=gone.scim_id), NOW)
    assert (same.scim_id, same.applied_by) == (gone.scim_id, "c0")


def account(*, active: bool = True, **attributes) -> Account:
    return Account(
        scim_id="k1", user_name="ada@example.com", external_id="u1", active=active, attributes=attributes or ADA
    )


RECOVERED = [
    # marked action, status before, account found, desired -> status, took effect
    (Action.CREATE, Status.NONE, account(), ADA, Status.ACTIVE, True),
    (Action.CREATE, Status.NONE, account(active=False), ADA, Status.LOCKED, True),
    (Action.CREATE, Status.NONE, None, ADA, Status.NONE, False),
    (Action.UPDATE, Status.ACTIVE, account(**GRACE), GRACE, Status.ACTIVE, True),
    (Action.UPDATE, Status.ACTIVE, account(), GRACE, Status.ACTIVE, False),
    (Action.SUSPEND, Status.ACTIVE, account(active=False), ADA, Status.SUSPENDED, True),
    (Action.SUSPEND, Status.ACTIVE, account(), ADA, Status.ACTIVE, False),
    (Action.UNSUSPEND, Status.SUSPENDED, account(), ADA, Status.ACTIVE, True),
    (Action.UNSUSPEND, Status.SUSPENDED, account(active=False), ADA, Status.SUSPENDED, False),
    (Action.DELETE, Status.SUSPENDED, None, {}, Status.SUSPENDED, True),
    (Action.DELETE, Status.ACTIVE, account(active=False), {}, Status.SUSPENDED, True),
    (Action.DELETE, Status.ACTIVE, account(), {}, Status.ACTIVE, False),
    # It was locked before: that says nothing of the deletion, which is sent again.
    (Action.DELETE, Status.SUSPENDED, account(active=False), {}, Status.SUSPENDED, False),
]


@pytest.mark.parametrize(("action", "status", "found", "desired", "after", "took_effect"), RECOVERED)
def test_an_expired_mark_is_settled_from_the_account_itself(action, status, found, desired, after, took_effect):
    known = entry(status, mark=Mark(change_id="lost", message_id="m1", action=action, until=NOW))
    settled, outcome = recover(known, found, desired, {}, NOW + DAY)
    assert (settled.status, outcome.change.id, outcome.error is None) == (after, "lost", took_effect)
    assert settled.deleted is (action is Action.DELETE and took_effect)
    assert (settled.mark, settled.version) == (None, known.version + 1)
    if found is not None:
        assert settled.scim_id == "k1"
        assert unchanged(settled.fingerprint, aligned(found, desired))


def test_what_came_to_nothing_is_counted_and_told_once_it_is_that_users_failure():
    known = entry(mark=Mark(change_id="lost", message_id="m1", action=Action.SUSPEND, until=NOW))
    settled, outcome = recover(known, account(), ADA, {}, NOW)
    assert (settled.failure.code, settled.failure.about) == ("unresolved", about(Action.SUSPEND, {}))
    assert (settled.pending, event_for(outcome, BY_RUN, NOW)) == (True, None)
    for _ in range(2):
        settled, outcome = recover(replace(settled, mark=known.mark), account(), ADA, {}, NOW)
    event = event_for(outcome, BY_RUN, NOW)
    assert (settled.pending, settled.failure.attempts) == (False, 3)
    assert (event.id, event.name, event.attempted) == ("lost", EventName.FAILED, Action.SUSPEND)
    assert (event.reason, event.recovered) == (settled.failure.text, False)


def test_accounts_are_compared_in_the_terms_of_the_mapping():
    seen = account(userName="ada@example.com", nickName="Countess", title=None)
    assert aligned(seen, {"userName": "x", "title": "y"}) == {"userName": "ada@example.com", "title": None}
    assert aligned(seen, {}) == {"userName": "ada@example.com", "nickName": "Countess"}


def test_a_failure_is_told_under_the_address_that_was_wanted():
    moved = replace(NEW, entry=Entry(user_id="u1"), attributes={**ADA, "userName": "new@x.org"})
    assert event_for(Outcome(change=moved, error=AddressTaken("taken")), BY_RUN, NOW).email == "new@x.org"


@pytest.mark.parametrize("leaves", [None, Status.LOCKED, Status.SUSPENDED])
def test_an_account_that_was_there_after_all_is_deleted_only_if_it_is_still_suspended_by_us(leaves):
    known = entry(Status.SUSPENDED, deleted=True, mark=replace(MARK, action=Action.CREATE))
    again = replace(NEW, entry=known, scim_id=known.scim_id, adopts=True, ours=True, leaves=leaves)
    after = recorded(known, Outcome(change=again, error=NotAsWritten("It has another name"), made=known.scim_id), NOW)
    assert (contradiction(after), after.deleted) == ("", leaves is Status.SUSPENDED)


def test_of_an_account_taken_over_that_another_connection_has_by_now_nothing_is_left():
    handed = change(Action.SUSPEND, scim_id="", handed=True)
    after = recorded(replace(handed.entry, taken_over=True), Outcome(change=handed), NOW)
    assert (after.status, after.scim_id, contradiction(after)) == (Status.NONE, "", "")
