"""The entry point that Cloud Scheduler calls and run-requests pushes to: full and drift runs, sweeps, previews."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import flask
import functions_framework
from flask import Response

from autoprovisioning.app.administration.finish_deletions import finish_deletions
from autoprovisioning.app.administration.preview import compute_preview
from autoprovisioning.app.administration.tokens import destroy_retired, destroy_unused
from autoprovisioning.app.administration.vital_signs import log_vital_signs
from autoprovisioning.app.runs.full_runs import reconcile_on_schedule
from autoprovisioning.app.runs.reconcile import reconcile as reconcile_everybody
from autoprovisioning.app.runs.sweep import sweep_if_due, sweep_on_schedule
from autoprovisioning.app.services import Services
from autoprovisioning.bootstrap import channels, process_services, reports
from autoprovisioning.domain.requests import RUN
from autoprovisioning.domain.runs import Run, RunKind
from autoprovisioning.entrypoints.answers import LARGEST_PUSH, answered, body_of, http, only, push
from autoprovisioning.messages import Push, RunRequest, Work, decode_push, decode_run_request

PREVIEW_LIMIT = timedelta(minutes=8)  # Pub/Sub delivers a message again after ten
SWEEP_LIMIT = timedelta(minutes=4)  # no sweep is begun later


@functions_framework.http
def reconcile(request: flask.Request) -> Response:
    """Run what the body asks for: `{"kind": "full" | "drift" | "sweep", "retry_failures": false}`."""
    return answered(request, lambda: _answer(request, body_of(request, LARGEST_PUSH)))


def _answer(request: flask.Request, body: bytes) -> Response:
    if b'"message"' in body:  # Pub/Sub's envelope: what cannot be done is acknowledged, or it would come for ever
        return push(request, lambda: _requested(process_services(), decode_push(body)))

    def act() -> dict[str, Any]:
        only(request, "POST")
        services = process_services()
        asked = decode_run_request(body)
        if asked.work is Work.PREVIEW:
            _preview(services, asked)
            return {"preview": asked.request}
        if asked.kind is RunKind.SWEEP:
            return {"looked_at": _sweep(services)}
        runs = _run(services, asked, scheduled=asked.kind is RunKind.FULL and not asked.retry_failures)
        return {"runs": [{"connection": run.connection_id, "run": run.id, "state": run.state.value} for run in runs]}

    return http(request, act)


def _sweep(services: Services) -> int:
    try:
        finish_deletions(services, channels())
        return sweep_on_schedule(services, services.clock() + SWEEP_LIMIT)
    finally:
        log_vital_signs(services, reports(), channels())  # above all if the sweep fails


def _run(
    services: Services, asked: RunRequest, *, insist: bool = False, request: str = "", scheduled: bool = False
) -> Sequence[Run]:
    finish_deletions(services, channels())
    deadline = services.clock() + services.timings.reconcile_deadline
    if scheduled:
        runs = reconcile_on_schedule(services, deadline)
    else:
        runs = reconcile_everybody(
            services, asked.kind, deadline, retry_failures=asked.retry_failures, insist=insist, request=request
        )
    destroy_retired(services)
    if asked.kind is RunKind.DRIFT:  # hourly: cleans up after interrupted set-ups and token switches
        destroy_unused(services)
    return runs


def _preview(services: Services, asked: RunRequest) -> None:
    compute_preview(services, asked.connection, asked.request, services.clock() + PREVIEW_LIMIT)


def _requested(services: Services, message: Push) -> None:
    """Compute the requested preview, or run because somebody changed something, or wants a run.

    Raises:
        Busy: a run is in progress that may not have seen the change; deliver the request again. A request too old for
            that is left to the schedule, and whoever asked has been told so: no run is opened for it.
    """
    asked = decode_run_request(message.data)
    if asked.work is Work.PREVIEW:
        _preview(services, asked)
        return
    if asked.kind is RunKind.SWEEP:
        sweep_if_due(services, services.clock() + SWEEP_LIMIT)
        return
    now = services.clock()
    timely = now - message.published(now) < RUN.patience
    _run(services, asked, insist=timely, request=asked.request if timely else "")
