"""The JSON API: a table of operations, and what is made of it."""

from __future__ import annotations

from autoprovisioning.entrypoints.console.api import connections, holds, people
from autoprovisioning.entrypoints.console.api.operations import Operation
from autoprovisioning.entrypoints.console.routing import Route

OPERATIONS: tuple[Operation, ...] = (*people.OPERATIONS, *connections.OPERATIONS, *holds.OPERATIONS)
ROUTES: tuple[Route, ...] = tuple(operation.route() for operation in OPERATIONS)
