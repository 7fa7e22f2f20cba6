"""The end of a deletion, cut short, denied, or beside work that had begun: it leaves nothing, and harms nobody."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from autoprovisioning.app.administration.configure import delete
from autoprovisioning.app.administration.finish_deletions import finish_deletions
from autoprovisioning.app.administration.tokens import reauthorize
from autoprovisioning.app.ports.channels import Channel
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.errors import ConfigurationRefused, Transient
from autoprovisioning.domain.events import Actor
from tests.support.builders import notice
from tests.support.in_memory import FakeDirectory
from tests.support.in_memory_state import FakeAudit, FakeChannels, FakeConnections
from tests.support.scenario import GROUP, LATER, Scenario

ACTOR = Actor(address="admin@example.com", directory_id="u0")


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def scenario() -> Scenario:
    """A connection with three token versions and a channel, and another one beside it."""
    scenario = Scenario()
    scenario.connect("c2", GROUP, shared=False)
    scenario.reconcile_to_the_end()
    scenario.keeper.accepts |= {"another", "third"}
    for token in ("another", "third"):
        reauthorize(scenario.services, "c1", token, ACTOR)
    FakeChannels(scenario.fakes.store).put(Channel(id="ch1", address="https://hook.example"))
    return scenario


def finish(scenario: Scenario) -> None:
    finish_deletions(scenario.services, FakeChannels(scenario.fakes.store))


def told(scenario: Scenario) -> list[str]:
    return [event.reason for event in scenario.fakes.store.events["c1"].values() if not event.user_id and event.reason]


def ended(scenario: Scenario) -> None:
    """See that nothing is left of it but the audit, and the other connection is as it was."""
    store = scenario.fakes.store
    assert [each.id for each in scenario.services.connections.all()] == ["c2"]
    assert scenario.fakes.tokens.stored("c1") == {}
    assert len(scenario.fakes.tokens.stored("c2")) == 1
    assert "c1" not in {owner for owner, _ in store.shards}
    assert not any(kept.get("c1") for kept in (store.failures, store.pending, store.runs, store.holds))
    assert told(scenario).count("Deleted the configuration") == 1
    assert scenario.plan().connection_id == "c2"


STEPS: dict[str, tuple[Any, str]] = {
    "stored": ("tokens", "stored"),
    "destroy": ("tokens", "destroy"),
    "record": (FakeAudit, "record"),
    "purge": (FakeConnections, "purge"),
}


@pytest.mark.parametrize("error", [Transient("503"), ConfigurationRefused("refused"), Killed()])
@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_a_deletion_that_is_cut_short_is_ended_by_the_next_run(scenario, monkeypatch, step, done, error):
    delete(scenario.services, "c1", ACTOR, "Keeper")
    owner, verb = STEPS[step]
    owner = scenario.fakes.tokens if owner == "tokens" else owner
    act = getattr(owner, verb)

    def cut(*given: Any) -> Any:
        if done:
            act(*given)
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(owner, verb, cut)
        if isinstance(error, Killed):
            with pytest.raises(Killed):
                finish(scenario)
        else:
            finish(scenario)
    scenario.fakes.clock.advance(LATER)
    finish(scenario)
    finish(scenario)
    ended(scenario)


def denied(scenario: Scenario, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    destroy = scenario.fakes.tokens.destroy

    def refusing(connection_id: str, wanted: str) -> None:
        if wanted == version:
            raise ConfigurationRefused("Secret Manager refuses this identity.")
        destroy(connection_id, wanted)

    monkeypatch.setattr(scenario.fakes.tokens, "destroy", refusing)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_token_that_may_not_be_destroyed_keeps_none_of_the_others(scenario, monkeypatch, caplog, number):
    version = sorted(scenario.fakes.tokens.stored("c1"))[number]
    delete(scenario.services, "c1", ACTOR, "Keeper")
    with monkeypatch.context() as patched:
        denied(scenario, patched, version)
        with caplog.at_level(logging.ERROR):
            finish(scenario)
    assert set(scenario.fakes.tokens.stored("c1")) == {version}
    assert [each.state for each in scenario.services.connections.all()] == [State.DELETING, State.ON]
    assert [record.json_fields["alert"] for record in caplog.records] == ["configuration"]
    finish(scenario)
    ended(scenario)


def is_suspended_member(scenario: Scenario) -> None:
    """Whoever is in a scope group without an account is kept in mind."""
    scenario.hire("u4", "dan@example.com")
    scenario.suspend("u4")


def has_no_name(scenario: Scenario) -> None:
    """A mapping failure is noted."""
    scenario.hire("u4", "dan@example.com")
    user = scenario.directory.live["u4"]
    scenario.directory.live["u4"] = replace(user, profile={**user.profile, "primaryEmail": ""})


@pytest.mark.parametrize("happens", [is_suspended_member, has_no_name])
def test_a_worker_that_read_the_connection_before_leaves_nobodys_address_behind(scenario, monkeypatch, happens):
    happens(scenario)
    read = FakeDirectory.user
    pending: list[Callable[[], None]] = [
        lambda: delete(scenario.services, "c1", ACTOR, "Keeper"),
        lambda: finish(scenario),
    ]

    def meanwhile(self: FakeDirectory, user_id: str) -> object:
        while pending:
            pending.pop(0)()
        return read(self, user_id)

    monkeypatch.setattr(FakeDirectory, "user", meanwhile)
    notice(scenario, "u4")
    assert pending == []
    left = [
        entry for (owner, _), (_, entries) in scenario.fakes.store.shards.items() if owner == "c1" for entry in entries
    ]
    assert left == []
    assert "u4" not in scenario.fakes.store.failures.get("c1", {})


def test_a_suspended_user_is_none_of_a_deleted_connections_business(scenario):
    """The next connection takes over only whom its own scope holds."""
    delete(scenario.services, "c1", ACTOR, "Keeper")
    accounts = dict(scenario.keeper.accounts)
    scenario.suspend("u1")
    notice(scenario, "u1")
    finish(scenario)
    notice(scenario, "u1")
    scenario.fakes.clock.advance(timedelta(days=1))
    scenario.run()
    assert scenario.keeper.accounts == accounts
    assert Presence.SUSPENDED is scenario.directory.live["u1"].presence
