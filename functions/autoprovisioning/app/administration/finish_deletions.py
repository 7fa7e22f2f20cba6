"""The end of a configuration that is being deleted, once no run is in progress and no change for it in flight."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime

from autoprovisioning.app.administration.tokens import in_use
from autoprovisioning.app.notifications.renew_watch import stop
from autoprovisioning.app.ports.channels import Channels
from autoprovisioning.app.runs.lease import leased
from autoprovisioning.app.runs.reconcile import LEASE
from autoprovisioning.app.services import Services
from autoprovisioning.app.unforeseen import unforeseen
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.errors import ConfigurationRefused, ProvisioningError
from autoprovisioning.domain.events import Actor, configured
from autoprovisioning.domain.runs import RunState

log = logging.getLogger(__name__)


def finish_deletions(services: Services, channels: Channels) -> None:
    """Destroy the tokens of configurations that are being deleted, forget their rosters, record it.

    With the last connection the notification channels are stopped. One with work in flight is left to the next run.
    """
    for connection in services.connections.all():
        if connection.state is State.DELETING:
            try:
                _finish(services, channels, connection)
            except ConfigurationRefused as error:
                told = {"alert": error.code, "connection": connection.id}
                log.error("A configuration cannot be deleted: %s", error, extra={"json_fields": told})
            except ProvisioningError as error:
                log.warning("A configuration could not be deleted yet: %s", error)
            except Exception as error:  # noqa: BLE001 - it concerns one connection: the runs of the others go on
                unforeseen(error)


def _finish(services: Services, channels: Channels, connection: Connection) -> None:
    """Finish a deletion; two that do so at once record it once. Its tokens change no more.

    Meanwhile no run is planned: a record that is just being stored would stay behind.
    """
    now, timings = services.clock(), services.timings
    with leased(services, LEASE, timings.reconcile_lease, now + timings.reconcile_limit) as fence:
        if fence is None or _in_flight_until(services, connection, now) > now:
            log.info("A configuration is deleted once the run and the changes in flight for it have ended")
            return
        _destroy_tokens(services, connection)
        _stop_channels(services, channels, connection)
        # Recorded first: after the purge there is nothing left to finish.
        deleted = replace(
            configured(services.stamp(Actor(address="reconcile")), "Deleted the configuration"),
            id=f"{connection.id}-deleted",
        )
        services.audit.record(connection.id, [deleted])
        services.connections.purge(connection.id)


def _destroy_tokens(services: Services, connection: Connection) -> None:
    """Destroy every version of the access token; one that cannot be destroyed keeps none of the others.

    Raises:
        ProvisioningError: why the first of those could not be.
    """
    failed: ProvisioningError | None = None
    for version in filter(None, in_use(connection) | set(services.tokens.stored(connection.id))):
        try:
            services.tokens.destroy(connection.id, version)
        except ProvisioningError as error:
            failed = failed or error
    if failed is not None:
        raise failed


def _stop_channels(services: Services, channels: Channels, gone: Connection) -> None:
    """Stop the customer's notification channels if no other connection needs them.

    One that cannot be stopped does not block the deletion: `renew_watch` tries again.
    """
    if any(other.id != gone.id and other.state is not State.DELETING for other in services.connections.all()):
        return
    for channel in channels.all():
        if channel.address:
            stop(services.directory, channels, channel)
        else:
            channels.remove(channel.id)


def _in_flight_until(services: Services, connection: Connection, now: datetime) -> datetime:
    """Return when the last mark will have run out, and whoever may be at work for a run, its lease lost or not."""
    roster, timings = services.roster.load(connection), services.timings
    ends = [entry.mark.until for entry in roster.values() if entry.mark is not None]
    limits = {RunState.OBSERVING: timings.reconcile_limit, RunState.PLANNED: timings.batch_mark}
    ends += [(run.last_progress or run.started) + limits[run.state] for run in services.runs.open(connection.id)]
    return max(ends, default=now)
