"""Render a page with the security headers every page carries; no script, nothing from other origins."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "templates"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Strict-Transport-Security": "max-age=31536000",
}


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)


def page(template: str, status: int, **values: Any) -> Response:
    """Return a rendered page."""
    text = _templates().get_template(template).render(**{"problem": "", "waiting": None, **values})
    return Response(text, status=status, mimetype="text/html", headers=HEADERS)
