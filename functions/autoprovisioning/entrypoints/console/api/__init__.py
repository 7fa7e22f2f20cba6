"""The JSON API: a table of operations, from which its routes and its description are made."""

from __future__ import annotations

from autoprovisioning.entrypoints.console.api import (
    activity,
    connections,
    holds,
    keeper_changes,
    overview,
    people,
    previews,
    review,
    teams,
    unprovisioned,
    users,
    working,
)
from autoprovisioning.entrypoints.console.api.openapi import describing
from autoprovisioning.entrypoints.console.api.operations import Operation
from autoprovisioning.entrypoints.console.routing import Route

OPERATIONS: tuple[Operation, ...] = describing(
    (
        *people.OPERATIONS,
        *connections.OPERATIONS,
        *previews.OPERATIONS,
        *activity.OPERATIONS,
        *holds.OPERATIONS,
        *unprovisioned.OPERATIONS,
        *keeper_changes.OPERATIONS,
        *teams.OPERATIONS,
        *overview.OPERATIONS,
        *working.OPERATIONS,
        *users.OPERATIONS,
        *review.OPERATIONS,
    )
)
ROUTES: tuple[Route, ...] = tuple(operation.route() for operation in OPERATIONS)
