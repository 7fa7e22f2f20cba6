"""The scheduled sweep: each time as long as it alone finds changes of groups, seldom while the audit log tells them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from autoprovisioning.app.notifications.hearing import EVERY, Ear
from autoprovisioning.app.runs.reconcile import reconcile
from autoprovisioning.app.runs.sweep import sweep_if_due, sweep_on_schedule
from autoprovisioning.app.services import ChangeSources
from autoprovisioning.domain.due_runs import DueRun
from autoprovisioning.domain.errors import ConfigurationRefused
from autoprovisioning.domain.runs import RunKind, RunState
from autoprovisioning.domain.sources import STALE, Feed
from tests.support.in_memory import START
from tests.support.scenario import GROUP, Scenario

MINUTE = timedelta(minutes=1)
WITH_SINK = ChangeSources(audit_log=True, sweep_every=timedelta(hours=1))


@pytest.fixture
def listings(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []
    members = scenario.directory.members

    def counted(group_id: str):
        asked.append(group_id)
        return members(group_id)

    monkeypatch.setattr(scenario.directory, "members", counted)
    return asked


def swept_for(scenario: Scenario, through: ChangeSources, length: timedelta) -> None:
    services = replace(scenario.services, through=through)
    for _ in range(length // (5 * MINUTE)):
        sweep_on_schedule(services, services.clock() + MINUTE)
        scenario.fakes.clock.advance(5 * MINUTE)


def hear(scenario: Scenario) -> None:
    scenario.services.sources.hear(Feed.AUDIT_LOG, scenario.services.clock(), user=False)


def test_without_a_log_sink_it_sweeps_each_time_and_notes_nothing(scenario, listings):
    hear(scenario)
    swept_for(scenario, ChangeSources(), 60 * MINUTE)
    assert len(listings) == 12
    assert set(scenario.services.sources.all()) == {Feed.AUDIT_LOG}


def test_while_entries_arrive_it_sweeps_once_an_hour(scenario, listings):
    hear(scenario)
    swept_for(scenario, WITH_SINK, 6 * 60 * MINUTE)
    assert len(listings) == 6


def test_where_no_entry_ever_came_it_sweeps_each_time(scenario, listings):
    swept_for(scenario, WITH_SINK, 60 * MINUTE)
    assert len(listings) == 12


def test_once_entries_stop_it_sweeps_each_time_again(scenario, listings):
    hear(scenario)
    swept_for(scenario, WITH_SINK, STALE + 60 * MINUTE)
    assert len(listings) == STALE // timedelta(hours=1) + 12


def test_a_sweep_that_was_asked_for_counts_and_one_that_could_not_read_does_not(scenario, listings):
    hear(scenario)
    services = replace(scenario.services, through=WITH_SINK)
    services.due_runs.add([DueRun(kind=RunKind.SWEEP, at=services.clock())], services.clock())
    sweep_if_due(services, services.clock() + MINUTE)
    sweep_on_schedule(services, services.clock() + MINUTE)
    assert len(listings) == 1
    scenario.directory.unreadable.add(GROUP.id)
    scenario.fakes.clock.advance(60 * MINUTE)
    hear(scenario)
    swept_for(scenario, WITH_SINK, 15 * MINUTE)
    assert len(listings) == 4


@pytest.mark.parametrize(
    ("kind", "unreadable", "counts"),
    [
        (RunKind.FULL, False, True),
        (RunKind.FULL, True, False),
        (RunKind.DRIFT, False, False),
    ],
)
def test_a_full_run_counts_as_a_sweep_if_it_has_read_all_members(scenario, kind, unreadable, counts):
    services = replace(scenario.services, through=WITH_SINK)
    if unreadable:
        scenario.directory.unreadable.add(GROUP.id)
    reconcile(services, kind, services.clock() + 20 * MINUTE)
    assert (Feed.SWEEP in services.sources.all()) is counts


def test_a_full_run_that_takes_access_from_nobody_counts_as_no_sweep(scenario, listings):
    scenario.run()
    hear(scenario)
    services = replace(scenario.services, through=WITH_SINK)
    scenario.leave("u1")
    scenario.directory.broken_after = 1
    reconcile(services, RunKind.FULL, services.clock() + 20 * MINUTE)
    scenario.work_off()
    assert [account.active for account in scenario.keeper.of("u1")] == [True]
    sweep_on_schedule(services, services.clock() + MINUTE)
    scenario.work_off()
    assert [account.active for account in scenario.keeper.of("u1")] == [False]


def test_a_full_run_that_an_edit_stopped_on_one_connection_counts_as_no_sweep(scenario, monkeypatch):
    scenario.connect("c2", GROUP, shared=False)
    services = replace(scenario.services, through=WITH_SINK)
    users, change = scenario.directory.users, services.connections.change

    def edited(fields):
        change("c2", lambda current: replace(current, edition=current.edition + 1))
        return users(fields)

    monkeypatch.setattr(scenario.directory, "users", edited)
    runs = reconcile(services, RunKind.FULL, services.clock() + 20 * MINUTE)
    assert [run.state for run in runs] == [RunState.DONE, RunState.REFUSED]
    assert Feed.SWEEP not in services.sources.all()


def test_an_ear_notes_little_of_much_and_each_hour_in_which_users_changed(scenario, monkeypatch):
    noted: list[object] = []
    sources = scenario.services.sources
    monkeypatch.setattr(sources, "hear", lambda source, at, *, user: noted.append((at - START, user)))
    ear = Ear(sources, Feed.NOTIFICATIONS)
    for seconds in range(0, 420, 10):
        ear.hear(START + timedelta(seconds=seconds), user=seconds % 20 == 10)
    assert noted == [(timedelta(0), False), (timedelta(seconds=10), True), (EVERY + timedelta(seconds=10), True)]
    ear.hear(START + 60 * MINUTE, user=True)
    assert noted[-1] == (60 * MINUTE, True)


def test_what_cannot_be_noted_is_tried_again_with_the_next_one(scenario, monkeypatch):
    sources = scenario.services.sources
    with monkeypatch.context() as patched:
        patched.setattr(sources, "hear", refuse)
        ear = Ear(sources, Feed.NOTIFICATIONS)
        ear.hear(START, user=True)
    assert sources.all() == {}
    ear.hear(START, user=True)
    assert sources.all()[Feed.NOTIFICATIONS].latest == START


def refuse(_source: Feed, _at: datetime, *, user: bool) -> None:
    raise ConfigurationRefused("A note of a source of changes has schema 2; this version reads 1.")


def test_a_sweep_of_a_clock_that_was_ahead_leaves_none_out(scenario, listings):
    hear(scenario)
    scenario.services.sources.hear(Feed.SWEEP, scenario.services.clock() + timedelta(days=1), user=False)
    swept_for(scenario, WITH_SINK, 60 * MINUTE)
    assert len(listings) == 12
