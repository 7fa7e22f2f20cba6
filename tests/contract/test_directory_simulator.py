"""The Directory simulator, read by Google's own client and held to the Admin SDK's discovery document.

Every answer that `asked` returns was validated against the schema that the method promises, unknown properties refused.
"""

from __future__ import annotations

import json
import time
import unicodedata
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from googleapiclient.errors import HttpError
from jsonschema import ValidationError

from infra.local.directory.masks import GROUP, MEMBER, NAME, USER
from infra.local.world import DirectorySide, wait_for
from tests.contract.directory_servers import DISCOVERY, PEOPLE, as_new, asked, google_client, simulator, validate
from tests.contract.listener import Listener, Response, listening

SCOPE = "keeper-users@example.com"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DirectorySide, dict[str, Any]]]:
    with simulator(tmp_path_factory.mktemp("directory")) as started:
        yield started


@pytest.fixture(scope="module")
def hook_server() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


@pytest.fixture
def side(running: tuple[DirectorySide, dict[str, Any]]) -> DirectorySide:
    return as_new(*running)


@pytest.fixture
def api(side: DirectorySide) -> Any:
    return google_client(side.url)


@pytest.fixture
def hook(hook_server: Listener) -> Listener:
    hook_server.reset()
    return hook_server


@pytest.fixture
def fixture(running: tuple[DirectorySide, dict[str, Any]]) -> dict[str, Any]:
    return running[1]


def pages(collection: Any, key: str, **params: Any) -> list[list[dict[str, Any]]]:
    """Read a listing to its end as the real client does it."""
    found = []
    request = collection.list(**params)
    while request is not None:
        answer = asked(request)
        found.append(answer.get(key, []))
        request = collection.list_next(request, answer)
    return found


def everybody(api: Any, **params: Any) -> list[dict[str, Any]]:
    return [user for page in pages(api.users(), "users", customer="my_customer", **params) for user in page]


def error(request: Any) -> tuple[int, str, str]:
    """Return status, reason and message of the refusal that the real client understood."""
    with pytest.raises(HttpError) as raised:
        request.execute()
    body = json.loads(raised.value.content)["error"]
    assert set(body) == {"code", "message", "errors"}
    assert set(body["errors"][0]) == {"message", "domain", "reason"}
    assert body["code"] == raised.value.status_code
    return raised.value.status_code, body["errors"][0]["reason"], raised.value.reason


# ---- the validation itself


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ("User", {"id": 7}),
        ("User", {"nickname": "Ada"}),
        ("User", {"name": {"given": "Ada"}}),
        ("User", {"kind": "admin#directory#users"}),
        ("User", {"creationTime": "yesterday"}),
        ("User", {"emails": [{"value": "ada@example.com"}]}),
        ("Users", {"users": [{"suspended": "false"}]}),
        ("Group", {"directMembersCount": 7}),
        ("Channel", {"expiration": 1}),
        ("MembersHasMember", {"isMember": "true"}),
    ],
)
def test_an_answer_that_does_not_fit_the_discovery_document_is_noticed(schema: str, answer: Any) -> None:
    with pytest.raises(ValidationError):
        validate(schema, answer)


@pytest.mark.parametrize(
    ("known", "schema"), [(USER, "User"), (NAME, "UserName"), (GROUP, "Group"), (MEMBER, "Member")]
)
def test_the_fields_that_masks_may_select_are_those_of_the_discovery_document(known: Any, schema: str) -> None:
    assert set(known) == set(DISCOVERY["schemas"][schema]["properties"])


# ---- users.list


def test_the_listing_pages_to_its_end(api: Any, fixture: dict[str, Any]) -> None:
    found = pages(api.users(), "users", customer="my_customer", maxResults=500)
    assert [len(page) for page in found] == [500, PEOPLE - 500]
    assert [user["id"] for page in found for user in page] == [user["id"] for user in fixture["users"]]


def test_a_page_has_100_users_unless_asked_otherwise(api: Any) -> None:
    assert len(asked(api.users().list(customer="my_customer"))["users"]) == 100


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ({"customer": "my_customer", "maxResults": 501}, "range: [1, 500]"),
        ({"customer": "my_customer", "maxResults": 0}, "range: [1, 500]"),
        ({}, "Bad Request"),
        ({"customer": "my_customer", "query": "nonsense"}, "query"),
        ({"customer": "my_customer", "query": "unknownField=1"}, "query"),
        ({"customer": "my_customer", "pageToken": "nonsense"}, "pageToken"),
        ({"customer": "my_customer", "fields": "users(id,nickname)"}, "Invalid field selection nickname"),
        ({"customer": "my_customer", "fields": "users(name/given)"}, "Invalid field selection given"),
        ({"customer": "my_customer", "fields": "people"}, "Invalid field selection people"),
        ({"customer": "my_customer", "fields": "users(id"}, "Invalid field selection"),
        ({"customer": "my_customer", "projection": "custom"}, "customFieldMask"),
    ],
)
def test_a_listing_that_is_refused(api: Any, params: dict[str, Any], wanted: str) -> None:
    status, _, message = error(api.users().list(**params))
    assert status == 400
    assert wanted in message


@pytest.mark.parametrize(
    ("fields", "envelope", "user"),
    [
        ("nextPageToken,users(id,primaryEmail)", {"nextPageToken", "users"}, {"id", "primaryEmail"}),
        ("users/id", {"users"}, {"id"}),
        ("users(id,name/givenName)", {"users"}, {"id", "name"}),
        ("kind,users(id,customSchemas/HR/costCenter)", {"kind", "users"}, {"id", "customSchemas"}),
        ("kind", {"kind"}, set()),
        ("*", {"kind", "etag", "nextPageToken", "users"}, None),
    ],
)
def test_a_mask_selects_fields(api: Any, fields: str, envelope: set[str], user: set[str] | None) -> None:
    answer = asked(api.users().list(customer="my_customer", projection="full", fields=fields))
    assert set(answer) == envelope
    for item in answer.get("users", []):
        assert user is None or set(item) == user
    if "givenName" in fields:
        assert {key for item in answer["users"] for key in item["name"]} == {"givenName"}
    if "costCenter" in fields:
        assert answer["users"][0]["customSchemas"].keys() == {"HR"}
        assert answer["users"][0]["customSchemas"]["HR"].keys() == {"costCenter"}


@pytest.mark.parametrize(
    ("params", "shown"),
    [
        ({}, None),
        ({"projection": "basic"}, None),
        ({"projection": "full"}, {"HR"}),
        ({"projection": "custom", "customFieldMask": "HR"}, {"HR"}),
        ({"projection": "custom", "customFieldMask": "Other"}, None),
    ],
)
def test_custom_schemas_are_shown_as_the_projection_says(api: Any, params: dict[str, str], shown: Any) -> None:
    listed = asked(api.users().list(customer="my_customer", maxResults=1, **params))["users"][0]
    read = asked(api.users().get(userKey=listed["id"], **params))
    for user in (listed, read):
        assert (set(user["customSchemas"]) if "customSchemas" in user else None) == shown


def _at_or_below_sales(user: dict[str, Any]) -> bool:
    return user["orgUnitPath"] == "/Sales" or user["orgUnitPath"].startswith("/Sales/")


@pytest.mark.parametrize(
    ("query", "test"),
    [
        ("isSuspended=true", lambda user: user["suspended"]),
        ("isSuspended=false isArchived=false", lambda user: not user["suspended"] and not user["archived"]),
        ("isAdmin=true", lambda user: user["isAdmin"]),
        ("orgUnitPath='/Sales'", _at_or_below_sales),
        ("orgUnitPath=/", lambda _: True),
        ("email:ada*", lambda user: user["primaryEmail"].startswith("ada")),
        ("externalId=E-000017", lambda user: user["externalIds"][0]["value"] == "E-000017"),
        ("givenName:'美咲'", lambda user: user["name"]["givenName"] == "美咲"),
        ("email=nobody@example.com", lambda _: False),
    ],
)
def test_a_query_finds_those_it_describes(api: Any, fixture: dict[str, Any], query: str, test: Any) -> None:
    found = {user["id"] for user in everybody(api, maxResults=500, query=query)}
    assert found == {user["id"] for user in fixture["users"] if test(user)}


def test_an_empty_listing_leaves_the_list_out(api: Any) -> None:
    answer = asked(api.users().list(customer="my_customer", query="email=nobody@example.com"))
    assert set(answer) == {"kind", "etag"}


def test_a_listing_is_of_one_domain_or_of_the_customer(api: Any, fixture: dict[str, Any]) -> None:
    found = [user for page in pages(api.users(), "users", domain="example.co.jp", maxResults=500) for user in page]
    wanted = {user["id"] for user in fixture["users"] if user["primaryEmail"].endswith("@example.co.jp")}
    assert {user["id"] for user in found} == wanted


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ("email", lambda user: user["primaryEmail"].casefold()),
        ("familyName", lambda user: user["name"]["familyName"].casefold()),
        ("givenName", lambda user: user["name"]["givenName"].casefold()),
    ],
)
def test_a_listing_is_sorted_on_demand(api: Any, field: str, key: Any) -> None:
    up = [key(user) for user in everybody(api, maxResults=500, orderBy=field)]
    down = [key(user) for user in everybody(api, maxResults=500, orderBy=field, sortOrder="DESCENDING")]
    assert up == sorted(up)
    assert down == sorted(down, reverse=True)


def test_deleted_users_are_listed_apart_and_for_20_days(side: DirectorySide, api: Any, fixture: dict[str, Any]) -> None:
    listed = everybody(api, showDeleted="true")
    assert {user["id"] for user in listed} == {user["id"] for user in fixture["deletedUsers"]}
    assert all(user["deletionTime"] for user in listed)
    gone = fixture["users"][5]
    side.delete(gone["id"])
    assert gone["id"] in {user["id"] for user in everybody(api, showDeleted="true")}
    assert gone["id"] not in {user["id"] for user in everybody(api, maxResults=500)}
    state = side.control("GET", "state")
    for user in state["deletedUsers"]:
        user["deletionTime"] = (datetime.now(UTC) - timedelta(days=21)).isoformat()
    side.control("PUT", "state", state)
    assert everybody(api, showDeleted="true") == []


# ---- users.get and the administrator's changes


def test_a_user_is_read_by_id_address_or_alias(api: Any, fixture: dict[str, Any]) -> None:
    user = next(user for user in fixture["users"] if user.get("aliases"))
    for key in (user["id"], user["primaryEmail"], user["primaryEmail"].upper(), user["aliases"][0]):
        assert asked(api.users().get(userKey=key))["id"] == user["id"]
    masked = asked(api.users().get(userKey=user["id"], fields="id,name(givenName)"))
    assert masked == {"id": user["id"], "name": {"givenName": user["name"]["givenName"]}}


def test_an_unknown_or_deleted_user_is_not_found(api: Any, fixture: dict[str, Any]) -> None:
    for key in (
        "nobody@example.com",
        "1",
        fixture["deletedUsers"][0]["id"],
        fixture["deletedUsers"][0]["primaryEmail"],
    ):
        assert error(api.users().get(userKey=key)) == (404, "notFound", "Resource Not Found: userKey")


def test_a_rename_keeps_the_old_address_as_an_alias(api: Any, fixture: dict[str, Any]) -> None:
    user = fixture["users"][4]
    renamed = asked(api.users().patch(userKey=user["id"], body={"primaryEmail": "renamed@example.com"}))
    assert renamed["id"] == user["id"]
    assert user["primaryEmail"] in renamed["aliases"]
    assert asked(api.users().get(userKey=user["primaryEmail"]))["primaryEmail"] == "renamed@example.com"
    body = {"primaryEmail": user["primaryEmail"], "name": {"givenName": "A", "familyName": "B"}}
    assert error(api.users().insert(body=body))[:2] == (409, "duplicate")


def test_suspension_and_archival_carry_their_time(api: Any, fixture: dict[str, Any]) -> None:
    key = fixture["users"][4]["id"]
    suspended = asked(api.users().patch(userKey=key, body={"suspended": True}))
    assert suspended["suspensionReason"] == "ADMIN"
    assert datetime.fromisoformat(suspended["suspensionTime"]) <= datetime.now(UTC)
    back = asked(api.users().patch(userKey=key, body={"suspended": False, "archived": True}))
    assert "suspensionTime" not in back
    assert back["archivalTime"]


def test_an_undelete_needs_the_id_and_a_free_address(api: Any, fixture: dict[str, Any]) -> None:
    gone = fixture["deletedUsers"][0]
    assert error(api.users().undelete(userKey=gone["primaryEmail"], body={}))[0] == 404
    asked(api.users().undelete(userKey=gone["id"], body={"orgUnitPath": "/Sales"}))
    back = asked(api.users().get(userKey=gone["id"]))
    assert (back["orgUnitPath"], "deletionTime" in back) == ("/Sales", False)


# ---- groups and members


def test_groups_are_read_and_listed(api: Any, fixture: dict[str, Any]) -> None:
    listed = [group for page in pages(api.groups(), "groups", customer="my_customer", maxResults=4) for group in page]
    assert [group["id"] for group in listed] == [group["id"] for group in fixture["groups"]]
    for key in (SCOPE, SCOPE.upper(), fixture["groups"][0]["id"]):
        assert asked(api.groups().get(groupKey=key))["email"] == SCOPE
    assert asked(api.groups().list(customer="my_customer", query=f"email={SCOPE}"))["groups"][0]["email"] == SCOPE
    found = asked(api.groups().list(customer="my_customer", query="email:sales*"))["groups"]
    assert {group["email"] for group in found} == {"sales@example.com", "sales-emea@example.com"}
    assert error(api.groups().get(groupKey="nobody@example.com"))[:2] == (404, "notFound")
    assert error(api.groups().list(customer="my_customer", maxResults=201))[0] == 400


def test_the_groups_of_a_user_are_those_that_list_them(api: Any, fixture: dict[str, Any]) -> None:
    group_id, members = next((key, value) for key, value in fixture["members"].items() if value)
    user_id = next(member["id"] for member in members if member["type"] == "USER")
    found = asked(api.groups().list(userKey=user_id))["groups"]
    assert [group["id"] for group in found] == [group_id]


def reached(fixture: dict[str, Any], group_id: str) -> set[str]:
    """Return the users that a group reaches, cycles and all, by a rule of its own."""
    users: set[str] = set()
    todo, seen = [group_id], set()
    while todo:
        here = todo.pop()
        if here in seen:
            continue
        seen.add(here)
        for member in fixture["members"][here]:
            (users.add if member["type"] == "USER" else todo.append)(member["id"])
    return users


def test_members_are_listed_directly_or_derived_through_nested_groups(api: Any, fixture: dict[str, Any]) -> None:
    for group in fixture["groups"]:
        direct = [item for page in pages(api.members(), "members", groupKey=group["id"]) for item in page]
        assert [item["id"] for item in direct] == [item["id"] for item in fixture["members"][group["id"]]]
        params = {"groupKey": group["email"], "includeDerivedMembership": True, "maxResults": 200}
        found = pages(api.members(), "members", **params)
        derived = [item for page in found for item in page]
        assert {item["type"] for item in derived} <= {"USER"}
        assert sorted(item["id"] for item in derived) == sorted(reached(fixture, group["id"]))
        assert all(len(page) == 200 for page in found[:-1])


def test_a_cycle_of_groups_is_listed_once(api: Any, fixture: dict[str, Any]) -> None:
    ids = {group["email"]: group["id"] for group in fixture["groups"]}
    sales, emea = ids["sales@example.com"], ids["sales-emea@example.com"]
    assert emea in {member["id"] for member in fixture["members"][sales]}
    assert sales in {member["id"] for member in fixture["members"][emea]}
    listed = pages(api.members(), "members", groupKey=emea, includeDerivedMembership=True)
    found = [item["id"] for page in listed for item in page]
    assert len(found) == len(set(found))
    assert set(found) == reached(fixture, sales)


def test_members_are_asked_for_by_role_and_page(side: DirectorySide, api: Any, fixture: dict[str, Any]) -> None:
    group_id = fixture["groups"][5]["id"]
    owner = asked(api.members().insert(groupKey=group_id, body={"id": fixture["users"][0]["id"], "role": "OWNER"}))
    found = asked(api.members().list(groupKey=group_id, roles="OWNER,MANAGER"))["members"]
    assert [item["id"] for item in found] == [owner["id"]]
    assert error(api.members().list(groupKey=group_id, maxResults=201))[0] == 400
    assert error(api.members().list(groupKey="nobody@example.com"))[:2] == (404, "notFound")


def test_has_member_knows_nested_membership_and_refuses_outsiders(api: Any, fixture: dict[str, Any]) -> None:
    ids = {group["email"]: group["id"] for group in fixture["groups"]}
    nested = fixture["members"][ids["sales-emea@example.com"]][0]
    other = fixture["members"][ids["everyone-else@example.com"]][0]
    for key in (nested["id"], nested["email"]):
        assert asked(api.members().hasMember(groupKey=SCOPE, memberKey=key)) == {"isMember": True}
    assert asked(api.members().hasMember(groupKey=SCOPE, memberKey=other["id"])) == {"isMember": False}
    assert error(api.members().hasMember(groupKey=SCOPE, memberKey="partner@elsewhere.test"))[0] == 400
    assert error(api.members().hasMember(groupKey="nobody@example.com", memberKey=nested["id"]))[0] == 404


def test_membership_changes_at_once(api: Any, fixture: dict[str, Any]) -> None:
    user = fixture["users"][0]
    added = asked(api.groups().insert(body={"email": "new@example.com"}))
    assert asked(api.members().list(groupKey=added["id"])) == {
        "kind": "admin#directory#members",
        "etag": '"members-0"',
    }
    asked(api.members().insert(groupKey=added["id"], body={"email": user["primaryEmail"]}))
    assert asked(api.groups().get(groupKey=added["id"]))["directMembersCount"] == "1"
    asked(api.members().delete(groupKey=added["id"], memberKey=user["id"]))
    assert asked(api.members().hasMember(groupKey=added["id"], memberKey=user["id"])) == {"isMember": False}
    asked(api.groups().delete(groupKey=added["id"]))
    assert error(api.groups().get(groupKey=added["id"]))[0] == 404


# ---- the fixture


def test_the_fixture_is_a_realistic_customer(fixture: dict[str, Any]) -> None:
    users = fixture["users"]
    for user in [*users, *fixture["deletedUsers"]]:
        validate("User", user)
        assert all(0 < len(part) <= 60 for part in user["name"].values())
    assert len({user["id"] for user in users}) == len(users)
    addresses = [address for user in users for address in (user["primaryEmail"], *user.get("aliases", []))]
    assert len({address.casefold() for address in addresses}) == len(addresses)
    assert len({user["primaryEmail"].rpartition("@")[2] for user in users}) == 3
    assert {item["domainName"] for item in fixture["domains"]} == {
        user["primaryEmail"].rpartition("@")[2] for user in users
    }
    units = {user["orgUnitPath"] for user in users}
    assert len(units) >= 6
    assert any(path.count("/") > 1 for path in units)
    names = [user["name"]["givenName"] + user["name"]["familyName"] for user in users]
    scripts = {unicodedata.name(char).split()[0] for name in names for char in name if char.isalpha()}
    assert {"LATIN", "CYRILLIC", "GREEK", "ARABIC", "CJK", "DEVANAGARI", "THAI"} <= scripts
    assert any(unicodedata.normalize("NFC", name) != name for name in names)
    counts = {
        "aliases": sum(bool(user.get("aliases")) for user in users),
        "customSchemas": sum("costCenter" in user["customSchemas"]["HR"] for user in users),
        "suspended": sum(user["suspended"] for user in users),
        "archived": sum(user["archived"] for user in users),
        "deleted": len(fixture["deletedUsers"]),
        "administrators": sum(user["isAdmin"] for user in users),
    }
    assert all(counts.values()), counts
    assert all(user["suspensionTime"] for user in users if user["suspended"])
    assert all(user["archivalTime"] for user in users if user["archived"])


def test_the_fixtures_scope_group_reaches_most_people_through_nested_groups(fixture: dict[str, Any]) -> None:
    scope = next(group["id"] for group in fixture["groups"] if group["email"] == SCOPE)
    direct = {member["id"] for member in fixture["members"][scope] if member["type"] == "USER"}
    share = len(reached(fixture, scope)) / PEOPLE
    assert 0.75 < share < 0.95
    assert len(direct) < share * PEOPLE / 2
    known = {user["id"] for user in fixture["users"]}
    assert any(user_id not in known for user_id in direct), "nobody from outside"


# ---- notifications


def watch(api: Any, hook: Listener, event: str = "", **more: Any) -> dict[str, Any]:
    """Open a channel and await its sync message."""
    body = {"id": str(uuid.uuid4()), "type": "web_hook", "address": f"{hook.url}/hook", "token": "s3cret", **more}
    params = {"customer": "my_customer"} | ({"event": event} if event else {})
    channel = asked(api.users().watch(body=body, **params))
    wait_for(lambda: states(hook, channel["id"])[:1] == ["sync"], "the sync message")
    return channel


def states(hook: Listener, channel_id: str = "") -> list[str]:
    return [
        request.headers["x-goog-resource-state"]
        for request in list(hook.requests)
        if channel_id in ("", request.headers["x-goog-channel-id"])
    ]


def heard(hook: Listener, count: int) -> list[Any]:
    """Await as many notifications, sync messages apart."""

    def found() -> list[Any]:
        return [item for item in list(hook.requests) if item.headers["x-goog-resource-state"] != "sync"]

    wait_for(lambda: len(found()) >= count, f"{count} notifications", 10)
    return found()


def settled(side: DirectorySide, **counts: int) -> dict[str, Any]:
    """Await the simulator's own counts of what it delivered and dropped."""

    def reached() -> Any:
        told = side.control("GET", "channels")
        return told if all(told[name] >= wanted for name, wanted in counts.items()) else None

    result: dict[str, Any] = wait_for(reached, f"{counts}", 10)
    return result


def test_the_sync_message_opens_a_channel(api: Any, hook: Listener) -> None:
    before = time.time()
    channel = watch(api, hook)
    (request,) = hook.requests
    assert request.method == "POST"
    assert request.body == b""
    assert request.headers["x-goog-message-number"] == "1"
    assert request.headers["x-goog-channel-token"] == "s3cret"
    assert request.headers["x-goog-resource-id"] == channel["resourceId"]
    assert request.headers["x-goog-resource-uri"] == channel["resourceUri"]
    assert channel["kind"] == "api#channel"
    assert before + 7100 < int(channel["expiration"]) / 1000 < before + 7300  # two hours unless asked otherwise


def test_a_change_is_notified_as_the_guide_shows_it(side: DirectorySide, api: Any, hook: Listener) -> None:
    channel = watch(api, hook)
    user = side.insert({"primaryEmail": "new@example.com", "name": {"givenName": "Ny", "familyName": "Å"}})
    (request,) = heard(hook, 1)
    body = json.loads(request.body)
    assert set(body) == {"kind", "id", "etag", "primaryEmail"}
    assert (body["kind"], body["id"], body["primaryEmail"]) == ("admin#directory#user", user["id"], "new@example.com")
    assert body["etag"] != user["etag"]
    google = {name: value for name, value in request.headers.items() if name.startswith("x-goog-")}
    assert set(google) == {
        "x-goog-channel-id", "x-goog-channel-token", "x-goog-channel-expiration", "x-goog-message-number",
        "x-goog-resource-id", "x-goog-resource-state", "x-goog-resource-uri",
    }  # fmt: skip
    assert google["x-goog-channel-id"] == channel["id"]
    assert google["x-goog-resource-state"] == "add"
    expires = datetime.strptime(google["x-goog-channel-expiration"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    assert abs(expires.timestamp() - int(channel["expiration"]) / 1000) < 2
    assert request.headers["content-type"] == "application/json; charset=UTF-8"


def test_every_kind_of_change_has_its_event_and_the_numbers_grow(
    side: DirectorySide, api: Any, hook: Listener, fixture: dict[str, Any]
) -> None:
    watch(api, hook)
    user_id = fixture["users"][4]["id"]
    side.patch(user_id, {"suspended": True})
    heard(hook, 1)
    side.patch(user_id, {"isAdmin": True})
    heard(hook, 2)
    side.delete(user_id)
    heard(hook, 3)
    side.call("POST", f"users/{user_id}/undelete", {"orgUnitPath": "/"})
    heard(hook, 4)
    side.call("POST", f"users/{user_id}/aliases", {"alias": "nick@example.com"})
    heard(hook, 5)
    assert states(hook) == ["sync", "update", "makeAdmin", "delete", "undelete", "update"]
    numbers = [int(request.headers["x-goog-message-number"]) for request in hook.requests]
    assert all(before < after for before, after in pairwise(numbers))


def test_membership_of_groups_is_not_notified(
    side: DirectorySide, api: Any, hook: Listener, fixture: dict[str, Any]
) -> None:
    watch(api, hook)
    side.join(SCOPE, fixture["users"][0]["id"])
    side.patch(fixture["users"][4]["id"], {"suspended": True})
    heard(hook, 1)
    assert states(hook) == ["sync", "update"]


def test_a_channel_of_one_event_hears_of_nothing_else(
    side: DirectorySide, api: Any, hook: Listener, fixture: dict[str, Any]
) -> None:
    channel = watch(api, hook, "delete")
    side.patch(fixture["users"][4]["id"], {"suspended": True})
    side.delete(fixture["users"][4]["id"])
    heard(hook, 1)
    assert states(hook, channel["id"]) == ["sync", "delete"]


@pytest.mark.parametrize(
    ("body", "params"),
    [
        ({"type": "web_hook", "address": "https://x.test"}, {"customer": "my_customer"}),
        ({"id": "i" * 65, "type": "web_hook", "address": "https://x.test"}, {"customer": "my_customer"}),
        ({"id": "i", "type": "web_hook", "address": "https://x.test", "token": "t" * 257}, {"customer": "my_customer"}),
        ({"id": "i", "type": "mail", "address": "https://x.test"}, {"customer": "my_customer"}),
        ({"id": "i", "type": "web_hook", "address": "http://x.test"}, {"customer": "my_customer"}),
        ({"id": "i", "type": "web_hook", "address": "https://x.test"}, {}),
        ({"id": "i", "type": "web_hook", "address": "https://x.test", "expiration": "soon"}, {"domain": "example.com"}),
    ],
)
def test_a_channel_that_is_refused(side: DirectorySide, api: Any, body: dict[str, str], params: dict[str, str]) -> None:
    assert error(api.users().watch(body=body, **params))[0] == 400
    assert side.control("GET", "channels")["channels"] == []


def test_a_channel_id_is_used_once_and_the_event_asked_for_on_demand(
    side: DirectorySide, api: Any, hook: Listener
) -> None:
    channel = watch(api, hook)
    body = {"id": channel["id"], "type": "web_hook", "address": hook.url}
    assert error(api.users().watch(customer="my_customer", body=body))[1] == "channelIdNotUnique"
    side.weather(demand_event=True)
    status, reason, message = error(api.users().watch(customer="my_customer", body={**body, "id": "other"}))
    assert (status, reason) == (400, "required")
    assert "event" in message
    assert asked(api.users().watch(customer="my_customer", event="update", body={**body, "id": "other"}))


def test_the_shorter_life_is_granted(side: DirectorySide, api: Any, hook: Listener) -> None:
    side.weather(longest_ttl=3600)
    in_a_day = str(int((time.time() + 86400) * 1000))
    for more, seconds in (({"expiration": in_a_day}, 3600), ({"params": {"ttl": "60"}}, 60)):
        granted = int(watch(api, hook, **more)["expiration"]) / 1000
        assert abs(granted - time.time() - seconds) < 5


def test_an_expired_channel_is_silent(side: DirectorySide, api: Any, hook: Listener, fixture: dict[str, Any]) -> None:
    short = watch(api, hook, expiration=str(int((time.time() + 0.3) * 1000)))
    long = watch(api, hook)
    wait_for(lambda: time.time() * 1000 > int(short["expiration"]), "the channel's end")
    side.patch(fixture["users"][4]["id"], {"suspended": True})
    heard(hook, 1)
    assert states(hook, long["id"]) == ["sync", "update"]
    assert states(hook, short["id"]) == ["sync"]


def test_a_stopped_channel_is_silent_and_gone(
    side: DirectorySide, api: Any, hook: Listener, fixture: dict[str, Any]
) -> None:
    stopped, other = watch(api, hook), watch(api, hook)
    wrong = {"id": stopped["id"], "resourceId": "wrong"}
    assert error(api.channels().stop(body=wrong))[:2] == (404, "notFound")
    body = {"id": stopped["id"], "resourceId": stopped["resourceId"]}
    asked(api.channels().stop(body=body))
    side.patch(fixture["users"][4]["id"], {"suspended": True})
    heard(hook, 1)
    assert states(hook, other["id"]) == ["sync", "update"]
    assert states(hook, stopped["id"]) == ["sync"]
    assert error(api.channels().stop(body=body))[0] == 404


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_is_tried_again_until_it_is_taken(
    side: DirectorySide, api: Any, hook: Listener, fixture: dict[str, Any], status: int
) -> None:
    watch(api, hook)
    hook.answer = lambda _: Response(status if len(hook.requests) < 4 else 200)
    side.patch(fixture["users"][4]["id"], {"suspended": True})
    found = heard(hook, 3)
    assert len(found) == 3
    assert len({(item.headers["x-goog-message-number"], item.body) for item in found}) == 1


@pytest.mark.parametrize("status", [301, 400, 403, 404, 429])
def test_any_other_answer_loses_the_message(
    side: DirectorySide, api: Any, hook: Listener, fixture: dict[str, Any], status: int
) -> None:
    watch(api, hook)
    hook.answer = lambda _: Response(status, headers={"Location": f"{hook.url}/elsewhere"})
    dropped = side.control("GET", "channels")["dropped"]
    side.patch(fixture["users"][4]["id"], {"suspended": True})
    settled(side, dropped=dropped + 1)
    assert states(hook) == ["sync", "update"]


def test_messages_are_doubled_lost_held_and_reordered_on_demand(
    side: DirectorySide, api: Any, hook: Listener, fixture: dict[str, Any]
) -> None:
    watch(api, hook)
    people = [user["id"] for user in fixture["users"][4:7]]
    side.weather(duplicate=1)
    side.patch(people[0], {"suspended": True})
    first, second = heard(hook, 2)
    assert (first.body, first.headers["x-goog-message-number"]) == (
        second.body, second.headers["x-goog-message-number"],
    )  # fmt: skip
    dropped = side.control("GET", "channels")["dropped"]
    side.weather(duplicate=0, lose=True)
    side.patch(people[0], {"suspended": False})
    assert settled(side, dropped=dropped + 1)["dropped"] == dropped + 1
    side.weather(lose=False, hold=True, reorder=True)
    for user_id in people:
        side.patch(user_id, {"archived": True})
    assert len(heard(hook, 2)) == 2
    side.weather(release=True)
    late = heard(hook, 5)[2:]
    assert [json.loads(item.body)["id"] for item in late] == people[::-1]
    numbers = [int(item.headers["x-goog-message-number"]) for item in late]
    assert numbers == sorted(numbers, reverse=True)


def test_a_message_is_delayed_on_demand(side: DirectorySide, api: Any, hook: Listener, fixture: dict[str, Any]) -> None:
    watch(api, hook)
    side.weather(delay=0.3)
    started = time.monotonic()
    side.patch(fixture["users"][4]["id"], {"suspended": True})
    heard(hook, 1)
    assert time.monotonic() - started >= 0.3


def test_reads_are_stale_on_demand(side: DirectorySide, api: Any, fixture: dict[str, Any]) -> None:
    user_id = fixture["users"][4]["id"]
    side.control("POST", "stale", {"on": True})
    side.patch(user_id, {"suspended": True})
    assert asked(api.users().get(userKey=user_id))["suspended"] is False
    assert user_id not in {user["id"] for user in everybody(api, query="isSuspended=true")}
    side.control("POST", "stale", {"on": False})
    assert asked(api.users().get(userKey=user_id))["suspended"] is True


# ---- faults


def test_a_method_fails_as_often_as_asked(side: DirectorySide, api: Any, fixture: dict[str, Any]) -> None:
    key = fixture["users"][4]["id"]
    fault = side.fault(match={"method": "users.get"}, status=403, reason="quotaExceeded", domain="usageLimits", times=2)
    assert error(api.users().get(userKey=key))[:2] == (403, "quotaExceeded")
    assert asked(api.users().list(customer="my_customer"))
    assert error(api.users().get(userKey=key))[:2] == (403, "quotaExceeded")
    assert asked(api.users().get(userKey=key))["id"] == key
    assert side.control("GET", f"faults/{fault}")["matched"] == 2


def test_a_fault_meets_one_user_or_one_group_for_ever(side: DirectorySide, api: Any, fixture: dict[str, Any]) -> None:
    side.fault(match={"key": fixture["groups"][1]["id"]}, status=500, times=None)
    for _ in range(3):
        assert error(api.members().list(groupKey=fixture["groups"][1]["id"]))[0] == 500
    assert asked(api.members().list(groupKey=fixture["groups"][0]["id"]))


def test_a_listing_fails_in_its_middle(side: DirectorySide, api: Any) -> None:
    side.fault(match={"method": "users.list", "from_page": 1}, status=503, times=1)
    request = api.users().list(customer="my_customer", maxResults=500)
    first = asked(request)
    second = api.users().list_next(request, first)
    assert error(second)[0] == 503
    assert len(asked(second)["users"]) == PEOPLE - 500


def test_a_listing_is_empty_on_demand(side: DirectorySide, api: Any) -> None:
    side.fault(match={"method": "users.list"}, empty=True, times=1)
    assert set(asked(api.users().list(customer="my_customer"))) == {"kind", "etag"}


def test_an_answer_is_delayed_or_dropped_on_demand(side: DirectorySide, api: Any) -> None:
    side.fault(match={"method": "users.list"}, delay=0.2)
    started = time.monotonic()
    asked(api.users().list(customer="my_customer"))
    assert time.monotonic() - started >= 0.2
    side.fault(match={"method": "users.list"}, drop=True, times=None)
    with pytest.raises(ConnectionError):
        api.users().list(customer="my_customer").execute()


def test_an_answer_is_withheld_until_the_fault_is_lifted(side: DirectorySide, fixture: dict[str, Any]) -> None:
    side.fault(match={"method": "users.get"}, hang=True)
    with pytest.raises(TimeoutError):
        urllib.request.urlopen(f"{side.url}/admin/directory/v1/users/{fixture['users'][4]['id']}", timeout=0.3)


def test_credentials_are_demanded_on_demand(side: DirectorySide, api: Any) -> None:
    side.control("PUT", "tokens", {"tokens": ["good"]})
    assert error(api.users().list(customer="my_customer"))[:2] == (401, "authError")


@pytest.mark.parametrize(("path", "status"), [("users/watch/more", 404), ("people", 404)])
def test_a_path_that_the_api_does_not_have(side: DirectorySide, path: str, status: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        side.call("GET", path)
    assert raised.value.code == status


def test_a_body_that_is_no_json_object_is_refused(side: DirectorySide) -> None:
    for body in (b"{", b"[]"):
        request = urllib.request.Request(f"{side.url}/admin/directory/v1/users", body, method="POST")
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(request)
        assert raised.value.code == 400


def test_large_answers_are_compressed_for_agents_that_say_so(side: DirectorySide) -> None:
    url = f"{side.url}/admin/directory/v1/users?customer=my_customer"
    for agent, encoding in (("program (gzip)", "gzip"), ("program", None)):
        request = urllib.request.Request(url, headers={"User-Agent": agent, "Accept-Encoding": "gzip"})
        with urllib.request.urlopen(request) as response:
            assert response.headers["Content-Encoding"] == encoding
