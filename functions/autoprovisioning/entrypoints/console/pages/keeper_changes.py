"""What somebody else changed in Keeper, and what is done about it."""

from __future__ import annotations

from flask import Response

from autoprovisioning.entrypoints.console.pages.frame import get, page_number, show_of, sought
from autoprovisioning.entrypoints.console.routing import Call, existing

ROWS = 100
ONE = "/connections/<id:connection_id>/keeper-changes"


def show_changes(call: Call, connection_id: str) -> Response:
    """List them, all or those that one run found."""
    connection, run_id = existing(call, connection_id), sought(call.request.args.get("run"))
    known = call.parts.services.keeper_changes.get(connection.id)
    changes = [change for change in known if run_id in ("", change.run_id)]
    pages = max(1, -(-len(changes) // ROWS))
    number = page_number(call, pages)
    return show_of(
        call,
        connection,
        "keeper_changes.html",
        crumbs=[(f"/connections/{connection.id}/keeper-changes", "Changed in Keeper")],
        changes=changes[(number - 1) * ROWS : number * ROWS],
        run_id=run_id,
        number=number,
        pages=pages,
    )


ROUTES = (get(ONE, show_changes),)
