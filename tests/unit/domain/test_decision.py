"""The decision table, every row."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.domain.decision import BackOff, about, decide
from autoprovisioning.domain.deprovisioning import Clock
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.entry import Action, Mark, Status, Timer, Trigger, failed
from autoprovisioning.domain.errors import MappingFailure
from autoprovisioning.domain.plan import Planner
from tests.support.builders import ADA, DAY, GRACE, IN_A_WEEK, NEVER, NOW, begun, entry, rules, seen
from tests.support.decisions import action_of, trigger_of
from tests.support.scenario import CONNECTION

ACTIVE, SUSPENDED, ARCHIVED = Presence.ACTIVE, Presence.SUSPENDED, Presence.ARCHIVED
DELETED, UNKNOWN = Presence.DELETED, Presence.UNKNOWN

GONE = "deleted"  # suspended by a DELETE of ours
TABLE = [
    # directory user, in scope, account, changed attributes -> decision
    (ACTIVE, True, None, False, Action.CREATE),
    (ACTIVE, True, Status.NONE, False, Action.CREATE),
    (ACTIVE, True, Status.ACTIVE, False, None),
    (ACTIVE, True, Status.ACTIVE, True, Action.UPDATE),
    (ACTIVE, True, Status.SUSPENDED, False, Action.UNSUSPEND),
    (ACTIVE, True, Status.SUSPENDED, True, Action.UNSUSPEND),
    (ACTIVE, True, GONE, False, Action.UNSUSPEND),
    (ACTIVE, True, Status.LOCKED, False, Action.UNLOCK),
    (ACTIVE, True, Status.LOCKED, True, Action.UNLOCK),
    (ACTIVE, None, None, False, None),
    (ACTIVE, None, Status.ACTIVE, False, None),
    (ACTIVE, None, Status.ACTIVE, True, Action.UPDATE),
    (ACTIVE, None, Status.NONE, False, None),
    (ACTIVE, None, Status.SUSPENDED, False, None),
    (ACTIVE, None, Status.SUSPENDED, True, Action.UPDATE),
    (ACTIVE, None, GONE, True, None),  # an update would meet its 404 and create it again
    (ACTIVE, None, Status.LOCKED, True, None),
    (ACTIVE, False, None, False, None),
    (ACTIVE, False, Status.NONE, False, None),
    (ACTIVE, False, Status.ACTIVE, False, Action.SUSPEND),
    (ACTIVE, False, Status.ACTIVE, True, Action.SUSPEND),
    (ACTIVE, False, Status.SUSPENDED, False, None),
    (ACTIVE, False, Status.SUSPENDED, True, Action.UPDATE),
    (ACTIVE, False, GONE, True, None),
    (ACTIVE, False, Status.LOCKED, False, None),
    (SUSPENDED, True, None, False, None),
    (SUSPENDED, True, Status.NONE, False, None),
    (SUSPENDED, False, None, False, None),
    (SUSPENDED, True, Status.ACTIVE, False, Action.SUSPEND),
    (SUSPENDED, False, Status.ACTIVE, False, Action.SUSPEND),
    (SUSPENDED, None, Status.ACTIVE, False, Action.SUSPEND),
    (SUSPENDED, True, Status.SUSPENDED, False, None),
    (SUSPENDED, True, Status.SUSPENDED, True, Action.UPDATE),
    (SUSPENDED, False, Status.SUSPENDED, True, Action.UPDATE),
    (SUSPENDED, True, GONE, True, None),
    (SUSPENDED, True, Status.LOCKED, True, None),
    (DELETED, None, None, False, None),
    (DELETED, None, Status.NONE, False, None),
    (DELETED, None, Status.ACTIVE, False, Action.SUSPEND),
    (DELETED, None, Status.SUSPENDED, False, None),
    (DELETED, None, GONE, False, None),
    (DELETED, None, Status.LOCKED, False, None),
    (ARCHIVED, True, None, False, None),
    (ARCHIVED, True, Status.ACTIVE, True, None),
    (ARCHIVED, False, Status.ACTIVE, False, None),
    (ARCHIVED, None, Status.ACTIVE, True, None),
    (ARCHIVED, False, Status.SUSPENDED, False, None),
    (ARCHIVED, True, GONE, False, None),
    (UNKNOWN, None, None, False, None),
    (UNKNOWN, True, Status.ACTIVE, True, None),
    (UNKNOWN, None, Status.ACTIVE, True, None),
    (UNKNOWN, False, Status.SUSPENDED, False, None),
]


@pytest.mark.parametrize(("presence", "in_scope", "status", "changed", "expected"), TABLE)
def test_decision_table(presence, in_scope, status, changed, expected):
    known = None if status is None else entry(Status.SUSPENDED, deleted=True) if status is GONE else entry(status)
    what = seen(presence, in_scope)
    if changed and what.desired:
        what = seen(presence, in_scope, desired=GRACE)
    assert action_of(decide(known, what, rules(), NOW)) is expected


def test_out_of_scope_user_without_account_leaves_no_entry():
    assert decide(None, seen(in_scope=False), rules(), NOW).noted is None


def test_trigger_starts_a_timer_and_suspends_only_when_due():
    first = decide(entry(), seen(in_scope=False), rules(IN_A_WEEK), NOW)
    assert action_of(first) is None
    assert begun(first.noted) == {Trigger.APP_OFF: NOW}
    early = decide(first.noted, seen(in_scope=False), rules(IN_A_WEEK), NOW + 6 * DAY)
    assert action_of(early) is None
    late = decide(first.noted, seen(in_scope=False), rules(IN_A_WEEK), NOW + 7 * DAY)
    assert (action_of(late), trigger_of(late)) == (Action.SUSPEND, Trigger.APP_OFF)


def test_directory_time_counts_for_the_suspended_trigger():
    since = NOW - 8 * DAY
    decision = decide(entry(), seen(SUSPENDED, since=since), rules(IN_A_WEEK), NOW)
    assert action_of(decision) is Action.SUSPEND
    assert begun(decision.noted) == {Trigger.SUSPENDED: since}


def test_earliest_of_two_triggers_wins():
    timers = {Trigger.APP_OFF: NOW - 7 * DAY}
    decision = decide(entry(timers=timers), seen(SUSPENDED, False, since=NOW), rules(IN_A_WEEK), NOW)
    assert (action_of(decision), trigger_of(decision)) == (Action.SUSPEND, Trigger.APP_OFF)


def test_return_cancels_timers():
    decision = decide(entry(timers={Trigger.APP_OFF: NOW - DAY}), seen(), rules(IN_A_WEEK), NOW)
    assert action_of(decision) is None
    assert decision.noted.timers == {}


def test_delete_timer_goes_on_after_suspension_and_falls_due():
    known = entry(Status.SUSPENDED, timers={Trigger.SUSPENDED: NOW - 29 * DAY})
    assert action_of(decide(known, seen(SUSPENDED), rules(IN_A_WEEK), NOW)) is None
    assert action_of(decide(known, seen(SUSPENDED), rules(IN_A_WEEK), NOW + DAY)) is Action.DELETE


def test_running_timer_goes_on_when_the_user_is_deleted():
    known = entry(timers={Trigger.APP_OFF: NOW - 7 * DAY})
    decision = decide(known, seen(DELETED, None, since=NOW), rules(IN_A_WEEK), NOW)
    assert (action_of(decision), trigger_of(decision)) == (Action.SUSPEND, Trigger.APP_OFF)
    assert decision.noted.gone


def test_timers_of_an_archived_user_stand_still_and_go_on_with_the_time_left():
    known = entry(timers={Trigger.APP_OFF: NOW - 6 * DAY})
    archived = decide(known, seen(ARCHIVED, False), rules(IN_A_WEEK), NOW).noted
    assert archived.timers[Trigger.APP_OFF] == Timer(since=NOW - 6 * DAY, accrued=6 * DAY)
    still = decide(archived, seen(ARCHIVED, False), rules(IN_A_WEEK), NOW + 30 * DAY)
    assert (action_of(still), still.noted) == (None, archived)
    back = decide(archived, seen(in_scope=False), rules(IN_A_WEEK), NOW + 30 * DAY)
    assert (action_of(back), begun(back.noted)) == (None, {Trigger.APP_OFF: NOW - 6 * DAY})
    assert action_of(decide(back.noted, seen(in_scope=False), rules(IN_A_WEEK), NOW + 31 * DAY)) is Action.SUSPEND


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.NONE])
def test_nothing_of_an_archived_user_waits_or_fails(status):
    failure = failed(None, "rejected", "no", about(Action.UPDATE, ADA), NOW - DAY)
    known = entry(status=status, pending=True, failure=failure)
    noted = decide(known, seen(ARCHIVED), rules(), NOW).noted
    assert (noted.pending, noted.failure) == (False, None)


def test_archived_may_count_as_suspended():
    decision = decide(entry(), seen(ARCHIVED), rules(archived_as_suspended=True), NOW)
    assert (action_of(decision), trigger_of(decision)) == (Action.SUSPEND, Trigger.SUSPENDED)


def test_timers_stand_still_while_the_connection_was_off():
    known = entry(timers={Trigger.APP_OFF: NOW - 7 * DAY})
    clock = Clock().stopped(NOW - 5 * DAY).started(NOW - 2 * DAY)
    assert action_of(decide(known, seen(in_scope=False), rules(IN_A_WEEK, clock=clock), NOW)) is None
    later = NOW + 3 * DAY
    assert action_of(decide(known, seen(in_scope=False), rules(IN_A_WEEK, clock=clock), later)) is Action.SUSPEND


def test_never_means_never():
    known = entry(timers={Trigger.DELETED: NOW - 3000 * DAY}, last_action_at=NOW)
    assert action_of(decide(known, seen(DELETED, None), rules(NEVER), NOW)) is None


def test_deleted_user_is_forgotten_thirty_days_after_the_last_action_only():
    known = entry(Status.SUSPENDED, gone=True, timers={Trigger.DELETED: NOW - 40 * DAY}, last_action_at=NOW - 29 * DAY)
    assert decide(known, seen(DELETED, None), rules(), NOW).noted is not None
    assert decide(known, seen(DELETED, None), rules(), NOW + 2 * DAY).noted is None


def test_deleted_user_with_a_running_delete_timer_is_not_forgotten():
    policy = IN_A_WEEK
    known = entry(Status.SUSPENDED, gone=True, timers={Trigger.DELETED: NOW}, last_action_at=NOW - 90 * DAY)
    assert decide(known, seen(DELETED, None), rules(policy), NOW + 20 * DAY).noted is not None


def test_undelete_brings_the_account_back():
    known = entry(Status.SUSPENDED, gone=True, timers={Trigger.DELETED: NOW - DAY})
    decision = decide(known, seen(), rules(), NOW)
    assert action_of(decision) is Action.UNSUSPEND
    assert not decision.noted.gone
    assert decision.noted.timers == {}


def test_missing_mandatory_attribute_is_that_users_failure():
    failure = MappingFailure("The mandatory attribute displayName has no value")
    decision = decide(None, seen(desired={}, mapping_failure=failure), rules(), NOW)
    assert action_of(decision) is None
    assert decision.error is failure


def test_mapping_failure_never_keeps_access():
    failure = MappingFailure("The mandatory attribute displayName has no value")
    what = seen(SUSPENDED, desired={}, mapping_failure=failure)
    assert action_of(decide(entry(), what, rules(), NOW)) is Action.SUSPEND


def test_failure_backs_off_and_is_retried_at_once_when_the_user_changes():
    failure = failed(None, "address_taken", "taken", about(Action.CREATE, ADA), NOW)
    known = entry(Status.NONE, failure=failure)
    waiting = decide(known, seen(), rules(), NOW + timedelta(minutes=14))
    assert (action_of(waiting), isinstance(waiting, BackOff)) == (None, True)
    assert action_of(decide(known, seen(), rules(), NOW + timedelta(minutes=15))) is Action.CREATE
    assert action_of(decide(known, seen(desired=GRACE), rules(), NOW)) is Action.CREATE
    assert action_of(decide(known, seen(), rules(retry_failures=True), NOW)) is Action.CREATE


def test_a_failed_update_never_delays_a_suspension():
    failure = failed(None, "address_taken", "taken", about(Action.UPDATE, GRACE), NOW)
    assert action_of(decide(entry(failure=failure), seen(SUSPENDED), rules(), NOW)) is Action.SUSPEND


def test_members_without_account_are_remembered_when_groups_decide():
    decision = decide(None, seen(SUSPENDED), rules(by_groups=True), NOW)
    assert action_of(decision) is None
    assert decision.noted.in_scope
    assert decision.noted.status is Status.NONE


def test_pending_and_held_flags_go_when_nothing_is_wanted_any_more():
    decision = decide(entry(pending=True), seen(), rules(), NOW)
    assert (action_of(decision), decision.noted.pending) == (None, False)


@pytest.mark.parametrize("presence", [SUSPENDED, ARCHIVED])
def test_an_archived_user_treated_as_suspended_follows_the_same_rows(presence):
    chosen = rules(IN_A_WEEK, archived_as_suspended=True)
    since = NOW - 8 * DAY
    assert action_of(decide(entry(), seen(presence, since=since), chosen, NOW)) is Action.SUSPEND
    assert action_of(decide(None, seen(presence), chosen, NOW)) is None
    gone_on = entry(Status.SUSPENDED, timers={Trigger.SUSPENDED: NOW - 30 * DAY})
    assert action_of(decide(gone_on, seen(presence, since=NOW - 30 * DAY), chosen, NOW)) is Action.DELETE


def test_deciding_again_after_the_noted_entry_is_recorded_notes_nothing_new():
    for presence, in_scope, *_ in TABLE:
        first = decide(entry(), seen(presence, in_scope), rules(IN_A_WEEK), NOW)
        if action_of(first) is None and first.noted is not None:
            assert decide(first.noted, seen(presence, in_scope), rules(IN_A_WEEK), NOW + DAY).noted == first.noted


STANDING = [
    {"timers": {Trigger.APP_OFF: NOW - DAY}},
    {"timers": {Trigger.SUSPENDED: Timer(since=NOW - DAY)}},
    {"gone": True},
    {"pending": True},
    {"in_scope": False},
    {"failure": failed(None, "rejected", "no", "update:abc", NOW)},
]


@pytest.mark.parametrize("left_over", STANDING)
def test_an_active_user_in_step_is_left_with_nothing_standing_against_them(left_over):
    decision = decide(entry(**left_over), seen(), rules(IN_A_WEEK), NOW)
    assert (action_of(decision), decision.noted) == (None, entry())


def test_a_suspension_timer_goes_on_when_the_suspended_user_is_deleted():
    known = entry(timers={Trigger.SUSPENDED: NOW - 7 * DAY})
    decision = decide(known, seen(DELETED, None, since=NOW), rules(IN_A_WEEK), NOW)
    assert (action_of(decision), trigger_of(decision)) == (Action.SUSPEND, Trigger.SUSPENDED)


@pytest.mark.parametrize("standing", [{}, {"until": NOW + DAY}, {"action": Action.CREATE}])
def test_an_entry_with_a_mark_is_never_dropped(standing):
    long_ago = NOW - 90 * DAY
    mark = Mark(**{"change_id": "c", "message_id": "m", "action": Action.SUSPEND, "until": NOW} | standing)
    status = Status.NONE if mark.action is Action.CREATE else Status.SUSPENDED
    known = entry(status, gone=True, timers={Trigger.DELETED: long_ago}, last_action_at=long_ago)
    proven = {"u1": DirectoryUser(id="u1", primary_email="", presence=DELETED)}
    for complete, deleted in ((True, {}), (False, proven)):
        dropped, kept = (Planner(CONNECTION, {"u1": each}, rules(), NOW) for each in (known, replace(known, mark=mark)))
        dropped.close(deleted, complete)
        kept.close(deleted, complete)
        assert (dropped.plan.notes, kept.plan.notes) == ({"u1": (known, None)}, {})


def test_failures_back_off_from_fifteen_minutes_to_a_day_and_start_over_when_the_user_changes():
    waits = []
    failure = None
    for _ in range(10):
        failure = failed(failure, "rejected", "no" * 200, "update:abc", NOW)
        waits.append((failure.next_attempt - NOW) / timedelta(minutes=1))
    assert waits == [15, 30, 60, 120, 240, 480, 960, 1440, 1440, 1440]
    assert (failure.attempts, failure.first, len(failure.text)) == (10, NOW, 200)
    for _ in range(2000):
        failure = failed(failure, "rejected", "no", "update:abc", NOW)
    assert failure.next_attempt == NOW + DAY
    anew = failed(failure, "rejected", "no", "update:other", NOW + DAY)
    assert (anew.attempts, anew.first, anew.next_attempt) == (1, NOW + DAY, NOW + DAY + timedelta(minutes=15))
