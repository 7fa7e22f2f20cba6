"""A set-up or a switch that fails, or is cut short, leaves no token behind that can be read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.app.administration.configure import delete, set_up
from autoprovisioning.app.administration.finish_deletions import finish_deletions
from autoprovisioning.app.administration.tokens import destroy_unused, reauthorize
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import ConfigurationRefused, Permanent, Stale, Transient
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.runs import RunKind
from tests.support.builders import DAY, MINUTE
from tests.support.in_memory_state import FakeChannels, FakeConnections
from tests.support.scenario import Scenario

ACTOR = Actor(address="admin@example.com", directory_id="u0")
ELSEWHERE = "https://keepersecurity.eu/api/rest/scim/v2/9"


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def scenario() -> Scenario:
    scenario = Scenario()
    scenario.reconcile_to_the_end()
    scenario.keeper.accepts |= {"another", "theirs"}
    return scenario


def set_up_second(scenario: Scenario) -> None:
    settings = replace(scenario.connection.settings, endpoint=ELSEWHERE)
    set_up(scenario.services, settings, "theirs", ACTOR, "c2")


def fail_to_create(scenario: Scenario, monkeypatch, error: BaseException, *, stored: bool = False) -> None:
    create = FakeConnections.create

    def creating(self, connection, event=None):
        if stored:
            create(self, connection, event)
        raise error

    monkeypatch.setattr(FakeConnections, "create", creating)


def readable(scenario: Scenario) -> set[str]:
    return set(scenario.fakes.tokens.enabled.values())


@pytest.mark.parametrize("error", [Stale("used"), ConfigurationRefused("refused"), Permanent("no"), Transient("503")])
def test_a_set_up_that_fails_leaves_no_token(scenario, monkeypatch, error):
    fail_to_create(scenario, monkeypatch, error)
    with pytest.raises(type(error)):
        set_up_second(scenario)
    assert readable(scenario) == {"secret"}


def test_a_set_up_whose_answer_was_lost_keeps_the_token_that_it_uses(scenario, monkeypatch):
    fail_to_create(scenario, monkeypatch, Transient("503"), stored=True)
    with pytest.raises(Transient):
        set_up_second(scenario)
    assert readable(scenario) == {"secret", "theirs"}
    scenario.fakes.clock.advance(DAY)
    destroy_unused(scenario.services)
    assert readable(scenario) == {"secret", "theirs"}


def test_what_a_set_up_left_behind_that_was_cut_short_is_found(scenario, monkeypatch):
    fail_to_create(scenario, monkeypatch, Killed())
    with pytest.raises(Killed):
        set_up_second(scenario)
    scenario.fakes.clock.advance(59 * MINUTE)
    destroy_unused(scenario.services)
    assert readable(scenario) == {"secret", "theirs"}, "it may be about to be used"
    scenario.fakes.clock.advance(MINUTE)
    destroy_unused(scenario.services)
    assert readable(scenario) == {"secret"}
    assert scenario.services.set_ups.begun() == {}


@pytest.mark.parametrize("error", [Transient("503"), Killed()])
def test_what_a_switch_left_behind_is_found(scenario, monkeypatch, error):
    def changing(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(FakeConnections, "change", changing)
        with pytest.raises(type(error)):
            reauthorize(scenario.services, "c1", "another", ACTOR)
    scenario.fakes.clock.advance(60 * MINUTE)
    destroy_unused(scenario.services)
    assert readable(scenario) == {"secret"}


@pytest.mark.parametrize("verb", ["disable", "destroy"])
def test_a_version_that_cannot_be_disabled_or_destroyed_now_is_destroyed_by_a_later_run(scenario, monkeypatch, verb):
    fail_to_create(scenario, monkeypatch, Permanent("no"))

    def failing(*_: object) -> None:
        raise Transient("503")

    with monkeypatch.context() as patched:
        patched.setattr(scenario.fakes.tokens, verb, failing)
        with pytest.raises(Permanent):
            set_up_second(scenario)
        scenario.fakes.clock.advance(DAY)
        destroy_unused(scenario.services)
    destroy_unused(scenario.services)
    assert scenario.fakes.tokens.stored("c2") == {}
    assert readable(scenario) == {"secret"}


def test_whoever_enters_tokens_destroys_none(scenario, monkeypatch):
    """A function that a browser talks to can undo all that it does to a token."""

    def destroying(*_: object) -> None:
        raise ConfigurationRefused("destroying is not allowed here")

    monkeypatch.setattr(scenario.fakes.tokens, "destroy", destroying)
    fail_to_create(scenario, monkeypatch, Permanent("no"))
    with pytest.raises(Permanent):
        set_up_second(scenario)
    reauthorize(scenario.services, "c1", "another", ACTOR)
    delete(scenario.services, "c1", ACTOR, "Keeper")
    assert len(scenario.fakes.tokens.stored("c1")) == 2
    assert readable(scenario) == {"another"}


def test_a_deleted_configuration_leaves_none_either(scenario, monkeypatch):
    def changing(*_: object) -> None:
        raise Transient("503")

    with monkeypatch.context() as patched:
        patched.setattr(FakeConnections, "change", changing)
        with pytest.raises(Transient):
            reauthorize(scenario.services, "c1", "another", ACTOR)
    scenario.fakes.store.connections["c1"] = replace(scenario.connection, state=State.OFF)
    delete(scenario.services, "c1", ACTOR, "Keeper")
    assert RunKind.FULL in scenario.fakes.queue.runs
    finish_deletions(scenario.services, FakeChannels(scenario.fakes.store))
    assert scenario.fakes.tokens.stored("c1") == {}
