"""The Executor port as tasks of the simulation: a history has no thread of the machine's in it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar

from tests.simulation.scheduler import Killed, Scheduler, Task

T = TypeVar("T")
R = TypeVar("R")


class Tasks:
    """Starts tasks of the process that asks."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def each(self, work: Callable[[T], R], items: Sequence[T], at_once: int) -> Iterator[R]:
        """Start as many tasks as may be at once, and one more for each whose result is taken."""
        left = list(items)[::-1]
        under_way: list[Task] = []
        try:
            while left or under_way:
                while left and len(under_way) < at_once:
                    under_way.append(self._begin(partial(work, left.pop())))
                task = under_way.pop(0)
                yield self._result(task)
        finally:
            with contextlib.suppress(Killed):
                self._scheduler.join(under_way)

    def start(self, work: Callable[[], T]) -> Callable[[], T]:
        task = self._begin(work)
        return lambda: self._result(task)

    @contextlib.contextmanager
    def repeat(self, name: str, work: Callable[[], bool], every: timedelta) -> Iterator[None]:
        over = busy = False

        def run() -> None:
            nonlocal busy
            while True:
                self._scheduler.pause(every.total_seconds())
                busy = not over
                if over or not work():
                    break
                busy = False
            busy = False

        task = self._begin(run)
        try:
            yield
        finally:
            over = True
            if busy:  # else it only waits, and nobody waits for that
                with contextlib.suppress(Killed):
                    self._scheduler.join([task])

    def _begin(self, work: Callable[[], T]) -> Task:
        current = self._scheduler.current
        assert current is not None
        return self._scheduler.start(current.process, work)

    def _result(self, task: Task) -> R:
        self._scheduler.join([task])
        if task.error is not None:
            raise task.error
        return task.result
