"""What administrators decided about accounts that nobody provisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from autoprovisioning.domain.adoption import Confirmed
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.locks import Locks
from autoprovisioning.domain.unprovisioned import Ignored, Report

Pair = tuple[str, str]  # directory id, SCIM id


class Adoptions(Protocol):
    """Whose accounts are whose, as administrators confirmed: pairs of directory id and SCIM id, never withdrawn."""

    def confirm(self, connection_id: str, pairs: Sequence[Pair], by: str, at: datetime, told: Event) -> None:
        """Add pairs, each kept once, and their line in the audit: nothing is confirmed without one."""

    def confirmed(self, connection_id: str) -> Confirmed:
        """Return every pair of the connection."""


class UnprovisionedAccounts(Protocol):
    """The active accounts of a node that no roster entry holds, as the last drift run found them."""

    def put(self, connection_id: str, report: Report) -> None:
        """Store a report in place of the one before."""

    def get(self, connection_id: str) -> Report | None:
        """Read it; None if Keeper was not listed yet."""

    def ignored(self, connection_id: str) -> Mapping[str, Ignored]:
        """Return the accounts that are ignored by their SCIM ids, listed or not."""

    def ignore(
        self, connection_id: str, edit: Callable[[Mapping[str, Ignored]], Mapping[str, Ignored]], told: Event
    ) -> None:
        """Replace those that are ignored by compare-and-set, with the event; what does not change is not written."""

    def locks(self, connection_id: str) -> Locks:
        """Return the accounts that administrators chose to have locked by their SCIM ids, with what became of each."""

    def change_locks(self, connection_id: str, edit: Callable[[Locks], tuple[Locks, Sequence[Event]]]) -> None:
        """Replace those by compare-and-set, with the events; what does not change is not written, nor are they."""
