"""The Accounts port against django-scim2: the same tests, and how what that server cannot do ends.

What it is like, as installed: it keeps userName, the first and last name, one e-mail address, externalId and `active`,
and drops the rest of a POST without a word. displayName is derived. A PATCH of anything but userName, the names, emails
and `active` is answered 501, and so is every removal, whole and atomically. ServiceProviderConfig says that neither
filters nor Bulk are offered; a filter by userName works all the same, one by externalId is answered with an empty
listing, and one with a quote or a backslash with 400. A PATCH of a taken userName is answered 500, and userName is
unique by case. DELETE deletes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from autoprovisioning.domain.accounts import Lookup, Write, WriteKind, Written
from autoprovisioning.domain.errors import AddressTaken, NotOffered, Rejected
from autoprovisioning.domain.keeper import PatchDialect
from tests.contract import test_scim_accounts as everybody
from tests.contract.scim_servers import Counts, client, creates, django_node, patch, person
from tests.contract.test_scim_accounts import Node

_numbers = itertools.count(0, 1000)  # it cannot be emptied: every test has people of its own
KEPT = ("userName", "displayName", "name.givenName", "name.familyName", "emails.value", "emails.primary")


@pytest.fixture(scope="module")
def django(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    with django_node(tmp_path_factory.mktemp("django")) as served:
        yield served


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def node(django: tuple[str, str], counts: Counts) -> Node:
    endpoint, token = django
    return Node(client(endpoint, token, count=counts), endpoint, token, next(_numbers), locks=False)


def refused(written: Written) -> None:
    """See that it is reported as something this server cannot do, for this user, in words that explain the failure."""
    assert isinstance(written.error, NotOffered), written.error
    assert "501" in str(written.error)


class TestAccounts(everybody.TestAccounts):
    """The tests that every server passes, and in this server's own way those it cannot pass as they are."""

    def test_a_created_account_reads_back(self, node):
        (scim_id,) = node.created(title="Countess")
        account = node.read(scim_id)
        assert (account.user_name, account.external_id, account.active) == (node.address(), f"d{node.first}", True)
        assert account.teams == (), "it has no groups, and says so"
        sent = person(node.first)
        assert {target: account.attributes.get(target) for target in KEPT} == {target: sent[target] for target in KEPT}

    def test_attributes_change_and_the_rest_stays(self, node):
        (scim_id,) = node.created()
        assert node.write(patch("p", scim_id, attributes={"name.familyName": "Byron"}))["p"].error is None
        account = node.read(scim_id)
        assert account.attributes["name.familyName"] == "Byron"
        assert account.attributes["name.givenName"] == f"Given{node.first}"

    def test_a_value_is_removed(self, node, counts):
        (scim_id,) = node.created()
        refused(node.write(patch("p", scim_id, attributes={"title": None}))["p"])
        assert counts["scim_patch"] == 1, "501 is final: sending it again cannot help"

    def test_adoption_writes_the_external_id(self, node, counts):
        (scim_id,) = node.created()
        refused(node.write(patch("p", scim_id, external_id="adopted"))["p"])
        assert counts["scim_patch"] == 1
        assert node.read(scim_id).external_id == f"d{node.first}"

    def test_a_taken_address_is_refused(self, node):
        first, second = node.created(2)
        again = creates(1, node.first)[0]
        written = node.write(
            replace(again, key="x", external_id="other"), patch("p", second, attributes=node.moved(1, 0))
        )
        assert isinstance(written["x"].error, AddressTaken)
        assert written["p"].error is not None
        assert node.read(first).user_name == node.address(0)
        assert node.read(second).user_name == node.address(1)

    def test_a_chain_of_new_addresses_is_carried_out_in_whatever_order(self, node):
        """A taken address is a 500 here, which looks like a failure: the caller sends it again."""
        ids = node.created(3)
        left = {
            f"m{number}": patch(f"m{number}", ids[number], attributes=node.moved(number, number + 1))
            for number in range(3)
        }
        for _ in range(3):
            written = node.write(*left.values())
            left = {key: write for key, write in left.items() if written[key].error is not None}
            if not left:
                break
        assert [node.read(scim_id).user_name for scim_id in ids] == [node.address(number) for number in (1, 2, 3)]

    def test_a_swap_of_addresses_stays_taken(self, node):
        first, second = node.created(2)
        written = node.write(
            patch("a", first, attributes=node.moved(0, 1)), patch("b", second, attributes=node.moved(1, 0))
        )
        assert None not in {item.error for item in written.values()}
        assert [node.read(scim_id).user_name for scim_id in (first, second)] == [node.address(0), node.address(1)]

    def test_people_with_any_name_are_provisioned(self, node):
        """What displayName is, this server makes of the two names by itself."""
        name = 'Zoë "Ω" O\\Brien 😀'
        (scim_id,) = node.created(**{"name.givenName": name, "displayName": f"{name} Family{node.first}"})
        assert node.read(scim_id).attributes["name.givenName"] == 'Zoë "Ω" O\\Brien 😀'


class TestWhatItCannotDo:
    def test_who_is_listed_is_found_by_external_id_although_no_filter_finds_them(self, node):
        """Else a creation whose answer was lost is never found again: the empty listing says nothing of anybody."""
        (scim_id,) = node.created()
        (found,) = node.accounts.find([Lookup(key="x", external_id=f"d{node.first}", user_names=())])
        assert (found.error, [account.scim_id for account in found.accounts]) == (None, [scim_id])

    def test_a_part_that_is_refused_is_no_change_at_all(self, node):
        (scim_id,) = node.created()
        refused(node.write(patch("p", scim_id, attributes={"name.familyName": "Byron", "title": "Countess"}))["p"])
        assert node.read(scim_id).attributes["name.familyName"] == f"Family{node.first}"

    def test_one_refusal_is_nobody_elses(self, node):
        first, second, third = node.created(3)
        written = node.write(
            patch("a", first, attributes={"title": "Countess"}),
            patch("b", second, active=False),
            Write(key="c", kind=WriteKind.DELETE, scim_id=third),
        )
        refused(written["a"])
        assert [written["b"].error, written["c"].error] == [None, None]
        assert node.read(second).active is False
        assert node.accounts.get(third) is None

    def test_bulk_is_not_tried_where_it_is_not_offered(self, node, counts):
        """`supported` is false beside limits that would do."""
        assert node.accounts.capabilities().bulk is False
        node.created(3)
        assert counts["scim_post"] == 3

    def test_keepers_own_dialect_is_refused(self, node, django):
        """A suspension as a text: one user's failure, which says what was refused."""
        (scim_id,) = node.created()
        accounts = client(*django, dialect=PatchDialect.KEEPER)
        (written,) = accounts.write([patch("p", scim_id, active=False)], everybody.soon())
        assert isinstance(written.error, Rejected)
        assert '"active" should be of type "bool"' in str(written.error)
        assert node.read(scim_id).active is True
