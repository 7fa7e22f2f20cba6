"""The wire under test: plain HTTP requests, a second reader on a topic, and a forwarder that withholds answers."""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    method: str, url: str, body: bytes | Iterator[bytes] | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Send one request; an iterator as body is sent in chunks, without a length."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, target, body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


class Tap:
    """A pull subscription of our own on a topic: sees everything that is published from now on."""

    def __init__(self, pubsub_port: int, project: str, topic: str) -> None:
        import grpc
        from google.pubsub_v1 import SubscriberClient
        from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

        self._channel = grpc.insecure_channel(f"127.0.0.1:{pubsub_port}")
        self._client = SubscriberClient(transport=SubscriberGrpcTransport(channel=self._channel))
        self._path = f"projects/{project}/subscriptions/tap-{uuid.uuid4().hex[:12]}"
        self._client.create_subscription(request={"name": self._path, "topic": f"projects/{project}/topics/{topic}"})

    def until(self, marker: str, seconds: float = 15) -> list[dict[str, Any]]:
        """Return what was published, in order, up to the message that holds the marker, which is left out."""
        seen: list[dict[str, Any]] = []
        deadline = threading.Event()
        timer = threading.Timer(seconds, deadline.set)
        timer.start()
        try:
            while not deadline.is_set():
                for received in self._pull():
                    if marker.encode() in received:
                        return seen
                    seen.append(json.loads(received))
        finally:
            timer.cancel()
        raise TimeoutError(f"{marker} was not published within {seconds:.0f} s; seen: {seen}")

    def _pull(self) -> list[bytes]:
        from google.api_core import exceptions

        with contextlib.suppress(exceptions.DeadlineExceeded):
            answer = self._client.pull(request={"subscription": self._path, "max_messages": 100}, timeout=2)
            if answer.received_messages:
                ids = [item.ack_id for item in answer.received_messages]
                self._client.acknowledge(request={"subscription": self._path, "ack_ids": ids})
            return [item.message.data for item in answer.received_messages]
        return []

    def close(self) -> None:
        self._client.delete_subscription(request={"subscription": self._path})
        self._channel.close()


class Forwarder:
    """A TCP forwarder on loopback. While `withhold` is set what the server answers is kept from the client.

    With `withhold_after` it sets itself as soon as more POST requests than that have come through. While `runs` is
    cleared nothing goes through either way, as if the server were stopped: it all goes on later.
    """

    def __init__(self, target_port: int, port: int = 0) -> None:
        self.withhold = False
        self.withhold_after: int | None = None
        self.withheld = threading.Event()  # an answer was kept back
        self.runs = threading.Event()
        self.runs.set()
        self.requests = 0  # HTTP requests that came through, by what they begin with
        self._target = target_port
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._closing = False
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        pair = (client, server)
        self._pairs.add(pair)
        with contextlib.suppress(OSError):
            while self._relay(client, server):
                pass
        self._pairs.discard(pair)
        client.close()
        server.close()

    def _relay(self, client: socket.socket, server: socket.socket) -> bool:
        ready, _, _ = select.select([client, server], [], [])
        self.runs.wait()
        for source in ready:
            data = source.recv(65536)
            if not data:
                return False
            if source is server and self.withhold:
                self.withheld.set()
                continue
            if source is client:
                self.requests += data.startswith(b"POST ")
                if self.withhold_after is not None and self.requests > self.withhold_after:
                    self.withhold, self.withhold_after = True, None
            (server if source is client else client).sendall(data)
        return True

    def drop(self) -> None:
        """Cut every connection."""
        for client, server in list(self._pairs):
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening and cut every connection."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.runs.set()
        self.drop()
