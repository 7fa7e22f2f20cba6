"""The wizard: App authorization and Endpoint URL first, then the steps of a draft, until it is finished."""

from __future__ import annotations

from flask import Response

from autoprovisioning.app.administration.configure import finish, set_up
from autoprovisioning.app.administration.preview import ask_preview
from autoprovisioning.app.administration.tokens import try_out
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.errors import BadInput, Forbidden, ProvisioningError, Transient
from autoprovisioning.domain.settings import Settings
from autoprovisioning.entrypoints.answers import status_of, told
from autoprovisioning.entrypoints.console.pages.frame import form, get, go, post, show, show_of
from autoprovisioning.entrypoints.console.pages.summary import summary
from autoprovisioning.entrypoints.console.routing import Call, existing


def new(call: Call) -> Response:
    """Show the prerequisites and the first two steps."""
    return _new(call)


def connect(call: Call) -> Response:
    """Try endpoint and token, and save them as a draft."""
    fields = form(call)
    settings = Settings(name=fields.get("name", ""), endpoint=fields.get("endpoint", ""))
    try:
        connection = set_up(call.parts.services, settings, fields.get("token", ""), call.actor)
    except (BadInput, Transient) as error:
        told(error)
        return _new(call, error)
    return go(f"/connections/{connection.id}/mapping", _offered(call, connection, fields.get("token", "")))


def _offered(call: Call, connection: Connection, token: str) -> str:
    """Return the notice that says what the server offers."""
    try:
        offers = try_out(call.parts.services, connection, token)
    except ProvisioningError as error:  # it was accepted a moment ago, and is saved
        told(error)
        return "connected"
    return "connected-bulk" if offers.bulk else "connected-single"


def _new(call: Call, error: BadInput | Transient | Forbidden | None = None) -> Response:
    fields = form(call)
    values = {"name": fields.get("name", "Keeper"), "endpoint": fields.get("endpoint", "")}
    status = status_of(error) if error is not None else 200
    crumbs = [("/connections/new", "Set up autoprovisioning")]
    return show(call, "new.html", status, crumbs=crumbs, error=error, values=values)


def review(call: Call, connection_id: str) -> Response:
    """Show the settings of a draft once more."""
    connection = existing(call, connection_id)
    if connection.state is not State.DRAFT:
        return go(f"/connections/{connection_id}")
    crumbs = [(call.request.path, "Finish")]
    return show_of(call, connection, "finish.html", crumbs=crumbs, summary=summary(connection))


def end(call: Call, connection_id: str) -> Response:
    """Finish the set-up, and preview what turning on would do."""
    parts = call.parts
    connection = finish(parts.services, connection_id, call.actor)
    try:
        preview = ask_preview(parts.services, connection_id, connection.edition, connection.settings, call.actor)
    except (BadInput, Transient) as error:
        told(error)
        return go(f"/connections/{connection_id}", "finished")
    return go(f"/connections/{connection_id}/previews/{preview.id}", "finished")


ROUTES = (
    get("/connections/new", new),
    post("/connections/new", connect, again=_new),
    get("/connections/<id:connection_id>/finish", review),
    post("/connections/<id:connection_id>/finish", end),
)
