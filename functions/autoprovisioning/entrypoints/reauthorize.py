"""The entry point for a new Keeper access token: a small form and a JSON API, super administrators only."""

from __future__ import annotations

import json
from typing import Any

import flask
import functions_framework
from flask import Response

from autoprovisioning.app.administration.csrf import form_token, genuine
from autoprovisioning.app.administration.tokens import reauthorize as switch_token
from autoprovisioning.bootstrap import Administration, administration
from autoprovisioning.domain.errors import BadInput, Forbidden, ProvisioningError
from autoprovisioning.domain.events import Actor
from autoprovisioning.entrypoints.answers import answered, body_of, http, only, status_of, told, told_beside
from autoprovisioning.entrypoints.callers import identifier, writer
from autoprovisioning.entrypoints.pages import page_alone

LARGEST_BODY = 16 * 1024


@functions_framework.http
def reauthorize(request: flask.Request) -> Response:
    """Show the form (GET), take the form or `{"connection", "token", "override"}` (POST)."""
    if request.mimetype == "application/json":
        return http(request, lambda: _from_json(request))
    if request.method == "POST":
        return answered(request, lambda: _from_form(request), _refused)
    return answered(request, lambda: _form(request), _refused)


def _switch(parts: Administration, actor: Actor, connection: object, token: object, override: object) -> dict[str, Any]:
    if not isinstance(connection, str) or not connection:
        raise BadInput("connection", "it is missing", "Name the connection's id.")
    if not isinstance(token, str):
        raise BadInput("token", "it is missing", "Paste the access token that Keeper shows once.")
    if not isinstance(override, bool):
        raise BadInput("override", "it is neither true nor false", "Leave it out, or send true.")
    waiting = switch_token(parts.services, identifier(connection), token, actor, override=override)
    return {"connection": connection, "accepted": True, "waiting": waiting}


def _from_json(request: flask.Request) -> dict[str, Any]:
    parts = administration()
    actor = writer(parts, request).actor  # first: a caller without access learns nothing about what is here
    only(request, "POST")
    try:
        body = json.loads(body_of(request, LARGEST_BODY))
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise BadInput("body", "it is not a JSON object", 'Send {"connection": "...", "token": "..."}.')
    return _switch(parts, actor, body.get("connection"), body.get("token"), body.get("override", False))


def _from_form(request: flask.Request) -> Response:
    parts = administration()
    actor = writer(parts, request).actor
    body_of(request, LARGEST_BODY)
    if not genuine(parts.form_key, actor.address, request.form.get("csrf", ""), parts.services.clock()):
        raise Forbidden("The form is out of date. Reload it and try again.")
    override = request.form.get("override") == "yes"
    done = _switch(parts, actor, request.form.get("connection"), request.form.get("token"), override)
    return _page(parts, actor, done["connection"], "reauthorize_result.html", waiting=done["waiting"], problem="")


def _form(request: flask.Request) -> Response:
    parts = administration()
    actor = writer(parts, request).actor
    only(request, "GET", "HEAD", "POST")
    csrf = form_token(parts.form_key, actor.address, parts.services.clock())
    return _page(parts, actor, request.args.get("connection", ""), "reauthorize.html", csrf=csrf)


def _page(parts: Administration, actor: Actor, chosen: str, template: str, **values: Any) -> Response:
    """Show a page about the chosen connection, if it exists, with the way back to the console."""
    connections = parts.services.connections.all()
    known = next((connection for connection in connections if connection.id == chosen), None)
    return page_alone(
        template,
        200,
        actor=actor.address,
        console=parts.console_url.rstrip("/"),
        connections=connections,
        chosen=known.id if known is not None else "",
        chosen_name=known.settings.name if known is not None else "",
        **values,
    )


def _refused(error: ProvisioningError) -> Response:
    told(error)
    nothing = {"actor": "", "console": "", "chosen": "", "chosen_name": "", "waiting": 0}
    shown = page_alone("reauthorize_result.html", status_of(error), problem=str(error), **nothing)
    shown.headers.update(told_beside(error))
    return shown
