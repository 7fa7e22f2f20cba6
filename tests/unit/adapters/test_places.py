"""Places that requests take: never more at once, and whoever has waited longest comes next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from autoprovisioning.adapters.directory.places import Places
from autoprovisioning.adapters.threads import Threads

PATIENCE = 10.0


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_whoever_comes_back_at_once_waits_for_those_who_were_there_before():
    places, order = Places(1), list[str]()

    def take(name: str) -> None:
        with places:
            order.append(name)

    threads = [threading.Thread(target=take, args=(name,)) for name in "abc"]
    with places:
        for there, thread in enumerate(threads):
            thread.start()
            until(lambda there=there: places.waiting > there)  # type: ignore[misc]
    with places:
        order.append("back")
    for thread in threads:
        thread.join(PATIENCE)
    assert order == ["a", "b", "c", "back"]


def test_there_are_never_more_at_once():
    places, lock, now, seen = Places(3), threading.Lock(), list[int](), list[int]()

    def work(number: int) -> None:
        with places:
            with lock:
                now.append(number)
                seen.append(len(now))
            threading.Event().wait(0.001)
            with lock:
                now.remove(number)

    list(Threads().each(work, range(60), 10))
    assert max(seen) == 3


def test_a_place_is_free_again_after_an_error():
    places = Places(1)
    with pytest.raises(LookupError), places:
        raise LookupError
    with places:
        pass
