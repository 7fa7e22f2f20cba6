"""Pub/Sub: the topics directory-changes, planned-changes and run-requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import TimeoutError as OutOfTime
from datetime import timedelta

from google.api_core import exceptions
from google.cloud import pubsub_v1  # type: ignore[attr-defined]

from autoprovisioning.domain.errors import Transient
from autoprovisioning.domain.runs import Batch, Look, RunKind
from autoprovisioning.messages import RunRequest, encode_batch, encode_look, encode_run_request

AT_ONCE = 20  # fewer messages than this go out without waiting for company


class PubSubQueue:
    """The Queue port; PUBSUB_EMULATOR_HOST is honoured by the library."""

    def __init__(self, project: str, looks: str, batches: str, runs: str, timeout: timedelta) -> None:
        settings = pubsub_v1.types.BatchSettings(max_messages=AT_ONCE, max_latency=0.002)
        self._publisher = pubsub_v1.PublisherClient(batch_settings=settings)
        self._looks = self._publisher.topic_path(project, looks)
        self._batches = self._publisher.topic_path(project, batches)
        self._runs = self._publisher.topic_path(project, runs)
        self._seconds = timeout.total_seconds()

    def look_again(self, looks: Sequence[Look]) -> None:
        """Publish one message for each user."""
        self._publish(self._looks, (encode_look(look) for look in looks))

    def apply(self, batches: Sequence[Batch]) -> None:
        """Publish one message for each batch."""
        self._publish(self._batches, (encode_batch(batch) for batch in batches))

    def request_run(self, kind: RunKind, *, retry_failures: bool = False) -> None:
        """Ask `reconcile` to run now."""
        self._publish(self._runs, [encode_run_request(RunRequest(kind, retry_failures))])

    def _publish(self, topic: str, messages: Iterable[bytes]) -> None:
        pending = [self._publisher.publish(topic, data, timeout=self._seconds) for data in messages]
        try:
            for future in pending:
                future.result(timeout=self._seconds)
        except (exceptions.GoogleAPICallError, exceptions.RetryError, OutOfTime) as error:
            raise Transient(f"Pub/Sub did not take a message ({type(error).__name__})", retry_after=5) from error
