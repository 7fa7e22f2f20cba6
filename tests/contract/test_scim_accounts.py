"""The Accounts port, by the same tests against our Keeper simulator and against scim2-server, which is not ours."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from autoprovisioning.adapters.scim import ScimAccounts
from autoprovisioning.domain.accounts import Account, Lookup, Write, WriteKind, Written
from autoprovisioning.domain.errors import AccountGone, AddressTaken, AuthorizationRefused
from autoprovisioning.domain.keeper import PatchDialect
from autoprovisioning.domain.scim_user import ENTERPRISE
from tests.contract.scim_servers import as_new, client, creates, keeper, patch, person, scim2_server, soon

NODES = ["keeper", "keeper with Bulk", "keeper in its own dialect", "scim2-server"]
_numbers = itertools.count(0, 1000)  # scim2-server cannot be emptied: every test has people of its own


@dataclass
class Node:
    """One endpoint under test, and numbers of people that nobody used yet."""

    accounts: ScimAccounts
    endpoint: str
    token: str
    first: int
    locks: bool  # DELETE locks instead of deleting

    def write(self, *writes: Write) -> dict[str, Written]:
        return {written.key: written for written in self.accounts.write(writes, soon())}

    def created(self, count: int = 1, **changes: Any) -> list[str]:
        """Create people; returns their ids."""
        writes = creates(count, self.first)
        writes = [replace(write, attributes={**write.attributes, **changes}) for write in writes]
        written = self.write(*writes)
        assert [item.error for item in written.values()] == [None] * count
        return [written[write.key].scim_id for write in writes]

    def address(self, number: int = 0) -> str:
        return f"person{self.first + number}@example.com"

    def moved(self, number: int, to: int) -> dict[str, Any]:
        """Return the attributes that give one person another's address."""
        sent = person(self.first + to)
        return {target: value for target, value in sent.items() if target.startswith(("userName", "emails."))}

    def read(self, scim_id: str) -> Account:
        account = self.accounts.get(scim_id)
        assert account is not None
        return account


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with keeper(tmp_path_factory.mktemp("keeper")) as side, scim2_server(tmp_path_factory.mktemp("scim2")) as other:
        yield {"keeper": side, "scim2-server": other}


@pytest.fixture(params=NODES)
def node(request: pytest.FixtureRequest, servers: dict[str, Any]) -> Node:
    if request.param == "scim2-server":
        endpoint, token = servers["scim2-server"]
        return Node(client(endpoint, token), endpoint, token, next(_numbers), locks=False)
    side = as_new(servers["keeper"])
    side.settings(bulk=request.param == "keeper with Bulk")
    dialect = PatchDialect.KEEPER if "dialect" in request.param else PatchDialect.STANDARD
    accounts = client(side.endpoint, side.token, dialect=dialect)
    return Node(accounts, side.endpoint, side.token, next(_numbers), locks=True)


class TestAccounts:
    def test_the_probe_accepts_the_token_and_refuses_another(self, node):
        node.accounts.probe()
        with pytest.raises(AuthorizationRefused) as refused:
            client(node.endpoint, "another-token").probe()
        assert refused.value.status == 401

    def test_a_created_account_reads_back(self, node):
        sent = person(node.first, title="Countess", **{f"{ENTERPRISE}:department": "Engines"})
        (scim_id,) = node.created(title="Countess", **{f"{ENTERPRISE}:department": "Engines"})
        account = node.read(scim_id)
        assert (account.user_name, account.external_id, account.active) == (node.address(), f"d{node.first}", True)
        assert {target: account.attributes.get(target) for target in sent} == sent

    def test_many_creates_get_an_account_each(self, node):
        ids = node.created(130)
        assert len(set(ids)) == 130
        listed = {account.scim_id: account for page in node.accounts.list() for account in page}
        assert [listed[scim_id].external_id for scim_id in ids] == [f"d{node.first + n}" for n in range(130)]

    def test_a_listing_in_small_pages_has_everybody_once(self, node):
        ids = node.created(25)
        small = client(node.endpoint, node.token, page_size=7)
        pages = [[account.scim_id for account in page] for page in small.list()]
        assert len(pages) > 3
        flat = [scim_id for page in pages for scim_id in page]
        assert len(flat) == len(set(flat))
        assert set(ids) <= set(flat)

    def test_attributes_change_and_the_rest_stays(self, node):
        (scim_id,) = node.created(title="Miss")
        written = node.write(patch("p", scim_id, attributes={"name.familyName": "Byron", "title": "Countess"}))
        assert written["p"].error is None
        assert written["p"].scim_id == scim_id
        account = node.read(scim_id)
        assert account.attributes["name.familyName"] == "Byron"
        assert account.attributes["name.givenName"] == f"Given{node.first}"
        assert account.attributes["title"] == "Countess"

    def test_a_value_is_removed(self, node):
        (scim_id,) = node.created(title="Miss")
        assert node.write(patch("p", scim_id, attributes={"title": None}))["p"].error is None
        assert not node.read(scim_id).attributes.get("title")

    def test_an_account_is_suspended_and_comes_back(self, node):
        first, second = node.created(2)
        for active in (False, True):
            written = node.write(patch("a", first, active=active), patch("b", second, active=active))
            assert [item.error for item in written.values()] == [None, None]
            assert node.read(first).active is active
            assert node.read(second).active is active

    def test_a_new_address_is_the_same_account(self, node):
        (scim_id,) = node.created()
        written = node.write(patch("p", scim_id, attributes=node.moved(0, 500)))
        assert written["p"].error is None
        account = node.read(scim_id)
        assert account.user_name == node.address(500)
        assert account.attributes["emails.value"] == node.address(500)

    def test_adoption_writes_the_external_id(self, node):
        (scim_id,) = node.created()
        assert node.write(patch("p", scim_id, external_id="adopted"))["p"].error is None
        assert node.read(scim_id).external_id == "adopted"

    def test_a_deleted_account_gives_no_access(self, node):
        first, second = node.created(2)
        written = node.write(
            Write(key="x", kind=WriteKind.DELETE, scim_id=first), Write(key="y", kind=WriteKind.DELETE, scim_id=second)
        )
        assert [item.error for item in written.values()] == [None, None]
        account = node.accounts.get(first)
        assert account is not None if node.locks else account is None
        assert account is None or not account.active

    def test_an_unknown_id_is_gone(self, node):
        assert node.accounts.get("999999999") is None
        written = node.write(
            patch("p", "999999999", attributes={"title": "x"}),
            patch("q", "../Users", active=False),
            Write(key="d", kind=WriteKind.DELETE, scim_id="999999999"),
        )
        assert {type(item.error) for item in written.values()} == {AccountGone}

    def test_a_taken_address_is_refused(self, node):
        first, second = node.created(2)
        again = creates(1, node.first)[0]
        shouting = {**again.attributes, "userName": node.address().upper()}
        written = node.write(
            replace(again, key="x", external_id="other"),
            replace(again, key="y", external_id="another", attributes=shouting),
            patch("p", second, attributes=node.moved(1, 0)),
        )
        assert {type(item.error) for item in written.values()} == {AddressTaken}
        assert node.read(first).user_name == node.address(0)
        assert node.read(second).user_name == node.address(1)

    def test_a_chain_of_new_addresses_is_carried_out_in_whatever_order(self, node):
        first, second, third = node.created(3)
        written = node.write(
            patch("a", first, attributes=node.moved(0, 1)),
            patch("b", second, attributes=node.moved(1, 2)),
            patch("c", third, attributes=node.moved(2, 3)),
        )
        assert [item.error for item in written.values()] == [None] * 3
        assert [node.read(scim_id).user_name for scim_id in (first, second, third)] == [
            node.address(number) for number in (1, 2, 3)
        ]

    def test_a_swap_of_addresses_stays_taken(self, node):
        first, second = node.created(2)
        written = node.write(
            patch("a", first, attributes=node.moved(0, 1)), patch("b", second, attributes=node.moved(1, 0))
        )
        assert {type(item.error) for item in written.values()} == {AddressTaken}

    def test_accounts_are_found_by_external_id_then_by_user_name(self, node):
        first, second = node.created(2)
        name = node.address(1).upper()
        lookups = [
            Lookup(key="id", external_id=f"d{node.first}", user_names=(node.address(1),)),
            Lookup(key="name", external_id="nobody", user_names=(node.address(700), name)),
            Lookup(key="nobody", external_id="nobody", user_names=(node.address(700),)),
            Lookup(
                key="hostile",
                external_id='" or userName pr or externalId eq "',
                user_names=('x" or userName pr or userName eq "',),
            ),
            Lookup(key="empty", external_id="", user_names=()),
        ]
        found = {item.key: item for item in node.accounts.find(lookups)}
        assert {key: item.error for key, item in found.items()} == dict.fromkeys(found)
        ids = {key: [account.scim_id for account in item.accounts] for key, item in found.items()}
        assert ids == {"id": [first], "name": [second], "nobody": [], "hostile": [], "empty": []}

    def test_people_with_any_name_are_provisioned(self, node):
        (scim_id,) = node.created(**{"displayName": 'Zoë "Ω" O\\Brien 😀', "name.givenName": "Zoë"})
        assert node.read(scim_id).attributes["displayName"] == 'Zoë "Ω" O\\Brien 😀'
