"""Every page, in a browser: narrow and wide, light and dark, by keyboard, for those who only look, and full of data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Dialog, Locator, Page, expect

from tests.browser.conftest import BROAD, MIDDLE, NARROW, WIDE
from tests.browser.stage import ENDLESS, HOME, LONG_NAME, Stage, set_stage

PAGES = (
    "/",
    "/find?q=person",
    "/connections/new",
    HOME,
    *(
        f"{HOME}/{name}"
        for name in "authorization mapping scope deprovisioning limits teams choose-teams turn-off delete".split()
    ),
    *(
        f"{HOME}/{name}"
        for name in "usage failures users?q=person users?q=zzz holds audit health unprovisioned".split()
    ),
    f"{HOME}/keeper-changes",
    f"{HOME}/runs",
    HOME + "/runs/{run}",
    *(f"{HOME}/users{query}" for query in ("", "?state=held&sort=keeper", "?state=unprovisioned")),
    *(f"{HOME}/users/{name}" for name in ("u1", "u10", "u20", "u58", "u59")),
    f"{HOME}/audit?user=u1&since=2026-01-01",
    f"{HOME}/audit?person=person&outcome=failed",
    HOME + "/holds/{hold}",
    HOME + "/holds/{hold}?q=person2&cause=suspended",
    HOME + "/previews/{preview}",
    HOME + "/previews/{doubts}",
    HOME + "/previews/{doubts}?kind=doubt",
    HOME + "/users/u1/inquiries/{inquiry}",
    *(f"/connections/draft/{name}" for name in "mapping scope deprovisioning finish".split()),
    "/connections/off",
    "/connections/off/turn-on",
    "/connections/off/pilot",
    "/connections/long",
    "/connections/long/health",
    "/connections/leaving",
    "/connections/gone/audit",
    "/connections/nothing",
)


@pytest.fixture(scope="module")
def stage(whole_system) -> Iterator[Stage]:
    """The system that every test here looks at, and none changes."""
    yield set_stage(whole_system)
    whole_system.settled = None


@pytest.fixture
def page(stage, open_page) -> Page:
    """A page of a super administrator."""
    return open_page(base_url=stage.system.world.console_url)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_fits_and_is_accessible_at_every_width_and_in_every_colour(stage, page, open_page, presentable, path):
    page.goto(stage.path(path))
    if path.endswith("/nothing"):
        open_page.forgive("404")
    presentable(page)
    assert open_page.asked
    assert [url for url in open_page.asked if not url.startswith(stage.system.world.console_url)] == []


def test_the_page_of_the_token_fits_and_is_accessible(stage, open_page, presentable):
    page = open_page(base_url=stage.system.world.reauthorize_url)
    page.goto("/?connection=long")
    expect(page.get_by_label("Connection")).to_have_value("long")
    presentable(page)
    page.get_by_label("Access token").fill("wrong-token-0123456789")
    page.get_by_role("button", name="Re-authorize").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was changed")
    expect(page.get_by_label("Connection")).to_have_value("long")
    expect(page.get_by_role("navigation", name="Breadcrumb").get_by_role("link")).to_have_count(2)
    open_page.forgive("400")
    presentable(page)


@pytest.mark.parametrize("path", ["/", HOME])
def test_whoever_may_not_come_in_is_told_so_on_a_page(stage, page, open_page, presentable, path):
    page.request.get("/_iap/as/ordinary@example.com")
    page.goto(path)
    open_page.forgive("403")
    expect(page.get_by_role("alert")).to_contain_text("ordinary@example.com")
    expect(page.get_by_role("link", name="Keeper", exact=True)).to_have_count(0)
    presentable(page)


def test_whoever_may_not_come_in_is_told_nothing_of_an_address_without_a_page(stage, page, open_page, presentable):
    page.request.get("/_iap/as/ordinary@example.com")
    page.goto("/nowhere")
    open_page.forgive("404")
    expect(page.get_by_role("alert")).to_contain_text("There is nothing at this address.")
    expect(page.get_by_role("link", name="Keeper", exact=True)).to_have_count(0)
    presentable(page)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        HOME,
        f"{HOME}/mapping",
        f"{HOME}/scope",
        f"{HOME}/deprovisioning",
        f"{HOME}/health",
        HOME + "/holds/{hold}",
        HOME + "/previews/{preview}",
        HOME + "/previews/{doubts}?kind=doubt",
    ],
)
def test_a_delegated_administrator_sees_and_has_nothing_to_press(stage, page, presentable, path):
    page.request.get("/_iap/as/delegated@example.com")
    page.goto(stage.path(path))
    expect(page.get_by_text("delegated administrator")).to_be_visible()
    presentable(page)
    page.evaluate("document.querySelectorAll('[role=search]').forEach(each => each.remove())")  # to search is to look
    expect(page.get_by_role("button")).to_have_count(0)
    for kind in ("textbox", "combobox", "checkbox"):
        assert [field for field in page.get_by_role(kind).all() if field.is_enabled()] == []


def test_a_delegated_administrator_has_a_user_looked_up_in_keeper_and_not_provisioned(stage, page, presentable):
    page.request.get("/_iap/as/delegated@example.com")
    page.goto(f"{HOME}/users/u20")
    expect(page.locator("#keeper")).to_contain_text("the account was found", timeout=40_000)
    expect(page.get_by_role("button", name="Provision now")).to_have_count(0)
    presentable(page)


# By keyboard


FOCUSED = """() => {
    const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
    return {
        body: at === document.body,
        name: at.textContent.trim(),
        outline: style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth),
        seen: box.width > 1 && box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth,
    };
}"""
MENU = [
    "Overview",
    "People",
    "Teams",
    "Usage",
    "Failures 2",
    "Approvals 1",
    "Activity",
    "Health",
]  # with what waits there


def walk(page: Page) -> Iterator[dict[str, Any]]:
    """Press Tab from the top of the page to its end."""
    for _ in range(400):
        page.keyboard.press("Tab")
        at = page.evaluate(FOCUSED)
        if at["body"]:
            return
        yield at


@pytest.mark.parametrize("path", [HOME, f"{HOME}/mapping", f"{HOME}/scope", f"{HOME}/usage", f"{HOME}/users/u20"])
@pytest.mark.parametrize("viewport", [None, NARROW])
def test_tab_reaches_everything_in_order_and_the_focus_is_seen(stage, open_page, path, viewport):
    page = open_page(base_url=stage.system.world.console_url, **({"viewport": viewport} if viewport else {}))
    page.goto(path)
    if path.endswith("u20"):
        expect(page.get_by_text("Asked by")).to_be_visible(timeout=40_000)
    stops = list(walk(page))
    assert stops[0]["name"] == "Skip to content"
    assert [stop for stop in stops if not (stop["seen"] and stop["outline"] >= 2)] == []
    names = [stop["name"] for stop in stops]
    start = names.index("Overview")
    assert names[start : start + len(MENU)] == MENU
    wanted = page.get_by_role("main").locator("a[href], button:not([aria-hidden])").count()
    assert len(stops) > wanted


def test_the_skip_link_leads_past_the_menus(page):
    page.goto(HOME)
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_groups_are_found_while_typing_and_added_by_keyboard(page):
    page.goto("/connections/draft/scope")
    page.get_by_role("button", name="Remove Keeper users").press("Enter")
    search = page.get_by_label("Search groups")
    search.press_sequentially("KEEP")
    expect(page.get_by_role("button", name="Add Keeper users")).to_be_visible()
    search.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Add Keeper users")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("list", name="Chosen groups")).to_contain_text("keeper-users@example.com")


def test_enter_in_a_field_continues_and_removes_nothing(page):
    page.goto("/connections/draft/mapping")
    page.get_by_role("form", name="Attribute mapping").get_by_role("textbox").first.press("Enter")
    page.wait_for_url("**/connections/draft/scope")


def test_a_wrong_field_is_reached_from_the_message(page, open_page, presentable):
    page.goto(f"{HOME}/limits")
    page.get_by_label("Users", exact=True).fill("many")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_focused()
    open_page.forgive("400")
    presentable(page)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#f-limit-minimum")).to_be_focused()
    expect(page.get_by_label("Users", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Users", exact=True)).to_have_value("many")


# Input that is not lost, notices that do not stay


def test_leaving_a_changed_form_is_warned_of_unless_by_cancel(page):
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.goto(f"{HOME}/limits")
    page.get_by_role("link", name="Usage").click()
    page.wait_for_url("**/usage")
    page.goto(f"{HOME}/limits")
    page.get_by_label("Users", exact=True).fill("77")
    page.get_by_role("link", name="Usage").click()
    expect(page.get_by_label("Users", exact=True)).to_have_value("77")
    assert asked == ["beforeunload"]
    page.get_by_role("link", name="Cancel").click()
    page.wait_for_url(f"**{HOME}")
    assert asked == ["beforeunload"]
    page.remove_listener("dialog", stay)


def test_a_row_that_is_added_and_not_saved_is_warned_of(page):
    asked: list[str] = []

    def leave(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", leave)
    page.goto("/connections/draft/mapping")
    page.get_by_role("button", name="Add a row").click()
    expect(page.get_by_role("option", name="Choose a field")).to_have_count(1)
    assert asked == []
    page.get_by_role("link", name="Health").click()
    page.wait_for_url("**/health")
    assert asked == ["beforeunload"]
    page.remove_listener("dialog", leave)


def test_a_notice_is_gone_with_a_reload(page):
    page.goto("/connections/off/limits")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/connections/off")
    expect(page.get_by_role("status")).to_have_text("Saved.")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("status")).to_have_count(0)


def test_on_a_phone_the_tabs_are_one_strip_that_shows_the_current_one(stage, open_page):
    page = open_page(base_url=stage.system.world.console_url, viewport=NARROW)
    page.goto(f"{HOME}/health")
    strip = page.get_by_role("navigation", name="Keeper")
    expect(strip.get_by_role("link", name="Health")).to_be_in_viewport()
    expect(strip.get_by_role("link", name="Overview")).not_to_be_in_viewport()
    assert len({link.bounding_box()["y"] for link in strip.get_by_role("link").all()}) == 1


# Full of data


def test_a_long_name_is_told_in_full(page):
    page.goto("/connections/long")
    expect(page.get_by_role("heading", level=1)).to_have_text(LONG_NAME)
    expect(page.get_by_text("Nothing is changed and nothing is lost")).to_be_visible()


def test_an_endless_address_is_told_in_full(page):
    page.goto(f"{HOME}/users?q=maxi")
    expect(page.get_by_role("link", name=ENDLESS)).to_be_visible()
    page.goto(f"{HOME}/users/u59")
    expect(page.get_by_role("heading", level=1)).to_have_text(ENDLESS)


def events(page: Page) -> Locator:
    return page.get_by_role("list", name="Activity, newest first").get_by_role("listitem")


def test_many_events_are_paged_and_keep_the_filter(page):
    page.goto(f"{HOME}/audit")
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("Create User By Auto Provisioning").check()
    page.get_by_label("Reauthorize Auto Provisioning").check()
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(events(page)).to_have_count(50)
    page.get_by_role("link", name="Older events").click()
    expect(page.get_by_label("Create User By Auto Provisioning")).to_be_checked()
    expect(events(page).filter(has_text="got an account")).not_to_have_count(0)
    expect(events(page).filter(has_not_text="got an account")).to_have_count(0)


@pytest.mark.parametrize("viewport", [WIDE, NARROW, MIDDLE, BROAD])
def test_a_person_is_found_in_the_activity_by_part_of_the_name_and_details_open_by_key(
    stage, open_page, accessible, viewport
):
    page = open_page(base_url=stage.system.world.console_url, viewport=viewport, timezone_id="Asia/Kolkata")
    page.goto(f"{HOME}/audit")
    page.get_by_label("Person").fill("given1 wolfe")
    page.keyboard.press("Enter")
    line = events(page).filter(has_text="was renamed")
    expect(line).to_contain_text("Wolfeschlegelsteinhausenbergerdorff")
    expect(page.get_by_role("status")).to_contain_text(re.compile(r"Looked through \d+ events, which is all"))
    line.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(line.get_by_text("Update Auto Provisioned User")).to_be_visible()
    shown = line.locator("time").first
    utc = datetime.fromisoformat(shown.get_attribute("datetime") or "")
    expect(shown).to_contain_text(f"{utc + timedelta(hours=5, minutes=30):%H:%M:%S}")
    expect(shown).to_have_attribute("title", utc.isoformat())
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    accessible(page)
    page.get_by_role("link", name="person1@example.com").first.click()
    expect(events(page).filter(has_text="got an account")).to_have_count(1)


def test_without_a_script_activity_is_searched_and_told_in_utc(stage, open_page):
    page = open_page(base_url=stage.system.world.console_url, java_script_enabled=False)
    page.goto(f"{HOME}/audit")
    page.get_by_label("Person").fill("person58@")
    page.get_by_role("button", name="Search").click()
    line = events(page).filter(has_text="could not be created").first
    expect(line).to_contain_text("UTC")
    line.locator("summary").click()
    expect(line.get_by_text("address_taken")).to_be_visible()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"{HOME}/audit", "events.csv"),
        (f"{HOME}/failures", "failures.csv"),
        (HOME + "/previews/{preview}", "users.csv"),
    ],
)
def test_a_list_is_downloaded(stage, page, path, name):
    page.goto(stage.path(path))
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download list").click()
    found = waiting.value
    assert found.suggested_filename.endswith(".csv")
    assert "@example.com" in found.path().read_text()
    assert name in found.url
