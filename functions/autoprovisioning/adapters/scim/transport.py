"""HTTP for SCIM: one event loop, in one thread of the process, owns all connections, so they outlive a single call.

A function's process is frozen between requests; we drop connections that are idle for longer than the keep-alive
limit, and one that turns out to be dead is `Dropped`: what was sent on it may have arrived.
"""

from __future__ import annotations

import asyncio
import atexit
import math
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

import aiohttp
import msgspec

from autoprovisioning.adapters.scim.blotting import Blot
from autoprovisioning.adapters.scim.names import spelled
from autoprovisioning.adapters.scim.protocol import ACCEPT, MEDIA_TYPE, Answer, Dropped, NotConnected

T = TypeVar("T")
KEPT_ALIVE = 10.0  # seconds
CONNECTIONS = 256
CONNECT_TIMEOUT = 10.0
CLOSE_TIMEOUT = 2.0
ENCODINGS = "gzip, deflate"  # said ourselves: aiohttp offers whatever happens to be installed
LONGEST_BODY = 16 * 1024 * 1024  # bytes, as they are after decompression: 1,000 accounts take about one million
SMALL_BODY = 1024 * 1024  # many of these are read at a time
LARGE_AT_ONCE = 2  # of the others
MOST_VALUES = 1_000_000  # in one body: "{}," sixteen million bytes long would take 500 million decoded


class Count(Protocol):
    """Counts outside requests by name."""

    def __call__(self, name: str, n: int = 1) -> None:
        """Add n."""


class _Loop:
    """The process's event loop; made at first use, after any fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: aiohttp.ClientSession | None = None
        self.large = asyncio.Semaphore(LARGE_AT_ONCE)  # large bodies that are read at a time

    def run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start the work on the loop, from any other thread."""
        return asyncio.run_coroutine_threadsafe(work, self._started())

    def call(self, soon: Callable[[], object]) -> None:
        """Call something quick on the loop, from any other thread."""
        self._started().call_soon_threadsafe(soon)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="scim", daemon=True).start()
                atexit.register(self._close)
            return self._loop

    def _close(self) -> None:
        """Close what is kept alive when the process ends."""
        if self._session is not None and self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._session.close(), self._loop).result(timeout=CLOSE_TIMEOUT)

    def session(self) -> aiohttp.ClientSession:
        """Return the shared session; called on the loop only."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEPT_ALIVE)
            jar = aiohttp.DummyCookieJar()
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=jar, auto_decompress=True)
        return self._session


LOOP = _Loop()


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a write once: aiohttp itself repeats a DELETE whose connection broke, and would hide that from us."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise Dropped(type(error).__name__) from None


class ScimTransport:
    """Sends one request and reads its answer; the token is in the Authorization header and nowhere else.

    Should a server repeat the token in its answer, it is removed before anything else sees the answer.
    """

    def __init__(self, endpoint: str, token: str, count: Count, timeout: float) -> None:
        self._endpoint = endpoint
        self._headers = {"Authorization": f"Bearer {token}", "Accept": ACCEPT, "Accept-Encoding": ENCODINGS}
        self._blot = Blot(token)
        self._count = count
        self._timeout = timeout
        self.fastest = math.inf  # seconds of the fastest answer: what the way there and back takes, at most

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | bytes | None = None,
        params: Mapping[str, str] | None = None,
        extra_time: float = 0.0,
        at_most: float = math.inf,
    ) -> Answer:
        """Send; `at_most` seconds may cut the timeout short.

        Raises:
            NotConnected: the request never left.
            Dropped: no complete answer came, or it is not HTTP; the request may have been carried out.
        """
        self._count(f"scim_{method.lower()}")
        headers = self._headers if body is None else {**self._headers, "Content-Type": MEDIA_TYPE}
        data = body if isinstance(body, bytes) or body is None else msgspec.json.encode(body)
        seconds = min(self._timeout + extra_time, at_most)
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_TIMEOUT)
        started = time.monotonic()
        try:
            async with LOOP.session().request(
                method,
                self._endpoint + path,
                data=data,
                params=params,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                middlewares=() if method == "GET" else (_once,),
            ) as response:
                size, content = await self._read(response)
        # The errors' own texts may hold the URL, never the headers; their kind is enough.
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotConnected(type(error).__name__) from None
        except Exception as error:  # noqa: BLE001 - whatever aiohttp makes of bytes that are not HTTP
            raise Dropped(type(error).__name__) from None
        seconds = time.monotonic() - started
        self.fastest = min(self.fastest, seconds)
        return Answer(
            status=response.status,
            body=content,
            headers=response.headers,
            seconds=seconds,
            size=size,
            too_long=size > LONGEST_BODY,
        )

    async def _read(self, response: aiohttp.ClientResponse) -> tuple[int, dict[str, Any] | None]:
        """Read a body and decode it; aiohttp decompresses no more than a piece of it ahead of what is taken."""
        content = bytearray()
        async for piece in response.content.iter_any():
            content += piece
            if len(content) > SMALL_BODY:
                break
        else:
            return len(content), self._object(content)
        async with LOOP.large:
            async for piece in response.content.iter_any():
                content += piece
                if len(content) > LONGEST_BODY:
                    response.close()
                    return len(content), None
            return len(content), self._object(content)

    def _object(self, content: bytearray) -> dict[str, Any] | None:
        """Decode a JSON object without the token in it; None if there is none, or it cannot be read."""
        if not content:
            return {}
        if len(content) > MOST_VALUES and sum(map(content.count, (b",", b"[", b"{"))) > MOST_VALUES:
            return None
        try:
            decoded = self._blot.clean(content, msgspec.json.decode(content))
        except Exception:  # noqa: BLE001 - whatever a decoder makes of it: not UTF-8, nested too deeply, endless digits
            return None
        return _spelled(decoded) if isinstance(decoded, dict) else None


def _spelled(body: dict[str, Any]) -> dict[str, Any]:
    """Return an answer with the usual names; those of a listing's resources are spelled where they are read."""
    body = dict(spelled(body))
    operations = body.get("Operations")
    if isinstance(operations, list):
        body["Operations"] = [spelled(item) if isinstance(item, dict) else item for item in operations]
    return body
