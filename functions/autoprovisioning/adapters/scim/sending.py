"""Send what may be sent twice: reads, with bounded retries, at the client's pace."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from datetime import datetime

from autoprovisioning.adapters.scim.pace import Pace
from autoprovisioning.adapters.scim.protocol import Answer, Dropped, throttled, wait_told
from autoprovisioning.adapters.scim.transport import ScimTransport
from autoprovisioning.domain.errors import Throttled, Transient

ATTEMPTS = 4
LONGEST_WAIT = 20.0  # seconds that we wait ourselves; longer ones are the connection's business
FIRST_PAUSE = 0.2
CEILING = 2  # times the starting concurrency
OVERRUN = 5.0  # seconds a request under way may outlast the deadline: function timeouts leave room for it


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
    ) -> None:
        self.transport = transport
        self.clock = clock
        self.longest_wait = longest_wait
        self._first_pause = first_pause
        self.pace = Pace(concurrency, concurrency * CEILING)
        self.remarks: dict[str, str] = {}

    def left(self, deadline: datetime | None) -> float:
        """Return the seconds until the deadline."""
        return math.inf if deadline is None else (deadline - self.clock()).total_seconds()

    async def ask(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, deadline: datetime | None = None
    ) -> Answer:
        """Send a read; retried while the server is busy, raises Throttled or Transient in the end."""
        last: Answer | None = None
        problem = "the deadline came"
        for attempt in range(ATTEMPTS):
            try:
                async with self.pace.slot(self.left(deadline)):
                    left = self.left(deadline)
                    if left <= 0:
                        break
                    last = await self.transport.send(method, path, params=params, at_most=left + OVERRUN)
            except Dropped as error:
                last = None
                problem = str(error)
            else:
                if not throttled(last) and last.status < 500:
                    self.pace.succeeded()
                    return last
                problem = f"HTTP {last.status}"
            if not await self.back_off(last, attempt, self.left(deadline)):
                break
        told = wait_told(last, self.clock()) if last is not None else None
        if last is not None and throttled(last):
            raise Throttled(f"Keeper asks to slow down ({problem})", retry_after=told)
        raise Transient(f"Keeper did not answer ({problem})", retry_after=told or 10)

    async def back_off(self, answer: Answer | None, attempt: int, left: float) -> bool:
        """Wait before another attempt; False when that is not worth it (told to wait long, or no time left)."""
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
