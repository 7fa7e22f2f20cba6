"""What somebody else changed in Keeper, and what is done about it."""

from __future__ import annotations

from flask import Response

from autoprovisioning.entrypoints.console.pages.frame import get, part_of, show_of, sought
from autoprovisioning.entrypoints.console.routing import Call, existing

ROWS = 100
ONE = "/connections/<id:connection_id>/keeper-changes"


def show_changes(call: Call, connection_id: str) -> Response:
    """List them, all or those that one run found."""
    connection, run_id = existing(call, connection_id), sought(call.request.args.get("run"))
    known = call.parts.services.keeper_changes.get(connection.id)
    changes = [change for change in known if run_id in ("", change.run_id)]
    part = part_of(call, changes, ROWS)
    return show_of(
        call,
        connection,
        "keeper_changes.html",
        crumbs=[(f"/connections/{connection.id}/keeper-changes", "Changed in Keeper")],
        changes=part.rows,
        run_id=run_id,
        number=part.number,
        pages=part.pages,
    )


ROUTES = (get(ONE, show_changes),)
