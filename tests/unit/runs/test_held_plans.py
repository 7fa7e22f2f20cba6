"""Held plans: what is held, what is decided about it, and what goes by a decision."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.app.provisioning.volume_guard import may_go, remember_active, reserve_all
from autoprovisioning.app.runs.hold_plan import DueChange, admit
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Entry, Status
from autoprovisioning.domain.errors import BadInput, NotFound, Stale
from autoprovisioning.domain.events import Actor, EventName
from autoprovisioning.domain.guard import APPROVED, WINDOW, Kind, Member, attempt
from autoprovisioning.domain.holds import Hold, HoldState, Standing, digest_of
from tests.support.builders import NOW
from tests.support.in_memory import FakeServices

HOME = Connection(id="c1")
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
ADMIN = Actor(address="admin@x.org", directory_id="u0")
TAKING = Kind.TAKING


def test_a_digest_names_the_set_whatever_its_order_and_when_it_was_raised():
    members = [Member(resource="u2", action="suspend"), Member(resource="u1", action="delete")]
    assert digest_of(members, NOW) == digest_of(members[::-1], NOW)
    assert digest_of(members, NOW) != digest_of(members, NOW + SECOND)
    assert digest_of(members, NOW) != digest_of(members[:1], NOW)


@pytest.fixture
def fakes() -> FakeServices:
    return FakeServices()


def leavers(number: int, start: int = 0, trigger: str = "suspended") -> list[DueChange]:
    names = [f"u{index}" for index in range(start, start + number)]
    return [
        DueChange(
            member=Member(resource=name, action="suspend", trigger=trigger, since=NOW),
            entry=Entry(user_id=name, status=Status.ACTIVE),
        )
        for name in names
    ]


def run(fakes: FakeServices, wanted: list[DueChange], *, whole: bool = True) -> tuple[list[DueChange], Hold | None]:
    return admit(fakes.services, HOME, TAKING, wanted, fakes.services.holds.standing(HOME.id), whole=whole)


def users(held: list[DueChange]) -> set[str]:
    return {each.member.resource for each in held}


def test_a_plan_within_the_limit_is_admitted(fakes):
    assert run(fakes, leavers(10)) == ([], None)


def test_nothing_to_admit_is_not_written(fakes):
    assert run(fakes, []) == ([], None)
    assert fakes.store.guards == {}


def test_a_plan_above_the_limit_is_held_as_a_whole(fakes):
    held, hold = run(fakes, leavers(11))
    assert users(held) == users(leavers(11))
    assert (hold.state, hold.counts()) == (HoldState.WAITING, {"suspend": 11})
    assert hold.reason == "11 suspensions would exceed the limit of 10 within 24 hours"
    assert reserve_all(fakes.services, HOME, TAKING, [str(number) for number in range(10)])  # nothing was taken
    (event,) = fakes.store.events["c1"].values()
    assert (event.name, hold.digest in event.reason) == (EventName.HELD, True)


@pytest.mark.parametrize(("people", "leaving"), [(2, 2), (5, 5), (9, 9), (10, 10), (4, 2), (20, 10)])
def test_whoever_takes_access_from_half_of_the_active_is_held(fakes, people, leaving):
    remember_active(fakes.services, HOME, people)
    held, hold = run(fakes, leavers(leaving))
    assert len(held) == leaving
    assert "never taken from half of the active people at once" in hold.reason


@pytest.mark.parametrize(("people", "leaving"), [(1, 1), (2, 1), (3, 1), (5, 2), (9, 4), (10, 4), (20, 9)])
def test_one_person_or_fewer_than_half_may_leave_at_once(fakes, people, leaving):
    remember_active(fakes.services, HOME, people)
    assert run(fakes, leavers(leaving)) == ([], None)


def test_half_of_those_left_after_an_approved_plan_are_held(fakes):
    remember_active(fakes.services, HOME, 100)
    _, hold = run(fakes, leavers(80))
    decide_hold(fakes.services, HOME.id, hold.digest, "approve", ADMIN)
    assert run(fakes, leavers(80)) == ([], None)
    remember_active(fakes.services, HOME, 20)
    held, second = run(fakes, leavers(80) + leavers(10, start=80))
    assert users(held) == {member.resource for member in second.members} == users(leavers(10, start=80))
    assert "never taken from half" in second.reason
    assert run(fakes, leavers(80) + leavers(9, start=80)) == ([], None)


def test_the_same_plan_is_raised_once(fakes):
    _, first = run(fakes, leavers(11))
    fakes.clock.advance(timedelta(minutes=15))
    _, second = run(fakes, leavers(11))
    assert second == first
    assert len(fakes.store.events["c1"]) == 1


def test_a_plan_that_changed_replaces_the_one_that_waits(fakes):
    _, first = run(fakes, leavers(11))
    fakes.clock.advance(SECOND)
    _, second = run(fakes, leavers(12))
    assert [hold.digest for hold in fakes.services.holds.standing("c1")] == [second.digest]
    assert fakes.services.holds.get("c1", first.digest).state is HoldState.SUPERSEDED
    with pytest.raises(Stale):
        decide_hold(fakes.services, "c1", first.digest, "approve", ADMIN)


@pytest.mark.parametrize("later", [0, 3])
def test_a_plan_ends_by_itself_where_it_is_empty_or_fits(fakes, later):
    run(fakes, leavers(11))
    assert run(fakes, leavers(later)) == ([], None)
    assert fakes.services.holds.standing("c1") == []


def test_a_plan_of_listings_that_broke_off_ends_nothing(fakes):
    _, hold = run(fakes, leavers(11))
    run(fakes, [], whole=False)
    assert fakes.services.holds.standing("c1") == [hold]


def approved(fakes: FakeServices, number: int = 11) -> str:
    _, hold = run(fakes, leavers(number))
    decide_hold(fakes.services, "c1", hold.digest, "approve", ADMIN)
    return hold.digest


def test_an_approved_plan_goes_on_and_is_noted_but_not_counted(fakes):
    approved(fakes)
    assert run(fakes, leavers(11)) == ([], None)
    guard = fakes.store.guards["c1"]
    assert len(guard.current(APPROVED, fakes.clock.now)) == 11
    assert guard.current(TAKING, fakes.clock.now) == {}
    assert may_go(fakes.services, HOME, leavers(1)[0].member, Entry(user_id="u0"))
    assert fakes.store.guards["c1"] == guard


def test_an_approval_covers_its_members_their_action_trigger_and_time_only(fakes):
    approved(fakes)
    known = leavers(1)[0].member
    for member in (
        replace(known, resource="u99"),
        replace(known, action="delete"),
        replace(known, trigger="deleted"),
        replace(known, since=NOW + HOUR),
    ):
        assert may_go(fakes.services, HOME, member, None)
        assert attempt(member, None) in fakes.store.guards["c1"].current(TAKING, fakes.clock.now)


def test_an_approval_is_spent_once_something_was_done_to_the_user(fakes):
    approved(fakes)
    fakes.clock.advance(HOUR)
    again = replace(leavers(1)[0], entry=Entry(user_id="u0", status=Status.ACTIVE, last_action_at=fakes.clock.now))
    for _ in range(3):
        assert may_go(fakes.services, HOME, again.member, again.entry)
    assert len(fakes.store.guards["c1"].current(TAKING, fakes.clock.now)) == 1


def test_later_members_go_to_the_next_plan(fakes):
    approved(fakes)
    held, following = run(fakes, leavers(5) + leavers(11, start=20))
    assert users(held) == {member.resource for member in following.members} == users(leavers(11, start=20))


def test_an_approval_that_ran_out_is_asked_for_again(fakes):
    digest = approved(fakes)
    fakes.clock.advance(WINDOW)
    held, again = run(fakes, leavers(11))
    assert (len(held), again.state, again.digest != digest) == (11, HoldState.WAITING, True)


def test_whoever_waits_in_a_plan_does_not_slip_through_one_by_one(fakes):
    run(fakes, leavers(11))
    assert not may_go(fakes.services, HOME, leavers(1)[0].member, Entry(user_id="u0"))


def test_what_was_rejected_is_kept_and_takes_no_room_from_others(fakes):
    _, hold = run(fakes, leavers(12))
    decide_hold(fakes.services, "c1", hold.digest, "reject", ADMIN)
    held, none = run(fakes, leavers(12) + leavers(10, start=20))
    assert (users(held), none) == (users(leavers(12)), None)
    assert not may_go(fakes.services, HOME, leavers(1)[0].member, Entry(user_id="u0"))


def test_some_or_one_cause_of_a_plan_are_decided_and_decisions_are_reversed_and_taken_back(fakes):
    _, hold = run(fakes, leavers(10) + leavers(5, start=20, trigger="app_off"))
    decided = decide_hold(fakes.services, "c1", hold.digest, "reject", ADMIN, cause="suspended")
    assert (decided.state, decided.standings()) == (HoldState.WAITING, {"rejected": 10, "waiting": 5})
    decided = decide_hold(fakes.services, "c1", hold.digest, "approve", ADMIN)
    assert (decided.state, decided.standings()) == (HoldState.APPROVED, {"rejected": 10, "approved": 5})
    decided = decide_hold(fakes.services, "c1", hold.digest, "approve", ADMIN, users=["u0", "u1"])
    assert decided.standings() == {"rejected": 8, "approved": 7}
    decided = decide_hold(fakes.services, "c1", hold.digest, "withdraw", ADMIN, cause="app_off")
    assert decided.standings() == {"rejected": 8, "approved": 2, "withdrawn": 5}
    held, _ = run(fakes, leavers(5, start=20, trigger="app_off"))
    assert len(held) == 5, "what was taken back is no matter of room"
    assert {member.resource for member in decided.those(Standing.APPROVED)} == {"u0", "u1"}
    for choice, named in (("reject", {"users": ["u77"]}), ("reject", {"cause": "deleted"})):
        with pytest.raises(BadInput):
            decide_hold(fakes.services, "c1", hold.digest, choice, ADMIN, **named)


def test_decisions_are_audited_and_made_once(fakes):
    _, hold = run(fakes, leavers(11))
    decided = decide_hold(fakes.services, "c1", hold.digest, "reject", ADMIN)
    assert (decided.state, decided.decided_by) == (HoldState.REJECTED, "admin@x.org")
    with pytest.raises(Stale, match="rejected"):
        decide_hold(fakes.services, "c1", hold.digest, "approve", ADMIN)
    with pytest.raises(NotFound, match="nonsense"):
        decide_hold(fakes.services, "c1", "nonsense", "approve", ADMIN)
    assert [event.actor for event in fakes.store.events["c1"].values()] == ["run", "admin@x.org"]
