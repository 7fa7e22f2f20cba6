"""What administrators do at the same time, or while our own work is under way, never undoes or betrays the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.configure import delete, edit, finish_deletions, settings_of, turn_off
from autoprovisioning.app.ports import Channel
from autoprovisioning.app.renew_watch import renew_watch
from autoprovisioning.app.tokens import reauthorize
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.errors import Busy, ConfigurationRefused, NotFound, Stale
from autoprovisioning.domain.roster import Action, Mark
from autoprovisioning.domain.runs import RunState
from tests.fake_state import FakeChannels, FakeConnections
from tests.fakes import FakeDirectory
from tests.office import Office

ACTOR = "admin@example.com"
ELSEWHERE = "https://keepersecurity.eu/api/rest/scim/v2/9"


@pytest.fixture
def office() -> Office:
    """An office in step, whose Keeper accepts three tokens."""
    office = Office()
    office.reconcile_to_the_end()
    office.keeper.accepts |= {"another", "theirs"}
    return office


def before_adding(office: Office, token: str, happens: Callable[[], object]) -> None:
    """Let something happen once this token was tried, before it is stored."""
    add = office.desk.tokens.add

    def adding(connection_id: str, added: str) -> str:
        if added == token:
            happens()
        return add(connection_id, added)

    office.desk.tokens.add = adding


def tokens(office: Office) -> list[str]:
    """Return the tokens that can still be read."""
    return sorted(office.desk.tokens.enabled.values())


def under_way(office: Office) -> None:
    """Let a change of u1 be under way for a minute."""
    entry, now = office.entry("u1"), office.desk.clock.now
    mark = Mark("x1", "m1", Action.UPDATE, now + timedelta(minutes=1))
    shard = office.services.roster.shard(office.connection, "u1")
    office.desk.store.shards["c1", shard][1]["u1"] = replace(entry, mark=mark)


def delete_it(office: Office) -> None:
    delete(office.services, FakeChannels(office.desk.store), "c1", ACTOR, "Keeper")


def begin_deletion(office: Office) -> None:
    under_way(office)
    with pytest.raises(Busy):
        delete_it(office)


def move(office: Office) -> None:
    settings = replace(settings_of(office.connection), endpoint=ELSEWHERE)
    edit(office.services, "c1", office.connection.edition, settings, ACTOR, "theirs")


@pytest.mark.parametrize(("happens", "error"), [(move, Stale), (begin_deletion, NotFound)])
def test_a_token_is_never_used_where_it_was_not_tried(office, happens, error):
    before_adding(office, "another", lambda: happens(office))
    with pytest.raises(error):
        reauthorize(office.services, "c1", "another", ACTOR)
    assert "another" not in tokens(office)
    assert office.desk.tokens.read("c1", office.connection.token_version) != "another"


# ---- deleting


def told(office: Office) -> list[str]:
    """Return what the audit says of the configuration."""
    return [event.reason for event in office.desk.store.events["c1"].values() if not event.user_id and event.reason]


def test_a_deletion_that_two_finish_at_once_is_told_once(office):
    channels = FakeChannels(office.desk.store)
    office.desk.store.connections["c1"] = replace(office.connection, state=State.DELETING)
    destroy = office.desk.tokens.destroy

    def destroying(connection_id: str, version: str) -> None:
        office.desk.tokens.destroy = destroy
        finish_deletions(office.services, channels)
        destroy(connection_id, version)

    office.desk.tokens.destroy = destroying
    finish_deletions(office.services, channels)
    assert told(office) == ["Deleted the configuration"]
    assert (office.services.connections.all(), tokens(office)) == ([], [])


def test_a_token_of_a_moment_ago_is_destroyed_with_the_others(office, monkeypatch):
    """Somebody else began the deletion, and a token was switched to before, both since we read the connection."""
    get = FakeConnections.get

    def old_answer(self: FakeConnections, connection_id: str) -> Connection | None:
        monkeypatch.setattr(FakeConnections, "get", get)
        known = get(self, connection_id)
        reauthorize(office.services, "c1", "another", ACTOR)
        begin_deletion(office)
        office.desk.clock.advance(timedelta(minutes=2))
        return known

    monkeypatch.setattr(FakeConnections, "get", old_answer)
    delete_it(office)
    assert tokens(office) == []


def test_a_channel_that_cannot_be_stopped_keeps_no_configuration_alive(office, monkeypatch):
    channels = FakeChannels(office.desk.store)
    channels.put(Channel("ch1", "https://hook.example"))

    def refuse(self: FakeDirectory, channel: Channel) -> None:
        raise ConfigurationRefused("channels.stop is refused")

    monkeypatch.setattr(FakeDirectory, "stop", refuse)
    delete_it(office)
    assert office.services.connections.all() == []
    assert [channel.id for channel in channels.all()] == ["ch1"], "renew_watch tries again"


# ---- the notification channel


def renewed(office: Office) -> list[str]:
    desk = office.desk
    live = renew_watch(
        desk.directory, FakeChannels(desk.store), office.services.connections, b"k", "https://hook.example", desk.clock,
        office.services.new_id,
    )  # fmt: skip
    return [channel.id for channel in live]


@pytest.mark.parametrize("state", State)
def test_there_is_a_channel_only_while_a_connection_serves_somebody(office, state):
    [channel] = renewed(office)
    office.services.connections.change("c1", lambda current: replace(current, state=state))
    live = renewed(office)
    assert live == ([channel] if state in (State.ON, State.PAUSED) else [])
    assert list(office.desk.directory.channels) == list(office.desk.store.channels) == live


# ---- a run that is being planned meanwhile


def turn_it_off(office: Office) -> None:
    turn_off(office.services, "c1", ACTOR)


def narrow(office: Office) -> None:
    settings = replace(settings_of(office.connection), org_units=("/Sales",))
    edit(office.services, "c1", office.connection.edition, settings, ACTOR)


@pytest.mark.parametrize("happens", [turn_it_off, narrow])
def test_a_plan_for_settings_that_were_changed_meanwhile_is_dropped(office, monkeypatch, happens):
    users, pending = FakeDirectory.users, [happens]

    def listing(self: FakeDirectory, fields: frozenset[str]) -> object:
        if pending:
            pending.pop()(office)
        return users(self, fields)

    monkeypatch.setattr(FakeDirectory, "users", listing)
    office.hire("u4", "dan@example.com")
    office.suspend("u1")
    assert office.plan().state is RunState.REFUSED
    assert office.desk.queue.batches == []
    assert office.entry("u4") is None


def test_a_run_goes_on_while_our_own_work_notes_a_wait_or_a_first_number_of_shards(office, monkeypatch):
    users = FakeDirectory.users

    def listing(self: FakeDirectory, fields: frozenset[str]) -> object:
        now = office.desk.clock.now
        office.services.connections.change("c1", lambda current: replace(current, throttled_until=now))
        return users(self, fields)

    monkeypatch.setattr(FakeDirectory, "users", listing)
    office.hire("u4", "dan@example.com")
    assert office.plan().state is RunState.PLANNED
