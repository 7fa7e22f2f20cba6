"""What the shape of a roster shard costs: a map of entries, or all of them encoded in one field.

    PYTHONPATH=functions python -m tests.benchmark.roster_shapes

CPU of the client library alone, without a server: protobuf messages are parsed and made as for a real shard. The
figures of docs/adr/0003-roster-shards.md come from here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from google.cloud.firestore_v1 import _helpers
from google.cloud.firestore_v1.types import Document

from autoprovisioning.adapters.firestore.codec import decode, encode
from autoprovisioning.domain.entry import Entry, Status

ENTRIES, SHARDS = 312, 64  # some 20,000 users


def shard() -> dict[str, Entry]:
    """Return a shard of provisioned users."""
    entries = [
        Entry(
            user_id=f"1{number:020d}",
            version=3,
            email=f"person{number}@example.com",
            scim_id=f"{number:015d}",
            fingerprint="f" * 58,
            status=Status.ACTIVE,
            in_scope=True,
        )
        for number in range(ENTRIES)
    ]
    return {entry.user_id: entry for entry in entries}


def packed(fields: dict[str, Any]) -> bytes:
    """Return the document as it goes over the wire."""
    return bytes(Document.serialize(Document(fields=_helpers.encode_dict(fields))))


def unpacked(data: bytes) -> dict[str, Any]:
    """Return the fields of a document that came over the wire."""
    return dict(_helpers.decode_dict(Document.deserialize(data).fields, None))


def as_map(entries: dict[str, Entry]) -> bytes:
    return packed({"entries": {user_id: asdict(entry) for user_id, entry in entries.items()}})


def of_map(data: bytes) -> dict[str, Entry]:
    return {
        user_id: Entry(**{**fields, "status": Status(fields["status"]), "drift": tuple(fields["drift"])})
        for user_id, fields in unpacked(data)["entries"].items()
    }


def as_field(entries: dict[str, Entry]) -> bytes:
    return packed({"entries": encode(entries)})


def of_field(data: bytes) -> dict[str, Entry]:
    return decode(unpacked(data)["entries"]).entries


def best(act: Callable[[], object], times: int) -> float:
    """Return the milliseconds of the fastest of a few calls."""
    took = []
    for _ in range(times):
        started = time.process_time()
        act()
        took.append(time.process_time() - started)
    return 1000 * min(took)


def main() -> None:
    """Measure and print the table."""
    entries = shard()
    one = next(iter(entries))
    print("| shape | bytes a shard | ms to read 64 shards | ms to change one entry |\n|---|---|---|---|")
    shapes = (("a map of entries", as_map, of_map), ("one encoded field", as_field, of_field))
    for name, write, read in shapes:
        data = write(entries)
        assert read(data) == entries

        def change(data: bytes = data, write: Any = write, read: Any = read) -> bytes:
            found = read(data)
            changed: bytes = write({**found, one: replace(found[one], version=4)})
            return changed

        reading = SHARDS * best(lambda data=data, read=read: read(data), 5)
        print(f"| {name} | {len(data):,} | {reading:,.0f} | {best(change, 5):.1f} |", flush=True)


if __name__ == "__main__":
    main()
