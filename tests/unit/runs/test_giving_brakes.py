"""The brakes on what is given and wiped: creations, reactivations, re-creations, updates that remove values."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.administration.configure import turn_off, turn_on
from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.domain.decision import READING
from autoprovisioning.domain.entry import Entry, Failure
from autoprovisioning.domain.errors import NotAdoptable, Rejected
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.settings import VolumeLimit
from tests.support.builders import notice
from tests.support.scenario import Scenario
from tests.support.settings import with_settings
from tests.unit.runs.test_decided_plans import ADMIN, DAY, QUARTER, company, decide, plans, run, suspended


def test_a_widened_scope_invites_nobody_before_somebody_looked():
    scenario = company(40)
    created = len(scenario.keeper.accounts)
    for number in range(100, 400):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    run(scenario)
    (hold,) = plans(scenario)
    assert (len(scenario.keeper.accounts), hold.counts()) == (created, {"create": 300})
    assert hold.reason == "300 creations would exceed the limit of 50 within 24 hours"
    for number in range(100, 400):
        notice(scenario, f"x{number}")
    assert len(scenario.keeper.accounts) == created
    decide(scenario, "approve", users=[f"x{number}" for number in range(100, 160)])
    run(scenario)
    assert len(scenario.keeper.accounts) == created + 60


def test_newcomers_by_notification_are_counted_too():
    scenario = company(40)
    created = len(scenario.keeper.accounts)
    for number in range(100, 170):
        scenario.hire(f"x{number}", f"x{number}@example.com")
        notice(scenario, f"x{number}")
    assert len(scenario.keeper.accounts) == created + 50
    run(scenario)
    assert (len(scenario.keeper.accounts), plans(scenario)[0].counts()) == (created + 50, {"create": 20})


def test_a_first_run_creates_whom_it_was_turned_on_for_and_tries_again_for_free():
    scenario = Scenario()
    for number in range(120):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    scenario.fakes.store.guards.clear()
    scenario.plan()
    scenario.fakes.queue.batches.clear()  # the first run comes to nothing
    run(scenario, timedelta(hours=1))
    assert (len(scenario.keeper.accounts), plans(scenario)) == (123, [])


def test_a_suspension_that_is_undone_within_a_day_is_given_back_without_a_brake():
    scenario = company(80, limit=1000)
    for number in range(70):
        scenario.suspend(f"x{number}")
    scenario.services.connections.change(
        "c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=1000, share=1000.0))
    )
    run(scenario)
    assert suspended(scenario) == 70
    for number in range(70):
        scenario.restore(f"x{number}")
    run(scenario)
    assert (suspended(scenario), plans(scenario)) == (0, [])
    for number in range(70):
        scenario.suspend(f"x{number}")
    run(scenario)
    for number in range(70):
        scenario.restore(f"x{number}")
    run(scenario, 2 * DAY)
    assert (suspended(scenario), plans(scenario)[0].counts()) == (70, {"unsuspend": 70})


def test_a_listing_without_names_wipes_nobodys_name():
    scenario = company(60)
    for number in range(60):
        user = scenario.directory.live[f"x{number}"]
        scenario.directory.live[user.id] = replace(user, profile={**user.profile, "name": {"fullName": "x"}})
    run(scenario)
    (hold,) = plans(scenario)
    assert hold.counts() == {"update": 60}
    assert all(account.attributes["name.givenName"] for account in scenario.keeper.accounts.values())
    for number in range(60):
        notice(scenario, f"x{number}")
    assert all(account.attributes["name.givenName"] for account in scenario.keeper.accounts.values())
    decide(scenario, "reject")
    for number in range(60):
        scenario.rename(f"x{number}", "Grace")
    run(scenario)
    assert plans(scenario) == []
    assert {account.attributes["name.givenName"] for account in scenario.keeper.accounts.values()} == {"Grace", "New"}


def test_a_rejected_wiping_is_kept_however_the_user_changes_otherwise():
    scenario = company(60)
    for number in range(60):
        user = scenario.directory.live[f"x{number}"]
        profile = {**user.profile, "name": {"givenName": "New", "fullName": "x"}}
        scenario.directory.live[user.id] = replace(user, profile=profile)
    run(scenario)
    decide(scenario, "reject")
    user = scenario.directory.live["x0"]
    name = {"givenName": "Grace", "fullName": "x"}
    scenario.directory.live["x0"] = replace(user, profile={**user.profile, "name": name})
    run(scenario)
    notice(scenario, "x0")
    (account,) = scenario.keeper.of("x0")
    assert account.attributes["name.familyName"] == "Byron"
    assert [hold.standings() for hold in plans(scenario)] == [{"rejected": 60}]


@pytest.mark.parametrize("choice", ["withdraw", "reject"])
def test_an_approval_of_wiping_that_is_taken_back_ends_what_is_not_sent_yet(choice):
    scenario = company(60)
    for number in range(60):
        user = scenario.directory.live[f"x{number}"]
        scenario.directory.live[user.id] = replace(user, profile={**user.profile, "name": {"fullName": "x"}})
    run(scenario)
    decide(scenario, "approve")
    scenario.fakes.clock.advance(QUARTER)
    scenario.plan()
    everybody = [f"x{number}" for number in range(60)]
    decide_hold(scenario.services, "c1", plans(scenario)[0].digest, choice, ADMIN, users=everybody)
    scenario.work_off()
    assert all(account.attributes["name.givenName"] for account in scenario.keeper.accounts.values())


def test_accounts_that_vanished_from_keeper_are_one_plan_and_created_again_once_it_is_approved():
    scenario = company(60)
    scenario.keeper.accounts.clear()
    scenario.fakes.clock.advance(QUARTER)
    scenario.plan(RunKind.DRIFT)
    scenario.work_off()
    (hold,) = plans(scenario)
    assert (hold.counts(), len(scenario.keeper.accounts)) == ({"recreate": 63}, 0)
    assert "creations of accounts that vanished from Keeper" in hold.reason
    run(scenario)
    assert [plan.digest for plan in plans(scenario)] == [hold.digest]
    decide(scenario, "approve")
    run(scenario)
    run(scenario)
    assert (len(scenario.keeper.accounts), plans(scenario)) == (63, [])


def test_creations_that_failed_are_tried_again_without_a_brake():
    scenario = Scenario()
    for number in range(70):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    scenario.fakes.store.guards.clear()
    scenario.keeper.faults.extend([Rejected("no")] * 73)
    scenario.run()
    assert scenario.keeper.accounts == {}
    run(scenario, 2 * DAY)
    assert (len(scenario.keeper.accounts), plans(scenario)) == (73, [])


@pytest.mark.parametrize(("confirmed", "created"), [(123, 123), (60, 0), (3, 0)])
def test_a_first_run_creates_no_more_than_was_confirmed_when_it_was_turned_on(confirmed, created):
    scenario = Scenario()
    for number in range(120):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    scenario.fakes.store.guards.clear()
    turn_off(scenario.services, "c1", ADMIN)
    turn_on(scenario.services, "c1", ADMIN, creates=confirmed)
    run(scenario)
    assert len(scenario.keeper.accounts) == created
    if not created:
        (hold,) = plans(scenario)
        assert hold.reason.startswith(f"123 creations are more than {max(confirmed, 50)}, by the preview")
        decide(scenario, "approve")
        run(scenario)
        assert len(scenario.keeper.accounts) == 123


def test_a_first_run_that_was_turned_on_without_a_preview_is_limited_like_any_other():
    scenario = Scenario()
    for number in range(120):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    scenario.fakes.store.guards.clear()
    turn_off(scenario.services, "c1", ADMIN)
    turn_on(scenario.services, "c1", ADMIN)
    run(scenario)
    (hold,) = plans(scenario)
    assert (len(scenario.keeper.accounts), hold.reason) == (
        0,
        "123 creations would exceed the limit of 50 within 24 hours",
    )
    decide(scenario, "approve")
    run(scenario)
    assert len(scenario.keeper.accounts) == 123


def test_what_was_confirmed_for_a_first_run_is_for_all_runs_until_one_saw_everybody():
    scenario = Scenario()
    for number in range(120):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    scenario.fakes.store.guards.clear()
    turn_off(scenario.services, "c1", ADMIN)
    turn_on(scenario.services, "c1", ADMIN, creates=70)
    scenario.directory.broken_after = 30  # pages of two
    run(scenario)
    created = len(scenario.keeper.accounts)
    assert 0 < created <= 70
    scenario.directory.broken_after = None
    run(scenario)
    (hold,) = plans(scenario)
    assert (len(scenario.keeper.accounts), hold.counts()) == (created, {"create": 123 - created})
    assert f"after {created} of the last 24 hours, are more than 70" in hold.reason


def test_a_listing_that_breaks_off_lets_nothing_of_a_waiting_plan_go():
    scenario = company(40)
    created = len(scenario.keeper.accounts)
    for number in range(100, 400):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    run(scenario)
    (raised,) = plans(scenario)
    scenario.directory.broken_after = 40  # pages of two, 36 of whom are newcomers
    run(scenario)
    assert (len(scenario.keeper.accounts), plans(scenario)) == (created, [raised])


@pytest.mark.parametrize("decided", [None, "reject"])
def test_whom_the_directory_failed_to_show_is_braked_like_anybody(decided):
    scenario = company(40)
    created, now = len(scenario.keeper.accounts), scenario.fakes.clock.now
    newcomers = [f"x{number}" for number in range(100, 160)]
    failure = Failure(
        code="directory_failed", text="500", attempts=3, first=now, next_attempt=now + QUARTER, about=READING
    )
    for user_id in newcomers:
        scenario.hire(user_id, f"{user_id}@example.com")
    if decided:
        run(scenario)
        decide(scenario, decided)
    known = {user_id: Entry(user_id=user_id, version=1, in_scope=True, failure=failure) for user_id in newcomers}
    scenario.services.roster.commit(scenario.connection, newcomers, lambda _known: (Edit(entries=known), None))
    run(scenario)
    assert (len(scenario.keeper.accounts), plans(scenario)[0].counts()) == (created, {"create": 60})


def test_a_rename_of_suspended_accounts_makes_them_no_newer():
    scenario = company(80, limit=1000)
    scenario.services.connections.change(
        "c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=1000, share=1000.0))
    )
    for number in range(70):
        scenario.suspend(f"x{number}")
    run(scenario)
    for number in range(70):
        scenario.rename(f"x{number}", "Other")
    run(scenario, 2 * DAY)
    for number in range(70):
        scenario.restore(f"x{number}")
    run(scenario)
    assert (suspended(scenario), plans(scenario)[0].counts()) == (70, {"unsuspend": 70})


@pytest.mark.parametrize("choice", ["withdraw", "reject"])
def test_an_approval_that_is_taken_back_ends_what_is_not_sent_yet(choice):
    scenario = company(40)
    created = len(scenario.keeper.accounts)
    newcomers = [f"x{number}" for number in range(100, 160)]
    for user_id in newcomers:
        scenario.hire(user_id, f"{user_id}@example.com")
    run(scenario)
    (hold,) = plans(scenario)
    decide(scenario, "approve")
    scenario.fakes.clock.advance(QUARTER)
    planned = scenario.plan()
    decide_hold(scenario.services, "c1", hold.digest, choice, ADMIN, users=newcomers[:50])
    scenario.work_off()
    ended = scenario.services.runs.get("c1", planned.id)
    assert (len(scenario.keeper.accounts), ended.counts["held"]) == (created + 10, 50)
    run(scenario)
    assert len(scenario.keeper.accounts) == created + 10


def test_creations_that_accounts_of_others_stood_in_the_way_of_are_braked_once_those_are_gone():
    scenario = company(40)
    newcomers = [f"x{number}" for number in range(100, 160)]
    for user_id in newcomers:
        scenario.keeper.seed(f"{user_id}@example.com", f"other-{user_id}")
        scenario.hire(user_id, f"{user_id}@example.com")
    run(scenario)
    assert {scenario.entry(user_id).failure.code for user_id in newcomers} == {NotAdoptable.code}
    for account in [each for each in scenario.keeper.accounts.values() if each.external_id.startswith("other-")]:
        del scenario.keeper.accounts[account.scim_id]
    created = len(scenario.keeper.accounts)
    run(scenario, 2 * DAY)
    assert (len(scenario.keeper.accounts), plans(scenario)[0].counts()) == (created, {"create": 60})


def newcomers_over_the_limit(scenario: Scenario) -> list[str]:
    newcomers = [f"x{number}" for number in range(100, 160)]
    for user_id in newcomers:
        scenario.hire(user_id, f"{user_id}@example.com")
    run(scenario)
    return newcomers


@pytest.mark.parametrize("choice", ["withdraw", "reject"])
def test_an_approval_that_is_taken_back_ends_what_failed_and_would_be_tried_again(choice):
    scenario = company(40)
    created = len(scenario.keeper.accounts)
    newcomers = newcomers_over_the_limit(scenario)
    (hold,) = plans(scenario)
    decide(scenario, "approve")
    scenario.keeper.faults.extend([Rejected("no")] * 60)
    run(scenario)
    decide_hold(scenario.services, "c1", hold.digest, choice, ADMIN, users=newcomers)
    run(scenario, 2 * DAY)
    for user_id in newcomers:
        notice(scenario, user_id)
    assert len(scenario.keeper.accounts) == created


def test_who_waits_in_a_plan_waits_though_a_creation_of_theirs_had_failed():
    """A look had it under way when the plan was raised."""
    scenario = company(40)
    created = len(scenario.keeper.accounts)
    newcomers_over_the_limit(scenario)
    now = scenario.fakes.clock.now
    failure = Failure(code="rejected", text="no", attempts=1, first=now, next_attempt=now, about="create:x")
    attempted = Entry(user_id="x100", version=1, email="x100@example.com", in_scope=True, failure=failure)
    scenario.services.roster.commit(
        scenario.connection, ["x100"], lambda _known: (Edit(entries={"x100": attempted}), None)
    )
    notice(scenario, "x100")
    run(scenario)
    assert (len(scenario.keeper.accounts), plans(scenario)[0].standings()) == (created, {"waiting": 60})
