"""The page of what somebody else changed in Keeper, its CSV and its API."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

from autoprovisioning.domain.entry import Action
from autoprovisioning.domain.keeper_changes import KeeperChange
from autoprovisioning.domain.mapping import AttributeMapping
from autoprovisioning.domain.runs import Run, RunKind
from autoprovisioning.domain.scope import Scope
from autoprovisioning.entrypoints.console.api.operations import ROOT
from autoprovisioning.entrypoints.console.pages import keeper_changes
from tests.support.console import EVIL, HOME, READER, Place, full, sound
from tests.support.in_memory import START
from tests.support.settings import with_settings

ENDPOINT = "https://keepersecurity.eu/api/rest/scim/v2/1"
PAGE = f"{HOME}/keeper-changes"
RENAMED = KeeperChange(
    user_id="u1", email="ada@example.com", scim_id="k1", at=START, run_id="r1", repair=Action.UPDATE,
    found={"title": EVIL, "active": False}, before={"title": "Professor", "active": True},
)  # fmt: skip
GONE = KeeperChange(user_id="u2", email="", scim_id="k2", at=START, run_id="r2", gone=True)


def place(*changes: KeeperChange) -> Place:
    plain = {"name": "Keeper", "endpoint": ENDPOINT, "mapping": AttributeMapping(), "scope": Scope()}
    here = Place(with_settings(full(), **plain))
    here.fakes.services.keeper_changes.add("c1", changes, START)
    return here


def test_it_says_who_what_and_what_is_done_to_whoever_may_look():
    page = place(RENAMED, GONE).open(PAGE, READER)
    sound(page)
    for words in ("was Professor", "Locked", "Written again", "The account is gone", "Left as it is for now"):
        assert words in page.text
    assert f"{HOME}/users/u1" in page.links()
    assert f"{HOME}/runs/r2" in page.links()


def test_whom_somebody_took_out_of_a_team_is_said_to_stay_out():
    change = replace(RENAMED, repair=None, found={"groups": EVIL}, before={"groups": f"Engineers, {EVIL}"})
    page = place(change).open(PAGE)
    sound(page)
    assert "was Engineers, " in page.text
    assert "They stay out." in page.text


def test_one_runs_changes_are_shown_alone():
    text = place(RENAMED, GONE).open(f"{PAGE}?run=r2").text
    assert ("The account is gone" in text, "Professor" in text) == (True, False)


def test_an_empty_list_says_what_will_be_there():
    page = place().open(PAGE)
    sound(page)
    assert "appears here within the hour" in page.text
    assert "Download list" not in page.text


def test_the_run_and_health_lead_there():
    here = place(RENAMED)
    here.fakes.services.runs.put(Run(id="r1", connection_id="c1", kind=RunKind.DRIFT, fence=1, started=START))
    assert f"{PAGE}?run=r1" in here.open(f"{HOME}/runs/r1").links()
    assert PAGE in here.open(f"{HOME}/health").links()


def test_long_lists_have_pages(monkeypatch):
    monkeypatch.setattr(keeper_changes, "ROWS", 1)
    here = place(RENAMED, GONE)
    assert "Page 1 of 2" in here.open(PAGE).text
    assert f"{PAGE}?run=&page=2" in here.open(PAGE).links()
    assert "The account is gone" in here.open(f"{PAGE}?page=2").text


def test_the_csv_has_a_line_for_each_attribute():
    rows = list(csv.DictReader(io.StringIO(place(RENAMED, GONE).open(f"{ROOT}{PAGE}.csv").text)))
    assert [(row["user id"], row["attribute"], row["value before"], row["repair"]) for row in rows] == [
        ("u1", "title", "Professor", "Written again"),
        ("u1", "active", "True", "Written again"),
        ("u2", "account", "", "Left as it is for now"),
    ]


def test_the_api_has_them_in_pages():
    here = place(RENAMED, GONE)
    first = json.loads(here.open(f"{ROOT}{PAGE}?limit=1").text)
    assert (first["items"][0]["found"], first["items"][0]["repair"]) == ({"title": EVIL, "active": False}, "update")
    rest = json.loads(here.open(f"{ROOT}{PAGE}?cursor={first['cursor']}").text)
    assert [(item["user_id"], item["gone"], item["repair"]) for item in rest["items"]] == [("u2", True, None)]


def test_whether_it_is_repaired_is_chosen_under_name_and_limits_and_said_on_both_pages():
    here = place(RENAMED)
    assert "only reports them" not in here.open(PAGE).text
    assert "Changes in Keeper: reported and repaired" in here.open(HOME).text
    here.open(f"{HOME}/limits").send("Name and limits", "Save", drift="report")
    assert here.fakes.services.connections.get("c1").settings.repair_drift is False
    assert "only reports them" in here.open(PAGE).text
    assert "Changes in Keeper: only reported" in here.open(HOME).text
    (told,) = [event for event in here.fakes.store.events["c1"].values() if "changes in Keeper" in str(event.changed)]
    assert told.changed == {"changes in Keeper are repaired": False}
