"""The list of apps, and the switch of each."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Response

from autoprovisioning.app.administration.ask_for_run import ask_for_run
from autoprovisioning.app.administration.configure import turn_off, turn_on
from autoprovisioning.app.administration.preview import forecast_of, would_create
from autoprovisioning.domain.connections import SERVING, Connection, State
from autoprovisioning.domain.events import EventName
from autoprovisioning.domain.words import shown_state
from autoprovisioning.entrypoints.console.pages.frame import (
    form,
    get,
    go,
    post,
    show,
    show_of,
    waiting_holds,
)
from autoprovisioning.entrypoints.console.routing import Call, existing

DAYS = 30
LABELS = {
    EventName.CREATED: "Users created",
    EventName.UPDATED: "Users updated",
    EventName.SUSPENDED: "Users suspended",
    EventName.UNSUSPENDED: "Users reactivated",
    EventName.DELETED: "Users deleted",
    EventName.ADOPTED: "Accounts adopted",
    EventName.FAILED: "Failures",
}


def apps(call: Call) -> Response:
    """List the connections."""
    connections = call.parts.services.connections.all()
    rows = [(one, shown_state(one, held=waiting_holds(call, one) > 0)) for one in connections]
    return show(call, "apps.html", rows=rows, deleted=call.parts.services.connections.deleted())


def reauthorize_address(call: Call, connection: Connection) -> str:
    """Return where a new access token is entered; empty if this deployment does not say."""
    address = call.parts.reauthorize_url
    return f"{address.rstrip('/')}/?{urlencode({'connection': connection.id})}" if address else ""


def confirm_on(call: Call, connection_id: str) -> Response:
    """Ask before turning on, or on for everybody; `preview` names the one whose numbers were seen."""
    preview, connection = call.request.args.get("preview", ""), existing(call, connection_id)
    forecast = forecast_of(call.parts.services, connection, preview)
    about = {"preview": preview if forecast is not None else "", "forecast": forecast}
    states = (State.OFF,) if connection.pilot is None else SERVING
    return _confirm(call, connection_id, "turn_on.html", "Turn on", states, **about)


def confirm_off(call: Call, connection_id: str) -> Response:
    """Ask before turning off."""
    return _confirm(call, connection_id, "turn_off.html", "Turn off", (State.ON, State.PAUSED))


def _confirm(
    call: Call, connection_id: str, template: str, title: str, states: tuple[State, ...], **about: Any
) -> Response:
    connection = existing(call, connection_id)
    if connection.state not in states:
        return go(f"/connections/{connection_id}")
    return show_of(call, connection, template, crumbs=[(call.request.path, title)], **about)


def switch_on(call: Call, connection_id: str) -> Response:
    """Turn on; a draft is finished first, and a pilot ends with the number of accounts seen."""
    connection = existing(call, connection_id)
    if connection.state is State.DRAFT:
        return go(f"/connections/{connection_id}/finish")
    creates = would_create(call.parts.services, connection, form(call).get("preview", ""))
    if connection.pilot is not None and creates is None:
        return go(f"/connections/{connection_id}/turn-on")
    turn_on(call.parts.services, connection_id, call.actor, creates=creates)
    return go(f"/connections/{connection_id}", "everybody" if connection.pilot is not None else "on")


def switch_off(call: Call, connection_id: str) -> Response:
    """Turn off."""
    turn_off(call.parts.services, connection_id, call.actor)
    return go(f"/connections/{connection_id}", "off")


def run_now(call: Call, connection_id: str) -> Response:
    """Ask for a reconciliation."""
    ask_for_run(call.parts.services, existing(call, connection_id), call.actor)
    return go(f"/connections/{connection_id}/health", "run", follow="10")


ROUTES = (
    get("/", apps),
    get("/connections/<id:connection_id>/turn-on", confirm_on),
    post("/connections/<id:connection_id>/turn-on", switch_on),
    get("/connections/<id:connection_id>/turn-off", confirm_off),
    post("/connections/<id:connection_id>/turn-off", switch_off),
    post("/connections/<id:connection_id>/run", run_now),
)
