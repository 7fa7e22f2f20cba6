"""Log how every connection is doing, every few minutes: what alerts and dashboard are made of.

Each concern that Health shows is logged again for as long as it lasts, so that an alert ends by itself when its cause
does, and an alert that stays silent means that all is well only while the vital signs keep coming.
"""

from __future__ import annotations

import logging
from datetime import datetime

from autoprovisioning.app.administration.health import Health, health
from autoprovisioning.app.ports.channels import Channels
from autoprovisioning.app.ports.reports import Reports
from autoprovisioning.app.provisioning.serving import served
from autoprovisioning.app.services import Services
from autoprovisioning.app.unforeseen import unforeseen
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.errors import ProvisioningError

log = logging.getLogger(__name__)


def log_vital_signs(services: Services, reports: Reports, channels: Channels) -> None:
    """Log one line that they were taken, one for each connection that is on or paused, and one a concern."""
    serving = served(services)
    for connection in serving:
        try:
            _log_signs(connection, health(services, reports, channels, connection))
        except ProvisioningError:
            raise
        except Exception as error:  # noqa: BLE001 - it concerns one connection: the others are still logged
            unforeseen(error)
    log.info("Vital signs taken", extra={"json_fields": {"vital_signs_taken": len(serving)}})


def _log_signs(connection: Connection, seen: Health) -> None:
    log.info("Vital signs", extra={"json_fields": _signs(connection, seen)})
    for concern in seen.concerns:
        if concern.alert:  # without the console's text: run notes may name users
            fields = {"alert": concern.alert, "connection": connection.id}
            log.warning("%s: %s", concern.alert, concern.mend, extra={"json_fields": fields})


def _signs(connection: Connection, seen: Health) -> dict[str, object]:
    finished = seen.last_success.finished if seen.last_success is not None else None
    return {
        "vital_signs_of": connection.id,
        "state": connection.state_word,
        "since_success_seconds": _since(finished, seen.at),
        "oldest_pending_seconds": _since(seen.oldest_pending, seen.at) or 0,
        "waiting": seen.waiting.count,
        "plans_held": seen.plans_held,
        "hour_changes": seen.hour.attempted,
        "hour_failed": seen.hour.came_to_nothing,
        "failing": seen.failing,
    }


def _since(then: datetime | None, now: datetime) -> float | None:
    return round((now - then).total_seconds(), 3) if then is not None else None
