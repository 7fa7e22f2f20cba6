"""What a process builds at its first request and keeps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache, update_wrapper
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Once(Generic[P, T]):
    """A builder that builds once for the same arguments, and then returns that; the last `kept` results stay.

    Where requests come together at a cold start, one builds and the others wait: `lru_cache` alone lets each of them
    build, and all but one throw away connections, event loops and certificates that they have paid for.
    """

    def __init__(self, build: Callable[P, T], *, kept: int | None = None) -> None:
        kept_ones = lru_cache(maxsize=kept)(build)
        self._built: Callable[P, T] = kept_ones
        self._building = threading.RLock()
        self.cache_clear = kept_ones.cache_clear
        update_wrapper(self, build)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what was built; raises what building raises, and then builds anew."""
        with self._building:
            return self._built(*args, **kwargs)
