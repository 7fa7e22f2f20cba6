"""One table from errors to answers, for HTTP callers and for Pub/Sub push.

error                     HTTP                              Pub/Sub push
Transient                 503 + Retry-After                 503: redelivered, then dead-lettered
Permanent                 422                               204: recorded as a failure of that user
ReauthorizationRequired   409, connection paused            204: the user stays pending
BadInput                  400 (405, 413, 415, 428: below)   204: logged, since redelivery cannot help
ConfigurationRefused      500, logged with an alert         500: nothing is lost while an operator fixes it
anything unforeseen       500, logged once with its stack   500

Forbidden 403, NotFound 404, WrongState 409, Stale 412. Problems are RFC 9457 problem details.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import traceback
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import flask
from flask import Response, jsonify
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from autoprovisioning import telemetry
from autoprovisioning.config import Misconfigured
from autoprovisioning.domain.errors import (
    BadInput,
    ConfigurationRefused,
    Forbidden,
    NotFound,
    Permanent,
    ProvisioningError,
    ReauthorizationRequired,
    Stale,
    Transient,
    Unforeseen,
    WrongState,
)

log = logging.getLogger(__name__)

LARGEST_PUSH = 14 * 1024 * 1024  # a message has 10 MB at most (cloud.google.com/pubsub/quotas), here in base64
LONGEST_WAIT = 3600  # seconds, whatever somebody else asks for
PROBLEM = "application/problem+json"  # RFC 9457
SECURE = {
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: with it browsers send `Origin: null` with our own form (Fetch standard, "append a request
    # Origin header"), which could not be distinguished from another site's.
    "Referrer-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=31536000",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# For what is not a page: opened in a browser it can load, run and submit nothing, and is shown in no frame.
PRIVATE = {
    **SECURE,
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
}


class WrongMethod(BadInput):
    """The method is not supported here (RFC 9110 15.5.6)."""

    code = "wrong_method"

    def __init__(self, found: str, allowed: str) -> None:
        super().__init__("method", f"{found} has no effect here", f"Use {allowed}.")
        self.allowed = allowed


class TooLarge(BadInput):
    """The body is larger than any genuine one."""

    code = "too_large"

    def __init__(self, largest: int) -> None:
        super().__init__("body", "it is too large", f"Send at most {largest} bytes.")


class NotJson(BadInput):
    """The body has another type (RFC 9110 15.5.16): a form of another site could send that, but not the wanted one."""

    code = "unsupported_media_type"

    def __init__(self, wanted: str) -> None:
        super().__init__("Content-Type", "it is another one", f"Send the body as {wanted}.")


class Unconditional(BadInput):
    """The change does not say which edition it is meant for (RFC 6585 section 3)."""

    code = "precondition_required"

    def __init__(self) -> None:
        super().__init__("If-Match", "it is missing", "Send the ETag that the connection was read with.")


class NotConfigured(ConfigurationRefused):
    """The function's environment is unusable; the text lists every problem."""

    code = "misconfigured"


STATUS: tuple[tuple[type[ProvisioningError], int], ...] = (
    (WrongMethod, 405),
    (TooLarge, 413),
    (NotJson, 415),
    (Unconditional, 428),
    (BadInput, 400),
    (Forbidden, 403),
    (NotFound, 404),
    (Stale, 412),
    (WrongState, 409),
    (ReauthorizationRequired, 409),
    (Transient, 503),
    (ConfigurationRefused, 500),
    (Permanent, 422),
)


def status_of(error: ProvisioningError) -> int:
    """Return the HTTP status of an error."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def only(request: flask.Request, *methods: str) -> None:
    """Refuse every other method: a GET must never start work."""
    if request.method not in methods:
        raise WrongMethod(request.method, ", ".join(methods))


def body_of(request: flask.Request, largest: int) -> bytes:
    """Read the body, of at most `largest` bytes, whatever length was announced; `request.form` then parses it.

    Raises:
        TooLarge: it has more; no more of it was read.
        BadInput: it ended before the announced length, or its chunks are malformed (RFC 9112 7.1).
    """
    from gunicorn.http.errors import ParseException  # type: ignore[import-untyped] # the server has it loaded

    # One more than is accepted: otherwise a body cut at the limit would look like one that ends there.
    request.max_content_length = largest + 1
    try:
        content = request.get_data()
    except RequestEntityTooLarge:
        raise TooLarge(largest) from None
    except ParseException:
        raise BadInput("body", "its chunks cannot be read", "Send a complete and well-formed request.") from None
    if len(content) > largest:
        raise TooLarge(largest)
    if len(content) < (request.content_length or 0):
        raise BadInput("body", "it ended early", "Send as many bytes as Content-Length announces.")
    return content


def hang_up(request: flask.Request) -> None:
    """Read no more from this connection: gunicorn would wait for the rest of a body that nobody wants.

    It would for 5 s in the request's thread, and then for 2 s where it accepts connections (gthread worker, 27).
    """
    connection = request.environ.get("gunicorn.socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RD)


def answered(
    request: flask.Request, act: Callable[[], Response], refuse: Callable[[ProvisioningError], Response] | None = None
) -> Response:
    """Return what `act` answers; whatever goes wrong is handed to `refuse` (`problem`), which logs it.

    The rest of a body that `act` did not read stays unread: functions-framework would read all of it, however large.
    """
    try:
        return act()
    except ProvisioningError as raised:
        error = raised
    except Misconfigured as raised:
        telemetry.set_up("", "INFO", light=True)  # without settings there is no more to set up
        error = NotConfigured(str(raised))
    except HTTPException as raised:
        mend = "Send a complete and well-formed request."
        error = BadInput("request", f"it cannot be read ({raised.name})", mend)
    except Exception:  # noqa: BLE001 - the last resort: logged with its stack trace, shown to nobody
        telemetry.set_up("", "INFO", light=True)
        # In the message, which is redacted, and where Error Reporting looks for it.
        log.error("Unforeseen error\n%s", traceback.format_exc(), extra=_alert("unforeseen"))
        error = Unforeseen("An unforeseen error occurred. This function's log says what it was.")
    finally:
        request.stream = io.BytesIO()
    return (refuse or problem)(error)


def http(request: flask.Request, act: Callable[[], Any]) -> Response:
    """Run a use case for an HTTP caller: its result as JSON, an error as problem details."""

    def shown() -> Response:
        answer = jsonify(act())
        answer.headers.update(PRIVATE)
        return answer

    return answered(request, shown)


def push(request: flask.Request, act: Callable[[], None]) -> Response:
    """Run a use case for a Pub/Sub push: 204 acknowledges, anything else is delivered again."""

    def acknowledged() -> Response:
        only(request, "POST")
        act()
        return Response(status=204)

    def refuse(error: ProvisioningError) -> Response:
        if isinstance(error, WrongMethod) or status_of(error) >= 500:
            return problem(error)
        log.error("%s: %s", error.code, error, extra=_alert(error.code))
        return Response(status=204)

    return answered(request, acknowledged, refuse)


def problem(error: ProvisioningError) -> Response:
    """Log an error and render it as RFC 9457 problem details."""
    told(error)
    return details(error)


def details(error: ProvisioningError) -> Response:
    """Render an error as RFC 9457 problem details."""
    status = status_of(error)
    title = HTTPStatus(status).phrase  # as RFC 9457 4.2.1 has it for this type; the code tells problems apart
    shown: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "code": error.code}
    shown["detail"] = str(error)
    if isinstance(error, BadInput):
        shown |= {"field": error.field, "problem": error.problem, "mend": error.mend}
    answer = jsonify(shown)
    answer.status_code = status
    answer.content_type = PROBLEM
    answer.headers.update(PRIVATE)
    answer.headers.update(told_beside(error))
    return answer


def told_beside(error: ProvisioningError) -> dict[str, str]:
    """Return the headers that belong to an error: when to retry, which methods are allowed."""
    if isinstance(error, Transient):
        return {"Retry-After": str(round(min(max(error.retry_after or 5, 1), LONGEST_WAIT)))}
    return {"Allow": error.allowed} if isinstance(error, WrongMethod) else {}


def told(error: ProvisioningError) -> None:
    """Log an error, once; an unforeseen one is logged already, with its stack trace.

    Of an input only the field is named: a token may have been pasted into the wrong one.
    """
    if isinstance(error, ConfigurationRefused):
        log.error("%s: %s", error.code, error, extra=_alert(error.code))
    elif isinstance(error, BadInput):
        log.info("%s: %s", error.code, error.field)
    elif not isinstance(error, Unforeseen):
        log.log(logging.WARNING if status_of(error) >= 500 else logging.INFO, "%s: %s", error.code, error)


def _alert(code: str) -> dict[str, Any]:
    return {"json_fields": {"alert": code}}
