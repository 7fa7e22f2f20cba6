"""Take from several streams at once, in an order that the streams alone decide, and not how fast each of them is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Final, TypeVar

from autoprovisioning.app.ports.execution import Executor

T = TypeVar("T")


class _End:
    """Stands for what a stream does not have any more."""


END: Final = _End()


def side_by_side(executor: Executor, streams: Sequence[Iterator[T]], at_once: int) -> Generator[T]:
    """Yield all that the streams have: one of each in turn, of as many streams as may be at once.

    The next of each is made meanwhile, and no more than that, so that memory holds one item a stream. Streams must not
    raise. Whoever takes no more closes the iterator, which waits for what is under way.
    """
    waiting = deque(streams)
    under_way: deque[tuple[Iterator[T], Callable[[], T | _End]]] = deque()

    def begin(stream: Iterator[T]) -> None:
        under_way.append((stream, executor.start(partial(next, stream, END))))

    try:
        while waiting and len(under_way) < at_once:
            begin(waiting.popleft())
        while under_way:
            stream, made = under_way.popleft()
            item = made()
            if not isinstance(item, _End):
                begin(stream)
                yield item
            elif waiting:
                begin(waiting.popleft())
    finally:
        for _, made in under_way:
            made()
