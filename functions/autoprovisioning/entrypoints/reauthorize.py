"""The entry point for a new Keeper access token: a small form and a JSON API, super administrators only."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import flask
import functions_framework
from flask import Response

from autoprovisioning.app.administration.csrf import form_token, genuine
from autoprovisioning.app.administration.find_connection import unknown
from autoprovisioning.app.administration.tokens import reauthorize as switch_token
from autoprovisioning.bootstrap import Administration, administration
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import BadInput, Forbidden, ProvisioningError
from autoprovisioning.domain.events import Actor
from autoprovisioning.entrypoints.answers import (
    PRIVATE,
    answered,
    body_of,
    http,
    only,
    status_of,
    told,
    told_beside,
)
from autoprovisioning.entrypoints.callers import identifier, writer
from autoprovisioning.entrypoints.notices import Notice, leave, left, said
from autoprovisioning.entrypoints.pages import page_alone

LARGEST_BODY = 16 * 1024
ACCEPTED = "accepted"  # the notice's word; its number is that of the users who were waiting


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
    """Take the form, then send the browser on to what it has to say; or show the form again, with what is wrong."""
    parts = administration()
    actor = writer(parts, request).actor
    body_of(request, LARGEST_BODY)
    sent = request.form
    chosen, override = sent.get("connection", ""), sent.get("override") == "yes"
    try:
        if not genuine(parts.form_key, actor.address, sent.get("csrf", ""), parts.services.clock()):
            raise Forbidden("The form is out of date: it has been reloaded. Enter the access token again.")
        done = _switch(parts, actor, chosen, sent.get("token"), override)
    except ProvisioningError as error:
        told(error)
        shown = _page(parts, actor, chosen, "reauthorize.html", status_of(error), error=error, override=override)
        shown.headers.update(told_beside(error))
        return shown
    # Whatever link opened the form: two slashes, with a tab or not between them, would lead to another site.
    there = f"/{quote(request.path.lstrip('/'))}?{urlencode({'connection': chosen})}"
    accepted = Notice(word=ACCEPTED, number=done["waiting"])
    return leave(Response(status=303, headers={**PRIVATE, "Location": there}), request.path, accepted)


def _form(request: flask.Request) -> Response:
    parts = administration()
    actor = writer(parts, request).actor
    only(request, "GET", "HEAD", "POST")
    chosen, notice = request.args.get("connection", ""), left(request)
    if notice.word == ACCEPTED:
        return said(_page(parts, actor, chosen, "reauthorize_result.html", waiting=notice.number), request)
    return _page(parts, actor, chosen, "reauthorize.html")


def _page(
    parts: Administration,
    actor: Actor,
    chosen: str,
    template: str,
    status: int = 200,
    *,
    error: ProvisioningError | None = None,
    **values: Any,
) -> Response:
    """Show a page about the chosen connection, with the way back to the console; an unknown one is never replaced."""
    known = {each.id: each for each in parts.services.connections.all() if each.state is not State.DELETING}
    connection = known.get(chosen) if chosen or len(known) != 1 else next(iter(known.values()))
    if chosen and connection is None and error is None:
        error, status = unknown(), status_of(unknown())
    console = parts.console_url.rstrip("/")
    about = f"{console}/connections/{connection.id}" if console and connection is not None else ""
    elsewhere = f"{about}/authorization" if about and isinstance(error, BadInput) and error.field == "endpoint" else ""
    return page_alone(
        template,
        status,
        actor=actor.address,
        console=console,
        connection=connection,
        connections=list(known.values()),
        csrf=form_token(parts.form_key, actor.address, parts.services.clock()),
        error=error,
        elsewhere=elsewhere,
        **{"override": False, **values},
    )


def _refused(error: ProvisioningError) -> Response:
    """Tell somebody who was not let in, or sent what no form of ours sends."""
    told(error)
    shown = page_alone("reauthorize_refused.html", status_of(error), actor="", console="", connection=None, error=error)
    shown.headers.update(told_beside(error))
    return shown
