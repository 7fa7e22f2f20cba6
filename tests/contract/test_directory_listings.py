"""Listings of the directory that break off or are malformed never count as complete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autoprovisioning.adapters.directory import GoogleDirectory
from autoprovisioning.domain.errors import ConfigurationRefused, Incomplete
from infra.local.simulation import DirectorySide
from tests.contract.directory_reader import FIELDS, answering, group_id, ids
from tests.contract.directory_servers import PEOPLE, SCOPE
from tests.contract.listener import Listener

LISTINGS: list[tuple[str, Callable[[GoogleDirectory, str], Any]]] = [
    ("users.list", lambda directory, _: directory.users(FIELDS)),
    ("users.list", lambda directory, _: directory.deleted_users()),
    ("members.list", lambda directory, scope: directory.members(scope)),
]
BROKEN: list[dict[str, Any]] = [
    {"status": 503}, {"status": 400, "reason": "invalid"}, {"status": 404, "reason": "notFound"}, {"drop": True},
]  # fmt: skip


@pytest.mark.parametrize("effect", BROKEN)
@pytest.mark.parametrize(("method", "listing"), LISTINGS)
def test_a_listing_that_cannot_begin_is_incomplete(
    workspace: DirectorySide,
    directory: GoogleDirectory,
    customer: dict[str, Any],
    method: str,
    listing: Any,
    effect: dict[str, Any],
) -> None:
    workspace.fault(match={"method": method}, times=None, **effect)
    with pytest.raises(Incomplete, match=method):
        list(listing(directory, group_id(customer, SCOPE)))


@pytest.mark.parametrize("effect", BROKEN)
@pytest.mark.parametrize(("method", "listing"), [LISTINGS[0], LISTINGS[2]])
def test_a_listing_that_breaks_off_in_its_middle_is_incomplete(
    workspace: DirectorySide,
    directory: GoogleDirectory,
    customer: dict[str, Any],
    method: str,
    listing: Any,
    effect: dict[str, Any],
) -> None:
    workspace.fault(match={"method": method, "from_page": 1}, times=None, **effect)
    pages: list[Any] = []
    with pytest.raises(Incomplete, match=method):
        pages.extend(listing(directory, group_id(customer, SCOPE)))
    assert 0 < sum(len(page) for page in pages) < PEOPLE


def test_a_listing_that_stumbles_once_is_complete(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any]
) -> None:
    workspace.fault(match={"method": "users.list", "from_page": 1}, status=503, times=1)
    assert len(ids(directory.users(FIELDS))) == PEOPLE


def test_a_listing_that_is_forbidden_is_a_refused_set_up(workspace: DirectorySide, directory: GoogleDirectory) -> None:
    workspace.fault(match={"method": "users.list"}, status=403, reason="forbidden", times=None)
    with pytest.raises(ConfigurationRefused, match="delegation"):
        list(directory.users(FIELDS))


@pytest.mark.parametrize(
    "answer",
    [
        {"users": None},
        {"users": {}},
        {"users": ["u1"]},
        {"users": [{"primaryEmail": "a@example.com"}]},
        {"error": "something else"},
        {"kind": "admin#directory#users", "people": []},
        [],
        b"<html>sign in</html>",
    ],
)
@pytest.mark.parametrize("page", [1, 2])
def test_an_answer_that_is_no_listing_is_incomplete(listener: Listener, answer: Any, page: int) -> None:
    first = {"users": [{"id": "u1", "primaryEmail": "a@example.com"}], "nextPageToken": "more"}
    answers = [answer] if page == 1 else [first, answer]
    with pytest.raises(Incomplete):
        list(answering(listener, *answers).users(FIELDS))


@pytest.mark.parametrize("answer", [{"kind": "admin#directory#users"}, {"etag": '"x"'}, {"users": []}, {}])
def test_an_empty_listing_is_a_listing(listener: Listener, answer: Any) -> None:
    assert ids(answering(listener, answer).users(FIELDS)) == []


@pytest.mark.parametrize("answer", [{}, b""])
def test_a_later_page_is_never_nothing_at_all(listener: Listener, answer: Any) -> None:
    first = {"users": [{"id": "u1"}], "nextPageToken": "more"}
    with pytest.raises(Incomplete):
        list(answering(listener, first, answer).users(FIELDS))


def test_a_listing_that_repeats_its_page_token_ends(listener: Listener) -> None:
    page = {"users": [{"id": "u1"}], "nextPageToken": "again"}
    with pytest.raises(Incomplete, match="repeats a page token"):
        list(answering(listener, page).users(FIELDS))
    assert len(listener.requests) == 2


@pytest.mark.parametrize(
    "user_id", [1, None, "", "a b", "a@example.com", ".", "..", "u" * 65, "1" * 1_500_000, ["1"], {}]
)
def test_a_listing_that_does_not_say_whom_an_item_is_about_is_incomplete(listener: Listener, user_id: Any) -> None:
    for listing in (
        lambda directory: directory.users(FIELDS),
        lambda directory: directory.deleted_users(),
        lambda directory: directory.members("g1"),
    ):
        items = [{"id": "u1", "type": "USER"}, {"id": user_id, "type": "USER"}]
        with pytest.raises(Incomplete):
            list(listing(answering(listener, {"users": items, "members": items})))


def test_members_who_are_no_users_of_ours_are_passed_over(listener: Listener) -> None:
    others = [
        {"type": "USER", "email": "invited@elsewhere.test"},
        {"id": "g 2", "type": "GROUP"},
        {"id": "x", "type": "EXTERNAL"},
        {"type": "SOMETHING_NEW"},
    ]
    directory = answering(listener, {"members": [*others, {"id": "u1", "type": "USER"}, {"id": "u2"}]})
    assert [member for page in directory.members("g1") for member in page] == ["u1", "u2"]


@pytest.mark.parametrize(
    "member", [{"type": "USER"}, {"id": "u1", "type": 7}, {"id": "u1", "type": None}, {"email": 5}]
)
def test_a_member_who_could_be_anybody_breaks_the_listing_off(listener: Listener, member: Any) -> None:
    with pytest.raises(Incomplete):
        list(answering(listener, {"members": [member]}).members("g1"))
