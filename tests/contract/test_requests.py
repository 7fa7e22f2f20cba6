"""The contract of requests, which is one for all kinds: the fakes and Firestore keep the same promises."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from autoprovisioning.domain.accounts import Account
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.errors import ConfigurationRefused
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.keeper import PatchDialect
from autoprovisioning.domain.mapping import DEFAULT_ROWS, AttributeMapping, Row
from autoprovisioning.domain.requests import (
    INQUIRY,
    PREVIEW,
    RUN,
    Findings,
    Forecast,
    InquiryKind,
    Proposal,
    Question,
    Step,
    TeamsForeseen,
)
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.scope import Scope
from autoprovisioning.domain.settings import Settings, VolumeLimit
from autoprovisioning.domain.teams import TeamState
from tests.contract.state_stores import Firestore
from tests.support.builders import NOW, SECOND, requested

TICK = timedelta(microseconds=1)

SETTINGS = Settings(
    name="Keeper EU",
    endpoint="https://keepersecurity.eu/api/rest/scim/v2/1",
    mapping=AttributeMapping(
        (*DEFAULT_ROWS, Row(target="title", source="organizations[primary].title", mandatory=True))
    ),
    scope=Scope.named(groups=("g1", "sales@example.com"), org_units=("/Sales", "/R&D")),
    deprovisioning=Deprovisioning(
        app_off=Delays(suspend_after=7, delete_after=30),
        suspended=Delays(suspend_after=None, delete_after=None),
        deleted=Delays(suspend_after=0, delete_after=1),
    ),
    limit=VolumeLimit(minimum=25, percent=2.5),
    archived_as_suspended=True,
    patch_dialect=PatchDialect.KEEPER,
    repair_drift=False,
)
TEAMS_FORESEEN = TeamsForeseen(made=2, taken=1, other={TeamState.ROLE: 1}, memberships=7, problem="x")
FORECAST = Forecast(counts={"create": 2, "unchanged": 7}, held=True, notes=("a", "b"), teams=TEAMS_FORESEEN)
FINDINGS = Findings(
    steps=(
        Step(at=NOW, text="Read the user from the directory"),
        Step(at=NOW + TICK, text='Keeper said "no"', failed=True),
    ),
    account=Account(
        scim_id="k1",
        user_name="ada@example.com",
        external_id="u1",
        active=True,
        attributes={"userName": "ada@example.com", "x": True, "title": None},
    ),
)
ASKED = {
    "run": (requested(RUN, RunKind.FULL, asked_by=Actor(address="admin@example.com", directory_id="u0")), None),
    "preview": (requested(PREVIEW, Proposal(edition=4, settings=SETTINGS)), FORECAST),
    "inquiry": (requested(INQUIRY, Question(user_id="u1", kind=InquiryKind.PROVISION)), FINDINGS),
}


@pytest.fixture(params=ASKED)
def asked(request: pytest.FixtureRequest) -> Any:
    """One of each kind, as it waits."""
    return ASKED[request.param][0]


@pytest.fixture
def result(asked: Any) -> Any:
    """What comes of it."""
    return ASKED[asked.kind.name][1]


def read(state: Any, request: Any) -> Any:
    return state.requests.get(request.kind, request.connection_id, request.id)


def test_one_comes_back_as_it_was_stored_however_far_it_is(state, asked, result):
    for number, stored in enumerate(
        (
            asked,
            asked.begun(),
            asked.begun().hindered("not yet"),
            asked.done(NOW + TICK, result),
            asked.failed(NOW + TICK, "refused", result),
            asked.failed(NOW + TICK, "refused"),
        )
    ):
        one = replace(stored, id=f"r{number}")
        state.requests.put(one)
        assert read(state, one) == one


def test_settings_of_a_draft_come_back_too(state):
    bare = requested(PREVIEW, Proposal(edition=0, settings=Settings()))
    state.requests.put(bare)
    assert read(state, bare) == bare


@pytest.mark.parametrize("name", ["none", "", "a/b", "..", "__id__", "x" * 2000, "\x00"])
def test_there_is_none_of_that_name(state, asked, name):
    state.requests.put(asked)
    assert state.requests.get(asked.kind, "c1", name) is None
    assert state.requests.get(asked.kind, "c2", asked.id) is None


def test_it_is_found_as_what_it_is_alone(state, asked):
    state.requests.put(asked)
    others = {RUN.name: RUN, PREVIEW.name: PREVIEW, INQUIRY.name: INQUIRY}
    del others[asked.kind.name]
    assert [state.requests.get(kind, "c1", asked.id) for kind in others.values()] == [None, None]


def test_the_first_is_stored_and_is_the_one_that_was_given(state, asked):
    assert state.requests.open(asked) is asked
    assert read(state, asked) == asked


@pytest.mark.parametrize("running", [False, True])
def test_while_an_answer_is_expected_it_is_returned_and_left_alone(state, asked, running):
    standing = asked.begun().hindered("tried") if running else asked
    state.requests.put(standing)
    again = replace(asked, asked_at=NOW + asked.kind.patience - SECOND, problem="other")
    assert state.requests.open(again) == standing
    assert read(state, asked) == standing


def test_one_that_expired_or_was_asked_too_long_ago_is_asked_anew(state, asked, result):
    ended = (asked.done(NOW, result), asked.failed(NOW, "no"), asked, asked.begun())
    for number, stored in enumerate(ended):
        one = replace(stored, id=f"r{number}")
        state.requests.put(one)
        again = replace(asked, id=one.id, asked_at=NOW + (one.kind.patience if one.under_way else one.kind.kept))
        assert state.requests.open(again) is again
        assert read(state, one) == again


def test_an_answer_that_is_there_is_neither_asked_for_anew_nor_written_over(state, asked, result):
    answered = asked.done(NOW, result)
    state.requests.put(answered)
    assert state.requests.open(replace(asked, asked_at=NOW + SECOND)) == answered
    for late in (asked.begun(), asked.hindered("an earlier delivery"), asked.failed(NOW + SECOND, "late")):
        state.requests.put(late)
        assert read(state, asked) == answered


def test_it_is_forgotten_with_the_connection(state, asked):
    state.connections.create(Connection(id="c1", settings=Settings(name="Keeper")))
    state.requests.put(asked)
    state.requests.put(replace(asked, connection_id="c2"))
    state.connections.purge("c1")
    assert read(state, asked) is None
    assert read(state, replace(asked, connection_id="c2")) is not None


class TestInFirestore:
    def test_of_many_who_ask_at_once_one_asks(self, firestore: Firestore, asked: Any) -> None:
        several = [replace(asked, asked_at=NOW + number * SECOND) for number in range(12)]
        with ThreadPoolExecutor(12) as pool:
            opened = list(pool.map(firestore.requests.open, several))
        assert len({each.asked_at for each in opened}) == 1
        assert sum(each is given for each, given in zip(opened, several, strict=True)) == 1
        assert read(firestore, asked) == opened[0]

    def test_the_service_is_told_when_to_delete_it(self, firestore: Firestore, asked: Any) -> None:
        firestore.requests.put(asked)
        assert firestore.collection("c1", "requests")[asked.id]["expires"] == NOW + asked.kind.kept

    def test_times_are_plain_ones_that_any_encoder_takes(self, firestore: Firestore) -> None:
        asked, findings = ASKED["inquiry"]
        firestore.requests.put(asked.done(NOW, findings))
        found = read(firestore, asked)
        times = [found.asked_at, found.finished, *(step.at for step in found.result.steps)]
        assert {type(at) for at in times} == {datetime}

    @pytest.mark.parametrize("change", [{"schema": 9}, {"state": "later"}, {"subject": '{"later": 1}'}])
    def test_what_a_newer_version_wrote_is_refused(self, firestore: Firestore, change: dict[str, Any]) -> None:
        asked, _ = ASKED["preview"]
        firestore.requests.put(asked)
        document = firestore.client.document(f"connections/c1/requests/{asked.id}")
        document.set({**document.get().to_dict(), **change})
        with pytest.raises(ConfigurationRefused, match="A request "):
            read(firestore, asked)
