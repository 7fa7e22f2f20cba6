"""Work in threads of its own, parallel to the caller's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Threads:
    """The Executor port. Logs of a thread carry no trace id: that one is the request's, which has its own thread."""

    def each(self, work: Callable[[T], R], items: Sequence[T], at_once: int) -> Iterator[R]:
        """Do the work for every item in as many threads as may be at once."""
        with ThreadPoolExecutor(max_workers=at_once) as pool:
            yield from pool.map(work, items)

    def start(self, work: Callable[[], T]) -> Callable[[], T]:
        """Begin the work in a thread of its own."""
        pool = ThreadPoolExecutor(max_workers=1)
        begun = pool.submit(work)
        pool.shutdown(wait=False)
        return begun.result

    @contextmanager
    def repeat(self, name: str, work: Callable[[], bool], every: timedelta) -> Iterator[None]:
        """Do the work at intervals in a thread of that name."""
        over = threading.Event()

        def run() -> None:
            while not over.wait(every.total_seconds()) and work():
                pass

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
