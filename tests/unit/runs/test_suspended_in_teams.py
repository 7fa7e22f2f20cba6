"""People whose account is suspended, where they are to be taken out of their teams."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.app.administration.approve_removals import approve_removals
from autoprovisioning.app.administration.explain_teams import explain_teams
from autoprovisioning.app.services import ChangeSources
from autoprovisioning.domain.entry import Status
from autoprovisioning.domain.errors import Rejected
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.memberships import Membership
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.teams import GroupTeam
from tests.support.builders import DAY
from tests.support.scenario import Scenario, sweep
from tests.support.teams import (
    BY_PATTERN,
    ENGINEERS,
    NESTED,
    TEAM,
    choose,
    hire,
    inside,
    join,
    leave,
    run,
    with_teams,
)

REMOVED = replace(BY_PATTERN, remove_suspended=True)


@pytest.fixture
def teams(scenario: Scenario) -> Scenario:
    """A team of ten people, and a group in its group; whoever is suspended is to be taken out."""
    with_teams(scenario, ENGINEERS, NESTED).directory.nested["g7"].add("g8")
    choose(scenario, REMOVED)
    users = hire(scenario, 10)
    run(scenario)
    join(scenario, *users)
    run(scenario)
    run(scenario)  # it counts them
    scenario.sent.clear()
    assert len(inside(scenario)) == 10
    return scenario


@pytest.fixture
def order(teams: Scenario) -> list[tuple[tuple[str, ...], tuple[str, ...], bool | None]]:
    """Note what each write to Keeper sends: teams joined and left, and access."""
    order = []
    write = teams.keeper.write
    teams.keeper.write = lambda each: (order.append((each.joins, each.leaves, each.active)), write(each))[1]
    return order


def look_at_last(scenario: Scenario) -> None:
    """Deliver the notification that came last."""
    scenario.deliver(scenario.sent[-1])


def team(scenario: Scenario) -> GroupTeam:
    return scenario.services.teams.get("c1")["g7"]


@pytest.mark.parametrize("by", ["look", "run"])
def test_nobody_is_taken_out_of_a_team_whose_group_cannot_be_read(teams, by):
    teams.directory.unreadable.add("g7")
    run(teams)
    teams.suspend("x00")
    if by == "look":
        look_at_last(teams)
    else:
        run(teams)
        teams.sweep()
    assert (teams.entry("x00").status, len(inside(teams))) == (Status.SUSPENDED, 10)
    teams.directory.unreadable.clear()
    teams.sweep()
    assert (len(inside(teams)), "x00" in inside(teams)) == (9, False)


def test_a_look_suspends_first_and_takes_out_of_the_team_then_without_asking_about_its_group(teams, order, monkeypatch):
    is_member = teams.directory.is_member
    monkeypatch.setattr(
        teams.directory, "is_member", lambda group, user: is_member(group, user) if group != "g7" else 1 / 0
    )
    teams.suspend("x00")
    look_at_last(teams)
    assert order == [((), (), False), ((), (TEAM,), None)]
    assert ("x00" in inside(teams), teams.entry("x00").teams) == (False, ())
    assert team(teams).removals.users == ("x00",)
    assert run(teams).planned == {}, "nothing is left to a run, and nobody without access joins"


def test_who_returns_is_let_in_and_put_into_the_team_of_their_own_group_by_the_same_look(teams, order):
    teams.suspend("x00")
    look_at_last(teams)
    order.clear()
    teams.restore("x00")
    look_at_last(teams)
    assert order == [((), (), True), ((TEAM,), (), None)]
    assert (teams.entry("x00").status, "x00" in inside(teams)) == (Status.ACTIVE, True)


def test_who_returns_joins_the_team_of_a_nested_group_by_the_sweep(teams):
    leave(teams, "x00")
    join(teams, "x00", group=NESTED)
    teams.suspend("x00")
    look_at_last(teams)
    teams.restore("x00")
    look_at_last(teams)
    assert (teams.entry("x00").status, "x00" in inside(teams)) == (Status.ACTIVE, False)
    teams.sweep()
    assert "x00" in inside(teams)


@pytest.mark.parametrize(("by", "held"), [("looks", 2), ("a run", 6)], ids=["looks", "a run"])
def test_the_brake_of_the_team_holds_those_beyond_it_and_nobodys_suspension(teams, by, held):
    users = [f"x{each:02}" for each in range(6)]
    for user_id in users:
        teams.suspend(user_id)
        if by == "looks":
            look_at_last(teams)
    run(teams)
    assert {teams.entry(user_id).status for user_id in users} == {Status.SUSPENDED}
    run(teams)
    assert team(teams).held == held, "one by one four may go, before the fifth would be half of ten"
    assert len(inside(teams)) == 4 + held
    approve_removals(teams.services, "c1", "g7", team(teams).held_digest, Actor(address="boss@example.com"))
    run(teams)
    assert (len(inside(teams)), team(teams).held) == (4, 0)


@pytest.mark.parametrize("by", ["a run", "a sweep"])
def test_those_suspended_before_it_was_chosen_are_taken_out_too(teams, by):
    choose(teams, BY_PATTERN)
    for user_id in ("x00", "x01"):
        teams.suspend(user_id)
        look_at_last(teams)
    run(teams)
    assert len(inside(teams)) == 10
    choose(teams, REMOVED)
    if by == "a run":
        run(teams)
    else:
        teams.sweep()
    assert inside(teams) == {f"x{each:02}" for each in range(2, 10)}


def test_where_full_runs_are_rare_each_sweep_publishes_who_is_to_be_taken_out(teams):
    choose(teams, BY_PATTERN)
    teams.suspend("x00")
    look_at_last(teams)
    choose(teams, REMOVED)
    teams.services = replace(teams.services, through=ChangeSources(audit_log=True, full_run_every=DAY))
    assert [sweep(teams.services) for _ in range(2)] == [1, 1]
    assert {look.evidence.left_teams for look in teams.fakes.queue.looks} == {()}, "the group has them"
    teams.work_off()
    assert ("x00" in inside(teams), sweep(teams.services)) == (False, 0)


def test_who_is_held_and_returns_keeps_the_membership(teams, order):
    choose(teams, BY_PATTERN)
    for each in range(5):
        teams.suspend(f"x{each:02}")
        look_at_last(teams)
    choose(teams, REMOVED)
    run(teams)
    assert team(teams).held == 5
    order.clear()
    teams.restore("x00")
    run(teams)
    assert (teams.entry("x00").status, ((), (), True) in order) == (Status.ACTIVE, True)
    run(teams)
    assert "x00" in inside(teams)
    assert team(teams).held == 0, "four may go"


def test_a_removal_that_keeper_refuses_is_tried_again_and_access_is_gone_all_the_same(teams):
    teams.suspend("x00")
    teams.keeper.faults.extend([None, Rejected("400")])
    look_at_last(teams)
    assert (teams.entry("x00").status, "x00" in inside(teams)) == (Status.SUSPENDED, True)
    teams.fakes.clock.advance(DAY)
    run(teams)
    assert "x00" not in inside(teams)


def test_archived_people_and_those_locked_by_others_keep_the_teams(teams):
    teams.archive("x00")
    scim_id = teams.entry("x01").scim_id
    teams.keeper.accounts[scim_id] = replace(teams.keeper.accounts[scim_id], active=False)
    run(teams, RunKind.DRIFT)
    teams.suspend("x01")
    for _ in range(2):
        run(teams)
    assert (teams.entry("x01").status, len(inside(teams))) == (Status.LOCKED, 10)


def test_a_team_whose_group_cannot_be_read_loses_them_by_the_look_alone(teams):
    teams.directory.unreadable.add("g7")
    teams.suspend("x00")
    look_at_last(teams)
    assert "x00" not in inside(teams), "whoever is suspended leaves whatever the group has"
    teams.directory.unreadable.clear()
    assert run(teams).planned == {}


def test_why_tells_that_they_leave_since_they_are_suspended(teams):
    choose(teams, BY_PATTERN)
    teams.suspend("x00")
    look_at_last(teams)
    choose(teams, REMOVED)
    user = teams.directory.live["x00"]
    (told,) = explain_teams(teams.services, teams.connection, teams.entry("x00"), user, True).teams
    assert (told.membership, told.words) == (Membership.LEAVES, "Suspended; is taken out with the next sweep or run")
    run(teams)
    (told,) = explain_teams(teams.services, teams.connection, teams.entry("x00"), user, True).teams
    assert (told.membership, told.words) == (Membership.WAITS, "In the group; joins once access is back")
