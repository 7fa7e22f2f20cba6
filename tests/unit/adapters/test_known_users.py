"""Whoever reads pages of users with a memory reads the same as whoever has none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoprovisioning.adapters.directory import known_users
from autoprovisioning.adapters.directory.answers import BLOT, Unreadable, resource
from autoprovisioning.adapters.directory.known_users import KnownUsers, Resource
from autoprovisioning.adapters.directory.resources import is_user_id, user_of
from autoprovisioning.domain.errors import MappingFailure
from autoprovisioning.domain.mapping import AttributeMapping, Row

TOKEN = "ya29.a-token"
ADA: dict[str, Any] = {
    "id": "1",
    "primaryEmail": "ada@example.com",
    "name": {"givenName": "Ada", "familyName": "Lovelace"},
    "emails": [{"address": "ada@example.com", "primary": True, "type": "home"}],
    "customSchemas": {"HR": {"costCenter": [{"value": "7"}]}},
    "creationTime": "2026-01-09T21:00:00.123Z",
    "aliases": ["countess@example.com"],
    "suspended": False,
}
SHOWN: list[Any] = [
    ADA,
    ADA,
    ADA | {"name": {"givenName": "Zoë", "familyName": "Straße"}},
    ADA | {"name": {"fullName": 'A "quoted" name'}, "aliases": 7},
    ADA | {"suspended": True, "suspensionTime": "2026-11-01T08:00:00Z"},
    ADA | {"archived": "false"},
    ADA | {"isAdmin": True, "orgUnitPath": "/Sales", "id": "2"},
    ADA | {"primaryEmail": f"{TOKEN}@example.com"},
    {"id": "3"},
]
ODD: list[Any] = [{"id": ""}, {"primaryEmail": "nobody@example.com"}, [], None, 7]
SOURCES = {
    "name.givenName": "name.givenName",
    "displayName": "name.fullName",
    "emails.type": "emails[primary].type",
    "title": "customSchemas.HR.costCenter",
    "nickName": "aliases",
}
MAPPING = AttributeMapping(rows=tuple(Row(target=target, source=source) for target, source in SOURCES.items()))


def body(users: Any, **more: Any) -> bytes:
    return json.dumps({"kind": "admin#directory#users", "users": users, **more}).encode()


def attributes(profile: Any) -> Any:
    try:
        return MAPPING.apply(profile)
    except MappingFailure as error:
        return repr(error)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(
    st.lists(st.lists(st.sampled_from(SHOWN), max_size=4), max_size=8),
    st.sampled_from([1000, 4000, known_users.ROOM]),
    st.sampled_from([1, 3, known_users.OPEN]),
)
def test_users_are_those_that_a_page_shows(pages, room, opened):
    known = KnownUsers()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(known_users, "ROOM", room)
        patched.setattr(known_users, "OPEN", opened)
        for page in pages:
            told = known.page(body(page, nextPageToken="p2"), TOKEN)
            items = resource(body(page), TOKEN)["users"]
            assert told == {"users": [user_of(item) for item in items], "nextPageToken": "p2"}
            assert [user.name for user in told["users"]] == [user_of(item).name for item in items]
            assert [attributes(user.profile) for user in told["users"]] == [attributes(item) for item in items]
            assert [user.shown == other.shown for user in told["users"] for other in told["users"]] == [
                item == other for item in items for other in items
            ]
    assert known._size <= room


@given(st.lists(st.sampled_from([*SHOWN, *ODD]), max_size=3), st.sampled_from(ODD))
def test_a_page_with_somebody_who_is_no_user_is_returned_as_it_came(users, odd):
    page, known = [*users, odd], KnownUsers()
    known.page(body([ADA]), TOKEN)
    assert known.page(body(page), TOKEN) == resource(body(page), TOKEN)


@pytest.mark.parametrize(
    "content",
    [b"{}", b'{"users": null}', b'{"users": {}}', b'{"users": [], "nextPageToken": 7}', b'{"error": {"code": 500}}'],
)
def test_whatever_is_no_page_is_returned_as_it_came(content):
    assert KnownUsers().page(content, TOKEN) == json.loads(content)


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"",
        b"{",
        b'{"users": [{"id": "1", "notes": "\xff"}]}',
        b'{"users": [{"id": "1", "notes": ' + b"7" * 5000 + b"}]}",
        b'{"users": [{"id": "1", "notes": ' + b"[" * 5000 + b"]" * 5000 + b"}]}",
        b'{"users": [' + b'{"id":"1"},' * 600_000 + b"{}]}",
    ],
    ids=["list", "nothing", "cut", "not UTF-8", "digits", "deep", "many"],
)
def test_what_cannot_be_read_is_refused_at_once(content):
    known = KnownUsers()
    if not content:
        assert known.page(content, TOKEN) == {}
        return
    for _ in range(2):
        with pytest.raises(Unreadable):
            known.page(content, TOKEN)


def test_whoever_is_known_is_not_read_again(monkeypatch):
    known = KnownUsers()
    (first,) = known.page(body([ADA]), "")["users"]
    monkeypatch.setattr(known_users, "user_of", None)
    assert known.page(body([ADA]), "")["users"][0] is first
    with pytest.raises(TypeError):
        known.page(body([ADA | {"id": "2"}]), "")


def test_our_token_is_not_shown_however_it_was_escaped():
    known, escaped = KnownUsers(), TOKEN.replace("a", "\\u0061")
    for written in (TOKEN, escaped, escaped):
        page = body([ADA, ADA | {"id": "2", "primaryEmail": "x"}], nextPageToken="y")
        told = known.page(page.replace(b'"x"', f'"{written}"'.encode()).replace(b'"y"', f'"{written}"'.encode()), TOKEN)
        assert [user.primary_email for user in told["users"]] == ["ada@example.com", BLOT]
        assert told["users"][1].profile["primaryEmail"] == told["nextPageToken"] == BLOT


def test_long_resources_are_not_kept():
    known = KnownUsers()
    page = body([ADA | {"notes": "x" * known_users.LONGEST}, ADA])
    first, second = known.page(page, ""), known.page(page, "")
    assert first == second
    assert [one is other for one, other in zip(first["users"], second["users"], strict=True)] == [False, True]


def test_only_so_many_resources_stay_decoded(monkeypatch):
    monkeypatch.setattr(known_users, "OPEN", 2)
    known = KnownUsers()
    users = known.page(body([ADA | {"id": str(number)} for number in range(9)]), "")["users"]
    for _ in range(2):
        assert [user.profile["id"] for user in users] == [str(number) for number in range(9)]
        profiles = [user.profile for user in users]
        assert all(isinstance(profile, Resource) for profile in profiles)
        assert sum(profile._fields is not None for profile in profiles) <= 2
    assert is_user_id(users[0].profile.get("id"))
    assert users[0].profile.get("none", 7) == 7
    assert dict(users[0].profile) == ADA | {"id": "0"}
    assert len(users[0].profile) == len(ADA)
