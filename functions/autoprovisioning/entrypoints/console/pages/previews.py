"""Previews: requested, watched while they are computed, their adoptions confirmed, then saved or turned on."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from flask import Response

from autoprovisioning.app.administration import requests
from autoprovisioning.app.administration.confirm_adoptions import confirm_adoptions
from autoprovisioning.app.administration.edits import edits_since
from autoprovisioning.app.administration.preview import ask_preview, save_preview
from autoprovisioning.app.ports.reports import Page
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import BadInput, Stale
from autoprovisioning.domain.requests import PREVIEW, Line, RequestState, Would
from autoprovisioning.entrypoints.answers import status_of, told
from autoprovisioning.entrypoints.console.pages.activity import changes
from autoprovisioning.entrypoints.console.pages.frame import form, get, go, post, show_of
from autoprovisioning.entrypoints.console.pages.pilot import as_typed
from autoprovisioning.entrypoints.console.pages.summary import differences
from autoprovisioning.entrypoints.console.routing import Call, existing

LINES = 50
FOLLOWED = timedelta(minutes=15)  # longer than a preview is retried
ONE = "/connections/<id:connection_id>/previews/<id:preview_id>"


def ask(call: Call, connection_id: str) -> Response:
    """Ask what the current settings would do, in a pilot for everybody if that is asked."""
    connection = existing(call, connection_id)
    parts, wanted = call.parts, connection.settings
    everybody = form(call).get("everybody") == "yes"
    preview = ask_preview(parts.services, connection_id, connection.edition, wanted, call.actor, everybody=everybody)
    return go(f"/connections/{connection_id}/previews/{preview.id}")


def show_preview(call: Call, connection_id: str, preview_id: str) -> Response:
    """Show how far it is, then what would happen to whom."""
    return _shown(call, connection_id, preview_id)


def _shown(call: Call, connection_id: str, preview_id: str, error: BadInput | Stale | None = None) -> Response:
    services, connection = call.parts.services, existing(call, connection_id)
    preview = requests.existing(services, PREVIEW, connection_id, preview_id)
    settings = preview.subject.settings
    would = _would(call.request.args.get("kind", ""))
    cursor = call.request.args.get("cursor", "")
    done = preview.state is RequestState.DONE
    lines: Page[Line] = services.preview_lines.page(preview, would, cursor, LINES) if done else Page()
    offered = {line.user_id for line in lines.items if line.would in (Would.DOUBT, Would.CREATE) and line.scim_id}
    following = preview.under_way and services.clock() - preview.asked_at < FOLLOWED
    return show_of(
        call,
        connection,
        "preview.html",
        status_of(error) if error is not None else 200,
        crumbs=[(f"/connections/{connection_id}/previews/{preview_id}", "Preview")],
        preview=preview,
        would=would,
        lines=lines,
        offered=offered,
        confirmed=services.adoptions.confirmed(connection_id) if offered else {},
        error=error,
        computing=preview.under_way,
        following=following,
        refresh=3 if following else 0,
        outdated=preview.subject.edition != connection.edition,
        edits=edits_since(call.parts.reports, connection, preview.subject.edition),
        changes=changes,
        changed=settings != connection.settings,
        differences=differences(services, connection, settings) if done else [],
        as_typed=partial(as_typed, connection),
        can_turn_on=connection.state is State.OFF or (connection.pilot is not None and preview.subject.everybody),
    )


def _would(text: str) -> Would | None:
    try:
        return Would(text) if text else None
    except ValueError:
        raise BadInput("kind", "it is not one of those offered", "Choose one from the list.") from None


def save(call: Call, connection_id: str, preview_id: str) -> Response:
    """Save the settings that were previewed."""
    try:
        saved = save_preview(call.parts.services, connection_id, preview_id, call.actor)
    except Stale as error:  # the page says who changed what, and still shows what was to be saved
        told(error)
        return _shown(call, connection_id, preview_id, error)
    return go(f"/connections/{connection_id}", "saved-run" if saved.state is State.ON else "saved")


def confirm(call: Call, connection_id: str, preview_id: str) -> Response:
    """Confirm the adoptions that were chosen, or all that are in doubt."""
    parts, sent = call.parts, form(call)
    users = None if sent.get("do") == "all" else sent.getlist("user")
    try:
        done = confirm_adoptions(parts.services, connection_id, preview_id, users, call.actor)
    except BadInput as error:
        told(error)
        return _shown(call, connection_id, preview_id, error)
    would = _would(sent.get("kind", ""))
    address = f"/connections/{connection_id}/previews/{preview_id}"
    return go(address, "confirmed-run" if done.run else "confirmed", kind=would.value if would else "")


ROUTES = (
    post("/connections/<id:connection_id>/previews", ask),
    get(ONE, show_preview),
    post(ONE, save),
    post(f"{ONE}/adoptions", confirm),
)
