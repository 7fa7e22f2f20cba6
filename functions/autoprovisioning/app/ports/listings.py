"""What the last listings showed of the directory's size."""

from __future__ import annotations

from typing import Protocol

from autoprovisioning.domain.listing_parts import Listings


class ListingSizes(Protocol):
    """One value for the whole customer; who stores last is right."""

    def get(self) -> Listings:
        """Return what `put` stored; at first that of a directory without anybody."""

    def put(self, listings: Listings) -> None:
        """Store it in place of what was before."""
