"""Teams: the list, a team's page, Why?, the choice and its preview, at every width, by keyboard, without scripts."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from infra.local.simulation import wait_for
from tests.browser.conftest import BROAD, MIDDLE, NARROW, WIDE
from tests.browser.stage import ENDLESS, HOME, LONG_NAME, other_connections
from tests.functional.test_reauthorize import staff
from tests.functional.test_teams import TEAM, arrange, choose
from tests.support.system import System

ONE = f"{HOME}/teams/{TEAM}"
LOOKS = [(WIDE, "light"), (NARROW, "dark"), (MIDDLE, "light"), (BROAD, "dark")]
PAGES = {
    "list": f"{HOME}/teams",
    "held": f"{HOME}/teams?held=true",
    "nothing found": f"{HOME}/teams?q=zzz",
    "team": ONE,
    "to leave": f"{ONE}?membership=leaves",
    "every state": "/connections/off/teams",
    "without a team": "/connections/off/teams/g-taken",
    "endless": "/connections/off/teams/g-owned",
    "choice": f"{HOME}/choose-teams",
    "why": f"{HOME}/users/u3",
    "usage": f"{HOME}/usage",
    "activity": f"{HOME}/audit?text=Engineers",
}


def every_state(system: System) -> None:
    """Let the connection that is off, where no run follows, have a group in each state, and names without an end."""
    from autoprovisioning.domain.teams import GroupTeam, Namesake, Obstacle, TeamState

    other_connections(system)
    services = system.services()
    plain = GroupTeam(
        group_id="g-taken", name="Sales", email="s@example.com", state=TeamState.THERE, since=services.clock()
    )
    taken = replace(plain, state=TeamState.NAME_TAKEN, namesake=Namesake(team_id="t9", name="Sales"))
    owned = Namesake(team_id="t8", name=LONG_NAME, external_id="x", obstacle=Obstacle.OWNED)
    endless = replace(plain, name=LONG_NAME, email=ENDLESS, reason=ENDLESS, held=2, held_digest="d", unread=True)
    known = [
        replace(endless, group_id=f"g-{state.value}", state=state, team_id=f"t-{state.value}", team_name=LONG_NAME)
        for state in TeamState
    ]
    known += [taken, replace(endless, group_id="g-owned", namesake=owned)]
    known += [
        replace(plain, group_id=f"g-calm-{state.value}", name=f"Plain {state.value}", state=state)
        for state in TeamState
    ]
    services.teams.change("off", lambda _: {team.group_id: team for team in known})


@pytest.fixture(scope="module")
def teams(whole_system: System) -> Any:
    """A team that most have left at once, and groups in every other state."""
    system = whole_system
    system.reset()
    staff(system)
    arrange(system, "Engineers", "u1", "u2", "u4")
    system.provisioned()
    choose(system)
    system.directory.patch("u4", {"suspended": True})
    system.await_account("u4", lambda account: not account["active"])
    arrange(system, "Engineers", "u5")
    system.sync()
    every_state(system)
    yield system
    system.settled = None


def people(page: Page) -> Any:
    return page.get_by_role("table", name="People of the team").get_by_role("row")


def drawn(page: Page, name: str) -> None:
    """Keep what was drawn where somebody wants to look at it."""
    if folder := os.environ.get("LOOK_AT"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        width, scheme = page.viewport_size["width"], page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        page.screenshot(
            path=f"{folder}/{name.replace(' ', '-')}-{width}{'-dark' if scheme else ''}.png", full_page=True
        )


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_and_is_accessible_at_every_width(teams, open_page, accessible, name):
    page = open_page(base_url=teams.world.console_url)
    page.goto(PAGES[name])
    if name == "why":
        expect(page.get_by_text("Asked by")).to_be_visible(timeout=40_000)
    for viewport, scheme in LOOKS:
        page.set_viewport_size(viewport)
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert page.locator("h1").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        accessible(page)
        drawn(page, name)
    if name == "every state":
        details_fit(page, accessible)


def details_fit(page: Page, accessible: Any) -> None:
    """Open what is on demand in each line."""
    summaries = page.get_by_role("table", name="Teams: waiting for somebody").locator("summary")
    summaries.first.press("Enter")
    expect(page.locator(".teams details[open]")).to_contain_text("people are not taken out")
    for summary in summaries.all()[1:]:
        summary.click()
    for viewport, scheme in LOOKS:
        page.set_viewport_size(viewport)
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        accessible(page)
        drawn(page, "every state open")


def test_from_the_list_to_a_team_to_a_person_by_keys_alone(teams, open_page):
    page = open_page(base_url=teams.world.console_url)
    page.goto(HOME)
    page.get_by_role("navigation", name="Keeper").get_by_role("link", name="Teams").press("Enter")
    page.get_by_role("link", name="Removals held 1").press("Enter")
    rows = page.get_by_role("table", name="Teams").get_by_role("row")
    expect(rows).to_have_count(2)  # with the head
    expect(rows.last).to_contain_text("not taken out")
    page.get_by_label("Name or address").fill("eng keeper")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Engineers", exact=True).press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Engineers")
    page.get_by_role("link", name="To leave 3").press("Enter")
    expect(people(page)).to_have_count(4)
    expect(people(page).nth(1)).to_contain_text("stays until removals are approved")
    people(page).get_by_role("link", name="Given1 Family1").press("Enter")
    table = page.get_by_role("table", name="Teams")
    expect(table.get_by_role("row").last).to_contain_text("stays until removals are approved")
    expect(page.get_by_role("list", name="History, newest first")).to_contain_text("Joined the team Engineers")


def test_a_nested_group_on_the_way_is_named(teams, open_page):
    page = open_page(base_url=teams.world.console_url)
    page.goto(f"{HOME}/users/u3")
    expect(page.get_by_role("table", name="Teams").get_by_role("row").last).to_contain_text("yes, through Backend")


def test_without_a_script_people_are_searched_and_downloaded(teams, open_page):
    page = open_page(base_url=teams.world.console_url, java_script_enabled=False)
    page.goto(ONE)
    page.get_by_label("Name or address").fill("given3")
    page.get_by_role("button", name="Search").click()
    expect(people(page)).to_have_count(2)
    expect(people(page).last).to_contain_text("Waits in Keeper")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download list").click()
    assert "person3@example.com" in waiting.value.path().read_text()
    expect(page.get_by_role("list", name="Activity of the team, newest first")).to_contain_text("Engineers")


@pytest.mark.parametrize("script", [True, False])
def test_a_group_is_searched_for_and_chosen_with_and_without_a_script(teams, open_page, accessible, script):
    page = open_page(base_url=teams.world.console_url, java_script_enabled=script)
    page.goto(f"{HOME}/choose-teams")
    page.get_by_label("Patterns over names and addresses").fill("keeper-eng*")
    if script:
        page.get_by_label("Search groups").press_sequentially("keeper")
    else:
        page.get_by_label("Search groups").fill("keeper")
        page.keyboard.press("Enter")
    page.get_by_role("button", name="Add Keeper users").press("Enter")
    expect(page.get_by_role("list", name="Chosen groups")).to_contain_text("Keeper users")
    expect(page.get_by_label("Patterns over names and addresses")).to_have_value("keeper-eng*")
    if script:
        accessible(page)
        drawn(page, "choice with a group")
    page.get_by_role("button", name="Remove Keeper users").press("Enter")
    expect(page.get_by_text("No group is chosen by itself.")).to_be_visible()


def test_a_choice_is_previewed_and_the_button_has_the_numbers(teams, open_page, accessible):
    page = open_page(base_url=teams.world.console_url)
    page.goto(f"{HOME}/choose-teams")
    page.get_by_label("Patterns over names and addresses").fill("keeper-*\nbackend")
    page.get_by_role("button", name="Preview teams and people").press("Enter")
    expect(page.get_by_text("Teams:")).to_be_visible(timeout=40_000)
    expect(page.get_by_role("main")).to_contain_text("memberships; 1 of the teams is in Keeper already")
    button = page.get_by_role("button", name="make")
    expect(button).to_contain_text("memberships in all")
    for viewport, scheme in LOOKS:
        page.set_viewport_size(viewport)
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        accessible(page)
        drawn(page, "preview")


def test_a_delegated_administrator_sees_who_and_why_and_has_nothing_to_press(teams, open_page, presentable):
    page = open_page(base_url=teams.world.console_url)
    page.request.get("/_iap/as/delegated@example.com")
    for path in (f"{HOME}/teams", ONE, f"{HOME}/choose-teams"):
        page.goto(path)
        expect(page.get_by_text("delegated administrator")).to_be_visible()
        presentable(page)
        page.evaluate(
            "document.querySelectorAll('[role=search]').forEach(each => each.remove())"
        )  # to search is to look
        expect(page.get_by_role("button")).to_have_count(0)


def test_removals_are_approved_on_the_page_of_the_team(teams, open_page):
    page = open_page(base_url=teams.world.console_url)
    page.goto(ONE)
    page.get_by_role("button", name="Take 3 people out").click()
    expect(page.get_by_role("status").first).to_contain_text("Approved.")
    wait_for(lambda: teams.sync() and len(teams.keeper.teams()[0]["queued"]) <= 2, "the removals", 40)
