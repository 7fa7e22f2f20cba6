"""The wait that Keeper asks for: the connection's, an hour at most, ended by whoever wants something done now."""

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
from tests.support.scenario import Office

ACTOR = Actor(address="boss@example.com", directory_id="u0")
YEARS = timedelta(days=20_000)


def be(office: Office, **changes: object) -> None:
    office.services.connections.change("c1", lambda current: replace(current, **changes))


def until(office: Office) -> datetime | None:
    return office.connection.throttled_until


@pytest.mark.parametrize("asked", [3601, 1_000_000, 1e18, float("inf"), float("nan")])
def test_no_wait_is_longer_than_an_hour(office, asked):
    Keeper(office.services, office.connection).throttle(Throttled("429", retry_after=asked))
    assert until(office) == office.desk.clock.now + LONGEST_THROTTLE


@pytest.mark.parametrize("asked", [None, 0, -5])
def test_no_wait_is_shorter_than_a_second(office, asked):
    Keeper(office.services, office.connection).throttle(Throttled("429", retry_after=asked))
    assert until(office) == office.desk.clock.now + SECOND


def test_a_wait_of_years_that_an_older_version_stored_ends_after_an_hour(office):
    be(office, throttled_until=office.desk.clock.now + YEARS)
    office.suspend("u1")
    for minutes in (0, 20, 20, 19):
        office.desk.clock.advance(minutes * MINUTE)
        with pytest.raises(Waiting):
            Keeper(office.services, office.connection).accounts()
        notice(office, "u1")
        assert active(office, "u1") == [True]
    office.desk.clock.advance(MINUTE)
    notice(office, "u1")
    assert active(office, "u1") == [False]


def test_respecting_a_wait_does_not_write(office):
    be(office, throttled_until=office.desk.clock.now + 10 * MINUTE)
    before = office.connection
    with pytest.raises(Waiting, match="600 s more"):
        Keeper(office.services, office.connection).accounts()
    assert office.connection == before


def run_now(office: Office) -> None:
    ask_for_run(office.services, office.connection, ACTOR)


def provision_now(office: Office) -> None:
    inquire(office.services, "c1", "u1", InquiryKind.PROVISION, ACTOR, Role.SUPER)


def turn_it_on(office: Office) -> None:
    be(office, state=State.OFF)
    turn_on(office.services, "c1", ACTOR)


def said(office: Office) -> Event:
    return [event for event in office.desk.store.events["c1"].values() if event.name is EventName.CONFIGURED][-1]


@pytest.mark.parametrize("act", [run_now, provision_now, turn_it_on])
def test_whoever_wants_something_done_now_ends_the_wait_and_the_audit_says_so(office, act):
    be(office, throttled_until=office.desk.clock.now + YEARS)
    act(office)
    assert until(office) is None
    event = said(office)
    assert (event.actor, WAIT in (event.before or {}), event.changed[WAIT]) == (ACTOR.address, True, None)


@pytest.mark.parametrize("act", [run_now, provision_now])
def test_where_there_is_no_wait_nothing_is_told_of_one(office, act):
    before = dict(office.desk.store.events["c1"])
    act(office)
    assert office.desk.store.events["c1"] == before


def test_looking_a_user_up_does_not_end_a_wait(office):
    be(office, throttled_until=office.desk.clock.now + MINUTE)
    inquire(office.services, "c1", "u1", InquiryKind.EXPLAIN, ACTOR, Role.SUPER)
    assert until(office) == office.desk.clock.now + MINUTE


def test_a_mark_that_meets_a_wait_makes_the_connection_wait(office, monkeypatch):
    office.keeper.faults.append("lost")
    office.rename("u1", "Lost")
    notice(office, "u1")

    def get(_accounts: FakeAccounts, _scim_id: str) -> None:
        raise Throttled("429", retry_after=120)

    monkeypatch.setattr(FakeAccounts, "get", get)
    notice(office, "u1")
    assert until(office) == office.desk.clock.now + 2 * MINUTE
    assert office.entry("u1").failure is None
