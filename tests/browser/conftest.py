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
CONTRAST = ("color-contrast",)
VIOLATIONS = """async without => {
    const rules = Object.fromEntries(without.map(rule => [rule, {enabled: false}]));
    const found = await axe.run({resultTypes: ["violations"], rules});
    return found.violations.map(rule => [rule.id, rule.impact, rule.nodes.map(node => node.target)]);
}"""
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 375, "height": 800}
MIDDLE, BROAD = {"width": 768, "height": 900}, {"width": 1920, "height": 1000}


def _without(reason: str) -> None:
    if DEMANDED:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser, closed with each module: Playwright keeps an event loop running, others cannot start one then."""
    # The headless shell is the same engine without a browser's windows around it, which nobody sees here.
    path = os.environ.get("CHROMIUM") or shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if not path:
        _without(
            "Chromium is not installed: sudo apt-get install chromium-headless-shell (or set CHROMIUM to its path)"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses to sandbox root's processes
        browser = playwright.chromium.launch(executable_path=path, args=["--disable-gpu", *sandbox])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def idle() -> dict[str, list[Any]]:
    """Pages that tests have finished with, by their contexts' settings: opening one costs as much as looking at it."""
    return {}


@pytest.fixture
def open_page(chromium: Any, idle: dict[str, list[Any]]) -> Iterator[Callable[..., Any]]:
    """Open pages as somebody; what their consoles complain of fails the test. None knows who used it before.

    `open_page.forgive(text)` takes one complaint back: of a page that was expected to err. `open_page.asked` has the
    address of each request so far.
    """
    used: list[tuple[Any, str, dict[str, Any]]] = []
    complaints: list[str] = []
    asked: list[str] = []
    heard: dict[str, Callable[[Any], None]] = {
        "pageerror": lambda error: complaints.append(str(error)),
        "console": lambda message: complaints.append(message.text) if message.type == "error" else None,
        "request": lambda request: asked.append(request.url),
    }

    def forgive(text: str) -> None:
        complaints.remove(next(complaint for complaint in complaints if text in complaint))

    def opened(**settings: Any) -> Any:
        wanted = {"viewport": WIDE, "color_scheme": "light", "reduced_motion": "reduce", **settings}
        alike = repr(sorted(wanted.items()))
        page = idle[alike].pop() if idle.get(alike) else _new_page(chromium, wanted)
        used.append((page, alike, wanted))
        for event, listener in heard.items():
            page.on(event, listener)
        return page

    opened.forgive = forgive  # type: ignore[attr-defined]
    opened.asked = asked  # type: ignore[attr-defined]
    yield opened
    for page, alike, wanted in used:
        for event, listener in heard.items():
            page.remove_listener(event, listener)
        _as_new(page, wanted)
        idle.setdefault(alike, []).append(page)
    assert complaints == []


def _new_page(chromium: Any, settings: dict[str, Any]) -> Any:
    context = chromium.new_context(**settings)
    context.set_default_timeout(15_000)
    return context.new_page()


def _as_new(page: Any, settings: dict[str, Any]) -> None:
    """Leave a page, and forget who was signed in; the console keeps nothing else in a browser."""
    page.goto("about:blank")
    page.context.clear_cookies()
    page.set_viewport_size(settings["viewport"])
    page.emulate_media(color_scheme=settings["color_scheme"], reduced_motion=settings["reduced_motion"])


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
def accessible() -> Callable[..., None]:
    """Say that axe-core finds nothing serious on a page. What it says of the rest is not fetched: that is much."""
    from axe_playwright_python.base import AXE_SCRIPT

    def check(page: Any, *, without: tuple[str, ...] = ()) -> None:
        if not page.evaluate("'axe' in window"):
            page.evaluate(AXE_SCRIPT)
        violations = page.evaluate(VIOLATIONS, without)
        serious = {rule: targets for rule, impact, targets in violations if impact in SERIOUS}
        assert serious == {}, page.url

    return check


def fits(page: Any) -> bool:
    """Say whether a page is no wider than its window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


@pytest.fixture
def presentable(accessible: Callable[..., None]) -> Callable[[Any], None]:
    """Say that a page has one heading, and that it fits and is accessible at every width, light and dark.

    No colour depends on the width, so contrast, which is half of what axe does, is looked at once for each scheme.
    """

    def check(page: Any) -> None:
        assert page.locator("h1").count() == 1
        for viewport, scheme, without in (
            (MIDDLE, "light", CONTRAST),
            (WIDE, "light", ()),
            (BROAD, "dark", CONTRAST),
            (NARROW, "dark", ()),
        ):
            page.set_viewport_size(viewport)
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            assert fits(page), viewport
            accessible(page, without=without)

    return check
