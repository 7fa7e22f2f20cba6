"""Timers: kept to the minute through every history of a user and of the connection, against plain counting."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoprovisioning.adapters.firestore.codec import decode, encode
from autoprovisioning.domain.decision import Observed, Rules, decide
from autoprovisioning.domain.deprovisioning import Clock, Delays, Deprovisioning
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Action, Entry, Timer, Trigger
from tests.support.builders import DAY, IN_A_WEEK, MINUTE, NEVER, NOW, begun, entry, rules, seen
from tests.support.decisions import action_of, trigger_of

SUSPENDED, ARCHIVED = Presence.SUSPENDED, Presence.ARCHIVED
AS_SUSPENDED = rules(IN_A_WEEK, archived_as_suspended=True)


def decided(known: Entry, presence: Presence, day: float, since: float = 0, chosen: Rules | None = None):
    """Decide on a day about a user who has been so since another one."""
    what = seen(presence, since=NOW + since * DAY)
    return decide(known, what, chosen or rules(IN_A_WEEK), NOW + day * DAY)


def test_suspended_and_archived_before_it_is_due_keeps_access_until_unarchived():
    known = decided(entry(), SUSPENDED, 0).noted
    for day in (6, 7, 100, 400):
        decision = decided(known, ARCHIVED, day, since=6)
        known = decision.noted
        assert (action_of(decision), begun(known)) == (None, {Trigger.SUSPENDED: NOW})
    back = decided(known, SUSPENDED, 400)
    assert (action_of(back), begun(back.noted)) == (None, {Trigger.SUSPENDED: NOW})
    assert action_of(decided(back.noted, SUSPENDED, 400.99)) is None
    assert action_of(decided(back.noted, SUSPENDED, 401)) is Action.SUSPEND


def test_archived_counts_as_suspended_from_the_first_time_where_that_was_chosen():
    known = decided(entry(), SUSPENDED, 0, chosen=AS_SUSPENDED).noted
    archived = decided(known, ARCHIVED, 6, since=6, chosen=AS_SUSPENDED)
    assert (action_of(archived), begun(archived.noted)) == (None, {Trigger.SUSPENDED: NOW})
    assert action_of(decided(archived.noted, ARCHIVED, 7, since=6, chosen=AS_SUSPENDED)) is Action.SUSPEND


def test_a_timer_that_stood_still_goes_on_when_archived_is_chosen_to_count_as_suspended():
    known = decided(entry(), SUSPENDED, 0).noted
    known = decided(known, ARCHIVED, 6, since=6).noted
    known = decided(known, ARCHIVED, 50, since=6, chosen=AS_SUSPENDED).noted
    assert begun(known) == {Trigger.SUSPENDED: NOW}
    assert action_of(decided(known, ARCHIVED, 50.9, since=6, chosen=AS_SUSPENDED)) is None
    assert action_of(decided(known, ARCHIVED, 51, since=6, chosen=AS_SUSPENDED)) is Action.SUSPEND


def test_a_suspension_that_ended_unseen_and_began_again_counts_from_when_the_directory_says():
    known = decided(entry(), SUSPENDED, 0).noted
    off = rules(IN_A_WEEK, clock=Clock().stopped(NOW + 5 * DAY).started(NOW + 8 * DAY))
    again = decided(known, SUSPENDED, 8.5, since=6, chosen=off).noted
    assert begun(again) == {Trigger.SUSPENDED: NOW + 6 * DAY}
    assert action_of(decided(again, SUSPENDED, 14.99, since=6, chosen=off)) is None
    assert action_of(decided(again, SUSPENDED, 15, since=6, chosen=off)) is Action.SUSPEND


@pytest.mark.parametrize(("off", "first"), [(Clock(), 0), (Clock().stopped(NOW + DAY).started(NOW + 2 * DAY), 3)])
def test_a_directory_whose_time_moves_at_each_look_keeps_nobody(off, first):
    known, chosen = decided(entry(), SUSPENDED, 0).noted, rules(IN_A_WEEK, clock=off)
    for day in range(3, first + 7):
        decision = decided(known, SUSPENDED, day, since=day, chosen=chosen)
        known = decision.noted
        assert (action_of(decision), begun(known)) == (None, {Trigger.SUSPENDED: NOW + first * DAY})
    assert action_of(decided(known, SUSPENDED, first + 7, since=first + 7, chosen=chosen)) is Action.SUSPEND


@pytest.mark.parametrize("chosen", [None, AS_SUSPENDED])
@pytest.mark.parametrize("presence", [SUSPENDED, ARCHIVED])
def test_suspended_and_archived_one_after_the_other_count_from_the_first_time(presence, chosen):
    known = decided(entry(), presence, 0, chosen=chosen).noted
    for day, after in ((2, ARCHIVED), (4, SUSPENDED)):
        for later in (0, 0.5, 1):
            known = decided(known, after, day + later, since=day, chosen=chosen).noted
            assert begun(known) == {Trigger.SUSPENDED: NOW}


def test_off_for_a_day_and_archived_for_ten_is_not_due_early():
    known = decided(entry(), SUSPENDED, 0).noted
    clock = Clock().stopped(NOW + DAY).started(NOW + 2 * DAY)
    later = rules(IN_A_WEEK, clock=clock)
    known = decided(known, ARCHIVED, 3, since=3, chosen=later).noted
    known = decided(known, SUSPENDED, 13, chosen=later).noted
    assert action_of(decided(known, SUSPENDED, 17.99, chosen=later)) is None
    assert action_of(decided(known, SUSPENDED, 18, chosen=later)) is Action.SUSPEND


def test_being_turned_off_any_number_of_times_is_not_counted():
    known, clock = decided(entry(), SUSPENDED, 0).noted, Clock()
    for hour in range(1, 301, 2):
        clock = clock.stopped(NOW + hour * 60 * MINUTE).started(NOW + (hour + 1) * 60 * MINUTE)
    later = rules(IN_A_WEEK, clock=clock)
    assert action_of(decided(known, SUSPENDED, 7 + 150 / 24 - 0.01, chosen=later)) is None
    assert action_of(decided(known, SUSPENDED, 7 + 150 / 24, chosen=later)) is Action.SUSPEND


def test_who_is_suspended_while_the_connection_is_off_has_been_so_for_no_time_when_it_is_turned_on():
    clock = Clock().stopped(NOW).started(NOW + 30 * DAY)
    decision = decided(entry(), SUSPENDED, 30, since=2, chosen=rules(IN_A_WEEK, clock=clock))
    assert (action_of(decision), begun(decision.noted)) == (None, {Trigger.SUSPENDED: NOW + 2 * DAY})
    later = decided(decision.noted, SUSPENDED, 37, since=2, chosen=rules(IN_A_WEEK, clock=clock))
    assert action_of(later) is Action.SUSPEND


def test_who_was_archived_only_and_is_deleted_is_deprovisioned_as_deleted():
    policy = Deprovisioning(suspended=Delays(suspend_after=0), deleted=Delays(suspend_after=7, delete_after=30))
    known = decided(entry(), ARCHIVED, 0, chosen=rules(policy)).noted
    what = seen(Presence.DELETED, None, since=NOW + DAY)
    gone = decide(known, what, rules(policy), NOW + DAY)
    assert action_of(gone) is None
    decision = decide(gone.noted, what, rules(policy), NOW + 8 * DAY)
    assert (action_of(decision), trigger_of(decision)) == (Action.SUSPEND, Trigger.DELETED)


def test_a_suspension_that_ran_before_the_user_was_archived_goes_on_when_deleted():
    known = decided(entry(), SUSPENDED, 0).noted
    known = decided(known, ARCHIVED, 6, since=6).noted
    what = seen(Presence.DELETED, None, since=NOW + 50 * DAY)
    gone = decide(known, what, rules(IN_A_WEEK), NOW + 50 * DAY).noted
    decision = decide(gone, what, rules(IN_A_WEEK), NOW + 51 * DAY)
    assert (action_of(decision), trigger_of(decision)) == (Action.SUSPEND, Trigger.SUSPENDED)


def test_nobody_active_keeps_a_timer_but_for_a_scope_that_cannot_be_told():
    timers = {Trigger.APP_OFF: NOW - DAY, Trigger.SUSPENDED: Timer(since=NOW - DAY)}
    decision = decide(entry(timers=timers), seen(in_scope=None), rules(IN_A_WEEK), NOW)
    assert begun(decision.noted) == {Trigger.APP_OFF: NOW - DAY}


@dataclass
class World:
    """One user and one connection, minute by minute; every event is looked at once, unless the connection is off."""

    now: datetime = NOW
    suspended: datetime | None = None
    archived: datetime | None = None
    deleted: datetime | None = None
    in_scope: bool = True
    on: bool = True
    as_suspended: bool = False
    clock: Clock = field(default_factory=Clock)
    entry: Entry = field(default_factory=entry)
    since: dict[Trigger, datetime] = field(default_factory=dict)  # by plain counting, as is all below
    counts: dict[Trigger, int] = field(default_factory=dict)  # minutes that each has run
    ran: list[datetime] = field(default_factory=list)  # all the minutes in which timers did
    never: set[Trigger] = field(default_factory=set)  # had not run when the user was deleted
    on_at: list[datetime] = field(default_factory=list)  # all the minutes in which the connection was on
    started: dict[Trigger, datetime] = field(default_factory=dict)  # those that ran when last looked at, and since when

    @property
    def idle(self) -> bool:
        return self.archived is not None and self.deleted is None and not self.as_suspended

    def wait(self, minutes: int) -> None:
        for _ in range(minutes):
            if self.on:
                self.on_at.append(self.now)
            if self.on and not self.idle:
                self.ran.append(self.now)
                for trigger in self.counts.keys() - self.never:
                    self.counts[trigger] += 1
            self.now += MINUTE

    def happen(self, event: str) -> None:
        match event:
            case "suspend":
                self.suspended = self.suspended or self.now
            case "restore":
                self.suspended = None
            case "archive":
                self.archived = self.archived or self.now
            case "unarchive":
                self.archived = None
            case "delete":
                self.deleted = self.deleted or self.now
            case "undelete":
                self.deleted = None
            case "leave" | "join":
                self.in_scope = event == "join"
            case "choose":
                self.as_suspended = not self.as_suspended
            case "off" if self.on:
                self.on, self.clock = False, self.clock.stopped(self.now)
            case "on" if not self.on:
                self.on, self.clock = True, self.clock.started(self.now)
        if self.on:
            self.look()

    def look(self) -> None:
        if self.deleted is not None:
            what = Observed(user_id="u1", presence=Presence.DELETED, in_scope=None, since=self.deleted)
        elif self.archived is not None:
            what = seen(ARCHIVED, self.in_scope, since=self.archived)
        elif self.suspended is not None:
            what = seen(SUSPENDED, self.in_scope, since=self.suspended)
        else:
            what = seen(in_scope=self.in_scope)
        chosen = replace(rules(NEVER), clock=self.clock, archived_as_suspended=self.as_suspended)
        noted = decide(self.entry, what, chosen, self.now).noted
        assert noted is not None
        self.entry = decode(encode({"u1": noted})).entries["u1"]
        self._count(what)

    def _count(self, what: Observed) -> None:
        lasting: dict[Trigger, datetime] = {}
        told: set[Trigger] = set()
        if what.in_scope is False:
            lasting[Trigger.APP_OFF] = self.now
        if what.presence in (SUSPENDED, ARCHIVED):
            lasting[Trigger.SUSPENDED] = what.since
            told |= set() if self.idle or self.as_suspended else {Trigger.SUSPENDED}
        if what.presence is Presence.DELETED:
            lasting |= self.since | {Trigger.DELETED: what.since}
            told.add(Trigger.DELETED)
        for trigger in told & self.started.keys():
            if sum(self.started[trigger] <= minute < lasting[trigger] for minute in self.on_at) > 5:
                # It ended, unseen, and began again.
                del self.since[trigger], self.counts[trigger], self.started[trigger]
        began = {trigger: self.now if trigger in self.since else since for trigger, since in lasting.items()}
        newly = {
            trigger: 0 if self.idle else sum(minute >= since for minute in self.ran)
            for trigger, since in lasting.items()
        }
        self.counts = {trigger: self.counts.get(trigger, newly[trigger]) for trigger in lasting}
        self.since = {trigger: self.since.get(trigger, since) for trigger, since in lasting.items()}
        if what.presence is not Presence.DELETED:
            self.never = {trigger for trigger, minutes in self.counts.items() if self.idle and not minutes}
        runs = set() if self.idle else lasting.keys() - self.never
        self.started = {trigger: self.started.get(trigger, began[trigger]) for trigger in runs}


EVENTS = (
    "suspend", "restore", "archive", "unarchive", "delete", "undelete", "leave", "join", "choose", "off", "on", "look"
)  # fmt: skip


@settings(max_examples=400, deadline=None, database=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 40)), max_size=30))
def test_timers_are_kept_to_the_minute_through_every_history(history):
    world = World()
    for event, minutes in history:
        world.happen(event)
        world.wait(minutes)
        shown = {
            trigger: (timer.since, timer.elapsed(world.clock.at(world.now)))
            for trigger, timer in world.entry.timers.items()
        }
        counted = {trigger: (world.since[trigger], minutes * MINUTE) for trigger, minutes in world.counts.items()}
        assert shown == counted
