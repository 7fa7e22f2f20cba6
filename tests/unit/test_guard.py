"""The volume guard: counting, holding as a whole, approving exactly what was shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.guarding import may_recreate, reserve_all, reserve_one
from autoprovisioning.app.holding import HONOURED_ANEW, admit, decide_hold
from autoprovisioning.domain.connections import Connection, VolumeLimit
from autoprovisioning.domain.errors import NotFound, Stale
from autoprovisioning.domain.events import Actor, EventName
from autoprovisioning.domain.guard import (
    WINDOW,
    GuardState,
    Hold,
    HoldState,
    digest_of,
    reservation,
    reserve,
)
from autoprovisioning.domain.roster import Action
from autoprovisioning.domain.runs import Look
from tests.fakes import Desk
from tests.unit.builders import NOW

HOME = Connection("c1")
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("size", "allowed"), [(0, 10), (1, 10), (200, 10), (219, 10), (220, 11), (1000, 50), (20000, 1000)]
)
def test_the_limit_is_ten_or_five_percent_of_the_roster(size, allowed):
    assert VolumeLimit().allowed(size) == allowed


def test_the_limit_can_be_chosen():
    assert VolumeLimit(minimum=3, percent=50).allowed(4) == 3
    assert VolumeLimit(minimum=3, percent=50).allowed(10) == 5


def test_a_plan_is_reserved_whole_or_not_at_all():
    first = reserve(GuardState(), ["a", "b"], 3, NOW)
    assert set(first.reserved) == {"a", "b"}
    assert reserve(first, ["c", "d"], 3, NOW) is None
    assert set(reserve(first, ["c"], 3, NOW).reserved) == {"a", "b", "c"}


def test_reserving_again_is_free_even_at_the_limit():
    full = reserve(GuardState(), ["a", "b"], 2, NOW)
    again = reserve(full, ["b", "a"], 2, NOW + SECOND)
    assert again == full
    assert reserve(full, ["a", "c"], 2, NOW) is None


def test_the_window_rolls():
    state = reserve(GuardState(roster_size=7), ["a"], 1, NOW)
    assert reserve(state, ["b"], 1, NOW + WINDOW - SECOND) is None
    later = reserve(state, ["b"], 1, NOW + WINDOW)
    assert later == GuardState({"b": NOW + WINDOW}, 7)


def test_a_limit_that_shrank_below_what_is_reserved_stops_new_ones_only():
    state = reserve(GuardState(), ["a", "b", "c"], 3, NOW)
    assert reserve(state, ["a"], 1, NOW) == state
    assert reserve(state, ["d"], 1, NOW) is None


def test_reservations_tell_users_and_actions_apart():
    names = {reservation(user, action) for user in ("u1", "u2") for action in ("suspend", "delete", "recreate")}
    assert len(names) == 6


def test_a_digest_names_the_set_whatever_its_order():
    members = [("u2", "suspend"), ("u1", "delete")]
    assert digest_of(members) == digest_of(members[::-1])
    assert digest_of(members) != digest_of([("u2", "delete"), ("u1", "suspend")])
    assert digest_of(members) != digest_of(members[:1])


def test_an_approval_lasts_a_day():
    hold = Hold("d", NOW, (("u1", "suspend"),), HoldState.APPROVED, decided_at=NOW)
    assert hold.authorises(NOW + WINDOW - SECOND)
    assert not hold.authorises(NOW + WINDOW)
    for state in (HoldState.WAITING, HoldState.REJECTED, HoldState.SUPERSEDED):
        assert not replace(hold, state=state).authorises(NOW)
    assert hold.counts() == {"suspend": 1}


@pytest.fixture
def desk() -> Desk:
    return Desk()


def leavers(number: int, start: int = 0) -> dict[str, Action]:
    return {f"u{index}": Action.SUSPEND for index in range(start, start + number)}


def test_a_plan_within_the_limit_is_admitted(desk):
    admitted, hold = admit(desk.services, HOME, leavers(10))
    assert (set(admitted.values()), len(admitted), hold) == ({""}, 10, None)


def test_nothing_to_admit_is_not_written(desk):
    assert admit(desk.services, HOME, {}) == ({}, None)
    assert desk.store.guards == {}
    assert reserve_all(desk.services, HOME, [])


def test_a_plan_above_the_limit_is_held_as_a_whole(desk):
    admitted, hold = admit(desk.services, HOME, leavers(11))
    assert admitted == {}
    assert (hold.state, hold.counts()) == (HoldState.WAITING, {"suspend": 11})
    assert hold.reason == "11 suspensions would exceed the limit of 10 within 24 hours"
    assert reserve_all(desk.services, HOME, [str(number) for number in range(10)])  # nothing was taken
    (event,) = desk.store.events["c1"].values()
    assert (event.name, hold.digest in event.reason) == (EventName.HELD, True)


def test_the_same_plan_is_raised_once(desk):
    _, first = admit(desk.services, HOME, leavers(11))
    desk.clock.advance(timedelta(minutes=15))
    _, second = admit(desk.services, HOME, leavers(11))
    assert second == first
    assert len(desk.store.events["c1"]) == 1


def test_a_plan_that_changed_replaces_the_one_that_waits(desk):
    _, first = admit(desk.services, HOME, leavers(11))
    _, second = admit(desk.services, HOME, leavers(12))
    assert [hold.digest for hold in desk.services.records.holds("c1")] == [second.digest]
    assert desk.services.records.hold("c1", first.digest).state is HoldState.SUPERSEDED
    with pytest.raises(Stale):
        decide_hold(desk.services, "c1", first.digest, approve=True, actor=Actor("a@x.org", "u0"))


def test_an_approved_plan_goes_on_and_is_not_counted_again(desk):
    _, hold = admit(desk.services, HOME, leavers(11))
    decide_hold(desk.services, "c1", hold.digest, approve=True, actor=Actor("admin@x.org", "u0"))
    admitted, none = admit(desk.services, HOME, leavers(11))
    assert (set(admitted.values()), len(admitted), none) == ({hold.digest}, 11, None)
    assert desk.store.guards.get("c1", GuardState()).reserved == {}
    look = Look("u1", hold=hold.digest)
    assert reserve_one(desk.services, HOME, look, Action.SUSPEND)
    assert desk.store.guards.get("c1", GuardState()).reserved == {}


def test_an_approval_covers_its_members_and_their_action_only(desk):
    _, hold = admit(desk.services, HOME, leavers(11))
    decide_hold(desk.services, "c1", hold.digest, approve=True, actor=Actor("admin@x.org", "u0"))
    for user_id, action in (("u99", Action.SUSPEND), ("u1", Action.DELETE)):
        assert reserve_one(desk.services, HOME, Look(user_id, hold=hold.digest), action)
        assert reservation(user_id, action.value) in desk.store.guards["c1"].reserved


def test_later_members_go_to_the_next_hold_and_those_no_longer_due_drop_out(desk):
    _, hold = admit(desk.services, HOME, leavers(11))
    decide_hold(desk.services, "c1", hold.digest, approve=True, actor=Actor("admin@x.org", "u0"))
    grown = leavers(5) | leavers(11, start=20)
    admitted, following = admit(desk.services, HOME, grown)
    assert admitted == dict.fromkeys(leavers(5), hold.digest)
    assert {user_id for user_id, _ in following.members} == set(leavers(11, start=20))


def test_an_approval_that_ran_out_is_asked_for_again(desk):
    _, hold = admit(desk.services, HOME, leavers(11))
    decide_hold(desk.services, "c1", hold.digest, approve=True, actor=Actor("admin@x.org", "u0"))
    desk.clock.advance(WINDOW)
    admitted, again = admit(desk.services, HOME, leavers(11))
    assert (admitted, again.digest, again.state) == ({}, hold.digest, HoldState.WAITING)
    assert reserve_one(desk.services, HOME, Look("u1", hold=hold.digest), Action.SUSPEND)
    assert len(desk.store.guards["c1"].reserved) == 1


def test_a_rejected_plan_is_raised_again_only_when_it_grows(desk):
    _, hold = admit(desk.services, HOME, leavers(12))
    decide_hold(desk.services, "c1", hold.digest, approve=False, actor=Actor("admin@x.org", "u0"))
    for fewer in (12, 11):
        admitted, still = admit(desk.services, HOME, leavers(fewer))
        assert (admitted, still.state) == ({}, HoldState.REJECTED)
    _, grown = admit(desk.services, HOME, leavers(13))
    assert grown.state is HoldState.WAITING
    assert desk.services.records.hold("c1", hold.digest).state is HoldState.REJECTED


def test_a_rejected_plan_is_noted_to_be_honoured_while_it_keeps_somebody_back_and_not_at_every_run(desk):
    _, hold = admit(desk.services, HOME, leavers(12))
    decide_hold(desk.services, "c1", hold.digest, approve=False, actor=Actor("admin@x.org", "u0"))
    noted = []
    for due in (leavers(12), leavers(12), leavers(1, start=90), leavers(3)):
        desk.clock.advance(HONOURED_ANEW / 2)
        admit(desk.services, HOME, due, frozenset(due))
        noted.append(desk.services.records.hold("c1", hold.digest).honoured)
    start = desk.clock.now - 2 * HONOURED_ANEW
    assert noted == [None, start + HONOURED_ANEW, start + HONOURED_ANEW, start + 2 * HONOURED_ANEW]


def test_decisions_are_audited_and_made_once(desk):
    _, hold = admit(desk.services, HOME, leavers(11))
    decided = decide_hold(desk.services, "c1", hold.digest, approve=False, actor=Actor("admin@x.org", "u0"))
    assert (decided.state, decided.decided_by) == (HoldState.REJECTED, "admin@x.org")
    with pytest.raises(Stale, match="rejected already"):
        decide_hold(desk.services, "c1", hold.digest, approve=True, actor=Actor("admin@x.org", "u0"))
    with pytest.raises(NotFound, match="nonsense"):
        decide_hold(desk.services, "c1", "nonsense", approve=True, actor=Actor("admin@x.org", "u0"))
    assert [event.actor for event in desk.store.events["c1"].values()] == ["run", "admin@x.org"]


def test_runs_webhooks_and_recreations_share_one_count(desk):
    admit(desk.services, HOME, leavers(8))
    assert reserve_one(desk.services, HOME, Look("u50"), Action.DELETE)
    assert may_recreate(desk.services, HOME, "u51")
    assert not may_recreate(desk.services, HOME, "u52")
    assert not reserve_one(desk.services, HOME, Look("u53"), Action.SUSPEND)
    assert reserve_one(desk.services, HOME, Look("u1"), Action.SUSPEND)  # a run reserved it already


def test_each_connection_has_a_guard_of_its_own(desk):
    admit(desk.services, HOME, leavers(10))
    assert may_recreate(desk.services, Connection("c2"), "u1")
