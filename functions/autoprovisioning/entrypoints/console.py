"""The administrators' door: what connections there are, their state and last runs, held plans and their approval."""

from __future__ import annotations

from typing import Any

import flask
import functions_framework
from flask import Response

from autoprovisioning.app.admission import require_super, role_of
from autoprovisioning.app.holding import decide_hold
from autoprovisioning.bootstrap import Administration, administration
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.errors import BadInput, NotFound
from autoprovisioning.domain.guard import Hold
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.entrypoints.answers import http
from autoprovisioning.entrypoints.reauthorize import ASSERTION


@functions_framework.http
def console(request: flask.Request) -> Response:
    """Answer the JSON API."""
    return http(lambda: _act(request))


def _act(request: flask.Request) -> Any:
    parts = administration()
    assertion = request.headers.get(ASSERTION, "")
    match request.method, request.path.strip("/").split("/"):
        case "GET", ["api", "connections"]:
            _may_read(parts, assertion)
            return [_shown(connection) for connection in parts.services.connections.all()]
        case "GET", ["api", "connections", connection_id, "holds"]:
            _may_read(parts, assertion)
            return [_hold(hold) for hold in parts.services.records.holds(connection_id)]
        case "POST", ["api", "connections", connection_id, "holds", digest]:
            actor = require_super(parts.identity, parts.people, assertion)
            hold = decide_hold(parts.services, connection_id, digest, approve=_approval(request), actor=actor)
            parts.services.queue.request_run(RunKind.FULL)
            return _hold(hold)
    raise NotFound(f"There is nothing at {request.path}.")


def _may_read(parts: Administration, assertion: str) -> None:
    role_of(parts.people, parts.identity.address(assertion))


def _approval(request: flask.Request) -> bool:
    body = request.get_json(silent=True)
    decision = body.get("decision") if isinstance(body, dict) else None
    if decision not in ("approve", "reject"):
        raise BadInput("decision", f"{decision!r} is not a decision", 'Send {"decision": "approve"} or "reject".')
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
