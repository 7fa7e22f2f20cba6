"""The clock, new ids, counted requests, and work parallel to the caller's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from autoprovisioning.domain.runs import Counts

T = TypeVar("T")


R = TypeVar("R")


Clock = Callable[[], datetime]


NewId = Callable[[], str]


class Meter(Protocol):
    """Counts the outside requests of this process: scim_get, scim_post, directory_requests, firestore_reads ..."""

    def take(self) -> Counts:
        """Return the counts since the last call, and start over."""


class Executor(Protocol):
    """Work parallel to the caller's: use cases neither start threads nor sleep themselves."""

    def each(self, work: Callable[[T], R], items: Sequence[T], at_once: int) -> Iterator[R]:
        """Do the work for every item, at most `at_once` of them at the same time; results come in the items' order.

        An error is raised in place of its item, once all work in progress has ended; no more is begun.
        """

    def start(self, work: Callable[[], T]) -> Callable[[], T]:
        """Begin the work; returns a function that waits for its end, then returns its result or raises its error."""

    def repeat(self, name: str, work: Callable[[], bool], every: timedelta) -> AbstractContextManager[None]:
        """Do the work each time so long has passed, until it returns False or the block ends, which waits for it."""
