"""The overview: the same concerns as Health in a sentence, what needs somebody, and what happened last."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from autoprovisioning.app.ports.reports import Failing, HeldPlan, WaitingUsers
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Entry, Status, Timer, Trigger
from autoprovisioning.domain.events import Event, EventName
from autoprovisioning.domain.guard import Member
from autoprovisioning.domain.holds import Hold, HoldState
from autoprovisioning.domain.mapping import AttributeMapping
from autoprovisioning.domain.people import Listed
from autoprovisioning.domain.runs import Run, RunKind, RunState
from autoprovisioning.domain.scope import Scope
from autoprovisioning.domain.teams import GroupTeam, TeamChoice, TeamState
from autoprovisioning.entrypoints.console.api.operations import ROOT
from tests.support.console import DAY, HOME, READER, Place, Told, everything, full, place, sound
from tests.support.in_memory import START
from tests.support.settings import with_settings

DONE = Run(
    id="r1", connection_id="c1", kind=RunKind.FULL, fence=1, started=START, state=RunState.DONE, finished=START,
    counts={"created": 3, "failed": 1}, planned={"create": 4},
)  # fmt: skip
RUNNING = replace(DONE, id="r2", state=RunState.PLANNED, finished=None, batches=1, counts={"created": 3})
SUSPENSION = Member(resource="u1", action="suspend", trigger="suspended", since=START)


def here(state: State = State.ON, **told: object) -> Place:
    """A console in which all is well but for what is told."""
    plain = with_settings(full(state), name="Keeper", mapping=AttributeMapping(), scope=Scope())
    shown = Place(replace(plain, changed_at=START), Told(latest=(DONE,), **told))  # type: ignore[arg-type]
    shown.parts.channels.put(everything_works(shown))
    return shown


def everything_works(shown: Place) -> object:
    return replace(next(iter(place().parts.channels.all())), expires=START + DAY, proven=True)


def failing(user_id: str, code: str) -> Failing:
    return Failing(
        user_id=user_id, email=f"{user_id}@example.com", code=code, reason="why", attempted="create", attempts=1,
        first=START, next_attempt=START,
    )  # fmt: skip


def said(shown: Place, who: str = "") -> str:
    text = shown.open(HOME, who).text if who else shown.open(HOME).text
    found = re.search(r'<p class="said">(.*?)</p>', text)
    assert found is not None
    return found[1]


def needs(shown: Place) -> list[str]:
    return re.findall(r"<h3>(.*?)</h3>", shown.open(HOME).text)


def test_all_is_well_and_nothing_needs_anybody():
    shown = here()
    assert said(shown) == "Syncing active."
    assert needs(shown) == []
    assert "Everybody was looked at just now." in re.sub("<.*?>", "", shown.open(HOME).text)


@pytest.mark.parametrize("who", ["admin@example.com", READER])
def test_a_held_plan_comes_first_and_says_what_waits(who):
    shown = here(failing=(failing("u2", "mapping"),))
    shown.fakes.services.holds.put("c1", Hold(digest="a" * 32, raised_at=START, members=(SUSPENSION,), reason="Many"))
    assert said(shown, who) == "1 person would lose access. Nothing happens until you decide."
    assert f"{HOME}/holds/{'a' * 32}" in shown.open(HOME, who).links()
    assert needs(shown) == ["1 suspension waits for approval", "1 user fails: what was due for them is not done"]


def test_removals_from_teams_that_are_held_need_somebody_where_groups_are_chosen():
    shown = here()
    left = GroupTeam(group_id="g1", name="Sales", email="", state=TeamState.THERE, since=START, team_id="t1", held=3)
    shown.fakes.store.teams["c1"] = {"g1": left, "g2": replace(left, group_id="g2", held=0)}
    assert needs(shown) == []
    choice = TeamChoice(patterns=("keeper-*",))
    shown.fakes.services.connections.change("c1", lambda known: with_settings(known, teams=choice))
    assert needs(shown) == ["3 removals from 1 team wait for approval"]
    assert f"{HOME}/teams?held=true" in shown.open(HOME).links()


def test_who_chose_teams_last_is_told_beside_them():
    shown = here()
    edited = shown.open(f"{HOME}/choose-teams").send("Teams", "save", patterns="keeper-*")
    shown.told.happened = tuple(shown.fakes.store.events["c1"].values())
    assert "Edited by admin@example.com" in re.sub("<.*?>", "", edited.browser.open(HOME).text)


def test_a_plan_that_waits_behind_newer_ones_is_not_forgotten():
    shown = here()
    plans = [
        HeldPlan(digest=f"{number:032}", state=HoldState.CLOSED, raised_at=START, reason="", counts={"suspend": 1})
        for number in range(6)
    ]
    shown.told.plans, shown.told.held = lambda: plans, lambda: 1
    assert needs(shown) == ["1 older plan waits for approval"]
    assert f"{HOME}/holds" in shown.open(HOME).links()


def test_failing_users_are_grouped_by_cause_and_seats_are_told_apart():
    codes = ["mapping", "mapping", "rejected", "seats_exhausted"]
    shown = here(failing=tuple(failing(f"u{number}", code) for number, code in enumerate(codes)))
    assert needs(shown) == [
        "1 user waits for a seat in Keeper",
        "3 users fail: what was due for them is not done",
    ]
    links = shown.open(HOME).links()
    assert {f"{HOME}/failures?code={code}#who" for code in ("mapping", "rejected")} <= set(links)
    told = json.loads(shown.open(f"{ROOT}{HOME}/overview").text)
    assert [need["causes"] for need in told["needs"]] == [{}, {"mapping": 2, "rejected": 1}]
    assert told["sentence"] == said(shown)


def test_an_outage_is_never_called_syncing_active():
    shown = here(waits=WaitingUsers(count=3, oldest=START))
    shown.told.latest = (replace(DONE, state=RunState.REFUSED, notes=("Keeper did not answer",)),)
    assert said(shown).startswith("The last full run could not be planned, so nothing was changed: Keeper did not")
    assert "Syncing active" not in shown.open(HOME).text


@pytest.mark.parametrize(
    ("state", "sentence", "tone"),
    [
        (State.ON, "Syncing active.", "good"),
        (State.OFF, "Inactive: no changes are made in Keeper, and deprovisioning timers stand still.", "calm"),
        (State.DRAFT, "The set-up is not finished.", "calm"),
    ],
)
def test_what_is_not_meant_to_work_is_calm(state, sentence, tone):
    shown = here(state)
    assert said(shown) == sentence
    assert f'class="verdict {tone}"' in shown.open(HOME).text


def test_a_paused_connection_needs_a_token():
    shown = here(State.PAUSED)
    assert needs(shown)[0] == "A new access token is needed"
    assert shown.open(HOME).links().count("https://reauthorize.example/?connection=c1") == 2
    assert "https://reauthorize.example/?connection=c1" not in shown.open(HOME, READER).links()


def test_the_bar_leads_to_the_lists_and_says_what_is_due():
    shown = here()
    active = Entry(user_id="u1", email="ada@example.com", scim_id="k1", status=Status.ACTIVE, in_scope=True)
    left = {Trigger.SUSPENDED: Timer(since=START, running_since=START)}
    entries = {"u1": active, "u2": replace(active, user_id="u2", timers=left)}
    listed = {user_id: Listed(f"{user_id}@example.com", "", Presence.ACTIVE) for user_id in ("u1", "u2", "u3")}
    shown.fakes.store.shards["c1", 0] = (1, entries)
    shown.fakes.services.people.put(full(), START, listed, entries)
    page = shown.open(HOME)
    assert "2 accounts in Keeper" in page.text
    assert {f"{HOME}/users?state={state}" for state in ("active", "none", "due")} <= set(page.links())
    widths = [
        int(found["width"]) for tag, found in page.tags if tag == "rect" and found.get("class") in ("active", "none")
    ]
    assert sum(widths) == 1000
    assert "Next 7 days: <a" in page.text
    assert json.loads(shown.open(f"{ROOT}{HOME}/overview").text)["due"] == {"suspend": 1}


def test_what_happened_last_is_asked_for_again_and_answered_only_if_it_is_new():
    event = Event(id="e1", at=START, name=EventName.CREATED, actor="run r1", user_id="u1", email="ada@example.com")
    shown = here(happened=(event,))
    [feed] = [found for tag, found in shown.open(HOME).tags if found.get("id") == "latest"]
    assert feed["hx-get"] == f"{HOME}/latest?shown=e1"
    assert shown.open(feed["hx-get"]).status == 204
    shown.told.happened = (replace(event, id="e2"), event)
    again = shown.open(feed["hx-get"])
    assert again.status == 200
    assert "<html" not in again.text
    assert again.text.count("got an account") == 2


def test_who_edited_a_part_of_the_settings_last_is_told_beside_it():
    edited = Event(
        id="e1", at=START, name=EventName.CONFIGURED, actor="boss@example.com", reason="Edited",
        changed={"scope groups": "a@example.com"},
    )  # fmt: skip
    page = here(happened=(edited, replace(edited, actor="other@example.com"))).open(HOME)
    [by] = re.findall(r'<dd class="by">(.*?)</dd>', page.text)
    assert re.sub("<.*?>", "", by) == "Edited by boss@example.com just now"


def test_turning_off_and_deleting_are_behind_a_menu():
    text = here().open(HOME).text
    menu = re.search(r"<details class=\"menu\">.*?</details>", text, re.DOTALL)
    assert menu is not None
    rest = text.replace(menu[0], "")
    for page in ("turn-off", "delete"):
        assert f'href="{HOME}/{page}"' in menu[0]
        assert f'href="{HOME}/{page}"' not in rest
    assert "<details" not in here().open(HOME, READER).text


# Runs


@pytest.mark.parametrize("path", [HOME, f"{HOME}/usage", f"{HOME}/users", f"{HOME}/scope", f"{HOME}/runs"])
def test_a_run_under_way_is_told_on_every_page_until_it_ends_in_a_summary(path):
    shown = here()
    assert "run-strip" not in shown.open(path).text
    shown.fakes.store.runs["c1"]["r2"] = RUNNING
    page = shown.open(path)
    [strip] = [found for _, found in page.tags if found.get("id") == "run-strip"]
    assert strip["hx-get"] == f"{HOME}/runs/r2/progress"
    [bar] = [found for tag, found in page.tags if tag == "progress"]
    assert (bar["value"], bar["max"]) == ("3", "4")
    shown.fakes.store.runs["c1"]["r2"] = replace(DONE, id="r2")
    ended = shown.open(strip["hx-get"])
    assert "hx-get" not in ended.text
    assert "3 created, 1 failed" in ended.text
    assert f"{HOME}/runs/r2" in ended.links()


def test_a_run_has_a_page_of_what_became_of_it_and_who_failed():
    shown = place()
    told = everything()
    shown.told.happened = tuple(
        replace(event, actor="run r1") for event in told.happened if event.name is EventName.FAILED
    )
    for run in (RUNNING, DONE, replace(DONE, id="r3", state=RunState.REFUSED, notes=told.latest[0].notes)):
        shown.fakes.store.runs["c1"][run.id] = run
        for path in (f"{HOME}/runs/{run.id}", f"{HOME}/runs"):
            page = shown.open(path)
            assert page.status == 200
            sound(page)
    page = shown.open(f"{HOME}/runs/r1")
    assert f"{HOME}/users/u3" in page.links()
    assert shown.open(f"{HOME}/runs/r9").status == 404
    assert f"{HOME}/runs/r1" in shown.open(f"{HOME}/health").links()
    api = json.loads(shown.open(f"{ROOT}{HOME}/runs/r2").text)
    assert (api["people"], api["people_done"]) == (4, 3)


def test_nobody_is_counted_during_the_first_run_which_writes_all_the_roster(monkeypatch):
    shown = here()
    shown.told.latest = (RUNNING,)
    monkeypatch.setattr(shown.fakes.services.people, "read", lambda *_: pytest.fail("all of the roster is read"))
    assert 'class="bar"' not in shown.open(HOME).text
    told = json.loads(shown.open(f"{ROOT}{HOME}/overview").text)
    assert (told["accounts"], told["due"]) == ({}, {})


def test_a_connection_that_has_not_begun_has_no_bar():
    shown = Place(Connection(id="c1", state=State.ON, token_version="1"))
    assert 'class="bar"' not in shown.open(HOME).text
