"""Which teams each person is to be in, and how many people a team may lose at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprovisioning.domain.entry import Entry, Status, Timer, Trigger, Unseen
from autoprovisioning.domain.memberships import (
    WINDOW,
    ApprovedRemovals,
    Memberships,
    Removals,
    Unsettled,
    digest_of,
    leaving,
    released,
    sizes,
    unsettled,
)
from tests.support.builders import NOW

READ = {"t1": frozenset({"u1", "u2"}), "t2": frozenset({"u1"}), "t3": None}


@pytest.mark.parametrize(
    ("user_id", "sent", "joins", "held", "wanted"),
    [
        pytest.param("u1", (), True, (), ("t1", "t2"), id="joins"),
        pytest.param("u1", ("t1",), True, (), ("t1", "t2"), id="joins another"),
        pytest.param("u1", (), False, (), (), id="has no access"),
        pytest.param("u1", ("t1",), False, (), ("t1",), id="has no access and stays"),
        pytest.param("u2", ("t1", "t2"), True, (), ("t1",), id="leaves"),
        pytest.param("u2", ("t1", "t2"), False, (), ("t1",), id="leaves without access"),
        pytest.param("u2", ("t1", "t2"), True, ("t2",), ("t1", "t2"), id="removals are held"),
        pytest.param("u1", (), True, ("t1", "t2"), ("t1", "t2"), id="joins while removals are held"),
        pytest.param("u9", ("t3",), True, (), ("t3",), id="the group was not read"),
        pytest.param("u9", ("t8",), True, (), ("t8",), id="the group is not chosen any more"),
        pytest.param("u9", (), True, (), (), id="is in no group"),
    ],
)
def test_who_is_to_be_in_which_team(user_id, sent, joins, held, wanted):
    assert Memberships(READ, held).wanted(user_id, sent, joins=joins) == wanted


@pytest.mark.parametrize(
    ("sent", "held", "wanted"),
    [
        pytest.param(("t1", "t2"), (), (), id="leaves though the groups have them"),
        pytest.param(("t1", "t2"), ("t2",), ("t2",), id="removals are held"),
        pytest.param(("t1", "t3", "t8"), (), ("t3", "t8"), id="the group was not read, or is not chosen any more"),
        pytest.param((), (), (), id="was in none"),
    ],
)
def test_who_is_to_leave_whatever_the_groups_are(sent, held, wanted):
    memberships = Memberships(READ, held)
    assert memberships.wanted("u1", sent, joins=False, leaves=True) == wanted
    assert memberships.undecided("u1", sent, joins=False, leaves=True) == wanted
    assert {*memberships.inside("u1", sent, leaves=True)} == {"t1", "t2"} - {*sent} | {*sent} & {"t3", "t8"}


def test_those_who_leave_are_counted_by_team_as_far_as_the_group_was_read():
    roster = [
        Entry(user_id="u1", teams=("t1", "t2", "t3")),
        Entry(user_id="u7", teams=("t1",), asked=("t2",)),
        Entry(user_id="u8", teams=("t1", "t3", "t8")),
        Entry(user_id="u9"),
    ]
    assert leaving(roster, READ) == {"t1": {"u7", "u8"}, "t2": {"u7"}}
    assert sizes(roster) == {"t1": 3, "t2": 1, "t3": 2, "t8": 1}


def test_suspended_people_are_counted_where_they_are_to_leave_unless_they_are_about_to_return():
    def entry(user_id, status, **rest):
        return Entry(user_id=user_id, status=status, teams=("t1",), **rest)

    timer = {Trigger.SUSPENDED: Timer(since=NOW, running_since=NOW)}
    roster = [
        entry("u1", Status.SUSPENDED, in_scope=True, timers=timer),
        entry("u2", Status.SUSPENDED, in_scope=True),
        entry("u1", Status.ACTIVE, in_scope=True, timers=timer),
        entry("u2", Status.LOCKED, in_scope=False),
    ]
    assert leaving(roster, READ, suspended=True) == {"t1": {"u1"}}
    assert leaving(roster, READ) == {}


def test_what_keeper_does_not_show_is_counted_by_team_of_those_with_access():
    def unseen(team_id, days, *, seen=False):
        return Unseen(team_id=team_id, since=NOW - timedelta(days=days), seen=seen)

    roster = [
        Entry(user_id="u1", status=Status.ACTIVE, teams=("t1", "t2"), unseen=(unseen("t1", 3), unseen("t2", 14))),
        Entry(user_id="u2", status=Status.ACTIVE, teams=("t1",), unseen=(unseen("t1", 5),)),
        Entry(user_id="u3", status=Status.ACTIVE, teams=("t1", "t2"), unseen=(unseen("t2", 99, seen=True),)),
        Entry(user_id="u4", status=Status.SUSPENDED, teams=("t1",), unseen=(unseen("t1", 30),)),
        Entry(user_id="u5", status=Status.ACTIVE, teams=(), unseen=(unseen("t1", 30),)),
    ]
    assert unsettled(roster, timedelta(days=14), NOW) == {
        "t1": Unsettled(waiting=2, since=NOW - timedelta(days=5)),
        "t2": Unsettled(since=NOW - timedelta(days=14), late=1, ended=1),
    }


def people(number: int, first: int = 0) -> set[str]:
    return {f"u{each:05}" for each in range(first, first + number)}


@pytest.mark.parametrize(
    ("leaves", "size", "goes"),
    [
        (1, 1, True), (1, 2, True), (1, 1000, True), (2, 2, False), (2, 4, False), (2, 5, True), (20, 41, True),
        (20, 40, False), (21, 100, False), (100, 1000, True), (101, 1000, False),
    ],
)  # fmt: skip
def test_how_many_go_at_once(leaves, size, goes):
    window = released(people(leaves), size, None, NOW)
    assert (window is not None) is goes
    assert released(people(leaves), size, None, NOW, approved=NOW) == Removals(
        since=NOW, approved=tuple(sorted(people(leaves))), approved_at=(NOW,) * leaves
    )


def test_a_days_removals_count_together_and_those_who_come_again_count_once():
    window = released(people(15), 100, None, NOW)
    later = NOW + timedelta(hours=23)
    again = released(people(15), 100, window, later)
    assert (again.since, again.users, again.approved) == (window.since, window.users, window.approved)
    assert released(people(5, first=15), 85, window, later) is not None
    assert released(people(6, first=15), 85, window, later) is None
    assert released(people(6, first=15), 85, window, NOW + WINDOW) is not None


def test_what_was_approved_counts_no_more():
    window = released(people(50), 100, None, NOW, approved=NOW)
    assert released(people(50), 100, window, NOW) is not None
    assert released(people(20, first=50), 50, window, NOW).users == tuple(sorted(people(20, first=50)))
    assert released(people(25, first=50), 50, window, NOW) is None


def test_an_approval_lasts_24_hours_from_when_it_was_given_whenever_the_window_began():
    window = released(people(1, first=90), 100, None, NOW)
    given = NOW + timedelta(hours=20)
    window = released(people(50), 99, window, given + timedelta(minutes=5), approved=given)
    more = released(people(10, first=50), 49, window, NOW + timedelta(hours=40), approved=NOW + timedelta(hours=40))
    assert {*more.lasting(NOW + timedelta(hours=43)).approved} == people(60)
    assert {*more.lasting(given + WINDOW).approved} == people(10, first=50)
    assert released(people(50), 99, window, given + timedelta(hours=23)) is not None
    assert released(people(50), 99, window, given + WINDOW) is None


def test_an_approval_that_is_spent_lets_nobody_go_again_and_is_not_taken_over_twice():
    approval = ApprovedRemovals(group_id="g1", digest=digest_of(people(50)), by="boss", at=NOW)
    assert approval.covers(people(50), None, NOW)
    window = released(people(50), 100, None, NOW, approved=NOW)
    assert not approval.covers(people(50), window, NOW)
    assert replace(approval, at=NOW + timedelta(hours=1)).covers(people(50), window, NOW + timedelta(hours=1))
    spent = window.spent(people(40))
    assert {*spent.approved} == people(10, first=40)
    assert not approval.covers(people(50), spent, NOW)
    assert released(people(50), 100, spent, NOW) is None
    assert released(people(10, first=40), 100, spent, NOW) is not None


def test_approvals_of_earlier_versions_count_from_the_beginning_of_the_window():
    window = Removals(since=NOW, approved=("u1", "u2"))
    assert window.approvals == {"u1": NOW, "u2": NOW}
    assert (window.spent(["u1"]).approvals, window.lasting(NOW + WINDOW).approved) == ({"u2": NOW}, ())


@pytest.mark.parametrize("number", [1, 2, 20])
def test_of_a_team_that_is_emptied_nobody_goes_unless_that_is_approved(number):
    leaves = people(number)
    assert released(leaves, 1_000, None, NOW, emptied=True) is None
    window = released(leaves, 1_000, None, NOW, approved=NOW, emptied=True)
    assert window == Removals(since=NOW, approved=tuple(sorted(leaves)), approved_at=(NOW,) * number)
    assert released(leaves, 1_000, window, NOW + timedelta(hours=23), emptied=True) == window, "it was not done yet"
    assert released(people(1, first=99), 1_000, window, NOW, emptied=True) is None
    assert released(leaves, 1_000, window, NOW + WINDOW, emptied=True) is None


def test_one_after_the_other_does_not_empty_a_team():
    window, size = None, 4
    for number in range(4):
        window = released(people(1, first=number), size - number, window, NOW) or window
    assert len(window.users) == 1


IDS = st.sets(st.sampled_from([f"u{number}" for number in range(6)]))
TEAMS = ("t1", "t2", "t3")
MEMBERS = st.fixed_dictionaries({team: st.one_of(st.none(), IDS.map(frozenset)) for team in TEAMS})
SENT = st.sets(st.sampled_from([*TEAMS, "gone"])).map(lambda teams: tuple(sorted(teams)))


@given(members=MEMBERS, sent=SENT, joins=st.booleans(), held=st.sets(st.sampled_from(TEAMS)))
def test_nobody_joins_without_the_directory_and_nobody_leaves_on_what_was_not_read(members, sent, joins, held):
    known = Memberships(members, held)
    for user_id in (f"u{number}" for number in range(7)):
        wanted = known.wanted(user_id, sent, joins=joins)
        assert wanted == tuple(sorted(set(wanted)))
        for team in set(wanted) - set(sent):
            assert joins
            assert user_id in members[team]
        for team in set(sent) - set(wanted):
            assert members[team] is not None
            assert user_id not in members[team]
            assert team not in held
        assert known.wanted(user_id, wanted, joins=joins) == wanted, "once it is so nothing is left to do"


def test_the_limit_holds_in_any_24_hours_whenever_the_first_of_them_left():
    window = released(people(1), 100, None, NOW)
    later = NOW + timedelta(hours=23)
    window = released(people(19, first=1), 99, window, later)
    assert released(people(2, first=20), 80, window, NOW + WINDOW) is None
    assert released(people(1, first=20), 80, window, NOW + WINDOW) is not None
    assert released(people(20, first=20), 80, window, later + WINDOW) is not None


def test_who_is_still_to_leave_counts_from_when_they_were_last_let_out():
    window = released(people(1), 4, None, NOW)
    again = released(people(1), 4, window, NOW + timedelta(hours=23))
    assert released(people(1, first=1), 3, again, NOW + WINDOW) is None
    assert released(people(1, first=1), 3, window, NOW + WINDOW) is not None
