"""Delete configuration: confirmed by typing the connection's name."""

from __future__ import annotations

from flask import Response

from autoprovisioning.app.administration.configure import delete
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.entrypoints.answers import told
from autoprovisioning.entrypoints.console.pages.frame import form, get, go, post, show_of
from autoprovisioning.entrypoints.console.routing import Call, existing


def confirm(call: Call, connection_id: str) -> Response:
    """Say what deleting means, and ask for the name."""
    return _asked(call, connection_id)


def carry_out(call: Call, connection_id: str) -> Response:
    """Delete, as soon as changes in flight have ended."""
    try:
        delete(call.parts.services, connection_id, call.actor, form(call).get("confirmation", ""))
    except BadInput as error:
        told(error)
        return _asked(call, connection_id, error)
    return go("/", "deleting")


def _asked(call: Call, connection_id: str, error: BadInput | None = None) -> Response:
    connection = existing(call, connection_id)
    typed = form(call).get("confirmation", "")
    crumbs = [(call.request.path, "Delete configuration")]
    status = 400 if error is not None else 200
    return show_of(call, connection, "delete.html", status, crumbs=crumbs, error=error, typed=typed)


ROUTES = (
    get("/connections/<id:connection_id>/delete", confirm),
    post("/connections/<id:connection_id>/delete", carry_out),
)
