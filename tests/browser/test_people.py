"""People, and finding one from anywhere: wide and narrow, by keyboard."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from infra.local.simulation import wait_for
from tests.browser.conftest import NARROW, WIDE
from tests.browser.stage import HOME
from tests.support.system import System

widths = pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])


@pytest.fixture(scope="module")
def known(whole_system: System) -> System:
    """A system whose second full run has kept everybody, and one of them is suspended since."""
    whole_system.reset()
    whole_system.provisioned()
    whole_system.sync()
    whole_system.directory.patch("u3", {"suspended": True})
    whole_system.await_account("u3", lambda account: not account["active"])
    return whole_system


def listed(page: Page) -> Any:
    return page.get_by_role("table", name="People").get_by_role("row")


@widths
def test_who_has_access_is_counted_filtered_and_found(known, open_page, presentable, viewport):
    page = open_page(base_url=known.world.console_url, viewport=viewport)
    page.goto(HOME)
    page.get_by_role("link", name="People", exact=True).click()
    wait_for(
        lambda: page.reload() and page.get_by_text("11 people have access to Keeper").count() > 0, "the change", 30
    )
    expect(listed(page)).to_have_count(13)  # with the head
    page.get_by_role("link", name="Suspended 1").click()
    expect(listed(page)).to_have_count(2)
    expect(listed(page).last).to_contain_text("Given3 Family3")
    expect(listed(page).last).to_contain_text("Suspended in Google")
    page.get_by_role("link", name="All 12").click()
    page.get_by_label("Name or address").fill("fam 11")
    page.keyboard.press("Enter")
    expect(listed(page)).to_have_count(2)
    presentable(page)
    page.set_viewport_size(viewport)
    page.get_by_role("link", name="Given11 Family11").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("person11@example.com")


@widths
def test_a_person_is_found_from_any_page_by_keys_alone(known, open_page, accessible, viewport):
    page = open_page(base_url=known.world.console_url, viewport=viewport)
    page.goto(f"{HOME}/usage")
    page.keyboard.press("Control+k")
    box = page.get_by_role("dialog", name="Find a person")
    expect(box.get_by_label("Name or address")).to_be_focused()
    page.keyboard.type("given1")
    expect(box.get_by_role("link")).to_have_count(3)  # 1, 10 and 11
    accessible(page)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(box.get_by_role("link", name="Given10 Family10")).to_be_focused()
    page.keyboard.press("Escape")
    expect(box).to_have_count(0)
    page.get_by_role("link", name="Find a person").click()
    page.keyboard.type("given1 family10")
    expect(box.get_by_role("link")).to_have_count(1)  # three, until all of it has been searched for
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("person10@example.com")


def test_without_a_script_the_link_leads_to_a_page_that_searches(known, open_page):
    page = open_page(base_url=known.world.console_url, java_script_enabled=False)
    page.goto(HOME)
    page.get_by_role("link", name="Find a person").click()
    page.get_by_label("Name or address").fill("given7")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Given7 Family7").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("person7@example.com")
