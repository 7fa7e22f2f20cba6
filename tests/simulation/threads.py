"""Threads as tasks of the simulation, in the four places that start any.

The use cases name `ThreadPoolExecutor` and `threading` themselves; the names are replaced in their modules, so that a
history has no thread of the machine's in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from autoprovisioning.app import apply_batch, carry_out, leasing, sharding
from tests.simulation.scheduler import Killed, Scheduler, Task

AT_ONCE = 8
SHARDS = 4  # instead of 64: reading them all costs more than all else, and few people share one the sooner


class _Future:
    def __init__(self, scheduler: Scheduler, task: Task) -> None:
        self._scheduler, self._task = scheduler, task

    def result(self) -> Any:
        self._scheduler.join([self._task])
        if self._task.error is not None:
            raise self._task.error
        return self._task.result


class Pool:
    """What the use cases need of a ThreadPoolExecutor."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._tasks: list[Task] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def submit(self, work: Callable[..., Any], *arguments: Any) -> _Future:
        task = self._start(lambda: work(*arguments))
        return _Future(self._scheduler, task)

    def map(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        futures = [self.submit(work, item) for item in items]
        return (future.result() for future in futures)

    def shutdown(self) -> None:
        with contextlib.suppress(Killed):
            self._scheduler.join(self._tasks)

    def _start(self, work: Callable[[], Any]) -> Task:
        current = self._scheduler.current
        assert current is not None
        task = self._scheduler.start(current.process, work)
        self._tasks.append(task)
        return task


class _Event:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._set = False

    def set(self) -> None:
        self._set = True

    def wait(self, seconds: float) -> bool:
        """Wait to the end of the time: nobody waits for who waits here."""
        self._scheduler.pause(seconds)
        return self._set


class _Thread:
    def __init__(self, scheduler: Scheduler, target: Callable[[], None]) -> None:
        self._scheduler, self._target = scheduler, target

    def start(self) -> None:
        current = self._scheduler.current
        assert current is not None
        self._task = self._scheduler.start(current.process, self._target)

    def join(self) -> None:
        """Return at once: whoever sets the event has nothing more to wait for."""


@contextlib.contextmanager
def as_tasks(scheduler: Scheduler) -> Iterator[None]:
    """Let the use cases start tasks instead of threads, within the block."""

    def pool(max_workers: int = AT_ONCE) -> Pool:
        return Pool(scheduler)

    standing_in = SimpleNamespace(
        Event=lambda: _Event(scheduler),
        Thread=lambda target, name="", daemon=True: _Thread(scheduler, target),
    )
    with (
        patch.object(apply_batch, "ThreadPoolExecutor", pool),
        patch.object(carry_out, "ThreadPoolExecutor", pool),
        patch.object(leasing, "threading", standing_in),
        patch.object(sharding, "SMALLEST_SHARDS", SHARDS),
    ):
        yield
