"""Messages between our functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from autoprovisioning.domain.runs import Batch, Look, RunKind

if TYPE_CHECKING:  # the webhook's cold start needs none of it
    from autoprovisioning.domain.requests import AnyRequest


class LookQueue(Protocol):
    """Pub/Sub, as the webhook needs it; returns once the service has accepted everything."""

    def look_again(self, looks: Sequence[Look]) -> None:
        """Publish to directory-changes."""


class Queue(LookQueue, Protocol):
    """Pub/Sub, to publish on."""

    def apply(self, batches: Sequence[Batch]) -> None:
        """Publish to planned-changes."""

    def request_run(self, kind: RunKind, *, retry_failures: bool = False) -> None:
        """Publish to run-requests: reconcile now instead of at the next scheduled time."""

    def request_work(self, request: AnyRequest) -> None:
        """Publish to run-requests: take up a run or a preview that was asked for."""
