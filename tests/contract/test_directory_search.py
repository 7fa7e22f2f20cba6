"""What the console looks up in the directory: users and groups by their first letters, organizational units."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from autoprovisioning.adapters.directory import DirectoryTransport, GoogleDirectory, anonymous
from autoprovisioning.domain.errors import BadInput, ConfigurationRefused, Incomplete
from infra.local.simulation import DirectorySide, http
from tests.contract.directory_reader import answering
from tests.contract.directory_servers import as_new, simulator, validate
from tests.contract.scim_servers import Counts


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DirectorySide, dict[str, Any], bytes]]:
    with simulator(tmp_path_factory.mktemp("directory")) as started:
        yield started


@pytest.fixture
def side(running: tuple[DirectorySide, dict[str, Any], bytes]) -> DirectorySide:
    side, _, text = running
    return as_new(side, text)


@pytest.fixture
def directory(side: DirectorySide) -> GoogleDirectory:
    return GoogleDirectory(DirectoryTransport(side.url, anonymous(side.url), Counts(), timeout=timedelta(seconds=5)))


def insert(side: DirectorySide, given: str, family: str, email: str, unit: str = "/") -> str:
    person = {"primaryEmail": email, "name": {"givenName": given, "familyName": family}, "orgUnitPath": unit}
    return str(side.insert(person)["id"])


@pytest.mark.parametrize(
    "text", ["zora", "ZORA.N", "Zoraida", "Neale-H", "zoraida neale", "  zora ", "zora.neale@example.com"]
)
def test_users_are_found_by_the_first_letters_of_address_and_names(directory, side, text):
    user_id = insert(side, "Zoraida", "Neale-Hurston", "zora.neale@example.com")
    insert(side, "Azora", "Other", "a.zora@example.com")

    assert [user.id for user in directory.search_users(text)] == [user_id]


def test_a_user_is_found_by_id(directory, side):
    user_id = insert(side, "Zoraida", "Neale", "zora.neale@example.com")

    assert [user.primary_email for user in directory.search_users(user_id)] == ["zora.neale@example.com"]


PEOPLE = {
    "Sean O'Brien": "o'brien@example.com",
    "Sean Obrien": "obrien@example.com",
    "Olga Orlova": "olga@example.com",
    "Ann D'Arcy": "ann@example.com",
    "José Núñez": "jose@example.com",
}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("o'brien@example.com", ["Sean O'Brien"]),
        ("O'BRIEN@example.com", ["Sean O'Brien"]),
        ("obrien@example.com", ["Sean Obrien"]),
        ("o'brian@example.com", []),
        ("o'b", ["Sean O'Brien"]),
        ("O'Brien", ["Sean O'Brien"]),
        ("o'brien@", ["Sean O'Brien"]),
        ("sean o'brien", ["Sean O'Brien"]),
        ("sean  o", ["Sean O'Brien", "Sean Obrien"]),
        ("d'arcy", ["Ann D'Arcy"]),
        ("darcy", []),
        ("'brien", []),
        ('o"brien', []),
        ("o*brien", []),
        ("o\\brien", []),
        ("jose", ["José Núñez"]),
        ("José N", ["José Núñez"]),
    ],
)
def test_nobody_but_who_was_typed_is_offered(directory, side, text, names):
    for name, email in PEOPLE.items():
        insert(side, *name.split(), email)

    assert [user.profile["name"]["fullName"] for user in directory.search_users(text)] == names


def test_who_begins_with_what_a_query_cannot_carry_is_found_among_many(directory, side):
    for number in range(300):
        insert(side, f"Quill{number}", f"O{number}", f"o.{number}@example.com")
    user_id = insert(side, "Zed", "O'Zed", "o'zed@example.com")

    assert [user.id for user in directory.search_users("o'z")] == [user_id]


def test_whom_another_address_than_the_typed_one_names_is_not_offered(listener):
    other = {"id": "1", "primaryEmail": "obrien@example.com", "suspended": False}
    assert answering(listener, other).search_users("o'brien@example.com") == ()
    assert answering(listener, {"users": [other]}).search_users("o'brien") == []


@pytest.mark.parametrize("items", ["x", [None], [{}], [{"id": 1}], [{"id": "a b", "primaryEmail": "ada@example.com"}]])
def test_what_is_no_user_is_not_offered(listener, items):
    assert answering(listener, {"users": items, "groups": items}).search_users("ada") == []


@pytest.mark.parametrize(
    ("text", "emails"),
    [
        ("r&d", ["rnd@example.com"]),
        ("o'team@example.com", ["o'team@example.com"]),
        ("o'team@", ["o'team@example.com"]),
        ("o'neill", ["o'team@example.com"]),
        ("oteam@example.com", ["oteam@example.com"]),
        ("'", []),
    ],
)
def test_groups_with_an_apostrophe_are_found_by_it(directory, side, text, emails):
    for email, name in (
        ("o'team@example.com", "O'Neill's"),
        ("oteam@example.com", "ONeill"),
        ("rnd@example.com", "R&D"),
    ):
        side.call("POST", "groups", {"email": email, "name": name})

    assert [group.email for group in directory.search_groups(text)] == emails


@pytest.mark.parametrize("text", ["", "   ", "'", "*", "nobody at all", "000000000000000000001", "' isAdmin=true '"])
def test_nobody_is_found_by_what_nobody_is_called(directory, text):
    assert not directory.search_users(text)


def test_at_most_twenty_users_are_found(directory, side):
    for number in range(25):
        insert(side, f"Quill{number}", "Same", f"quill{number}@example.com")

    assert len(directory.search_users("quill")) == 20


def test_groups_are_found_by_the_first_letters_of_name_and_address(directory, side):
    side.call("POST", "groups", {"email": "zebra-team@example.com", "name": "Striped people"})

    assert [group.email for group in directory.search_groups("strip")] == ["zebra-team@example.com"]
    assert [group.name for group in directory.search_groups("ZEBRA")] == ["Striped people"]
    assert not directory.search_groups("")
    assert not directory.search_groups("ebra")


def test_organizational_units_come_with_those_above_them(directory, side):
    insert(side, "Una", "Deep", "una@example.com", "/Zoo/Birds/Owls")

    units = [unit.path for unit in directory.org_units()]
    assert [path for path in units if path.startswith("/Zoo")] == ["/Zoo", "/Zoo/Birds", "/Zoo/Birds/Owls"]
    validate("OrgUnits", http("GET", f"{side.url}/admin/directory/v1/customer/my_customer/orgunits?type=all"))


@pytest.mark.parametrize(
    ("method", "ask"),
    [
        ("users.list", lambda directory: directory.search_users("ada")),
        ("groups.list", lambda directory: directory.search_groups("ada")),
        ("orgunits.list", lambda directory: directory.org_units()),
    ],
)
def test_what_the_directory_refuses_is_told_with_its_mend(directory, side, method, ask):
    side.fault(match={"method": method}, status=403, reason="forbidden", times=None)

    with pytest.raises(ConfigurationRefused, match="Domain-wide delegation"):
        ask(directory)


@pytest.mark.parametrize("status", [400, 404, 412, 501])
def test_a_search_that_is_refused_is_no_fault_of_the_set_up(listener, status):
    refused = answering(listener, {"error": {"code": status, "message": "Invalid Input: query"}}, status=status)
    for search in (refused.search_users, refused.search_groups):
        with pytest.raises(BadInput, match="Invalid Input: query"):
            search("ada")


def test_the_groups_above_a_group_are_found_by_its_address(directory, side):
    customer = side.control("GET", "state")
    emea = next(group for group in customer["groups"] if group["email"] == "sales-emea@example.com")
    above = {
        group_id for group_id, members in customer["members"].items() if emea["id"] in {item["id"] for item in members}
    }
    assert above
    assert {group.id for group in directory.groups_of(emea["email"])} == above


def test_the_groups_of_a_user_are_found_by_id_or_address_without_those_above_them(directory, side):
    customer = side.control("GET", "state")
    user = next(user for user in customer["users"] if user["id"] in str(customer["members"].values()))
    own = {
        group_id for group_id, members in customer["members"].items() if user["id"] in {one["id"] for one in members}
    }
    assert own
    for key in (user["id"], user["primaryEmail"]):
        assert {group.id for group in directory.groups_of(key)} == own


@pytest.mark.parametrize("status", [404, 400, 503])
def test_groups_above_that_cannot_be_listed_are_incomplete(directory, side, status):
    side.fault(match={"method": "groups.list"}, status=status, reason="invalid", times=None)
    with pytest.raises(Incomplete):
        directory.groups_of("sales-emea@example.com")
