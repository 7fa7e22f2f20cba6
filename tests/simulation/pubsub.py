"""Pub/Sub with push subscriptions: acknowledged, refused and redelivered, lost, doubled, late, dead in the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from autoprovisioning.domain.errors import ProvisioningError, Transient
from autoprovisioning.domain.requests import AnyRequest
from autoprovisioning.domain.runs import Batch, Look, RunKind
from autoprovisioning.entrypoints.answers import status_of
from infra.gcp.description import DEPLOYMENT
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.weather import Weather

SUBSCRIPTIONS = {each.topic: each for each in DEPLOYMENT.subscriptions}
DELIVERIES = 20  # then it is a dead letter
PUBLISHING = ("crash before", "crash after", "failed", "ambiguous")
LATE = 40 * 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """A message on run-requests."""

    kind: RunKind = RunKind.FULL
    retry_failures: bool = False
    work: AnyRequest | None = None  # what an administrator asked for, if it is that


@dataclass(frozen=True, slots=True)
class Entry:
    """A message on workspace-changes: an entry of the audit log as the sink publishes it."""

    name: str
    data: bytes
    event: str


Payload = Look | Batch | Request | Entry
TOPICS = {Look: "directory-changes", Batch: "planned-changes", Request: "run-requests", Entry: "workspace-changes"}


@dataclass(eq=False, slots=True)
class Message:
    """One message; `id` stays the same whenever it is delivered."""

    id: str
    payload: Payload
    published: datetime
    deliveries: int = 0
    over: bool = False

    @property
    def topic(self) -> str:
        """Return the topic that messages with such a payload are published to."""
        return TOPICS[type(self.payload)]


Deliver = Callable[[Process, Message], None]
Done = Callable[[Process], None]


class Topics:
    """The topics with their push subscriptions, as the Queue port."""

    def __init__(
        self, scheduler: Scheduler, weather: Weather, deliver: Deliver, begin: Callable[[str], Process], done: Done
    ) -> None:
        self._scheduler = scheduler
        self._weather = weather
        self._deliver = deliver
        self._begin = begin
        self._done = done  # told of each delivery that ended well
        self.stopped_until = scheduler.now  # the push endpoints are taken away until then
        self.waiting: set[Message] = set()
        self.dead: list[Message] = []

    def look_again(self, looks: Sequence[Look]) -> None:
        self._publish("look_again", looks)

    def apply(self, batches: Sequence[Batch]) -> None:
        self._publish("apply", batches)

    def request_run(self, kind: RunKind, *, retry_failures: bool = False) -> None:
        self._publish("request_run", [Request(kind, retry_failures)])

    def request_work(self, request: AnyRequest) -> None:
        self._publish("request_work", [Request(work=request)])

    def _publish(self, verb: str, payloads: Sequence[Payload]) -> None:
        kind = self._weather.before(f"queue.{verb}", PUBLISHING)
        if kind == "failed":
            raise Transient("Pub/Sub could not be reached")
        task = self._scheduler.current
        assert task is not None
        published = task.process.memory.setdefault("published", {})
        for payload in payloads:
            if isinstance(payload, Look):
                published[payload.user_id] = self._scheduler.now
            name = task.process.child()
            message = Message(name, payload, self._scheduler.now)
            self.waiting.add(message)
            self._set_out(message, task.chance.random(), task.chance.random())
        self._weather.after(kind)

    def publish(self, entry: Entry, luck: float, pace: float) -> None:
        """Let the log sink publish an entry."""
        message = Message(entry.name, entry, self._scheduler.now)
        self.waiting.add(message)
        self._set_out(message, luck, pace)

    def _set_out(self, message: Message, luck: float, pace: float) -> None:
        """Deliver a message in a moment, unless it is lost; some come twice, some late."""
        seconds, rate, key = 0.05 + 2 * pace**4, self._weather.rate, f"{message.id}/sent"
        if luck < rate * 0.5 and self._weather.strikes(key, "message lost", _named(message)):
            self._drop(message)
            return
        if luck < rate and self._weather.strikes(key, "message late", _named(message)):
            seconds += LATE * pace
        elif luck < rate * 2 and self._weather.strikes(key, "message twice", _named(message)):
            self._scheduler.at(self._later(seconds + 60 * pace), lambda: self._push(message, again=True))
        self._scheduler.at(self._later(seconds), lambda: self._push(message))

    def _later(self, seconds: float) -> datetime:
        return self._scheduler.now + timedelta(seconds=seconds)

    def _push(self, message: Message, *, again: bool = False) -> None:
        if message.over and not again:
            return
        if self._scheduler.now < self.stopped_until:
            self._scheduler.at(self.stopped_until, lambda: self._push(message, again=again))
            return
        message.deliveries += 1
        process = self._begin(f"{message.id}/{message.deliveries}")

        def end(error: BaseException | None) -> None:
            if error is None:
                self._done(process)
            if error is None or (isinstance(error, ProvisioningError) and status_of(error) < 500):
                self._drop(message)
            elif message.deliveries >= DELIVERIES:
                self._drop(message)
                self.dead.append(message)
            elif not again:
                subscription = SUBSCRIPTIONS[message.topic]
                wait = min(subscription.min_retry * 2 ** (message.deliveries - 1), subscription.max_retry)
                self._scheduler.at(self._later(wait), lambda: self._push(message))

        self._scheduler.start(process, lambda: self._deliver(process, message), then=end)

    def drop_batches(self) -> None:
        """Seek planned-changes to now: no batch that waits is delivered any more."""
        for message in [each for each in self.waiting if isinstance(each.payload, Batch)]:
            self._drop(message)

    def _drop(self, message: Message) -> None:
        message.over = True
        self.waiting.discard(message)


def _named(message: Message) -> str:
    payload = message.payload
    if isinstance(payload, Look):
        return f"look at {payload.user_id or payload.event}"
    if isinstance(payload, Entry):
        return f"report {payload.event}"
    return f"batch {payload.number}" if isinstance(payload, Batch) else f"request {payload.kind.value}"
