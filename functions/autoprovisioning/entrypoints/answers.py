"""One table from errors to answers, for HTTP doors and for Pub/Sub push doors.

error                     HTTP                              Pub/Sub push
Transient                 503 + Retry-After                 503: redelivered, then dead-lettered
Permanent                 422                               204: recorded as a failure of that user
Unsafe                    409, held for approval            204
ReauthorizationRequired   409, connection paused            204: the user stays pending
BadInput                  400                               204: logged, since sending it again cannot help
Forbidden 403, NotFound 404, Stale 412
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import flask
from flask import Response, jsonify

from autoprovisioning.domain.errors import (
    BadInput,
    Forbidden,
    NotFound,
    Permanent,
    ProvisioningError,
    ReauthorizationRequired,
    Stale,
    Transient,
    Unsafe,
)

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"  # RFC 9457
STATUS: tuple[tuple[type[ProvisioningError], int], ...] = (
    (BadInput, 400),
    (Forbidden, 403),
    (NotFound, 404),
    (Stale, 412),
    (Unsafe, 409),
    (ReauthorizationRequired, 409),
    (Transient, 503),
    (Permanent, 422),
)


def status_of(error: ProvisioningError) -> int:
    """Return the HTTP status of an error."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def only_post(request: flask.Request) -> None:
    """Refuse what is not a POST: nobody starts work by looking."""
    if request.method != "POST":
        raise BadInput("method", f"{request.method} does nothing here", "Use POST.")


def http(act: Callable[[], Any]) -> Response:
    """Run a use case for an HTTP caller: its result as JSON, an error as problem details."""
    try:
        return jsonify(act())
    except ProvisioningError as error:
        return problem(error)


def problem(error: ProvisioningError) -> Response:
    """Render an error as RFC 9457 problem details."""
    status = status_of(error)
    log.log(logging.WARNING if status >= 500 else logging.INFO, "%s: %s", error.code, error)
    details: dict[str, Any] = {"type": "about:blank", "title": error.code, "status": status, "detail": str(error)}
    if isinstance(error, BadInput):
        details |= {"field": error.field, "problem": error.problem, "mend": error.mend}
    answer = jsonify(details)
    answer.status_code = status
    answer.content_type = PROBLEM
    if isinstance(error, Transient):
        answer.headers["Retry-After"] = str(max(1, round(error.retry_after or 5)))
    return answer


def push(act: Callable[[], None]) -> Response:
    """Run a use case for a Pub/Sub push: 204 acknowledges, anything else is delivered again."""
    try:
        act()
    except Transient as error:
        return problem(error)
    except ProvisioningError as error:
        log.error("%s: %s", error.code, error, extra={"json_fields": {"alert": error.code}})
    return Response(status=204)
