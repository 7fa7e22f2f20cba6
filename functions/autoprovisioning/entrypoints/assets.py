"""The files that pages load: ours are named by the digest of their content, those of others by their version."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

FOLDER = Path(__file__).parent / "assets"
OURS = ("style.css", "console.js", "finder.js", "units.js", "icon.svg")
VENDORED = {"htmx.js": "htmx-2.0.11.min.js", "chart.js": "chart-4.6.1.umd.min.js"}
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
ROOT = "/assets"


@lru_cache(maxsize=1)
def _names() -> Mapping[str, str]:
    """Map a file's name in templates to the name under which it is served."""
    return {name: _named(name) for name in OURS} | VENDORED


@lru_cache(maxsize=1)
def _files() -> Mapping[str, Path]:
    files = {_named(name): FOLDER / name for name in OURS}
    return files | {name: FOLDER / name for name in VENDORED.values()}


def _named(name: str) -> str:
    stem, ending = name.rsplit(".", 1)
    return f"{stem}.{hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:12]}.{ending}"


def address(name: str) -> str:
    """Return the address of a file, for a page; raises KeyError."""
    return f"{ROOT}/{_names()[name]}"


def content(served: str) -> tuple[bytes, str] | None:
    """Return a file by the name under which it is served, with its media type; None if there is none."""
    path = _files().get(served)
    return (path.read_bytes(), TYPES[path.suffix]) if path is not None else None


@lru_cache(maxsize=1)
def icon() -> str:
    """Return the icon as a data URL: without one browsers ask for /favicon.ico, and get a 404."""
    return f"data:image/svg+xml,{quote((FOLDER / 'icon.svg').read_text(encoding='utf-8').strip())}"


@lru_cache(maxsize=1)
def style() -> str:
    """Return the style sheet, for a page that contains it."""
    return (FOLDER / "style.css").read_text(encoding="utf-8")
