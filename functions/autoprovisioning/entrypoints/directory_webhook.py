"""The door that the Directory API calls: public, so nothing is believed before the channel is."""

from __future__ import annotations

import flask
import functions_framework
from flask import Response

from autoprovisioning.app.intake import LARGEST_BODY, from_headers, take_in
from autoprovisioning.bootstrap import webhook
from autoprovisioning.domain.errors import BadInput, ProvisioningError
from autoprovisioning.entrypoints.answers import problem


@functions_framework.http
def directory_webhook(request: flask.Request) -> Response:
    """Accept one notification: 204 once "look again" is published."""
    parts = webhook()
    try:
        body = request.stream.read(LARGEST_BODY + 1)
        if request.method != "POST" or len(body) > LARGEST_BODY:
            raise BadInput("request", "it is no notification", f"POST at most {LARGEST_BODY} bytes.")
        take_in(parts.queue, parts.key, from_headers(request.headers.get, body), parts.clock())
    except ProvisioningError as error:
        return problem(error)
    return Response(status=204)
