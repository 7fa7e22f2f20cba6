"""Who calls an administrators' door: through the proxy, from our own pages, naming things as we name them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import flask

from autoprovisioning.app.admission import Role
from autoprovisioning.bootstrap import Administration
from autoprovisioning.domain.errors import Forbidden, NotFound

ASSERTION = "X-Goog-IAP-JWT-Assertion"
SAFE = ("GET", "HEAD")  # a link from another site may open a form: it shows nothing, and changes nothing
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")


def reader(parts: Administration, request: flask.Request) -> tuple[str, Role]:
    """Return address and role of a caller who may look: any administrator; raises Forbidden."""
    address = parts.identity.address(request.headers.get(ASSERTION, ""))
    return address, parts.roles.lately(address, parts.services.clock())


def asker(parts: Administration, request: flask.Request) -> tuple[str, Role]:
    """Return address and role, as of now, of any administrator who asks from our own pages; raises Forbidden."""
    address = parts.identity.address(request.headers.get(ASSERTION, ""))
    if request.method not in SAFE:
        _from_our_pages(request)
    return address, parts.roles.now(address, parts.services.clock())


def writer(parts: Administration, request: flask.Request) -> tuple[str, Role]:
    """Return address and role of a caller who may change things, and asks from our own pages; raises Forbidden."""
    address, role = asker(parts, request)
    if role is not Role.SUPER:
        raise Forbidden(f"{address} may look, but only super administrators may change this.")
    return address, role


def _from_our_pages(request: flask.Request) -> None:
    """Refuse a browser that another site sent here (Fetch standard: Origin; Fetch Metadata: Sec-Fetch-Site)."""
    origin, site = request.headers.get("Origin", ""), request.headers.get("Sec-Fetch-Site", "")
    if (origin and urlsplit(origin).netloc != request.host) or site not in ("", "same-origin", "none"):
        raise Forbidden("The request comes from another site. Open the page here and send it from there.")


def identifier(text: str) -> str:
    """Return the text if it has the shape of our ids; raises NotFound, which does not repeat it."""
    if not _ID.match(text):
        raise NotFound("There is no such connection. Choose one of those listed.")
    return text
