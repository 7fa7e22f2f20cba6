"""What a process has decoded before: a shard with the same bytes holds the same entries, and entries never change."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from autoprovisioning.adapters.firestore.codec import decode
from autoprovisioning.domain.entry import Entry

MOST = 100_000  # entries of all connections; what has no room is decoded each time


class KnownShards:
    """Decodes shards, but only those whose bytes are not what they were the last time, by a digest of 128 bits."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._shards: dict[tuple[str, int], tuple[bytes, Mapping[str, Entry]]] = {}  # by connection id and number

    def entries(self, connection_id: str, shard: int, data: bytes) -> Mapping[str, Entry]:
        """Return the entries of a shard.

        Raises:
            ConfigurationRefused: it holds something that only a newer version knows.
        """
        digest = hashlib.blake2b(data, digest_size=16).digest()
        known = self._shards.pop((connection_id, shard), (b"", {}))
        self._count -= len(known[1])
        if known[0] != digest:
            known = digest, decode(data).entries
        if self._count + len(known[1]) <= self._most:
            self._shards[connection_id, shard] = known
            self._count += len(known[1])
        return known[1]
