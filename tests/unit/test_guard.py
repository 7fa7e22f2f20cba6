"""The guard counts: who was active, whose budget, which attempt, and what may go by a decision."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.guarding import may_go, may_recreate, remember_active, reserve_all
from autoprovisioning.app.holding import Wanted, admit, decide_hold
from autoprovisioning.domain.accounts import fingerprint
from autoprovisioning.domain.changes import Change
from autoprovisioning.domain.connections import Connection, VolumeLimit
from autoprovisioning.domain.errors import BadInput, NotFound, Stale
from autoprovisioning.domain.events import Actor, EventName
from autoprovisioning.domain.guard import (
    APPROVED,
    CONFIRMED,
    WINDOW,
    GuardState,
    HoldState,
    Kind,
    Member,
    Standing,
    attempt,
    braked,
    digest_of,
    record,
    reserve,
    seen_active,
)
from autoprovisioning.domain.roster import Action, Entry, Status
from tests.fakes import Desk
from tests.unit.builders import NOW

HOME = Connection("c1")
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
ADMIN = Actor("admin@x.org", "u0")
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
    confirmed = record(state, CONFIRMED, ["d"], NOW)
    assert reserve(confirmed, Kind.GIVING, ["d"], 0, NOW) == confirmed


def test_the_active_at_the_beginning_of_the_window_count_however_many_were_suspended_since():
    state = seen_active(seen_active(GuardState(), 400, NOW - 2 * WINDOW), 20, NOW - WINDOW)
    for hours in range(1, 12):
        state = seen_active(state, 20 - hours, NOW - WINDOW + hours * HOUR)
    assert state.base(NOW) == 20
    assert state.allowed(TAKING, VolumeLimit(), NOW) == 9
    assert state.base(NOW + 6 * HOUR) == 14


def test_of_a_new_connection_the_first_count_above_nobody_is_taken():
    state = seen_active(seen_active(GuardState(), 0, NOW), 30, NOW + HOUR)
    assert [state.base(at) for at in (NOW, NOW + HOUR, NOW + 2 * HOUR)] == [30, 30, 30]
    assert seen_active(GuardState(), 0, NOW).base(NOW) == 0


def test_until_a_run_has_counted_anybody_those_count_who_were_let_in():
    """Half of a pilot must not lose access in the quarter of an hour between the first run and the second."""
    state = record(seen_active(GuardState(), 0, NOW), CONFIRMED, ["a", "b", "c"], NOW)
    state = record(state, Kind.GIVING, ["d"], NOW)
    assert state.allowed(TAKING, VolumeLimit(), NOW + HOUR) == 1
    assert seen_active(state, 3, NOW + HOUR).base(NOW + HOUR) == 3
    assert state.base(NOW + WINDOW + HOUR) == 0


def test_no_more_counts_are_kept_than_a_window_can_begin_with():
    state = GuardState()
    for quarter in range(1000):
        state = seen_active(state, 100 + quarter % 7, NOW + quarter * HOUR / 4)
    assert len(state.active) <= 98


def test_reservations_tell_users_actions_and_attempts_apart():
    done = Entry("u1", last_action_at=NOW)
    members = [Member(user, action) for user in ("u1", "u2") for action in ("suspend", "delete", "recreate")]
    names = {attempt(member, entry) for member in members for entry in (None, done)}
    assert len(names) == 12
    assert attempt(members[0], done) == attempt(members[0], replace(done, version=9, pending=True))
    assert attempt(members[0], done) != attempt(members[0], replace(done, last_action_at=NOW + SECOND))


ADA = {"userName": "ada@x.org", "name.givenName": "Ada", "title": None}
APPLIED = Entry("u1", email="ada@x.org", status=Status.ACTIVE, fingerprint=fingerprint(ADA))


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
    suspended = Entry("u1", status=Status.SUSPENDED, last_action_at=NOW - ago if ago else None)
    assert braked(Action.UNSUSPEND, suspended, None, NOW) is counts


def test_a_digest_names_the_set_whatever_its_order_and_when_it_was_raised():
    members = [Member("u2", "suspend"), Member("u1", "delete")]
    assert digest_of(members, NOW) == digest_of(members[::-1], NOW)
    assert digest_of(members, NOW) != digest_of(members, NOW + SECOND)
    assert digest_of(members, NOW) != digest_of(members[:1], NOW)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def leavers(number: int, start: int = 0, trigger: str = "suspended") -> list[Wanted]:
    names = [f"u{index}" for index in range(start, start + number)]
    return [Wanted(Member(name, "suspend", trigger, NOW), Entry(name, status=Status.ACTIVE)) for name in names]


def users(held: list[Wanted]) -> set[str]:
    return {each.member.user_id for each in held}


def test_a_plan_within_the_limit_is_admitted(desk):
    assert admit(desk.services, HOME, TAKING, leavers(10)) == ([], None)


def test_nothing_to_admit_is_not_written(desk):
    assert admit(desk.services, HOME, TAKING, []) == ([], None)
    assert desk.store.guards == {}
    assert reserve_all(desk.services, HOME, TAKING, [])


def test_a_plan_above_the_limit_is_held_as_a_whole(desk):
    held, hold = admit(desk.services, HOME, TAKING, leavers(11))
    assert users(held) == users(leavers(11))
    assert (hold.state, hold.counts()) == (HoldState.WAITING, {"suspend": 11})
    assert hold.reason == "11 suspensions would exceed the limit of 10 within 24 hours"
    assert reserve_all(desk.services, HOME, TAKING, [str(number) for number in range(10)])  # nothing was taken
    (event,) = desk.store.events["c1"].values()
    assert (event.name, hold.digest in event.reason) == (EventName.HELD, True)


@pytest.mark.parametrize(("people", "leaving"), [(5, 5), (9, 9), (10, 10), (4, 2), (20, 10)])
def test_whoever_takes_access_from_half_of_the_active_is_held(desk, people, leaving):
    remember_active(desk.services, HOME, people)
    held, hold = admit(desk.services, HOME, TAKING, leavers(leaving))
    assert len(held) == leaving
    assert f"fewer than half of the {people} people who were active" in hold.reason


def test_the_same_plan_is_raised_once(desk):
    _, first = admit(desk.services, HOME, TAKING, leavers(11))
    desk.clock.advance(timedelta(minutes=15))
    _, second = admit(desk.services, HOME, TAKING, leavers(11))
    assert second == first
    assert len(desk.store.events["c1"]) == 1


def test_a_plan_that_changed_replaces_the_one_that_waits(desk):
    _, first = admit(desk.services, HOME, TAKING, leavers(11))
    desk.clock.advance(SECOND)
    _, second = admit(desk.services, HOME, TAKING, leavers(12))
    assert [hold.digest for hold in desk.services.records.holds("c1")] == [second.digest]
    assert desk.services.records.hold("c1", first.digest).state is HoldState.SUPERSEDED
    with pytest.raises(Stale):
        decide_hold(desk.services, "c1", first.digest, "approve", ADMIN)


@pytest.mark.parametrize("later", [0, 3])
def test_a_plan_ends_by_itself_where_it_is_empty_or_fits(desk, later):
    admit(desk.services, HOME, TAKING, leavers(11))
    assert admit(desk.services, HOME, TAKING, leavers(later)) == ([], None)
    assert desk.services.records.holds("c1") == []


def test_a_plan_of_listings_that_broke_off_ends_nothing(desk):
    _, hold = admit(desk.services, HOME, TAKING, leavers(11))
    admit(desk.services, HOME, TAKING, [], whole=False)
    assert desk.services.records.holds("c1") == [hold]


def approved(desk: Desk, number: int = 11) -> str:
    _, hold = admit(desk.services, HOME, TAKING, leavers(number))
    decide_hold(desk.services, "c1", hold.digest, "approve", ADMIN)
    return hold.digest


def test_an_approved_plan_goes_on_and_is_noted_but_not_counted(desk):
    approved(desk)
    assert admit(desk.services, HOME, TAKING, leavers(11)) == ([], None)
    guard = desk.store.guards["c1"]
    assert len(guard.current(APPROVED, desk.clock.now)) == 11
    assert guard.current(TAKING, desk.clock.now) == {}
    assert may_go(desk.services, HOME, leavers(1)[0].member, Entry("u0"))
    assert desk.store.guards["c1"] == guard


def test_an_approval_covers_its_members_their_action_trigger_and_time_only(desk):
    approved(desk)
    known = leavers(1)[0].member
    for member in (
        replace(known, user_id="u99"),
        replace(known, action="delete"),
        replace(known, trigger="deleted"),
        replace(known, since=NOW + HOUR),
    ):
        assert may_go(desk.services, HOME, member, None)
        assert attempt(member, None) in desk.store.guards["c1"].current(TAKING, desk.clock.now)


def test_an_approval_is_spent_once_something_was_done_to_the_user(desk):
    approved(desk)
    desk.clock.advance(HOUR)
    again = replace(leavers(1)[0], entry=Entry("u0", status=Status.ACTIVE, last_action_at=desk.clock.now))
    for _ in range(3):
        assert may_go(desk.services, HOME, again.member, again.entry)
    assert len(desk.store.guards["c1"].current(TAKING, desk.clock.now)) == 1


def test_later_members_go_to_the_next_plan(desk):
    approved(desk)
    held, following = admit(desk.services, HOME, TAKING, leavers(5) + leavers(11, start=20))
    assert users(held) == {member.user_id for member in following.members} == users(leavers(11, start=20))


def test_an_approval_that_ran_out_is_asked_for_again(desk):
    digest = approved(desk)
    desk.clock.advance(WINDOW)
    held, again = admit(desk.services, HOME, TAKING, leavers(11))
    assert (len(held), again.state, again.digest != digest) == (11, HoldState.WAITING, True)


def test_whoever_waits_in_a_plan_does_not_slip_through_one_by_one(desk):
    admit(desk.services, HOME, TAKING, leavers(11))
    assert not may_go(desk.services, HOME, leavers(1)[0].member, Entry("u0"))


def test_what_was_rejected_is_kept_and_takes_no_room_from_others(desk):
    _, hold = admit(desk.services, HOME, TAKING, leavers(12))
    decide_hold(desk.services, "c1", hold.digest, "reject", ADMIN)
    held, none = admit(desk.services, HOME, TAKING, leavers(12) + leavers(10, start=20))
    assert (users(held), none) == (users(leavers(12)), None)
    assert not may_go(desk.services, HOME, leavers(1)[0].member, Entry("u0"))


def test_some_or_one_cause_of_a_plan_are_decided_and_decisions_are_reversed_and_taken_back(desk):
    _, hold = admit(desk.services, HOME, TAKING, leavers(10) + leavers(5, start=20, trigger="app_off"))
    decided = decide_hold(desk.services, "c1", hold.digest, "reject", ADMIN, cause="suspended")
    assert (decided.state, decided.standings()) == (HoldState.WAITING, {"rejected": 10, "waiting": 5})
    decided = decide_hold(desk.services, "c1", hold.digest, "approve", ADMIN)
    assert (decided.state, decided.standings()) == (HoldState.APPROVED, {"rejected": 10, "approved": 5})
    decided = decide_hold(desk.services, "c1", hold.digest, "approve", ADMIN, users=["u0", "u1"])
    assert decided.standings() == {"rejected": 8, "approved": 7}
    decided = decide_hold(desk.services, "c1", hold.digest, "withdraw", ADMIN, cause="app_off")
    assert decided.standings() == {"rejected": 8, "approved": 2, "withdrawn": 5}
    held, _ = admit(desk.services, HOME, TAKING, leavers(5, start=20, trigger="app_off"))
    assert len(held) == 5, "what was taken back is no matter of room"
    assert {member.user_id for member in decided.those(Standing.APPROVED)} == {"u0", "u1"}
    for choice, named in (("reject", {"users": ["u77"]}), ("reject", {"cause": "deleted"})):
        with pytest.raises(BadInput):
            decide_hold(desk.services, "c1", hold.digest, choice, ADMIN, **named)


def test_decisions_are_audited_and_made_once(desk):
    _, hold = admit(desk.services, HOME, TAKING, leavers(11))
    decided = decide_hold(desk.services, "c1", hold.digest, "reject", ADMIN)
    assert (decided.state, decided.decided_by) == (HoldState.REJECTED, "admin@x.org")
    with pytest.raises(Stale, match="rejected"):
        decide_hold(desk.services, "c1", hold.digest, "approve", ADMIN)
    with pytest.raises(NotFound, match="nonsense"):
        decide_hold(desk.services, "c1", "nonsense", "approve", ADMIN)
    assert [event.actor for event in desk.store.events["c1"].values()] == ["run", "admin@x.org"]


def vanished(user_id: str) -> Change:
    return Change("x", Entry(user_id, scim_id=f"k-{user_id}", status=Status.ACTIVE), Action.UPDATE, "")


def test_runs_notifications_and_recreations_share_one_count(desk):
    admit(desk.services, HOME, TAKING, leavers(8))
    assert may_go(desk.services, HOME, Member("u50", "delete", "deleted", NOW), None)
    assert may_recreate(desk.services, HOME, vanished("u51"))
    assert not may_recreate(desk.services, HOME, vanished("u52"))
    assert not may_go(desk.services, HOME, Member("u53", "suspend", "deleted", NOW), None)
    assert may_go(desk.services, HOME, leavers(2)[1].member, Entry("u1"))  # a run reserved it already


def test_each_connection_has_a_guard_of_its_own(desk):
    admit(desk.services, HOME, TAKING, leavers(10))
    assert may_recreate(desk.services, Connection("c2"), vanished("u1"))
