"""What msgspec must know before it decodes into a type, made by one thread at a time."""

from __future__ import annotations

import threading
from typing import TypeVar

import msgspec

T = TypeVar("T")

_building = threading.Lock()
_built: set[object] = set()


def built(as_type: type[T]) -> type[T]:
    """Return the type, once everything that decoding into it needs is known.

    msgspec learns the fields of a struct or dataclass when it first decodes into one, registers the type before it
    knows its parts, and can be interrupted there by other threads. A thread that decodes into a half-known type, as
    happens when the first requests of an instance arrive together, kills the process (SIGSEGV).
    """
    if as_type not in _built:
        with _building:  # one for all types: they have parts in common
            msgspec.msgpack.Decoder(as_type)
            _built.add(as_type)
    return as_type
