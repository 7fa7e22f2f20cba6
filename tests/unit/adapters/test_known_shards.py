"""Whoever remembers what shards held reads the same as whoever does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoprovisioning.adapters.firestore import known_shards
from autoprovisioning.adapters.firestore.codec import decode, encode
from autoprovisioning.adapters.firestore.known_shards import KnownShards
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.errors import ConfigurationRefused
from tests.support.builders import entry

USERS = st.sampled_from(["u1", "u2", "u3"])
ENTRIES = st.builds(lambda user_id, version: replace(entry(version=version), user_id=user_id), USERS, st.integers(0, 2))
SHARDS = st.lists(ENTRIES, max_size=3).map(lambda entries: encode({each.user_id: each for each in entries}))
READS = st.lists(st.tuples(st.sampled_from(["c1", "c2"]), st.integers(0, 1), SHARDS), max_size=30)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(READS, st.integers(0, 6))
def test_what_is_remembered_is_what_would_be_decoded(reads, most):
    memory = KnownShards(most)
    for connection_id, shard, data in reads:
        assert memory.entries(connection_id, shard, data) == decode(data).entries


def test_the_same_bytes_are_decoded_once(monkeypatch):
    memory = KnownShards(2)
    data = encode({"u1": Entry(user_id="u1"), "u2": Entry(user_id="u2")})
    first = memory.entries("c1", 0, data)
    monkeypatch.setattr(known_shards, "decode", None)
    assert memory.entries("c1", 0, bytes(bytearray(data))) is first


def test_what_has_no_room_is_decoded_each_time():
    memory = KnownShards(1)
    small, large = encode({"u1": Entry(user_id="u1")}), encode({"u2": Entry(user_id="u2"), "u3": Entry(user_id="u3")})
    kept, passed = memory.entries("c1", 0, small), memory.entries("c1", 1, large)
    assert memory.entries("c1", 0, small) is kept
    assert memory.entries("c1", 1, large) is not passed
    assert memory.entries("c1", 0, large) == passed
    other = memory.entries("c1", 1, small)
    assert memory.entries("c1", 1, small) is other  # there is room again


def test_what_only_a_newer_version_knows_is_refused_after_what_was_known_before():
    memory = KnownShards(1)
    memory.entries("c1", 0, encode({"u1": Entry(user_id="u1")}))
    for _ in range(2):
        with pytest.raises(ConfigurationRefused, match="another version"):
            memory.entries("c1", 0, b"\x91\x91\x01")
