"""A decision lasts for as long as what it was made about: however the change is named later, and whatever is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.app.administration.take_over import take_over
from autoprovisioning.domain.deprovisioning import Delays
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.holds import HoldState
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.settings import VolumeLimit
from tests.support.builders import active, notice
from tests.support.scenario import LATER, Scenario
from tests.support.settings import with_settings
from tests.unit.runs.test_decided_plans import ADMIN, DAY, QUARTER, company, decide, plans, run, suspended


def deleted_after(scenario: Scenario, days: int) -> None:
    delays = Delays(suspend_after=0, delete_after=days)

    def edited(current):
        policy = replace(current.settings.deprovisioning, app_off=delays, suspended=delays)
        return with_settings(current, deprovisioning=policy)

    scenario.services.connections.change("c1", edited)


def leaves(scenario: Scenario, user_id: str) -> None:
    scenario.leave(user_id)


def is_suspended(scenario: Scenario, user_id: str) -> None:
    scenario.suspend(user_id)


@pytest.mark.parametrize("go", [leaves, is_suspended])
@pytest.mark.parametrize("choice", ["reject", "withdraw"])
def test_who_is_not_to_be_suspended_is_not_deleted_for_the_same_reason_either(go, choice):
    scenario = company(40)
    deleted_after(scenario, 3)
    for number in range(11):
        go(scenario, f"x{number}")
    run(scenario)
    decide(scenario, "reject")
    if choice == "withdraw":
        decide(scenario, "withdraw")
    scenario.services.connections.change("c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=20)))
    for _ in range(5):
        run(scenario, DAY)
        notice(scenario, "x0")
    assert suspended(scenario) == 0
    assert plans(scenario)[0].standings() == {{"reject": "rejected", "withdraw": "withdrawn"}[choice]: 11}


def test_a_deletion_follows_once_it_is_approved_after_all():
    scenario = company(40)
    deleted_after(scenario, 3)
    for number in range(11):
        scenario.suspend(f"x{number}")
    run(scenario)
    decide(scenario, "reject")
    run(scenario, 4 * DAY)
    (hold,) = plans(scenario)
    everybody = [member.resource for member in hold.members]
    decide_hold(scenario.services, "c1", hold.digest, "approve", ADMIN, users=everybody)
    scenario.services.connections.change("c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=20)))
    run(scenario)
    assert suspended(scenario) == 11


def test_whom_a_plan_waits_for_is_not_deleted_alone_before_it_is_decided():
    scenario = company(40)
    deleted_after(scenario, 3)
    for number in range(11):
        scenario.suspend(f"x{number}")
    run(scenario)
    scenario.fakes.clock.advance(3 * DAY)
    for number in range(10):
        notice(scenario, f"x{number}")
    assert suspended(scenario) == 0


def test_a_rejection_outlasts_the_roster_where_the_directory_does_not_say_since_when():
    scenario = company(40)
    for number in range(11):
        user = scenario.directory.live[f"x{number}"]
        scenario.directory.live[f"x{number}"] = replace(user, presence=Presence.SUSPENDED, since=None)
    run(scenario)
    decide(scenario, "reject")
    scenario.services.connections.change("c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=20)))
    scenario.fakes.store.shards.clear()
    for kind in (RunKind.FULL, RunKind.DRIFT):
        scenario.fakes.clock.advance(LATER)
        scenario.plan(kind)
        scenario.work_off()
    assert take_over(scenario.services, "c1", None, ADMIN) == 11
    for wait in (QUARTER, DAY, DAY):
        run(scenario, wait)
        notice(scenario, "x0")
    assert suspended(scenario) == 0


def without(scenario: Scenario, monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
    """Let the next listing lack these users, and be complete otherwise."""
    users = scenario.directory.users

    def listed(fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        for page in users(fields):
            yield [user for user in page if user.id not in missing]

    monkeypatch.setattr(scenario.directory, "users", listed)


@pytest.mark.parametrize("choice", ["reject", "withdraw"])
def test_one_listing_that_lacks_somebody_lets_nobody_in_who_was_to_be_kept_out(monkeypatch, choice):
    scenario = company(40)
    for number in range(100, 160):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    run(scenario)
    decide(scenario, "reject")
    if choice == "withdraw":
        decide(scenario, "withdraw")
    without(scenario, monkeypatch, "x100", "x101")
    run(scenario)
    monkeypatch.undo()
    run(scenario, 2 * DAY)
    for number in (100, 101):
        notice(scenario, f"x{number}")
    assert [active(scenario, f"x{number}") for number in (100, 101)] == [[], []]


def test_one_listing_that_lacks_somebody_gives_nobody_back_who_was_not_to_be(monkeypatch):
    scenario = company(80, limit=1000)
    scenario.services.connections.change(
        "c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=1000, share=1000.0))
    )
    for number in range(60):
        scenario.suspend(f"x{number}")
    run(scenario)
    assert suspended(scenario) == 60
    run(scenario, 2 * DAY)
    for number in range(60):
        scenario.restore(f"x{number}")
    run(scenario)
    decide(scenario, "reject")
    without(scenario, monkeypatch, "x0", "x1")
    run(scenario)
    monkeypatch.undo()
    run(scenario, 2 * DAY)
    for number in (0, 1):
        notice(scenario, f"x{number}")
    assert suspended(scenario) == 60


def test_a_newcomer_with_the_address_of_somebody_kept_out_is_judged_alone():
    scenario = company(40)
    for number in range(100, 160):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    run(scenario)
    decide(scenario, "reject")
    scenario.delete("x100")
    scenario.hire("y100", "x100@example.com")
    run(scenario, 2 * DAY)
    assert (active(scenario, "x100"), active(scenario, "y100")) == ([], [True])


def test_who_was_kept_out_left_and_comes_back_is_judged_anew():
    scenario = company(40)
    for number in range(100, 160):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    run(scenario)
    decide(scenario, "reject")
    scenario.leave("x100")
    run(scenario)
    scenario.join("x100")
    run(scenario, 2 * DAY)
    assert active(scenario, "x100") == [True]


def test_a_decision_about_somebody_whom_no_listing_shows_any_more_ends():
    scenario = company(40)
    for number in range(100, 160):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    run(scenario)
    decide(scenario, "reject")
    for number in range(100, 160):
        del scenario.directory.live[f"x{number}"]  # deleted so long ago that nobody lists them as deleted either
    run(scenario)
    assert plans(scenario)[0].standings() == {"rejected": 60}
    run(scenario, 31 * DAY)
    assert plans(scenario) == []


def test_an_approval_is_spent_by_the_first_leaving():
    scenario = company(40)
    for number in range(11):
        scenario.leave(f"x{number}")
    run(scenario)
    decide(scenario, "approve")
    run(scenario, timedelta(minutes=1))
    assert suspended(scenario) == 11
    for number in range(11):
        scenario.join(f"x{number}")
    run(scenario)
    assert suspended(scenario) == 0
    for number in range(11):
        scenario.leave(f"x{number}")
    run(scenario)
    assert (suspended(scenario), plans(scenario)[0].state) == (0, HoldState.WAITING)
