"""The entry point that the Directory API calls. It is public: before the channel is verified, no body is read."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta

import flask
import functions_framework
from flask import Response

from autoprovisioning.app.notifications.receive import LARGEST_BODY, from_headers, take_in
from autoprovisioning.bootstrap import now, webhook
from autoprovisioning.domain.errors import ConfigurationRefused, Forbidden, ProvisioningError, Unforeseen
from autoprovisioning.entrypoints.answers import (
    WrongMethod,
    answered,
    body_of,
    details,
    hang_up,
    only,
    problem,
    status_of,
    told,
)
from autoprovisioning.telemetry import Sampled

log = logging.getLogger(__name__)

READING_SECONDS = 5.0  # for a body of some 200 bytes, which Google sends with the headers
refusals = Sampled(timedelta(minutes=1))


@functions_framework.http
def directory_webhook(request: flask.Request) -> Response:
    """Accept one notification: 204 once "look again" is published; Google retries 5xx, nothing else."""

    def act() -> Response:
        parts = webhook()
        only(request, "POST")
        take_in(parts.queue, parts.key, from_headers(request.headers.get, lambda: _read(request)), parts.clock())
        return Response(status=204)

    def refuse(error: ProvisioningError) -> Response:
        if status_of(error) < 500:  # Google does not resend it, or a stranger sent it
            hang_up(request)
        return _refused(error)

    return answered(request, act, refuse)


def _read(request: flask.Request) -> bytes:
    """Read the body of a believed channel, within a time limit: a socket has none if bytes come one by one."""
    given_up = threading.Timer(READING_SECONDS, hang_up, [request])
    given_up.daemon = True
    given_up.start()
    try:
        return body_of(request, LARGEST_BODY)
    finally:
        given_up.cancel()


def _refused(error: ProvisioningError) -> Response:
    """Tell strangers nothing about this deployment, and keep them from filling the log."""
    if isinstance(error, Forbidden | WrongMethod):
        count = refusals.due(now())
        if count:
            log.info("%s: %s", error.code, error, extra={"json_fields": {"refused": count}})
        return details(error)
    if isinstance(error, ConfigurationRefused):
        told(error)
        error = Unforeseen("This function is not configured. Its log says what is missing.")
    return problem(error)
