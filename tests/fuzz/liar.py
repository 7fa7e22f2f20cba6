"""A Directory and a Keeper endpoint on one port of loopback, whose answers a test may turn into lies.

The truth is that of the simulators of the local cloud, asked in this process. What was given is kept, as it was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from infra.local.directory.server import DirectoryServer
from infra.local.keeper.server import KeeperServer, Settings
from tests.fuzz.lies import BLOWN_UP, SLOW, Lie, body_of, closes, on_the_wire

PREFIX = "/api/rest/scim/v2/4242"
TOKEN = "a-secret-that-nobody-shows"
TRUTH = Lie()
LAST_OF_A_PATIENCE = 2.0  # seconds for the server's thread to start or end


@dataclass(frozen=True)
class Request:
    """One request."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes

    @property
    def line(self) -> str:
        """Return method, path and query."""
        asked = "&".join(f"{name}={value}" for name, values in self.query.items() for value in values)
        return f"{self.method} {self.path}" + (f"?{asked}" if asked else "")

    @property
    def of_keeper(self) -> bool:
        return self.path.startswith(PREFIX)

    @property
    def resource(self) -> str:
        """Return the path below the node."""
        return self.path[len(PREFIX) :] if self.of_keeper else self.path

    def json(self) -> Any:
        return json.loads(self.body) if self.body else {}


@dataclass(frozen=True)
class Given:
    """One answer that was given; `arrived` says that it came whole, so that its reader may believe it."""

    request: Request
    lie: Lie
    status: int
    body: bytes
    arrived: bool

    def object(self) -> dict[str, Any] | None:
        """Return the JSON object that it says, None where it says none."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


@dataclass(repr=False)
class Liar:
    """The server, and what it said."""

    url: str = ""
    lie_to: Callable[[Request], Lie] = lambda _: TRUTH
    given: list[Given] = field(default_factory=list)
    defect: Exception | None = None  # of the server itself: no lie
    keeper: KeeperServer = field(init=False)
    directory: DirectoryServer = field(init=False)

    def __post_init__(self) -> None:
        self.as_new({})

    @property
    def endpoint(self) -> str:
        return self.url + PREFIX

    def as_new(self, customer: dict[str, Any]) -> None:
        """Start over with a customer and an empty node, and tell the truth."""
        self.keeper = KeeperServer(PREFIX, Settings(token=TOKEN, per_operation_ms=0.0, bulk=False))
        self.directory = DirectoryServer(customer)
        self.lie_to = lambda _: TRUTH
        self.given = []
        defect, self.defect = self.defect, None
        assert defect is None, repr(defect)

    def lies_in_turn(self) -> dict[str, list[tuple[int, Lie]]]:
        """Return what each side is to tell from here on: lies in turn, each after so many true answers."""
        waiting: dict[str, list[tuple[int, Lie]]] = {"directory": [], "keeper": []}

        def lie_to(request: Request) -> Lie:
            queue = waiting["keeper" if request.of_keeper else "directory"]
            if not queue:
                return TRUTH
            left, lie = queue[0]
            if left > 0:
                queue[0] = (left - 1, lie)
                return TRUTH
            queue.pop(0)
            return lie

        self.lie_to = lie_to
        return waiting

    async def answer(self, request: Request, headers: dict[str, str]) -> tuple[bytes | None, bool, Lie]:
        """Return the bytes to send, whether the connection ends with them, and the lie told."""
        lie = self.lie_to(request)
        undoes = lie.undone and request.method != "GET" and request.of_keeper
        known = copy.deepcopy((self.keeper.node, self.keeper.teams.teams)) if undoes else None
        status, told, body = await _asked(self.keeper if request.of_keeper else self.directory, request, headers)
        if known is not None:
            self.keeper.node, self.keeper.teams.teams = known
            self.keeper.teams.node = self.keeper.node
        status, body = lie.status or status, body_of(lie, body, TOKEN)
        self.given.append(Given(request, lie, status, body, _arrives(lie)))
        if lie.manner == "slow":
            await asyncio.sleep(SLOW)
        last = closes(lie) or not 200 <= status < 600 or status in (204, 304)
        return on_the_wire(lie, status, told, body), last, lie

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                request, headers = await _read(reader)
                try:
                    content, last, lie = await self.answer(request, headers)
                except Exception as error:
                    self.defect = error
                    raise
                if content is None:
                    break
                writer.write(content)
                await writer.drain()
                if lie.manner == "endless":
                    await _go_on(writer)
                if last:
                    break
        writer.close()


def _arrives(lie: Lie) -> bool:
    return lie.manner in ("whole", "gzip", "chunked", "until closed", "early hints")


async def _go_on(writer: asyncio.StreamWriter) -> None:
    """Send blanks until the other side has had enough, or far more than it may take in."""
    for _ in range(BLOWN_UP >> 20):
        writer.write(b" " * (1 << 20))
        await writer.drain()


async def _read(reader: asyncio.StreamReader) -> tuple[Request, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    return Request(method, parts.path, parse_qs(parts.query, keep_blank_values=True), body), headers | {
        ":query": parts.query
    }


async def _asked(app: Any, request: Request, headers: dict[str, str]) -> tuple[int, list[tuple[str, str]], bytes]:
    """Ask a simulator for the truth."""
    passed = [(name.encode(), headers[name].encode()) for name in ("authorization", "content-type") if name in headers]
    scope = {
        "type": "http",
        "method": request.method,
        "path": unquote(request.path),
        "raw_path": request.path.encode(),
        "query_string": headers[":query"].encode(),
        "headers": passed,
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": request.body}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    await app(scope, receive, send)
    told = [(name.decode(), value.decode()) for name, value in sent[0]["headers"] if name != b"content-length"]
    return sent[0]["status"], told, sent[1].get("body", b"")


@contextlib.contextmanager
def lying() -> Iterator[Liar]:
    """Serve until the block ends."""
    liar, loop, ready = Liar(), asyncio.new_event_loop(), threading.Event()

    async def start() -> None:
        server = await asyncio.start_server(liar.serve, "127.0.0.1", 0, limit=1 << 20)
        liar.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())
        loop.run_forever()
        under_way = asyncio.all_tasks(loop)
        for task in under_way:
            task.cancel()
        loop.run_until_complete(asyncio.wait(under_way)) if under_way else None

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(LAST_OF_A_PATIENCE)
    try:
        yield liar
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(LAST_OF_A_PATIENCE)
