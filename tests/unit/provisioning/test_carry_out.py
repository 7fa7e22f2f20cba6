"""What becomes of several changes where one of them, or the search, meets with an error: each is settled once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import pytest

from autoprovisioning.app.provisioning.carry_out import carry_out
from autoprovisioning.app.provisioning.target import Keeper
from autoprovisioning.domain.accounts import Account, Lookup, Write, Written
from autoprovisioning.domain.changes import Change, Outcome
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.entry import Action, Entry
from autoprovisioning.domain.errors import NotSent, Rejected, Throttled, Unresolved
from tests.support.builders import ADA, MINUTE, SECOND, entry
from tests.support.in_memory import FakeAccounts
from tests.support.scenario import Scenario

ASKED = 120 * SECOND
FIRST, LATER = "k1", "k2"


def carried_out(scenario: Scenario, *changes: Change) -> list[Outcome]:
    keeper = Keeper(scenario.services, scenario.connection)
    deadline = scenario.fakes.clock.now + MINUTE
    return list(carry_out(scenario.services, keeper, changes, deadline))


def suspension(scim_id: str) -> Change:
    return Change(id=scim_id, entry=entry(scim_id=scim_id), action=Action.SUSPEND, email="", scim_id=scim_id)


@pytest.fixture
def two(scenario: Scenario) -> tuple[Change, Change]:
    """Two suspensions, of accounts that Keeper has."""
    for scim_id in (FIRST, LATER):
        scenario.keeper.accounts[scim_id] = Account(
            scim_id=scim_id, user_name=f"{scim_id}@example.com", external_id="", active=True
        )
    return suspension(FIRST), suspension(LATER)


def breaks_after_the_first(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    write = FakeAccounts.write

    def broken(accounts: FakeAccounts, writes: Sequence[Write], deadline: datetime) -> Iterator[Written]:
        yield from write(accounts, writes[:1], deadline)
        raise error

    monkeypatch.setattr(FakeAccounts, "write", broken)


def test_a_write_that_is_throttled_makes_the_connection_wait(scenario, two):
    scenario.keeper.faults.append(Throttled("429", retry_after=ASKED.total_seconds()))
    outcomes = carried_out(scenario, *two)
    assert isinstance(outcomes[0].error, Throttled)
    assert scenario.connection.throttled_until == scenario.fakes.clock.now + ASKED


def test_a_search_that_is_throttled_makes_the_connection_wait_and_its_changes_too(scenario, monkeypatch):
    def find(_accounts: FakeAccounts, _lookups: Sequence[Lookup]) -> None:
        raise Throttled("429", retry_after=ASKED.total_seconds())

    monkeypatch.setattr(FakeAccounts, "find", find)
    new = Change(id="c1", entry=Entry(user_id="u1"), action=Action.CREATE, email="", attributes=ADA)
    (outcome,) = carried_out(scenario, new)
    assert isinstance(outcome.error, Throttled)
    assert scenario.connection.throttled_until == scenario.fakes.clock.now + ASKED


@pytest.mark.parametrize(
    ("error", "becomes"),
    [(Rejected("no"), NotSent), (Throttled("429"), Throttled), (ValueError("nobody foresaw it"), Unresolved)],
)
def test_what_was_settled_before_the_work_broke_off_is_settled_once(scenario, two, monkeypatch, error, becomes):
    breaks_after_the_first(monkeypatch, error)
    first, later = carried_out(scenario, *two)
    assert (first.change.id, first.error) == (FIRST, None)
    assert (later.change.id, type(later.error)) == (LATER, becomes)


def test_nothing_to_do_does_not_even_read_the_token(scenario):
    scenario.fakes.tokens.enabled.clear()
    assert carried_out(scenario) == []
    assert scenario.connection.state is State.ON, "a token that cannot be read pauses it"
