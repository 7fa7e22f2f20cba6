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
from tests.support.scenario import Office
from tests.support.settings import with_settings
from tests.unit.runs.test_decided_plans import ADMIN, DAY, QUARTER, company, decide, plans, run, suspended


def test_a_widened_scope_invites_nobody_before_somebody_looked():
    office = company(40)
    created = len(office.keeper.accounts)
    for number in range(100, 400):
        office.hire(f"x{number}", f"x{number}@example.com")
    run(office)
    (hold,) = plans(office)
    assert (len(office.keeper.accounts), hold.counts()) == (created, {"create": 300})
    assert hold.reason == "300 creations would exceed the limit of 50 within 24 hours"
    for number in range(100, 400):
        notice(office, f"x{number}")
    assert len(office.keeper.accounts) == created
    decide(office, "approve", users=[f"x{number}" for number in range(100, 160)])
    run(office)
    assert len(office.keeper.accounts) == created + 60


def test_newcomers_by_notification_are_counted_too():
    office = company(40)
    created = len(office.keeper.accounts)
    for number in range(100, 170):
        office.hire(f"x{number}", f"x{number}@example.com")
        notice(office, f"x{number}")
    assert len(office.keeper.accounts) == created + 50
    run(office)
    assert (len(office.keeper.accounts), plans(office)[0].counts()) == (created + 50, {"create": 20})


def test_a_first_run_creates_whom_it_was_turned_on_for_and_tries_again_for_free():
    office = Office()
    for number in range(120):
        office.hire(f"x{number}", f"x{number}@example.com")
    office.desk.store.guards.clear()
    office.plan()
    office.desk.queue.batches.clear()  # the first run comes to nothing
    run(office, timedelta(hours=1))
    assert (len(office.keeper.accounts), plans(office)) == (123, [])


def test_a_suspension_that_is_undone_within_a_day_is_given_back_without_a_brake():
    office = company(80, limit=1000)
    for number in range(70):
        office.suspend(f"x{number}")
    office.services.connections.change(
        "c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=1000, share=1000.0))
    )
    run(office)
    assert suspended(office) == 70
    for number in range(70):
        office.restore(f"x{number}")
    run(office)
    assert (suspended(office), plans(office)) == (0, [])
    for number in range(70):
        office.suspend(f"x{number}")
    run(office)
    for number in range(70):
        office.restore(f"x{number}")
    run(office, 2 * DAY)
    assert (suspended(office), plans(office)[0].counts()) == (70, {"unsuspend": 70})


def test_a_listing_without_names_wipes_nobodys_name():
    office = company(60)
    for number in range(60):
        user = office.directory.live[f"x{number}"]
        office.directory.live[user.id] = replace(user, profile={**user.profile, "name": {"fullName": "x"}})
    run(office)
    (hold,) = plans(office)
    assert hold.counts() == {"update": 60}
    assert all(account.attributes["name.givenName"] for account in office.keeper.accounts.values())
    for number in range(60):
        notice(office, f"x{number}")
    assert all(account.attributes["name.givenName"] for account in office.keeper.accounts.values())
    decide(office, "reject")
    for number in range(60):
        office.rename(f"x{number}", "Grace")
    run(office)
    assert plans(office) == []
    assert {account.attributes["name.givenName"] for account in office.keeper.accounts.values()} == {"Grace", "New"}


def test_a_rejected_wiping_is_kept_however_the_user_changes_otherwise():
    office = company(60)
    for number in range(60):
        user = office.directory.live[f"x{number}"]
        profile = {**user.profile, "name": {"givenName": "New", "fullName": "x"}}
        office.directory.live[user.id] = replace(user, profile=profile)
    run(office)
    decide(office, "reject")
    user = office.directory.live["x0"]
    name = {"givenName": "Grace", "fullName": "x"}
    office.directory.live["x0"] = replace(user, profile={**user.profile, "name": name})
    run(office)
    notice(office, "x0")
    (account,) = office.keeper.of("x0")
    assert account.attributes["name.familyName"] == "Byron"
    assert [hold.standings() for hold in plans(office)] == [{"rejected": 60}]


@pytest.mark.parametrize("choice", ["withdraw", "reject"])
def test_an_approval_of_wiping_that_is_taken_back_ends_what_is_not_sent_yet(choice):
    office = company(60)
    for number in range(60):
        user = office.directory.live[f"x{number}"]
        office.directory.live[user.id] = replace(user, profile={**user.profile, "name": {"fullName": "x"}})
    run(office)
    decide(office, "approve")
    office.desk.clock.advance(QUARTER)
    office.plan()
    everybody = [f"x{number}" for number in range(60)]
    decide_hold(office.services, "c1", plans(office)[0].digest, choice, ADMIN, users=everybody)
    office.work_off()
    assert all(account.attributes["name.givenName"] for account in office.keeper.accounts.values())


def test_accounts_that_vanished_from_keeper_are_one_plan_and_created_again_once_it_is_approved():
    office = company(60)
    office.keeper.accounts.clear()
    office.desk.clock.advance(QUARTER)
    office.plan(RunKind.DRIFT)
    office.work_off()
    (hold,) = plans(office)
    assert (hold.counts(), len(office.keeper.accounts)) == ({"recreate": 63}, 0)
    assert "creations of an account that vanished from Keeper" in hold.reason
    run(office)
    assert [plan.digest for plan in plans(office)] == [hold.digest]
    decide(office, "approve")
    run(office)
    run(office)
    assert (len(office.keeper.accounts), plans(office)) == (63, [])


def test_creations_that_failed_are_tried_again_without_a_brake():
    office = Office()
    for number in range(70):
        office.hire(f"x{number}", f"x{number}@example.com")
    office.desk.store.guards.clear()
    office.keeper.faults.extend([Rejected("no")] * 73)
    office.run()
    assert office.keeper.accounts == {}
    run(office, 2 * DAY)
    assert (len(office.keeper.accounts), plans(office)) == (73, [])


@pytest.mark.parametrize(("confirmed", "created"), [(123, 123), (60, 0), (3, 0)])
def test_a_first_run_creates_no_more_than_was_confirmed_when_it_was_turned_on(confirmed, created):
    office = Office()
    for number in range(120):
        office.hire(f"x{number}", f"x{number}@example.com")
    office.desk.store.guards.clear()
    turn_off(office.services, "c1", ADMIN)
    turn_on(office.services, "c1", ADMIN, creates=confirmed)
    run(office)
    assert len(office.keeper.accounts) == created
    if not created:
        (hold,) = plans(office)
        assert hold.reason.startswith(f"123 creations are more than {max(confirmed, 50)}, by the preview")
        decide(office, "approve")
        run(office)
        assert len(office.keeper.accounts) == 123


def test_a_first_run_that_was_turned_on_without_a_preview_is_limited_like_any_other():
    office = Office()
    for number in range(120):
        office.hire(f"x{number}", f"x{number}@example.com")
    office.desk.store.guards.clear()
    turn_off(office.services, "c1", ADMIN)
    turn_on(office.services, "c1", ADMIN)
    run(office)
    (hold,) = plans(office)
    assert (len(office.keeper.accounts), hold.reason) == (
        0,
        "123 creations would exceed the limit of 50 within 24 hours",
    )
    decide(office, "approve")
    run(office)
    assert len(office.keeper.accounts) == 123


def test_what_was_confirmed_for_a_first_run_is_for_all_runs_until_one_saw_everybody():
    office = Office()
    for number in range(120):
        office.hire(f"x{number}", f"x{number}@example.com")
    office.desk.store.guards.clear()
    turn_off(office.services, "c1", ADMIN)
    turn_on(office.services, "c1", ADMIN, creates=70)
    office.directory.broken_after = 30  # pages of two
    run(office)
    created = len(office.keeper.accounts)
    assert 0 < created <= 70
    office.directory.broken_after = None
    run(office)
    (hold,) = plans(office)
    assert (len(office.keeper.accounts), hold.counts()) == (created, {"create": 123 - created})
    assert f"after {created} of the last 24 hours, are more than 70" in hold.reason


def test_a_listing_that_breaks_off_lets_nothing_of_a_waiting_plan_go():
    office = company(40)
    created = len(office.keeper.accounts)
    for number in range(100, 400):
        office.hire(f"x{number}", f"x{number}@example.com")
    run(office)
    (raised,) = plans(office)
    office.directory.broken_after = 40  # pages of two, 36 of whom are newcomers
    run(office)
    assert (len(office.keeper.accounts), plans(office)) == (created, [raised])


@pytest.mark.parametrize("decided", [None, "reject"])
def test_whom_the_directory_failed_to_show_is_braked_like_anybody(decided):
    office = company(40)
    created, now = len(office.keeper.accounts), office.desk.clock.now
    newcomers = [f"x{number}" for number in range(100, 160)]
    failure = Failure(
        code="directory_failed", text="500", attempts=3, first=now, next_attempt=now + QUARTER, about=READING
    )
    for user_id in newcomers:
        office.hire(user_id, f"{user_id}@example.com")
    if decided:
        run(office)
        decide(office, decided)
    known = {user_id: Entry(user_id=user_id, version=1, in_scope=True, failure=failure) for user_id in newcomers}
    office.services.roster.commit(office.connection, newcomers, lambda _known: (Edit(entries=known), None))
    run(office)
    assert (len(office.keeper.accounts), plans(office)[0].counts()) == (created, {"create": 60})


def test_a_rename_of_suspended_accounts_makes_them_no_newer():
    office = company(80, limit=1000)
    office.services.connections.change(
        "c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=1000, share=1000.0))
    )
    for number in range(70):
        office.suspend(f"x{number}")
    run(office)
    for number in range(70):
        office.rename(f"x{number}", "Other")
    run(office, 2 * DAY)
    for number in range(70):
        office.restore(f"x{number}")
    run(office)
    assert (suspended(office), plans(office)[0].counts()) == (70, {"unsuspend": 70})


@pytest.mark.parametrize("choice", ["withdraw", "reject"])
def test_an_approval_that_is_taken_back_ends_what_is_not_sent_yet(choice):
    office = company(40)
    created = len(office.keeper.accounts)
    newcomers = [f"x{number}" for number in range(100, 160)]
    for user_id in newcomers:
        office.hire(user_id, f"{user_id}@example.com")
    run(office)
    (hold,) = plans(office)
    decide(office, "approve")
    office.desk.clock.advance(QUARTER)
    planned = office.plan()
    decide_hold(office.services, "c1", hold.digest, choice, ADMIN, users=newcomers[:50])
    office.work_off()
    ended = office.services.runs.get("c1", planned.id)
    assert (len(office.keeper.accounts), ended.counts["held"]) == (created + 10, 50)
    run(office)
    assert len(office.keeper.accounts) == created + 10


def test_creations_that_accounts_of_others_stood_in_the_way_of_are_braked_once_those_are_gone():
    office = company(40)
    newcomers = [f"x{number}" for number in range(100, 160)]
    for user_id in newcomers:
        office.keeper.seed(f"{user_id}@example.com", f"other-{user_id}")
        office.hire(user_id, f"{user_id}@example.com")
    run(office)
    assert {office.entry(user_id).failure.code for user_id in newcomers} == {NotAdoptable.code}
    for account in [each for each in office.keeper.accounts.values() if each.external_id.startswith("other-")]:
        del office.keeper.accounts[account.scim_id]
    created = len(office.keeper.accounts)
    run(office, 2 * DAY)
    assert (len(office.keeper.accounts), plans(office)[0].counts()) == (created, {"create": 60})


def newcomers_over_the_limit(office: Office) -> list[str]:
    newcomers = [f"x{number}" for number in range(100, 160)]
    for user_id in newcomers:
        office.hire(user_id, f"{user_id}@example.com")
    run(office)
    return newcomers


@pytest.mark.parametrize("choice", ["withdraw", "reject"])
def test_an_approval_that_is_taken_back_ends_what_failed_and_would_be_tried_again(choice):
    office = company(40)
    created = len(office.keeper.accounts)
    newcomers = newcomers_over_the_limit(office)
    (hold,) = plans(office)
    decide(office, "approve")
    office.keeper.faults.extend([Rejected("no")] * 60)
    run(office)
    decide_hold(office.services, "c1", hold.digest, choice, ADMIN, users=newcomers)
    run(office, 2 * DAY)
    for user_id in newcomers:
        notice(office, user_id)
    assert len(office.keeper.accounts) == created


def test_who_waits_in_a_plan_waits_though_a_creation_of_theirs_had_failed():
    """A look had it under way when the plan was raised."""
    office = company(40)
    created = len(office.keeper.accounts)
    newcomers_over_the_limit(office)
    now = office.desk.clock.now
    failure = Failure(code="rejected", text="no", attempts=1, first=now, next_attempt=now, about="create:x")
    attempted = Entry(user_id="x100", version=1, email="x100@example.com", in_scope=True, failure=failure)
    office.services.roster.commit(office.connection, ["x100"], lambda _known: (Edit(entries={"x100": attempted}), None))
    notice(office, "x100")
    run(office)
    assert (len(office.keeper.accounts), plans(office)[0].standings()) == (created, {"waiting": 60})
