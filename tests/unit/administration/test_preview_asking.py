"""Previews are asked for, computed, tried again, saved, or fail; nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from autoprovisioning.app.administration.configure import delete, edit
from autoprovisioning.app.administration.finish_deletions import finish_deletions
from autoprovisioning.app.administration.preview import ask_preview, compute_preview, save_preview
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import BadInput, NotFound, Stale, Transient
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.requests import PREVIEW, RequestState
from tests.support.in_memory import FakeDirectory
from tests.support.in_memory_state import FakeChannels
from tests.support.previewing import A_MOMENT, ACTOR, everything, hired
from tests.support.scenario import GROUP, Scenario


def test_what_an_edit_would_be_refused_for_a_preview_is_refused_for(admin):
    scenario = admin.scenario
    edition = scenario.connection.edition
    bad = [
        (NotFound, "no such", edition, admin.settings()),
        (Stale, "c1", edition + 1, admin.settings()),
        (BadInput, "c1", edition, admin.settings(name="")),
        (BadInput, "c1", edition, admin.settings(scope_groups=("nobody@example.com",))),
        (BadInput, "c1", edition, admin.settings(endpoint="https://keepersecurity.eu/api/rest/scim/v2/9")),
    ]
    for error, connection_id, known, settings in bad:
        with pytest.raises(error):
            ask_preview(scenario.services, connection_id, known, settings, ACTOR)
        with pytest.raises(error):
            edit(scenario.services, connection_id, known, settings, ACTOR)
    assert scenario.fakes.queue.previews == []


def test_a_connection_without_a_token_has_no_preview(admin):
    admin.scenario.services.connections.change("c1", lambda current: replace(current, token_version=""))
    with pytest.raises(BadInput, match="token: there is none"):
        admin.ask()


def test_a_connection_that_is_being_deleted_has_no_preview(admin):
    asked = admin.ask()
    admin.scenario.services.connections.change("c1", lambda current: replace(current, state=State.DELETING))
    with pytest.raises(NotFound):
        admin.ask()
    assert admin.compute(asked).state is RequestState.WAITING


def test_a_preview_of_a_connection_deleted_meanwhile_leaves_no_names_behind(admin, monkeypatch):
    users = FakeDirectory.users

    def listing(self, fields):
        delete(admin.scenario.services, "c1", ACTOR, "Keeper")
        finish_deletions(admin.scenario.services, FakeChannels(admin.scenario.fakes.store))
        return users(self, fields)

    monkeypatch.setattr(FakeDirectory, "users", listing)
    hired(admin.scenario)
    asked = admin.compute(admin.ask())
    assert admin.scenario.services.connections.get("c1") is None
    assert admin.lines(asked) == []


def test_a_preview_waits_until_its_message_is_delivered(admin):
    asked = admin.ask(name="Vault")
    now = admin.scenario.fakes.clock.now
    assert admin.stored(asked) == asked
    assert (asked.state, asked.asked_by.address, asked.asked_at, asked.expires) == (
        RequestState.WAITING,
        ACTOR.address,
        now,
        now + PREVIEW.kept,
    )
    assert admin.scenario.fakes.queue.previews == [("c1", asked.id)]


def test_saving_a_preview_saves_its_settings(admin):
    asked = admin.ask(name="Vault", org_units=("/Sales",))
    saved = save_preview(admin.scenario.services, "c1", asked.id, ACTOR)
    assert saved.settings == asked.subject.settings


def test_a_preview_of_a_connection_that_was_edited_since_is_computed_but_not_saved(admin):
    asked = admin.ask(name="Vault")
    edit(admin.scenario.services, "c1", asked.subject.edition, admin.settings(name="Safe"), ACTOR)
    assert admin.compute(asked).state is RequestState.DONE
    with pytest.raises(Stale):
        save_preview(admin.scenario.services, "c1", asked.id, ACTOR)
    assert admin.scenario.connection.settings.name == "Safe"


def test_a_preview_that_expired_is_neither_computed_nor_saved(admin):
    asked = admin.ask()
    admin.scenario.fakes.clock.advance(PREVIEW.kept)
    before = everything(admin.scenario)
    assert admin.compute(asked).state is RequestState.WAITING
    with pytest.raises(NotFound):
        save_preview(admin.scenario.services, "c1", asked.id, ACTOR)
    assert everything(admin.scenario) == before


def test_a_refused_token_fails_the_preview_and_pauses_nothing(admin):
    admin.scenario.keeper.accepts = set()
    done = admin.compute(admin.ask())
    assert done.state is RequestState.FAILED
    assert "access token" in done.problem
    assert done.finished == admin.scenario.fakes.clock.now
    assert admin.scenario.connection.state is State.ON


def test_a_group_that_is_gone_by_then_fails_the_preview(admin):
    asked = admin.ask()
    del admin.scenario.directory.groups[GROUP.id]
    failed = admin.compute(asked)
    assert (failed.state, "scope.groups" in failed.problem) == (RequestState.FAILED, True)


def throttled(scenario: Scenario, minutes: int) -> None:
    until = scenario.fakes.clock.now + timedelta(minutes=minutes)
    scenario.services.connections.change("c1", lambda current: replace(current, throttled_until=until))


def test_what_trying_again_may_help_is_delivered_again_and_then_computed(admin):
    asked = admin.ask()
    throttled(admin.scenario, 2)
    with pytest.raises(Transient):
        admin.compute(asked)
    running = admin.stored(asked)
    assert (running.state, "asked this connection to wait" in running.problem) == (RequestState.RUNNING, True)
    admin.scenario.fakes.clock.advance(timedelta(minutes=2))
    done = admin.compute(asked)
    assert (done.state, done.problem) == (RequestState.DONE, "")


def test_after_some_minutes_it_fails_with_what_was_wrong_the_last_time(admin):
    asked = admin.ask()
    throttled(admin.scenario, 60)
    with pytest.raises(Transient):
        admin.compute(asked)
    admin.scenario.fakes.clock.advance(PREVIEW.patience)
    failed = admin.compute(asked)
    assert (failed.state, "asked this connection to wait" in failed.problem) == (RequestState.FAILED, True)


def test_a_deadline_that_passes_is_tried_again(admin):
    asked = admin.ask()
    with pytest.raises(Transient):
        compute_preview(admin.scenario.services, "c1", asked.id, admin.scenario.fakes.clock.now)
    assert admin.stored(asked).state is RequestState.RUNNING


def test_a_preview_that_is_done_stays_as_it_is(admin):
    done = admin.compute(admin.ask())
    hired(admin.scenario)
    admin.scenario.fakes.clock.advance(A_MOMENT)
    assert admin.compute(done) == done


def test_of_two_deliveries_at_once_the_first_answer_stays(admin, monkeypatch):
    users, asked = FakeDirectory.users, admin.ask()
    answers: list[Any] = []

    def listing(self, fields):
        monkeypatch.setattr(FakeDirectory, "users", users)
        answers.append(admin.compute(asked))  # the other delivery, from beginning to end
        hired(admin.scenario)
        return users(self, fields)

    monkeypatch.setattr(FakeDirectory, "users", listing)
    assert admin.compute(asked) == answers[0]
    assert answers[0].state is RequestState.DONE
    lines = list(admin.scenario.services.preview_lines.every(answers[0]))
    assert len(lines) == sum(answers[0].result.counts.values()) - answers[0].result.counts.get("unchanged", 0)


def test_whoever_asks_again_while_it_is_computed_gets_that_one(admin):
    first = admin.ask(name="Vault")
    admin.scenario.services.requests.put(replace(first, state=RequestState.RUNNING))
    admin.scenario.fakes.clock.advance(PREVIEW.patience - A_MOMENT)
    assert {admin.ask(name="Vault").id for _ in range(50)} == {first.id}
    assert len(admin.scenario.fakes.queue.previews) == 1
    admin.scenario.fakes.clock.advance(A_MOMENT)
    assert admin.ask(name="Vault").state is RequestState.WAITING, "its message is taken for lost"
    assert len(admin.scenario.fakes.queue.previews) == 2


def test_other_settings_and_other_people_have_previews_of_their_own(admin):
    scenario, settings = admin.scenario, admin.settings(name="Vault")
    first = admin.ask(name="Vault")
    other = Actor(address="b@example.com", directory_id="u9")
    another = ask_preview(scenario.services, "c1", scenario.connection.edition, settings, other)
    assert len({first.id, another.id, admin.ask(name="Safe").id}) == 3
    edit(scenario.services, "c1", scenario.connection.edition, admin.settings(name="Other"), ACTOR)
    assert admin.ask(name="Vault").id != first.id, "of another edition"


def test_a_preview_asked_for_again_once_it_is_done_is_computed_anew(admin):
    hired(admin.scenario)
    done = admin.compute(admin.ask())
    assert admin.lines(done)
    again = admin.ask()
    assert (again.state, again.result.counts, admin.lines(again)) == (RequestState.WAITING, {}, [])
    assert admin.compute(again).result.counts == done.result.counts


def test_a_preview_that_could_not_be_published_waits_for_nothing(admin, monkeypatch):
    def down(request):
        raise Transient("Pub/Sub is away")

    with monkeypatch.context() as broken:
        broken.setattr(admin.scenario.services.queue, "request_work", down)
        with pytest.raises(Transient):
            admin.ask()
    assert admin.ask().state is RequestState.WAITING
    assert len(admin.scenario.fakes.queue.previews) == 1
