"""Messages between our functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from autoprovisioning.domain.runs import Batch, Look, RunKind


class LookQueue(Protocol):
    """Pub/Sub, as the webhook needs it; returns once the service has accepted everything."""

    def look_again(self, looks: Sequence[Look]) -> None:
        """Publish to directory-changes."""


class Queue(LookQueue, Protocol):
    """Pub/Sub, to publish on."""

    def apply(self, batches: Sequence[Batch]) -> None:
        """Publish to planned-changes."""

    def request_run(self, kind: RunKind, *, retry_failures: bool = False, request: str = "") -> None:
        """Publish to run-requests: reconcile now instead of at the next scheduled time; `request` names an AskedRun."""

    def request_preview(self, connection_id: str, preview_id: str) -> None:
        """Publish to run-requests: compute a preview now."""
