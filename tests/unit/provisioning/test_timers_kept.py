"""Timers are recorded when a trigger is seen, whatever becomes of what it makes due."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.entry import Status, Trigger
from autoprovisioning.domain.errors import Rejected
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.settings import VolumeLimit
from tests.support.builders import DAY, active, begun, notice
from tests.support.scenario import LATER
from tests.support.settings import with_settings

THEN_DELETED = Deprovisioning(
    app_off=Delays(suspend_after=0, delete_after=7),
    suspended=Delays(suspend_after=0, delete_after=7),
    deleted=Delays(suspend_after=0, delete_after=7),
)


def with_policy(office, **changes):
    office.services.connections.change(
        "c1", lambda connection: with_settings(connection, deprovisioning=THEN_DELETED, **changes)
    )


def test_whoever_is_held_is_deleted_on_the_day_that_counts_from_when_they_left(office):
    with_policy(office, limit=VolumeLimit(minimum=1))
    office.desk.clock.advance(LATER)
    left = office.desk.clock.now
    for user_id in ("u1", "u2", "u3"):
        office.leave(user_id)
    office.run()
    assert [begun(office.entry(user_id)) for user_id in ("u1", "u2", "u3")] == [{Trigger.APP_OFF: left}] * 3
    office.desk.clock.advance(3 * DAY)
    (hold,) = [hold for hold in office.services.holds.standing("c1") if hold.decided_at is None]
    decide_hold(office.services, "c1", hold.digest, "approve", Actor(address="boss@example.com"))
    office.run()
    assert {office.entry(user_id).status for user_id in ("u1", "u2", "u3")} == {Status.SUSPENDED}
    assert begun(office.entry("u1")) == {Trigger.APP_OFF: left}


def test_a_suspension_that_fails_keeps_the_time_from_when_it_was_due(office):
    with_policy(office)
    office.desk.clock.advance(LATER)
    office.run()
    left = office.desk.clock.now
    office.leave("u1")
    office.keeper.faults.append(Rejected("400"))
    office.run()
    assert begun(office.entry("u1")) == {Trigger.APP_OFF: left}
    assert office.entry("u1").failure is not None
    office.desk.clock.advance(timedelta(hours=1))
    office.run()
    assert (office.entry("u1").status, begun(office.entry("u1"))) == (Status.SUSPENDED, {Trigger.APP_OFF: left})


def test_a_notification_over_the_limit_records_the_timer(office):
    with_policy(office, limit=VolumeLimit(minimum=1))
    office.desk.clock.advance(LATER)
    for user_id in ("u1", "u2"):
        office.suspend(user_id)
        notice(office, user_id)
    assert begun(office.entry("u2")) == {Trigger.SUSPENDED: office.directory.live["u2"].since}
    assert office.entry("u2").status is Status.ACTIVE


def test_what_was_deleted_is_not_deleted_again_by_every_run_and_comes_back_with_its_user(office):
    at_once = Deprovisioning(
        app_off=Delays(suspend_after=None, delete_after=0),
        suspended=Delays(suspend_after=None, delete_after=0),
        deleted=Delays(suspend_after=None, delete_after=0),
    )
    office.services.connections.change("c1", lambda connection: with_settings(connection, deprovisioning=at_once))
    office.suspend("u1")
    office.reconcile_to_the_end()
    deleted = office.entry("u1")
    assert (deleted.status, deleted.deleted) == (Status.SUSPENDED, True)
    office.rename("u1", "Grace")
    office.reconcile_to_the_end()
    assert office.entry("u1") == deleted
    office.restore("u1")
    office.reconcile_to_the_end()
    assert (office.entry("u1").status, office.entry("u1").deleted, active(office, "u1")) == (
        Status.ACTIVE,
        False,
        [True],
    )


def test_a_leaver_of_whom_the_directory_tells_a_later_time_is_not_rewritten_by_every_run(office):
    office.suspend("u1")
    office.reconcile_to_the_end()
    kept = office.entry("u1")
    user = office.directory.live["u1"]
    office.directory.live["u1"] = replace(user, since=user.since + timedelta(milliseconds=987))
    office.run()
    office.sweep()
    assert office.entry("u1") == kept


def test_how_many_archived_people_keep_their_access_is_told_by_every_run(office):
    office.archive("u1")
    office.archive("u2")
    office.suspend("u3")
    office.desk.clock.advance(LATER)
    run = office.plan()
    office.work_off()
    run = office.services.runs.get("c1", run.id)
    assert run.counts["archived"] == 2
    assert "Archived users who keep their access, since they are not operated on: 2" in "\n".join(run.notes)
    office.services.connections.change("c1", lambda connection: with_settings(connection, archived_as_suspended=True))
    office.reconcile_to_the_end()
    run = office.plan()
    assert ("archived" in run.counts, active(office, "u1")) == (False, [False])


def test_who_returns_while_a_plan_is_held_gets_no_timer_back(office, monkeypatch):
    with_policy(office, limit=VolumeLimit(minimum=1))
    office.desk.clock.advance(LATER)
    for user_id in ("u1", "u2", "u3"):
        office.leave(user_id)
    put = office.services.holds.put

    def meanwhile(*plan):
        put(*plan)
        office.join("u1")
        notice(office, "u1")

    monkeypatch.setattr(office.services.holds, "put", meanwhile)
    office.run()
    assert (begun(office.entry("u1")), office.entry("u1").status) == ({}, Status.ACTIVE)
    assert begun(office.entry("u2")) == {Trigger.APP_OFF: office.desk.clock.now}


def test_who_waited_for_a_token_and_is_held_waits_for_the_hold_alone(office):
    office.services.connections.change("c1", lambda connection: replace(connection, state=State.PAUSED))
    for user_id, address in (("u1", "ann@example.com"), ("u2", "ben@example.com")):
        office.readdress(user_id, address)
        notice(office, user_id)
    assert office.entry("u1").pending
    with_policy(office, limit=VolumeLimit(minimum=1))
    office.services.connections.change("c1", lambda connection: replace(connection, state=State.ON))
    office.run()
    assert office.services.holds.standing("c1")
    assert [office.entry(user_id).pending for user_id in ("u1", "u2")] == [False, False]
