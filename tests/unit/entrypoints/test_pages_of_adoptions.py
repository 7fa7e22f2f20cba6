"""The page of a preview, where adoptions are confirmed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.requests import PREVIEW, Forecast, Line, Proposal, RequestState, Would
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.settings import Settings
from tests.support.builders import requested
from tests.support.console import HOME, READER, Place, sound
from tests.support.in_memory import START

PAGE = f"{HOME}/previews/p9"
LINES = (
    Line(would=Would.CREATE, user_id="u1", email="ada@example.com"),
    Line(would=Would.CREATE, user_id="u2", email="bob@example.com", detail="Left alone: ...", scim_id="k2"),
    Line(would=Would.ADOPT, user_id="u3", email="cyd@example.com", detail="cyd@example.com", scim_id="k3"),
    Line(would=Would.DOUBT, user_id="u4", email="dan@example.com", detail="dan@example.com: it is older", scim_id="k4"),
    Line(would=Would.DOUBT, user_id="u5", email="eve@example.com", detail="eve@example.com: it is older", scim_id="k5"),
)


@pytest.fixture
def here() -> Place:
    here = Place(
        Connection(id="c1", state=State.ON, token_version="1", settings=Settings(endpoint="https://keeper.example"))
    )
    connection = here.fakes.services.connections.get("c1")
    preview = requested(
        PREVIEW,
        Proposal(edition=0, settings=connection.settings),
        id="p9",
        asked_at=START,
        state=RequestState.DONE,
        result=Forecast(counts={"create": 2, "adopt": 1, "doubt": 2, "unchanged": 0}),
    )
    here.fakes.services.requests.put(preview)
    here.fakes.services.preview_lines.put(preview, LINES)
    return here


def ticks(page) -> list[str]:
    return [found["value"] for tag, found in page.tags if tag == "input" and found.get("type") == "checkbox"]


def confirmed(here: Place) -> dict[str, frozenset[str]]:
    return dict(here.fakes.services.adoptions.confirmed("c1"))


def test_each_account_that_may_be_confirmed_has_a_tick_and_all_only_where_all_are_listed(here):
    page = here.open(PAGE)
    sound(page)
    assert ticks(page) == ["u2", "u4", "u5"]
    assert "Confirm all" not in page.text
    assert "2 accounts" in page.text
    doubtful = here.open(f"{PAGE}?kind=doubt")
    assert ticks(doubtful) == ["u4", "u5"]
    assert "Confirm all: 2 accounts" in doubtful.text
    assert [text for text in ("k2", "k4", "k5") if f"<code>{text}</code>" not in page.text] == []


def test_whoever_has_the_address_of_somebody_in_the_pilot_by_now_is_selected_by_id(here):
    services = here.fakes.services
    services.connections.change("c1", lambda current: replace(current, pilot={"u9": "Ada@example.com"}))
    preview = services.requests.get(PREVIEW, "c1", "p9")
    services.requests.put(replace(preview, subject=replace(preview.subject, everybody=True)))
    people = [found["value"] for _, found in here.open(PAGE).tags if found.get("name") == "person"]
    assert people == ["u1", *(line.email for line in LINES[1:])]


def test_where_there_is_nothing_to_confirm_no_form_is_shown(here):
    page = here.open(f"{PAGE}?kind=adopt")
    assert ticks(page) == []
    assert [form for form in page.forms if form.action.endswith("/adoptions")] == []


def test_who_only_looks_sees_what_is_in_doubt_and_nothing_to_press(here):
    page = here.open(f"{PAGE}?kind=doubt", READER)
    assert ticks(page) == []
    assert page.text.count("Not confirmed") == 2
    assert "csrf" not in page.text


def test_chosen_ones_are_confirmed_and_shown_as_such(here):
    page = here.open(PAGE).send("Confirm adoptions", "chosen", user=["u2", "u4"])
    assert confirmed(here) == {"u2": {"k2"}, "u4": {"k4"}}
    assert here.fakes.queue.runs == [RunKind.FULL]
    assert "Confirmed. A reconciliation has been requested" in page.text
    assert ticks(page) == ["u5"]


def test_all_are_those_in_doubt(here):
    page = here.open(f"{PAGE}?kind=doubt").send("Confirm adoptions", "all")
    assert page.address.endswith("?kind=doubt")
    assert "Confirmed. A reconciliation has been requested" in page.text
    assert confirmed(here) == {"u4": {"k4"}, "u5": {"k5"}}


@pytest.mark.parametrize("user", [[], ["u1"], ["u2", "nobody"]])
def test_who_chooses_nobody_or_somebody_not_offered_is_told_so(here, user):
    page = here.open(PAGE).send("Confirm adoptions", "chosen", user=user)
    assert page.status == 400
    sound(page)
    assert 'id="error-summary"' in page.text
    assert "#f-users" in page.links()
    assert confirmed(here) == {}
