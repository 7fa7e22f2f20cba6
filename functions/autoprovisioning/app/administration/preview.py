"""Preview what a connection would do with certain settings, before they are saved or it is turned on.

An administrator asks for it; `reconcile` computes it, since it may read the access token; then it may be saved.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime

from autoprovisioning.app.administration.configure import as_edited, edit, needs_token
from autoprovisioning.app.administration.preview_plan import forecast
from autoprovisioning.app.administration.requests import ask, begin, existing, fail, find, finish, hinder
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.errors import ProvisioningError, Transient
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.requests import PREVIEW, Forecast, Preview, Proposal, RequestState, Would
from autoprovisioning.domain.settings import Settings

log = logging.getLogger(__name__)


def ask_preview(
    services: Services,
    connection_id: str,
    edition: int,
    settings: Settings,
    actor: Actor,
    *,
    key: str = "",
    everybody: bool = False,
) -> Preview:
    """Ask for a preview of these settings to be computed.

    Whoever asks again while it waits, or is computed, gets the same one: each reads the whole directory. That of a
    pilot is of the people chosen, or of `everybody`: what turning on for everybody would do.

    Raises:
        NotFound, Stale: no such connection, or an administrator changed it since `edition`.
        BadInput: naming the field that an edit would be refused for, or "token" if there is none yet.
        Transient: it could not be asked for.
    """
    wanted = as_edited(services, connection_id, settings, edition)
    needs_token(wanted)
    # Units by id, texts trimmed: what is saved is what was previewed, even if a path becomes another unit's.
    settings = replace(
        settings,
        name=wanted.settings.name,
        endpoint=wanted.settings.endpoint,
        scope=replace(settings.scope, org_units=wanted.settings.scope.org_units),
    )
    proposal = Proposal(edition=edition, settings=settings, everybody=everybody)
    publish = services.queue.request_work
    return ask(services, PREVIEW, connection_id, subject=proposal, actor=actor, publish=publish, key=key)


def save_preview(services: Services, connection_id: str, preview_id: str, actor: Actor) -> Connection:
    """Save the settings of a preview.

    Raises:
        NotFound: there is no such preview (any more), or no such connection.
        Stale, BadInput: as `configure.edit` raises them.
    """
    proposal = existing(services, PREVIEW, connection_id, preview_id).subject
    return edit(services, connection_id, proposal.edition, proposal.settings, actor)


def forecast_of(services: Services, connection: Connection, preview_id: str) -> Forecast | None:
    """Return what turning on for everybody does by a preview of the current settings; None if there is no such one."""
    preview = find(services, PREVIEW, connection.id, preview_id) if preview_id else None
    if preview is None or preview.state is not RequestState.DONE or preview.subject.settings != connection.settings:
        return None
    return preview.result if connection.pilot is None or preview.subject.everybody else None


def would_create(services: Services, connection: Connection, preview_id: str) -> int | None:
    """Return how many accounts a preview of the current settings would create; None if there is no such preview."""
    forecast = forecast_of(services, connection, preview_id)
    return forecast.counts.get(Would.CREATE.value, 0) if forecast is not None else None


def compute_preview(services: Services, connection_id: str, preview_id: str, deadline: datetime) -> None:
    """Compute a preview that waits, or whose computation was cut short; any other is finished.

    A connection that was edited meanwhile is previewed nevertheless: only saving is refused then.

    Raises:
        Transient: ask again. A preview for which nobody waits any longer fails instead, with what was wrong last.
    """
    preview = find(services, PREVIEW, connection_id, preview_id)
    if preview is None or not preview.under_way or not _exists(services, connection_id):
        return
    if not preview.expected(services.clock()):
        problem = preview.problem or "It took too long."
        _fail(services, preview, f"It could not be computed in time. {problem}")
        return
    running = begin(services, preview)
    try:
        told, lines = forecast(services, running, deadline)
    except Transient as error:
        hinder(services, running, str(error))
        raise
    except ProvisioningError as error:
        _fail(services, running, str(error))
        return
    current = find(services, PREVIEW, connection_id, preview_id)
    if current is None or not current.under_way:
        return  # another delivery was faster, and what an administrator has seen stays
    if _exists(services, connection_id):  # nothing would delete what is stored below a deleted one
        services.preview_lines.put(running, lines)  # first: one that is done is complete
        finish(services, running, told)


def _exists(services: Services, connection_id: str) -> bool:
    connection = services.connections.get(connection_id)
    return connection is not None and connection.state is not State.DELETING


def _fail(services: Services, preview: Preview, problem: str) -> None:
    log.warning("A preview failed: %s", problem, extra={"json_fields": {"connection": preview.connection_id}})
    fail(services, preview, problem)
