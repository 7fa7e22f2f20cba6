"""A run that an administrator asks for, and what they are told of it whatever becomes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.administration.ask_for_run import (
    STALLED,
    Became,
    ask_for_run,
    look_after_run,
)
from autoprovisioning.app.runs.reconcile import LEASE, reconcile
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import Busy, NotFound, Transient, WrongState
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.requests import RUN
from autoprovisioning.domain.runs import RunKind, RunState
from tests.support.in_memory import Desk
from tests.support.scenario import CONNECTION, Office

ACTOR = Actor(address="boss@example.com", directory_id="u0")
MINUTE = timedelta(minutes=1)


@pytest.fixture
def office() -> Office:
    made = Office()
    made.work_off()
    return made


def asked(office: Office) -> str:
    return ask_for_run(office.services, office.connection, ACTOR).asked.id


def told(office: Office, request: str) -> tuple[Became, str]:
    found = look_after_run(office.services, office.connection, request)
    return found.became, found.run.id if found.run is not None else ""


def taken_up(office: Office, request: str) -> str:
    """Open the run that was asked for; its batches wait. Returns its id."""
    deadline = office.desk.clock.now + timedelta(minutes=25)
    [run] = reconcile(office.services, RunKind.FULL, deadline, insist=True, request=request)
    return run.id


def put(office: Office, run_id: str, state: RunState) -> None:
    office.services.runs.change("c1", run_id, lambda run: replace(run, state=state))


def be(office: Office, state: State) -> None:
    office.services.connections.change("c1", lambda current: replace(current, state=state))


def test_a_run_that_was_asked_for_waits_runs_and_is_done(office):
    request = asked(office)
    assert (office.desk.queue.runs, office.desk.queue.requests) == ([RunKind.FULL], [request])
    assert told(office, request) == (Became.WAITING, "")
    run = taken_up(office, request)
    assert told(office, request) == (Became.RUNNING, run)
    office.work_off()
    assert told(office, request) == (Became.DONE, run)


def test_each_of_two_who_ask_is_told_of_their_own_run(office):
    first, second = asked(office), asked(office)
    run = taken_up(office, first)
    with pytest.raises(Busy):
        taken_up(office, second)
    assert told(office, second) == (Became.WAITING, "")
    office.work_off()
    later = taken_up(office, second)
    assert told(office, first) == (Became.DONE, run)
    assert told(office, second)[1] == later != run


def test_a_run_of_the_schedule_answers_nobody(office):
    request = asked(office)
    office.run()
    assert told(office, request) == (Became.WAITING, "")


@pytest.mark.parametrize(("state", "became"), [(RunState.REFUSED, "refused"), (RunState.SUPERSEDED, "superseded")])
def test_a_run_that_came_to_nothing_is_told_as_it_ended(office, state, became):
    request = asked(office)
    run = taken_up(office, request)
    put(office, run, state)
    assert told(office, request) == (became, run)


def test_an_ending_stays_although_the_message_comes_again(office, monkeypatch):
    def unreadable(_fields):
        raise Transient("503")

    request = asked(office)
    with monkeypatch.context() as outage:
        outage.setattr(office.directory, "users", unreadable)
        with pytest.raises(Transient):
            taken_up(office, request)
    ended = told(office, request)
    assert ended[0] is Became.REFUSED
    office.desk.clock.advance(MINUTE)
    taken_up(office, request)
    assert told(office, request) == ended


@pytest.mark.parametrize("state", [State.OFF, State.PAUSED, State.DELETING])
def test_a_request_ends_where_the_connection_is_not_on_any_more(office, state):
    request = asked(office)
    be(office, state)
    assert told(office, request) == (Became.GIVEN_UP, "")


def test_turning_off_takes_nothing_back_that_has_ended(office):
    request = asked(office)
    run = taken_up(office, request)
    office.work_off()
    be(office, State.OFF)
    assert told(office, request) == (Became.DONE, run)


def test_a_message_that_is_lost_is_given_up_once_no_planner_can_have_it_in_hand(office):
    request = asked(office)
    patience = RUN.patience + office.services.timings.reconcile_limit
    office.desk.clock.advance(patience - MINUTE)
    assert told(office, request) == (Became.WAITING, "")
    office.desk.clock.advance(MINUTE)
    assert told(office, request) == (Became.GIVEN_UP, "")


@pytest.mark.parametrize("planned", [True, False])
def test_a_run_that_nobody_goes_on_with_is_given_up(office, planned):
    request = asked(office)
    run = taken_up(office, request)
    if not planned:
        put(office, run, RunState.OBSERVING)
    office.desk.clock.advance(STALLED - MINUTE)
    assert told(office, request) == (Became.RUNNING, run)
    office.desk.clock.advance(MINUTE)
    assert told(office, request) == (Became.GIVEN_UP, run)


def test_planning_may_take_longer_than_nothing_happening_does(office):
    assert office.services.timings.reconcile_limit < STALLED
    assert RUN.patience + office.services.timings.reconcile_limit + STALLED < RUN.kept


def test_a_request_waits_while_somebody_else_plans(office):
    request = asked(office)
    office.services.leases.take(LEASE, "another", office.desk.clock.now, MINUTE)
    with pytest.raises(Busy):
        taken_up(office, request)
    assert told(office, request) == (Became.WAITING, "")


def test_only_whoever_was_told_of_a_request_finds_it_and_for_a_day(office):
    request = asked(office)
    elsewhere = replace(CONNECTION, id="c2")
    for connection, name in ((CONNECTION, "unheard-of"), (elsewhere, request)):
        with pytest.raises(NotFound):
            look_after_run(office.services, connection, name)
    office.desk.clock.advance(RUN.kept)
    with pytest.raises(NotFound):
        told(office, request)


@pytest.mark.parametrize("state", [state for state in State if state is not State.ON])
def test_nobody_asks_where_nothing_runs(state):
    desk = Desk()
    with pytest.raises(WrongState):
        ask_for_run(desk.services, replace(CONNECTION, state=state), ACTOR)
    assert desk.queue.runs == []
