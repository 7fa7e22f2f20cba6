"""The door that the Directory API calls: public, so nothing is believed before the channel is."""

from __future__ import annotations

import flask
import functions_framework
from flask import Response

from autoprovisioning.app.intake import LARGEST_BODY, from_headers, take_in
from autoprovisioning.bootstrap import webhook
from autoprovisioning.domain.errors import ConfigurationRefused, ProvisioningError, Unforeseen
from autoprovisioning.entrypoints.answers import TooLarge, answered, only, problem, told


@functions_framework.http
def directory_webhook(request: flask.Request) -> Response:
    """Accept one notification: 204 once "look again" is published; Google tries 5xx again, nothing else."""

    def act() -> Response:
        parts = webhook()
        only(request, "POST")
        body = request.stream.read(LARGEST_BODY + 1)
        if len(body) > LARGEST_BODY:
            raise TooLarge(LARGEST_BODY)
        take_in(parts.queue, parts.key, from_headers(request.headers.get, body), parts.clock())
        return Response(status=204)

    return answered(act, _refuse)


def _refuse(error: ProvisioningError) -> Response:
    """Tell strangers nothing about how this is deployed."""
    if isinstance(error, ConfigurationRefused):
        told(error)
        error = Unforeseen("This function is not configured. Its log says what is missing.")
    return problem(error)
