"""While Firestore builds an index, lists that need it say so, and the pages that they are on go on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from autoprovisioning.domain.errors import Unindexed
from autoprovisioning.domain.event_search import Filters
from autoprovisioning.domain.teams import GroupTeam, TeamChoice, TeamState
from autoprovisioning.entrypoints.console.api.operations import ROOT
from tests.contract.state_stores import Firestore
from tests.support.console import HOME, Place, full, sound
from tests.support.in_memory import START
from tests.support.settings import with_settings

BUILDING = "The query requires an index. That index is currently building and cannot be used yet."
TEAM = GroupTeam(
    group_id="g7", name="Engineers", email="e@example.com", state=TeamState.THERE, since=START, team_id="t1"
)


class Building(grpc.GenericRpcHandler):
    """A Firestore that answers every query as the service does while it builds the index for it."""

    def service(self, details: Any) -> Any:
        assert details.method.endswith("/RunQuery"), details.method
        return grpc.unary_stream_rpc_method_handler(refuse)


def refuse(_request: Any, context: Any) -> Iterator[bytes]:
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, BUILDING)
    yield b""


@pytest.fixture
def building() -> Iterator[Firestore]:
    with ThreadPoolExecutor(max_workers=2) as threads:
        server = grpc.server(threads, handlers=(Building(),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        stores = Firestore(f"127.0.0.1:{port}", "p1")
        yield stores
        stores.close()
        server.stop(None).wait()


@pytest.fixture
def place(building: Firestore, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The console, whose audit is read from that Firestore."""
    here = Place(with_settings(full(), teams=TeamChoice(patterns=("keeper-*",))))
    here.fakes.services.teams.change("c1", lambda _: {"g7": TEAM})
    monkeypatch.setattr(here.parts.reports, "events", building.reports.events)
    return here


def test_what_the_service_says_is_told_apart_from_other_refusals(building: Firestore) -> None:
    with pytest.raises(Unindexed, match="index"):
        building.reports.events("c1", Filters(team="t1"), "", 10)


@pytest.mark.parametrize("address", [f"{HOME}/teams/g7", f"{HOME}/audit?team=t1"])
def test_the_page_of_a_team_and_its_activity_are_shown_with_a_word_about_what_is_not_ready(
    place: Place, address: str
) -> None:
    page = place.open(address)
    sound(page)
    assert page.status == 200
    assert "Firestore is still building an index" in page.text
    assert "Nothing yet" not in page.text
    assert "No event matches" not in page.text


def test_the_api_says_so_too(place: Place) -> None:
    answer = place.open(f"{ROOT}{HOME}/events?team=t1")
    assert (answer.status, "index" in answer.text) == (500, True)
