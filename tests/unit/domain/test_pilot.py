"""A pilot in the decision: of whoever is outside nothing is done, whatever the table says, and timers stand still."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import get_args

import pytest

from autoprovisioning.domain.connections import PastPilot, State
from autoprovisioning.domain.decision import Nothing, decide
from autoprovisioning.domain.deprovisioning import NEVER as NEVER_DUE
from autoprovisioning.domain.deprovisioning import Clock, due
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import ACCOUNT, Action, Status, Timer, Trigger, failed
from autoprovisioning.domain.guard import Member
from autoprovisioning.domain.holds import Hold, Standing, settled
from autoprovisioning.domain.observation import rules_of
from autoprovisioning.domain.words import pilot_in_full, shown_state, state_in_full
from autoprovisioning.entrypoints.console.api.connections import Word
from tests.support.builders import DAY, GRACE, IN_A_WEEK, NOW, entry, rules, running, seen
from tests.support.decisions import action_of, trigger_of
from tests.support.scenario import CONNECTION
from tests.support.settings import with_settings
from tests.unit.domain.test_decision import GONE, TABLE

PILOT = replace(CONNECTION, pilot={"u9": "eve@example.com"})
OUTSIDE = rules_of(PILOT, {})
SUSPENDED, DELETED = Presence.SUSPENDED, Presence.DELETED


@pytest.mark.parametrize(("presence", "in_scope", "status", "changed", "_expected"), TABLE)
def test_nothing_of_the_table_is_done_outside(presence, in_scope, status, changed, _expected):
    known = None if status is None else entry(Status.SUSPENDED, deleted=True) if status is GONE else entry(status)
    what = seen(presence, in_scope)
    if changed and what.desired:
        what = seen(presence, in_scope, desired=GRACE)
    decision = decide(known, what, OUTSIDE, NOW)
    assert isinstance(decision, Nothing)
    assert not decision.unsure
    assert known is None or decision.noted is not None


@pytest.mark.parametrize(("presence", "in_scope", "status", "changed", "expected"), TABLE)
def test_those_chosen_are_operated_on_as_ever(presence, in_scope, status, changed, expected):
    known = None if status is None else entry(Status.SUSPENDED, deleted=True) if status is GONE else entry(status)
    what = seen(presence, in_scope)
    if changed and what.desired:
        what = seen(presence, in_scope, desired=GRACE)
    chosen = rules(operates_on=replace(PILOT, pilot={"u1": "ada@example.com"}).operates_on)
    assert action_of(decide(known, what, chosen, NOW)) is expected


def test_what_vanished_or_failed_waits_for_nothing_outside():
    failure = failed(None, "rejected", "no", "create:abc", NOW)
    for known in (entry(drift=(ACCOUNT,)), entry(failure=failure, pending=True), entry(Status.NONE, failure=failure)):
        decision = decide(known, seen(), OUTSIDE, NOW)
        assert isinstance(decision, Nothing)
        assert decision.noted is not None
        assert (decision.noted.failure, decision.noted.pending) == (None, False)


@pytest.mark.parametrize(
    ("presence", "in_scope", "trigger"),
    [
        (SUSPENDED, True, Trigger.SUSPENDED),
        (Presence.ACTIVE, False, Trigger.APP_OFF),
        (DELETED, None, Trigger.DELETED),
    ],
)
def test_a_timer_stands_still_outside_and_goes_on_after_the_pilot(presence, in_scope, trigger):
    """Two days passed before the pilot: five more are left, however long it lasts."""
    what, policy = seen(presence, in_scope, since=NOW - 2 * DAY), replace(OUTSIDE, deprovisioning=IN_A_WEEK)
    known = entry(timers={trigger: NOW - 2 * DAY})
    for day in range(40):
        known = decide(known, what, policy, NOW + day * DAY).noted
        assert due(IN_A_WEEK, known.timers, Clock(), NOW + day * DAY).suspend == NEVER_DUE
    over, end = rules(IN_A_WEEK), NOW + 40 * DAY
    begun = decide(known, what, over, end)
    assert action_of(begun) is None
    assert action_of(decide(begun.noted, what, over, end + 4 * DAY)) is None
    last = decide(begun.noted, what, over, end + 5 * DAY)
    assert (action_of(last), trigger_of(last)) == (Action.SUSPEND, trigger)


@pytest.mark.parametrize("days_unseen", [0, 3, 30])
def test_a_timer_stands_still_from_when_the_pilot_began_whenever_that_is_seen(days_unseen):
    """A run in parts of a large directory may need hours, and nobody asks about those outside."""
    what = seen(SUSPENDED, since=NOW - 2 * DAY)
    outside = rules_of(with_settings(replace(PILOT, chosen_at=NOW), deprovisioning=IN_A_WEEK), {})
    noted = decide(entry(timers={Trigger.SUSPENDED: running(NOW - 2 * DAY)}), what, outside, NOW + days_unseen * DAY)
    assert noted.noted.timers[Trigger.SUSPENDED] == Timer(since=NOW - 2 * DAY, accrued=2 * DAY)


@pytest.mark.parametrize("seen_within", [False, True])
@pytest.mark.parametrize("began", [NOW - 2 * DAY, NOW + DAY])
def test_a_timer_stood_still_for_a_pilot_that_is_over_if_nobody_saw_that_too(seen_within, began):
    """Two days passed before the pilot, or none if it began during the pilot; two since its end, when it is seen."""
    end = NOW + 30 * DAY + timedelta(milliseconds=1)  # of which nothing is stored in a timer
    past = replace(CONNECTION, past_pilot=PastPilot(people=("u9",), start=NOW, end=end))
    known, what = entry(timers={Trigger.SUSPENDED: running(began)}), seen(SUSPENDED, since=began)
    if seen_within:
        lasts = rules_of(replace(PILOT, chosen_at=NOW), {})
        known = decide(known, what, lasts, NOW + 3 * DAY).noted
        known = decide(known, what, rules_of(past, {}), end).noted
    over = rules_of(with_settings(past, deprovisioning=IN_A_WEEK), {})
    before = max(NOW - began, timedelta())
    for _ in range(2):
        known = decide(known, what, over, end + 2 * DAY).noted
        timer = known.timers[Trigger.SUSPENDED]
        assert timer.elapsed(end + 2 * DAY) - (before + 2 * DAY) <= timedelta(seconds=1)
        stored = replace(timer, running_since=timer.running_since.replace(microsecond=0))
        known = replace(known, timers={Trigger.SUSPENDED: stored})
        assert decide(known, what, over, end + 2 * DAY).noted == known


def test_a_timer_of_those_chosen_runs_on_in_a_pilot():
    past = replace(CONNECTION, past_pilot=PastPilot(people=("u1",), start=NOW, end=NOW + 3 * DAY))
    known = entry(timers={Trigger.SUSPENDED: running(NOW - DAY)})
    over = rules_of(with_settings(past, deprovisioning=IN_A_WEEK), {})
    noted = decide(known, seen(SUSPENDED, since=NOW - DAY), over, NOW + 4 * DAY).noted
    assert noted.timers == known.timers


def test_who_is_archived_within_a_pilot_has_a_timer_that_stops_when_that_is_seen():
    chosen = rules_of(replace(PILOT, pilot={"u1": "ada@example.com"}, chosen_at=NOW), {})
    known = entry(timers={Trigger.SUSPENDED: running(NOW - DAY)})
    noted = decide(known, seen(Presence.ARCHIVED, since=NOW - DAY), chosen, NOW + DAY).noted
    assert noted.timers[Trigger.SUSPENDED] == Timer(since=NOW - DAY, accrued=2 * DAY)


def test_who_leaves_during_a_pilot_has_all_of_the_delay_after_it():
    what, policy = seen(SUSPENDED, since=NOW), replace(OUTSIDE, deprovisioning=IN_A_WEEK)
    known = decide(entry(), what, policy, NOW).noted
    assert known.timers == {Trigger.SUSPENDED: Timer(since=NOW)}
    over, end = rules(IN_A_WEEK), NOW + 40 * DAY
    begun = decide(known, what, over, end)
    assert (action_of(begun), action_of(decide(begun.noted, what, over, end + 6 * DAY))) == (None, None)
    assert action_of(decide(begun.noted, what, over, end + 7 * DAY)) is Action.SUSPEND


def test_who_is_deleted_during_a_pilot_loses_access_after_it():
    known = decide(entry(), seen(DELETED, None, since=NOW), OUTSIDE, NOW).noted
    assert action_of(decide(known, seen(DELETED, None, since=NOW), rules(), NOW + DAY)) is Action.SUSPEND


def test_who_comes_back_during_a_pilot_has_no_timer_left():
    known = entry(timers={Trigger.SUSPENDED: running(NOW - DAY)})
    assert decide(known, seen(), OUTSIDE, NOW).noted.timers == {}


def test_nothing_about_those_outside_is_struck_from_a_held_plan():
    members = tuple(Member(resource=user_id, action="suspend", trigger="app_off") for user_id in ("u1", "u9"))
    hold = Hold(digest="d", raised_at=NOW, members=members)
    struck = settled(hold, {}, (), NOW, operates_on=PILOT.operates_on)
    assert struck.standings() == {Standing.WAITING.value: 1, Standing.NOT_DUE.value: 1}
    assert struck.those(Standing.WAITING) == [members[0]]


def test_the_api_knows_every_state():
    assert set(get_args(Word)) == {*State, "pilot"}


def test_a_pilot_is_a_state_of_its_own():
    assert (PILOT.state_word, CONNECTION.state_word) == ("pilot", "on")
    assert replace(PILOT, state=State.PAUSED).state_word == "paused"
    assert (shown_state(PILOT, held=False), shown_state(CONNECTION, held=False)) == ("On for chosen people only", "On")
    assert state_in_full(PILOT, concerned=False) == "Syncing active for 1 chosen person only."
    assert pilot_in_full(PILOT).startswith("A pilot: on for 1 chosen person only. Nobody else is created")
    assert pilot_in_full(CONNECTION) == ""
