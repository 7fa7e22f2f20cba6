"""A listing in parts: the same users as one listing has, what breaks it, and what the API's limits do to its pace."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from autoprovisioning.adapters.directory import DirectoryTransport, GoogleDirectory, Quota, anonymous
from autoprovisioning.adapters.threads import Threads
from autoprovisioning.app.runs.list_users import Pages, Parts, everybody
from autoprovisioning.app.runs.read_directory import Survey
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.errors import Incomplete, Transient
from autoprovisioning.domain.listing_parts import LETTERS
from infra.local.simulation import DirectorySide
from tests.contract.directory_reader import FIELDS, answering, ids
from tests.contract.directory_servers import PEOPLE
from tests.contract.listener import Listener, Request, Response
from tests.contract.scim_servers import Counts
from tests.support.builders import DAY, NOW


def in_parts(
    directory: GoogleDirectory, known: Sequence[str] = (), beginnings: Sequence[str] = tuple(LETTERS)
) -> tuple[list[DirectoryUser], Survey]:
    entries = [Entry(user_id=user_id, email=f"{user_id}@example.com") for user_id in known]
    parts = Parts(beginnings=tuple(beginnings), executor=Threads(), at_once=4, known=lambda: entries)
    survey = Survey(members={}, deleted={})
    return list(
        everybody(Pages(directory=directory, fields=FIELDS, clock=lambda: NOW, parts=parts), survey, NOW + DAY)
    ), survey


def test_a_query_by_the_beginning_finds_primary_addresses_and_aliases_in_their_order(
    workspace: DirectorySide, api: Any, customer: dict[str, Any]
) -> None:
    def begins(user: dict[str, Any]) -> bool:
        return any(each.startswith("al") for each in (user["primaryEmail"], *user.get("aliases", ())))

    listed = api.users().list(customer="my_customer", maxResults=500, query="email:al*").execute()["users"]
    found = [user["primaryEmail"] for user in listed]
    assert found == sorted(user["primaryEmail"] for user in customer["users"] if begins(user))
    assert [address for address in found if not address.startswith("al")], "some only have such an alias"


def test_the_parts_have_the_users_that_one_listing_has_and_each_once(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any]
) -> None:
    found, survey = in_parts(directory)
    assert sorted(user.id for user in found) == sorted(ids(directory.users(FIELDS)))
    assert len(found) == PEOPLE
    assert {user.id: user for user in found} == {user.id: user for page in directory.users(FIELDS) for user in page}
    assert (survey.in_parts, survey.complete, survey.proves_missing) == (True, True, False)


def test_whom_no_part_has_is_read_by_id_if_the_roster_has_them(
    workspace: DirectorySide, directory: GoogleDirectory, counts: Counts, customer: dict[str, Any]
) -> None:
    odd, other = (customer["users"][number]["id"] for number in (3, 4))
    workspace.patch(odd, {"primaryEmail": "'odd@example.com", "aliases": []})
    state = workspace.control("GET", "state")
    for user in state["users"]:
        if user["id"] == odd:
            user["aliases"] = []
    workspace.control("PUT", "state", state)
    found, survey = in_parts(directory, known=[odd, other, "118000000000000000404"])
    assert len(found) == PEOPLE
    assert [user.primary_email for user in found if user.id == odd] == ["'odd@example.com"]
    assert (survey.in_parts, survey.doubted) == (True, False)
    assert odd not in {user.id for user in in_parts(directory)[0]}, "nobody asked for them"


@pytest.mark.parametrize("effect", [{"status": 503}, {"status": 400, "reason": "invalid"}, {"drop": True}])
def test_where_a_part_fails_everybody_is_listed_in_one_listing(
    workspace: DirectorySide, directory: GoogleDirectory, effect: dict[str, Any]
) -> None:
    workspace.fault(match={"method": "users.list", "query": "email:g*"}, times=None, **effect)
    with pytest.raises(Incomplete, match=r"users\.list"):
        list(directory.users_beginning("g", FIELDS))
    found, survey = in_parts(directory)
    assert len({user.id for user in found}) == len(found) == PEOPLE
    assert (survey.in_parts, survey.doubted, survey.proves_missing) == (False, True, True)


def test_where_that_fails_too_the_listing_is_incomplete(workspace: DirectorySide, directory: GoogleDirectory) -> None:
    workspace.fault(match={"method": "users.list", "query": "email:g*"}, times=None, status=503)
    workspace.fault(match={"method": "users.list", "query": "", "from_page": 1}, times=None, status=503)
    _, survey = in_parts(directory)
    assert (survey.complete, survey.in_parts, len(survey.notes)) == (False, False, 1)


def test_a_server_that_ignores_the_query_is_not_listed_in_parts(listener: Listener) -> None:
    users = [{"id": f"u{number}", "primaryEmail": f"m{number}@example.com"} for number in range(30)]
    directory = answering(listener, {"users": users})
    with pytest.raises(Incomplete, match="begins with 'a'"):
        list(directory.users_beginning("a", FIELDS))
    assert len(ids(directory.users_beginning("m", FIELDS))) == 30
    found, survey = in_parts(directory, beginnings=("a", "m"))
    assert (len(found), survey.in_parts, survey.proves_missing) == (30, False, True)


@pytest.mark.parametrize("presence", [Presence.SUSPENDED, Presence.ARCHIVED])
def test_those_with_a_flag_are_found_by_it(
    workspace: DirectorySide, directory: GoogleDirectory, customer: dict[str, Any], presence: Presence
) -> None:
    everyone = [user for page in directory.users(FIELDS) for user in page]
    wanted = sorted(user.id for user in everyone if user.presence is presence)
    found = [user for page in directory.users_who_are(presence) for user in page]
    assert sorted(user.id for user in found if user.presence is presence) == wanted != []
    dated = {user.id: user.since for user in everyone}
    assert all(user.since == dated[user.id] for user in found)


def test_a_server_that_ignores_the_query_for_a_flag_finds_nobody(listener: Listener) -> None:
    users = [{"id": f"u{number}", "primaryEmail": f"m{number}@example.com"} for number in range(30)]
    with pytest.raises(Incomplete, match="isSuspended=true is not true"):
        list(answering(listener, {"users": users}).users_who_are(Presence.SUSPENDED))


@pytest.mark.parametrize("effect", [{"status": 503}, {"status": 400, "reason": "invalid"}, {"drop": True}])
def test_a_listing_of_those_with_a_flag_that_breaks_off_says_so(
    workspace: DirectorySide, directory: GoogleDirectory, effect: dict[str, Any]
) -> None:
    workspace.fault(match={"method": "users.list", "query": "isSuspended=true"}, times=None, **effect)
    with pytest.raises(Incomplete, match=r"users\.list"):
        list(directory.users_who_are(Presence.SUSPENDED))


def test_somebody_who_had_the_address_a_moment_ago_is_a_user_like_any_other(listener: Listener) -> None:
    users = [{"id": "u1", "primaryEmail": "b@example.com"}, {"id": "u2", "primaryEmail": "a@example.com"}]
    assert ids(answering(listener, {"users": users}).users_beginning("a", FIELDS)) == ["u1", "u2"]


@pytest.mark.parametrize("reason", [(403, "userRateLimitExceeded"), (403, "quotaExceeded"), (429, "rateLimitExceeded")])
def test_refusals_by_a_limit_slow_the_process_down_and_nothing_is_missed(
    workspace: DirectorySide, reason: tuple[int, str]
) -> None:
    status, named = reason
    quota = Quota(24_000)
    transport = DirectoryTransport(
        workspace.url, anonymous(workspace.url), Counts(), timeout=timedelta(seconds=5), first_pause=0.01, quota=quota
    )
    workspace.fault(match={"method": "users.list"}, times=3, status=status, reason=named, domain="usageLimits")
    found, survey = in_parts(GoogleDirectory(transport))
    assert (len(found), survey.in_parts) == (PEOPLE, True)
    assert quota.rate < 0.7 * 24_000


def test_other_failures_do_not_slow_it_down(workspace: DirectorySide) -> None:
    quota = Quota(24_000)
    transport = DirectoryTransport(workspace.url, anonymous(workspace.url), Counts(), first_pause=0.01, quota=quota)
    workspace.fault(match={"method": "users.get"}, times=2, status=503)
    assert GoogleDirectory(transport).user("100000000000000000000") is not None
    assert quota.rate == 24_000


def test_a_request_that_the_quota_has_no_room_for_soon_is_not_sent(workspace: DirectorySide, counts: Counts) -> None:
    quota = Quota(60)
    quota.take(0)
    for _ in range(59):
        quota.take(0)
    transport = DirectoryTransport(
        workspace.url, anonymous(workspace.url), counts, timeout=timedelta(seconds=0.5), quota=quota
    )
    with pytest.raises(Transient, match="quota") as raised:
        GoogleDirectory(transport).user("100000000000000000000")
    assert raised.value.retry_after == pytest.approx(1, abs=0.2)
    assert counts == {}


def test_connections_are_kept_whatever_thread_asks(listener: Listener) -> None:
    seen: list[Request] = []

    def answer(request: Request) -> Response:
        seen.append(request)
        letters = parse_qs(urlsplit(request.path).query)["query"][0][len("email:") : -1]
        users = [{"id": f"{letters}1", "primaryEmail": f"{letters}1@example.com"}]
        return Response(200, json.dumps({"users": users}).encode(), {"Content-Type": "application/json"})

    listener.answer = answer
    opened: list[str] = []
    sessions = anonymous(listener.url)

    def opening() -> Any:
        opened.append("session")
        return sessions()

    directory = GoogleDirectory(DirectoryTransport(listener.url, opening, Counts()))
    found, survey = in_parts(directory, beginnings=tuple(LETTERS))
    assert (len(found), survey.in_parts) == (len(LETTERS), True)
    assert len(opened) <= 4, "four are under way at once, each over a session that an earlier one used"


def test_no_more_pages_are_under_way_at_once_than_chosen_whatever_is_listed(listener: Listener) -> None:
    lock, under_way, most = threading.Lock(), 0, 0

    def answer(request: Request) -> Response:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.02)  # it takes its time
        with lock:
            under_way -= 1
        return Response(200, b"{}", {"Content-Type": "application/json"})

    listener.answer = answer
    directory = GoogleDirectory(DirectoryTransport(listener.url, anonymous(listener.url), Counts()), at_once=3)
    listings = [lambda: list(directory.members("g1")), lambda: list(directory.users(FIELDS)), directory.org_units]
    asked = [*listings, lambda: list(directory.users_beginning("a", FIELDS))] * 5
    assert len(list(Threads().each(lambda ask: ask(), asked, len(asked)))) == len(asked)
    assert most == 3
