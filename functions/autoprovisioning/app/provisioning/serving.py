"""Which connections are served now, and whether one still is as it was read."""

from __future__ import annotations

from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import SERVING, Connection


def served(services: Services) -> list[Connection]:
    """Read the connections that are served, in their order."""
    return [connection for connection in services.connections.all() if connection.state in SERVING]


def as_it_was(services: Services, read: Connection) -> bool:
    """Say whether no administrator edited the connection, turned it off or deleted it since it was read."""
    current = services.connections.get(read.id)
    return current is not None and current.state in SERVING and current.edition == read.edition
