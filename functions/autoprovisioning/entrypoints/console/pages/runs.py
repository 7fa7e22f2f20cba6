"""Runs: the list of them, each on its page, and how far the one under way is."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Response

from autoprovisioning.app.administration.find_run import existing_run
from autoprovisioning.domain.event_search import Filters
from autoprovisioning.domain.events import EventName
from autoprovisioning.domain.sentences import sentence
from autoprovisioning.entrypoints.console.pages.frame import get, show, show_of
from autoprovisioning.entrypoints.console.routing import Call, existing

LINES = 50
ALL = "/connections/<id:connection_id>/runs"


def list_runs(call: Call, connection_id: str) -> Response:
    """List the runs."""
    connection = existing(call, connection_id)
    page = call.parts.reports.runs(connection.id, call.request.args.get("cursor", ""), LINES)
    older = urlencode({"cursor": page.cursor}) if page.cursor else ""
    crumbs = [(call.request.path, "Runs")]
    return show_of(call, connection, "runs.html", crumbs=crumbs, runs=page.items, older=older)


def show_run(call: Call, connection_id: str, run_id: str) -> Response:
    """Show a run: what it set out to do, what became of it, and who failed."""
    connection = existing(call, connection_id)
    run = existing_run(call.parts.services, connection, run_id)
    failed = Filters(names=[EventName.FAILED], actor=f"run {run.id}")
    page = call.parts.reports.events(connection.id, failed, call.request.args.get("cursor", ""), LINES)
    return show_of(
        call,
        connection,
        "run.html",
        crumbs=[(f"/connections/{connection.id}/runs", "Runs"), (call.request.path, "Run")],
        run=run,
        failures=[(event, sentence(event)) for event in page.items],
        older=urlencode({"cursor": page.cursor}) if page.cursor else "",
        refresh=0 if run.ended else 5,
    )


def progress(call: Call, connection_id: str, run_id: str) -> Response:
    """Return how far a run is, as the part of a page that asks for it again until the run has ended."""
    connection = existing(call, connection_id)
    run = existing_run(call.parts.services, connection, run_id)
    return show(call, "_progress.html", home=f"/connections/{connection.id}", run=run)


ROUTES = (
    get(ALL, list_runs),
    get(f"{ALL}/<id:run_id>", show_run),
    get(f"{ALL}/<id:run_id>/progress", progress),
)
