"""What administrators do at the same time, or while our own work is under way, never undoes or betrays the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from autoprovisioning.app.administration.configure import delete, edit, finish, set_up, turn_off, turn_on
from autoprovisioning.app.administration.finish_deletions import finish_deletions
from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.app.administration.tokens import destroy_unused, reauthorize
from autoprovisioning.app.notifications.renew_watch import renew_watch
from autoprovisioning.app.ports.channels import Channel
from autoprovisioning.app.runs.close_run import LEFT_BY_EDIT
from autoprovisioning.app.runs.reconcile import reconcile
from autoprovisioning.domain.accounts import Account
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.entry import Action, Mark
from autoprovisioning.domain.errors import BadInput, ConfigurationRefused, NotFound, Stale
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.guard import Member
from autoprovisioning.domain.holds import Hold
from autoprovisioning.domain.mapping import DEFAULT_ROWS, AttributeMapping
from autoprovisioning.domain.runs import Run, RunKind, RunState
from tests.support.in_memory import FakeAccounts, FakeDirectory
from tests.support.in_memory_state import FakeChannels, FakeConnections, FakeRoster, FakeRuns
from tests.support.scenario import Scenario
from tests.support.settings import changed

ACTOR = Actor(address="admin@example.com", directory_id="u0")
ELSEWHERE = "https://keepersecurity.eu/api/rest/scim/v2/9"


@pytest.fixture
def scenario() -> Scenario:
    """A scenario in step, whose Keeper accepts three tokens."""
    scenario = Scenario()
    scenario.reconcile_to_the_end()
    scenario.keeper.accepts |= {"another", "theirs"}
    return scenario


def before_adding(scenario: Scenario, token: str, happens: Callable[[], object]) -> None:
    """Let something happen once this token was tried, before it is stored."""
    add = scenario.fakes.tokens.add

    def adding(connection_id: str, added: str) -> str:
        if added == token:
            happens()
        return add(connection_id, added)

    scenario.fakes.tokens.add = adding


def tokens(scenario: Scenario) -> list[str]:
    """Return the tokens that can still be read."""
    return sorted(scenario.fakes.tokens.enabled.values())


def under_way(scenario: Scenario) -> None:
    """Let a change of u1 be under way for a minute."""
    entry, now = scenario.entry("u1"), scenario.fakes.clock.now
    mark = Mark(change_id="x1", message_id="m1", action=Action.UPDATE, until=now + timedelta(minutes=1))
    scenario.fakes.store.put_entry(scenario.connection, replace(entry, mark=mark))


def delete_it(scenario: Scenario, connection_id: str = "c1") -> None:
    delete(scenario.services, connection_id, ACTOR, "Keeper")
    finish_deletions(scenario.services, FakeChannels(scenario.fakes.store))


def before_marks(scenario: Scenario, happens: Callable[[object], None]) -> None:
    """Let something happen once a worker wants to mark somebody, before it does."""
    roster = scenario.services.roster
    commit = type(roster).commit

    def committing(self: FakeRoster, connection: Connection, user_ids: Iterable[str], edit: Any) -> object:
        wanted = list(user_ids)
        known = {user_id: self.entry(connection, user_id) for user_id in wanted}
        change, _ = edit({user_id: entry for user_id, entry in known.items() if entry is not None})
        if any(entry is not None and entry.mark is not None for entry in change.entries.values()):
            happens(change)
        return commit(self, connection, wanted, edit)

    roster.commit = committing.__get__(roster)


def begin_deletion(scenario: Scenario) -> None:
    under_way(scenario)
    delete_it(scenario)
    assert [connection.state for connection in scenario.services.connections.all()] == [State.DELETING]


def move(scenario: Scenario) -> None:
    settings = replace(scenario.connection.settings, endpoint=ELSEWHERE)
    edit(scenario.services, "c1", scenario.connection.edition, settings, ACTOR, "theirs")


@pytest.mark.parametrize(("happens", "error"), [(move, Stale), (begin_deletion, NotFound)])
def test_a_token_is_never_used_where_it_was_not_tried(scenario, happens, error):
    before_adding(scenario, "another", lambda: happens(scenario))
    with pytest.raises(error):
        reauthorize(scenario.services, "c1", "another", ACTOR)
    assert "another" not in tokens(scenario)
    assert scenario.fakes.tokens.read("c1", scenario.connection.token_version) != "another"


def test_of_two_set_ups_of_one_node_at_the_same_moment_only_one_can_be_turned_on(scenario):
    """A form that was sent twice: each is checked before the other is stored."""
    settings = replace(scenario.connection.settings, endpoint=ELSEWHERE)
    before_adding(scenario, "theirs", lambda: set_up(scenario.services, settings, "another", ACTOR, "c2"))
    set_up(scenario.services, settings, "theirs", ACTOR, "c3")
    for connection_id in ("c2", "c3"):
        finish(scenario.services, connection_id, ACTOR)
        with pytest.raises(BadInput, match="already provisions this node"):
            turn_on(scenario.services, connection_id, ACTOR)
    delete_it(scenario, "c3")
    assert turn_on(scenario.services, "c2", ACTOR).state is State.ON


# ---- deleting


def told(scenario: Scenario) -> list[str]:
    """Return what the audit says of the configuration."""
    return [event.reason for event in scenario.fakes.store.events["c1"].values() if not event.user_id and event.reason]


def test_a_deletion_that_two_finish_at_once_is_told_once(scenario):
    channels = FakeChannels(scenario.fakes.store)
    scenario.fakes.store.connections["c1"] = replace(scenario.connection, state=State.DELETING)
    destroy = scenario.fakes.tokens.destroy

    def destroying(connection_id: str, version: str) -> None:
        scenario.fakes.tokens.destroy = destroy
        scenario.fakes.clock.advance(scenario.services.timings.reconcile_lease)  # the first one stalls, and loses it
        finish_deletions(scenario.services, channels)
        assert scenario.services.connections.all() == []
        destroy(connection_id, version)

    scenario.fakes.tokens.destroy = destroying
    finish_deletions(scenario.services, channels)
    assert told(scenario) == ["Deleted the configuration"]
    assert (scenario.services.connections.all(), tokens(scenario)) == ([], [])


def test_a_token_of_a_moment_ago_is_destroyed_with_the_others(scenario, monkeypatch):
    """The token was switched after the deleter had read the connection."""
    get = FakeConnections.get

    def old_answer(self: FakeConnections, connection_id: str) -> Connection | None:
        monkeypatch.setattr(FakeConnections, "get", get)
        known = get(self, connection_id)
        reauthorize(scenario.services, "c1", "another", ACTOR)
        return known

    monkeypatch.setattr(FakeConnections, "get", old_answer)
    delete_it(scenario)
    assert scenario.fakes.tokens.stored("c1") == {}


def test_a_token_stored_while_the_deletion_ended_is_destroyed_too(scenario):
    """No connection names it any more: only the note that a token was about to be stored shows that it exists."""
    before_adding(scenario, "another", lambda: delete_it(scenario))
    with pytest.raises(NotFound):
        reauthorize(scenario.services, "c1", "another", ACTOR)
    assert (scenario.services.connections.all(), tokens(scenario)) == ([], [])
    scenario.fakes.clock.advance(timedelta(hours=1))
    destroy_unused(scenario.services)
    assert scenario.fakes.tokens.stored("c1") == {}
    assert scenario.services.set_ups.begun() == {}


def test_a_node_can_be_set_up_again_once_the_deletion_has_ended(scenario):
    settings = replace(scenario.connection.settings, name="Again")
    begin_deletion(scenario)
    with pytest.raises(BadInput, match="It is being deleted: try again in a minute"):
        set_up(scenario.services, settings, "another", ACTOR, "c2")
    scenario.fakes.clock.advance(timedelta(minutes=2))
    finish_deletions(scenario.services, FakeChannels(scenario.fakes.store))
    assert set_up(scenario.services, settings, "another", ACTOR, "c2").state is State.DRAFT


def test_no_run_is_opened_on_what_was_deleted_while_another_node_was_listed(scenario, monkeypatch):
    scenario.connect("c2", shared=False)
    scenario.run()
    listing = FakeAccounts.list

    def deleted_meanwhile(self: FakeAccounts) -> Iterator[Sequence[Account]]:
        if scenario.services.connections.get("c2") is not None:
            delete(scenario.services, "c2", ACTOR, "c2")
            scenario.fakes.clock.advance(timedelta(minutes=31))
            finish_deletions(scenario.services, FakeChannels(scenario.fakes.store))
        yield from listing(self)

    monkeypatch.setattr(FakeAccounts, "list", deleted_meanwhile)
    reconcile(scenario.services, RunKind.DRIFT, scenario.fakes.clock.now + timedelta(hours=1))
    assert [connection.id for connection in scenario.services.connections.all()] == ["c1"]
    assert not scenario.fakes.store.runs.get("c2")


def test_a_run_whose_record_is_stored_late_leaves_none_on_what_is_deleted_meanwhile(scenario, monkeypatch):
    put, pending = FakeRuns.put, [delete_it]

    def held_up(self: FakeRuns, run: Run) -> None:
        if pending:
            pending.pop()(scenario)
        put(self, run)

    monkeypatch.setattr(FakeRuns, "put", held_up)
    reconcile(scenario.services, RunKind.FULL, scenario.fakes.clock.now + timedelta(hours=1))
    finish_deletions(scenario.services, FakeChannels(scenario.fakes.store))
    assert scenario.services.connections.all() == []
    assert not scenario.fakes.store.runs.get("c1")


@pytest.mark.parametrize("lost", [False, True])
def test_a_deletion_waits_for_the_batches_of_a_run_while_anybody_may_be_at_work_on_them(scenario, lost):
    """Who has read the connection and not marked anybody yet would leave a shard of the roster behind."""
    scenario.hire("u4", "dan@example.com")
    assert scenario.plan().state is RunState.PLANNED
    delete_it(scenario)
    assert scenario.connection.state is State.DELETING
    if lost:
        scenario.fakes.queue.batches.clear()
        scenario.fakes.clock.advance(scenario.services.timings.batch_mark)
    scenario.work_off()
    finish_deletions(scenario.services, FakeChannels(scenario.fakes.store))
    assert scenario.services.connections.all() == []
    assert scenario.keeper.of("u4") == []


def test_a_channel_that_cannot_be_stopped_keeps_no_configuration_alive(scenario, monkeypatch):
    channels = FakeChannels(scenario.fakes.store)
    channels.put(Channel(id="ch1", address="https://hook.example"))

    def refuse(self: FakeDirectory, channel: Channel) -> None:
        raise ConfigurationRefused("channels.stop is refused")

    monkeypatch.setattr(FakeDirectory, "stop", refuse)
    delete_it(scenario)
    assert scenario.services.connections.all() == []
    assert [channel.id for channel in channels.all()] == ["ch1"], "renew_watch tries again"


# ---- the notification channel


def renewed(scenario: Scenario, address: str = "https://hook.example") -> list[str]:
    fakes = scenario.fakes
    live = renew_watch(
        fakes.directory, FakeChannels(fakes.store), scenario.services.connections, b"k", address,
        fakes.clock, scenario.services.new_id,
    )  # fmt: skip
    return [channel.id for channel in live]


@pytest.mark.parametrize("state", State)
def test_there_is_a_channel_only_while_a_connection_serves_somebody(scenario, state):
    [channel] = renewed(scenario)
    scenario.services.connections.change("c1", lambda current: replace(current, state=state))
    live = renewed(scenario)
    assert live == ([channel] if state in (State.ON, State.PAUSED) else [])
    assert list(scenario.fakes.directory.channels) == list(scenario.fakes.store.channels) == live


def test_a_deployment_without_a_webhook_closes_its_channel_and_opens_none(scenario):
    renewed(scenario)
    assert scenario.fakes.directory.channels
    for _ in range(2):
        assert renewed(scenario, address="") == []
        assert not scenario.fakes.directory.channels
        assert not scenario.fakes.store.channels
    assert len(renewed(scenario)) == 1


# ---- a worker that has read the connection and not marked anybody yet


def by_notification(scenario: Scenario) -> None:
    for look in scenario.sent:
        scenario.deliver(look)


def by_batch(scenario: Scenario) -> None:
    scenario.fakes.clock.advance(timedelta(minutes=20))
    scenario.plan()
    scenario.work_off()


@pytest.mark.parametrize("happens", [lambda scenario: turn_off(scenario.services, "c1", ACTOR), delete_it])
@pytest.mark.parametrize("way", [by_notification, by_batch])
def test_nothing_is_sent_for_a_connection_that_was_turned_off_or_deleted_before_the_mark(scenario, happens, way):
    """The deleter sees no mark to wait for, so the worker must see the deletion."""
    before = scenario.connection
    accounts = dict(scenario.keeper.accounts)
    scenario.fakes.store.stutters = False
    scenario.hire("u4", "dan@example.com")
    scenario.rename("u1", "Renamed")
    pending = [happens]

    def before_the_first_mark(entries: object) -> None:
        if pending:
            pending.pop()(scenario)

    before_marks(scenario, before_the_first_mark)
    way(scenario)

    assert pending == []
    assert scenario.keeper.accounts == accounts
    left = scenario.services.roster.load(before)
    assert "u4" not in left
    assert all(entry.mark is None for entry in left.values())


# ---- a run that is being planned meanwhile


def turn_it_off(scenario: Scenario) -> None:
    turn_off(scenario.services, "c1", ACTOR)


def narrow(scenario: Scenario) -> None:
    settings = changed(scenario.connection.settings, org_units=("/Sales",))
    edit(scenario.services, "c1", scenario.connection.edition, settings, ACTOR)


@pytest.mark.parametrize("happens", [turn_it_off, narrow])
def test_a_plan_for_settings_that_were_changed_meanwhile_is_dropped(scenario, monkeypatch, happens):
    users, pending = FakeDirectory.users, [happens]

    def listing(self: FakeDirectory, fields: frozenset[str]) -> object:
        if pending:
            pending.pop()(scenario)
        return users(self, fields)

    monkeypatch.setattr(FakeDirectory, "users", listing)
    scenario.hire("u4", "dan@example.com")
    scenario.suspend("u1")
    assert scenario.plan().state is RunState.REFUSED
    assert scenario.fakes.queue.batches == []
    assert scenario.entry("u4") is None


def test_an_edit_stops_the_changes_that_were_planned_for_other_settings(scenario):
    scenario.hire("u4", "dan@example.com")
    run = scenario.plan()
    assert run.state is RunState.PLANNED
    narrow(scenario)
    scenario.work_off()
    assert scenario.keeper.of("u4") == []
    closed = scenario.services.runs.get("c1", run.id)
    assert closed.state is RunState.SUPERSEDED
    assert closed.notes == (LEFT_BY_EDIT,)


def test_the_run_after_an_edit_does_not_wait_for_what_was_planned_before_it(scenario):
    scenario.hire("u4", "dan@example.com")
    old = scenario.plan()
    settings = replace(scenario.connection.settings, name="Vault")
    edit(scenario.services, "c1", scenario.connection.edition, settings, ACTOR)
    new = scenario.plan()
    assert new.id != old.id
    assert new.state is RunState.PLANNED
    scenario.work_off()
    assert scenario.services.runs.get("c1", old.id).state is RunState.SUPERSEDED
    assert scenario.services.runs.get("c1", new.id).state is RunState.DONE
    assert len(scenario.keeper.of("u4")) == 1


def test_an_edit_in_the_moment_in_which_a_plan_is_recorded_stops_it_too(scenario, monkeypatch):
    change, pending = FakeRuns.change, [narrow]

    def recording(self: FakeRuns, *given: object) -> object:
        if pending:
            pending.pop()(scenario)
        return change(self, *given)

    monkeypatch.setattr(FakeRuns, "change", recording)
    scenario.hire("u4", "dan@example.com")
    scenario.plan()
    scenario.work_off()
    assert scenario.keeper.of("u4") == []
    assert scenario.services.runs.open("c1") == []


def test_a_run_goes_on_while_our_own_work_notes_a_wait_or_begins_the_roster(scenario, monkeypatch):
    users = FakeDirectory.users

    def listing(self: FakeDirectory, fields: frozenset[str]) -> object:
        now = scenario.fakes.clock.now
        scenario.services.connections.change("c1", lambda current: replace(current, throttled_until=now))
        return users(self, fields)

    monkeypatch.setattr(FakeDirectory, "users", listing)
    scenario.hire("u4", "dan@example.com")
    assert scenario.plan().state is RunState.PLANNED


# ---- what the audit says of it


def acts(scenario: Scenario) -> list[tuple[str, object, object]]:
    """Return what administrators changed: reason, before and after of each event of theirs."""
    events = [
        event
        for event in scenario.fakes.store.events["c1"].values()
        if (event.actor, event.actor_id) == (ACTOR.address, ACTOR.directory_id)
    ]
    return [(event.reason, event.before, event.changed) for event in events]


def test_every_act_of_an_administrator_is_told_once_with_what_it_changed(scenario):
    rows = (replace(row, mandatory=row.mandatory or row.target == "name.givenName") for row in DEFAULT_ROWS)
    given = AttributeMapping(tuple(rows))
    services, version = scenario.services, scenario.connection.token_version
    edit(services, "c1", 0, replace(scenario.connection.settings, mapping=given), ACTOR)
    turn_off(services, "c1", ACTOR)
    turn_off(services, "c1", ACTOR)
    turn_on(services, "c1", ACTOR)
    turn_on(services, "c1", ACTOR)
    reauthorize(services, "c1", "another", ACTOR)
    another = scenario.connection.token_version
    edit(services, "c1", 1, scenario.connection.settings, ACTOR, "theirs")
    theirs = scenario.connection.token_version
    services.holds.put(
        "c1", Hold(digest="d1", raised_at=scenario.fakes.clock.now, members=(Member(resource="u1", action="suspend"),))
    )
    decide_hold(services, "c1", "d1", "reject", ACTOR)
    row = "name.givenName"
    assert acts(scenario) == [
        ("Edited", {f"mapping {row}": row}, {f"mapping {row}": f"{row} (mandatory)"}),
        ("Turned off", {"state": "On"}, {"state": "Off"}),
        ("Turned on", {"state": "Off"}, {"state": "On"}),
        ("0 users were waiting", {"access token": f"version {version}"}, {"access token": f"version {another}"}),
        ("Edited", {"access token": f"version {another}"}, {"access token": f"version {theirs}"}),
        ("1 of 1 of held plan d1: rejected", {"held plan": "waiting"}, {"held plan": "rejected"}),
    ]


def test_an_edit_is_not_told_to_have_changed_what_somebody_else_did_meanwhile(scenario):
    before_adding(scenario, "theirs", lambda: reauthorize(scenario.services, "c1", "another", ACTOR))
    settings = replace(scenario.connection.settings, name="Vault")
    edit(scenario.services, "c1", 0, settings, ACTOR, "theirs")
    [_, (_, before, after)] = acts(scenario)
    versions = [retired.version for retired in scenario.connection.retired_tokens]
    assert before == {"name": "Keeper", "access token": f"version {versions[-1]}"}
    assert after == {"name": "Vault", "access token": f"version {scenario.connection.token_version}"}
