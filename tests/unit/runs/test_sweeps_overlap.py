"""Scheduled sweeps and those that are asked for never list the same groups at the same time, and none is forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest

from autoprovisioning.app.runs.lease import leased
from autoprovisioning.app.runs.sweep import LEASE, sweep_if_due, sweep_on_schedule
from autoprovisioning.domain.due_runs import due_now
from autoprovisioning.domain.runs import RunKind
from tests.support.scenario import Scenario

MINUTE = timedelta(minutes=1)


@pytest.fixture
def scenario() -> Scenario:
    scenario = Scenario()
    scenario.reconcile_to_the_end()
    return scenario


def sweeps(scenario: Scenario) -> int:
    return sweep_on_schedule(scenario.services, scenario.fakes.clock() + 4 * MINUTE)


def test_a_sweep_is_left_out_while_another_one_is_in_progress(scenario):
    scenario.leave("u1")
    services, timings = scenario.services, scenario.services.timings
    with leased(services, LEASE, timings.reconcile_lease, scenario.fakes.clock() + timings.reconcile_limit):
        assert sweeps(scenario) == 0
    assert scenario.fakes.queue.looks == []
    assert sweeps(scenario) == 1
    assert [look.user_id for look in scenario.fakes.queue.looks] == ["u1"]


def test_a_sweep_that_is_asked_for_meanwhile_is_made_after_it(scenario, monkeypatch):
    services, now = scenario.services, scenario.fakes.clock()
    members = scenario.directory.members

    def interrupted(group_id: str) -> Iterator[Sequence[str]]:
        monkeypatch.setattr(scenario.directory, "members", members)
        pages = list(members(group_id))
        scenario.leave("u2")
        services.due_runs.add(due_now(RunKind.SWEEP, now), now)
        assert sweep_if_due(services, now + 4 * MINUTE) == 0, "left to this one"
        return iter(pages)

    scenario.leave("u1")
    monkeypatch.setattr(scenario.directory, "members", interrupted)
    assert sweeps(scenario) == 2
    assert [look.user_id for look in scenario.fakes.queue.looks] == ["u1", "u2"]
    assert not services.due_runs.all()


def test_of_what_is_deleted_during_a_sweep_nothing_is_kept(scenario, monkeypatch):
    members = scenario.directory.members

    def deleted(group_id: str) -> Iterator[Sequence[str]]:
        scenario.services.connections.purge("c1")
        return members(group_id)

    scenario.leave("u1")
    monkeypatch.setattr(scenario.directory, "members", deleted)
    sweeps(scenario)
    assert scenario.services.sweeps.get("c1") == frozenset()


def test_what_was_due_when_a_scheduled_sweep_began_is_made_by_it(scenario, monkeypatch):
    services, now = scenario.services, scenario.fakes.clock()
    listed: list[str] = []
    members = scenario.directory.members

    def counted(group_id: str) -> Iterator[Sequence[str]]:
        listed.append(group_id)
        return members(group_id)

    monkeypatch.setattr(scenario.directory, "members", counted)
    services.due_runs.add(due_now(RunKind.SWEEP, now), now)
    sweeps(scenario)
    assert listed == ["g1"]
    assert not services.due_runs.all()
