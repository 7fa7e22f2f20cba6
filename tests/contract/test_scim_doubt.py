"""A write that may have been carried out is never told as "not done": who asked must look at the account."""

from __future__ import annotations

from collections import Counter

import pytest

from autoprovisioning.domain.accounts import Write, WriteKind
from autoprovisioning.domain.errors import Unresolved
from infra.local.simulation import KeeperSide
from tests.contract.scim_servers import client, creates, patch
from tests.contract.scim_writes import LISTING, POST_BULK, POST_USER, exactly, kinds, seed, write

CHANGES = {"method": "PATCH|DELETE", "path": "/Users/"}
DONE_UNHEARD = [{"drop_after": True}, *({"status_after": status} for status in (408, 500, 502, 504))]
LONG_WAITS = [{"status": 503, "retry_after": 60}, {"status": 429, "retry_after": 60}]


def to_be_locked(ids: list[str]) -> list[Write]:
    """Return a change of each for accounts that are unlocked: PATCH and DELETE in turn, both lock."""
    makers = (lambda key: patch(key, key, active=False), lambda key: Write(key=key, kind=WriteKind.DELETE, scim_id=key))
    return [makers[number % 2](scim_id) for number, scim_id in enumerate(ids)]


def locked(keeper: KeeperSide) -> set[str]:
    return {account["id"] for account in keeper.accounts() if not account["active"]}


@pytest.mark.parametrize("lost", DONE_UNHEARD)
@pytest.mark.parametrize("then", LONG_WAITS)
@pytest.mark.parametrize("kind", [0, 1], ids=["PATCH", "DELETE"])
def test_a_change_done_but_unheard_of_stays_unresolved(keeper, accounts, lost, then, kind):
    ids = seed(keeper, 2)
    keeper.fault(match=CHANGES, **lost)
    keeper.fault(match=CHANGES, times=None, **then)
    error = write(accounts, [to_be_locked(ids)[kind]])[ids[kind]].error
    assert type(error) is Unresolved
    assert error.retry_after == 60
    assert locked(keeper) == {ids[kind]}


def test_an_update_and_an_unlocking_stay_unresolved_too(keeper, accounts):
    ids = seed(keeper, 2)
    keeper.control("PATCH", f"accounts/{ids[0]}", {"active": False})
    keeper.fault(match=CHANGES, status_after=504, times=2)
    keeper.fault(match=CHANGES, status=503, retry_after=60, times=None)
    changes = [patch("on", ids[0], active=True), patch("named", ids[1], attributes={"displayName": "Other"})]
    assert kinds(write(accounts, changes)) == {"Unresolved": 2}
    assert {account["displayName"] for account in keeper.accounts()} == {"person0@example.com", "Other"}
    assert locked(keeper) == set()


@pytest.mark.parametrize("lost", [*DONE_UNHEARD, {"truncate": 40}, {"results_after": 504}])
@pytest.mark.parametrize("then", LONG_WAITS)
def test_changes_of_a_bulk_request_stay_unresolved(keeper, accounts, lost, then):
    keeper.settings(bulk=True)
    ids = seed(keeper, 6)
    keeper.fault(match=POST_BULK, **lost)
    keeper.fault(match=CHANGES, times=None, **then)
    written = write(accounts, to_be_locked(ids))
    assert kinds(written) == {"Unresolved": 6}
    assert {item.error.retry_after for item in written.values() if isinstance(item.error, Unresolved)} == {60}
    assert locked(keeper) == set(ids)


def test_of_a_bulk_answer_that_lacks_some_the_others_are_known(keeper, accounts):
    keeper.settings(bulk=True)
    ids = seed(keeper, 6)
    keeper.fault(match=POST_BULK, lose_results=2)
    keeper.fault(match=CHANGES, status=503, retry_after=60, times=None)
    written = write(accounts, to_be_locked(ids))
    assert {key for key, item in written.items() if isinstance(item.error, Unresolved)} == set(ids[4:])
    assert kinds(written) == {"NoneType": 4, "Unresolved": 2}


@pytest.mark.parametrize("bulk", [False, True])
def test_what_the_deadline_ends_after_a_loss_is_not_told_as_unsent(keeper, bulk):
    keeper.settings(bulk=bulk)
    ids = seed(keeper, 2)
    accounts = client(keeper.endpoint, keeper.token, timeout=0.3)
    accounts.capabilities()
    keeper.fault(match={"method": "PATCH|DELETE|POST"}, hold_after=True, times=None)
    assert kinds(write(accounts, to_be_locked(ids), seconds=0.5)) == {"Unresolved": 2}
    assert locked(keeper) == set(ids)


@pytest.mark.parametrize("bulk", [False, True])
def test_a_token_refused_after_a_loss_says_nothing_about_the_change(keeper, bulk):
    keeper.settings(bulk=bulk)
    ids = seed(keeper, 8)
    accounts = client(keeper.endpoint, keeper.token, concurrency=1)
    keeper.fault(match={"method": "PATCH|DELETE|POST"}, status_after=502)
    keeper.fault(match={"method": "PATCH|DELETE|POST"}, status=401, times=None)
    written = write(accounts, to_be_locked(ids))
    unresolved = {key for key, item in written.items() if isinstance(item.error, Unresolved)}
    assert unresolved == locked(keeper)
    assert kinds(written) == Counter({"Unresolved": len(unresolved), "AuthorizationRefused": 8 - len(unresolved)})
    assert len(unresolved) == (8 if bulk else 1)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"status": 400}, "Rejected"),
        ({"status": 404}, "AccountGone"),
        ({"status": 409}, "Rejected"),
        ({"delay": 0}, "NoneType"),
    ],
)
@pytest.mark.parametrize("bulk", [False, True])
def test_a_definite_answer_to_the_change_sent_again_settles_it(keeper, accounts, bulk, answer, kind):
    keeper.settings(bulk=bulk)
    ids = seed(keeper, 2)
    keeper.fault(match=POST_BULK, status_after=504)
    keeper.fault(match={"method": "PATCH"}, status_after=504, times=0 if bulk else 2)
    keeper.fault(match={"method": "PATCH"}, times=2, **answer)
    keeper.fault(match={"method": "PATCH|POST"}, times=None, **answer)
    writes = [patch(scim_id, scim_id, active=False) for scim_id in ids]
    assert kinds(write(accounts, writes)) == {kind: 2}


def test_a_create_whose_own_account_took_the_last_seat_is_found(keeper, accounts):
    keeper.settings(bulk=True)
    keeper.fault(match=POST_BULK, results_after=504)
    keeper.fault(match=POST_USER, status=428, times=None)
    exactly(keeper, write(accounts, creates(5)), 5)


def test_a_create_under_way_stays_unresolved_although_it_cannot_be_found_yet(keeper, accounts):
    keeper.fault(match=POST_USER, status=504)
    keeper.fault(match=POST_USER, status=503, retry_after=60, times=None)
    assert kinds(write(accounts, creates(1))) == {"Unresolved": 1}


@pytest.mark.parametrize("bulk", [False, True])
def test_a_create_whose_own_account_is_not_listed_yet_stays_unresolved(keeper, accounts, bulk):
    """The address is taken, perhaps by the account that the first attempt made: nobody can say yet that it is not."""
    keeper.settings(bulk=bulk, listed_after=3600)
    keeper.fault(match=POST_BULK if bulk else POST_USER, drop_after=True, times=3)
    assert kinds(write(accounts, creates(3))) == {"Unresolved": 3}
    keeper.settings(listed_after=0)
    assert len(keeper.accounts()) == 3


def test_a_create_whose_own_account_took_the_last_seat_and_is_not_listed_yet_stays_unresolved(keeper, accounts):
    """No other creation is sent all the same."""
    keeper.settings(bulk=True, listed_after=3600)
    keeper.fault(match=POST_BULK, only=2, drop_after=True)
    keeper.fault(match=POST_USER, status=428, times=None)
    written = write(accounts, creates(40))
    assert kinds(written).keys() <= {"Unresolved", "NoneType", "SeatsExhausted"}
    assert {type(written[key].error).__name__ for key in ("c0", "c1")} == {"Unresolved"}


@pytest.mark.parametrize("status", [400, 404, 409, 412, 428, 501])
def test_a_create_in_doubt_is_looked_for_however_its_second_attempt_is_refused(keeper, accounts, status):
    """The listing came a moment too early. Some servers answer 400 where an address is taken."""
    keeper.settings(bulk=True)
    keeper.fault(match=POST_BULK, drop_after=True)
    keeper.fault(match=LISTING, status=200, body={"totalResults": 0, "Resources": []})
    keeper.fault(match=POST_USER, status=status, times=None)
    exactly(keeper, write(accounts, creates(5)), 5)


def test_an_address_that_is_somebody_elses_is_taken(keeper, accounts):
    """Without a doubt about the write there is none about the answer."""
    keeper.settings(taken_addresses=["person0@example.com"])
    assert kinds(write(accounts, creates(1))) == {"AddressTaken": 1}
