"""The wait that Keeper asks for: the connection's, an hour at most, ended when somebody wants something done now."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from autoprovisioning.app.administration.ask_for_run import ask_for_run
from autoprovisioning.app.administration.configure import turn_on
from autoprovisioning.app.administration.inquire import inquire
from autoprovisioning.app.administration.roles import Role
from autoprovisioning.app.provisioning.target import WAIT, Keeper
from autoprovisioning.domain.connections import LONGEST_THROTTLE, State
from autoprovisioning.domain.errors import Throttled, Waiting
from autoprovisioning.domain.events import Actor, Event, EventName
from autoprovisioning.domain.requests import InquiryKind
from tests.support.builders import MINUTE, SECOND, active, notice
from tests.support.in_memory import FakeAccounts
from tests.support.scenario import Scenario

ACTOR = Actor(address="boss@example.com", directory_id="u0")
YEARS = timedelta(days=20_000)


def be(scenario: Scenario, **changes: object) -> None:
    scenario.services.connections.change("c1", lambda current: replace(current, **changes))


def until(scenario: Scenario) -> datetime | None:
    return scenario.connection.throttled_until


@pytest.mark.parametrize("asked", [3601, 1_000_000, 1e18, float("inf"), float("nan")])
def test_no_wait_is_longer_than_an_hour(scenario, asked):
    Keeper(scenario.services, scenario.connection).throttle(Throttled("429", retry_after=asked))
    assert until(scenario) == scenario.fakes.clock.now + LONGEST_THROTTLE


@pytest.mark.parametrize("asked", [None, 0, -5])
def test_no_wait_is_shorter_than_a_second(scenario, asked):
    Keeper(scenario.services, scenario.connection).throttle(Throttled("429", retry_after=asked))
    assert until(scenario) == scenario.fakes.clock.now + SECOND


def test_a_wait_of_years_that_an_older_version_stored_ends_after_an_hour(scenario):
    be(scenario, throttled_until=scenario.fakes.clock.now + YEARS)
    scenario.suspend("u1")
    for minutes in (0, 20, 20, 19):
        scenario.fakes.clock.advance(minutes * MINUTE)
        with pytest.raises(Waiting):
            Keeper(scenario.services, scenario.connection).accounts()
        notice(scenario, "u1")
        assert active(scenario, "u1") == [True]
    scenario.fakes.clock.advance(MINUTE)
    notice(scenario, "u1")
    assert active(scenario, "u1") == [False]


def test_respecting_a_wait_does_not_write(scenario):
    be(scenario, throttled_until=scenario.fakes.clock.now + 10 * MINUTE)
    before = scenario.connection
    with pytest.raises(Waiting, match="another 600 s"):
        Keeper(scenario.services, scenario.connection).accounts()
    assert scenario.connection == before


def run_now(scenario: Scenario) -> None:
    ask_for_run(scenario.services, scenario.connection, ACTOR)


def provision_now(scenario: Scenario) -> None:
    inquire(scenario.services, "c1", "u1", InquiryKind.PROVISION, ACTOR, Role.SUPER)


def turn_it_on(scenario: Scenario) -> None:
    be(scenario, state=State.OFF)
    turn_on(scenario.services, "c1", ACTOR)


def said(scenario: Scenario) -> Event:
    return [event for event in scenario.fakes.store.events["c1"].values() if event.name is EventName.CONFIGURED][-1]


@pytest.mark.parametrize("act", [run_now, provision_now, turn_it_on])
def test_whoever_wants_something_done_now_ends_the_wait_and_the_audit_says_so(scenario, act):
    be(scenario, throttled_until=scenario.fakes.clock.now + YEARS)
    act(scenario)
    assert until(scenario) is None
    event = said(scenario)
    assert (event.actor, WAIT in (event.before or {}), event.changed[WAIT]) == (ACTOR.address, True, None)


@pytest.mark.parametrize("act", [run_now, provision_now])
def test_where_there_is_no_wait_nothing_is_told_of_one(scenario, act):
    before = dict(scenario.fakes.store.events["c1"])
    act(scenario)
    assert scenario.fakes.store.events["c1"] == before


def test_looking_a_user_up_does_not_end_a_wait(scenario):
    be(scenario, throttled_until=scenario.fakes.clock.now + MINUTE)
    inquire(scenario.services, "c1", "u1", InquiryKind.EXPLAIN, ACTOR, Role.SUPER)
    assert until(scenario) == scenario.fakes.clock.now + MINUTE


def test_a_mark_that_meets_a_wait_makes_the_connection_wait(scenario, monkeypatch):
    scenario.keeper.faults.append("lost")
    scenario.rename("u1", "Lost")
    notice(scenario, "u1")

    def get(_accounts: FakeAccounts, _scim_id: str) -> None:
        raise Throttled("429", retry_after=120)

    monkeypatch.setattr(FakeAccounts, "get", get)
    notice(scenario, "u1")
    assert until(scenario) == scenario.fakes.clock.now + 2 * MINUTE
    assert scenario.entry("u1").failure is None
