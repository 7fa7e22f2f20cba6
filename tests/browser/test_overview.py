"""The overview and the runs: what is wrong leads to where it is dealt with, and a run is followed to its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from infra.local.connect import CONNECTION
from tests.browser.conftest import BROAD, MIDDLE, NARROW, WIDE
from tests.browser.stage import HOME, Stage, latest_run, set_stage

WIDTHS = [NARROW, MIDDLE, WIDE, BROAD]


@pytest.fixture(scope="module")
def stage(whole_system) -> Iterator[Stage]:
    yield set_stage(whole_system)
    whole_system.settled = None


@pytest.fixture
def run(stage) -> Iterator[Any]:
    """A run under way."""
    from autoprovisioning.domain.runs import RunState

    runs = stage.system.services().runs
    known = latest_run(stage.system)
    planned = {"create": 40}
    runs.put(replace(known, id="underway", state=RunState.PLANNED, finished=None, batches=9, planned=planned))
    yield lambda: runs.change(
        CONNECTION, "underway", lambda run: replace(run, state=RunState.DONE, finished=run.started)
    )
    runs.change(CONNECTION, "underway", lambda run: replace(run, state=RunState.DONE, finished=run.started))


def opened(stage: Stage, open_page: Any, **settings: Any) -> Page:
    page: Page = open_page(base_url=stage.system.world.console_url, **settings)
    page.goto(HOME)
    return page


def test_what_needs_somebody_leads_there(stage, open_page):
    page = opened(stage, open_page)
    expect(page.get_by_text("6 people would lose access. Nothing happens until you decide.")).to_be_visible()
    page.get_by_role("link", name="Review 6 changes").click()
    page.wait_for_url(f"**/holds/{stage.hold}")
    page.go_back()
    page.get_by_role("link", name="See failures").click()
    page.wait_for_url("**/failures")
    page.go_back()
    page.get_by_role("link", name="6 held").click()
    expect(page.get_by_role("table", name="People").get_by_role("row")).to_have_count(7)


@pytest.mark.parametrize("viewport", WIDTHS, ids=[str(width["width"]) for width in WIDTHS])
def test_it_fits_and_its_menu_is_reached_by_keys(stage, open_page, presentable, viewport):
    page = opened(stage, open_page, viewport=viewport)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    menu = page.get_by_role("group").filter(has_text="Turn off").locator("summary")
    menu.press("Enter")
    entry = page.get_by_role("link", name="Turn off")
    expect(entry).to_be_in_viewport(ratio=1)
    presentable(page)
    entry.press("Enter")
    page.wait_for_url("**/turn-off")


def test_the_menu_opens_without_scripts(stage, open_page):
    page = opened(stage, open_page, java_script_enabled=False)
    expect(page.get_by_role("link", name="Delete configuration")).to_have_count(0)
    page.locator(".menu > summary").click()
    page.get_by_role("link", name="Delete configuration").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Delete configuration")


def test_a_run_is_followed_on_any_page_to_a_summary_that_leads_to_it(stage, open_page, presentable, run):
    page = opened(stage, open_page)
    page.get_by_role("link", name="Usage", exact=True).first.click()
    bar = page.get_by_role("progressbar", name="people done")
    expect(bar).to_be_visible()
    presentable(page)
    run()
    expect(page.get_by_role("status")).to_contain_text("Full run: done.")
    page.get_by_role("link", name="Look at the run").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Full run")


def test_what_happens_is_told_without_a_reload(stage, open_page):
    from autoprovisioning.domain.events import Event, EventName

    page = opened(stage, open_page)
    expect(page.get_by_role("list").filter(has_text="newest@example.com")).to_have_count(0)
    services = stage.system.services()
    event = Event(
        id="newest",
        at=services.clock(),
        name=EventName.SUSPENDED,
        actor="run r1",
        user_id="u3",
        email="newest@example.com",
    )
    services.audit.record(CONNECTION, [event])
    expect(page.get_by_text("newest@example.com lost access")).to_be_visible(timeout=20_000)


def test_an_account_is_ignored_with_a_note_by_keys_and_counted_again(stage, open_page, presentable):
    page = opened(stage, open_page)
    page.get_by_role("link", name="in Keeper, provisioned by nobody").click()
    page.get_by_role("link", name="nobody@example.com").click()
    page.get_by_role("button", name="Ignore selected accounts").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("It is empty")
    open_page.forgive("400")
    page.get_by_label("Choose nobody@example.com").press("Space")
    page.get_by_label("Why they stay").press_sequentially("The payroll's robot")
    page.get_by_role("button", name="Ignore selected accounts").press("Enter")
    ignored = page.get_by_role("table", name="Ignored accounts")
    expect(ignored).to_contain_text("The payroll's robot")
    presentable(page)
    ignored.get_by_role("button", name="Count again").press("Enter")
    expect(ignored).to_have_count(0)
