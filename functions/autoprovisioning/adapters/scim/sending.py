"""Send what may be sent twice: reads, with bounded retries, at the client's pace."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Hashable, Mapping
from datetime import datetime

from autoprovisioning.adapters.scim.pace import Pace
from autoprovisioning.adapters.scim.protocol import USERS, Answer, Dropped, NotConnected, passing, throttled, wait_told
from autoprovisioning.adapters.scim.streak import STOP_FOR, Streak
from autoprovisioning.adapters.scim.transport import ScimTransport
from autoprovisioning.domain.errors import Incomplete, KeeperFailed, NotSent, Throttled, Transient

ATTEMPTS = 4
LONGEST_WAIT = 20.0  # seconds that we wait ourselves; longer ones are the connection's business
FIRST_PAUSE = 0.2
CEILING = 2  # times the starting concurrency
OVERRUN = 5.0  # seconds a request under way may outlast the deadline: function timeouts leave room for it
UNFORESEEN = "is an unforeseen error: its stack trace is in the log"  # after the kind of an error
ONE_USER = {"startIndex": "1", "count": "1"}  # a probe


class Sender:
    """Reads, and the pace that writes keep to as well; remembers what this server refuses (`remarks`, by topic)."""

    def __init__(
        self,
        transport: ScimTransport,
        clock: Callable[[], datetime],
        concurrency: int,
        *,
        first_pause: float = FIRST_PAUSE,
        longest_wait: float = LONGEST_WAIT,
        stop_for: float = STOP_FOR,
    ) -> None:
        self.transport = transport
        self.clock = clock
        self.longest_wait = longest_wait
        self._first_pause = first_pause
        self.pace = Pace(concurrency, concurrency * CEILING)
        self.reads = Streak(stop_for)
        self.writes = Streak(stop_for)
        self.remarks: dict[str, str] = {}

    def left(self, deadline: datetime | None) -> float:
        """Return the seconds until the deadline."""
        return math.inf if deadline is None else (deadline - self.clock()).total_seconds()

    async def ask(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, deadline: datetime | None = None
    ) -> Answer:
        """Send a read; retried while the server is busy.

        Raises:
            Throttled, Transient: the server is busy or failing, even after the retries.
            NotSent: the deadline came, or the server fails whatever it is asked.
        """
        asked = (path, *(params or {}).values())
        error: Transient = NotSent("The deadline passed before Keeper was asked")
        for attempt in range(ATTEMPTS):
            answer: Answer | None = None
            lost: Dropped | None = None
            try:
                async with self.pace.slot(self.left(deadline)):
                    stop, left = self.reads.stop(), self.left(deadline)
                    if stop is not None:
                        raise stop if attempt else NotSent(str(stop), retry_after=stop.retry_after)
                    if left <= 0:
                        break
                    answer = await self.transport.send(method, path, params=params, at_most=left + OVERRUN)
            except Dropped as dropped:
                lost, problem = dropped, str(dropped)
            else:
                if not passing(answer):
                    if answer.body is not None:
                        self.reads.succeeded()
                    self.pace.succeeded()
                    return answer
                problem = f"HTTP {answer.status}"
            self.count_failure(self.reads, asked, answer, problem)
            error = self._failure(answer, problem)
            error.__cause__ = lost
            if not await self.back_off(answer, attempt, self.left(deadline)):
                break
        raise self.reads.stop() or error

    async def ask_of_one(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, deadline: datetime | None = None
    ) -> Answer:
        """Send a read about one user, like `ask`; raises KeeperFailed if only this user is affected."""
        began = time.monotonic()
        try:
            return await self.ask(method, path, params=params, deadline=deadline)
        except Transient as error:
            failed = await self.verdict(error, began)
            raise failed from error.__cause__

    async def verdict(self, error: Transient, began: float, streak: Streak | None = None) -> Transient:
        """Turn a failure that came to an end into KeeperFailed if Keeper answers others, since then or now.

        This distinguishes one user's trouble, which is given up, from Keeper's, which passes.
        """
        streak = streak or self.reads
        unreachable = isinstance(error.__cause__, NotConnected)
        if type(error) not in (Transient, Incomplete) or unreachable:
            return error
        stop = streak.stop()
        if stop is not None:
            return stop
        if streak.succeeded_since(began) or await self._answers():
            return KeeperFailed(str(error), retry_after=error.retry_after)
        return error

    async def _answers(self) -> bool:
        """Ask for any one user, once."""
        try:
            answer = await self.transport.send("GET", USERS, params=ONE_USER)
        except Dropped:
            return False
        return not passing(answer) and answer.body is not None

    def count_failure(self, streak: Streak, request: Hashable, answer: Answer | None, problem: str) -> None:
        """Count a request that failed; being told to wait does not count."""
        if answer is None or (wait_told(answer, self.clock()) is None and not throttled(answer)):
            streak.failed(request, problem)

    def _failure(self, answer: Answer | None, problem: str) -> Transient:
        told = wait_told(answer, self.clock()) if answer is not None else None
        if answer is not None and throttled(answer):
            return Throttled(f"Keeper asks us to slow down ({problem})", retry_after=told)
        return Transient(f"Keeper did not answer ({problem})", retry_after=told or 10)

    async def back_off(self, answer: Answer | None, attempt: int, left: float) -> bool:
        """Wait before another attempt; False when that is not worth it (told to wait long, or no time left)."""
        self.pace.failed()
        told = wait_told(answer, self.clock()) if answer is not None else None
        grown = self._first_pause * 2**attempt * random.uniform(0.5, 1.5)
        wait = max(told or 0.0, grown)
        if wait > self.longest_wait or wait > left:
            return False
        if answer is not None and (throttled(answer) or answer.status == 503):
            self.pace.refused(told or grown)
        if attempt + 1 < ATTEMPTS:
            await asyncio.sleep(wait)
        return True
