"""The door for a new Keeper access token: a small form and a JSON API, super administrators only."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import flask
import functions_framework
from flask import Response

from autoprovisioning.app.admission import require_super
from autoprovisioning.app.forgery import form_token, genuine
from autoprovisioning.app.tokens import reauthorize as switch_token
from autoprovisioning.bootstrap import Administration, administration
from autoprovisioning.domain.errors import BadInput, Forbidden, ProvisioningError
from autoprovisioning.entrypoints.answers import http, status_of
from autoprovisioning.entrypoints.pages import page

ASSERTION = "X-Goog-IAP-JWT-Assertion"
LARGEST_BODY = 16 * 1024


@functions_framework.http
def reauthorize(request: flask.Request) -> Response:
    """Show the form (GET), take the form or `{"connection", "token"}` (POST)."""
    if request.method == "GET":
        return _form(request)
    if request.mimetype == "application/json":
        return http(lambda: _from_json(request))
    return _from_form(request)


def _admitted(request: flask.Request) -> tuple[Administration, str]:
    parts = administration()
    origin = request.headers.get("Origin", "")
    if origin and urlsplit(origin).netloc != request.host:
        raise Forbidden("The request comes from another site.")
    return parts, require_super(parts.identity, parts.people, request.headers.get(ASSERTION, ""))


def _switch(parts: Administration, actor: str, connection: object, token: object) -> dict[str, Any]:
    if not isinstance(connection, str) or not connection:
        raise BadInput("connection", "it is missing", "Name the connection's id.")
    if not isinstance(token, str):
        raise BadInput("token", "it is missing", "Paste the access token that Keeper shows once.")
    waiting = switch_token(parts.services, connection, token.strip(), actor)
    return {"connection": connection, "accepted": True, "waiting": waiting}


def _from_json(request: flask.Request) -> dict[str, Any]:
    parts, actor = _admitted(request)
    if request.method != "POST" or (request.content_length or 0) > LARGEST_BODY:
        raise BadInput("request", "it is not what this page takes", "POST a connection and a token.")
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise BadInput("body", "it is not a JSON object", 'Send {"connection": "...", "token": "..."}.')
    return _switch(parts, actor, body.get("connection"), body.get("token"))


def _from_form(request: flask.Request) -> Response:
    try:
        parts, actor = _admitted(request)
        if (request.content_length or 0) > LARGEST_BODY:
            raise BadInput("request", "it is too large", "Paste only the access token.")
        if not genuine(parts.form_key, actor, request.form.get("csrf", ""), parts.services.clock()):
            raise Forbidden("The form is out of date. Reload it and try again.")
        done = _switch(parts, actor, request.form.get("connection"), request.form.get("token"))
    except ProvisioningError as error:
        return page("reauthorize_result.html", status_of(error), problem=str(error))
    return page("reauthorize_result.html", 200, waiting=done["waiting"], connection=done["connection"])


def _form(request: flask.Request) -> Response:
    try:
        parts, actor = _admitted(request)
        connections = parts.services.connections.all()
    except ProvisioningError as error:
        return page("reauthorize_result.html", status_of(error), problem=str(error))
    csrf = form_token(parts.form_key, actor, parts.services.clock())
    chosen = request.args.get("connection", "")
    return page("reauthorize.html", 200, connections=connections, csrf=csrf, actor=actor, chosen=chosen)
