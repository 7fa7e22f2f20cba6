"""Firestore's client in memory, as far as our adapters use it: for simulations, where the emulator is too slow.

`Client` is what the adapters are given instead of `google.cloud.firestore.Client`; several share one `Service`. The
adapters' contract tests hold both to the emulator.

Each call passes the `Network` twice: before it takes effect, and before its answer arrives. Whatever is raised there
the client raises, or repeats the call where the caller's `retry` says so, as the real one does. Between the two a call
is atomic. Reads are never stale, since Firestore is strongly consistent, queries included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from google.api_core import exceptions
from google.api_core.datetime_helpers import DatetimeWithNanoseconds
from google.api_core.retry import Retry

from tests.simulation.firestore_queries import Query
from tests.simulation.firestore_service import ANYTHING, Call, Document, Network, Precondition, Service, Write, check_id
from tests.simulation.firestore_values import (
    MISSING,
    REMOVED,
    Fields,
    Update,
    copied,
    leaves,
    path_of,
    shown,
    taken_apart,
    time_of,
    value_at,
)

T = TypeVar("T")

ABSENT = Precondition(exists=False)
PRESENT = Precondition(exists=True)


class Client:
    """`google.cloud.firestore.Client`."""

    def __init__(self, service: Service, network: Network | None = None) -> None:
        self.service = service
        self.network = network or Network()

    def collection(self, path: str) -> CollectionReference:
        if path.count("/") % 2:
            raise ValueError("A collection must have an odd number of path elements")
        return CollectionReference(self, path)

    def collection_group(self, name: str) -> Query:
        return Query(self, f"/{name}")

    def document(self, path: str) -> DocumentReference:
        collection, _, name = path.rpartition("/")
        if not collection or collection.count("/") % 2:
            raise ValueError("A document must have an even number of path elements")
        return DocumentReference(self, collection, name)

    def batch(self) -> WriteBatch:
        return WriteBatch(self)

    def write_option(self, *, last_update_time: datetime | None = None, exists: bool | None = None) -> Precondition:
        return Precondition(exists, None if last_update_time is None else time_of(last_update_time))

    def get_all(
        self, references: Iterable[DocumentReference], retry: Retry | None = None, timeout: float | None = None
    ) -> Iterator[DocumentSnapshot]:
        asked = Get(tuple(references))
        return iter(self.ask(asked, lambda: [self._found(reference) for reference in asked.references], retry))

    def _found(self, reference: DocumentReference) -> DocumentSnapshot:
        check_id(reference.id)
        return DocumentSnapshot(reference, self.service.documents(reference.collection_path).get(reference.id))

    def snapshot(self, collection: str, name: str, document: Document, only: Sequence[str] | None) -> DocumentSnapshot:
        """Return what a query found."""
        return DocumentSnapshot(DocumentReference(self, collection, name), document, only)

    def ask(self, call: Call, effect: Callable[[], T], retry: Retry | None) -> T:
        """Make a call, again for as long as `retry` says where the network failed in a way that it names."""
        began, pause = self.service.clock(), 0.0
        while True:
            try:
                self.network.before(call)
                with self.service.lock:
                    answer = effect()
                self.network.after(call)
                return answer
            except exceptions.GoogleAPICallError as error:
                if retry is None or not retry._predicate(error):
                    raise
                pause = min(pause * retry._multiplier or retry._initial, retry._maximum)
                if (self.service.clock() - began).total_seconds() + pause > retry._timeout:
                    raise exceptions.RetryError(f"Timeout of {retry._timeout}s exceeded", error) from error
                self.network.sleep(pause)

    def close(self) -> None:
        """Nothing is open."""


@dataclass(slots=True)
class Get:
    """Documents are read by their names."""

    references: tuple[DocumentReference, ...]
    kind = "get"

    def __str__(self) -> str:
        return "get " + ", ".join(reference.path for reference in self.references)


@dataclass(slots=True)
class Commit:
    """A batch is committed."""

    writes: Sequence[Write]
    kind = "commit"

    def __str__(self) -> str:
        return "commit " + ", ".join(f"{write.verb} {write.collection}/{write.id}" for write in self.writes)


class DocumentReference:
    """`google.cloud.firestore.DocumentReference`."""

    __slots__ = ("_client", "collection_path", "id", "path")

    def __init__(self, client: Client, collection_path: str, name: str) -> None:
        self._client = client
        self.collection_path = collection_path
        self.id = name
        self.path = f"{collection_path}/{name}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DocumentReference) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def parent(self) -> CollectionReference:
        return CollectionReference(self._client, self.collection_path)

    def read_time(self) -> DatetimeWithNanoseconds:
        return self._client.service.read_time()

    def collection(self, name: str) -> CollectionReference:
        return CollectionReference(self._client, f"{self.path}/{name}")

    def get(self, retry: Retry | None = None, timeout: float | None = None) -> DocumentSnapshot:
        client = self._client
        return client.ask(Get((self,)), lambda: client._found(self), retry)

    def create(self, fields: Mapping[str, Any]) -> None:
        self._commit(lambda batch: batch.create(self, fields))

    def set(self, fields: Mapping[str, Any], merge: bool | Sequence[str] = False) -> None:
        self._commit(lambda batch: batch.set(self, fields, merge))

    def update(self, fields: Mapping[str, Any], option: Precondition | None = None) -> None:
        self._commit(lambda batch: batch.update(self, fields, option))

    def delete(self, option: Precondition | None = None) -> None:
        self._commit(lambda batch: batch.delete(self, option))

    def _commit(self, add: Callable[[WriteBatch], None]) -> None:
        batch = self._client.batch()
        add(batch)
        batch.commit()


class DocumentSnapshot:
    """`google.cloud.firestore.DocumentSnapshot`."""

    __slots__ = ("_fields", "create_time", "exists", "read_time", "reference", "update_time")

    def __init__(
        self, reference: DocumentReference, document: Document | None, only: Sequence[str] | None = None
    ) -> None:
        self.reference = reference
        self.exists = document is not None
        self.read_time = reference.read_time()
        self.create_time: DatetimeWithNanoseconds | None = None
        self.update_time: DatetimeWithNanoseconds | None = None
        self._fields: Fields = {}
        if document is not None:
            self.create_time, self.update_time = document.created, document.updated
            fields = document.fields
            self._fields = fields if only is None else {name: fields[name] for name in only if name in fields}

    @property
    def id(self) -> str:
        return self.reference.id

    def get(self, path: str) -> Any:
        return shown(self._fields, path) if self.exists else None

    def to_dict(self) -> Fields | None:
        return copied(self._fields) if self.exists else None


class WriteBatch:
    """`google.cloud.firestore.WriteBatch`."""

    __slots__ = ("_client", "_writes")

    def __init__(self, client: Client) -> None:
        self._client = client
        self._writes: list[Write] = []

    def create(self, reference: DocumentReference, fields: Mapping[str, Any]) -> None:
        self._replace("create", reference, ABSENT, fields)

    def set(self, reference: DocumentReference, fields: Mapping[str, Any], merge: bool | Sequence[str] = False) -> None:
        if merge is False:
            self._replace("set", reference, ANYTHING, fields)
            return
        made: list[Update] = []
        values = taken_apart(fields, made)
        updates = leaves(values)
        if merge is not True:
            paths = [path_of(name) for name in merge]
            made = [item for item in made if any(item[0][: len(path)] == path for path in paths)]
            updates = [(path, value_at(values, path)) for path in paths]
            if any(value is MISSING for _, value in updates):
                raise NotImplementedError("A field that is merged by name has a value")
        self._add("merge", reference, ANYTHING, updates, made)

    def update(
        self, reference: DocumentReference, fields: Mapping[str, Any], option: Precondition | None = None
    ) -> None:
        if not fields:
            raise ValueError("Cannot update with an empty document.")
        if option is not None and option.exists is not None:
            raise ValueError("you must not pass an explicit write option to update.")
        updates: list[Update] = []
        made: list[Update] = []
        for name, value in fields.items():
            path = path_of(name)
            inner = taken_apart({path[-1]: value}, made, path[:-1])
            updates += [(path, item) for item in inner.values()]
        self._add("update", reference, option or PRESENT, updates, made)

    def delete(self, reference: DocumentReference, option: Precondition | None = None) -> None:
        self._add("delete", reference, option or ANYTHING, (), ())

    def commit(self, retry: Retry | None = None, timeout: float | None = None) -> None:
        writes, self._writes = self._writes, []
        self._client.ask(Commit(writes), lambda: self._client.service.commit(writes), retry)

    def _replace(
        self, verb: str, reference: DocumentReference, required: Precondition, fields: Mapping[str, Any]
    ) -> None:
        made: list[Update] = []
        values = taken_apart(fields, made)
        if any(value is REMOVED for _, value in made):
            raise ValueError(f"Cannot apply DELETE_FIELD in a {verb} request.")
        self._writes.append(Write(verb, reference.collection_path, reference.id, required, values, (), made))

    def _add(
        self,
        verb: str,
        reference: DocumentReference,
        required: Precondition,
        updates: Sequence[Update],
        made: Sequence[Update],
    ) -> None:
        removed = [item for item in made if item[1] is REMOVED]
        made = [item for item in made if item[1] is not REMOVED]
        updates = [*updates, *removed]
        self._writes.append(Write(verb, reference.collection_path, reference.id, required, None, updates, made))


class CollectionReference:
    """`google.cloud.firestore.CollectionReference`: a query for all of it, too."""

    __slots__ = ("_client", "_path")

    def __init__(self, client: Client, path: str) -> None:
        self._client = client
        self._path = path

    def document(self, name: str) -> DocumentReference:
        return DocumentReference(self._client, self._path, name)

    def __getattr__(self, name: str) -> Any:
        return getattr(Query(self._client, self._path), name)
