"""Virtual time and tasks that take turns: each call to the outside takes a seeded time, and who is back first goes on.

A task is a greenlet of this one thread, so that a history is the same each time, whatever the machine does. A call may
take long enough for every other task to do something in between: any order of the calls of all tasks can come about.
Each task draws from a stream of its own, named by how the task came about. What is left out of a history does
therefore not change what is drawn elsewhere, which is what lets a failing history be made smaller.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from random import Random
from typing import Any
from zlib import crc32

from greenlet import getcurrent, greenlet

from autoprovisioning.domain.errors import ProvisioningError

MOST_CALLS = 200_000  # of a history: more means that it goes on for ever


class Killed(BaseException):
    """The process is gone: nothing of it happens any more, whatever it would have caught."""


class Endless(AssertionError):
    """The history does not come to an end."""


class Stream:
    """What a name draws; it is seeded when first drawn from: in fair weather few are, and it takes its time."""

    def __init__(self, seed: int, name: str) -> None:
        self._seed = seed
        self._name = name

    @cached_property
    def chance(self) -> Random:
        return Random((self._seed << 32) ^ crc32(self._name.encode()))


@dataclass(eq=False, slots=True)
class Process:
    """What lives and dies together: one delivery or call of a function, with the threads it starts.

    `skew` is what its clock is ahead; the platform kills it `limit` after it began. `entries` are the roster entries
    that it read last, `marks` the change ids it marked with, `read` when it read which user alone, for the oracles.
    """

    name: str
    stream: Stream
    began: datetime
    limit: timedelta
    skew: timedelta = timedelta(0)
    quiet: bool = False  # an administrator's browser or the world itself: no faults
    dead: bool = False
    children: int = 0
    calls: int = 0
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def chance(self) -> Random:
        return self.stream.chance

    def child(self) -> str:
        """Name the next thing that comes about through this one."""
        self.children += 1
        return f"{self.name}.{self.children}"


@dataclass(eq=False, slots=True)
class Task:
    """One thread of a process."""

    process: Process
    stream: Stream
    turn: greenlet | None = None
    over: bool = False
    waiting: list[Task] = field(default_factory=list)  # for the end of this one
    result: Any = None
    error: BaseException | None = None

    @property
    def chance(self) -> Random:
        return self.stream.chance


class Scheduler:
    """Runs tasks on virtual time; one hub, which the tasks switch back to."""

    def __init__(self, seed: int, now: datetime) -> None:
        self.seed = seed
        self.now = now
        self.calls = 0
        self.current: Task | None = None
        self._heap: list[tuple[datetime, int, Task | Callable[[], None]]] = []
        self._order = 0
        self._hub = getcurrent()
        self.defects: list[tuple[str, BaseException]] = []  # what escaped a task and is not one of our errors

    def clock(self) -> datetime:
        """Return the time as the current process has it."""
        return self.now + self.current.process.skew if self.current is not None else self.now

    def process(self, name: str, limit: timedelta, skew: timedelta = timedelta(0), *, quiet: bool = False) -> Process:
        """Make a process that begins now."""
        return Process(name, Stream(self.seed, name), self.now, limit, skew, quiet)

    def start(
        self,
        process: Process,
        work: Callable[[], Any],
        at: datetime | None = None,
        then: Callable[[BaseException | None], None] | None = None,
    ) -> Task:
        """Let a process do something, from a time on; `then` is told the error it ended with, in the hub."""
        task = Task(process, process.stream if process.children == 0 else Stream(self.seed, process.child()))
        process.children += 1

        def run() -> None:
            try:
                if process.dead:
                    raise Killed
                task.result = work()
            except BaseException as error:  # noqa: BLE001 - reported to whoever waits
                task.error = error
                if not isinstance(error, ProvisioningError | Killed):
                    self.defects.append((process.name, error))
            task.over = True
            for waiter in task.waiting:
                self._push(self.now, waiter)
            if then is not None:
                then(task.error)

        task.turn = greenlet(run, self._hub)
        self._push(at or self.now, task)
        return task

    def pause(self, seconds: float) -> None:
        """Let time pass for the current task, and others go on meanwhile."""
        task = self.current
        if task is None:
            return
        self.calls += 1
        if self.calls > MOST_CALLS:
            raise Endless(f"{MOST_CALLS} calls")
        process = task.process
        process.calls += 1
        if process.dead:
            raise Killed
        until = self.now + timedelta(seconds=seconds)
        if self._heap and self._heap[0][0] <= until:
            self._push(until, task)
            self._hub.switch()
        else:
            self.now = until
        if process.dead or self.now - process.began > process.limit:
            process.dead = True
            raise Killed

    def join(self, tasks: Iterable[Task]) -> None:
        """Wait until these have ended."""
        me = self.current
        assert me is not None
        for task in tasks:
            if not task.over:
                task.waiting.append(me)
                self._hub.switch()
        if me.process.dead:
            raise Killed

    def run_until(self, end: datetime) -> None:
        """Let everything happen that is due before a time."""
        while self._heap and self._heap[0][0] <= end and not self.defects:
            at, _, due = heapq.heappop(self._heap)
            self.now = max(self.now, at)
            if not isinstance(due, Task):
                due()
                continue
            self.current = due
            assert due.turn is not None
            due.turn.switch()
            self.current = None
        self.now = max(self.now, end)

    def at(self, when: datetime, what: Callable[[], None]) -> None:
        """Let something that takes no time happen at a time."""
        self._push(when, what)

    def idle(self) -> bool:
        """Say whether nothing is under way or due."""
        return not self._heap

    def _push(self, at: datetime, due: Task | Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._heap, (at, self._order, due))
