"""The pictures in README: some weeks of a small company, as its administrator sees them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from infra.local.connect import CONNECTION
from infra.local.simulation import wait_for
from tests.browser.conftest import NARROW
from tests.browser.stage import HOME, compute_preview, other_connections
from tests.functional.test_teams import choose, member
from tests.support.settings import changed
from tests.support.system import GROUP_ID, System, customer

NAMES = (
    "Ada Lovelace, Grace Hopper, Niklaus Wirth, Barbara Liskov, Edsger Dijkstra, Radia Perlman, Margaret Hamilton, "
    "Alan Turing, Katherine Johnson, Shafi Goldwasser, Leslie Lamport, Frances Allen, Donald Knuth, Sophie Wilson, "
    "Ivan Sutherland, Adele Goldberg, Tony Hoare, Jean Sammet, Dennis Ritchie, Lynn Conway, Ken Thompson, Mary Shaw, "
    "Robin Milner, Karen Jones"
)
TEAMS = {"Engineering": range(1, 13), "Finance": range(13, 18), "Customer success": range(18, 24)}
PILOT = {"id": "g-pilot", "email": "keeper-pilot@example.com", "name": "Keeper pilot"}
TITLE = {"title": "Engineer", "primary": True, "type": "work"}


def company() -> dict[str, Any]:
    """Return a customer with names that one can read."""
    names = [name.split() for name in NAMES.split(", ")]
    made = customer(len(names) + 1)
    for user, (given, family) in zip(made["users"][1:], names, strict=True):
        user |= {"primaryEmail": f"{given}.{family}@example.com".lower(), "organizations": [TITLE]}
        user["name"] = {"givenName": given, "familyName": family}
    made["groups"].append(PILOT)
    made["members"]["g-pilot"] = made["members"][GROUP_ID][:20]
    for name, numbers in TEAMS.items():
        group_id = f"g-{name.split()[0].lower()}"
        made["groups"].append({"id": group_id, "email": f"team{group_id[1:]}@example.com", "name": name})
        made["members"][group_id] = [member(f"u{number}") for number in numbers]
    return made


@pytest.fixture(scope="module")
def company_town(whole_system) -> Iterator[System]:
    """The company: provisioned, somebody renamed, some suspensions held."""
    from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
    from autoprovisioning.domain.settings import VolumeLimit

    system = whole_system
    system.reset(0)
    system.directory.control("PUT", "state", company())
    system.keeper.settings(latency_ms=40)
    policy = Deprovisioning(
        app_off=Delays(suspend_after=7, delete_after=None),
        suspended=Delays(suspend_after=0, delete_after=None),
        deleted=Delays(suspend_after=0, delete_after=30),
    )
    system.provisioned(limit=VolumeLimit(minimum=3, percent=5.0), deprovisioning=policy)
    remember_weeks(system)
    system.directory.patch("u2", {"name": {"familyName": "Murray Hopper"}})
    system.await_account("u2", lambda account: account["name"]["familyName"] == "Murray Hopper")
    yield system
    system.settled = None


def remember_weeks(system: System) -> None:
    """Count the events of the 29 days before today, as workers have counted them."""
    from google.cloud import firestore

    from autoprovisioning.adapters.firestore.audit import count_usage
    from autoprovisioning.domain.events import Event, EventName

    client = firestore.Client(project=system.world.cloud.project)
    home, batch = client.collection("connections").document(CONNECTION), client.batch()
    chance = random.Random(7)
    today = datetime.now(UTC).replace(hour=9)
    often = {EventName.CREATED: 3, EventName.UPDATED: 7, EventName.SUSPENDED: 2, EventName.UNSUSPENDED: 1,
             EventName.DELETED: 1, EventName.FAILED: 1}  # fmt: skip
    for back in range(1, 30):
        day = today - timedelta(days=back)
        workday = day.weekday() < 5
        events = [
            Event(id=f"{back}-{name.name}-{number}", at=day, name=name, actor="run 1", seconds=0.2)
            for name, most in often.items()
            for number in range(chance.randint(0, most if workday else most // 4))
        ]
        count_usage(batch, home, events)
    batch.commit()


@pytest.fixture
def page(company_town, open_page) -> Page:
    return open_page(base_url=company_town.world.console_url)


IN_EUROPE = """() => document.querySelectorAll("aside dd, td").forEach((line) => {
    if (line.textContent.trim().startsWith("http:"))
        line.textContent = line.textContent.replace(/http:.*?[/]api/, "https://keepersecurity.eu/api");
})"""


def test_the_overview_of_a_connection(page, picture):
    page.goto(HOME)
    expect(page.get_by_text("Syncing active")).to_be_visible()
    page.evaluate(IN_EUROPE)  # the simulator has no such address
    picture(page, "overview", height=1000)


def test_the_set_up(page, picture):
    page.goto("/connections/new")
    picture(page, "set-up", height=1030)


def test_a_preview_of_a_narrower_scope(company_town, page, picture):

    current = company_town.services().connections.get(CONNECTION).settings
    eager = replace(current.deprovisioning, app_off=replace(current.deprovisioning.app_off, suspend_after=0))
    wanted = changed(current, scope_groups=("g-pilot",), deprovisioning=eager)
    page.goto(f"{HOME}/previews/{compute_preview(company_town, wanted)}")
    expect(page.get_by_role("link", name="5 Suspended")).to_be_visible()
    picture(page, "preview", height=1050)


def test_usage_of_some_weeks(page, picture):
    page.goto(f"{HOME}/usage")
    page.wait_for_function("!!window.Chart && !!Chart.getChart(document.querySelector('canvas'))")
    picture(page, "usage", height=1000)


def test_why_in_the_dark(page, picture):
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    page.goto(f"{HOME}/users/u2")
    expect(page.get_by_text("Asked by")).to_be_visible(timeout=40_000)
    picture(page, "why", height=1150)


def test_a_held_plan(company_town, page, picture):
    company_town.directory.weather(lose=True)
    for number in (5, 9, 13, 17, 21):
        company_town.directory.patch(f"u{number}", {"suspended": True})
    wait_for(lambda: company_town.sync() and company_town.services().holds.standing(CONNECTION), "the hold", 40)
    [hold] = company_town.services().holds.standing(CONNECTION)
    page.goto(f"{HOME}/holds/{hold.digest}")
    expect(page.get_by_role("button", name="Suspend 5 people")).to_be_visible()
    picture(page, "held", height=1000)
    page.goto(f"{HOME}/health")
    expect(page.get_by_role("table", name="Notification channels")).to_be_visible()
    picture(page, "health", height=1210)
    page.set_viewport_size(NARROW)
    page.goto(HOME)
    expect(page.get_by_role("heading", name="5 suspensions wait for approval")).to_be_visible()
    picture(page, "mobile", height=NARROW["height"])


def test_teams_of_groups(company_town, page, picture):
    company_town.keeper.accept()
    choose(company_town, patterns=["team-*"])
    company_town.keeper.approve()
    company_town.sync("drift")
    page.goto(f"{HOME}/teams")
    expect(page.get_by_role("link", name="Customer success")).to_be_visible()
    picture(page, "teams", height=720)


def test_the_list_of_apps(company_town, page, picture):
    other_connections(company_town)
    page.goto("/")
    expect(page.get_by_role("table").get_by_role("link", name="Keeper", exact=True)).to_be_visible()
    page.evaluate(IN_EUROPE)
    picture(page, "apps", height=500)
