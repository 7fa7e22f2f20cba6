"""The pace: as many as allowed, in order, fewer after a refusal, none during a pause."""

from __future__ import annotations

import asyncio
import time

import pytest

from autoprovisioning.adapters.scim.pace import GROW_AFTER, Pace
from autoprovisioning.adapters.scim.streaming import Stream


async def crowd(pace: Pace, count: int, seconds: float = 0.002) -> tuple[int, list[int]]:
    """Send so many through; returns the most at once and the order of entry."""
    inside, most, order = 0, 0, []

    async def one(number: int) -> None:
        nonlocal inside, most
        async with pace.slot():
            inside += 1
            most = max(most, inside)
            order.append(number)
            await asyncio.sleep(seconds)
            inside -= 1

    await asyncio.gather(*(one(number) for number in range(count)))
    return most, order


def test_no_more_than_the_limit_at_once_and_in_order():
    assert asyncio.run(crowd(Pace(4, 8), 40)) == (4, list(range(40)))


def test_successes_grow_it_up_to_the_ceiling_and_let_waiters_in():
    async def run() -> tuple[int, int]:
        pace = Pace(2, 4)
        for _ in range(10 * GROW_AFTER):
            pace.succeeded()
        most, _ = await crowd(pace, 20)
        return pace.limit, most

    assert asyncio.run(run()) == (4, 4)


def test_a_burst_of_refusals_halves_it_once_and_never_below_one():
    pace = Pace(32, 64)
    for _ in range(20):
        pace.refused(0)
    assert pace.limit == 16
    for _ in range(20):
        pace._shrunk_at = 0.0
        pace.refused(0)
    assert pace.limit == 1


def test_a_refusal_pauses_everybody():
    async def run() -> float:
        pace = Pace(8, 8)
        pace.refused(0.15)
        started = time.monotonic()
        await crowd(pace, 8, 0)
        return time.monotonic() - started

    assert asyncio.run(run()) >= 0.15


def test_a_pause_is_not_waited_for_longer_than_patience():
    async def run() -> float:
        pace = Pace(8, 8)
        pace.refused(20)
        started = time.monotonic()
        async with pace.slot(patience=0.05):
            return time.monotonic() - started

    assert 0.05 <= asyncio.run(run()) < 5


def test_who_is_cancelled_while_waiting_or_just_admitted_leaves_no_place_taken():
    async def run() -> int:
        pace = Pace(1, 1)
        leave = asyncio.Event()

        async def holder() -> None:
            async with pace.slot():
                await leave.wait()

        async def waiter() -> None:
            async with pace.slot():
                pass

        held = asyncio.create_task(holder())
        waiting = [asyncio.create_task(waiter()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # still waiting
        leave.set()
        await held  # admits waiting[1], which has not run yet
        waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        most, order = await asyncio.wait_for(crowd(pace, 3), 5)
        return most * 10 + len(order)

    assert asyncio.run(run()) == 13


def test_a_slow_caller_holds_the_work_back():
    given = 0

    async def work(stream: Stream[int]) -> None:
        nonlocal given
        for number in range(50):
            await stream.room()
            stream.put(number)
            given += 1

    stream = Stream[int](5).drain(work)
    seen = []
    for item in stream:
        seen.append(item)
        time.sleep(0.002)
        assert given <= len(seen) + 5
    assert seen == list(range(50))


def test_a_caller_that_stops_early_stops_the_work():
    stopped = []

    async def work(stream: Stream[int]) -> None:
        try:
            for number in range(1000):
                await stream.room()
                stream.put(number)
        except asyncio.CancelledError:
            stopped.append(True)
            raise

    stream = Stream[int](2).drain(work)
    assert next(stream) == 0
    stream.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 5
    while not stopped and time.monotonic() < deadline:
        time.sleep(0.005)
    assert stopped


def test_an_error_of_the_work_reaches_the_caller_after_the_results():
    async def work(stream: Stream[int]) -> None:
        stream.put(1)
        raise LookupError("broken")

    stream = Stream[int](2).drain(work)
    assert next(stream) == 1
    with pytest.raises(LookupError, match="broken"):
        next(stream)
