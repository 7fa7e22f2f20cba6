"""What administrators decided about accounts that nobody provisions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from autoprovisioning.domain.adoption import Confirmed
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.unprovisioned import Report

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
