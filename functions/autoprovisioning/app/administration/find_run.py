"""Find a run of a connection."""

from __future__ import annotations

from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.errors import NotFound
from autoprovisioning.domain.runs import Run


def existing_run(services: Services, connection: Connection, run_id: str) -> Run:
    """Return a run; raises NotFound, also where it is not kept any more."""
    run = services.runs.get(connection.id, run_id)
    if run is None:
        raise NotFound("There is no such run, or it is not kept any more. Choose one of those listed.")
    return run
