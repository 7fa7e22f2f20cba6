"""Who calls an administrators' function: through the proxy, from our own pages, with ids of our own form."""

from __future__ import annotations

from urllib.parse import urlsplit

import flask

from autoprovisioning.app.administration.roles import Admitted, Caller, Role
from autoprovisioning.bootstrap import Administration
from autoprovisioning.domain.errors import Forbidden, NotFound
from autoprovisioning.domain.texts import OUR_ID

ASSERTION = "X-Goog-IAP-JWT-Assertion"
SAFE = ("GET", "HEAD")  # a link from another site may open a form: that reveals nothing and changes nothing


def caller(parts: Administration, request: flask.Request) -> Caller:
    """Return whoever the proxy let through; raises Forbidden."""
    return parts.identity.caller(request.headers.get(ASSERTION, ""))


def reader(parts: Administration, request: flask.Request) -> Admitted:
    """Return a caller who may look: any administrator; raises Forbidden."""
    return parts.roles.lately(caller(parts, request), parts.services.clock())


def asker(parts: Administration, request: flask.Request) -> Admitted:
    """Return any administrator who asks from our own pages, with their current role unless it is only to look.

    Raises Forbidden.
    """
    if request.method in SAFE:
        return reader(parts, request)
    calling = caller(parts, request)
    _from_our_pages(request)
    return parts.roles.now(calling, parts.services.clock())


def writer(parts: Administration, request: flask.Request) -> Admitted:
    """Return a caller who may change things, and asks from our own pages; raises Forbidden."""
    found = asker(parts, request)
    if found.role is not Role.SUPER:
        raise Forbidden(f"{found.actor.address} may look, but only super administrators may change this.")
    return found


def _from_our_pages(request: flask.Request) -> None:
    """Refuse a browser that another site sent here (Fetch standard: Origin; Fetch Metadata: Sec-Fetch-Site)."""
    origin, site = request.headers.get("Origin", ""), request.headers.get("Sec-Fetch-Site", "")
    if (origin and _host(origin) != request.host) or site not in ("", "same-origin", "none"):
        raise Forbidden("The request comes from another site. Open the page here and send it from there.")


def _host(origin: str) -> str:
    """Return the host of an origin, with its port; empty if it is not one."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def identifier(text: str) -> str:
    """Return the text if it has the shape of our ids; raises NotFound, which does not repeat it."""
    if not OUR_ID.fullmatch(text):
        raise NotFound("There is no such connection. Choose one of those listed.")
    return text
