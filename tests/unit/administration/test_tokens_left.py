"""A set-up or a switch that fails, or is cut short, leaves no token behind that can be read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.app.administration.configure import delete, set_up
from autoprovisioning.app.administration.tokens import destroy_unused, reauthorize
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import ConfigurationRefused, Permanent, Stale, Transient
from autoprovisioning.domain.events import Actor
from tests.support.builders import DAY, MINUTE
from tests.support.in_memory_state import FakeChannels, FakeConnections
from tests.support.scenario import Office

ACTOR = Actor(address="admin@example.com", directory_id="u0")
ELSEWHERE = "https://keepersecurity.eu/api/rest/scim/v2/9"


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def office() -> Office:
    office = Office()
    office.reconcile_to_the_end()
    office.keeper.accepts |= {"another", "theirs"}
    return office


def set_up_second(office: Office) -> None:
    settings = replace(office.connection.settings, endpoint=ELSEWHERE)
    set_up(office.services, settings, "theirs", ACTOR, "c2")


def fail_to_create(office: Office, monkeypatch, error: BaseException, *, stored: bool = False) -> None:
    create = FakeConnections.create

    def creating(self, connection, event=None):
        if stored:
            create(self, connection, event)
        raise error

    monkeypatch.setattr(FakeConnections, "create", creating)


def readable(office: Office) -> set[str]:
    return set(office.desk.tokens.enabled.values())


@pytest.mark.parametrize("error", [Stale("used"), ConfigurationRefused("refused"), Permanent("no"), Transient("503")])
def test_a_set_up_that_fails_leaves_no_token(office, monkeypatch, error):
    fail_to_create(office, monkeypatch, error)
    with pytest.raises(type(error)):
        set_up_second(office)
    assert readable(office) == {"secret"}


def test_a_set_up_whose_answer_was_lost_keeps_the_token_that_it_uses(office, monkeypatch):
    fail_to_create(office, monkeypatch, Transient("503"), stored=True)
    with pytest.raises(Transient):
        set_up_second(office)
    assert readable(office) == {"secret", "theirs"}
    office.desk.clock.advance(DAY)
    destroy_unused(office.services)
    assert readable(office) == {"secret", "theirs"}


def test_what_a_set_up_left_behind_that_was_cut_short_is_found(office, monkeypatch):
    fail_to_create(office, monkeypatch, Killed())
    with pytest.raises(Killed):
        set_up_second(office)
    office.desk.clock.advance(59 * MINUTE)
    destroy_unused(office.services)
    assert readable(office) == {"secret", "theirs"}, "it may be about to be used"
    office.desk.clock.advance(MINUTE)
    destroy_unused(office.services)
    assert readable(office) == {"secret"}
    assert office.services.set_ups.begun() == {}


@pytest.mark.parametrize("error", [Transient("503"), Killed()])
def test_what_a_switch_left_behind_is_found(office, monkeypatch, error):
    def changing(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(FakeConnections, "change", changing)
        with pytest.raises(type(error)):
            reauthorize(office.services, "c1", "another", ACTOR)
    office.desk.clock.advance(60 * MINUTE)
    destroy_unused(office.services)
    assert readable(office) == {"secret"}


def test_a_version_that_cannot_be_destroyed_now_is_by_a_later_run(office, monkeypatch):
    fail_to_create(office, monkeypatch, Permanent("no"))

    def destroying(*_: object) -> None:
        raise Transient("503")

    with monkeypatch.context() as patched:
        patched.setattr(office.desk.tokens, "destroy", destroying)
        with pytest.raises(Permanent):
            set_up_second(office)
    assert "theirs" in readable(office)
    office.desk.clock.advance(DAY)
    destroy_unused(office.services)
    assert readable(office) == {"secret"}


def test_a_deleted_configuration_leaves_none_either(office, monkeypatch):
    def changing(*_: object) -> None:
        raise Transient("503")

    with monkeypatch.context() as patched:
        patched.setattr(FakeConnections, "change", changing)
        with pytest.raises(Transient):
            reauthorize(office.services, "c1", "another", ACTOR)
    office.desk.store.connections["c1"] = replace(office.connection, state=State.OFF)
    delete(office.services, FakeChannels(office.desk.store), "c1", ACTOR, "Keeper")
    assert readable(office) == set()
