"""Pages: every template with extreme values, what the policy forbids, forms that carry their secret."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.administration.configure import turn_off
from autoprovisioning.domain.changes import PASSING_CODES
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.directory_fields import SOURCES
from autoprovisioning.domain.entry import Action, Entry, Mark
from autoprovisioning.domain.errors import Forbidden, Permanent
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.mapping import DEFAULT_ROWS, AttributeMapping, Row
from autoprovisioning.domain.scim_user import ATTRIBUTES
from autoprovisioning.domain.scope import Group, Scope
from autoprovisioning.domain.settings import Settings
from autoprovisioning.domain.words import FAILURES, MENDS
from autoprovisioning.entrypoints.console.pages import refused
from autoprovisioning.entrypoints.console.pages.summary import differences
from autoprovisioning.entrypoints.console.routing import ROOT
from autoprovisioning.entrypoints.pages import element
from tests.support.console import ADDRESSES, EVIL, HOME, OF_A_CONNECTION, READER, Place, Told, full, place, sound
from tests.support.in_memory import START
from tests.support.settings import with_settings


@pytest.mark.parametrize("state", [State.ON, State.OFF, State.PAUSED, State.DRAFT, State.DELETING])
@pytest.mark.parametrize("path", ADDRESSES)
def test_every_page_stands_hostile_and_endless_values(path, state):
    sound(place(state).open(path))


@pytest.mark.parametrize("path", ADDRESSES)
def test_a_reader_gets_the_same_pages_without_any_form_that_changes_something(path):
    page = place().open(path, READER)
    sound(page)
    assert page.status == place().open(path).status
    assert [form for form in page.forms if form.method != "get"] == []
    assert "csrf" not in page.text


@pytest.mark.parametrize("path", OF_A_CONNECTION)
def test_an_empty_state_says_what_would_appear(path):
    page = Place(
        Connection(id="c1", state=State.ON, token_version="1", settings=Settings(endpoint="https://keeper.example"))
    ).open(path)
    assert page.status == 200
    sound(page)
    if path.rpartition("/")[2] in ("usage", "failures", "audit", "holds", "health", "users", "teams"):
        assert 'class="nothing"' in page.text


@pytest.mark.parametrize(
    "path", ["/mapping", "/scope", "/deprovisioning", "/limits", "/authorization", "/choose-teams"]
)
def test_every_form_that_edits_carries_the_edition(path):
    [form] = [form for form in place().open(HOME + path).forms if form.method == "post"]
    assert dict(form.fields)["edition"] == "4"


def test_no_page_offers_to_turn_on_what_is_not_off():
    for state in (State.ON, State.PAUSED, State.DRAFT, State.DELETING):
        assert f"{HOME}/turn-on" not in place(state).open(HOME).links()
    assert f"{HOME}/turn-on" in place(State.OFF).open(HOME).links()


@pytest.mark.parametrize(
    ("path", "polls", "refreshes"),
    [("/previews/p2", True, True), ("/previews/p4", True, True), ("/previews/p1", False, False),
     ("/previews/p3", False, False), ("/users/u1/inquiries/i1", True, True), ("/users/u1/inquiries/i2", False, False),
     ("/health", True, True)],
)  # fmt: skip
def test_what_is_under_way_is_followed_with_and_without_scripts(path, polls, refreshes):
    page = place().open(HOME + path)
    assert any("every" in found.get("hx-trigger", "") for _, found in page.tags) is polls
    assert any(found.get("http-equiv") == "refresh" for _, found in page.tags) is refreshes


def test_a_preview_is_saved_only_where_it_would_change_something_and_nobody_else_did():
    here = place()
    saving = [
        [text for text in here.open(f"{HOME}/previews/{name}").buttons() if text.startswith("Save")]
        for name in ("p1", "p5", "p6")
    ]
    button = "Save, create 20,000 accounts, make 12 teams, 1,204 memberships in all"
    assert saving == [[button], [], []]  # p5: of an older edition; p6: the current settings


def test_a_preview_says_in_what_the_settings_would_differ():
    here = place()
    connection = here.fakes.services.connections.get("c1")
    wanted = replace(
        connection.settings,
        scope=Scope.named(groups=("g2", "g3"), org_units=()),
        mapping=AttributeMapping((*DEFAULT_ROWS[:-1], replace(DEFAULT_ROWS[-1], source="emails[primary].address"))),
        deprovisioning=Deprovisioning(suspended=Delays(suspend_after=7, delete_after=90)),
    )
    here.fakes.directory.groups["g3"] = Group(id="g3", email="g3@example.com", name="Third")
    told = differences(here.fakes.services, connection, wanted)
    assert [(part.title, part.new) for part in told] == [
        ("Attribute mapping", ("userName from emails[primary].address",)),
        ("Provisioning scope", ("Group Third (g3@example.com)",)),
        ("Deprovisioning", ("When a user is suspended on Google: suspend after 7 days, delete after 90 days",)),
    ]
    assert "userName from primaryEmail" in told[0].gone
    assert f"Organizational unit /{EVIL}" in told[1].gone
    assert differences(here.fakes.services, connection, connection.settings) == []


def test_an_account_that_differs_from_the_directory_says_where():
    here = place()
    here.fakes.services.connections.change("c1", lambda known: with_settings(known, mapping=AttributeMapping()))
    page = here.open(f"{HOME}/users/u1/inquiries/i2")
    rows = dict(re.findall(r'<tr><th scope="row" class="path"><code>(.*?)</code>(.*?)</tr>', page.text, re.DOTALL))
    assert {name for name, row in rows.items() if "differs" in row} == set(rows) - {"emails.primary", "title"}
    assert "not mapped" in rows["title"]


def test_the_error_of_a_field_is_summed_up_and_told_beside_it():
    here = place()
    page = here.open(f"{HOME}/deprovisioning").send(
        "Deprovisioning", "save", app_off__suspend_after="other", app_off__suspend_after_days="x" * 4
    )
    assert page.status == 400
    name = element("deprovisioning.app_off.suspend_after")
    [field_] = [found for _, found in page.tags if found.get("id") == name]
    assert field_["aria-invalid"] == "true"
    assert f"{name}-wrong" in field_["aria-describedby"]
    assert f"#{name}" in page.links()
    sound(page)


def test_an_error_before_anybody_was_let_in_shows_nothing_of_the_console():
    answer = refused(Forbidden("nobody@example.com is not an administrator of this organization."))
    assert answer.status_code == 403
    text = answer.get_data(as_text=True)
    assert 'aria-label="Breadcrumb"' not in text
    assert "/assets/" not in text  # which are refused, too: the page carries its style sheet
    assert "<style>" in text
    assert "sha256-" in answer.headers["Content-Security-Policy"]


def test_what_is_not_there_leads_back_to_the_list():
    page = place().open(f"{HOME}/nothing-here")
    assert page.status == 404
    assert "/" in page.links()
    assert "Sign in" not in page.text


def test_every_lasting_failure_has_something_to_be_done():
    kinds = [Permanent, *Permanent.__subclasses__()]
    assert {kind.code for kind in kinds if kind.__module__ == Permanent.__module__} | PASSING_CODES <= set(MENDS)
    assert set(MENDS) == set(FAILURES)


def test_a_field_of_another_page_is_linked_to_that_page():
    page = place().open(f"{HOME}/deprovisioning").send("Deprovisioning", "save")  # the mapping has a bad constant
    assert page.status == 400
    assert f"{HOME}/mapping" in page.links()
    sound(page)


def test_what_nobody_answers_is_not_followed_for_ever():
    here = place()
    here.fakes.clock.advance(timedelta(minutes=20))
    for path in ("/previews/p2", "/users/u1/inquiries/i1"):
        page = here.open(HOME + path)
        assert page.status == 200
        assert not any("every" in found.get("hx-trigger", "") for _, found in page.tags)


def test_filters_that_make_no_sense_show_nothing_rather_than_everything():
    page = place().open(f"{HOME}/audit?since=2026-13-40")
    assert page.status == 400
    assert 'id="f-since-wrong"' in page.text
    assert not [tag for tag, _ in page.tags if tag == "table"]


@pytest.mark.parametrize(
    ("state", "waits", "at_once"),
    [
        (State.ON, "for a retry, with the next full run at the latest", True),
        (State.PAUSED, "until the connection is reauthorized", False),
        (State.OFF, "until autoprovisioning is turned on", False),
    ],
)
def test_a_change_that_waits_says_for_what_by_the_state_of_the_connection(state, waits, at_once):
    plain = with_settings(full(state), mapping=AttributeMapping(), scope=Scope())
    here = Place(replace(plain, roster_layout="1"))
    here.fakes.store.shards["c1", 0] = (1, {"u1": Entry(user_id="u1", pending=True)})
    waiting = re.search(r"<dt>Waiting</dt><dd>(.*?)</dd>", here.open(f"{HOME}/users/u1").text)
    assert waiting is not None
    assert waiting[1] == f"{waits}{'; Provision now tries at once' if at_once else ''}"
    to_a_reader = re.search(r"<dt>Waiting</dt><dd>(.*?)</dd>", here.open(f"{HOME}/users/u1", READER).text)
    assert to_a_reader is not None
    assert to_a_reader[1] == waits


def test_a_run_that_was_asked_for_is_awaited_for_a_while():
    here = Place(full(), Told())
    page = here.open(f"{HOME}/health?follow=2")
    [progress] = [found for _, found in page.tags if found.get("id") == "progress"]
    assert progress["hx-get"] == f"{HOME}/health?follow=1"
    assert "hx-get" not in str([found for _, found in here.open(f"{HOME}/health?follow=0").tags if "id" in found])


def test_the_chart_reads_what_the_table_says():
    page = place().open(f"{HOME}/usage")
    [canvas] = [found for tag, found in page.tags if tag == "canvas"]
    assert canvas["role"] == "img"
    assert [found for tag, found in page.tags if tag == "table" and found.get("id") == canvas["data-table"]]
    values = [found["data-value"] for _, found in page.tags if "data-value" in found]
    assert set(values) == {"1234567"}
    labels = [found["data-label"] for _, found in page.tags if "data-label" in found]
    assert len(labels) == 30
    scripts = [found["src"] for tag, found in page.tags if tag == "script"]
    assert any("chart" in path for path in scripts)
    assert not any("chart" in path for path in re.findall(r'src="([^"]*)"', place().open(HOME).text))


def test_the_mapping_page_and_the_api_offer_the_same_fields_and_attributes():
    page = place().open(f"{HOME}/mapping")
    offered = {found.get("value") for tag, found in page.tags if tag in ("option", "input")}
    choices = json.loads(place().open(f"{ROOT}{HOME}/mapping/choices").text)
    assert {target["target"] for target in choices["targets"]} == set(ATTRIBUTES)
    assert set(ATTRIBUTES) <= offered
    own = {row.source for row in full().settings.mapping.rows} - set(SOURCES)
    assert set(choices["sources"]) == set(SOURCES) | own
    assert set(SOURCES) <= offered
    AttributeMapping((*DEFAULT_ROWS,)).check()
    for source in SOURCES:
        AttributeMapping((*DEFAULT_ROWS, Row(target="title", source=source))).check()


@pytest.mark.parametrize(
    ("path", "section", "current"),
    [
        ("", "Overview", "page"),
        ("/scope", "Overview", "true"),
        ("/previews/p1", "Overview", "true"),
        ("/users", "People", "page"),
        ("/users/u1/inquiries/i2", "People", "true"),
        ("/holds", "Approvals", "page"),
    ],
)
def test_a_page_says_to_which_section_it_belongs(path, section, current):
    menu = re.search(r'<nav class="sections".*?</nav>', place().open(HOME + path).text, re.DOTALL)
    assert menu is not None
    assert re.findall(r'aria-current="(\w+)">([^<]+)<', menu[0]) == [(current, section)]


def test_the_steps_before_the_current_one_are_done():
    here = place()
    here.fakes.services.connections.change("c1", lambda known: replace(known, state=State.DRAFT))
    steps = re.search(r'<ol class="steps".*?</ol>', here.open(f"{HOME}/scope").text, re.DOTALL)
    assert steps is not None
    told = [re.sub(r"\s+", " ", re.sub("<.*?>", "", step)).strip() for step in steps[0].split("<li")[1:]]
    assert [step.partition(">")[2].strip() for step in told] == [
        "App authorization (done)",
        "Endpoint URL (done)",
        "Attribute mapping (done)",
        "Provisioning scope (optional)",
        "Deprovisioning",
        "Finish",
    ]


def test_a_deletion_that_meets_changes_in_flight_goes_on_by_itself():
    here = place()
    [entries] = [entries for _, entries in here.fakes.store.shards.values()]
    entries["u1"] = replace(
        entries["u1"],
        mark=Mark(change_id="x1", message_id="m1", action=Action.UPDATE, until=START + timedelta(minutes=2)),
    )
    page = here.open(f"{HOME}/delete").send("Delete configuration", confirmation=EVIL)
    assert 'role="status">The configuration is being deleted, as soon as no change is in flight.' in page.text
    connection = here.fakes.services.connections.get("c1")
    assert connection is not None
    assert connection.state is State.DELETING


def test_people_saved_in_the_form_of_a_pilot_that_has_ended_turn_nothing_on():
    here = place()
    here.fakes.services.connections.change("c1", lambda known: replace(known, pilot={"u1": "a@example.com"}))
    form = here.open(f"{HOME}/pilot")
    turn_off(here.fakes.services, "c1", Actor(address="other@example.com"))
    refused = form.send("Pilot", "save", people="u1")
    sound(refused)
    assert (refused.status, "Nothing was saved" in refused.text) == (412, True)
    assert here.fakes.services.connections.get("c1").state is State.OFF
    assert refused.send("Pilot", "save").status == 200, "it says what it does now"
    assert here.fakes.services.connections.get("c1").pilot == {"u1": "a@example.com"}
