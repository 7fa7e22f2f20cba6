"""Pages that wait in less memory: the same users in the same order, and those who are remembered anyway as they are."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest

from autoprovisioning.adapters.directory import known_users
from autoprovisioning.adapters.directory.known_users import KnownUsers
from autoprovisioning.adapters.directory.packed import Packed
from autoprovisioning.adapters.directory.resources import user_of
from autoprovisioning.domain.directory_user import DirectoryUser
from infra.local.directory.fixture import make

PAGE = make(500)["users"]
ODD: list[dict[str, Any]] = [
    {"id": "1"},
    {"id": "2", "name": {"givenName": "Zoë", "fullName": None}, "customSchemas": {"HR": {"grade": 7.5}}},
    {"id": "3", "suspended": "false", "aliases": ["b@example.com", 7]},
    {"id": "4", "archived": True, "archivalTime": "2026-01-09T21:00:00.123Z", "isAdmin": True},
]


def read(items: Sequence[dict[str, Any]]) -> list[DirectoryUser]:
    return list(KnownUsers().page(json.dumps({"users": items}).encode(), "a-token-of-ours")["users"])


@pytest.mark.parametrize("items", [[], ODD, ODD + PAGE])
@pytest.mark.parametrize("room", [0, 5_000, known_users.ROOM])
def test_the_users_are_the_same(monkeypatch, items, room):
    monkeypatch.setattr(known_users, "ROOM", room)
    users = read(items)
    packed = Packed(users)
    assert list(packed) == users
    assert list(packed) == users, "as often as one likes"
    assert [user.shown for user in packed] == [user.shown for user in users]
    assert [dict(user.profile) for user in packed] == items
    assert len(packed) == len(items)
    assert packed[1:3] == users[1:3]


def test_whoever_is_remembered_is_the_same_object():
    users = read(PAGE[:3])
    assert all(here is there for here, there in zip(Packed(users), users, strict=True))


def test_they_take_a_tenth_of_the_memory_at_most():
    def taken(wait: Any) -> int:
        tracemalloc.start()
        try:
            kept = wait([user_of(item) for item in json.loads(json.dumps(PAGE))])
            assert len(kept) == len(PAGE)
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    assert taken(Packed) < taken(list) / 10
