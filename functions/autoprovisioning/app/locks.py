"""Whose lock it is: one that any roster of ours records is ours, until the account was seen active since."""

from __future__ import annotations

from autoprovisioning.app.services import Services
from autoprovisioning.domain.changes import locked_by_us
from autoprovisioning.domain.connections import Connection


def recorded_elsewhere(services: Services, connection: Connection, user_id: str) -> bool:
    """Say whether the roster of another connection records that we locked the user's account."""
    others = (other for other in services.connections.all() if other.id != connection.id and other.shards)
    entries = (services.roster.entry(other, user_id) for other in others)
    return any(entry is not None and locked_by_us(entry) for entry in entries)
