"""The Accounts port over SCIM 2.0: the sync face of what runs on the event loop."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TypeVar

from autoprovisioning.adapters.scim.lookup import Search
from autoprovisioning.adapters.scim.protocol import (
    PROVIDER_CONFIG,
    USERS,
    Answer,
    error_of,
    user_path,
)
from autoprovisioning.adapters.scim.resources import read_account
from autoprovisioning.adapters.scim.sending import Sender
from autoprovisioning.adapters.scim.transport import LOOP, Count, ScimTransport
from autoprovisioning.adapters.scim.writing import Writing
from autoprovisioning.domain.accounts import Account, Capabilities, Found, Lookup, Write, Written
from autoprovisioning.domain.connections import PatchDialect
from autoprovisioning.domain.errors import NotSent, ProvisioningError, Transient

T = TypeVar("T")
_END = object()


class ScimAccounts:
    """The accounts of one Keeper node; shared by the threads of a process, so that pace and capabilities are too."""

    def __init__(
        self,
        endpoint: str,
        token: str,
        dialect: PatchDialect,
        count: Count,
        clock: Callable[[], datetime],
        *,
        timeout: float = 30.0,
        concurrency: int = 32,
    ) -> None:
        self._sender = Sender(ScimTransport(endpoint, token, count, timeout), clock, concurrency)
        self._search = Search(self._sender)
        self._dialect = dialect
        self._clock = clock
        self._capabilities: Capabilities | None = None
        self._writing = Writing(self._sender, self._search, dialect, clock)

    def probe(self) -> None:
        """Ask for one user; raises AuthorizationRefused, Transient or Permanent errors."""
        LOOP.run(self._probe()).result()

    async def _probe(self) -> None:
        answer = await self._sender.ask("GET", USERS, params={"startIndex": "1", "count": "1"})
        if not answer.ok:
            raise error_of(answer, self._clock(), known_account=False)
        if answer.body is None:
            raise Transient("The endpoint does not answer in JSON: it may not be a SCIM endpoint")

    def capabilities(self) -> Capabilities:
        """Read ServiceProviderConfig once a process; a server without one offers nothing."""
        return LOOP.run(self._offered()).result()

    async def _offered(self) -> Capabilities:
        if self._capabilities is None:
            answer = await self._sender.ask("GET", PROVIDER_CONFIG)
            self._capabilities = _capabilities(answer)
        return self._capabilities

    def get(self, scim_id: str) -> Account | None:
        """Read one account; None is a 404."""
        answer = LOOP.run(self._sender.ask("GET", user_path(scim_id))).result()
        if answer.status == 404:
            return None
        if not answer.ok:
            raise error_of(answer, self._clock(), known_account=False)
        return read_account(answer.body or {})

    def find(self, lookups: Sequence[Lookup]) -> Iterator[Found]:
        """Look users up, concurrently."""

        async def work(emit: Callable[[Found], None]) -> None:
            async def one(lookup: Lookup) -> None:
                try:
                    emit(Found(lookup.key, await self._search.find(lookup)))
                except ProvisioningError as error:
                    emit(Found(lookup.key, error=error))

            await asyncio.gather(*(one(lookup) for lookup in lookups))

        yield from _streamed(work)

    def list(self) -> Iterator[Sequence[Account]]:
        """List every account, a page at a time, each once."""
        yield from _streamed(self._list)

    async def _list(self, emit: Callable[[Sequence[Account]], None]) -> None:
        pages: AsyncIterator[Sequence[Account]] = self._search.pages()
        async for page in pages:
            emit(page)

    def write(self, writes: Sequence[Write], deadline: datetime) -> Iterator[Written]:
        """Carry the writes out; results come as they complete, sending goes on meanwhile."""
        if not writes:
            return

        async def work(emit: Callable[[Written], None]) -> None:
            offered = await self._offered() if len(writes) > 1 else Capabilities()
            await self._writing.run(writes, offered, deadline, emit)

        told: set[str] = set()
        try:
            for written in _streamed(work):
                told.add(written.key)
                yield written
        except ProvisioningError as error:
            # Nothing more was sent: the refusal of the whole connection is every remaining write's result.
            for write in writes:
                if write.key not in told:
                    yield Written(write.key, error=error)
        else:
            for write in writes:
                if write.key not in told:
                    yield Written(write.key, error=NotSent("The write was not carried out"))


def _streamed(work: Callable[[Callable[[T], None]], object]) -> Iterator[T]:
    """Run `work` on the loop and yield what it emits, in the caller's thread."""
    results: queue.SimpleQueue[object] = queue.SimpleQueue()

    async def run() -> None:
        try:
            await work(results.put)  # type: ignore[misc]
        finally:
            results.put(_END)

    future = LOOP.run(run())
    try:
        while (item := results.get()) is not _END:
            yield item  # type: ignore[misc]
        future.result()
    finally:
        with suppress(Exception):
            future.cancel()


def _capabilities(answer: Answer) -> Capabilities:
    if not answer.ok or not answer.body:
        return Capabilities()
    bulk = answer.body.get("bulk")
    if not isinstance(bulk, dict) or bulk.get("supported") is not True:
        return Capabilities()
    operations, payload = bulk.get("maxOperations"), bulk.get("maxPayloadSize")
    if not isinstance(operations, int) or not isinstance(payload, int) or operations < 2 or payload < 1024:
        return Capabilities()
    return Capabilities(bulk=True, max_operations=operations, max_payload=payload)
