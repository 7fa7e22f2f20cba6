"""Keeper access tokens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol


class Tokens(Protocol):
    """Keeper access tokens in Secret Manager; versions are always addressed by number."""

    def read(self, connection_id: str, version: str) -> str:
        """Return a token; raises ConfigurationRefused if the version is disabled, destroyed or missing."""

    def add(self, connection_id: str, token: str) -> str:
        """Store a token (crc32c checked), and return the number of its version; it is not read back."""

    def disable(self, connection_id: str, version: str) -> None:
        """Disable a version; one that is destroyed already counts as done."""

    def destroy(self, connection_id: str, version: str) -> None:
        """Destroy a version; one that is destroyed already counts as done."""

    def stored(self, connection_id: str) -> Mapping[str, datetime]:
        """Return the versions that are not destroyed, each with the time at which it was stored."""
