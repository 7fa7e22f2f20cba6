"""Values as Firestore keeps them: what is stored of them, how large they are, in which order they come.

Stored values are never changed, so documents and snapshots share them; what is handed out is copied where it could be
changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from google.api_core import exceptions
from google.api_core.datetime_helpers import DatetimeWithNanoseconds
from google.cloud import firestore
from google.cloud.firestore_v1.field_path import FieldPath, get_nested_value
from google.cloud.firestore_v1.transforms import ArrayRemove, ArrayUnion, Increment, Sentinel

Fields = dict[str, Any]
Path = tuple[str, ...]
Update = tuple[Path, Any]  # a value, or what the service makes one of
MISSING = object()
REMOVED = firestore.DELETE_FIELD

_PLAIN = frozenset({str, bytes, int, float, bool, type(None), DatetimeWithNanoseconds})
_AS_IS = _PLAIN - {int}  # of an integer the size is checked
_TRANSFORMS = (Sentinel, Increment, ArrayUnion, ArrayRemove)
_SIZES = {type(None): 1, bool: 1, int: 8, float: 8, DatetimeWithNanoseconds: 8}
_INTEGERS = 2**63  # the service's are of 64 bits
_RANKS = {type(None): 0, bool: 1, int: 2, float: 2, DatetimeWithNanoseconds: 3, str: 4, bytes: 5, list: 8, dict: 10}


@lru_cache(maxsize=4096)
def time_of(at: datetime) -> DatetimeWithNanoseconds:
    """Return a time as the client hands it out: of its own class, in UTC; a time without a zone is in UTC too."""
    at = at.astimezone(UTC) if at.tzinfo else at
    return DatetimeWithNanoseconds(at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond, tzinfo=UTC)


def stored(value: Any) -> Any:
    """Return a value as it is stored, sharing nothing with the caller's; raises TypeError for what cannot be stored."""
    kind = type(value)
    if kind is int and not -_INTEGERS <= value < _INTEGERS:
        raise ValueError("Value out of range: an integer has 64 bits")
    if kind in _PLAIN:
        return value
    if isinstance(value, datetime):
        return time_of(value)
    if isinstance(value, Mapping):
        return {_name(name): stored(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [stored(item) for item in value]
        if list in map(type, items):
            raise exceptions.InvalidArgument("Cannot convert an array value in an array value.")
        return items
    for plain in (bool, int, float, str, bytes):
        if isinstance(value, plain):  # an enumeration, say
            return plain.__new__(plain, value) if plain is not str else str.__str__(value)
    raise TypeError("Cannot convert to a Firestore Value", value, "Invalid type", type(value))


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise ValueError("One or more components is not a string or is empty.")
    return name


def taken_apart(fields: Mapping[str, Any], made: list[Update], prefix: Path = ()) -> Fields:
    """Return the fields that hold values, stored; what the service makes values of goes to `made`."""
    values: Fields = {}
    for name, value in fields.items():
        if type(value) in _AS_IS:
            values[_name(name)] = value
        elif isinstance(value, dict):
            inner = taken_apart(value, made, (*prefix, _name(name)))
            if inner or not value:
                values[name] = inner
        elif isinstance(value, _TRANSFORMS):
            made.append(((*prefix, _name(name)), value))
        else:
            values[_name(name)] = stored(value)
    return values


def copied(value: Any) -> Any:
    """Return a stored value for somebody who may change it."""
    kind = type(value)
    if kind is dict:
        return {name: item if type(item) in _PLAIN else copied(item) for name, item in value.items()}
    if kind is list:
        return [copied(item) for item in value]
    return value


@lru_cache(maxsize=4096)
def path_of(text: str) -> Path:
    """Return the names that a field's path consists of: they are between dots, those with odd letters in backticks."""
    return tuple(FieldPath.from_string(text).parts)


def leaves(fields: Fields, prefix: Path = ()) -> list[Update]:
    """Return the values inside of maps, with their paths; an empty map is a value."""
    found: list[Update] = []
    for name, value in fields.items():
        if type(value) is dict and value:
            found += leaves(value, (*prefix, name))
        else:
            found.append(((*prefix, name), value))
    return found


def value_at(fields: Fields, path: Path) -> Any:
    """Return what is there, or MISSING."""
    value: Any = fields
    for name in path:
        if type(value) is not dict or name not in value:
            return MISSING
        value = value[name]
    return value


def shown(fields: Fields, path: str) -> Any:
    """Return a copy of a value for somebody who may change it; raises KeyError if there is none."""
    return copied(fields[path] if path in fields and "." not in path else get_nested_value(path, fields))


def put(fields: Fields, path: Path, value: Any) -> None:
    """Replace a value, or remove it; the maps on the way are copied, since others may share them."""
    name = path[0]
    if len(path) > 1:
        inner = fields.get(name)
        if type(inner) is not dict and value is REMOVED:
            return
        fields[name] = inner = dict(inner) if type(inner) is dict else {}
        put(inner, path[1:], value)
    elif value is REMOVED:
        fields.pop(name, None)
    else:
        fields[name] = value


def made_of(transform: Any, known: Any, at: DatetimeWithNanoseconds) -> Any:
    """Return the value that the service makes of a transform and what is there."""
    if transform is firestore.SERVER_TIMESTAMP:
        return at
    if isinstance(transform, Increment):
        return known + transform.value if type(known) in (int, float) else transform.value
    items = list(known) if type(known) is list else []
    if isinstance(transform, ArrayRemove):
        return [item for item in items if not any(same(item, stored(other)) for other in transform.values)]
    for other in map(stored, transform.values):
        if not any(same(item, other) for item in items):
            items.append(other)
    return items


def size_of(value: Any) -> int:
    """Return a value's bytes (firebase.google.com/docs/firestore/storage-size)."""
    kind = type(value)
    if kind in _SIZES:
        return _SIZES[kind]
    if kind is bytes:
        return len(value)
    if kind is str:
        return (len(value) if value.isascii() else len(value.encode())) + 1
    if kind is dict:
        size = 0
        for name, item in value.items():
            size += size_of(name) + size_of(item)
        return size
    return sum(map(size_of, value))


def index_entries(value: Any) -> int:
    """Return how many entries single-field indexes have of a value: two orders, and one for each item of an array."""
    if type(value) is dict:
        return 2 + sum(map(index_entries, value.values()))
    if type(value) is list:
        return 2 + len(value)
    return 2


def same(one: Any, other: Any) -> bool:
    """Say whether two stored values are equal; a boolean is no number."""
    return _RANKS[type(one)] == _RANKS[type(other)] and bool(one == other)


def unchanged(one: Any, other: Any) -> bool:
    """Say whether two values are the same and of the same types, which Python's equality does not tell."""
    if type(one) is not type(other) or one != other:
        return False
    if type(one) is dict:
        return all(unchanged(item, other[name]) for name, item in one.items())
    return type(one) is not list or all(map(unchanged, one, other))


def order_key(value: Any) -> tuple[int, Any]:
    """Return what values of any type are sorted by."""
    kind = type(value)
    if kind is list:
        return _RANKS[kind], tuple(map(order_key, value))
    if kind is dict:
        return _RANKS[kind], tuple((name, order_key(value[name])) for name in sorted(value))
    return _RANKS[kind], 0 if value is None else value
