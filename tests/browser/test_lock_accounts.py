"""Locking an account that nobody provisions: chosen by keyboard, decided without a script, undone with one click."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NARROW, WIDE
from tests.browser.stage import HOME
from tests.support.system import System


@pytest.fixture(scope="module")
def stranger(whole_system: System) -> System:
    """A system whose Keeper has an account of which the directory knows nothing."""
    whole_system.reset()
    whole_system.provisioned()
    robot = {"id": "robot-1", "userName": "robot@example.net", "active": True}
    whole_system.keeper.control("PUT", "accounts", [*whole_system.keeper.accounts(), robot])
    whole_system.sync("drift")
    return whole_system


def robot(system: System) -> bool:
    return bool(next(one["active"] for one in system.keeper.accounts() if one["userName"] == "robot@example.net"))


def test_it_is_chosen_reviewed_approved_and_undone(stranger, open_page, presentable):
    page = open_page(base_url=stranger.world.console_url, viewport=WIDE)
    page.goto(f"{HOME}/unprovisioned")
    page.get_by_label("Choose robot@example.net").focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Review locking selected accounts").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("1 account would be locked")
    expect(page.get_by_text("1 account may be a service account")).to_be_visible()
    presentable(page)
    page.get_by_role("button", name="Ask to lock 1 account").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("1 account that nobody provisions would be locked")
    expect(page.get_by_role("row").last).to_contain_text("robot@example.net")
    presentable(page)
    assert robot(stranger)

    page = open_page(base_url=stranger.world.console_url, viewport=NARROW, java_script_enabled=False)
    page.goto(f"{HOME}/holds")
    page.get_by_role("link", name="1 account that nobody provisions would be locked").click()
    page.get_by_role("button", name="Lock 1 account").click()
    stranger.sync()
    assert not robot(stranger)
    page.goto(f"{HOME}/unprovisioned")
    expect(page.get_by_role("row").filter(has_text="robot@example.net")).to_contain_text("Locked")
    page.get_by_role("button", name="Unlock").click()
    expect(page.get_by_role("row").filter(has_text="robot@example.net")).to_contain_text("Being unlocked")
    stranger.sync()
    assert robot(stranger)


def test_the_list_and_what_was_chosen_are_presentable(stranger, open_page, presentable):
    stranger.sync("drift")
    page = open_page(base_url=stranger.world.console_url)
    page.goto(f"{HOME}/unprovisioned")
    page.get_by_label("Choose robot@example.net").check()
    page.get_by_role("button", name="Review locking selected accounts").click()
    presentable(page)
    page.get_by_role("button", name="Ask to lock 1 account").click()
    page.goto(f"{HOME}/unprovisioned")
    expect(page.get_by_text("Chosen to be locked", exact=True)).to_be_visible()
    presentable(page)
