"""Open a connection's part of a reconciliation: settle what an earlier run left, start the record, try the token."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

from autoprovisioning.app.provisioning.target import Keeper
from autoprovisioning.app.runs.close_run import LEFT_BY_EDIT, NOTE_LIMIT, close_if_finished, close_unfinished, tell
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection, proving
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.errors import (
    AuthorizationRefused,
    Permanent,
    ProvisioningError,
    Throttled,
    Transient,
)
from autoprovisioning.domain.keeper_listing import Listing
from autoprovisioning.domain.memberships import Memberships
from autoprovisioning.domain.plan import Planner
from autoprovisioning.domain.runs import Run, RunKind, RunState

log = logging.getLogger(__name__)

UNLISTED = (Transient, Permanent, AuthorizationRefused)  # how a listing of Keeper fails


@dataclass(slots=True, kw_only=True)
class Side:
    """One connection's part of the reconciliation."""

    connection: Connection
    run: Run
    keeper: Keeper
    roster: dict[str, Entry] = field(default_factory=dict)
    found: Listing | None = None
    listed: bool = True  # False: a drift run whose listing of Keeper broke off
    notes: list[str] = field(default_factory=list)  # what the run's record will say about Keeper
    planner: Planner | None = None
    memberships: Memberships | None = None  # of the teams, in a full run of a connection that has chosen groups

    def meets_known(self) -> bool:
        """Say whether Keeper was listed, and lists an account that proves the node to be the connection's."""
        found = self.found
        return found is not None and any(entry.scim_id in found for entry in proving(self.connection, self.roster))


def earlier_run(services: Services, connection: Connection) -> Run | None:
    """Settle what an earlier run left: return one that is still being applied, close the others.

    One that was planned for other settings is closed too: its batches are dropped.
    """
    for run in services.runs.open(connection.id):
        closed = close_if_finished(services, run)
        if closed.state is not RunState.PLANNED:
            if closed.state is RunState.OBSERVING:
                close_unfinished(services, closed)  # its planner is gone, since we hold the lease
            continue
        if closed.edition != connection.edition:
            close_unfinished(services, closed, LEFT_BY_EDIT)
            continue
        progress = closed.last_progress or closed.started
        if services.clock() - progress < services.timings.batch_mark:
            log.info("An earlier run is still being applied")
            return closed
        close_unfinished(services, closed)
    return None


def open_side(services: Services, connection: Connection, kind: RunKind, fence: int, request: str = "") -> Side:
    """Start a run's record, before anything is read, and make sure that Keeper accepts the token."""
    now, edition = services.clock(), connection.edition
    run = Run(
        id=services.new_id(),
        connection_id=connection.id,
        kind=kind,
        fence=fence,
        started=now,
        edition=edition,
        request=request,
    )
    services.runs.put(run)
    side = Side(connection=connection, run=run, keeper=Keeper(services, connection))
    try:
        side.keeper.prove()
        side.roster = services.roster.load(connection)  # before Keeper: decisions made meanwhile must be newer
        if kind is RunKind.DRIFT:
            _list(side)
    except ProvisioningError as error:
        if isinstance(error, Throttled):
            side.keeper.throttle(error)
        refuse(services, side, str(error))
    return side


def _list(side: Side) -> None:
    """List Keeper for a drift run; if that fails it becomes a full run, which needs no listing.

    Raises:
        Throttled: Keeper asks for a wait.
    """
    try:
        listed = (account for page in side.keeper.accounts().list() for account in page)
        side.found = Listing(listed, side.roster)
        _list_teams(side, side.found)
    except Throttled:
        raise
    except UNLISTED as error:
        log.warning("Keeper could not be listed: %s", type(error).__name__)
        side.listed = not isinstance(error, Transient)  # if listing is refused for good, the run does without
        side.notes.append(f"Keeper could not be listed, so changes made there are not looked for: {error}")


def _list_teams(side: Side, found: Listing) -> None:
    """Ask which teams there are, if accounts lack one that they were in: it may be the team that is gone.

    If that fails it is left to the next drift run.
    """
    if not found.missed_teams(side.roster.values()):
        return
    try:
        found.there = {team.id for team in side.keeper.accounts().teams()}
    except UNLISTED as error:
        if isinstance(error, Throttled):
            side.keeper.throttle(error)
        log.warning("Teams could not be listed: %s", type(error).__name__)


def refuse(services: Services, side: Side, reason: str) -> None:
    """Close a run that could not be planned, with the reason in its record."""
    now = services.clock()
    log.warning(
        "A run could not be planned", extra={"json_fields": {"connection": side.connection.id, "reason": reason}}
    )
    side.run = replace(side.run, state=RunState.REFUSED, finished=now, notes=(reason[:NOTE_LIMIT],))
    services.runs.put(side.run)
    tell(side.run)
