"""A run that an administrator requests, and what they learn about it, whatever becomes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.administration.ask_for_run import STALLED, ask_for_run, look_after_run
from autoprovisioning.app.runs.reconcile import LEASE, reconcile
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import Busy, NotFound, Transient, WrongState
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.requests import RUN, Became
from autoprovisioning.domain.runs import RunKind, RunState
from tests.support.in_memory import FakeServices
from tests.support.scenario import CONNECTION, Scenario

ACTOR = Actor(address="boss@example.com", directory_id="u0")
MINUTE = timedelta(minutes=1)


@pytest.fixture
def scenario() -> Scenario:
    made = Scenario()
    made.work_off()
    return made


def asked(scenario: Scenario) -> str:
    return ask_for_run(scenario.services, scenario.connection, ACTOR).asked.id


def told(scenario: Scenario, request: str) -> tuple[Became, str]:
    found = look_after_run(scenario.services, scenario.connection, request)
    return found.became, found.run.id if found.run is not None else ""


def taken_up(scenario: Scenario, request: str) -> str:
    """Open the requested run; its batches wait. Returns its id."""
    deadline = scenario.fakes.clock.now + timedelta(minutes=25)
    [run] = reconcile(scenario.services, RunKind.FULL, deadline, insist=True, request=request)
    return run.id


def put(scenario: Scenario, run_id: str, state: RunState) -> None:
    scenario.services.runs.change("c1", run_id, lambda run: replace(run, state=state))


def be(scenario: Scenario, state: State) -> None:
    scenario.services.connections.change("c1", lambda current: replace(current, state=state))


def test_a_run_that_was_asked_for_waits_runs_and_is_done(scenario):
    request = asked(scenario)
    assert (scenario.fakes.queue.runs, scenario.fakes.queue.requests) == ([RunKind.FULL], [request])
    assert told(scenario, request) == (Became.WAITING, "")
    run = taken_up(scenario, request)
    assert told(scenario, request) == (Became.RUNNING, run)
    scenario.work_off()
    assert told(scenario, request) == (Became.DONE, run)


def test_each_of_two_who_ask_is_told_of_their_own_run(scenario):
    first, second = asked(scenario), asked(scenario)
    run = taken_up(scenario, first)
    with pytest.raises(Busy):
        taken_up(scenario, second)
    assert told(scenario, second) == (Became.WAITING, "")
    scenario.work_off()
    later = taken_up(scenario, second)
    assert told(scenario, first) == (Became.DONE, run)
    assert told(scenario, second)[1] == later != run


def test_a_run_of_the_schedule_answers_nobody(scenario):
    request = asked(scenario)
    scenario.run()
    assert told(scenario, request) == (Became.WAITING, "")


@pytest.mark.parametrize(("state", "became"), [(RunState.REFUSED, "refused"), (RunState.SUPERSEDED, "superseded")])
def test_a_run_that_came_to_nothing_is_told_as_it_ended(scenario, state, became):
    request = asked(scenario)
    run = taken_up(scenario, request)
    put(scenario, run, state)
    assert told(scenario, request) == (became, run)


def test_an_ending_stays_although_the_message_comes_again(scenario, monkeypatch):
    def unreadable(_fields):
        raise Transient("503")

    request = asked(scenario)
    with monkeypatch.context() as outage:
        outage.setattr(scenario.directory, "users", unreadable)
        with pytest.raises(Transient):
            taken_up(scenario, request)
    ended = told(scenario, request)
    assert ended[0] is Became.REFUSED
    scenario.fakes.clock.advance(MINUTE)
    taken_up(scenario, request)
    assert told(scenario, request) == ended


@pytest.mark.parametrize("state", [State.OFF, State.PAUSED, State.DELETING])
def test_a_request_ends_where_the_connection_is_not_on_any_more(scenario, state):
    request = asked(scenario)
    be(scenario, state)
    assert told(scenario, request) == (Became.GIVEN_UP, "")


def test_turning_off_takes_nothing_back_that_has_ended(scenario):
    request = asked(scenario)
    run = taken_up(scenario, request)
    scenario.work_off()
    be(scenario, State.OFF)
    assert told(scenario, request) == (Became.DONE, run)


def test_a_message_that_is_lost_is_given_up_once_no_planner_can_have_it_in_hand(scenario):
    request = asked(scenario)
    patience = RUN.patience + scenario.services.timings.reconcile_limit
    scenario.fakes.clock.advance(patience - MINUTE)
    assert told(scenario, request) == (Became.WAITING, "")
    scenario.fakes.clock.advance(MINUTE)
    assert told(scenario, request) == (Became.GIVEN_UP, "")


@pytest.mark.parametrize("planned", [True, False])
def test_a_run_that_nobody_goes_on_with_is_given_up(scenario, planned):
    request = asked(scenario)
    run = taken_up(scenario, request)
    if not planned:
        put(scenario, run, RunState.OBSERVING)
    scenario.fakes.clock.advance(STALLED - MINUTE)
    assert told(scenario, request) == (Became.RUNNING, run)
    scenario.fakes.clock.advance(MINUTE)
    assert told(scenario, request) == (Became.GIVEN_UP, run)


def test_planning_may_take_longer_than_nothing_happening_does(scenario):
    assert scenario.services.timings.reconcile_limit < STALLED
    assert RUN.patience + scenario.services.timings.reconcile_limit + STALLED < RUN.kept


def test_a_request_waits_while_somebody_else_plans(scenario):
    request = asked(scenario)
    scenario.services.leases.take(LEASE, "another", scenario.fakes.clock.now, MINUTE)
    with pytest.raises(Busy):
        taken_up(scenario, request)
    assert told(scenario, request) == (Became.WAITING, "")


def test_only_whoever_was_told_of_a_request_finds_it_and_for_a_day(scenario):
    request = asked(scenario)
    elsewhere = replace(CONNECTION, id="c2")
    for connection, name in ((CONNECTION, "unheard-of"), (elsewhere, request)):
        with pytest.raises(NotFound):
            look_after_run(scenario.services, connection, name)
    scenario.fakes.clock.advance(RUN.kept)
    with pytest.raises(NotFound):
        told(scenario, request)


@pytest.mark.parametrize("state", [state for state in State if state is not State.ON])
def test_nobody_asks_where_nothing_runs(state):
    fakes = FakeServices()
    with pytest.raises(WrongState):
        ask_for_run(fakes.services, replace(CONNECTION, state=state), ACTOR)
    assert fakes.queue.runs == []
