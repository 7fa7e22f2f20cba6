"""The style sheet and the scripts, cached for a year: whatever changes gets another address."""

from __future__ import annotations

from flask import Response

from autoprovisioning.domain.errors import NotFound
from autoprovisioning.entrypoints import assets
from autoprovisioning.entrypoints.console.pages.frame import get
from autoprovisioning.entrypoints.console.routing import Call
from autoprovisioning.entrypoints.pages import HEADERS

FOR_A_YEAR = "private, max-age=31536000, immutable"  # private: the proxy let this caller in, and nobody else


def asset(_call: Call, name: str) -> Response:
    """Serve one file."""
    found = assets.content(name)
    if found is None:
        raise NotFound("There is no such file. Reload the page.")
    body, kind = found
    return Response(body, mimetype=kind, headers={**HEADERS, "Cache-Control": FOR_A_YEAR})


ROUTES = (get(f"{assets.ROOT}/<name>", asset),)
