"""The administrators' door: what connections there are, their state and last runs, held plans and their approval."""

from __future__ import annotations

from typing import Any

import flask
import functions_framework
from flask import Response

from autoprovisioning.app.holding import decide_hold
from autoprovisioning.bootstrap import Administration, administration
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.errors import BadInput, NotFound
from autoprovisioning.domain.guard import Hold
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.entrypoints.answers import http, only
from autoprovisioning.entrypoints.callers import identifier, reader, writer


@functions_framework.http
def console(request: flask.Request) -> Response:
    """Answer the JSON API."""
    return http(lambda: _act(request))


def _act(request: flask.Request) -> Any:
    parts = administration()
    match request.path.strip("/").split("/"):
        case ["api", "connections"]:
            only(request, "GET", "HEAD")
            reader(parts, request)
            return [_shown(connection) for connection in parts.services.connections.all()]
        case ["api", "connections", connection_id, "holds"]:
            only(request, "GET", "HEAD")
            reader(parts, request)
            connection = _connection(parts, connection_id)
            return [_hold(hold) for hold in parts.services.records.holds(connection.id)]
        case ["api", "connections", connection_id, "holds", digest]:
            only(request, "POST")
            actor = writer(parts, request)
            connection = _connection(parts, connection_id)
            hold = decide_hold(
                parts.services, connection.id, identifier(digest), approve=_approval(request), actor=actor
            )
            parts.services.queue.request_run(RunKind.FULL)
            return _hold(hold)
    raise NotFound(f"There is nothing at {request.path}.")


def _connection(parts: Administration, connection_id: str) -> Connection:
    connection = parts.services.connections.get(identifier(connection_id))
    if connection is None:
        raise NotFound(f"There is no connection {connection_id!r}. Choose one of those listed.")
    return connection


def _approval(request: flask.Request) -> bool:
    body = request.get_json(silent=True)
    decision = body.get("decision") if isinstance(body, dict) else None
    if decision not in ("approve", "reject"):
        raise BadInput("decision", "it is missing or unknown", 'Send {"decision": "approve"} or "reject" as JSON.')
    return bool(decision == "approve")


def _shown(connection: Connection) -> dict[str, Any]:
    return {
        "id": connection.id,
        "name": connection.name,
        "state": connection.state.value,
        "revision": connection.revision,
        "endpoint": connection.endpoint,
        "paused_reason": connection.paused_reason,
    }


def _hold(hold: Hold) -> dict[str, Any]:
    return {
        "digest": hold.digest,
        "state": hold.state.value,
        "raised_at": hold.raised_at.isoformat(),
        "counts": hold.counts(),
        "reason": hold.reason,
    }
