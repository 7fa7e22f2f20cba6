"""The webhook on its real server, as deployed: 40 threads, and callers who send slowly, or nothing at all."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autoprovisioning.app.notifications.channel_token import channel_token
from infra.gcp.description import FUNCTIONS
from infra.local.processes import Process, Supervisor, free_port, python
from tests.contract.listener import Listener, Response, listening
from tests.support.wire import Answer, ask

ROOT = Path(__file__).parents[2]
KEY = b"0123456789abcdef0123456789abcdef"
THREADS = next(each for each in FUNCTIONS if each.entry_point == "directory_webhook").environment["THREADS"]
BODY = b'{"id": "u1"}'


@pytest.fixture(scope="module")
def pubsub() -> Iterator[Listener]:
    """What the webhook publishes to."""
    with listening() as listener:
        listener.answer = lambda _: Response(200, b'{"messageIds": ["1"]}', {"Content-Type": "application/json"})
        yield listener


@pytest.fixture(scope="module")
def webhook(pubsub: Listener, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The function on functions-framework's server, with as many threads as the deployment gives it."""
    folder, port = tmp_path_factory.mktemp("webhook"), free_port()
    environment = {
        "GOOGLE_CLOUD_PROJECT": "demo-wire",
        "LOCAL_MODE": "true",
        "PUBSUB_EMULATOR_HOST": pubsub.url.removeprefix("http://"),
        "CHANNEL_KEY": KEY.decode(),
        "THREADS": THREADS,
        "HOME": str(folder),
        "PYTHONUNBUFFERED": "1",
    }
    argv = python("-m", "functions_framework", "--target", "directory_webhook", "--host", "127.0.0.1")
    with Supervisor(folder) as supervisor:
        address = f"http://127.0.0.1:{port}"
        child = supervisor.start(
            "webhook",
            [*argv, "--port", str(port)],
            env=environment,
            ready=f"{address}/robots.txt",
            cwd=ROOT / "functions",
        )
        supervisor.wait_ready()
        child.address = address
        yield child


def headers(**changes: str) -> dict[str, str]:
    token = channel_token(KEY, "ch1", datetime.now(UTC) + timedelta(hours=1))
    told = {"X-Goog-Channel-ID": "ch1", "X-Goog-Channel-Token": token, "X-Goog-Resource-State": "update", **changes}
    return {name: value for name, value in told.items() if value}


def notify(webhook: Process, **changes: str) -> Answer:
    return ask("POST", webhook.address, BODY, headers(**changes))


@contextlib.contextmanager
def begun(webhook: Process, number: int, length: int = 500, **changes: str) -> Iterator[list[socket.socket]]:
    """Begin that many requests: headers that announce a body, of which nothing is sent."""
    port = int(webhook.address.rpartition(":")[2])
    lines = {"Host": "h", "Content-Length": str(length), **headers(**changes)}
    head = "POST / HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(number)]
        for each in sockets:
            each.sendall(head.encode())
        yield sockets


def answered(each: socket.socket) -> tuple[int, float]:
    """Return the status, and how long the server took to answer and close."""
    began = time.monotonic()
    response = http.client.HTTPResponse(each)
    response.begin()
    status = response.status
    response.read()
    while each.recv(1000):
        pass
    return status, time.monotonic() - began


def test_whoever_has_no_token_and_sends_no_body_keeps_nobody_waiting(webhook: Process) -> None:
    """More than there are threads: each is refused by its headers, and its connection closed."""
    with begun(webhook, int(THREADS) + 60, **{"X-Goog-Channel-Token": "9999999999." + "0" * 64}) as idle:
        began = time.monotonic()
        assert notify(webhook).status == 204
        assert time.monotonic() - began < 2
        assert {answered(each)[0] for each in idle} == {403}
        assert time.monotonic() - began < 4


def test_a_wrong_method_without_its_body_keeps_nobody_waiting(webhook: Process) -> None:
    port = int(webhook.address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 30) as each:
        each.sendall(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\n")
        status, seconds = answered(each)
    assert status == 405
    assert seconds < 1.5


@pytest.mark.parametrize("pieces", ["nothing", "a byte at a time"])
def test_whoever_has_a_token_and_sends_slowly_is_given_up_soon(webhook: Process, pubsub: Listener, pieces: str) -> None:
    before = len(pubsub.requests)
    with begun(webhook, 3) as slow:
        began = time.monotonic()
        slow[0].settimeout(0.2)
        while pieces != "nothing" and time.monotonic() - began < 15:
            try:
                slow[0].sendall(b" ")
                if slow[0].recv(1, socket.MSG_PEEK):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        slow[0].settimeout(30)
        for each in slow[1:]:
            assert answered(each)[0] == 400
        assert time.monotonic() - began < 8
    assert len(pubsub.requests) == before, "nothing of it is published"
    assert notify(webhook).status == 204


def test_a_body_that_is_announced_as_too_large_is_refused_before_it_is_sent(webhook: Process) -> None:
    with begun(webhook, 1, length=20_000) as (one,):
        status, seconds = answered(one)
    assert status == 413
    assert seconds < 1.5


def test_a_honest_connection_is_kept_for_the_next_notification(webhook: Process) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(webhook.address.rpartition(":")[2]), timeout=10)
    for _ in range(3):
        connection.request("POST", "/", BODY, headers())
        response = connection.getresponse()
        assert response.status == 204
        response.read()
        assert connection.sock is not None, "the server would have closed it"
    connection.close()


def test_refusals_are_logged_sampled(webhook: Process) -> None:
    """The first one by itself, then how many there were: a stranger does not fill the log."""
    for _ in range(200):
        assert notify(webhook, **{"X-Goog-Channel-Token": "forged"}).status == 403
    lines = [json.loads(line) for line in webhook.log.read_text().splitlines() if "forbidden" in line]
    assert 1 <= len(lines) <= 3
    assert lines[0]["refused"] >= 1


def test_what_a_believed_channel_says_wrongly_is_logged_each_time(webhook: Process) -> None:
    before = webhook.log.read_text().count("X-Goog-Resource-State")
    for _ in range(3):
        assert notify(webhook, **{"X-Goog-Resource-State": "explode"}).status == 400
    assert webhook.log.read_text().count("X-Goog-Resource-State") == before + 3


@pytest.mark.parametrize("token", ["", "forged"])
def test_a_stranger_who_sends_without_end_is_not_listened_to(webhook: Process, token: str) -> None:
    """functions-framework itself reads what a function left of a body: of a refused one nothing is left."""
    port, sent = int(webhook.address.rpartition(":")[2]), 0
    head = f"POST / HTTP/1.1\r\nHost: h\r\nX-Goog-Channel-Token: {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", port), 30) as each, contextlib.suppress(ConnectionError):
        each.sendall(head.encode())
        while sent < 64:
            each.sendall(chunk)
            sent += 1
    assert sent < 32, "of so many MiB the server would have taken each"
    assert notify(webhook).status == 204
