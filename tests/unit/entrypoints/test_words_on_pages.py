"""One of a thing is counted as one, on every page and in the audit, and pages use an administrator's words."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from autoprovisioning.app.administration.configure import edit
from autoprovisioning.app.administration.tokens import reauthorize
from autoprovisioning.app.ports.reports import HeldPlan, KeeperAnswers, WaitingUsers
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.entry import Entry, Status
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.guard import Member
from autoprovisioning.domain.holds import Hold, HoldState, Standing, Verdict
from autoprovisioning.domain.mapping import AttributeMapping
from autoprovisioning.domain.requests import PREVIEW, Forecast, Proposal, RequestState
from autoprovisioning.domain.runs import RunState
from autoprovisioning.domain.scope import Scope
from autoprovisioning.domain.settings import VolumeLimit
from tests.support.builders import requested
from tests.support.console import ADDRESSES, HOME, Place, everything, full
from tests.support.in_memory import START
from tests.support.settings import with_settings

SEVERAL = re.compile(
    r"(?<![\d,.-])1 (\w+ )?(users|changes|accounts|plans|attempts|attributes|days|people|suspensions)\b"
)
ACTOR = Actor(address="admin@example.com", directory_id="u0")


def place(state: State = State.ON) -> Place:
    """A console in which there is one of everything that is counted."""
    chosen = with_settings(
        full(state), name="Keeper", mapping=AttributeMapping(), scope=Scope(), limit=VolumeLimit(minimum=1, percent=1.0)
    )
    told = everything()
    told.failing, told.waits, told.answers = (
        told.failing[:1],
        WaitingUsers(count=1, oldest=START),
        KeeperAnswers(changes=1, failed=1),
    )
    told.failing = tuple(replace(failing, attempts=1) for failing in told.failing)
    told.latest = (
        replace(
            told.latest[1], state=RunState.UNSETTLED, planned={"update": 1}, counts={"unsettled": 1}, notes=(),
            started=START,
        ),
    )  # fmt: skip
    here = Place(replace(chosen, changed_at=None), told)
    approved = Verdict(standing=Standing.APPROVED, at=START, by="b@example.com")
    member = Member(resource="u1", action="suspend", trigger="suspended", since=START)
    here.fakes.services.holds.put("c1", Hold(digest="a" * 32, raised_at=START, members=(member,), reason="too many"))
    plan = HeldPlan(
        digest="b" * 32, state=HoldState.APPROVED, raised_at=START, reason="too many", counts={"suspend": 1},
        decided_at=START, standings={approved.standing.value: 1},
    )  # fmt: skip
    here.told.decided = lambda _connection_id: (plan,)  # type: ignore[method-assign]
    here.fakes.store.shards["c1", 0] = (
        1,
        {"u1": Entry(user_id="u1", status=Status.ACTIVE, scim_id="k1", pending=True)},
    )
    proposal = Proposal(edition=4, settings=chosen.settings)
    asked = requested(PREVIEW, proposal, id="p1", asked_by=ACTOR, asked_at=START)
    result = Forecast(counts={"create": 1, "doubt": 1, "suspend": 1})
    here.fakes.services.requests.put(replace(asked, state=RequestState.DONE, result=result))
    return here


ENGINEERS = re.compile(r"\b(renew_watch|rosters?|batch|batches|PATCH)\b", re.IGNORECASE)


def words(text: str) -> str:
    beside = re.sub(r"</li>\s*<li", "</li>;<li", text)  # a tab's number does not count what the next one leads to
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", "", beside))


@pytest.mark.parametrize("state", [State.ON, State.OFF, State.PAUSED])
@pytest.mark.parametrize("path", [*ADDRESSES, f"{HOME}/turn-on?preview=p1", f"{HOME}/turn-off"])
def test_on_a_page(path, state):
    assert [found[0] for found in SEVERAL.finditer(words(place(state).open(path).text))] == []


def test_the_pages_do_count_one():
    """Otherwise the test above proves nothing."""
    health, holds = (words(place().open(f"{HOME}/{page}").text) for page in ("health", "holds"))
    for text in (
        "1 user fails",
        "1 user waits",
        "Approved, but not carried out yet: 1 change.",
        "1 of 1 planned change unsettled",
    ):
        assert text in health
    assert "Volume limit: 1 user or 1 percent" in holds
    turn_on = words(place(State.OFF).open(f"{HOME}/turn-on?preview=p1").text)
    assert "Turn on and create 1 account" in turn_on


def test_in_the_audit():
    here = place(State.PAUSED)
    services = here.fakes.services
    [token, *_] = here.fakes.keeper.accepts
    here.fakes.store.shards["c1", 0] = (1, {"u1": Entry(user_id="u1", pending=True)})
    reauthorize(services, "c1", token, ACTOR)
    edit(services, "c1", 4, replace(services.connections.get("c1").settings, limit=VolumeLimit(minimum=2)), ACTOR)
    told = [f"{event.reason} {dict(event.before or {})}" for event in here.fakes.store.events["c1"].values()]
    assert any("1 user was waiting" in text for text in told)
    assert [text for text in told if SEVERAL.search(text)] == []


@pytest.mark.parametrize("path", [*ADDRESSES, f"{HOME}/unprovisioned", f"{HOME}/turn-off"])
def test_engineers_words_are_under_advanced_alone(path):
    """What a run, Keeper or an administrator has said is quoted as it is; here there is none of it."""
    shown = place().open(path).text
    advanced = re.compile(r"<details[^>]*>\s*<summary>Advanced</summary>.*?</details>", re.DOTALL)
    assert (len(advanced.findall(shown)) > 0) is path.endswith("/limits")
    assert ENGINEERS.findall(words(advanced.sub("", shown))) == []
