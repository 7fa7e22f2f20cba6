"""Who edited a connection's settings, and what they changed: for an administrator whose own edit came too late."""

from __future__ import annotations

from autoprovisioning.app.ports.reports import EventReports
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.event_search import Filters
from autoprovisioning.domain.events import EDITS, Event, EventName

MOST_EDITS = 10  # more are not told
READ = 50  # events: among an administrator's edits there are also decisions, and turning on and off


def edits_since(reports: EventReports, connection: Connection, edition: int) -> tuple[Event, ...]:
    """Return the latest edits after an edition, oldest first; each made the edition grow by one."""
    number = min(connection.edition - edition, MOST_EDITS)
    if edition < 0 or number <= 0:
        return ()
    return tuple(reversed(latest_edits(reports, connection, READ)[:number]))


def latest_edits(reports: EventReports, connection: Connection, read: int) -> list[Event]:
    """Return the edits, those of a pilot's people included, among so many of the latest events of administrators.

    The newest comes first.
    """
    configured = reports.events(connection.id, Filters(names=[EventName.CONFIGURED]), "", read).items
    return [event for event in configured if event.reason in EDITS]
