"""What a worker that dies leaves behind is followed up by the next delivery, or by the next run, and nobody is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.app.runs.apply_batch import apply_batch
from autoprovisioning.domain.errors import Transient
from autoprovisioning.domain.runs import Batch, RunState
from autoprovisioning.domain.settings import VolumeLimit
from tests.support.builders import MINUTE, active, notice
from tests.support.scenario import LATER, Scenario
from tests.support.settings import with_settings

SECONDS = timedelta(seconds=1)


class Killed(BaseException):
    """The worker is gone; nobody handles this."""


def die(*_: object) -> None:
    raise Killed


@pytest.fixture
def began(scenario) -> datetime:
    """Everybody has access, and the marks and contradictions of that are over."""
    scenario.run()
    scenario.fakes.clock.advance(LATER)
    return scenario.fakes.clock.now


def only_batch(scenario: Scenario) -> Batch:
    (batch,), scenario.fakes.queue.batches = scenario.fakes.queue.batches, []
    return batch


def deliver(scenario: Scenario, batch: Batch, published: datetime) -> Transient | None:
    """Deliver the batch; returns what it is to be delivered again for."""
    try:
        apply_batch(scenario.services, batch, "m1", published, scenario.fakes.clock.now + 8 * MINUTE)
    except Transient as error:
        return error
    return None


def leaves_while_renamed(scenario: Scenario, monkeypatch) -> Batch:
    """Let u1 be suspended while a batch renames them, and the batch's worker die once that is recorded."""
    scenario.rename("u1", "Ada")
    scenario.plan()
    batch = only_batch(scenario)

    def suspended() -> None:
        scenario.suspend("u1")
        notice(scenario, "u1")

    scenario.keeper.meanwhile.append(suspended)
    with monkeypatch.context() as patched:
        patched.setattr(scenario.services.queue, "look_again", die)
        with pytest.raises(Killed):
            deliver(scenario, batch, scenario.fakes.clock.now)
    return batch


def test_who_was_to_be_looked_at_again_is_when_the_batch_of_a_dead_worker_comes_again(scenario, began, monkeypatch):
    batch = leaves_while_renamed(scenario, monkeypatch)
    scenario.fakes.clock.advance(10 * SECONDS)
    assert deliver(scenario, batch, began) is None
    scenario.work_off()
    assert active(scenario, "u1") == [False]
    assert not scenario.entry("u1").again


def test_who_was_to_be_looked_at_again_is_by_the_run_of_an_edit_that_has_the_batch_dropped(
    scenario, began, monkeypatch
):
    batch = leaves_while_renamed(scenario, monkeypatch)
    scenario.services.connections.change("c1", lambda current: replace(current, edition=current.edition + 1))
    assert deliver(scenario, batch, began) is None
    assert scenario.entry("u1").again
    scenario.run()
    assert active(scenario, "u1") == [False]
    assert not scenario.entry("u1").again


def test_a_mark_that_was_taken_back_leaves_the_look_that_somebody_asked_for(scenario, began, monkeypatch):
    """The connection is edited before the marks are seen; the worker dies before it can ask for the look."""
    scenario.rename("u1", "Ada")
    scenario.plan()
    batch, change = only_batch(scenario), scenario.services.connections.change

    def edited() -> None:
        scenario.suspend("u1")
        notice(scenario, "u1")
        change("c1", lambda current: replace(current, edition=current.edition + 1))

    roster, marking = scenario.services.roster, scenario.services.roster.commit_in_parts

    def marks(*asked):
        monkeypatch.setattr(roster, "commit_in_parts", marking)
        result = marking(*asked)
        edited()
        return result

    with monkeypatch.context() as patched:
        patched.setattr(roster, "commit_in_parts", marks)
        patched.setattr(scenario.services.queue, "look_again", die)
        with pytest.raises(Killed):
            deliver(scenario, batch, began)
    assert (scenario.entry("u1").mark, scenario.entry("u1").again) == (None, True)
    scenario.run()
    assert active(scenario, "u1") == [False]


def test_a_run_waits_for_whom_a_dead_worker_of_an_earlier_run_had_marked(scenario, began):
    for user_id in ("u1", "u2"):
        scenario.suspend(user_id)
    scenario.plan()
    batch, clock = only_batch(scenario), scenario.fakes.clock
    scenario.keeper.meanwhile.append(die)
    with pytest.raises(Killed):
        deliver(scenario, batch, began)
    scenario.services.connections.change("c1", lambda current: replace(current, edition=current.edition + 1))
    clock.advance(10 * SECONDS)
    assert deliver(scenario, batch, began) is None, "it is dropped"

    run, published = scenario.plan(), clock.now
    batch = only_batch(scenario)
    assert {look.user_id for look in batch.looks} == {"u1", "u2"}
    error = deliver(scenario, batch, published)
    assert isinstance(error, Transient)
    assert error.retry_after == 80, "what is left of the marks"
    assert scenario.services.runs.get("c1", run.id).state is RunState.PLANNED
    clock.advance(timedelta(seconds=error.retry_after))
    assert deliver(scenario, batch, published) is None
    assert (active(scenario, "u1"), active(scenario, "u2")) == ([False], [False])
    assert scenario.services.runs.get("c1", run.id).state is RunState.DONE


def test_a_run_whose_last_worker_died_before_it_closed_it_is_closed_when_the_batch_comes_again(
    scenario, began, monkeypatch
):
    scenario.rename("u1", "Ada")
    run = scenario.plan()
    batch = only_batch(scenario)
    with monkeypatch.context() as patched:
        patched.setattr("autoprovisioning.app.runs.apply_batch.close_if_finished", die)
        with pytest.raises(Killed):
            deliver(scenario, batch, began)
    assert scenario.services.runs.get("c1", run.id).state is RunState.PLANNED
    assert deliver(scenario, batch, began) is None
    assert scenario.services.runs.get("c1", run.id).state is RunState.DONE


def test_a_run_that_holds_a_change_has_looked_at_the_user(scenario, began):
    """Or each batch that records something of them would publish a look, for as long as the plan is held."""
    scenario.services.connections.change("c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=1)))
    for user_id in ("u1", "u2"):
        scenario.suspend(user_id)
    asked = replace(scenario.entry("u1"), again=True)
    scenario.services.roster.commit(scenario.connection, ["u1"], lambda _: (Edit(entries={"u1": asked}), None))
    scenario.run()
    assert len(scenario.services.holds.standing("c1")) == 1
    assert not scenario.entry("u1").again
    assert active(scenario, "u1") == [True]
