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
from tests.support.scenario import Office
from tests.support.settings import with_settings

ADMIN = Actor(address="admin@example.com", directory_id="u0")
QUARTER = timedelta(minutes=15)
DAY = timedelta(days=1)


def company(people: int, limit: int = 10, settles: timedelta = 2 * DAY) -> Office:
    """People who have had their accounts for two days, beside the office's own."""
    office = Office()
    for number in range(people):
        office.hire(f"x{number}", f"x{number}@example.com")
    office.desk.store.guards.clear()  # as if this were the first run
    office.run()
    assert all(active(office, f"x{number}") == [True] for number in range(people))
    office.services.connections.change("c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=limit)))
    for _ in range(2):
        office.desk.clock.advance(settles / 2)
        office.run()
    return office


def run(office: Office, after: timedelta = QUARTER) -> None:
    office.desk.clock.advance(after)
    office.run()


def plans(office: Office) -> list[Hold]:
    return list(office.services.holds.standing("c1"))


def decide(office: Office, choice: Choice, **about) -> None:
    waiting = [hold for hold in plans(office) if hold.state is HoldState.WAITING or choice == "withdraw"]
    decide_hold(office.services, "c1", waiting[0].digest, choice, ADMIN, **about)


def suspended(office: Office) -> int:
    return sum(not account.active for account in office.keeper.accounts.values())


def told(office: Office) -> list[str]:
    events = sorted(office.desk.store.events["c1"].values(), key=lambda event: event.at)
    return [event.reason for event in events if event.name is EventName.HELD]


def emptied(office: Office) -> dict:
    """Let the listing of users come back empty; everybody is there when asked for alone."""
    office.directory.users = lambda fields: iter(())
    return office.directory.live


def test_the_suspensions_after_an_approved_empty_listing_are_held():
    office = company(152)
    emptied(office)
    run(office)
    (hold,) = plans(office)
    assert hold.counts() == {"suspend": 155}
    decide(office, "approve")
    run(office, timedelta(minutes=1))
    assert (suspended(office), plans(office)) == (0, [])
    assert told(office)[-1] == f"Plan {hold.digest} carried out: 155 no longer due"
    del office.directory.users
    run(office)
    for number in range(150):
        office.suspend(f"x{number}")
    run(office)
    (second,) = plans(office)
    assert (suspended(office), second.counts(), second.state) == (0, {"suspend": 150}, HoldState.WAITING)


def test_an_approved_plan_is_carried_out_once_and_says_so():
    office = company(40)
    for number in range(15):
        office.suspend(f"x{number}")
    run(office)
    digest = plans(office)[0].digest
    office.restore("x14")
    decide(office, "approve")
    run(office, timedelta(minutes=1))
    assert (suspended(office), plans(office)) == (14, [])
    assert told(office)[-1] == f"Plan {digest} carried out: 14 suspended, 1 no longer due"
    for account in office.keeper.accounts.values():  # somebody lets them all in again in Keeper
        office.keeper.accounts[account.scim_id] = replace(account, active=True)
    office.desk.clock.advance(QUARTER)
    office.plan(RunKind.DRIFT)
    office.work_off()
    assert suspended(office) == 0
    assert plans(office)[0].counts() == {"suspend": 14}


def test_what_is_not_carried_out_of_an_approval_within_a_day_ends():
    office = company(40)
    for number in range(15):
        office.suspend(f"x{number}")
    run(office)
    decide(office, "approve")
    office.services.connections.change("c1", lambda current: replace(current, state=State.OFF))
    office.desk.clock.advance(DAY)
    office.services.connections.change("c1", lambda current: replace(current, state=State.ON))
    run(office)
    (again,) = plans(office)
    assert (suspended(office), again.standings()) == (0, {"waiting": 15})
    assert any("carried out: 15 expired" in reason for reason in told(office))


def test_an_approval_is_taken_back_and_what_waits_is_no_matter_of_room():
    office = company(40)
    for number in range(11):
        office.suspend(f"x{number}")
    run(office)
    decide(office, "approve")
    decide(office, "withdraw")
    office.restore("x0")
    run(office)
    (hold,) = plans(office)
    assert (suspended(office), hold.standings()) == (0, {"withdrawn": 10, "no longer due": 1})
    decide(office, "approve")
    run(office)
    assert suspended(office) == 10


def test_real_leavers_are_let_go_while_the_mistakes_of_the_same_plan_stay():
    office = company(40)
    for number in range(10):
        office.leave(f"x{number}")
    for number in range(10, 15):
        office.suspend(f"x{number}")
    run(office)
    decide(office, "reject", cause="app_off")
    decide(office, "approve", cause="suspended")
    for _ in range(3):
        run(office)
    assert suspended(office) == 5
    assert [hold.standings() for hold in plans(office)] == [{"rejected": 10, "done": 5}]
    for number in range(20, 30):  # a rejection takes no room
        office.suspend(f"x{number}")
    run(office, DAY)
    assert suspended(office) == 15
    decide_hold(office.services, "c1", plans(office)[0].digest, "approve", ADMIN, users=["x0", "x1"])
    run(office)
    assert (suspended(office), active(office, "x0"), active(office, "x2")) == (17, [False], [True])


def rejected(people: int = 15) -> Office:
    office = company(40)
    for number in range(people):
        office.suspend(f"x{number}")
    run(office)
    decide(office, "reject")
    run(office)
    return office


def test_a_notification_while_paused_clears_no_rejection():
    office = rejected()
    office.services.connections.change("c1", lambda current: replace(current, state=State.PAUSED))
    notice(office, "x0")
    office.services.connections.change("c1", lambda current: replace(current, state=State.ON))
    notice(office, "x0")
    run(office)
    assert suspended(office) == 0


def test_a_rejection_outlives_a_time_in_which_nothing_is_due():
    office = rejected()
    never = replace(office.connection.settings.deprovisioning, suspended=Delays(suspend_after=None, delete_after=None))
    now = office.connection.settings.deprovisioning
    for policy in (never, now):
        office.services.connections.change(
            "c1", lambda current, policy=policy: with_settings(current, deprovisioning=policy)
        )
        run(office)
        assert [hold.standings() for hold in plans(office)] == [{"rejected": 15}]
    assert suspended(office) == 0


def test_a_rejection_is_asked_about_again_after_30_days_and_kept_meanwhile():
    office = rejected()
    for day in range(1, 31):
        run(office, DAY)
        assert [hold.standings() for hold in plans(office)] == [{"rejected" if day < 30 else "withdrawn": 15}], day
    assert (suspended(office), plans(office)[0].state) == (0, HoldState.WAITING)
    decide(office, "approve")
    run(office)
    assert suspended(office) == 15


def test_an_approval_on_one_connection_says_nothing_on_another():
    office = rejected()
    layout = office.connection.roster_layout
    second = Connection(
        id="c2",
        order=1,
        state=State.ON,
        settings=Settings(endpoint="https://x.example", limit=VolumeLimit(minimum=10)),
        roster_layout=layout,
        token_version=office.desk.tokens.add("c2", "secret"),
    )
    office.services.connections.create(second)
    for number in range(15):
        name = f"x{number}"
        entry = Entry(
            user_id=name, version=1, email=f"{name}@example.com", scim_id=f"second-{name}", status=Status.ACTIVE
        )
        seed(office, second, entry)
    run(office)
    (there,) = office.services.holds.standing("c2")
    decide_hold(office.services, "c2", there.digest, "approve", ADMIN)
    run(office)
    assert {office.entry(f"x{number}").status for number in range(15)} == {Status.ACTIVE}
    assert office.services.roster.entry(second, "x0").status is not Status.ACTIVE
    assert [hold.standings() for hold in plans(office)] == [{"rejected": 15}]


def seed(office: Office, connection: Connection, entry: Entry) -> None:
    from autoprovisioning.app.ports.roster import Edit

    office.services.roster.commit(
        connection, [entry.user_id], lambda _entries: (Edit(entries={entry.user_id: entry}), None)
    )


@pytest.mark.parametrize("mended", [15, 8, 1])
def test_a_plan_ends_by_itself_when_it_is_mended_or_differs(mended):
    office = company(40)
    for number in range(15):
        office.suspend(f"x{number}")
    run(office)
    first = plans(office)[0].digest
    for number in range(mended):
        office.restore(f"x{number}")
    run(office)
    assert suspended(office) == (15 - mended if mended == 8 else 0)
    left = {15: [], 8: [], 1: [({"no longer due": 1, "waiting": 14}, first)]}[mended]
    assert [(hold.standings(), hold.digest) for hold in plans(office)] == left


def test_the_same_users_suspended_again_and_again_count_each_time():
    office = company(60)
    for round_ in range(3):
        for number in range(10):
            office.suspend(f"x{number}")
        for number in range(10):
            notice(office, f"x{number}")
        assert suspended(office) == (10 if round_ == 0 else 0)
        for number in range(10):
            office.restore(f"x{number}")
            notice(office, f"x{number}")
        office.desk.clock.advance(QUARTER)


def pilot(people: int) -> Office:
    """So few people, and nobody else, under the limits as they are by default."""
    office = Office()
    for user_id in ("u1", "u2", "u3"):
        office.directory.live.pop(user_id)
        office.leave(user_id)
    for number in range(people):
        office.hire(f"x{number}", f"x{number}@example.com")
    office.run()
    office.services.connections.change("c1", lambda current: with_settings(current, limit=VolumeLimit()))
    run(office, DAY)
    run(office, DAY)
    return office


@pytest.mark.parametrize(("people", "leaving"), [(2, 1), (5, 2), (9, 4), (10, 4)])
def test_one_person_or_fewer_than_half_leave_a_small_company_in_one_sweep(people, leaving):
    office = pilot(people)
    for number in range(leaving):
        office.leave(f"x{number}")
    office.sweep()
    assert suspended(office) == leaving


@pytest.mark.parametrize("people", [2, 5, 9, 10])
def test_nobody_of_a_small_company_is_locked_out_at_once_by_notifications_or_a_sweep(people):
    office = pilot(people)
    for number in range(people):
        office.leave(f"x{number}")
    office.sweep()
    run(office)
    assert suspended(office) == 0
    assert plans(office)[0].counts() == {"suspend": people}
    for number in range(people):
        office.suspend(f"x{number}")
        notice(office, f"x{number}")
    assert suspended(office) == max(1, (people - 1) // 2)


def test_half_of_those_left_after_an_approved_plan_do_not_leave_by_notifications_either():
    office = company(97)
    office.services.connections.change("c1", lambda current: with_settings(current, limit=VolumeLimit()))
    run(office, DAY)
    run(office, DAY)
    for number in range(80):
        office.suspend(f"x{number}")
    run(office)
    decide(office, "approve")
    run(office)
    run(office)
    assert suspended(office) == 80
    for number in range(80, 97):
        office.suspend(f"x{number}")
        notice(office, f"x{number}")
    assert suspended(office) == 80 + 9
    run(office)
    assert plans(office)[-1].counts() == {"suspend": 17 - 9}


def test_an_approval_within_the_second_of_the_last_change_is_carried_out():
    office = company(30)
    for number in range(15):
        office.suspend(f"x{number}")
    run(office)
    connection = office.services.connections.get("c1")
    touched = office.desk.clock.now + timedelta(milliseconds=100)
    for user_id, entry in office.services.roster.load(connection).items():
        changed = {user_id: replace(entry, last_action_at=touched)}
        office.services.roster.commit(connection, [user_id], lambda _, changed=changed: (Edit(entries=changed), None))
    office.desk.clock.advance(timedelta(milliseconds=200))
    decide(office, "approve")
    run(office)
    assert suspended(office) == 15


def test_whom_a_drift_run_adds_to_a_waiting_plan_its_reason_counts_with_the_others():
    office = company(60)
    for number in range(30):
        office.suspend(f"x{number}")
    run(office)
    for number in range(30, 40):
        office.suspend(f"x{number}")
        notice(office, f"x{number}")
    (account,) = office.keeper.of("x35")
    office.keeper.accounts[account.scim_id] = replace(account, active=True)
    office.desk.clock.advance(QUARTER)
    office.plan(RunKind.DRIFT)
    office.work_off()
    (hold,) = plans(office)
    assert hold.counts() == {"suspend": 31}
    assert hold.reason.startswith("31 suspensions, after 10 of the last 24 hours, would exceed the limit of 10")


def test_a_run_tells_how_many_a_rejection_keeps_beside_those_who_wait_in_the_same_plan():
    office = company(40)
    for number in range(20):
        office.suspend(f"x{number}")
    run(office)
    decide(office, "reject", users=[f"x{number}" for number in range(5)])
    office.desk.clock.advance(QUARTER)
    assert "Kept by rejection, or to be decided anew: 5" in office.plan().notes
