"""A real browser (Debian's Chromium, driven by Playwright) against the whole local cloud.

Every page that a test opens must load without an error on its console: a violated content security policy, a script
that failed, an asset that is missing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra.local.cloud import ROOT

DEMANDED = bool(os.environ.get("CI") or os.environ.get("REQUIRE_BROWSER"))
PICTURES = ROOT / "docs" / "screenshots"
LARGEST_PICTURE = 200 * 1024
SERIOUS = ("serious", "critical")
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 375, "height": 800}


def _without(reason: str) -> None:
    if DEMANDED:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser, closed with each module: Playwright keeps an event loop running, others cannot start one then."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not path:
        _without("Chromium is not installed: sudo apt-get install chromium (or set CHROMIUM to its path)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses to sandbox root's processes
        browser = playwright.chromium.launch(executable_path=path, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open pages as somebody; what their consoles complain of fails the test.

    `open_page.forgive(text)` takes one complaint back: of a page that was expected to err.
    """
    contexts: list[Any] = []
    complaints: list[str] = []

    def forgive(text: str) -> None:
        complaints.remove(next(complaint for complaint in complaints if text in complaint))

    def opened(**settings: Any) -> Any:
        context = chromium.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **settings})
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        return page

    opened.forgive = forgive  # type: ignore[attr-defined]
    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def picture() -> Callable[..., None]:
    """Keep a screenshot for README where SCREENSHOTS is set; otherwise the page is only drawn."""

    def take(page: Any, name: str, *, height: int = 900) -> None:
        page.set_viewport_size({"width": page.viewport_size["width"], "height": height})
        drawn = page.screenshot()
        assert len(drawn) < LARGEST_PICTURE, name
        if os.environ.get("SCREENSHOTS"):
            PICTURES.mkdir(parents=True, exist_ok=True)
            (PICTURES / f"{name}.png").write_bytes(drawn)

    return take


@pytest.fixture
def accessible() -> Callable[[Any], None]:
    """Say that axe-core finds nothing serious on a page."""
    from axe_playwright_python.sync_playwright import Axe

    axe = Axe()

    def check(page: Any) -> None:
        found = axe.run(page, options={"resultTypes": ["violations"]}).response["violations"]
        serious = {
            rule["id"]: [node["target"] for node in rule["nodes"]] for rule in found if rule["impact"] in SERIOUS
        }
        assert serious == {}, page.url

    return check


@pytest.fixture
def presentable(accessible: Callable[[Any], None]) -> Callable[[Any], None]:
    """Say that a page has one heading, fits, and is accessible: wide and narrow, light and dark.

    Each width is looked at in one of the colours: no colour depends on the width.
    """

    def check(page: Any) -> None:
        assert page.locator("h1").count() == 1
        for viewport, scheme in ((WIDE, "light"), (NARROW, "dark")):
            page.set_viewport_size(viewport)
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
            accessible(page)

    return check
