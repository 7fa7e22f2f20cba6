"""Health: how a connection's work is going, and how to fix what is wrong."""

from __future__ import annotations

from flask import Response

from autoprovisioning.app.administration.health import health
from autoprovisioning.entrypoints.console.pages.apps import reauthorize_address
from autoprovisioning.entrypoints.console.pages.frame import get, show_of
from autoprovisioning.entrypoints.console.routing import Call, existing

RUNS = 10
FOLLOWED = 10  # reloads of the page for a requested run that has not begun


def show_health(call: Call, connection_id: str) -> Response:
    """Show how it is going; a running reconciliation is followed."""
    connection, parts = existing(call, connection_id), call.parts
    follow = _number(call.request.args.get("follow", ""))
    seen = health(parts.services, parts.reports, parts.channels, connection)
    return show_of(
        call,
        connection,
        "health.html",
        crumbs=[(call.request.path, "Health")],
        health=seen,
        held=seen.plans_held,
        failing=seen.failing,
        runs=parts.reports.runs(connection.id, "", RUNS).items,
        reauthorize=reauthorize_address(call, connection),
        following=seen.running is not None or follow > 0,
        next_look=f"{call.request.path}?follow={2 if seen.running is not None else follow - 1}",
        refresh=5 if seen.running is not None or follow > 0 else 0,
    )


def _number(text: str) -> int:
    return min(int(text), FOLLOWED) if text.isascii() and text.isdigit() and len(text) < 3 else 0


ROUTES = (get("/connections/<id:connection_id>/health", show_health),)
