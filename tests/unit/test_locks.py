"""The two lock files install with hashes, now and when newer releases are out, and record no download address."""

from __future__ import annotations

import re
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LOCKS = ("functions/requirements.txt", "requirements-dev.txt")
PINNED = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)(?:\[(?P<extras>[^\]]+)\])?==(?P<version>\S+) \\$", re.MULTILINE)


def pins(lock: str) -> dict[str, set[str]]:
    """Return the pinned packages and the extras that they are pinned with."""
    found = PINNED.finditer((ROOT / lock).read_text())
    return {match["name"].lower(): set((match["extras"] or "").split(",")) - {""} for match in found}


def wanted_extras() -> dict[str, set[str]]:
    """Return the extras that installed packages ask of others."""
    wanted: dict[str, set[str]] = {}
    for distribution in distributions():
        for text in distribution.requires or ():
            requirement = Requirement(text)
            if requirement.extras and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
                wanted.setdefault(requirement.name.lower(), set()).update(requirement.extras)
    return wanted


@pytest.mark.parametrize("lock", LOCKS)
def test_packages_are_pinned_with_the_extras_that_others_ask_of_them(lock):
    """pip refuses a hashed install otherwise, as soon as a newer release of such a package is out."""
    pinned = pins(lock)
    lacking = {name: extras - pinned[name] for name, extras in wanted_extras().items() if name in pinned}
    assert {name: extras for name, extras in lacking.items() if extras} == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_nothing_names_an_address(lock):
    text = (ROOT / lock).read_text()
    assert text.count("==") == len(pins(lock))
    assert all("--hash=sha256:" in block for block in re.split(r"\n(?=[A-Za-z])", text) if "==" in block)
    assert "://" not in text


def test_the_functions_run_what_the_tests_ran():
    both = [
        {match["name"].lower(): match["version"] for match in PINNED.finditer((ROOT / lock).read_text())}
        for lock in LOCKS
    ]
    assert both[0].items() <= both[1].items()
