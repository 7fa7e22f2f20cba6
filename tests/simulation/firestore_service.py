"""The service behind the client in memory: documents, commits with their preconditions, limits; and the network."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path as File
from typing import Protocol

from google.api_core import exceptions
from google.api_core.datetime_helpers import DatetimeWithNanoseconds

from tests.simulation.firestore_values import (
    Fields,
    Update,
    index_entries,
    made_of,
    put,
    size_of,
    time_of,
    unchanged,
    value_at,
)

INDEXES = File(__file__).parents[2] / "infra" / "gcp" / "firestore.indexes.json"
LARGEST_DOCUMENT = 1_048_576  # bytes
LARGEST_VALUE = 1_048_487  # bytes of a field
LARGEST_COMMIT = 10 * 1024 * 1024  # bytes
MOST_INDEX_ENTRIES = 40_000  # of a document
TICK = timedelta(microseconds=1)

_BAD_ID = re.compile(r"\.{1,2}\Z|__.*__\Z|.*/|\Z", re.DOTALL)


class Call(Protocol):
    """A call on its way: `str` says what it reads or writes, `kind` is "get", "query", "count" or "commit"."""

    kind: str


class Network:
    """What is between a client and the service; this one is never disturbed. A simulation may switch tasks in each."""

    def before(self, call: Call) -> None:
        """A call is about to arrive: what is raised here keeps it from taking effect."""

    def after(self, call: Call) -> None:
        """It took effect: what is raised here is raised instead of its answer."""

    def sleep(self, seconds: float) -> None:
        """The client waits before it repeats a call."""


@dataclass(slots=True)
class Document:
    """A document as it is stored; never changed."""

    fields: Fields
    created: DatetimeWithNanoseconds
    updated: DatetimeWithNanoseconds
    size: int  # bytes


@dataclass(slots=True)
class Precondition:
    """What is required of a document before it is written."""

    exists: bool | None = None
    updated: DatetimeWithNanoseconds | None = None

    def check(self, path: str, known: Document | None) -> None:
        """Raise what the service answers where the document is not as required."""
        if self.exists is False and known is not None:
            raise exceptions.AlreadyExists(f"Document already exists: {path}")
        if self.exists and known is None:
            raise exceptions.NotFound(f"No document to update: {path}")
        if self.updated is not None and (known is None or known.updated != self.updated):
            raise exceptions.FailedPrecondition(f"The document was changed since: {path}")


ANYTHING = Precondition()


@dataclass(slots=True)
class Write:
    """One write of a commit: `fields` replace the document's, `updates` some of them, `made` the service computes."""

    verb: str
    collection: str
    id: str
    required: Precondition
    fields: Fields | None = None
    updates: Sequence[Update] = ()
    made: Sequence[Update] = ()

    def result(self, known: Document | None, at: DatetimeWithNanoseconds) -> Document | None:
        """Return the document after the write; raises where it is refused."""
        self.required.check(f"{self.collection}/{self.id}", known)
        if self.verb == "delete":
            return None
        fields = self.fields if self.fields is not None else known.fields if known is not None else {}
        if self.updates or self.made:
            fields = dict(fields)
            for path, value in self.updates:
                put(fields, path, value)
            for path, transform in self.made:
                put(fields, path, made_of(transform, value_at(fields, path), at))
        if known is not None and unchanged(fields, known.fields):
            return known  # a write that changes nothing leaves the time of the last update
        return Document(fields, known.created if known is not None else at, at, self._size(fields))

    def weight(self) -> int:
        """Return about how many bytes of a request it takes."""
        return size_of(self.fields or {}) + sum(size_of(value) for _, value in self.updates)

    def _size(self, fields: Fields) -> int:
        """Return the document's bytes; raises where it is too large or in too many indexes."""
        size = 32 + 16 + len(self.collection) + len(self.id) + 2
        for name, value in fields.items():
            length = size_of(value)
            size += size_of(name) + (length if length <= LARGEST_VALUE else LARGEST_DOCUMENT)
        if size > LARGEST_DOCUMENT:
            raise exceptions.InvalidArgument(f"Document {self.collection}/{self.id} has {size} bytes: too large")
        if size > MOST_INDEX_ENTRIES:  # else it cannot have as many
            group = self.collection.rpartition("/")[2]
            entries = sum(index_entries(value) for name, value in fields.items() if (group, name) not in exempt())
            if entries > MOST_INDEX_ENTRIES:
                raise exceptions.InvalidArgument(f"too many index entries for entity {self.collection}/{self.id}")
        return size


@lru_cache(maxsize=1)
def exempt() -> frozenset[tuple[str, str]]:
    """Return the fields, by collection, that the deployment keeps out of the indexes."""
    overrides = json.loads(INDEXES.read_text())["fieldOverrides"]
    return frozenset((item["collectionGroup"], item["fieldPath"]) for item in overrides if not item["indexes"])


class Service:
    """The documents of one database; the times of its commits grow with each."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.collections: dict[str, dict[str, Document]] = {}
        self.lock = threading.RLock()
        self._last = time_of(clock()) - TICK

    def read_time(self) -> DatetimeWithNanoseconds:
        """Return the time of what is read now: nothing that is in it was written later."""
        return time_of(max(self.clock(), self._last))

    def documents(self, collection: str) -> Mapping[str, Document]:
        """Return a collection's documents by id."""
        return self.collections.get(collection, {})

    def commit(self, writes: Sequence[Write]) -> None:
        """Carry out all writes, one after the other, or none."""
        at = time_of(max(self.clock(), self._last + TICK))
        results: dict[tuple[str, str], Document | None] = {}
        size = 0
        for write in writes:
            key = (write.collection, write.id)
            check_id(write.id)
            known = results[key] if key in results else self.documents(write.collection).get(write.id)
            results[key] = document = write.result(known, at)
            size += document.size if document is not None else 0
        if size > LARGEST_COMMIT and sum(map(Write.weight, writes)) > LARGEST_COMMIT:
            raise exceptions.InvalidArgument(f"Request payload size exceeds the limit: {LARGEST_COMMIT} bytes.")
        self._last = at
        for (collection, name), document in results.items():
            if document is not None:
                self.collections.setdefault(collection, {})[name] = document
            else:
                self.collections.get(collection, {}).pop(name, None)


def check_id(name: str) -> None:
    """Raise what the service answers where a document could not have this id."""
    if not name.isalnum() and _BAD_ID.match(name):
        raise exceptions.InvalidArgument(f"A document cannot have the id {name!r}")
