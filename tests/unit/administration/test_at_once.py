"""What administrators do at the same time, or while our own work is under way, never undoes or betrays the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from autoprovisioning.app.administration.configure import (
    delete,
    edit,
    finish,
    finish_deletions,
    set_up,
    turn_off,
    turn_on,
)
from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.app.administration.tokens import reauthorize
from autoprovisioning.app.notifications.renew_watch import renew_watch
from autoprovisioning.app.ports.channels import Channel
from autoprovisioning.app.runs.close_run import EDITED
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.entry import Action, Mark
from autoprovisioning.domain.errors import BadInput, Busy, ConfigurationRefused, NotFound, Stale
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.guard import Member
from autoprovisioning.domain.holds import Hold
from autoprovisioning.domain.mapping import DEFAULT_ROWS, AttributeMapping
from autoprovisioning.domain.runs import RunState
from tests.support.in_memory import FakeDirectory
from tests.support.in_memory_state import FakeChannels, FakeConnections, FakeRoster, FakeRuns
from tests.support.scenario import Office
from tests.support.settings import changed

ACTOR = Actor(address="admin@example.com", directory_id="u0")
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
    mark = Mark(change_id="x1", message_id="m1", action=Action.UPDATE, until=now + timedelta(minutes=1))
    office.desk.store.put_entry(office.connection, replace(entry, mark=mark))


def delete_it(office: Office) -> None:
    delete(office.services, FakeChannels(office.desk.store), "c1", ACTOR, "Keeper")


def before_marks(office: Office, happens: Callable[[object], None]) -> None:
    """Let something happen once a worker wants to mark somebody, before it does."""
    roster = office.services.roster
    commit = type(roster).commit

    def committing(self: FakeRoster, connection: Connection, user_ids: Iterable[str], edit: Any) -> object:
        wanted = list(user_ids)
        known = {user_id: self.entry(connection, user_id) for user_id in wanted}
        change, _ = edit({user_id: entry for user_id, entry in known.items() if entry is not None})
        if any(entry is not None and entry.mark is not None for entry in change.entries.values()):
            happens(change)
        return commit(self, connection, wanted, edit)

    roster.commit = committing.__get__(roster)


def begin_deletion(office: Office) -> None:
    under_way(office)
    with pytest.raises(Busy):
        delete_it(office)


def move(office: Office) -> None:
    settings = replace(office.connection.settings, endpoint=ELSEWHERE)
    edit(office.services, "c1", office.connection.edition, settings, ACTOR, "theirs")


@pytest.mark.parametrize(("happens", "error"), [(move, Stale), (begin_deletion, NotFound)])
def test_a_token_is_never_used_where_it_was_not_tried(office, happens, error):
    before_adding(office, "another", lambda: happens(office))
    with pytest.raises(error):
        reauthorize(office.services, "c1", "another", ACTOR)
    assert "another" not in tokens(office)
    assert office.desk.tokens.read("c1", office.connection.token_version) != "another"


def test_of_two_set_ups_of_one_node_at_the_same_moment_only_one_can_be_turned_on(office):
    """A form that was sent twice: each is checked before the other is stored."""
    settings = replace(office.connection.settings, endpoint=ELSEWHERE)
    before_adding(office, "theirs", lambda: set_up(office.services, settings, "another", ACTOR, "c2"))
    set_up(office.services, settings, "theirs", ACTOR, "c3")
    for connection_id in ("c2", "c3"):
        finish(office.services, connection_id, ACTOR)
        with pytest.raises(BadInput, match="provisions this node already"):
            turn_on(office.services, connection_id, ACTOR)
    delete(office.services, FakeChannels(office.desk.store), "c3", ACTOR, "Keeper")
    assert turn_on(office.services, "c2", ACTOR).state is State.ON


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
    channels.put(Channel(id="ch1", address="https://hook.example"))

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


# ---- a worker that has read the connection and not marked anybody yet


def by_notification(office: Office) -> None:
    for look in office.sent:
        office.deliver(look)


def by_batch(office: Office) -> None:
    office.desk.clock.advance(timedelta(minutes=20))
    office.plan()
    office.work_off()


@pytest.mark.parametrize("happens", [lambda office: turn_off(office.services, "c1", ACTOR), delete_it])
@pytest.mark.parametrize("way", [by_notification, by_batch])
def test_nothing_is_sent_for_a_connection_that_was_turned_off_or_deleted_before_the_mark(office, happens, way):
    """Whoever deletes sees no mark to wait for, so the worker must see that they did."""
    before = office.connection
    accounts = dict(office.keeper.accounts)
    office.desk.store.stutters = False
    office.hire("u4", "dan@example.com")
    office.rename("u1", "Renamed")
    pending = [happens]

    def before_the_first_mark(entries: object) -> None:
        if pending:
            pending.pop()(office)

    before_marks(office, before_the_first_mark)
    way(office)

    assert pending == []
    assert office.keeper.accounts == accounts
    left = office.services.roster.load(before)
    assert "u4" not in left
    assert all(entry.mark is None for entry in left.values())


# ---- a run that is being planned meanwhile


def turn_it_off(office: Office) -> None:
    turn_off(office.services, "c1", ACTOR)


def narrow(office: Office) -> None:
    settings = changed(office.connection.settings, org_units=("/Sales",))
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


def test_an_edit_stops_the_changes_that_were_planned_for_other_settings(office):
    office.hire("u4", "dan@example.com")
    run = office.plan()
    assert run.state is RunState.PLANNED
    narrow(office)
    office.work_off()
    assert office.keeper.of("u4") == []
    closed = office.services.runs.get("c1", run.id)
    assert closed.state is RunState.SUPERSEDED
    assert closed.notes == (EDITED,)


def test_the_run_after_an_edit_does_not_wait_for_what_was_planned_before_it(office):
    office.hire("u4", "dan@example.com")
    old = office.plan()
    settings = replace(office.connection.settings, name="Vault")
    edit(office.services, "c1", office.connection.edition, settings, ACTOR)
    new = office.plan()
    assert new.id != old.id
    assert new.state is RunState.PLANNED
    office.work_off()
    assert office.services.runs.get("c1", old.id).state is RunState.SUPERSEDED
    assert office.services.runs.get("c1", new.id).state is RunState.DONE
    assert len(office.keeper.of("u4")) == 1


def test_an_edit_in_the_moment_in_which_a_plan_is_recorded_stops_it_too(office, monkeypatch):
    change, pending = FakeRuns.change, [narrow]

    def recording(self: FakeRuns, *given: object) -> object:
        if pending:
            pending.pop()(office)
        return change(self, *given)

    monkeypatch.setattr(FakeRuns, "change", recording)
    office.hire("u4", "dan@example.com")
    office.plan()
    office.work_off()
    assert office.keeper.of("u4") == []
    assert office.services.runs.open("c1") == []


def test_a_run_goes_on_while_our_own_work_notes_a_wait_or_begins_the_roster(office, monkeypatch):
    users = FakeDirectory.users

    def listing(self: FakeDirectory, fields: frozenset[str]) -> object:
        now = office.desk.clock.now
        office.services.connections.change("c1", lambda current: replace(current, throttled_until=now))
        return users(self, fields)

    monkeypatch.setattr(FakeDirectory, "users", listing)
    office.hire("u4", "dan@example.com")
    assert office.plan().state is RunState.PLANNED


# ---- what the audit says of it


def acts(office: Office) -> list[tuple[str, object, object]]:
    """Return what administrators changed: reason, before and after of each event of theirs."""
    events = [
        event
        for event in office.desk.store.events["c1"].values()
        if (event.actor, event.actor_id) == (ACTOR.address, ACTOR.directory_id)
    ]
    return [(event.reason, event.before, event.changed) for event in events]


def test_every_act_of_an_administrator_is_told_once_with_what_it_changed(office):
    rows = (replace(row, mandatory=row.mandatory or row.target == "name.givenName") for row in DEFAULT_ROWS)
    given = AttributeMapping(tuple(rows))
    services, version = office.services, office.connection.token_version
    edit(services, "c1", 0, replace(office.connection.settings, mapping=given), ACTOR)
    turn_off(services, "c1", ACTOR)
    turn_off(services, "c1", ACTOR)
    turn_on(services, "c1", ACTOR)
    turn_on(services, "c1", ACTOR)
    reauthorize(services, "c1", "another", ACTOR)
    another = office.connection.token_version
    edit(services, "c1", 1, office.connection.settings, ACTOR, "theirs")
    theirs = office.connection.token_version
    services.holds.put(
        "c1", Hold(digest="d1", raised_at=office.desk.clock.now, members=(Member(user_id="u1", action="suspend"),))
    )
    decide_hold(services, "c1", "d1", "reject", ACTOR)
    row = "name.givenName"
    assert acts(office) == [
        ("Edited", {f"mapping {row}": row}, {f"mapping {row}": f"{row} (mandatory)"}),
        ("Turned off", {"state": "On"}, {"state": "Off"}),
        ("Turned on", {"state": "Off"}, {"state": "On"}),
        ("0 users were waiting", {"access token": f"version {version}"}, {"access token": f"version {another}"}),
        ("Edited", {"access token": f"version {another}"}, {"access token": f"version {theirs}"}),
        ("1 of 1 of held plan d1: rejected", {"held plan": "waiting"}, {"held plan": "rejected"}),
    ]


def test_an_edit_is_not_told_to_have_changed_what_somebody_else_did_meanwhile(office):
    before_adding(office, "theirs", lambda: reauthorize(office.services, "c1", "another", ACTOR))
    settings = replace(office.connection.settings, name="Vault")
    edit(office.services, "c1", 0, settings, ACTOR, "theirs")
    [_, (_, before, after)] = acts(office)
    versions = [retired.version for retired in office.connection.retired_tokens]
    assert before == {"name": "Keeper", "access token": f"version {versions[-1]}"}
    assert after == {"name": "Vault", "access token": f"version {office.connection.token_version}"}
