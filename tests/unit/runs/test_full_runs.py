"""The full run that is scheduled: each time, or rarely while the audit log tells, with an eye on leavers in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.app.runs import full_runs
from autoprovisioning.app.runs.full_runs import reconcile_on_schedule
from autoprovisioning.app.runs.reconcile import reconcile
from autoprovisioning.app.runs.sweep import sweep_on_schedule
from autoprovisioning.app.services import ChangeSources
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Action, Entry, Failure, Mark
from autoprovisioning.domain.full_runs import SCHEDULED
from autoprovisioning.domain.holds import Standing
from autoprovisioning.domain.runs import Run, RunKind, RunState
from autoprovisioning.domain.settings import VolumeLimit
from autoprovisioning.domain.sources import STALE, Feed
from tests.support.scenario import GROUP, Scenario
from tests.support.settings import with_settings

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
WITHOUT = ChangeSources()
RARELY = {every: ChangeSources(audit_log=True, sweep_every=HOUR, full_run_every=every) for every in (HOUR, DAY)}


class Customer:
    """A scenario whose schedule is played, with or without a log sink; each event of the directory is lost."""

    def __init__(self, scenario: Scenario, through: ChangeSources) -> None:
        self.scenario = scenario
        self.services = replace(scenario.services, through=through)
        self.silent = False

    @property
    def full_runs(self) -> list[Run]:
        runs = self.scenario.services.runs.latest("c1", 1000)
        return [run for run in runs if run.kind is RunKind.FULL]

    def play(self, length: timedelta) -> int:
        """Let time pass; returns how many full runs were made."""
        known = len(self.full_runs)
        for number in range(length // (5 * MINUTE)):
            now = self.services.clock()
            if not self.silent:
                self.services.sources.hear(Feed.AUDIT_LOG, now, user=False)
            if number % 3 == 0:
                reconcile_on_schedule(self.services, now + 20 * MINUTE)
            else:
                sweep_on_schedule(self.services, now + MINUTE)
            self.scenario.work_off()
            self.scenario.fakes.clock.advance(5 * MINUTE)
        return len(self.full_runs) - known

    def setting(self, **changed: object) -> None:
        """Change settings as if they had always been so."""
        self.services.connections.change("c1", lambda current: with_settings(current, **changed))

    def edit(self, user_id: str, **changed: object) -> None:
        """Change what the roster has of somebody."""

        def edited(known: Mapping[str, Entry]) -> tuple[Edit, None]:
            return Edit(entries={user_id: replace(known[user_id], **changed)}), None  # type: ignore[arg-type]

        self.services.roster.commit(self.scenario.connection, [user_id], edited)

    def active(self, user_id: str) -> bool:
        return any(account.active for account in self.scenario.keeper.of(user_id))


@pytest.fixture
def customer(scenario: Scenario) -> Callable[[timedelta], Customer]:
    def of(every: timedelta) -> Customer:
        made = Customer(scenario, RARELY[every])
        assert made.play(SCHEDULED) == 1  # no full run of theirs has noted that it swept
        assert made.play(SCHEDULED) == 0
        return made

    return of


@pytest.fixture
def daily(customer: Callable[[timedelta], Customer]) -> Customer:
    return customer(DAY)


@pytest.mark.parametrize(("through", "runs"), [(WITHOUT, 96), (RARELY[HOUR], 24), (RARELY[DAY], 1)])
def test_a_day_has_as_many_full_runs_as_are_set(scenario, through, runs):
    assert Customer(scenario, through).play(DAY) == runs


@pytest.mark.parametrize(("every", "listings"), [(HOUR, 24), (DAY, 23)])
def test_members_are_listed_once_an_hour_by_a_full_run_or_a_sweep(scenario, monkeypatch, every, listings):
    asked: list[str] = []
    members = scenario.directory.members
    monkeypatch.setattr(scenario.directory, "members", lambda group: asked.append(group) or members(group))
    services = replace(scenario.services, through=RARELY[every])
    for number in range(DAY // (5 * MINUTE)):  # a sweep is scheduled two minutes before a full run
        services.sources.hear(Feed.AUDIT_LOG, services.clock(), user=False)
        if number % 3 == 0:
            reconcile_on_schedule(services, services.clock() + 20 * MINUTE)
        scenario.fakes.clock.advance(3 * MINUTE)
        sweep_on_schedule(services, services.clock() + MINUTE)
        scenario.fakes.clock.advance(2 * MINUTE)
    assert len(asked) == listings


def test_without_a_log_sink_the_setting_counts_for_nothing(scenario):
    assert Customer(scenario, ChangeSources(full_run_every=DAY)).play(2 * HOUR) == 8


def test_a_run_that_is_asked_for_is_made_at_once(daily):
    reconcile(daily.services, RunKind.FULL, daily.services.clock() + MINUTE)
    assert daily.full_runs[0].started == daily.services.clock()


@pytest.mark.parametrize("act", ["suspend", "delete"])
def test_a_lost_event_keeps_no_leaver_in(daily, act):
    getattr(daily.scenario, act)("u1")
    assert (daily.play(SCHEDULED), daily.active("u1"), daily.active("u2")) == (0, False, True)
    assert (daily.play(2 * HOUR), daily.scenario.fakes.queue.runs) == (0, [])


def test_who_is_archived_leaves_where_that_counts_as_suspended(daily):
    daily.scenario.archive("u1")
    assert (daily.play(HOUR), daily.active("u1")) == (0, True)
    daily.setting(archived_as_suspended=True)
    assert (daily.play(SCHEDULED), daily.active("u1")) == (0, False)


def test_who_is_restored_comes_back(daily):
    daily.scenario.suspend("u1")
    daily.play(SCHEDULED)
    daily.scenario.restore("u1")
    assert (daily.play(SCHEDULED), daily.active("u1")) == (0, True)


def test_a_timer_that_runs_out_is_served_in_time(daily):
    delays = Delays(suspend_after=0, delete_after=1)
    daily.setting(deprovisioning=Deprovisioning(suspended=delays))
    daily.scenario.suspend("u1")
    daily.play(HOUR)
    assert daily.scenario.keeper.of("u1") != []
    daily.silent = True  # for less than a day
    assert daily.play(DAY - HOUR) == 1  # half an hour before it runs out
    assert daily.play(SCHEDULED) == 0
    entry = daily.scenario.entry("u1")
    assert entry is not None
    assert entry.deleted


def test_who_left_and_is_due_later_is_left_to_a_full_run_at_that_time(customer):
    hourly = customer(DAY)
    hourly.setting(deprovisioning=Deprovisioning(app_off=Delays(suspend_after=1)))
    hourly.play(10 * HOUR)
    hourly.scenario.leave("u1")
    began = len(hourly.full_runs)
    assert (hourly.play(12 * HOUR), hourly.active("u1")) == (0, True)
    assert (hourly.play(14 * HOUR), hourly.active("u1")) == (2, False)  # the daily one, and this
    assert len(hourly.full_runs) == began + 2


def test_more_leavers_than_the_limit_are_held_as_one_plan(daily):
    daily.setting(limit=VolumeLimit(minimum=1, share=0.01))
    for user_id in ("u1", "u2", "u3"):
        daily.scenario.suspend(user_id)
    assert daily.play(SCHEDULED) == 1
    (hold,) = daily.services.holds.standing("c1")
    assert len(hold.members) == 3
    assert all(map(daily.active, ("u1", "u2", "u3")))
    assert daily.play(HOUR) == 4  # what is held must be what is due


def test_many_who_leave_the_scope_are_held_as_one_plan(daily):
    daily.setting(limit=VolumeLimit(minimum=1, share=0.01))
    for user_id in ("u1", "u2"):
        daily.scenario.leave(user_id)
    daily.play(HOUR)
    assert daily.scenario.fakes.queue.runs == [RunKind.FULL]
    daily.play(HOUR)
    assert len(daily.scenario.fakes.queue.runs) == 1


def test_whom_the_directory_called_a_member_for_too_long_leaves_with_a_later_sweep(daily, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(daily.scenario.directory, "is_member", lambda group_id, user_id: True)
        daily.scenario.leave("u1")
        daily.play(2 * HOUR)
    assert daily.active("u1")
    assert (daily.play(2 * HOUR), daily.active("u1")) == (0, False)


def test_a_crowd_that_waits_is_left_to_a_full_run(daily, monkeypatch):
    monkeypatch.setattr(full_runs, "ONE_BY_ONE", 1)
    daily.edit("u1", pending=True)
    assert daily.play(SCHEDULED) == 0
    daily.edit("u1", pending=True)
    daily.edit("u2", pending=True)
    assert daily.play(SCHEDULED) == 1


def test_what_waits_is_tried_again(daily):
    now = daily.services.clock()
    failure = Failure(code="x", text="", attempts=1, first=now, next_attempt=now + SCHEDULED, about="update:x")
    mark = Mark(change_id="m1", message_id="m", action=Action.UPDATE, until=now)
    daily.edit("u1", failure=failure)
    daily.edit("u2", mark=mark)
    daily.edit("u3", pending=True)
    assert daily.play(5 * MINUTE) == 0
    entries = [daily.scenario.entry(user_id) for user_id in ("u1", "u2", "u3")]
    assert [(each.failure, each.mark, each.pending) for each in entries if each] == [
        (failure, None, False),
        (None, None, False),
        (None, None, False),
    ]
    assert daily.play(2 * SCHEDULED) == 0
    entry = daily.scenario.entry("u1")
    assert entry is not None
    assert entry.failure is None


def test_whom_a_worker_that_died_was_to_look_at_again_is_looked_at(daily):
    daily.edit("u1", again=True)
    assert daily.play(5 * MINUTE) == 0
    entry = daily.scenario.entry("u1")
    assert entry is not None
    assert not entry.again


def test_what_was_rejected_is_left_alone(daily):
    daily.setting(limit=VolumeLimit(minimum=1, share=0.01))
    for user_id in ("u1", "u2"):
        daily.scenario.suspend(user_id)
    daily.play(SCHEDULED)
    (hold,) = daily.services.holds.standing("c1")
    rejected = hold.moved(lambda *_: Standing.REJECTED, daily.services.clock(), by="admin@example.com")
    daily.services.holds.change("c1", hold.digest, lambda _: rejected)
    daily.play(HOUR)
    delivered = daily.scenario.delivered
    assert (daily.play(2 * HOUR), daily.scenario.delivered - delivered) == (0, 0)
    assert all(map(daily.active, ("u1", "u2")))


# ---- when full runs are made each time


def test_once_entries_stop_they_are_made_each_time_and_after_they_speak_again_they_are_not(daily):
    daily.silent = True
    daily.play(STALE)
    assert daily.play(HOUR) == 4
    daily.silent = False
    daily.play(HOUR)
    assert daily.play(HOUR) == 0


def test_where_no_entry_ever_came_they_are_made_each_time(scenario):
    silent = Customer(scenario, RARELY[DAY])
    silent.silent = True
    assert silent.play(HOUR) == 4


def test_one_that_could_not_read_everything_is_followed_by_another(daily):
    daily.scenario.directory.unreadable.add(GROUP.id)
    reconcile(daily.services, RunKind.FULL, daily.services.clock() + 20 * MINUTE)
    assert daily.play(HOUR) == 4
    daily.scenario.directory.unreadable.clear()
    assert daily.play(SCHEDULED) == 1
    assert daily.play(HOUR) == 0


def test_so_is_one_that_is_not_done(daily):
    daily.services.runs.change("c1", daily.full_runs[0].id, lambda run: replace(run, state=RunState.SUPERSEDED))
    assert daily.play(HOUR) == 1


def test_where_members_cannot_be_listed_lately_everybody_is_looked_at(daily):
    daily.scenario.directory.unreadable.add(GROUP.id)
    daily.play(2 * HOUR)
    assert daily.play(HOUR) == 4


def test_an_edit_is_followed_by_a_full_run(daily):
    daily.services.connections.change("c1", lambda current: replace(current, edition=current.edition + 1))
    assert daily.play(HOUR) == 1


@pytest.mark.parametrize("failing", [Presence.SUSPENDED.value])
def test_where_leavers_cannot_be_listed_everybody_is_looked_at(daily, failing):
    daily.scenario.directory.failing.add(failing)
    assert daily.play(SCHEDULED) == 1


def test_a_first_run_is_made_whatever_is_set(daily):
    daily.scenario.connect("c2", GROUP, shared=False)
    assert daily.play(SCHEDULED) == 1


def test_whom_a_complete_listing_lacks_is_listed_again_15_minutes_later(daily):
    daily.edit("u1", missing_since=daily.full_runs[0].started + MINUTE)
    assert daily.play(SCHEDULED) == 1
    daily.edit("u1", missing_since=daily.full_runs[0].started - SCHEDULED)
    assert daily.play(HOUR) == 0  # it was, and cannot be proven otherwise


def test_a_connection_that_keeper_makes_wait_is_left_alone(daily):
    later = daily.services.clock() + HOUR
    daily.services.connections.change("c1", lambda current: replace(current, throttled_until=later))
    daily.scenario.suspend("u1")
    assert (daily.play(SCHEDULED), daily.active("u1")) == (0, True)
    assert (daily.play(HOUR), daily.active("u1")) == (0, False)


def test_whoever_asked_for_another_look_is_heard_before_the_next_full_run(daily):
    """The worker that they met is dead: nobody else knows of it."""
    daily.scenario.rename("u1", "Augusta")
    daily.edit("u1", again=True)
    assert daily.play(SCHEDULED) == 0
    (account,) = daily.scenario.keeper.of("u1")
    assert account.attributes["name.givenName"] == "Augusta"


def test_leavers_for_whom_the_day_has_no_room_left_are_held_as_a_plan(daily):
    daily.setting(limit=VolumeLimit(minimum=1, share=0.01))
    daily.scenario.suspend("u1")
    assert (daily.play(SCHEDULED), daily.active("u1")) == (0, False)
    daily.scenario.suspend("u2")
    assert (daily.play(SCHEDULED), daily.active("u2")) == (1, True)
    (hold,) = daily.services.holds.standing("c1")
    assert [member.resource for member in hold.those(Standing.WAITING)] == ["u2"]


def test_an_account_that_vanished_is_made_again(daily):
    (account,) = daily.scenario.keeper.of("u1")
    del daily.scenario.keeper.accounts[account.scim_id]
    daily.edit("u1", drift=("account",))
    daily.play(SCHEDULED)
    assert daily.active("u1")
