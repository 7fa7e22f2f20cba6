"""Pages on which there is nothing yet: they say what will appear there, and what to do."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.stage import HOME

NOTHING = (
    (HOME, "Syncing active"),
    (f"{HOME}/usage", "Nothing was changed in these days."),
    (f"{HOME}/failures", "No user is failing."),
    (f"{HOME}/users", "Nobody is provisioned yet."),
    (f"{HOME}/users?q=zzz", "Nobody here has a name or an address with"),
    (f"{HOME}/users/u1", "Nothing has been done for this user yet."),
    (f"{HOME}/holds", "Nothing is held."),
    (f"{HOME}/audit?user=u1", "No event matches these filters."),
    (f"{HOME}/health", "No run yet."),
    (f"{HOME}/keeper-changes", "appears here within the hour"),
    (f"{HOME}/scope", "No group: provisioning is not restricted to groups."),
)


@pytest.fixture(scope="module")
def unprovisioned(whole_system):
    """A connection that is on and has had no run."""
    whole_system.reset()
    whole_system.connect(())
    yield whole_system
    whole_system.settled = None


@pytest.mark.parametrize(("path", "words"), NOTHING)
def test_an_empty_page_says_so(unprovisioned, open_page, presentable, path, words):
    page = open_page(base_url=unprovisioned.world.console_url)
    page.goto(path)
    expect(page.get_by_text(words)).to_be_visible()
    presentable(page)


def test_the_list_without_any_app_leads_to_the_set_up(system, open_page, presentable):
    page = open_page(base_url=system.world.console_url)
    page.goto("/")
    presentable(page)
    page.get_by_role("link", name="Set up autoprovisioning").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Set up autoprovisioning for Keeper")
