"""Render a page with the security headers every page carries; no script, nothing from other origins."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: with it browsers send `Origin: null` with our own form (Fetch standard, "append a request
    # Origin header"), which could not be told from another site's.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Strict-Transport-Security": "max-age=31536000",
}


@lru_cache(maxsize=1)
def _templates() -> Environment:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.globals["style"] = Markup(_style())  # noqa: S704 - our own file
    return environment


def _style() -> str:
    return (TEMPLATES / "style.css").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _policy() -> str:
    """Return the content security policy: the one style sheet, named by its hash, and forms to ourselves."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def page(template: str, status: int, **values: Any) -> Response:
    """Return a rendered page."""
    text = _templates().get_template(template).render(**{"problem": "", "waiting": None, **values})
    headers = {**HEADERS, "Content-Security-Policy": _policy()}
    return Response(text, status=status, mimetype="text/html", headers=headers)
