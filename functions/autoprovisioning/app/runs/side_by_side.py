"""Take from several streams at once, in an order that the streams alone decide, and not how fast each of them is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final, Generic, TypeVar

from autoprovisioning.app.ports.execution import Executor

T = TypeVar("T")


class _End:
    """Stands for what a stream does not have any more."""


END: Final = _End()


@dataclass(slots=True)
class _Turn(Generic[T]):
    """A stream's turn: `made` waits for its next item, None if that is not begun yet."""

    stream: Iterator[T]
    made: Callable[[], T | _End] | None = None


def side_by_side(
    executor: Executor, streams: Sequence[Iterator[T]], at_once: int, places: Callable[[], int] | None = None
) -> Generator[T]:
    """Yield all that the streams have: one of each in turn, of as many streams as may be at once.

    The next of each is made meanwhile, and no more than that, so that memory holds one item a stream; while there are
    fewer `places` than streams, those whose turn comes first are. Streams must not raise. Whoever takes no more closes
    the iterator, which waits for what is under way.
    """
    waiting = deque(streams)
    turns: deque[_Turn[T]] = deque()

    def begin() -> None:
        """Begin what there are places for."""
        for turn in islice(turns, at_once if places is None else max(1, places())):
            if turn.made is None:
                turn.made = executor.start(partial(next, turn.stream, END))

    try:
        while waiting and len(turns) < at_once:
            turns.append(_Turn(waiting.popleft()))
        while turns:
            begin()
            turn = turns.popleft()
            assert turn.made is not None  # noqa: S101 - there is a place for the first one
            item = turn.made()
            if not isinstance(item, _End):
                turns.append(_Turn(turn.stream))
                begin()
                yield item
            elif waiting:
                turns.append(_Turn(waiting.popleft()))
    finally:
        for turn in turns:
            if turn.made is not None:
                turn.made()
