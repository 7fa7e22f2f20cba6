"""Deprovisioning: delays, timers, and what falls due first."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from autoprovisioning.domain.decision import decide
from autoprovisioning.domain.deprovisioning import Clock, Delays, Deprovisioning, Due, due, observe
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Action, Status, Trigger
from autoprovisioning.domain.errors import BadInput
from tests.support.builders import DAY, GRACE, IN_A_WEEK, NOW, begun, entry, rules, running, seen
from tests.support.decisions import action_of, trigger_of, unsure

APP_OFF, SUSPENDED, DELETED = Trigger.APP_OFF, Trigger.SUSPENDED, Trigger.DELETED
EARLIER, LATER = NOW - DAY, NOW + DAY


def test_the_default_suspends_within_24_hours_on_every_trigger_and_never_deletes():
    assert Deprovisioning() == Deprovisioning(
        app_off=Delays(suspend_after=0, delete_after=None),
        suspended=Delays(suspend_after=0, delete_after=None),
        deleted=Delays(suspend_after=0, delete_after=None),
    )
    Deprovisioning().check()


@pytest.mark.parametrize("days", [0, 1, 7, 21, 30, 45, 3650])
def test_every_number_of_days_is_a_delay(days):
    Deprovisioning(
        app_off=Delays(suspend_after=days, delete_after=None),
        suspended=Delays(suspend_after=None, delete_after=days),
        deleted=Delays(suspend_after=None, delete_after=None),
    ).check()


BAD_DELAYS = [
    (Delays(suspend_after=-1, delete_after=None), "suspend_after"),
    (Delays(suspend_after=3651, delete_after=None), "suspend_after"),
    (Delays(suspend_after=None, delete_after=-1), "delete_after"),
    (Delays(suspend_after=None, delete_after=3651), "delete_after"),
    (Delays(suspend_after=7, delete_after=7), "delete_after"),
    (Delays(suspend_after=7, delete_after=6), "delete_after"),
    (Delays(suspend_after=0, delete_after=0), "delete_after"),
]


@pytest.mark.parametrize("trigger", list(Trigger))
@pytest.mark.parametrize(("delays", "field"), BAD_DELAYS)
def test_delays_out_of_range_or_order_are_refused_by_name(trigger, delays, field):
    policy = Deprovisioning(**{trigger.value: delays})
    with pytest.raises(BadInput) as caught:
        policy.check()
    assert caught.value.field == f"deprovisioning.{trigger.value}.{field}"
    assert caught.value.problem
    assert caught.value.mend


TIMERS = [
    # running, triggers seen with the directory's time -> since when each has lasted
    ({}, {}, {}),
    ({}, {APP_OFF: None}, {APP_OFF: NOW}),
    ({}, {SUSPENDED: EARLIER}, {SUSPENDED: EARLIER}),
    ({}, {SUSPENDED: LATER}, {SUSPENDED: NOW}),  # a clock ahead of ours
    ({APP_OFF: EARLIER}, {APP_OFF: None}, {APP_OFF: EARLIER}),
    ({APP_OFF: EARLIER}, {}, {}),  # returned
    ({APP_OFF: EARLIER}, {SUSPENDED: None}, {SUSPENDED: NOW}),
    ({SUSPENDED: EARLIER}, {SUSPENDED: EARLIER - DAY}, {SUSPENDED: EARLIER}),
    ({SUSPENDED: EARLIER - DAY}, {SUSPENDED: EARLIER}, {SUSPENDED: EARLIER - DAY}),  # a time that moves
    ({APP_OFF: EARLIER}, {APP_OFF: None, DELETED: None}, {APP_OFF: EARLIER, DELETED: NOW}),
]


@pytest.mark.parametrize(("known", "triggers", "expected"), TIMERS)
def test_timers_start_go_on_and_stop_with_their_triggers(known, triggers, expected):
    timers = {trigger: running(since) for trigger, since in known.items()}
    assert observe(timers, triggers, Clock(), NOW) == {trigger: running(since) for trigger, since in expected.items()}


OFF = [
    # turned off and on again -> days of the last ten that timers have run
    ([], 10),
    ([(NOW - 5 * DAY, NOW - 3 * DAY)], 8),
    ([(NOW - 20 * DAY, NOW - 9 * DAY)], 9),  # began before the timer
    ([(NOW - 20 * DAY, NOW - 15 * DAY)], 10),  # over before the timer
    ([(NOW - DAY, None)], 9),  # not over yet
    ([(NOW - 9 * DAY, NOW - 8 * DAY), (NOW - 2 * DAY, NOW - DAY)], 8),
]


@pytest.mark.parametrize(("times", "days"), OFF)
def test_time_off_is_not_counted(times, days):
    clock, timer = Clock(), None
    for start, end in [*times, (NOW, NOW)]:
        if timer is None and start >= NOW - 10 * DAY:  # seen before the connection is turned off next
            timer = observe({}, {SUSPENDED: NOW - 10 * DAY}, clock, start)[SUSPENDED]
        clock = clock.stopped(start).started(end) if end is not None else clock.stopped(start)
    assert timer is not None
    assert timer.elapsed(clock.at(NOW)) == days * DAY


MIXED = Deprovisioning(
    app_off=Delays(suspend_after=7, delete_after=30),
    suspended=Delays(suspend_after=1, delete_after=None),
    deleted=Delays(suspend_after=None, delete_after=3),
)
DUE = [
    ({}, Due()),
    ({APP_OFF: NOW}, Due(suspend=NOW + 7 * DAY, suspend_by=APP_OFF, delete=NOW + 30 * DAY, delete_by=APP_OFF)),
    ({SUSPENDED: NOW}, Due(suspend=NOW + DAY, suspend_by=SUSPENDED)),
    ({DELETED: NOW}, Due(delete=NOW + 3 * DAY, delete_by=DELETED)),
    (
        {APP_OFF: NOW, SUSPENDED: NOW},
        Due(suspend=NOW + DAY, suspend_by=SUSPENDED, delete=NOW + 30 * DAY, delete_by=APP_OFF),
    ),
    (
        {APP_OFF: NOW - 7 * DAY, SUSPENDED: NOW},
        Due(suspend=NOW, suspend_by=APP_OFF, delete=NOW + 23 * DAY, delete_by=APP_OFF),
    ),
    (
        dict.fromkeys(Trigger, NOW),
        Due(suspend=NOW + DAY, suspend_by=SUSPENDED, delete=NOW + 3 * DAY, delete_by=DELETED),
    ),
]


@pytest.mark.parametrize(("timers", "expected"), DUE)
def test_the_earliest_due_of_all_triggers_wins(timers, expected):
    assert due(MIXED, {trigger: running(since) for trigger, since in timers.items()}, Clock(), NOW) == expected


def decided(known, what, now: datetime = NOW, **changes):
    decision = decide(known, what, rules(IN_A_WEEK, **changes), now)
    return action_of(decision), trigger_of(decision)


def test_an_out_of_scope_user_is_kept_current_until_suspension_is_due():
    known = entry(timers={APP_OFF: NOW - DAY})
    assert decided(known, seen(in_scope=False, desired=GRACE)) == (Action.UPDATE, None)
    assert decided(known, seen(in_scope=False, desired=GRACE), NOW + 6 * DAY) == (Action.SUSPEND, APP_OFF)


def test_deletion_may_come_without_a_suspension_before_it():
    known = entry(timers={APP_OFF: NOW - 3 * DAY})
    decision = decide(
        known, seen(in_scope=False), rules(Deprovisioning(app_off=Delays(suspend_after=None, delete_after=3))), NOW
    )
    assert (action_of(decision), trigger_of(decision)) == (Action.DELETE, APP_OFF)


def test_a_deletion_that_is_due_replaces_the_suspension_that_was_missed():
    known = entry(timers={APP_OFF: NOW - 40 * DAY})
    assert decided(known, seen(in_scope=False)) == (Action.DELETE, APP_OFF)


def test_standing_still_holds_against_the_directorys_own_time():
    since = NOW - 6 * DAY
    archived = decide(entry(timers={SUSPENDED: since}), seen(Presence.ARCHIVED), rules(IN_A_WEEK), NOW).noted
    back = decide(archived, seen(Presence.SUSPENDED, since=since), rules(IN_A_WEEK), NOW + 30 * DAY)
    assert (action_of(back), begun(back.noted)) == (None, {SUSPENDED: since})
    due_now = decide(back.noted, seen(Presence.SUSPENDED, since=since), rules(IN_A_WEEK), NOW + 31 * DAY)
    assert action_of(due_now) is Action.SUSPEND


def test_a_timer_that_stands_still_ends_with_a_return():
    archived = decide(entry(timers={APP_OFF: NOW - DAY}), seen(Presence.ARCHIVED, False), rules(IN_A_WEEK), NOW).noted
    back = decide(archived, seen(), rules(IN_A_WEEK), NOW + DAY)
    assert (action_of(back), back.noted.timers) == (None, {})


def test_an_app_off_timer_waits_while_scope_cannot_be_told_and_goes_on_after():
    known = entry(timers={APP_OFF: NOW - 8 * DAY})
    unsure = decide(known, seen(in_scope=None), rules(IN_A_WEEK), NOW)
    assert (action_of(unsure), begun(unsure.noted)) == (None, {APP_OFF: NOW - 8 * DAY})
    assert decided(unsure.noted, seen(in_scope=False)) == (Action.SUSPEND, APP_OFF)


def test_a_suspended_user_whose_scope_cannot_be_told_keeps_the_app_off_timer():
    known = entry(timers={APP_OFF: NOW - 8 * DAY})
    assert decided(known, seen(Presence.SUSPENDED, None, since=NOW)) == (Action.SUSPEND, APP_OFF)


def test_a_user_suspended_and_back_in_scope_has_no_app_off_timer_left():
    known = entry(timers={APP_OFF: NOW - 8 * DAY})
    decision = decide(known, seen(Presence.SUSPENDED, True, since=NOW), rules(IN_A_WEEK), NOW)
    assert (action_of(decision), begun(decision.noted)) == (None, {SUSPENDED: NOW})


@pytest.mark.parametrize("presence", [Presence.SUSPENDED, Presence.DELETED])
@pytest.mark.parametrize("in_scope", [True, False, None])
def test_an_account_locked_by_someone_else_is_not_deleted_by_any_timer(presence, in_scope):
    """Deleted by us, it would be unlocked when the user returns."""
    known = entry(Status.LOCKED, timers=dict.fromkeys(Trigger, NOW - 400 * DAY))
    assert action_of(decide(known, seen(presence, in_scope, since=NOW - 400 * DAY), rules(IN_A_WEEK), NOW)) is None


def test_a_locked_account_of_a_deleted_user_is_forgotten_in_the_end():
    timers = {DELETED: NOW - 31 * DAY}
    known = entry(Status.LOCKED, gone=True, timers=timers, last_action_at=NOW - 90 * DAY)
    assert unsure(decide(known, seen(Presence.DELETED, None), rules(IN_A_WEEK), NOW))
    known = replace(known, locked_at=NOW - DAY)
    assert decide(known, seen(Presence.DELETED, None), rules(IN_A_WEEK), NOW).noted is None


def test_an_undeleted_user_takes_a_forgotten_account_up_again():
    assert action_of(decide(None, seen(), rules(), NOW)) is Action.CREATE
