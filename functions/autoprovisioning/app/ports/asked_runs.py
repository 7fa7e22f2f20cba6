"""The runs that administrators asked for."""

from __future__ import annotations

from typing import Protocol

from autoprovisioning.domain.runs import AskedRun


class AskedRuns(Protocol):
    """The runs that administrators asked for; they expire by themselves."""

    def put(self, asked: AskedRun) -> None:
        """Store that a run was asked for."""

    def get(self, connection_id: str, request_id: str) -> AskedRun | None:
        """Read that; one that has expired may be there for some time."""
