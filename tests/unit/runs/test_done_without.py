"""What Keeper, or one record, cannot give is done without: the rest goes on, and a note says so."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from autoprovisioning.app.administration.finish_deletions import finish_deletions
from autoprovisioning.app.administration.health import health
from autoprovisioning.app.administration.tokens import DESTROY_AFTER, destroy_retired, reauthorize
from autoprovisioning.app.administration.vital_signs import log_vital_signs
from autoprovisioning.app.ports.reports import WaitingUsers
from autoprovisioning.domain.connections import RetiredToken, State
from autoprovisioning.domain.errors import (
    AuthorizationRefused,
    BadInput,
    Incomplete,
    KeeperFailed,
    NotOffered,
    Throttled,
    Transient,
)
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.runs import RunKind, RunState
from tests.support.builders import MINUTE, active
from tests.support.in_memory import FakeAccounts
from tests.support.in_memory_state import FakeChannels
from tests.support.previewing import at
from tests.support.scenario import Scenario
from tests.support.settings import with_settings
from tests.unit.administration.test_health import Told

CROWD = 25  # more than are looked up one by one


def crowded() -> Scenario:
    scenario = Scenario()
    for number in range(CROWD):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    return scenario


def break_listing(monkeypatch, error: Exception) -> None:
    def broken(_accounts: FakeAccounts):
        raise error
        yield

    monkeypatch.setattr(FakeAccounts, "list", broken)


UNLISTED = [
    NotOffered("HTTP 501"),
    Incomplete("the server repeats a page"),
    Transient("HTTP 500"),
    AuthorizationRefused("403", status=403),
]


@pytest.mark.parametrize("error", UNLISTED, ids=lambda error: type(error).__name__)
def test_the_first_run_creates_everybody_where_keeper_cannot_be_listed(monkeypatch, error):
    scenario = crowded()
    break_listing(monkeypatch, error)
    run = scenario.plan()
    scenario.work_off()
    assert all(active(scenario, f"x{number}") == [True] for number in range(CROWD))
    done = scenario.services.runs.get("c1", run.id)
    assert done.state is RunState.DONE
    assert done.notes == (f"Keeper could not be listed, so accounts are looked up one by one: {error}",)


def test_a_listing_that_is_throttled_makes_the_connection_wait(monkeypatch):
    scenario = crowded()
    break_listing(monkeypatch, Throttled("429", retry_after=300))
    scenario.plan()
    assert scenario.connection.throttled_until == scenario.fakes.clock.now + 5 * MINUTE


@pytest.mark.parametrize("error", UNLISTED, ids=lambda error: type(error).__name__)
def test_a_drift_run_that_cannot_list_keeper_does_what_a_full_run_does(scenario, monkeypatch, error):
    scenario.suspend("u1")
    scenario.hire("u4", "dan@example.com")
    break_listing(monkeypatch, error)
    run = scenario.plan(RunKind.DRIFT)
    scenario.work_off()
    assert (active(scenario, "u1"), active(scenario, "u4")) == ([False], [True])
    done = scenario.services.runs.get("c1", run.id)
    assert (done.state, "are not looked for" in done.notes[0]) == (RunState.DONE, True)
    assert done.complete == (not isinstance(error, Transient)), "a listing that broke off is told as such"


@pytest.mark.parametrize("error", UNLISTED[:3], ids=lambda error: type(error).__name__)
def test_a_preview_looks_one_by_one_where_keeper_cannot_be_listed(monkeypatch, error):
    admin = at(crowded())
    break_listing(monkeypatch, error)
    done, _ = admin.preview()
    assert done.result.counts["create"] == CROWD + 3


def test_one_user_whom_keeper_fails_on_does_not_fail_a_preview(monkeypatch):
    scenario = Scenario()
    find = FakeAccounts.find

    def failing(accounts, lookups):
        for found in find(accounts, lookups):
            yield replace(found, error=KeeperFailed("HTTP 500")) if found.key == "u2" else found

    monkeypatch.setattr(FakeAccounts, "find", failing)
    done, lines = at(scenario).preview()
    assert (done.result.counts["create"], done.result.counts["fail"]) == (2, 1)
    assert next(line.detail for line in lines if line.user_id == "u2") == "HTTP 500"


def get_failing_for(monkeypatch, scim_ids: set[str], error: Exception) -> None:
    get = FakeAccounts.get

    def failing(accounts, scim_id):
        if scim_id in scim_ids:
            raise error
        return get(accounts, scim_id)

    monkeypatch.setattr(FakeAccounts, "get", failing)


def test_reauthorizing_does_not_depend_on_one_account(scenario, monkeypatch):
    known = [entry.scim_id for entry in scenario.services.roster.load(scenario.connection).values()]
    get_failing_for(monkeypatch, set(known[:-1]), KeeperFailed("HTTP 500"))
    reauthorize(scenario.services, "c1", "secret", Actor(address="boss@example.com", directory_id="u0"))
    assert scenario.connection.token_version == "2"


def test_a_token_of_another_node_is_refused_whatever_fails_there(scenario, monkeypatch):
    known = [entry.scim_id for entry in scenario.services.roster.load(scenario.connection).values()]
    scenario.keeper.accounts.clear()
    get_failing_for(monkeypatch, set(known[:1]), KeeperFailed("HTTP 500"))
    with pytest.raises(BadInput, match="none of this connection's accounts"):
        reauthorize(scenario.services, "c1", "secret", Actor(address="boss@example.com", directory_id="u0"))


def test_where_keeper_tells_of_no_account_nothing_is_concluded(scenario, monkeypatch):
    known = [entry.scim_id for entry in scenario.services.roster.load(scenario.connection).values()]
    get_failing_for(monkeypatch, set(known), KeeperFailed("HTTP 500"))
    with pytest.raises(KeeperFailed):
        reauthorize(scenario.services, "c1", "secret", Actor(address="boss@example.com", directory_id="u0"))


def test_a_token_version_that_cannot_be_destroyed_keeps_no_other_one(scenario, monkeypatch):
    old = scenario.fakes.clock.now - DESTROY_AFTER
    retired = tuple(RetiredToken(version=version, at=old) for version in ("7", "8", "9"))
    scenario.services.connections.change("c1", lambda current: replace(current, retired_tokens=retired))
    destroy = scenario.fakes.tokens.destroy

    def failing(connection_id: str, version: str) -> None:
        if version == "8":
            raise Transient("Secret Manager could not be reached")
        destroy(connection_id, version)

    monkeypatch.setattr(scenario.fakes.tokens, "destroy", failing)
    destroy_retired(scenario.services)
    assert [token.version for token in scenario.connection.retired_tokens] == ["8"]


def test_a_deletion_that_breaks_does_not_stop_the_runs_of_the_others(scenario, monkeypatch):
    other = replace(scenario.connection, id="c2", state=State.DELETING)
    scenario.services.connections.create(other)
    load = scenario.services.roster.load

    def broken(connection):
        if connection.id == "c2":
            raise ValueError("a shard cannot be read")
        return load(connection)

    monkeypatch.setattr(type(scenario.services.roster), "load", lambda _roster, connection: broken(connection))
    finish_deletions(scenario.services, FakeChannels(scenario.fakes.store))
    assert scenario.services.connections.get("c2") is not None


def test_one_connection_whose_records_cannot_be_read_hides_no_other_one(scenario, caplog):
    scenario.services.connections.create(with_settings(replace(scenario.connection, id="c2"), name="Second"))

    class Broken(Told):
        def waiting(self, connection_id: str):
            if connection_id == "c1":
                raise KeyError("since")
            return super().waiting(connection_id)

    caplog.set_level(logging.INFO)
    log_vital_signs(scenario.services, Broken(), FakeChannels(scenario.fakes.store))
    told = [record.json_fields for record in caplog.records if hasattr(record, "json_fields")]
    assert {"alert": "unforeseen"} in told
    assert [fields["vital_signs_of"] for fields in told if "vital_signs_of" in fields] == ["c2"]
    assert told[-1] == {"vital_signs_taken": 2}


def test_health_of_a_run_that_met_an_outage_names_it_until_nobody_waits(scenario, monkeypatch):
    def refuse(_accounts: FakeAccounts) -> None:
        raise Transient("Keeper answers HTTP 500")

    scenario.suspend("u1")
    monkeypatch.setattr(FakeAccounts, "probe", refuse)
    run = scenario.plan()
    assert run.state is RunState.REFUSED
    scenario.deliver(scenario.sent[-1])
    assert list(scenario.fakes.store.pending["c1"]) == ["u1"]
    told = Told(latest=(run,), waits=WaitingUsers(count=1, oldest=scenario.fakes.clock.now))
    concerns = health(scenario.services, told, FakeChannels(scenario.fakes.store), scenario.connection).concerns
    why = "Keeper answers HTTP 500: 1 user waits since 24 Nov 2026, 09:00 UTC."
    assert concerns[0].what == f"The last full run could not be planned, so nothing was changed: {why}"
