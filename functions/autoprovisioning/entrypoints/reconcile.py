"""The door that Cloud Scheduler calls, and run-requests pushes to: full run, drift run or scope sweep."""

from __future__ import annotations

from typing import Any

import flask
import functions_framework
from flask import Response

from autoprovisioning.app.reconcile import reconcile as reconcile_everybody
from autoprovisioning.app.sweep import sweep
from autoprovisioning.app.tokens import destroy_retired
from autoprovisioning.bootstrap import services
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.entrypoints.answers import http, only, push
from autoprovisioning.messages import RunRequest, decode_run_request


@functions_framework.http
def reconcile(request: flask.Request) -> Response:
    """Run what the body asks for: `{"kind": "full" | "drift" | "sweep", "retry_failures": false}`."""
    body = request.get_data()
    if b'"message"' in body:  # Pub/Sub's envelope: what cannot be done is acknowledged, or it would come for ever
        return push(request, lambda: _ignored(_run(decode_run_request(body))))

    def act() -> dict[str, Any]:
        only(request, "POST")
        return _run(decode_run_request(body))

    return http(act)


def _run(asked: RunRequest) -> dict[str, Any]:
    desk = services()
    if asked.kind is RunKind.SWEEP:
        return {"looked_at": sweep(desk)}
    deadline = desk.clock() + desk.timings.reconcile_deadline
    runs = reconcile_everybody(desk, asked.kind, deadline, retry_failures=asked.retry_failures)
    destroy_retired(desk)
    return {"runs": [{"connection": run.connection_id, "run": run.id, "state": run.state.value} for run in runs]}


def _ignored(_result: object) -> None:
    """Pub/Sub has no use for a result."""
