"""What both simulators share: serve an ASGI app with uvicorn, and inject faults at the wire."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import uvicorn

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Reply:
    """An answer on its way out."""

    status: int
    body: Any = None  # rendered as JSON unless bytes; None is no body
    headers: dict[str, str] = field(default_factory=dict)
    endless: bytes = b""  # sent again and again, until the client has had enough

    def content(self) -> bytes:
        """Return the body's bytes."""
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else msgspec.json.encode(self.body)


async def read_body(receive: Receive) -> bytes:
    """Read a whole request body."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def respond(send: Send, reply: Reply, media_type: str) -> None:
    """Send a reply."""
    if reply.endless:
        await _respond_for_ever(send, reply, media_type)
        return
    content = reply.content()
    headers = [(b"content-length", str(len(content)).encode())]
    if content:
        headers.append((b"content-type", reply.headers.pop("content-type", media_type).encode()))
    headers += [(name.lower().encode(), value.encode()) for name, value in reply.headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _respond_for_ever(send: Send, reply: Reply, media_type: str) -> None:
    headers = [(b"content-type", media_type.encode())]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    while not getattr(getattr(send, "__self__", None), "disconnected", True):
        await send({"type": "http.response.body", "body": reply.endless, "more_body": True})
        await asyncio.sleep(0)


class ConnectionLost(Exception):
    """Raised to drop the connection without an answer."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """One fault: which requests it meets (`times` None: for ever, after letting `skip` pass) and what it does."""

    id: str
    match: dict[str, Any]
    effect: dict[str, Any]
    times: int | None = 1
    skip: int = 0
    matched: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self) -> bool:
        """Count a request that fits; True when the fault acts on it."""
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None:
            if self.times <= 0:
                return False
            self.times -= 1
        self.matched += 1
        return True

    async def hold(self, seconds: float | None) -> None:
        """Wait until released, or for so many seconds."""
        try:
            await asyncio.wait_for(self.released.wait(), seconds)
        except TimeoutError:
            return


class Faults:
    """The faults in force, oldest first."""

    def __init__(self) -> None:
        self._faults: dict[str, Fault] = {}
        self._ids = itertools.count(1)

    def add(self, told: dict[str, Any]) -> Fault:
        """Add one: {"match": ..., "times": ..., "skip": ..., and its effects}."""
        told = dict(told)
        number = f"f{next(self._ids)}"
        match, times, skip = told.pop("match", {}), told.pop("times", 1), told.pop("skip", 0)
        self._faults[number] = Fault(id=number, match=match, effect=told, times=times, skip=skip)
        return self._faults[number]

    def pick(self, fits: Callable[[dict[str, Any]], bool]) -> Fault | None:
        """Return the first fault that acts on this request."""
        for fault in self._faults.values():
            if fits(fault.match) and fault.take():
                return fault
        return None

    def get(self, number: str) -> Fault | None:
        """Return a fault by id."""
        return self._faults.get(number)

    def clear(self, number: str | None = None) -> None:
        """Remove one or all; what they hold is released."""
        for key in [number] if number else list(self._faults):
            fault = self._faults.pop(key, None)
            if fault is not None:
                fault.released.set()


def serve(app: App, port: int, path: str = "") -> None:
    """Serve on loopback until killed; prints `READY <url>` once listening."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(1024)
    settings = uvicorn.Config(
        _dropping(app), loop="uvloop", http="httptools", log_level="error", access_log=False, lifespan="off"
    )
    print(f"READY http://127.0.0.1:{listener.getsockname()[1]}{path}", flush=True)
    uvicorn.Server(settings).run(sockets=[listener])


def _dropping(app: App) -> App:
    """Let ConnectionLost close the client's connection without an answer."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except ConnectionLost:
            transport = getattr(getattr(send, "__self__", None), "transport", None)
            if transport is not None:
                transport.abort()

    return wrapped
