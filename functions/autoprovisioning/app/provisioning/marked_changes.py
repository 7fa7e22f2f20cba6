"""Take marks away again: nothing was sent for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.app.services import Services
from autoprovisioning.domain.changes import Change, unmarked
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Entry


def unmark(services: Services, connection: Connection, changes: Sequence[Change]) -> None:
    """Take the marks of these changes away, where their entries still hold them."""
    ids = {change.user_id: change.id for change in changes}

    def edit(part: Sequence[str], entries: Mapping[str, Entry]) -> tuple[Edit, None]:
        held = [user_id for user_id in part if user_id in entries and _mark_of(entries[user_id]) == ids[user_id]]
        return Edit(entries={user_id: unmarked(entries[user_id]) for user_id in held}), None

    services.roster.commit_in_parts(connection, ids, edit)


def _mark_of(entry: Entry) -> str:
    return entry.mark.change_id if entry.mark is not None else ""
