"""The two locks, and what they pin."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = ROOT / "functions" / "requirements.txt"  # what is deployed
DEVELOPMENT = ROOT / "requirements-dev.txt"  # the same, with what tests and checks need besides
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)


def pins(lock: Path) -> dict[str, str]:
    """Return the version of each package of a lock, by its name as package indexes normalise it."""
    return {normalised(name): version for name, version in _PIN.findall(lock.read_text())}


def normalised(name: str) -> str:
    """Return a name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
