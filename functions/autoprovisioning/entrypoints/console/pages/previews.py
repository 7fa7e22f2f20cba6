"""Previews: asked for, watched while they are computed, then saved or turned on."""

from __future__ import annotations

from datetime import timedelta

from flask import Response

from autoprovisioning.app.configure import settings_of
from autoprovisioning.app.preview import ask_preview, save_preview
from autoprovisioning.app.reports import Page, Preview, PreviewState, Would
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import BadInput, NotFound
from autoprovisioning.entrypoints.console.pages.frame import existing, get, go, post, show_of
from autoprovisioning.entrypoints.console.pages.summary import differences
from autoprovisioning.entrypoints.console.routing import Call

LINES = 50
FOLLOWED = timedelta(minutes=15)  # longer than a preview is tried
ONE = "/connections/<id:connection_id>/previews/<id:preview_id>"
TOLD: dict[Would, str] = {
    Would.DELETE: "Deleted",
    Would.SUSPEND: "Suspended",
    Would.UNSUSPEND: "Reactivated",
    Would.CREATE: "Created",
    Would.ADOPT: "Adopted",
    Would.UPDATE: "Updated",
    Would.FAIL: "Failing",
    Would.WAIT: "Timers",
}


def ask(call: Call, connection_id: str) -> Response:
    """Ask what the settings as they stand would do."""
    connection = existing(call, connection_id)
    parts, wanted = call.parts, settings_of(connection)
    preview = ask_preview(parts.services, parts.previews, connection_id, connection.edition, wanted, call.actor)
    return go(f"/connections/{connection_id}/previews/{preview.id}")


def show_preview(call: Call, connection_id: str, preview_id: str) -> Response:
    """Show how far it is, then what would happen to whom."""
    connection, preview = existing(call, connection_id), _existing(call, connection_id, preview_id)
    would = _would(call.request.args.get("kind", ""))
    cursor = call.request.args.get("cursor", "")
    done = preview.state is PreviewState.DONE
    following = preview.computing and call.parts.services.clock() - preview.asked_at < FOLLOWED
    return show_of(
        call,
        connection,
        "preview.html",
        crumbs=[(f"/connections/{connection_id}/previews/{preview_id}", "Preview")],
        preview=preview,
        would=would,
        told=TOLD,
        lines=call.parts.previews.lines(preview, would, cursor, LINES) if done else Page(),
        computing=preview.computing,
        following=following,
        refresh=3 if following else 0,
        outdated=preview.edition != connection.edition,
        changed=preview.settings != settings_of(connection),
        differences=differences(call.parts.services, connection, preview.settings) if done else [],
        can_turn_on=connection.state is State.OFF,
    )


def _existing(call: Call, connection_id: str, preview_id: str) -> Preview:
    preview = call.parts.previews.get(connection_id, preview_id)
    if preview is None:
        raise NotFound("There is no such preview: it may have expired. Ask for another one.")
    return preview


def _would(text: str) -> Would | None:
    try:
        return Would(text) if text else None
    except ValueError:
        raise BadInput("kind", "it is not one of those offered", "Choose one of the list.") from None


def save(call: Call, connection_id: str, preview_id: str) -> Response:
    """Save the settings that were previewed."""
    saved = save_preview(call.parts.services, call.parts.previews, connection_id, preview_id, call.actor)
    return go(f"/connections/{connection_id}", "saved-run" if saved.state is State.ON else "saved")


ROUTES = (
    post("/connections/<id:connection_id>/previews", ask),
    get(ONE, show_preview),
    post(ONE, save),
)
