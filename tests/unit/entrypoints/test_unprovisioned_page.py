"""The page of accounts that nobody provisions: what each probably is, and those that are ignored, with why."""

from __future__ import annotations

import csv
import io
import json

from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.unprovisioned import By, Offer, Report, Unprovisioned
from autoprovisioning.entrypoints.console.api.operations import ROOT
from tests.support.console import EVIL, HOME, READER, Place, full, sound
from tests.support.in_memory import START

PAGE = f"{HOME}/unprovisioned"
LEAVER = Unprovisioned(
    scim_id="k1", user_name="gone@example.com", external_id="u1", by=By.EXTERNAL_ID, offer=Offer.ALL, user_id="u1",
    email="gone@example.com", presence=Presence.SUSPENDED, found=START,
)  # fmt: skip
ROBOT = Unprovisioned(scim_id="k2", user_name="=robot@example.com", external_id="")


def place() -> Place:
    here = Place(full())
    here.fakes.services.unprovisioned.put("c1", Report(at=START, digest="d", accounts=(LEAVER, ROBOT)))
    return here


def test_each_says_what_it_probably_is_and_what_to_do():
    page = place().open(PAGE)
    sound(page)
    for words in ("A leaver from before", "Take it over", "A service account, a shared one, or an outsider&#39;s"):
        assert words in page.text


def test_the_list_is_downloaded_with_the_notes():
    here = place()
    here.open(PAGE).send("Take over", "ignore", account=["k2"], note="Payroll")
    rows = list(csv.DictReader(io.StringIO(here.open(f"{ROOT}{PAGE}.csv").text)))
    assert [(row["account"], row["suggestion"], row["ignored because"]) for row in rows] == [
        ("gone@example.com", "A leaver from before", ""),
        ("'=robot@example.com", "A service account, a shared one, or an outsider's", "Payroll"),
    ]
    assert [row["found"] != "" for row in rows] == [True, False]


def test_what_is_ignored_is_listed_apart_and_told_with_its_note():
    here = place()
    page = here.open(PAGE).send("Take over", "ignore", account=["k2"], note=EVIL)
    assert "Ignored: these accounts stay as they are" in page.text
    sound(page)
    assert page.form("Take over").offered["account"] == ["k1"]
    assert "Count again" in page.text
    assert "Count again" not in here.open(PAGE, READER).text
    items = json.loads(here.open(f"{ROOT}{PAGE}").text)["items"]
    assert [(item["suggestion"], item["ignored"] and item["ignored"]["note"]) for item in items] == [
        ("leaver", None),
        ("shared", EVIL),
    ]


def test_without_a_note_nothing_is_ignored_and_what_was_chosen_stays():
    here = place()
    page = here.open(PAGE).send("Take over", "ignore", account=["k2"], note=" ")
    assert page.status == 400
    assert "#f-note" in page.links()
    [box] = [found for tag, found in page.tags if found.get("name") == "account" and "checked" in found]
    assert box["value"] == "k2"
    assert here.fakes.store.ignored == {}
