"""A success is believed only where Keeper shows what was written: whatever stands between may answer 200 as well."""

from __future__ import annotations

import pytest

from autoprovisioning.domain.accounts import Write, WriteKind
from autoprovisioning.domain.errors import Contradicted, KeeperFailed, Unresolved
from infra.local.simulation import KeeperSide
from tests.contract.scim_servers import creates, patch, person
from tests.contract.scim_writes import POST_BULK, POST_USER, exactly, kinds, seed, sent, write

CHANGE = {"method": "PATCH|DELETE", "path": "/Users/"}
ONE = {"method": "GET", "path": "/Users/"}
ERROR = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "400", "detail": "no", "id": "1000"}
NOT_DONE = [
    {"page": 200},
    {"status": 200, "body": None},
    {"status": 200, "body": {}},
    {"status": 200, "body": ERROR},
    {"status": 200, "body": {"id": "blocked-17", "message": "blocked"}},
    {"status": 200, "body": {"Resources": [], "totalResults": 0}},
    {"status": 201, "body": []},
]
DONE = [
    {"page_after": 200},
    {"status_after": 200, "body_after": None},
    {"status_after": 202, "body_after": None},
    {"status_after": 200},
    {"status_after": 204, "body_after": None},
]


def suspend(scim_id: str) -> Write:
    return patch(scim_id, scim_id, active=False)


def delete(scim_id: str) -> Write:
    return Write(key=scim_id, kind=WriteKind.DELETE, scim_id=scim_id)


def is_active(keeper: KeeperSide) -> bool:
    (account,) = keeper.accounts()
    return bool(account["active"])


@pytest.mark.parametrize("change", [suspend, delete])
@pytest.mark.parametrize("effect", NOT_DONE)
def test_a_success_that_did_nothing_is_a_failure(keeper, accounts, change, effect):
    (scim_id,) = seed(keeper, 1)
    keeper.fault(match=CHANGE, **effect)
    error = write(accounts, [change(scim_id)])[scim_id].error
    assert isinstance(error, KeeperFailed)
    assert "is not as written (active)" in str(error)
    assert is_active(keeper)


@pytest.mark.parametrize("change", [suspend, delete])
@pytest.mark.parametrize("effect", DONE)
def test_a_change_that_the_account_shows_is_done_whatever_was_answered(keeper, accounts, change, effect):
    (scim_id,) = seed(keeper, 1)
    keeper.fault(match=CHANGE, **effect)
    assert write(accounts, [change(scim_id)])[scim_id].error is None
    assert not is_active(keeper)
    assert sent(keeper, "GET /Users") == (0 if effect.get("status_after") == 204 else 1)


@pytest.mark.parametrize("change", [suspend, delete])
def test_keepers_usual_answers_cost_no_other_request(keeper, accounts, change):
    (scim_id,) = seed(keeper, 1)
    written = write(accounts, [change(scim_id)])[scim_id]
    assert written.error is None
    assert sent(keeper, "GET /Users") == 0
    assert (written.shown is None) is (change is delete)


def test_what_is_accepted_but_not_done_yet_stays_unresolved(keeper, accounts):
    (scim_id,) = seed(keeper, 1)
    keeper.fault(match=CHANGE, status=202, body=None)
    assert isinstance(write(accounts, [suspend(scim_id)])[scim_id].error, Unresolved)


@pytest.mark.parametrize("then", [{"page": 200}, {"status": 500}, {"status": 401}, {"drop_before": True}])
def test_a_success_without_proof_stays_unresolved_while_the_account_cannot_be_read(keeper, accounts, then):
    (scim_id,) = seed(keeper, 1)
    keeper.fault(match=CHANGE, page_after=200)
    keeper.fault(match=ONE, times=None, **then)
    assert isinstance(write(accounts, [suspend(scim_id)])[scim_id].error, Unresolved)


def test_a_deletion_that_really_deleted_is_done(keeper, accounts):
    (scim_id,) = seed(keeper, 1)
    keeper.fault(match=CHANGE, page=200)
    keeper.fault(match=ONE, status=404)
    assert write(accounts, [delete(scim_id)])[scim_id].error is None


def test_an_update_whose_account_is_gone_by_then_says_so(keeper, accounts):
    (scim_id,) = seed(keeper, 1)
    keeper.fault(match=CHANGE, page=200)
    keeper.fault(match=ONE, status=404)
    assert kinds(write(accounts, [patch(scim_id, scim_id, attributes={"title": "Dr"})])) == {"AccountGone": 1}


CONTRADICTIONS = [
    ({"active": True}, "active"),
    ({"active": "true"}, "active"),
    ({"id": "31337"}, "id"),
    ({"externalId": "somebody"}, "externalId"),
    ({"displayName": "Somebody"}, "displayName"),
    ({"userName": "person10@example.com", "emails": []}, "userName"),
    ({"name": {"givenName": "given0", "familyName": "Family0"}}, "name.givenName"),
    ({"title": "Dr"}, "title"),
]


@pytest.mark.parametrize(("shown", "named"), CONTRADICTIONS)
def test_an_answer_that_contradicts_the_change_is_a_failure_that_names_the_attribute(keeper, accounts, shown, named):
    (scim_id,) = seed(keeper, 1)
    keeper.fault(match=CHANGE, show=shown)
    change = patch(scim_id, scim_id, active=False, external_id="d0", attributes={**person(0), "title": None})
    error = write(accounts, [change])[scim_id].error
    assert isinstance(error, Contradicted)
    assert f"shows something else: {named}." in str(error)
    assert str(next(iter(shown.values()))) not in str(error).partition("otherwise")[2]


MADE = [
    {"userName": "PERSON0@EXAMPLE.COM"},
    {"emails": [{"value": "person0@example.com", "type": "home", "primary": "true"}]},
    {"displayName": " Given0  "},
    {"displayName": "Given0 Fam"},
    {"displayName": ""},
    {"name": {"formatted": "Somebody"}},
    {"title": "Zoë"},
    {"phoneNumbers": [{"type": "work", "value": "tel:+44-1"}]},
    {"externalId": None},
    {"active": "False"},
]


@pytest.mark.parametrize("shown", MADE)
def test_what_servers_make_of_values_contradicts_nothing(keeper, accounts, shown):
    (scim_id,) = seed(keeper, 1)
    keeper.fault(match=CHANGE, show=shown)
    attributes = {**person(0), "title": "Zoë", 'phoneNumbers[type eq "work"].value': "+44 (1)"}
    change = patch(scim_id, scim_id, active=False, external_id="d0", attributes=attributes)
    assert write(accounts, [change])[scim_id].error is None
    assert sent(keeper, "GET /Users") == 0


def test_keepers_mirror_of_the_address_contradicts_nothing(keeper, accounts):
    (scim_id,) = seed(keeper, 1)
    attributes = {"userName": "one@example.com", "emails.value": "two@example.com"}
    assert write(accounts, [patch(scim_id, scim_id, attributes=attributes)])[scim_id].error is None


@pytest.mark.parametrize("effect", [{"page_after": 200}, {"status_after": 204, "body_after": None}])
def test_an_account_that_was_created_unseen_is_looked_for(keeper, accounts, effect):
    keeper.fault(match=POST_USER, times=None, **effect)
    exactly(keeper, write(accounts, creates(3)), 3)
    assert sent(keeper, "POST /Users") == 3


@pytest.mark.parametrize("effect", NOT_DONE)
def test_a_creation_that_did_nothing_is_not_done(keeper, accounts, effect):
    keeper.fault(match=POST_USER, **effect)
    assert kinds(write(accounts, creates(1))) == {"Unresolved": 1}


@pytest.mark.parametrize("shown", [{"active": False}, {"externalId": "d9"}, {"displayName": "Somebody"}])
def test_a_creation_is_judged_like_a_change(keeper, accounts, shown):
    keeper.fault(match=POST_USER, show=shown)
    assert kinds(write(accounts, creates(1))) == {"Contradicted": 1}


class TestInBulk:
    @pytest.fixture(autouse=True)
    def offered(self, keeper):
        keeper.settings(bulk=True, bulk_responses=True)

    def test_results_that_show_the_accounts_are_believed(self, keeper, accounts):
        written = write(accounts, creates(20))
        exactly(keeper, written, 20)
        assert all(item.shown for item in written.values())
        assert sent(keeper, "GET /Users") == 0

    @pytest.mark.parametrize("shown", [{"active": True}, {"externalId": "somebody"}])
    def test_a_result_that_contradicts_its_change_is_a_failure(self, keeper, accounts, shown):
        ids = seed(keeper, 4)
        keeper.fault(match=POST_BULK, result_shows=shown)
        changes = [patch(scim_id, scim_id, active=False, external_id=f"e{scim_id}") for scim_id in ids]
        assert kinds(write(accounts, changes)) == {"Contradicted": 4}

    @pytest.mark.parametrize(
        "result",
        [
            {"response": "<html>"},
            {"response": ERROR},
            {"status": "202"},
            {"location": "https://x/v2/Users/31337"},
            {"response": {"id": "31337", "userName": "x@example.com", "active": False}},
        ],
    )
    @pytest.mark.parametrize("change", [suspend, delete])
    def test_a_result_that_proves_nothing_is_looked_into(self, keeper, accounts, change, result):
        ids = seed(keeper, 4)
        keeper.fault(match=POST_BULK, result=result)
        assert kinds(write(accounts, [change(scim_id) for scim_id in ids])) == {"NoneType": 4}
        assert sent(keeper, "GET /Users") == 4
        assert not any(account["active"] for account in keeper.accounts())

    def test_results_that_did_nothing_are_failures(self, keeper, accounts):
        ids = seed(keeper, 4)
        results = [{"bulkId": scim_id, "status": "200", "response": "<html>"} for scim_id in ids]
        keeper.fault(match=POST_BULK, status=200, body={"Operations": results})
        assert kinds(write(accounts, [suspend(scim_id) for scim_id in ids])) == {"NotAsWritten": 4}

    @pytest.mark.parametrize("status", ["99", "600", "0200", "²00", "9" * 5000])
    def test_what_is_no_status_is_no_result(self, keeper, accounts, status):
        ids = seed(keeper, 4)
        keeper.fault(match=POST_BULK, results_after=status)
        assert kinds(write(accounts, [suspend(scim_id) for scim_id in ids])) == {"NoneType": 4}
        assert sent(keeper, "PATCH /Users") == 4

    @pytest.mark.parametrize("status", [200, 409])
    def test_of_two_results_neither_counts(self, keeper, accounts, status):
        ids = seed(keeper, 4)
        keeper.fault(match=POST_BULK, second_result=status)
        assert kinds(write(accounts, [suspend(scim_id) for scim_id in ids])) == {"NoneType": 4}
        assert sent(keeper, "PATCH /Users") == 4

    def test_access_that_a_result_does_not_show_is_looked_into(self, keeper, accounts):
        """The response of a success is optional in Bulk (RFC 7644 3.7.3): nobody is taken for locked without it."""
        keeper.settings(bulk_responses=False)
        ids = seed(keeper, 2)
        written = write(accounts, [suspend(ids[0]), delete(ids[1])])
        assert kinds(written) == {"NoneType": 2}
        assert sent(keeper, "GET /Users") == 2

    def test_the_id_in_a_location_is_decoded(self, keeper, accounts):
        keeper.settings(bulk_responses=False)
        keeper.control("PUT", "accounts", [{"userName": "a@example.com", "id": "ä/1"}, {"userName": "b@example.com"}])
        ids = [account["id"] for account in keeper.accounts()]
        assert kinds(
            write(accounts, [patch(scim_id, scim_id, attributes={"title": "Countess"}) for scim_id in ids])
        ) == {"NoneType": 2}
        assert sent(keeper, "GET /Users") == 0

    @pytest.mark.parametrize("status", [403, 404, 405, 501])
    def test_a_refused_bulk_is_noted_and_done_without(self, keeper, accounts, status):
        ids = seed(keeper, 4)
        keeper.fault(match=POST_BULK, status=status, times=None)
        assert kinds(write(accounts, [suspend(scim_id) for scim_id in ids])) == {"NoneType": 4}
        assert f"HTTP {status}" in accounts._sender.remarks["bulk"]
