"""Decisions about held plans at work: spent once, kept for whom they name, taken back, and over by themselves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.administration.held_plans import Choice, decide_hold
from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.deprovisioning import Delays
from autoprovisioning.domain.entry import Entry, Status
from autoprovisioning.domain.events import Actor, EventName
from autoprovisioning.domain.holds import Hold, HoldState
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.settings import Settings, VolumeLimit
from tests.support.builders import active, notice
from tests.support.scenario import Scenario
from tests.support.settings import with_settings

ADMIN = Actor(address="admin@example.com", directory_id="u0")
QUARTER = timedelta(minutes=15)
DAY = timedelta(days=1)


def company(people: int, limit: int = 10, settles: timedelta = 2 * DAY) -> Scenario:
    """People who have had their accounts for two days, beside the scenario's own."""
    scenario = Scenario()
    for number in range(people):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    scenario.fakes.store.guards.clear()  # as if this were the first run
    scenario.run()
    assert all(active(scenario, f"x{number}") == [True] for number in range(people))
    scenario.services.connections.change("c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=limit)))
    for _ in range(2):
        scenario.fakes.clock.advance(settles / 2)
        scenario.run()
    return scenario


def run(scenario: Scenario, after: timedelta = QUARTER) -> None:
    scenario.fakes.clock.advance(after)
    scenario.run()


def plans(scenario: Scenario) -> list[Hold]:
    return list(scenario.services.holds.standing("c1"))


def decide(scenario: Scenario, choice: Choice, **about) -> None:
    waiting = [hold for hold in plans(scenario) if hold.state is HoldState.WAITING or choice == "withdraw"]
    decide_hold(scenario.services, "c1", waiting[0].digest, choice, ADMIN, **about)


def suspended(scenario: Scenario) -> int:
    return sum(not account.active for account in scenario.keeper.accounts.values())


def told(scenario: Scenario) -> list[str]:
    events = sorted(scenario.fakes.store.events["c1"].values(), key=lambda event: event.at)
    return [event.reason for event in events if event.name is EventName.HELD]


def emptied(scenario: Scenario) -> dict:
    """Let the listing of users come back empty; everybody is there when asked for alone."""
    scenario.directory.users = lambda fields: iter(())
    return scenario.directory.live


def test_the_suspensions_after_an_approved_empty_listing_are_held():
    scenario = company(152)
    emptied(scenario)
    run(scenario)
    (hold,) = plans(scenario)
    assert hold.counts() == {"suspend": 155}
    decide(scenario, "approve")
    run(scenario, timedelta(minutes=1))
    assert (suspended(scenario), plans(scenario)) == (0, [])
    assert told(scenario)[-1] == f"Plan {hold.digest} carried out: 155 no longer due"
    del scenario.directory.users
    run(scenario)
    for number in range(150):
        scenario.suspend(f"x{number}")
    run(scenario)
    (second,) = plans(scenario)
    assert (suspended(scenario), second.counts(), second.state) == (0, {"suspend": 150}, HoldState.WAITING)


def test_an_approved_plan_is_carried_out_once_and_says_so():
    scenario = company(40)
    for number in range(15):
        scenario.suspend(f"x{number}")
    run(scenario)
    digest = plans(scenario)[0].digest
    scenario.restore("x14")
    decide(scenario, "approve")
    run(scenario, timedelta(minutes=1))
    assert (suspended(scenario), plans(scenario)) == (14, [])
    assert told(scenario)[-1] == f"Plan {digest} carried out: 14 suspended, 1 no longer due"
    for account in scenario.keeper.accounts.values():  # somebody lets them all in again in Keeper
        scenario.keeper.accounts[account.scim_id] = replace(account, active=True)
    scenario.fakes.clock.advance(QUARTER)
    scenario.plan(RunKind.DRIFT)
    scenario.work_off()
    assert suspended(scenario) == 0
    assert plans(scenario)[0].counts() == {"suspend": 14}


def test_what_is_not_carried_out_of_an_approval_within_a_day_ends():
    scenario = company(40)
    for number in range(15):
        scenario.suspend(f"x{number}")
    run(scenario)
    decide(scenario, "approve")
    scenario.services.connections.change("c1", lambda current: replace(current, state=State.OFF))
    scenario.fakes.clock.advance(DAY)
    scenario.services.connections.change("c1", lambda current: replace(current, state=State.ON))
    run(scenario)
    (again,) = plans(scenario)
    assert (suspended(scenario), again.standings()) == (0, {"waiting": 15})
    assert any("carried out: 15 expired" in reason for reason in told(scenario))


def test_an_approval_is_taken_back_and_what_waits_is_no_matter_of_room():
    scenario = company(40)
    for number in range(11):
        scenario.suspend(f"x{number}")
    run(scenario)
    decide(scenario, "approve")
    decide(scenario, "withdraw")
    scenario.restore("x0")
    run(scenario)
    (hold,) = plans(scenario)
    assert (suspended(scenario), hold.standings()) == (0, {"withdrawn": 10, "no longer due": 1})
    decide(scenario, "approve")
    run(scenario)
    assert suspended(scenario) == 10


def test_real_leavers_are_let_go_while_the_mistakes_of_the_same_plan_stay():
    scenario = company(40)
    for number in range(10):
        scenario.leave(f"x{number}")
    for number in range(10, 15):
        scenario.suspend(f"x{number}")
    run(scenario)
    decide(scenario, "reject", cause="app_off")
    decide(scenario, "approve", cause="suspended")
    for _ in range(3):
        run(scenario)
    assert suspended(scenario) == 5
    assert [hold.standings() for hold in plans(scenario)] == [{"rejected": 10, "done": 5}]
    for number in range(20, 30):  # a rejection takes no room
        scenario.suspend(f"x{number}")
    run(scenario, DAY)
    assert suspended(scenario) == 15
    decide_hold(scenario.services, "c1", plans(scenario)[0].digest, "approve", ADMIN, users=["x0", "x1"])
    run(scenario)
    assert (suspended(scenario), active(scenario, "x0"), active(scenario, "x2")) == (17, [False], [True])


def rejected(people: int = 15) -> Scenario:
    scenario = company(40)
    for number in range(people):
        scenario.suspend(f"x{number}")
    run(scenario)
    decide(scenario, "reject")
    run(scenario)
    return scenario


def test_a_notification_while_paused_clears_no_rejection():
    scenario = rejected()
    scenario.services.connections.change("c1", lambda current: replace(current, state=State.PAUSED))
    notice(scenario, "x0")
    scenario.services.connections.change("c1", lambda current: replace(current, state=State.ON))
    notice(scenario, "x0")
    run(scenario)
    assert suspended(scenario) == 0


def test_a_rejection_outlives_a_time_in_which_nothing_is_due():
    scenario = rejected()
    never = replace(
        scenario.connection.settings.deprovisioning, suspended=Delays(suspend_after=None, delete_after=None)
    )
    now = scenario.connection.settings.deprovisioning
    for policy in (never, now):
        scenario.services.connections.change(
            "c1", lambda current, policy=policy: with_settings(current, deprovisioning=policy)
        )
        run(scenario)
        assert [hold.standings() for hold in plans(scenario)] == [{"rejected": 15}]
    assert suspended(scenario) == 0


def test_a_rejection_is_asked_about_again_after_30_days_and_kept_meanwhile():
    scenario = rejected()
    for day in range(1, 31):
        run(scenario, DAY)
        assert [hold.standings() for hold in plans(scenario)] == [{"rejected" if day < 30 else "withdrawn": 15}], day
    assert (suspended(scenario), plans(scenario)[0].state) == (0, HoldState.WAITING)
    decide(scenario, "approve")
    run(scenario)
    assert suspended(scenario) == 15


def test_an_approval_on_one_connection_says_nothing_on_another():
    scenario = rejected()
    layout = scenario.connection.roster_layout
    second = Connection(
        id="c2",
        order=1,
        state=State.ON,
        settings=Settings(endpoint="https://x.example", limit=VolumeLimit(minimum=10)),
        roster_layout=layout,
        token_version=scenario.fakes.tokens.add("c2", "secret"),
    )
    scenario.services.connections.create(second)
    for number in range(15):
        name = f"x{number}"
        entry = Entry(
            user_id=name, version=1, email=f"{name}@example.com", scim_id=f"second-{name}", status=Status.ACTIVE
        )
        seed(scenario, second, entry)
    run(scenario)
    (there,) = scenario.services.holds.standing("c2")
    decide_hold(scenario.services, "c2", there.digest, "approve", ADMIN)
    run(scenario)
    assert {scenario.entry(f"x{number}").status for number in range(15)} == {Status.ACTIVE}
    assert scenario.services.roster.entry(second, "x0").status is not Status.ACTIVE
    assert [hold.standings() for hold in plans(scenario)] == [{"rejected": 15}]


def seed(scenario: Scenario, connection: Connection, entry: Entry) -> None:
    from autoprovisioning.app.ports.roster import Edit

    scenario.services.roster.commit(
        connection, [entry.user_id], lambda _entries: (Edit(entries={entry.user_id: entry}), None)
    )


@pytest.mark.parametrize("mended", [15, 8, 1])
def test_a_plan_ends_by_itself_when_it_is_mended_or_differs(mended):
    scenario = company(40)
    for number in range(15):
        scenario.suspend(f"x{number}")
    run(scenario)
    first = plans(scenario)[0].digest
    for number in range(mended):
        scenario.restore(f"x{number}")
    run(scenario)
    assert suspended(scenario) == (15 - mended if mended == 8 else 0)
    left = {15: [], 8: [], 1: [({"no longer due": 1, "waiting": 14}, first)]}[mended]
    assert [(hold.standings(), hold.digest) for hold in plans(scenario)] == left


def test_the_same_users_suspended_again_and_again_count_each_time():
    scenario = company(60)
    for round_ in range(3):
        for number in range(10):
            scenario.suspend(f"x{number}")
        for number in range(10):
            notice(scenario, f"x{number}")
        assert suspended(scenario) == (10 if round_ == 0 else 0)
        for number in range(10):
            scenario.restore(f"x{number}")
            notice(scenario, f"x{number}")
        scenario.fakes.clock.advance(QUARTER)


def pilot(people: int) -> Scenario:
    """So few people, and nobody else, under the limits as they are by default."""
    scenario = Scenario()
    for user_id in ("u1", "u2", "u3"):
        scenario.directory.live.pop(user_id)
        scenario.leave(user_id)
    for number in range(people):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    scenario.run()
    scenario.services.connections.change("c1", lambda current: with_settings(current, limit=VolumeLimit()))
    run(scenario, DAY)
    run(scenario, DAY)
    return scenario


@pytest.mark.parametrize(("people", "leaving"), [(2, 1), (5, 2), (9, 4), (10, 4)])
def test_one_person_or_fewer_than_half_leave_a_small_company_in_one_sweep(people, leaving):
    scenario = pilot(people)
    for number in range(leaving):
        scenario.leave(f"x{number}")
    scenario.sweep()
    assert suspended(scenario) == leaving


@pytest.mark.parametrize("people", [2, 5, 9, 10])
def test_nobody_of_a_small_company_is_locked_out_at_once_by_notifications_or_a_sweep(people):
    scenario = pilot(people)
    for number in range(people):
        scenario.leave(f"x{number}")
    scenario.sweep()
    run(scenario)
    assert suspended(scenario) == 0
    assert plans(scenario)[0].counts() == {"suspend": people}
    for number in range(people):
        scenario.suspend(f"x{number}")
        notice(scenario, f"x{number}")
    assert suspended(scenario) == max(1, (people - 1) // 2)


def test_half_of_those_left_after_an_approved_plan_do_not_leave_by_notifications_either():
    scenario = company(97)
    scenario.services.connections.change("c1", lambda current: with_settings(current, limit=VolumeLimit()))
    run(scenario, DAY)
    run(scenario, DAY)
    for number in range(80):
        scenario.suspend(f"x{number}")
    run(scenario)
    decide(scenario, "approve")
    run(scenario)
    run(scenario)
    assert suspended(scenario) == 80
    for number in range(80, 97):
        scenario.suspend(f"x{number}")
        notice(scenario, f"x{number}")
    assert suspended(scenario) == 80 + 9
    run(scenario)
    assert plans(scenario)[-1].counts() == {"suspend": 17 - 9}


def test_an_approval_within_the_second_of_the_last_change_is_carried_out():
    scenario = company(30)
    for number in range(15):
        scenario.suspend(f"x{number}")
    run(scenario)
    connection = scenario.services.connections.get("c1")
    touched = scenario.fakes.clock.now + timedelta(milliseconds=100)
    for user_id, entry in scenario.services.roster.load(connection).items():
        changed = {user_id: replace(entry, last_action_at=touched)}
        scenario.services.roster.commit(connection, [user_id], lambda _, changed=changed: (Edit(entries=changed), None))
    scenario.fakes.clock.advance(timedelta(milliseconds=200))
    decide(scenario, "approve")
    run(scenario)
    assert suspended(scenario) == 15


def test_whom_a_drift_run_adds_to_a_waiting_plan_its_reason_counts_with_the_others():
    scenario = company(60)
    for number in range(30):
        scenario.suspend(f"x{number}")
    run(scenario)
    for number in range(30, 40):
        scenario.suspend(f"x{number}")
        notice(scenario, f"x{number}")
    (account,) = scenario.keeper.of("x35")
    scenario.keeper.accounts[account.scim_id] = replace(account, active=True)
    scenario.fakes.clock.advance(QUARTER)
    scenario.plan(RunKind.DRIFT)
    scenario.work_off()
    (hold,) = plans(scenario)
    assert hold.counts() == {"suspend": 31}
    assert hold.reason.startswith("31 suspensions, after 10 of the last 24 hours, would exceed the limit of 10")


def test_a_run_tells_how_many_a_rejection_keeps_beside_those_who_wait_in_the_same_plan():
    scenario = company(40)
    for number in range(20):
        scenario.suspend(f"x{number}")
    run(scenario)
    decide(scenario, "reject", users=[f"x{number}" for number in range(5)])
    scenario.fakes.clock.advance(QUARTER)
    assert "Rejected, or waiting for another decision: 5" in scenario.plan().notes
