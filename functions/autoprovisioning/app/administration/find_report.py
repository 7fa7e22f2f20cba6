"""Find the report of accounts that nobody provisions."""

from __future__ import annotations

from autoprovisioning.app.services import Services
from autoprovisioning.domain.errors import NotFound
from autoprovisioning.domain.unprovisioned import Report


def existing_report(services: Services, connection_id: str) -> Report:
    """Return what the last drift run found; raises NotFound where none has listed Keeper yet."""
    report = services.unprovisioned.get(connection_id)
    if report is None:
        raise NotFound("Keeper has not been listed yet. A drift run does so every hour.")
    return report
