"""Queries of the client in memory, as far as our adapters ask them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from google.api_core.retry import Retry
from google.cloud import firestore

from tests.simulation.firestore_service import Document
from tests.simulation.firestore_values import MISSING, Path, order_key, path_of, same, stored, value_at

if TYPE_CHECKING:
    from tests.simulation.firestore import Client, DocumentSnapshot

NAME: Path = ("__name__",)


@dataclass(frozen=True, slots=True)
class Query:
    """`google.cloud.firestore.Query`: one collection's documents, by equality, membership and ranges."""

    client: Client
    path: str  # of the collection; "/name" stands for all of that name
    filters: tuple[tuple[Path, str, Any], ...] = ()
    orders: tuple[tuple[Path, bool], ...] = ()  # what by, and whether descending
    most: int | None = None
    position: tuple[Any, ...] = ()
    only: tuple[str, ...] | None = None
    kind = "query"

    def __str__(self) -> str:
        wanted = "".join(f" {'.'.join(path)} {op} {value}" for path, op, value in self.filters)
        return f"query {self.path}{wanted}"

    def where(self, *, filter: firestore.FieldFilter) -> Query:  # noqa: A002 - the client's name
        chosen = (path_of(filter.field_path), filter.op_string, stored(filter.value))
        return replace(self, filters=(*self.filters, chosen))

    def order_by(self, field: str, direction: str = "ASCENDING") -> Query:
        return replace(self, orders=(*self.orders, (path_of(field), direction == "DESCENDING")))

    def limit(self, count: int) -> Query:
        return replace(self, most=count)

    def start_after(self, position: Mapping[str, Any]) -> Query:
        return replace(self, position=tuple(stored(position[".".join(path)]) for path, _ in self.orders))

    def select(self, fields: Iterable[str]) -> Query:
        return replace(self, only=tuple(fields))

    def count(self) -> Count:
        return Count(self)

    def stream(self, retry: Retry | None = None, timeout: float | None = None) -> Iterator[DocumentSnapshot]:
        found = self.client.ask(self, self.found, retry)
        for collection, name, document in found:
            yield self.client.snapshot(collection, name, document, self.only)

    def found(self) -> list[tuple[str, str, Document]]:
        """Return the documents, in their order; those without a field that is filtered or ordered by are not found."""
        orders = self._all_orders()
        found = [
            (tuple(_key(name, document, path) for path, _ in orders), collection, name, document)
            for collection in self._collections()
            for name, document in self.client.service.documents(collection).items()
            if all(_matches(document, *chosen) for chosen in self.filters)
            and all(path == NAME or value_at(document.fields, path) is not MISSING for path, _ in orders)
        ]
        for number in reversed(range(len(orders))):
            found.sort(key=lambda each, number=number: each[0][number], reverse=orders[number][1])
        if self.position:
            after = tuple(map(order_key, self.position))
            found = [each for each in found if self._is_behind(each[0], after)]
        return [each[1:] for each in found[: self.most]]

    def _collections(self) -> Sequence[str]:
        if not self.path.startswith("/"):
            return [self.path]
        return sorted(path for path in self.client.service.collections if f"/{path}".endswith(self.path))

    def _all_orders(self) -> Sequence[tuple[Path, bool]]:
        """Return the orders asked for with those that the service adds: by what a range is of, and by name."""
        orders = list(self.orders)
        for path, op, _ in self.filters:
            if op not in ("==", "in", "array_contains") and path not in [known for known, _ in orders]:
                orders.append((path, orders[-1][1] if orders else False))
        if NAME not in [path for path, _ in orders]:
            orders.append((NAME, orders[-1][1] if orders else False))
        return orders

    def _is_behind(self, keys: Sequence[Any], after: Sequence[Any]) -> bool:
        for key, limit, (_, descending) in zip(keys, after, self.orders, strict=False):
            if key != limit:
                return bool(key < limit) if descending else bool(key > limit)
        return False


@dataclass(slots=True)
class Count:
    """The documents that a query finds are counted."""

    query: Query
    kind = "count"

    def __str__(self) -> str:
        return f"count {self.query.path}"

    def get(self, retry: Retry | None = None, timeout: float | None = None) -> list[list[Counted]]:
        client = self.query.client
        return [[Counted(client.ask(self, lambda: len(self.query.found()), retry))]]


@dataclass(slots=True)
class Counted:
    """An aggregation's result."""

    value: int


def _key(name: str, document: Document, path: Path) -> tuple[int, Any]:
    return (4, name) if path == NAME else order_key(value_at(document.fields, path))


def _matches(document: Document, path: Path, op: str, wanted: Any) -> bool:
    value = value_at(document.fields, path)
    if value is MISSING:
        return False
    if op == "==":
        return same(value, wanted)
    if op == "in":
        return any(same(value, item) for item in wanted)
    if op == "array_contains":
        return isinstance(value, list) and any(same(item, wanted) for item in value)
    key, limit = order_key(value), order_key(wanted)
    if key[0] != limit[0]:
        return False  # a range is of one type
    return bool({"<": key < limit, "<=": key <= limit, ">": key > limit, ">=": key >= limit}[op])
