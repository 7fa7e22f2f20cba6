"""PubSubQueue and RestLookQueue against the official Pub/Sub emulator, and dead letters through our subscriptions."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.cloud import pubsub_v1
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from autoprovisioning.adapters.pubsub import PubSubQueue
from autoprovisioning.adapters.pubsub_rest import ATTEMPTS, RestLookQueue
from autoprovisioning.domain.changes import PlannedChange
from autoprovisioning.domain.entry import Action
from autoprovisioning.domain.errors import Transient
from autoprovisioning.domain.requests import PREVIEW, RUN, AnyRequest, Proposal
from autoprovisioning.domain.runs import Batch, Evidence, Look, RunKind
from autoprovisioning.domain.settings import Settings
from autoprovisioning.messages import RunRequest, Work, decode_batch, decode_look, decode_push, decode_run_request
from infra.local import cloud as local_cloud
from infra.local.cloud import DEAD_LETTERS, SUBSCRIPTIONS, LocalCloud, make_topics
from infra.local.processes import free_port
from infra.local.simulation import wait_for
from tests.contract.google_stand_in import Google, run_as_function
from tests.contract.listener import DROPPED, Listener, Request, Response, listening
from tests.support.builders import requested

LOOKS, BATCHES, RUNS = "directory-changes", "planned-changes", "run-requests"
LOOK = Look(
    user_id="u1",
    event="update",
    evidence=Evidence(missing=True, left=("c1",)),
    asked_at=datetime(2026, 5, 1, tzinfo=UTC),
    channel="ch1",
    inquiry="keeper/inquiry-1",
)
CHANGE = PlannedChange(
    user_id="u1",
    email="ada@example.com",
    version=3,
    action=Action.UPDATE,
    attributes={"displayName": "Ngọc Åse", "active": True, "title": None},
    scim_id="77",
    aliases=("b@x",),
)
BATCH = Batch(
    connection_id="keeper",
    run_id="run-1",
    fence=7,
    number="b-1",
    changes=(CHANGE, replace(CHANGE, user_id="u2")),
    looks=(LOOK,),
)


class PubSub:
    """The emulator through Google's clients, one project."""

    def __init__(self, port: int, project: str) -> None:
        self.project = project
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.publisher = pubsub_v1.PublisherClient(transport=PublisherGrpcTransport(channel=self._channel))
        self.subscriber = pubsub_v1.SubscriberClient(transport=SubscriberGrpcTransport(channel=self._channel))

    def topic(self, name: str) -> None:
        """Create a topic with a subscription to pull from."""
        home = f"projects/{self.project}"
        self.publisher.create_topic(request={"name": f"{home}/topics/{name}"})
        request = {"name": f"{home}/subscriptions/{name}", "topic": f"{home}/topics/{name}"}
        self.subscriber.create_subscription(request=request)

    def pulled(self, name: str, count: int) -> list[Any]:
        """Pull until as many messages have come."""
        path = f"projects/{self.project}/subscriptions/{name}"
        messages: list[Any] = []

        def enough() -> bool:
            request = {"subscription": path, "max_messages": 1000}
            received = self.subscriber.pull(request=request, timeout=10).received_messages
            if received:
                ids = [item.ack_id for item in received]
                self.subscriber.acknowledge(request={"subscription": path, "ack_ids": ids})
            messages.extend(item.message for item in received)
            return len(messages) >= count

        wait_for(enough, f"{count} messages on {name}", 30)
        return messages

    def close(self) -> None:
        self._channel.close()


@pytest.fixture
def pubsub(backing: LocalCloud, project_id: str) -> Iterator[PubSub]:
    side = PubSub(backing.ports["pubsub"], project_id)
    for topic in (LOOKS, BATCHES, RUNS):
        side.topic(topic)
    yield side
    side.close()


@pytest.fixture
def emulator(backing: LocalCloud) -> str:
    return f"127.0.0.1:{backing.ports['pubsub']}"


def queue(project: str, emulator: str, monkeypatch: pytest.MonkeyPatch, *, seconds: float = 5) -> PubSubQueue:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", emulator)
    return PubSubQueue(project, LOOKS, BATCHES, RUNS, timedelta(seconds=seconds))


def rest_queue(project: str, emulator: str, *, seconds: float = 5) -> RestLookQueue:
    return RestLookQueue(project, LOOKS, emulator, None, seconds)


@pytest.fixture(params=["gRPC", "REST"])
def looks(
    request: pytest.FixtureRequest, pubsub: PubSub, emulator: str, monkeypatch: pytest.MonkeyPatch
) -> PubSubQueue | RestLookQueue:
    if request.param == "REST":
        return rest_queue(pubsub.project, emulator)
    return queue(pubsub.project, emulator, monkeypatch)


def test_a_look_arrives_as_it_was_published(looks: PubSubQueue | RestLookQueue, pubsub: PubSub) -> None:
    looks.look_again([LOOK])
    (message,) = pubsub.pulled(LOOKS, 1)
    assert decode_look(message.data) == LOOK


def test_many_looks_arrive_each_as_a_message(looks: PubSubQueue | RestLookQueue, pubsub: PubSub) -> None:
    wanted = [Look(user_id=f"u{number}") for number in range(200)]
    looks.look_again(wanted)
    looks.look_again(wanted[:1])
    found = sorted(decode_look(message.data).user_id for message in pubsub.pulled(LOOKS, 201))
    assert found == sorted([look.user_id for look in wanted] + ["u0"])


def test_batches_arrive_whole(pubsub: PubSub, emulator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [replace(BATCH, number=f"b-{number}") for number in range(3)]
    queue(pubsub.project, emulator, monkeypatch).apply(batches)
    found = sorted(
        (decode_batch(message.data) for message in pubsub.pulled(BATCHES, 3)), key=lambda batch: batch.number
    )
    assert found == batches


def test_a_run_is_asked_for(pubsub: PubSub, emulator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = queue(pubsub.project, emulator, monkeypatch)
    publisher.request_run(RunKind.DRIFT)
    publisher.request_run(RunKind.FULL, retry_failures=True)
    found = {decode_run_request(message.data) for message in pubsub.pulled(RUNS, 2)}
    assert found == {RunRequest(kind=RunKind.DRIFT), RunRequest(kind=RunKind.FULL, retry_failures=True)}


@pytest.mark.parametrize(
    ("request_", "work"),
    [
        (requested(RUN, RunKind.FULL), Work.RUN),
        (requested(PREVIEW, Proposal(edition=1, settings=Settings())), Work.PREVIEW),
    ],
)
def test_work_is_asked_for(
    pubsub: PubSub, emulator: str, monkeypatch: pytest.MonkeyPatch, request_: AnyRequest, work: Work
) -> None:
    queue(pubsub.project, emulator, monkeypatch).request_work(request_)
    (message,) = pubsub.pulled(RUNS, 1)
    assert decode_run_request(message.data) == RunRequest(work=work, connection="c1", request=request_.id)


@pytest.mark.parametrize("kind", ["gRPC", "REST"])
def test_an_unreachable_emulator_is_transient_within_the_time_limit(
    kind: str, project_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    publisher: PubSubQueue | RestLookQueue = rest_queue(project_id, nowhere, seconds=1)
    if kind == "gRPC":
        publisher = queue(project_id, nowhere, monkeypatch, seconds=1)
    started = time.monotonic()
    with pytest.raises(Transient):
        publisher.look_again([LOOK] * 25)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("kind", ["gRPC", "REST"])
def test_a_topic_that_is_not_there_is_transient(
    kind: str, emulator: str, project_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher: PubSubQueue | RestLookQueue = rest_queue(project_id, emulator)
    if kind == "gRPC":
        publisher = queue(project_id, emulator, monkeypatch)
    with pytest.raises(Transient):
        publisher.look_again([LOOK])


# ---- the REST method on a bad day


@pytest.fixture(scope="module")
def server() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


@pytest.fixture
def service(server: Listener) -> Listener:
    server.reset()
    return server


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_publication_that_fails_is_tried_again(service: Listener, status: int) -> None:
    service.answer = lambda _: Response(status if len(service.requests) < ATTEMPTS else 200, b"{}")
    rest_queue("p", service.url.removeprefix("http://")).look_again([LOOK])
    assert len(service.requests) == ATTEMPTS
    assert len({request.body for request in service.requests}) == 1


def test_a_publication_that_keeps_failing_is_transient(service: Listener) -> None:
    service.answer = lambda _: Response(503)
    with pytest.raises(Transient):
        rest_queue("p", service.url.removeprefix("http://")).look_again([LOOK])
    assert len(service.requests) == ATTEMPTS


def test_a_wait_that_pubsub_asks_for_is_handed_on(service: Listener) -> None:
    service.answer = lambda _: Response(429, headers={"Retry-After": "7"})
    with pytest.raises(Transient) as raised:
        rest_queue("p", service.url.removeprefix("http://")).look_again([LOOK])
    assert raised.value.retry_after == 7
    assert len(service.requests) == 1


@pytest.mark.parametrize("told", ["soon", "²", "-1", "1e9", "9" * 5000, "9" * 400, "nan", "inf", ""])
def test_a_wait_that_is_none_is_five_seconds(service: Listener, told: str) -> None:
    service.answer = lambda _: Response(400, headers={"Retry-After": told})
    with pytest.raises(Transient) as raised:
        rest_queue("p", service.url.removeprefix("http://")).look_again([LOOK])
    assert raised.value.retry_after == 5


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_publication_that_is_refused_is_not_tried_again(service: Listener, status: int) -> None:
    service.answer = lambda _: Response(status, b'{"error": {"message": "no"}}')
    with pytest.raises(Transient, match=str(status)):
        rest_queue("p", service.url.removeprefix("http://")).look_again([LOOK])
    assert len(service.requests) == 1


def test_a_kept_connection_that_went_stale_is_replaced(service: Listener) -> None:
    service.answer = lambda _: Response(DROPPED if len(service.requests) == 2 else 200, b"{}")
    publisher = rest_queue("p", service.url.removeprefix("http://"))
    for _ in range(2):
        publisher.look_again([LOOK])
    assert len(service.requests) == 3


def test_a_connection_whose_answer_did_not_come_in_time_is_replaced(service: Listener) -> None:
    released = threading.Event()

    def answer(_: Request) -> Response:
        if len(service.requests) == 1:
            released.wait(10)
        return Response(200, b"{}")

    service.answer = answer
    rest_queue("p", service.url.removeprefix("http://"), seconds=0.3).look_again([LOOK])
    assert len(service.requests) == 2
    released.set()


def test_the_service_accounts_token_is_sent(service: Listener) -> None:
    service.answer = lambda _: Response(200, b"{}")
    RestLookQueue("p", LOOKS, service.url.removeprefix("http://"), lambda: "t0ken", 5).look_again([LOOK])
    (request,) = service.requests
    assert request.path == f"/v1/projects/p/topics/{LOOKS}:publish"
    assert request.headers["authorization"] == "Bearer t0ken"


def test_a_function_gets_its_token_from_the_metadata_server(service: Listener, tmp_path: Path) -> None:
    Google(service, {})
    script = "from autoprovisioning.adapters.pubsub_rest import metadata_token; print(metadata_token()())"
    assert run_as_function(service, tmp_path, "-c", script) == ["function-token"]


def test_where_no_token_can_be_had_the_publication_is_transient(service: Listener, tmp_path: Path) -> None:
    google = Google(service, {})
    metadata = google.answer
    service.answer = lambda request: Response(403) if "/token" in request.path else metadata(request)
    script = (
        "from autoprovisioning.adapters.pubsub_rest import RestLookQueue, metadata_token\n"
        "from autoprovisioning.domain.errors import Transient\n"
        "try:\n"
        "    RestLookQueue('p', 't', '127.0.0.1:9', metadata_token(), 1).look_again([])\n"
        "except Transient as error:\n"
        "    print(error)\n"
    )
    assert run_as_function(service, tmp_path, "-c", script) == ["Could not get an access token for Pub/Sub"]


# ---- our subscriptions


@pytest.fixture
def subscribed(backing: LocalCloud, project_id: str, service: Listener) -> Iterator[PubSub]:
    """Our topics and push subscriptions as the local cloud makes them, pushing to the test's listener."""
    yield from pushing(backing, project_id, service)


def pushing(backing: LocalCloud, project: str, endpoint: Listener) -> Iterator[PubSub]:
    port = int(endpoint.url.rpartition(":")[2])
    ports = {"pubsub": backing.ports["pubsub"], **{function: port for function, _ in SUBSCRIPTIONS.values()}}
    make_topics(LocalCloud(supervisor=backing.supervisor, project=project, ports=ports))
    side = PubSub(backing.ports["pubsub"], project)
    yield side
    for name in SUBSCRIPTIONS:
        path = f"projects/{project}/subscriptions/{name}"
        side.subscriber.delete_subscription(request={"subscription": path})
    side.close()


@pytest.fixture(scope="module", autouse=True)
def doomed(backing: LocalCloud) -> Iterator[tuple[PubSub, Listener]]:
    """A message that its endpoint never takes, published first: its five deliveries take the emulator 13 seconds."""
    project = f"demo-{uuid.uuid4().hex[:12]}"
    with listening() as endpoint, pytest.MonkeyPatch.context() as patch:
        endpoint.answer = lambda _: Response(503, headers={"Retry-After": "1"})
        patch.setattr(local_cloud, "DELIVERY_ATTEMPTS", 5)  # the fewest that Pub/Sub allows
        for side in pushing(backing, project, endpoint):
            rest_queue(project, f"127.0.0.1:{backing.ports['pubsub']}").look_again([LOOK])
            yield side, endpoint


def test_a_message_is_pushed_once_in_the_envelope_that_we_read(
    subscribed: PubSub, service: Listener, emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = queue(subscribed.project, emulator, monkeypatch)
    publisher.apply([BATCH])
    publisher.request_run(RunKind.SWEEP)
    rest_queue(subscribed.project, emulator).look_again([LOOK])
    wait_for(lambda: len(service.requests) >= 3, "three deliveries", 10)
    pushed = [decode_push(request.body) for request in service.requests]
    assert len({push.message_id for push in pushed}) == len(pushed) == 3
    assert all(abs(datetime.now(UTC) - push.publish_time) < timedelta(minutes=1) for push in pushed)
    batch = next(push for push in pushed if b"run_id" in push.data)
    assert decode_batch(batch.data) == BATCH
    look = next(push for push in pushed if b"user_id" in push.data and push is not batch)
    assert decode_look(look.data) == LOOK
    run = next(request.body for request in service.requests if b"kind" in decode_push(request.body).data)
    assert decode_run_request(run) == RunRequest(kind=RunKind.SWEEP)


def test_a_message_that_an_endpoint_never_takes_ends_as_a_dead_letter(doomed: tuple[PubSub, Listener]) -> None:
    side, endpoint = doomed
    (dead,) = side.pulled(DEAD_LETTERS, 1)
    assert decode_look(dead.data) == LOOK
    assert dead.attributes["CloudPubSubDeadLetterSourceSubscription"].endswith(LOOKS)
    pushed = [decode_push(request.body) for request in endpoint.requests]
    assert len(pushed) == 5
    assert len({push.message_id for push in pushed}) == 1
    assert {push.data for push in pushed} == {dead.data}
