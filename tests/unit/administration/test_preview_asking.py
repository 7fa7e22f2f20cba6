"""Previews are asked for, computed, tried again, saved, or fail; nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.administration.configure import delete, edit
from autoprovisioning.app.administration.preview import KEPT, PATIENCE, ask_preview, compute_preview, save_preview
from autoprovisioning.app.ports.requests import PreviewState
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import BadInput, NotFound, Stale, Transient
from autoprovisioning.domain.events import Actor
from tests.support.in_memory import FakeDirectory
from tests.support.in_memory_state import FakeChannels
from tests.support.previewing import A_MOMENT, ACTOR, everything, hired
from tests.support.scenario import GROUP, Office


def test_what_an_edit_would_be_refused_for_a_preview_is_refused_for(desk):
    office = desk.office
    edition = office.connection.edition
    bad = [
        (NotFound, "no such", edition, desk.settings()),
        (Stale, "c1", edition + 1, desk.settings()),
        (BadInput, "c1", edition, desk.settings(name="")),
        (BadInput, "c1", edition, desk.settings(scope_groups=("nobody@example.com",))),
        (BadInput, "c1", edition, desk.settings(endpoint="https://keepersecurity.eu/api/rest/scim/v2/9")),
    ]
    for error, connection_id, known, settings in bad:
        with pytest.raises(error):
            ask_preview(office.services, desk.previews, connection_id, known, settings, ACTOR)
        with pytest.raises(error):
            edit(office.services, connection_id, known, settings, ACTOR)
    assert office.desk.queue.previews == []


def test_a_connection_without_a_token_has_no_preview(desk):
    desk.office.services.connections.change("c1", lambda current: replace(current, token_version=""))
    with pytest.raises(BadInput, match="token: there is none"):
        desk.ask()


def test_a_connection_that_is_being_deleted_has_no_preview(desk):
    asked = desk.ask()
    desk.office.services.connections.change("c1", lambda current: replace(current, state=State.DELETING))
    with pytest.raises(NotFound):
        desk.ask()
    assert desk.compute(asked).state is PreviewState.WAITING


def test_a_preview_of_a_connection_deleted_meanwhile_leaves_no_names_behind(desk, monkeypatch):
    users = FakeDirectory.users

    def listing(self, fields):
        delete(desk.office.services, FakeChannels(desk.office.desk.store), "c1", ACTOR, "Keeper")
        return users(self, fields)

    monkeypatch.setattr(FakeDirectory, "users", listing)
    hired(desk.office)
    asked = desk.compute(desk.ask())
    assert desk.office.services.connections.get("c1") is None
    assert list(desk.previews.every_line(asked)) == []


def test_a_preview_waits_until_its_message_is_delivered(desk):
    asked = desk.ask(name="Vault")
    now = desk.office.desk.clock.now
    assert desk.previews.get("c1", asked.id) == asked
    assert (asked.state, asked.asked_by, asked.asked_at, asked.expires) == (
        PreviewState.WAITING,
        ACTOR.address,
        now,
        now + KEPT,
    )
    assert desk.office.desk.queue.previews == [("c1", asked.id)]


def test_saving_a_preview_saves_its_settings(desk):
    asked = desk.ask(name="Vault", org_units=("/Sales",))
    saved = save_preview(desk.office.services, desk.previews, "c1", asked.id, ACTOR)
    assert saved.settings == asked.settings


def test_a_preview_of_a_connection_that_was_edited_since_is_computed_but_not_saved(desk):
    asked = desk.ask(name="Vault")
    edit(desk.office.services, "c1", asked.edition, desk.settings(name="Safe"), ACTOR)
    assert desk.compute(asked).state is PreviewState.DONE
    with pytest.raises(Stale):
        save_preview(desk.office.services, desk.previews, "c1", asked.id, ACTOR)
    assert desk.office.connection.settings.name == "Safe"


def test_a_preview_that_expired_is_neither_computed_nor_saved(desk):
    asked = desk.ask()
    desk.office.desk.clock.advance(KEPT)
    before = everything(desk.office)
    assert desk.compute(asked).state is PreviewState.WAITING
    with pytest.raises(NotFound):
        save_preview(desk.office.services, desk.previews, "c1", asked.id, ACTOR)
    assert everything(desk.office) == before


def test_a_refused_token_fails_the_preview_and_pauses_nothing(desk):
    desk.office.keeper.accepts = set()
    done = desk.compute(desk.ask())
    assert done.state is PreviewState.FAILED
    assert "access token" in done.problem
    assert done.finished == desk.office.desk.clock.now
    assert desk.office.connection.state is State.ON


def test_a_group_that_is_gone_by_then_fails_the_preview(desk):
    asked = desk.ask()
    del desk.office.directory.groups[GROUP.id]
    failed = desk.compute(asked)
    assert (failed.state, "scope.groups" in failed.problem) == (PreviewState.FAILED, True)


def throttled(office: Office, minutes: int) -> None:
    until = office.desk.clock.now + timedelta(minutes=minutes)
    office.services.connections.change("c1", lambda current: replace(current, throttled_until=until))


def test_what_trying_again_may_help_is_delivered_again_and_then_computed(desk):
    asked = desk.ask()
    throttled(desk.office, 2)
    with pytest.raises(Transient):
        desk.compute(asked)
    running = desk.previews.get("c1", asked.id)
    assert (running.state, "asked this connection to wait" in running.problem) == (PreviewState.RUNNING, True)
    desk.office.desk.clock.advance(timedelta(minutes=2))
    done = desk.compute(asked)
    assert (done.state, done.problem) == (PreviewState.DONE, "")


def test_after_some_minutes_it_fails_with_what_was_wrong_the_last_time(desk):
    asked = desk.ask()
    throttled(desk.office, 60)
    with pytest.raises(Transient):
        desk.compute(asked)
    desk.office.desk.clock.advance(PATIENCE)
    failed = desk.compute(asked)
    assert (failed.state, "asked this connection to wait" in failed.problem) == (PreviewState.FAILED, True)


def test_a_deadline_that_passes_is_tried_again(desk):
    asked = desk.ask()
    with pytest.raises(Transient):
        compute_preview(desk.office.services, desk.previews, "c1", asked.id, desk.office.desk.clock.now)
    assert desk.previews.get("c1", asked.id).state is PreviewState.RUNNING


def test_a_preview_that_is_done_stays_as_it_is(desk):
    done = desk.compute(desk.ask())
    hired(desk.office)
    desk.office.desk.clock.advance(A_MOMENT)
    assert desk.compute(done) == done


def test_whoever_asks_again_while_it_is_computed_gets_that_one(desk):
    first = desk.ask(name="Vault")
    desk.previews.put(replace(first, state=PreviewState.RUNNING))
    desk.office.desk.clock.advance(PATIENCE - A_MOMENT)
    assert {desk.ask(name="Vault").id for _ in range(50)} == {first.id}
    assert len(desk.office.desk.queue.previews) == 1
    desk.office.desk.clock.advance(A_MOMENT)
    assert desk.ask(name="Vault").state is PreviewState.WAITING, "its message is taken for lost"
    assert len(desk.office.desk.queue.previews) == 2


def test_other_settings_and_other_people_have_previews_of_their_own(desk):
    office, settings = desk.office, desk.settings(name="Vault")
    first = desk.ask(name="Vault")
    other = Actor(address="b@example.com", directory_id="u9")
    another = ask_preview(office.services, desk.previews, "c1", office.connection.edition, settings, other)
    assert len({first.id, another.id, desk.ask(name="Safe").id}) == 3
    edit(office.services, "c1", office.connection.edition, desk.settings(), ACTOR)
    assert desk.ask(name="Vault").id != first.id, "of another edition"


def test_a_preview_asked_for_again_once_it_is_done_is_computed_anew(desk):
    hired(desk.office)
    done = desk.compute(desk.ask())
    assert list(desk.previews.every_line(done))
    again = desk.ask()
    assert (again.state, again.counts, list(desk.previews.every_line(again))) == (PreviewState.WAITING, {}, [])
    assert desk.compute(again).counts == done.counts


def test_a_preview_that_could_not_be_published_waits_for_nothing(desk, monkeypatch):
    def down(connection_id, preview_id):
        raise Transient("Pub/Sub is away")

    with monkeypatch.context() as broken:
        broken.setattr(desk.office.services.queue, "request_preview", down)
        with pytest.raises(Transient):
            desk.ask()
    assert desk.ask().state is PreviewState.WAITING
    assert len(desk.office.desk.queue.previews) == 1
