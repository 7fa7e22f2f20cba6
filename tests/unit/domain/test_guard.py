"""The guard counts: who was active, whose budget, which attempt."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.app.provisioning.volume_guard import may_go, remember_active, reserve_all
from autoprovisioning.domain.accounts import fingerprint
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Action, Entry, Status
from autoprovisioning.domain.guard import (
    APPROVED,
    CONFIRMED,
    WINDOW,
    GuardState,
    Kind,
    Member,
    attempt,
    braked,
    member_of,
    record,
    reserve,
    seen_active,
)
from autoprovisioning.domain.settings import VolumeLimit
from tests.support.builders import NOW
from tests.support.in_memory import FakeServices

HOME = Connection(id="c1")
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
TAKING = Kind.TAKING


@pytest.mark.parametrize(
    ("size", "allowed"), [(0, 10), (1, 10), (200, 10), (219, 10), (220, 11), (1000, 50), (20000, 1000)]
)
def test_the_limit_is_ten_or_five_percent(size, allowed):
    assert VolumeLimit().allowed(size) == allowed


@pytest.mark.parametrize(
    ("active", "taken"), [(0, 10), (1, 1), (2, 1), (3, 1), (5, 2), (9, 4), (10, 4), (20, 9), (21, 10), (400, 20)]
)
def test_half_of_the_active_people_never_lose_access_at_once(active, taken):
    assert VolumeLimit().taken(active) == taken


def test_a_plan_is_reserved_whole_or_not_at_all():
    first = reserve(GuardState(), TAKING, ["a", "b"], 3, NOW)
    assert set(first.current(TAKING, NOW)) == {"a", "b"}
    assert reserve(first, TAKING, ["c", "d"], 3, NOW) is None
    assert set(reserve(first, TAKING, ["c"], 3, NOW).current(TAKING, NOW)) == {"a", "b", "c"}


def test_what_was_reserved_yesterday_and_is_done_today_counts_today():
    """A look found the user not due then; within a day of today's suspension no other one goes."""
    yesterday = reserve(GuardState(), TAKING, ["a"], 1, NOW)
    today = reserve(yesterday, TAKING, ["a"], 1, NOW + WINDOW - SECOND)
    assert reserve(today, TAKING, ["b"], 1, NOW + WINDOW + SECOND) is None


def test_reserving_again_is_free_even_at_the_limit():
    full = reserve(GuardState(), TAKING, ["a", "b"], 2, NOW)
    assert reserve(full, TAKING, ["b", "a"], 2, NOW + SECOND) == full
    assert reserve(full, TAKING, ["a", "c"], 2, NOW) is None


def test_the_window_rolls():
    state = reserve(GuardState(), TAKING, ["a"], 1, NOW)
    assert reserve(state, TAKING, ["b"], 1, NOW + WINDOW - SECOND) is None
    assert reserve(state, TAKING, ["b"], 1, NOW + WINDOW).current(TAKING, NOW + WINDOW) == {"b": NOW + WINDOW}


def test_a_limit_that_shrank_below_what_is_reserved_stops_new_ones_only():
    state = reserve(GuardState(), TAKING, ["a", "b", "c"], 3, NOW)
    assert reserve(state, TAKING, ["a"], 1, NOW) == state
    assert reserve(state, TAKING, ["d"], 1, NOW) is None


def test_each_budget_counts_for_itself_and_what_was_approved_is_free_for_nothing_else():
    state = record(reserve(GuardState(), TAKING, ["a"], 1, NOW), APPROVED, ["b"], NOW)
    assert reserve(state, Kind.GIVING, ["c"], 1, NOW) is not None
    assert reserve(state, TAKING, ["b"], 1, NOW) is None
    confirmed = reserve(state, CONFIRMED, ["d"], 1, NOW)
    assert reserve(confirmed, Kind.GIVING, ["d"], 0, NOW) == confirmed


def test_the_active_at_the_beginning_of_the_window_count_however_many_were_suspended_since():
    state = seen_active(seen_active(GuardState(), 400, NOW - 2 * WINDOW), 20, NOW - WINDOW)
    for hours in range(1, 12):
        state = seen_active(state, 20 - hours, NOW - WINDOW + hours * HOUR)
    assert state.base(NOW) == 20
    assert state.allowed(Kind.WIPING, VolumeLimit(minimum=1, percent=25.0), NOW) == 5
    assert state.base(NOW + 6 * HOUR) == 14


def test_fewer_than_half_of_those_active_by_now_may_lose_access_at_once():
    state = seen_active(seen_active(GuardState(), 400, NOW - 2 * WINDOW), 20, NOW)
    assert state.allowed(TAKING, VolumeLimit(), NOW) == 9
    some = reserve(state, TAKING, [str(number) for number in range(9)], 9, NOW + SECOND)
    assert some.allowed(TAKING, VolumeLimit(minimum=20), NOW + HOUR) == 9, "nor one by one"
    assert seen_active(some, 11, NOW + HOUR).allowed(TAKING, VolumeLimit(minimum=20), NOW + HOUR) == 14


def test_of_a_new_connection_the_first_count_above_nobody_is_taken():
    state = seen_active(seen_active(GuardState(), 0, NOW), 30, NOW + HOUR)
    assert [state.base(at) for at in (NOW, NOW + HOUR, NOW + 2 * HOUR)] == [30, 30, 30]
    assert seen_active(GuardState(), 0, NOW).base(NOW) == 0


def test_until_a_run_has_counted_anybody_those_count_who_are_active_by_the_roster():
    state = seen_active(GuardState(), 0, NOW)
    assert state.allowed(TAKING, VolumeLimit(), NOW + HOUR, let_in=4) == 1
    assert seen_active(state, 20, NOW + HOUR).allowed(TAKING, VolumeLimit(), NOW + HOUR, let_in=4) == 9


def test_half_of_a_pilot_do_not_lose_access_before_a_run_has_counted(fakes):
    """A first run reserved five creations and was cut short: four accounts were made since, and the group emptied."""
    home = replace(HOME, roster_layout="1")
    remember_active(fakes.services, home, 0)
    assert reserve_all(fakes.services, home, Kind.GIVING, [f"create u{number}" for number in range(5)])
    entries = {f"u{number}": Entry(user_id=f"u{number}", status=Status.ACTIVE) for number in range(4)}
    fakes.services.roster.commit(home, entries, lambda _: (Edit(entries=entries), None))
    leavers = [Member(resource=user_id, action="suspend", trigger="app_off", since=NOW) for user_id in entries]
    assert [may_go(fakes.services, home, leaver, entries[leaver.resource]) for leaver in leavers] == [True] + 3 * [
        False
    ]


def test_no_more_counts_are_kept_than_a_window_can_begin_with():
    state = GuardState()
    for quarter in range(1000):
        state = seen_active(state, 100 + quarter % 7, NOW + quarter * HOUR / 4)
    assert len(state.active) <= 98


def test_reservations_tell_users_actions_and_attempts_apart():
    done = Entry(user_id="u1", last_action_at=NOW)
    members = [
        Member(resource=user, action=action) for user in ("u1", "u2") for action in ("suspend", "delete", "recreate")
    ]
    names = {attempt(member, entry) for member in members for entry in (None, done)}
    assert len(names) == 12
    assert attempt(members[0], done) == attempt(members[0], replace(done, version=9, pending=True))
    assert attempt(members[0], done) != attempt(members[0], replace(done, last_action_at=NOW + SECOND))


ADA = {"userName": "ada@x.org", "name.givenName": "Ada", "title": None}
APPLIED = Entry(user_id="u1", email="ada@x.org", status=Status.ACTIVE, fingerprint=fingerprint(ADA))


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"name.givenName": "Grace"}, False),
        ({"title": "Countess"}, False),
        ({"userName": "ADA@x.org"}, False),
        ({"userName": "ada@y.org"}, True),
        ({"name.givenName": None}, True),
        ({"name.givenName": ""}, True),
    ],
)
def test_of_updates_only_those_that_rename_or_wipe_are_braked(changes, counts):
    assert braked(Action.UPDATE, APPLIED, {**ADA, **changes}, NOW) is counts


@pytest.mark.parametrize(("ago", "counts"), [(HOUR, False), (WINDOW, True), (None, True)])
def test_giving_back_what_we_took_today_repairs_and_is_not_braked(ago, counts):
    suspended = Entry(user_id="u1", status=Status.SUSPENDED, last_action_at=NOW - ago if ago else None)
    assert braked(Action.UNSUSPEND, suspended, {}, NOW) is counts


@pytest.fixture
def fakes() -> FakeServices:
    return FakeServices()


def test_no_reservations_are_made_without_a_write(fakes):
    assert reserve_all(fakes.services, HOME, TAKING, [])
    assert fakes.store.guards == {}


def vanished(user_id: str) -> Member:
    return member_of(Action.RECREATE, Entry(user_id=user_id, scim_id=f"k-{user_id}", status=Status.ACTIVE), None, {})


def test_runs_notifications_and_recreations_share_one_count(fakes):
    planned = [Member(resource=f"u{number}", action="suspend", trigger="suspended", since=NOW) for number in range(8)]
    assert reserve_all(fakes.services, HOME, TAKING, [attempt(member, None) for member in planned])
    assert may_go(fakes.services, HOME, Member(resource="u50", action="delete", trigger="deleted", since=NOW), None)
    assert may_go(fakes.services, HOME, vanished("u51"), None)
    assert not may_go(fakes.services, HOME, vanished("u52"), None)
    assert not may_go(
        fakes.services, HOME, Member(resource="u53", action="suspend", trigger="deleted", since=NOW), None
    )
    assert may_go(fakes.services, HOME, planned[1], Entry(user_id="u1"))  # a run reserved it already


def test_each_connection_has_a_guard_of_its_own(fakes):
    assert reserve_all(fakes.services, HOME, TAKING, [str(number) for number in range(10)])
    assert not may_go(fakes.services, HOME, vanished("u1"), None)
    assert may_go(fakes.services, Connection(id="c2"), vanished("u1"), None)
