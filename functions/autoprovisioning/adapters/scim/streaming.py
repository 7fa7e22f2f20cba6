"""From the event loop to the caller's thread: results as they complete, never too far ahead of the caller."""

from __future__ import annotations

import asyncio
import queue
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar, cast

from autoprovisioning.adapters.scim.transport import LOOP

T = TypeVar("T")
A = TypeVar("A")
_END = object()


class Stream(Generic[T]):
    """Results on their way to the caller: `put` and `room` belong to the loop, iteration to the caller's thread."""

    def __init__(self, ahead: int) -> None:
        self._ahead = ahead
        self._results: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._given = 0
        self._taken = 0
        self._waiting = 0
        self._room = asyncio.Event()

    def put(self, item: T) -> None:
        """Hand over a result; never waits."""
        self._given += 1
        self._results.put(item)

    async def room(self) -> None:
        """Wait while the caller is `ahead` results behind: what is not taken may never be recorded."""
        self._waiting += 1  # before the count is read: the caller counts first, then looks at this
        try:
            while self._given - self._taken >= self._ahead:
                self._room.clear()
                if self._given - self._taken >= self._ahead:
                    await self._room.wait()
        finally:
            self._waiting -= 1

    def drain(self, work: Callable[[Stream[T]], Awaitable[None]]) -> Iterator[T]:
        """Run `work` on the loop and yield what it puts; a caller that stops early stops the work."""

        async def run() -> None:
            try:
                await work(self)
            finally:
                self._results.put(_END)

        future = LOOP.run(run())
        try:
            while (item := self._results.get()) is not _END:
                self._taken += 1
                if self._waiting:
                    LOOP.call(self._room.set)
                yield cast(T, item)
            try:
                future.result()
            except BaseExceptionGroup as group:
                raise _first(group) from group
        finally:
            with suppress(Exception):
                future.cancel()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a group: callers know errors, not how many tasks there were."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def fan_out(items: Iterable[A], at_once: int, one: Callable[[A], Awaitable[None]]) -> None:
    """Do `one` for each item, in order of start, so many at once; an error of any ends all."""
    pending = deque(items)

    async def worker() -> None:
        while pending:
            await one(pending.popleft())

    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, len(pending))):
            group.create_task(worker())
