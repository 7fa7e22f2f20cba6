"""Pub/Sub: the topics directory-changes, planned-changes and run-requests."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as OutOfTime
from datetime import timedelta

from google.api_core import exceptions
from google.cloud import pubsub_v1  # type: ignore[attr-defined]

from autoprovisioning.domain.errors import Transient
from autoprovisioning.domain.requests import AnyRequest
from autoprovisioning.domain.runs import Batch, Look, RunKind
from autoprovisioning.messages import RunRequest, Work, encode_batch, encode_look, encode_run_request

AT_ONCE = 20  # fewer messages than this go out without waiting for company
BYTES_UNDER_WAY = 4 * 1024 * 1024  # a run of 100,000 creations is 80 MB of messages: they are encoded as they go out


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
        self._publish(self._runs, [encode_run_request(RunRequest(kind=kind, retry_failures=retry_failures))])

    def request_work(self, request: AnyRequest) -> None:
        """Ask `reconcile` to take up what was asked for."""
        named = RunRequest(work=Work(request.kind.name), connection=request.connection_id, request=request.id)
        self._publish(self._runs, [encode_run_request(named)])

    def _publish(self, topic: str, messages: Iterable[bytes]) -> None:
        under_way: deque[tuple[Future[str], int]] = deque()  # a future keeps its message alive
        size = 0
        for data in messages:
            while under_way and size + len(data) > BYTES_UNDER_WAY:
                size -= self._await(*under_way.popleft())
            under_way.append((self._publisher.publish(topic, data, timeout=self._seconds), len(data)))
            size += len(data)
        while under_way:
            self._await(*under_way.popleft())

    def _await(self, future: Future[str], size: int) -> int:
        """Wait until the service has accepted a message; returns its size."""
        try:
            future.result(timeout=self._seconds)
        except (exceptions.GoogleAPICallError, exceptions.RetryError, OutOfTime) as error:
            raise Transient(f"Pub/Sub did not accept a message ({type(error).__name__})", retry_after=5) from error
        return size
