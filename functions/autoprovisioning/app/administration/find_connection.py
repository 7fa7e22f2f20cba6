"""Find the connection that somebody names, in the state that their request needs."""

from __future__ import annotations

from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.errors import NotFound, Stale


def unknown() -> NotFound:
    """Return the error that says that there is no such connection; it does not repeat what may be a pasted token."""
    return NotFound("There is no such connection: its configuration may have been deleted. Choose one of those listed.")


def existing(services: Services, connection_id: str, edition: int | None = None) -> Connection:
    """Read a connection; raises NotFound, and Stale if the given `edition` is no longer the current one."""
    connection = services.connections.get(connection_id)
    if connection is None:
        raise unknown()
    if edition is not None:
        check_edition(connection, edition)
    return connection


def staying(services: Services, connection_id: str, edition: int | None = None) -> Connection:
    """Read a connection that is not being deleted; raises NotFound and Stale."""
    connection = existing(services, connection_id, edition)
    check_staying(connection)
    return connection


def audited(services: Services, connection_id: str) -> str:
    """Return the name of a connection that exists or existed, since its audit stays; raises NotFound."""
    for gone in services.connections.deleted():
        if gone.id == connection_id:
            return f"{gone.name or gone.id} (deleted)"
    return existing(services, connection_id).settings.name


def check_staying(connection: Connection) -> None:
    """Refuse a connection that is being deleted (NotFound)."""
    if connection.state is State.DELETING:
        raise NotFound(f"The connection {connection.id!r} is being deleted. Set up another one.")


def check_edition(connection: Connection, edition: int) -> None:
    """Refuse a connection that somebody else changed since `edition` (Stale)."""
    if connection.edition != edition:
        raise Stale("Another administrator has changed this connection. Reload it and make your change again.")
