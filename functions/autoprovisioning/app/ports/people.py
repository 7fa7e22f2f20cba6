"""Everybody of a connection at once: what answers who has access now."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.people import Listed, Roll


class People(Protocol):
    """The people of a connection: those on its roster, and those who are entitled to be."""

    def put(
        self, connection: Connection, at: datetime, listed: Mapping[str, Listed], roster: Mapping[str, Entry]
    ) -> None:
        """Keep what a full run read that began at a time: the directory's listing, and before it the whole roster.

        `listed` are those on the roster and the others who are entitled. What has not changed is not written again.
        """

    def read(self, connection: Connection, now: datetime) -> Roll:
        """Return everybody as of some seconds ago at most: what the last full run kept, and the roster's changes since.

        It does not read the whole roster, except before the first full run that kept anything.
        """
