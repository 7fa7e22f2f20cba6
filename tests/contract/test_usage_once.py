"""What is counted is counted once, though the answer to a commit is lost and the client sends it again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from autoprovisioning.app.ports.roster import Edit, Progress
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.events import Event, EventName
from autoprovisioning.domain.holds import Hold, HoldState
from autoprovisioning.domain.runs import Run, RunKind, RunState
from tests.contract.state_stores import Firestore, Wire, wire
from tests.contract.test_state_faults import LostAnswer
from tests.support.builders import NOW

pytestmark = pytest.mark.emulator

HOME = Connection(id="c1", roster_layout="1")
TODAY = "2026-11-24"


@pytest.fixture
def state(backing: Any, project_id: str) -> Iterator[Firestore]:
    stores = Firestore(f"127.0.0.1:{backing.ports['firestore']}", project_id)
    stores.runs.put(
        Run(id="r1", connection_id="c1", kind=RunKind.FULL, fence=1, started=NOW, state=RunState.PLANNED, batches=1)
    )
    yield stores
    stores.close()


@pytest.fixture
def relay(backing: Any) -> Iterator[Wire]:
    with wire(int(backing.ports["firestore"])) as running:
        yield running


@pytest.fixture
def far(relay: Wire, project_id: str) -> Iterator[Firestore]:
    """The same project as `state`, over the relay."""
    stores = Firestore(relay.host, project_id)
    stores.runs.get("c1", "r1")  # connects
    yield stores
    stores.close()


def event(event_id: str, name: EventName) -> Event:
    return Event(id=event_id, at=NOW, name=name, actor="reconcile")


def test_an_event_of_no_user_counts_once(state, far, relay):
    lost = LostAnswer(relay)
    lost.arm()
    lost.during(
        lambda: far.audit.record("c1", [event("e1", EventName.PAUSED), event("e2", EventName.CONFIGURED)]),
        lambda: bool(state.audited("c1")),
    )
    assert state.audited("c1") == {"e1", "e2"}
    assert state.usage("c1") == {TODAY: {EventName.PAUSED.value: 1, EventName.CONFIGURED.value: 1}}


def test_a_held_plan_counts_once(state, far, relay):
    hold = Hold(digest="plan", raised_at=NOW, members=(), reason=HoldState.WAITING, verdicts="too many")
    lost = LostAnswer(relay)
    lost.arm()
    lost.during(
        lambda: far.holds.put("c1", hold, event("e1", EventName.HELD)),
        lambda: bool(state.audited("c1")),
    )
    assert state.usage("c1") == {TODAY: {EventName.HELD.value: 1}}
    assert state.holds.get("c1", "plan") == hold


def test_the_end_of_a_batch_counts_once(state, far, relay):
    """It changes no entry, so only the run's own record shows that it was written."""
    progress = Progress(run_id="r1", at=NOW, counts={"unsettled": 2, "scim_get": 3}, done="1", continued=1)
    LostAnswer(relay).during(
        lambda: far.roster.commit(HOME, (), lambda _known: (Edit(progress=progress), None)),
        lambda: bool(state.runs.get("c1", "r1").done),
        writing_with=far,
    )
    run = state.runs.get("c1", "r1")
    assert (dict(run.counts), dict(run.done)) == ({"unsettled": 2, "scim_get": 3}, {"1": 1})


def test_a_batch_that_two_deliveries_end_counts_once(state):
    for unsettled in (2, 5):
        progress = Progress(run_id="r1", at=NOW, counts={"unsettled": unsettled}, done="1")
        state.roster.commit(HOME, (), lambda _known, told=progress: (Edit(progress=told), None))
    assert state.runs.get("c1", "r1").unsettled == 2


def test_an_event_that_is_there_already_is_not_recorded_again(state):
    """Two who finish a deletion at once give its event one name."""
    for reason in ("first", "second"):
        state.audit.record("c1", [replace(event("deleted", EventName.CONFIGURED), reason=reason)])
    assert state.collection("c1", "events")["deleted"]["reason"] == "first"
    assert state.usage("c1") == {TODAY: {EventName.CONFIGURED.value: 1}}
