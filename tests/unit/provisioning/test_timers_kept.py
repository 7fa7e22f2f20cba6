"""Timers are recorded when a trigger is seen, whatever becomes of what it makes due."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.domain import guard
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Status, Trigger
from autoprovisioning.domain.errors import Rejected
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.settings import VolumeLimit
from tests.support.builders import DAY, active, begun, notice
from tests.support.scenario import GROUP, LATER
from tests.support.settings import with_settings

THEN_DELETED = Deprovisioning(
    app_off=Delays(suspend_after=0, delete_after=7),
    suspended=Delays(suspend_after=0, delete_after=7),
    deleted=Delays(suspend_after=0, delete_after=7),
)


def with_policy(scenario, **changes):
    scenario.services.connections.change(
        "c1", lambda connection: with_settings(connection, deprovisioning=THEN_DELETED, **changes)
    )


def test_whoever_is_held_is_deleted_on_the_day_that_counts_from_when_they_left(scenario):
    with_policy(scenario, limit=VolumeLimit(minimum=1))
    scenario.fakes.clock.advance(LATER)
    left = scenario.fakes.clock.now
    for user_id in ("u1", "u2", "u3"):
        scenario.leave(user_id)
    scenario.run()
    assert [begun(scenario.entry(user_id)) for user_id in ("u1", "u2", "u3")] == [{Trigger.APP_OFF: left}] * 3
    scenario.fakes.clock.advance(3 * DAY)
    (hold,) = [hold for hold in scenario.services.holds.standing("c1") if hold.decided_at is None]
    decide_hold(scenario.services, "c1", hold.digest, "approve", Actor(address="boss@example.com"))
    scenario.run()
    assert {scenario.entry(user_id).status for user_id in ("u1", "u2", "u3")} == {Status.SUSPENDED}
    assert begun(scenario.entry("u1")) == {Trigger.APP_OFF: left}


def test_a_suspension_that_fails_keeps_the_time_from_when_it_was_due(scenario):
    with_policy(scenario)
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    left = scenario.fakes.clock.now
    scenario.leave("u1")
    scenario.keeper.faults.append(Rejected("400"))
    scenario.run()
    assert begun(scenario.entry("u1")) == {Trigger.APP_OFF: left}
    assert scenario.entry("u1").failure is not None
    scenario.fakes.clock.advance(timedelta(hours=1))
    scenario.run()
    assert (scenario.entry("u1").status, begun(scenario.entry("u1"))) == (Status.SUSPENDED, {Trigger.APP_OFF: left})


def test_a_notification_over_the_limit_records_the_timer(scenario):
    with_policy(scenario, limit=VolumeLimit(minimum=1))
    scenario.fakes.clock.advance(LATER)
    for user_id in ("u1", "u2"):
        scenario.suspend(user_id)
        notice(scenario, user_id)
    assert begun(scenario.entry("u2")) == {Trigger.SUSPENDED: scenario.directory.live["u2"].since}
    assert scenario.entry("u2").status is Status.ACTIVE


def test_what_was_deleted_is_not_deleted_again_by_every_run_and_comes_back_with_its_user(scenario):
    at_once = Deprovisioning(
        app_off=Delays(suspend_after=None, delete_after=0),
        suspended=Delays(suspend_after=None, delete_after=0),
        deleted=Delays(suspend_after=None, delete_after=0),
    )
    scenario.services.connections.change("c1", lambda connection: with_settings(connection, deprovisioning=at_once))
    scenario.suspend("u1")
    scenario.reconcile_to_the_end()
    deleted = scenario.entry("u1")
    assert (deleted.status, deleted.deleted) == (Status.SUSPENDED, True)
    scenario.rename("u1", "Grace")
    scenario.reconcile_to_the_end()
    assert scenario.entry("u1") == deleted
    scenario.restore("u1")
    scenario.reconcile_to_the_end()
    assert (scenario.entry("u1").status, scenario.entry("u1").deleted, active(scenario, "u1")) == (
        Status.ACTIVE,
        False,
        [True],
    )


def test_a_leaver_of_whom_the_directory_tells_a_later_time_is_not_rewritten_by_every_run(scenario):
    scenario.suspend("u1")
    scenario.reconcile_to_the_end()
    kept = scenario.entry("u1")
    user = scenario.directory.live["u1"]
    scenario.directory.live["u1"] = replace(user, since=user.since + timedelta(milliseconds=987))
    scenario.run()
    scenario.sweep()
    assert scenario.entry("u1") == kept


def test_how_many_archived_people_keep_their_access_is_told_by_every_run(scenario):
    scenario.archive("u1")
    scenario.archive("u2")
    scenario.suspend("u3")
    scenario.fakes.clock.advance(LATER)
    run = scenario.plan()
    scenario.work_off()
    run = scenario.services.runs.get("c1", run.id)
    assert run.counts["archived"] == 2
    assert "Archived users who keep their access, since they are not operated on: 2" in "\n".join(run.notes)
    scenario.services.connections.change("c1", lambda connection: with_settings(connection, archived_as_suspended=True))
    scenario.reconcile_to_the_end()
    run = scenario.plan()
    assert ("archived" in run.counts, active(scenario, "u1")) == (False, [False])


def test_who_returns_while_a_plan_is_held_gets_no_timer_back(scenario, monkeypatch):
    with_policy(scenario, limit=VolumeLimit(minimum=1))
    scenario.fakes.clock.advance(LATER)
    for user_id in ("u1", "u2", "u3"):
        scenario.leave(user_id)
    put = scenario.services.holds.put

    def meanwhile(*plan):
        put(*plan)
        scenario.join("u1")
        notice(scenario, "u1")

    monkeypatch.setattr(scenario.services.holds, "put", meanwhile)
    scenario.run()
    assert (begun(scenario.entry("u1")), scenario.entry("u1").status) == ({}, Status.ACTIVE)
    assert begun(scenario.entry("u2")) == {Trigger.APP_OFF: scenario.fakes.clock.now}


def test_who_waited_for_a_token_and_is_held_waits_for_the_hold_alone(scenario):
    scenario.services.connections.change("c1", lambda connection: replace(connection, state=State.PAUSED))
    for user_id, address in (("u1", "ann@example.com"), ("u2", "ben@example.com")):
        scenario.readdress(user_id, address)
        notice(scenario, user_id)
    assert scenario.entry("u1").pending
    with_policy(scenario, limit=VolumeLimit(minimum=1))
    scenario.services.connections.change("c1", lambda connection: replace(connection, state=State.ON))
    scenario.run()
    assert scenario.services.holds.standing("c1")
    assert [scenario.entry(user_id).pending for user_id in ("u1", "u2")] == [False, False]


@pytest.mark.parametrize("held", ["unlocking", "reactivating"])
def test_who_returns_has_no_timer_left_though_their_access_waits_for_an_approval(scenario, monkeypatch, held):
    delays = Delays(suspend_after=7 if held == "unlocking" else 0, delete_after=30)
    policy = Deprovisioning(app_off=delays)
    scenario.services.connections.change("c1", lambda connection: with_settings(connection, deprovisioning=policy))
    scenario.leave("u1")
    scenario.run()
    assert begun(scenario.entry("u1")).keys() == {Trigger.APP_OFF}
    if held == "unlocking":
        (account,) = scenario.keeper.of("u1")
        scenario.keeper.accounts[account.scim_id] = replace(account, active=False)
    scenario.fakes.clock.advance(2 * DAY)
    scenario.plan(RunKind.DRIFT)
    scenario.work_off()
    monkeypatch.setattr(guard, "GIVEN_AT_LEAST", 0)
    monkeypatch.setattr(guard, "GIVEN_SHARE", 0.0)
    scenario.join("u1")
    scenario.run()
    assert scenario.services.holds.standing("c1")
    assert (active(scenario, "u1"), begun(scenario.entry("u1"))) == ([False], {})


# ---- while it is being read


def _leaves(scenario):
    scenario.directory.memberships[GROUP.id].discard("u1")


def _suspended_untold(scenario):
    user = scenario.directory.live["u1"]
    scenario.directory.live["u1"] = replace(user, presence=Presence.SUSPENDED, since=None)


@pytest.mark.parametrize(
    ("kind", "listing", "happens", "trigger"),
    [
        (RunKind.FULL, "members", _leaves, Trigger.APP_OFF),
        (RunKind.FULL, "users", _suspended_untold, Trigger.SUSPENDED),
        (RunKind.DRIFT, "user", _suspended_untold, Trigger.SUSPENDED),
    ],
)
def test_what_is_seen_while_a_run_reads_counts_from_when_it_was_seen(
    scenario, monkeypatch, kind, listing, happens, trigger
):
    """And not from when the run began, when they had access by right."""
    delays = Delays(suspend_after=1)
    tomorrow = Deprovisioning(app_off=delays, suspended=delays, deleted=delays)
    scenario.services.connections.change("c1", lambda connection: with_settings(connection, deprovisioning=tomorrow))
    scenario.run()
    (account,) = scenario.keeper.of("u1")
    renamed = {**account.attributes, "displayName": "Mallory"}  # for which a drift run reads the user
    scenario.keeper.accounts[account.scim_id] = replace(account, attributes=renamed)
    read, seen_at = getattr(scenario.directory, listing), []

    def slow(*asked):
        if not seen_at:
            scenario.fakes.clock.advance(timedelta(minutes=6))
            seen_at.append(scenario.fakes.clock.now)
            happens(scenario)
        return read(*asked)

    monkeypatch.setattr(scenario.directory, listing, slow)
    scenario.plan(kind)
    scenario.work_off()
    assert begun(scenario.entry("u1")) == {trigger: seen_at[0]}


def test_what_a_look_reads_counts_from_when_it_was_read(scenario, monkeypatch):
    """And not from when the look began, when the user was not suspended yet."""
    policy = Deprovisioning(suspended=Delays(suspend_after=1))
    scenario.services.connections.change("c1", lambda connection: with_settings(connection, deprovisioning=policy))
    read = scenario.directory.user

    def slow(user_id):
        scenario.fakes.clock.advance(timedelta(seconds=40))
        scenario.suspend(user_id)
        return read(user_id)

    monkeypatch.setattr(scenario.directory, "user", slow)
    notice(scenario, "u1")
    assert begun(scenario.entry("u1")) == {Trigger.SUSPENDED: scenario.directory.live["u1"].since}
