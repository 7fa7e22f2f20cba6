"""Who calls an administrators' door: through the proxy, from our own pages, naming things as we name them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import flask

from autoprovisioning.app.admission import require_super, role_of
from autoprovisioning.bootstrap import Administration
from autoprovisioning.domain.errors import Forbidden, NotFound

ASSERTION = "X-Goog-IAP-JWT-Assertion"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")


def reader(parts: Administration, request: flask.Request) -> str:
    """Return the address of a caller who may look: any administrator; raises Forbidden."""
    address = parts.identity.address(request.headers.get(ASSERTION, ""))
    role_of(parts.people, address)
    return address


def writer(parts: Administration, request: flask.Request) -> str:
    """Return the address of a caller who may change things, and asks from our own pages; raises Forbidden."""
    origin = request.headers.get("Origin", "")
    if origin and urlsplit(origin).netloc != request.host:
        raise Forbidden("The request comes from another site.")
    return require_super(parts.identity, parts.people, request.headers.get(ASSERTION, ""))


def identifier(text: str) -> str:
    """Return the text if it has the shape of our ids; raises NotFound, which does not repeat it."""
    if not _ID.match(text):
        raise NotFound("There is no such connection. Choose one of those listed.")
    return text
