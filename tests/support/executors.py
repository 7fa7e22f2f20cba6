"""Work that is not done beside anything: for tests in which one thing happens after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Inline:
    """The Executor port: all work is done where it is asked for, in order.

    What is to be repeated waits in `repeated`, by name, while its block lasts: the test says when its time has come.
    """

    def __init__(self) -> None:
        self.repeated: dict[str, Callable[[], bool]] = {}

    def each(self, work: Callable[[T], R], items: Sequence[T], at_once: int) -> Iterator[R]:
        return map(work, items)

    def start(self, work: Callable[[], T]) -> Callable[[], T]:
        done: Future[T] = Future()
        try:
            done.set_result(work())
        except Exception as error:  # noqa: BLE001 - it belongs to who waits
            done.set_exception(error)
        return done.result

    @contextmanager
    def repeat(self, name: str, work: Callable[[], bool], every: timedelta) -> Iterator[None]:
        outside = self.repeated
        self.repeated = {**outside, name: work}
        try:
            yield
        finally:
            self.repeated = outside

    def elapse(self, name: str) -> bool:
        """Let the time pass after which something is done again; returns whether it goes on."""
        return self.repeated[name]()
