"""GoogleDirectory over DirectoryTransport against the Directory simulator; faults are injected at the wire."""

from __future__ import annotations

import base64
import gzip
import json
import time
import urllib.parse
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from autoprovisioning.adapters.directory import DirectoryTransport, GoogleDirectory, anonymous
from autoprovisioning.adapters.directory.transport import ATTEMPTS, SCOPES
from autoprovisioning.app.ports import Channel
from autoprovisioning.domain.errors import BadInput, ConfigurationRefused, Incomplete, ProvisioningError, Transient
from autoprovisioning.domain.users import Presence
from infra.local.processes import free_port
from infra.local.world import DirectorySide, wait_for
from tests.contract.directory_servers import PEOPLE, as_new, simulator, validate
from tests.contract.google_stand_in import Google, run_as_function
from tests.contract.listener import DROPPED, Listener, Request, Response, listening
from tests.contract.scim_servers import Counts

SCOPE = "keeper-users@example.com"
FIELDS = frozenset({"primaryEmail", "name", "emails"})
PARTNER = "900000000000000000001"  # a member of the scope group from outside the customer


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DirectorySide, dict[str, Any]]]:
    with simulator(tmp_path_factory.mktemp("directory")) as started:
        yield started


@pytest.fixture(scope="module")
def server() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


@pytest.fixture
def other(server: Listener) -> Listener:
    """An endpoint that answers whatever a test wants."""
    server.reset()
    return server


@pytest.fixture
def side(running: tuple[DirectorySide, dict[str, Any]]) -> DirectorySide:
    return as_new(*running)


@pytest.fixture
def fixture(running: tuple[DirectorySide, dict[str, Any]]) -> dict[str, Any]:
    return running[1]


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def directory(side: DirectorySide, counts: Counts) -> GoogleDirectory:
    return reading(side.url, counts)


def reading(url: str, counts: Counts | None = None, *, seconds: float = 5) -> GoogleDirectory:
    transport = DirectoryTransport(
        url,
        anonymous(url),
        Counts() if counts is None else counts,
        timeout=timedelta(seconds=seconds),
        first_pause=0.01,
    )
    return GoogleDirectory(transport)


def answering(other: Listener, *answers: Any, status: int = 200) -> GoogleDirectory:
    """Read an endpoint that gives these answers in turn, the last one for ever."""

    def answer(_: Request) -> Response:
        body = answers[min(len(other.requests), len(answers)) - 1]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Response(status, content, {"Content-Type": "application/json"})

    other.answer = answer
    return reading(other.url)


def ids(pages: Any) -> list[str]:
    return [user.id for page in pages for user in page]


# ---- reading


def test_a_user_is_read_by_id_with_every_field(directory: GoogleDirectory, fixture: dict[str, Any]) -> None:
    given = fixture["users"][4]
    user = directory.user(given["id"])
    assert user is not None
    assert (user.id, user.primary_email, user.org_unit_path) == (
        given["id"],
        given["primaryEmail"],
        given["orgUnitPath"],
    )
    assert user.presence is Presence.ACTIVE
    assert user.profile["customSchemas"] == given["customSchemas"]
    assert user.profile["name"]["familyName"] == given["name"]["familyName"]


def test_a_users_presence_carries_the_directorys_own_time(directory: GoogleDirectory, fixture: dict[str, Any]) -> None:
    suspended = next(user for user in fixture["users"] if user["suspended"])
    archived = next(user for user in fixture["users"] if user["archived"])
    for given, presence, key in (
        (suspended, Presence.SUSPENDED, "suspensionTime"),
        (archived, Presence.ARCHIVED, "archivalTime"),
    ):
        user = directory.user(given["id"])
        assert user is not None
        assert (user.presence, user.since) == (presence, datetime.fromisoformat(given[key]))


def test_administrators_and_aliases_are_told(directory: GoogleDirectory, fixture: dict[str, Any]) -> None:
    admin, delegated_admin = fixture["users"][0], fixture["users"][1]
    found = [directory.user(admin["id"]), directory.user(delegated_admin["id"])]
    assert [(user.is_admin, user.is_delegated_admin) for user in found if user] == [(True, False), (False, True)]
    assert found[0] is not None
    assert list(found[0].aliases) == admin["aliases"]


def test_a_user_is_read_by_id_alone(directory: GoogleDirectory, fixture: dict[str, Any]) -> None:
    for key in (fixture["users"][4]["primaryEmail"], "1", fixture["deletedUsers"][0]["id"], "a/b?c#d"):
        assert directory.user(key) is None


def test_an_address_finds_its_user(directory: GoogleDirectory, fixture: dict[str, Any]) -> None:
    given = next(user for user in fixture["users"] if user.get("aliases"))
    for address in (given["primaryEmail"], given["aliases"][0]):
        user = directory.by_address(address)
        assert user is not None
        assert user.id == given["id"]
    assert directory.by_address("nobody@example.com") is None


def test_every_user_is_listed_500_a_page(
    side: DirectorySide, directory: GoogleDirectory, fixture: dict[str, Any], counts: Counts
) -> None:
    pages = list(directory.users(FIELDS))
    assert [len(page) for page in pages] == [500, PEOPLE - 500]
    assert ids(pages) == [user["id"] for user in fixture["users"]]
    assert side.control("GET", "requests")["methods"] == {"users.list": 2}
    assert counts == {"directory_requests": 2}
    listed = {user.presence for page in pages for user in page}
    assert listed == {Presence.ACTIVE, Presence.SUSPENDED, Presence.ARCHIVED}


@pytest.mark.parametrize("fields", [FIELDS, FIELDS | {"customSchemas", "externalIds"}])
def test_a_listing_asks_for_the_mapped_fields_and_no_others(directory: GoogleDirectory, fields: frozenset[str]) -> None:
    page = next(iter(directory.users(fields)))
    known = {"id", "suspended", "archived", "orgUnitPath", "aliases", "suspensionTime", "archivalTime", "isAdmin",
             "isDelegatedAdmin"}  # fmt: skip
    for user in page:
        assert set(user.profile) <= known | fields
        assert fields <= set(user.profile)


def test_deleted_users_are_listed_with_the_time(directory: GoogleDirectory, fixture: dict[str, Any]) -> None:
    found = [user for page in directory.deleted_users() for user in page]
    assert {(user.id, user.since) for user in found} == {
        (user["id"], datetime.fromisoformat(user["deletionTime"])) for user in fixture["deletedUsers"]
    }
    assert {user.presence for user in found} == {Presence.DELETED}


def group_id(fixture: dict[str, Any], email: str) -> str:
    return str(next(group["id"] for group in fixture["groups"] if group["email"] == email))


def test_derived_members_are_users_through_nested_groups(directory: GoogleDirectory, fixture: dict[str, Any]) -> None:
    found = [member for page in directory.members(group_id(fixture, SCOPE)) for member in page]
    nested = fixture["members"][group_id(fixture, "sales-emea@example.com")]
    groups = {group["id"] for group in fixture["groups"]}
    assert {member["id"] for member in nested if member["type"] == "USER"} <= set(found)
    assert not groups & set(found)
    assert len(found) == len(set(found)) > 400
    assert PARTNER in found  # their id is no user of this customer


def test_a_group_with_everybody_as_a_member_proves_nothing(
    side: DirectorySide, directory: GoogleDirectory, fixture: dict[str, Any]
) -> None:
    state = side.control("GET", "state")
    scope = group_id(fixture, SCOPE)
    state["members"][scope].append({"id": state["customer"], "type": "CUSTOMER", "role": "MEMBER"})
    side.control("PUT", "state", state)
    with pytest.raises(Incomplete, match="everybody in the organization"):
        list(directory.members(scope))


def test_membership_of_one_user_is_asked_and_outsiders_come_from_the_listing(
    side: DirectorySide, directory: GoogleDirectory, fixture: dict[str, Any]
) -> None:
    scope = group_id(fixture, SCOPE)
    inside = fixture["members"][group_id(fixture, "sales-emea@example.com")][0]["id"]
    outside = fixture["members"][group_id(fixture, "everyone-else@example.com")][0]["id"]
    assert directory.is_member(scope, inside) is True
    assert directory.is_member(scope, outside) is False
    assert "members.list" not in side.control("GET", "requests")["methods"]
    assert directory.is_member(scope, PARTNER) is True
    assert directory.is_member(group_id(fixture, "finance@example.com"), PARTNER) is False
    with pytest.raises(Incomplete):
        directory.is_member("no-such-group", inside)


@pytest.mark.parametrize("status", [404, 405, 501])
def test_where_has_member_is_not_served_the_listing_answers(
    side: DirectorySide, directory: GoogleDirectory, fixture: dict[str, Any], status: int
) -> None:
    side.fault(match={"method": "members.hasMember"}, status=status, times=None)
    inside = fixture["members"][group_id(fixture, "sales@example.com")][0]["id"]
    assert directory.is_member(group_id(fixture, SCOPE), inside) is True


def test_a_group_is_found_by_id_or_address(directory: GoogleDirectory, fixture: dict[str, Any]) -> None:
    scope = group_id(fixture, SCOPE)
    for key in (scope, SCOPE, SCOPE.upper()):
        group = directory.group(key)
        assert group is not None
        assert (group.id, group.email, group.name) == (scope, SCOPE, "Keeper Users")
    assert directory.group("nobody@example.com") is None
    assert directory.group("no-such-id") is None


def test_where_groups_get_knows_no_addresses_the_query_does(
    side: DirectorySide, directory: GoogleDirectory, fixture: dict[str, Any]
) -> None:
    side.fault(match={"method": "groups.get"}, status=404, times=None)
    group = directory.group(SCOPE)
    assert group is not None
    assert group.id == group_id(fixture, SCOPE)


def test_the_probe_says_whether_somebody_can_be_read(side: DirectorySide, directory: GoogleDirectory) -> None:
    assert directory.probe() is True
    side.control("PUT", "state", {"users": []})
    assert directory.probe() is False


def test_somebody_of_another_customer_is_nobody(side: DirectorySide, directory: GoogleDirectory) -> None:
    message = "Not Authorized to access this resource/api"
    side.fault(match={"method": "users.get"}, status=403, reason="forbidden", message=message)
    assert directory.user(PARTNER) is None


# ---- retries


USAGE_LIMITS = [("userRateLimitExceeded", 403), ("quotaExceeded", 403), ("rateLimitExceeded", 403)]


@pytest.mark.parametrize(
    ("reason", "status"),
    [*USAGE_LIMITS, ("rateLimitExceeded", 429), *(("backendError", status) for status in (408, 500, 502, 503, 504))],
)
def test_what_passes_is_tried_again(
    side: DirectorySide,
    directory: GoogleDirectory,
    fixture: dict[str, Any],
    counts: Counts,
    reason: str,
    status: int,
) -> None:
    side.fault(match={"method": "users.get"}, status=status, reason=reason, domain="usageLimits", times=2)
    assert directory.user(fixture["users"][4]["id"]) is not None
    assert counts == {"directory_requests": 3}


@pytest.mark.parametrize("effect", [{"status": 503}, {"status": 403, "reason": "quotaExceeded"}, {"drop": True}])
def test_retries_are_bounded(
    side: DirectorySide, directory: GoogleDirectory, counts: Counts, effect: dict[str, Any]
) -> None:
    side.fault(match={"method": "users.get"}, times=None, **effect)
    with pytest.raises(Transient, match=f"after {ATTEMPTS} attempts") as raised:
        directory.user("100000000000000000000")
    assert raised.value.retry_after is not None
    assert counts == {"directory_requests": ATTEMPTS}


@pytest.mark.parametrize("effect", [{"drop": True}, {"hang": True}])
def test_a_lost_connection_or_a_silent_server_is_tried_again(
    side: DirectorySide, fixture: dict[str, Any], counts: Counts, effect: dict[str, Any]
) -> None:
    side.fault(match={"method": "users.get"}, times=1, **effect)
    assert reading(side.url, counts, seconds=0.3).user(fixture["users"][4]["id"]) is not None
    assert counts == {"directory_requests": 2}


def test_a_damaged_or_truncated_answer_is_tried_again(other: Listener) -> None:
    user = gzip.compress(json.dumps({"id": "u1", "primaryEmail": "a@example.com"}).encode())
    packed = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    answers = [
        Response(200, b"\x1f\x8bnonsense", packed),
        Response(200, user[:20], {**packed, "Content-Length": str(len(user)), "Connection": "close"}),
        Response(200, b"<html>try later</html>"),
        Response(200, b'["no object"]'),
        Response(200, user, packed),
    ]
    other.answer = lambda _: answers[len(other.requests) - 1]
    found = reading(other.url, seconds=0.5).user("u1")
    assert found is not None
    assert found.primary_email == "a@example.com"


def test_retry_after_is_obeyed(side: DirectorySide, directory: GoogleDirectory, fixture: dict[str, Any]) -> None:
    side.fault(match={"method": "users.get"}, status=429, retry_after=0.4, times=1)
    started = time.monotonic()
    assert directory.user(fixture["users"][4]["id"]) is not None
    assert time.monotonic() - started >= 0.4


def test_a_retry_after_that_is_a_date_is_obeyed_too(
    side: DirectorySide, directory: GoogleDirectory, fixture: dict[str, Any]
) -> None:
    past, far = (format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True) for ahead in (-60, 300))
    side.fault(match={"method": "users.get"}, status=503, retry_after=past, times=1)
    assert directory.user(fixture["users"][4]["id"]) is not None
    side.fault(match={"method": "users.get"}, status=503, retry_after=far, times=1)
    with pytest.raises(Transient) as raised:
        directory.user("1")
    assert raised.value.retry_after == pytest.approx(300, abs=10)


def test_a_retry_after_too_long_to_wait_for_is_handed_on(
    side: DirectorySide, directory: GoogleDirectory, counts: Counts
) -> None:
    side.fault(match={"method": "users.get"}, status=503, retry_after=120, times=None)
    with pytest.raises(Transient) as raised:
        directory.user("1")
    assert raised.value.retry_after == 120
    assert counts == {"directory_requests": 1}


@pytest.mark.parametrize(
    ("status", "reason"),
    [(400, "invalid"), (403, "forbidden"), (403, "accessNotConfigured"), (401, "authError")],
)
def test_a_refusal_of_the_set_up_is_not_tried_again(
    side: DirectorySide, directory: GoogleDirectory, counts: Counts, status: int, reason: str
) -> None:
    side.fault(match={"method": "users.get"}, status=status, reason=reason, message="No such thing", times=None)
    with pytest.raises(ConfigurationRefused) as raised:
        directory.user("1")
    assert ("delegation" in str(raised.value)) == (status in (401, 403))
    assert counts == {"directory_requests": 1}


def test_an_endpoint_that_is_not_there_is_transient() -> None:
    with pytest.raises(Transient):
        reading(f"http://127.0.0.1:{free_port()}").user("1")


def test_redirects_are_not_followed(other: Listener) -> None:
    other.answer = lambda _: Response(302, headers={"Location": f"{other.url}/elsewhere"})
    with pytest.raises(ConfigurationRefused):
        reading(other.url).user("1")
    assert len(other.requests) == 1


# ---- listings that break off


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
    side: DirectorySide,
    directory: GoogleDirectory,
    fixture: dict[str, Any],
    method: str,
    listing: Any,
    effect: dict[str, Any],
) -> None:
    side.fault(match={"method": method}, times=None, **effect)
    with pytest.raises(Incomplete, match=method):
        list(listing(directory, group_id(fixture, SCOPE)))


@pytest.mark.parametrize("effect", BROKEN)
@pytest.mark.parametrize(("method", "listing"), [LISTINGS[0], LISTINGS[2]])
def test_a_listing_that_breaks_off_in_its_middle_is_incomplete(
    side: DirectorySide,
    directory: GoogleDirectory,
    fixture: dict[str, Any],
    method: str,
    listing: Any,
    effect: dict[str, Any],
) -> None:
    side.fault(match={"method": method, "from_page": 1}, times=None, **effect)
    pages: list[Any] = []
    with pytest.raises(Incomplete, match=method):
        pages.extend(listing(directory, group_id(fixture, SCOPE)))
    assert 0 < sum(len(page) for page in pages) < PEOPLE


def test_a_listing_that_stumbles_once_is_complete(
    side: DirectorySide, directory: GoogleDirectory, fixture: dict[str, Any]
) -> None:
    side.fault(match={"method": "users.list", "from_page": 1}, status=503, times=1)
    assert len(ids(directory.users(FIELDS))) == PEOPLE


def test_a_listing_that_is_forbidden_is_a_refused_set_up(side: DirectorySide, directory: GoogleDirectory) -> None:
    side.fault(match={"method": "users.list"}, status=403, reason="forbidden", times=None)
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
def test_an_answer_that_is_no_listing_is_incomplete(other: Listener, answer: Any, page: int) -> None:
    first = {"users": [{"id": "u1", "primaryEmail": "a@example.com"}], "nextPageToken": "more"}
    answers = [answer] if page == 1 else [first, answer]
    with pytest.raises(Incomplete):
        list(answering(other, *answers).users(FIELDS))


@pytest.mark.parametrize("answer", [{"kind": "admin#directory#users"}, {"etag": '"x"'}, {"users": []}, {}])
def test_an_empty_listing_is_a_listing(other: Listener, answer: Any) -> None:
    assert ids(answering(other, answer).users(FIELDS)) == []


@pytest.mark.parametrize("answer", [{}, b""])
def test_a_later_page_is_never_nothing_at_all(other: Listener, answer: Any) -> None:
    first = {"users": [{"id": "u1"}], "nextPageToken": "more"}
    with pytest.raises(Incomplete):
        list(answering(other, first, answer).users(FIELDS))


def test_a_listing_that_repeats_its_page_token_ends(other: Listener) -> None:
    page = {"users": [{"id": "u1"}], "nextPageToken": "again"}
    with pytest.raises(Incomplete, match="repeats a page token"):
        list(answering(other, page).users(FIELDS))
    assert len(other.requests) == 2


# ---- channels


def channel(hook: Listener, **more: Any) -> Channel:
    return Channel(more.pop("id", "c1"), f"{hook.url}/hook", "t0ken", **more)


def test_a_channel_is_opened_as_granted_and_stopped(
    side: DirectorySide, directory: GoogleDirectory, other: Listener, fixture: dict[str, Any]
) -> None:
    until = datetime.now(UTC) + timedelta(days=2)
    granted = directory.watch(channel(other, expires=until), "")
    assert granted.token == ""
    assert granted.resource_id
    assert granted.expires is not None
    assert timedelta(hours=5, minutes=55) < granted.expires - datetime.now(UTC) <= timedelta(hours=6)
    wait_for(lambda: other.requests, "the sync message")
    assert other.requests[0].headers["x-goog-channel-token"] == "t0ken"
    side.patch(fixture["users"][4]["id"], {"suspended": True})
    wait_for(lambda: len(other.requests) == 2, "the notification")
    directory.stop(granted)
    assert side.control("GET", "channels")["channels"] == []
    directory.stop(granted)


def test_a_channel_of_one_event_says_so(directory: GoogleDirectory, side: DirectorySide, other: Listener) -> None:
    assert directory.watch(channel(other), "delete").event == "delete"
    assert side.control("GET", "channels")["channels"][0]["event"] == "delete"


def test_an_api_that_insists_on_an_event_is_told_apart(
    side: DirectorySide, directory: GoogleDirectory, other: Listener
) -> None:
    side.weather(demand_event=True)
    with pytest.raises(BadInput) as raised:
        directory.watch(channel(other), "")
    assert raised.value.field == "event"
    assert directory.watch(channel(other), "update").resource_id


def test_a_channel_whose_opening_was_not_answered_is_tried_anew(
    side: DirectorySide, directory: GoogleDirectory, other: Listener
) -> None:
    side.fault(match={"method": "users.watch"}, drop_after=True, times=1)
    with pytest.raises(Transient, match="answer was lost"):
        directory.watch(channel(other), "")
    assert directory.watch(channel(other, id="c2"), "").resource_id


def test_a_channel_that_is_refused_is_a_refused_set_up(directory: GoogleDirectory) -> None:
    with pytest.raises(ConfigurationRefused, match=r"users\.watch"):
        directory.watch(Channel("c1", "http://hook.example.com"), "")


@pytest.mark.parametrize("expiration", ["1900000000000", 1900000000000])
def test_the_expiration_is_read_as_text_or_number(other: Listener, expiration: Any) -> None:
    granted = answering(other, {"resourceId": "r", "expiration": expiration}).watch(channel(other), "")
    assert granted.expires == datetime.fromtimestamp(1_900_000_000, UTC)


def test_what_is_posted_to_open_a_channel_is_a_channel(other: Listener) -> None:
    answering(other, {"resourceId": "r"}).watch(channel(other, expires=datetime.now(UTC)), "add")
    (request,) = other.requests
    body = json.loads(request.body)
    validate("Channel", body)
    assert body["type"] == "web_hook"
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(request.path).query)
    assert query == {"customer": ["my_customer"], "event": ["add"]}


# ---- credentials and compression


@pytest.mark.parametrize(
    "endpoint", ["https://admin.googleapis.com", "http://10.0.0.1:80", "http://localhost.evil.test"]
)
def test_without_credentials_only_loopback_is_read(endpoint: str) -> None:
    with pytest.raises(ConfigurationRefused, match="loopback"):
        anonymous(endpoint)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"])
def test_loopback_is_read_without_credentials(endpoint: str) -> None:
    assert isinstance(anonymous(endpoint)(), requests.Session)


def test_compression_is_asked_for_as_google_wants_it(other: Listener) -> None:
    body = gzip.compress(json.dumps({"id": "u1"}).encode())
    other.answer = lambda _: Response(200, body, {"Content-Encoding": "gzip"})
    assert reading(other.url).user("u1") is not None
    headers = other.requests[0].headers
    assert "gzip" in headers["accept-encoding"]
    assert "gzip" in headers["user-agent"]
    assert "authorization" not in headers


def delegated_reads(other: Listener, url: str, folder: Path, times: int) -> list[str]:
    """Read in a process whose environment is a function's: credentials come from its metadata server."""
    return run_as_function(other, folder, "-m", "tests.contract.delegated_read", other.url, url, str(times))


def test_delegation_is_keyless_read_only_and_as_the_administrator(
    side: DirectorySide, other: Listener, tmp_path: Path
) -> None:
    user = side.insert({"primaryEmail": "reader@example.com", "name": {"givenName": "R", "familyName": "E"}})
    side.control("PUT", "tokens", {"tokens": ["delegated-token"]})
    google = Google(other, {"sign": [Response(DROPPED)]})  # a lost connection is tried again
    assert delegated_reads(other, side.url, tmp_path, 2) == [f"read {user['id']}"] * 2
    (claims,) = google.claims
    assert claims["iss"] == "provisioner@p.iam.gserviceaccount.com"
    assert claims["sub"] == "admin@example.com"
    assert claims["aud"] == f"{other.url}/token"
    assert claims["scope"].split() == list(SCOPES)
    assert all(scope.endswith(".readonly") for scope in SCOPES)
    assert google.assertions == ["signed.by.google"]


def test_a_delegation_that_is_not_set_up_is_told_apart_from_one_that_fails(
    side: DirectorySide, other: Listener, tmp_path: Path
) -> None:
    user = side.insert({"primaryEmail": "reader@example.com", "name": {"givenName": "R", "familyName": "E"}})
    side.control("PUT", "tokens", {"tokens": ["delegated-token"]})
    denied = {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "s3cret detail"}}
    unlisted = {"error": "unauthorized_client", "error_description": "s3cret detail"}
    Google(
        other,
        {
            "sign": [Response(403, json.dumps(denied).encode()), Response(503, b"{}")],
            "token": [Response(401, json.dumps(unlisted).encode())],
        },
    )
    lines = delegated_reads(other, side.url, tmp_path, 4)
    kinds = [line.partition(":")[0] for line in lines]
    assert kinds == ["ConfigurationRefused", "Transient", "ConfigurationRefused", f"read {user['id']}"]
    assert "PERMISSION_DENIED" in lines[0]
    assert "unauthorized_client" in lines[2]
    assert "s3cret" not in "".join(lines)


def test_no_error_of_the_directory_carries_a_token(side: DirectorySide, directory: GoogleDirectory) -> None:
    side.control("PUT", "tokens", {"tokens": [base64.b64encode(b"t0ken").decode()]})
    with pytest.raises(ProvisioningError) as raised:
        directory.user("1")
    assert "t0ken" not in str(raised.value)
