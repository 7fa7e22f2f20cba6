"""Results of Bulk that name nobody, or somebody else: nobody gets another one's account, and nobody gets two."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from autoprovisioning.domain.accounts import Write, WriteKind
from autoprovisioning.domain.errors import Permanent
from infra.local.simulation import KeeperSide, wait_for
from tests.contract.scim_servers import client, creates, patch, soon
from tests.contract.scim_writes import POST_BULK, exactly, kinds, seed, sent, write

ONE_BY_ONE = {"method": "POST|PATCH", "path": "/Users"}


@pytest.fixture(autouse=True)
def offered(keeper):
    keeper.settings(bulk=True)


@pytest.mark.parametrize("shows", [False, True])
def test_results_without_bulk_ids_may_be_in_any_order(keeper, accounts, shows):
    keeper.settings(bulk_responses=shows)
    keeper.fault(match=POST_BULK, unnamed=True, reverse=True, times=None)
    exactly(keeper, write(accounts, creates(60)), 60)


def test_results_without_bulk_ids_in_order_do_not_end_bulk(keeper, accounts):
    keeper.fault(match=POST_BULK, unnamed=True, times=None)
    exactly(keeper, write(accounts, creates(200)), 200)
    assert sent(keeper, "POST /Users") == 0


def test_results_of_another_request_are_nobodys(keeper, accounts):
    """As a proxy answers that confuses two requests under way."""
    seed(keeper, 3)
    other = [
        {"method": "POST", "bulkId": f"x{n}", "status": "201", "location": f"https://x/Users/{1000 + n}"}
        for n in range(3)
    ]
    keeper.fault(match=POST_BULK, status=200, body={"Operations": other})
    exactly(keeper, write(accounts, creates(3, 10)), 3, others=3)


@pytest.mark.parametrize("location", ["https://x/v2/Users/1000", {"href": "https://x/v2/Users/1000"}, 1000])
def test_one_account_is_not_two_peoples(keeper, accounts, location):
    seed(keeper, 1)
    keeper.fault(match=POST_BULK, result={"location": location})
    exactly(keeper, write(accounts, creates(20, 10)), 20, others=1)


def test_an_account_that_was_there_before_is_not_taken_for_a_new_one(keeper, accounts):
    """As a server answers to a POST that finds somebody with that address, against RFC 7644 3.3."""
    seed(keeper, 2)
    writes = creates(2, 10)
    there = [
        {"method": "POST", "bulkId": each.key, "status": "200", "location": f"https://x/Users/{1000 + n}"}
        for n, each in enumerate(writes)
    ]
    keeper.fault(match=POST_BULK, status=200, body={"Operations": there})
    assert kinds(write(accounts, writes)) == {"Unresolved": 2}


def test_a_creation_that_failed_in_bulk_is_looked_for_before_it_is_sent_again(keeper, accounts):
    keeper.fault(match=POST_BULK, results_after=500)
    exactly(keeper, write(accounts, creates(20)), 20)
    assert sent(keeper, "POST /Users") == 0


@pytest.mark.parametrize("count", [0, 3, 9])
def test_a_connection_that_is_cut_within_a_request_makes_nobody_twice(keeper, accounts, count):
    keeper.fault(match=POST_BULK, only=count, drop_after=True)
    exactly(keeper, write(accounts, creates(10)), 10)
    assert sent(keeper, "POST /Users") == 10 - count


@pytest.mark.parametrize("count", [0, 3, 9])
def test_operations_that_are_not_carried_out_are_sent_again(keeper, accounts, count):
    """As a server answers that stops after an error, whatever failOnErrors says."""
    keeper.fault(match=POST_BULK, only=count)
    exactly(keeper, write(accounts, creates(10)), 10)
    assert sent(keeper, "POST /Users") == 10 - count


def quiet(keeper: KeeperSide) -> None:
    """Wait until nothing is under way in Keeper."""
    wait_for(lambda: keeper.requests()["now"] == 0, "Keeper to have carried everything out")


@pytest.mark.parametrize("when", ["GET /Users", "POST /Users", "afterwards"])
def test_a_request_that_is_carried_out_after_its_timeout_makes_nobody_twice(keeper, when):
    """While its accounts are looked for, while they are made one by one, or once they are there."""
    accounts = client(keeper.endpoint, keeper.token, timeout=0.3)
    keeper.settings(latency_ms=50)
    late = keeper.fault(match=POST_BULK, hang=True)

    def release() -> None:
        if when != "afterwards":
            wait_for(lambda: sent(keeper, when), when, every=0.01)
            keeper.control("POST", f"faults/{late}")

    with ThreadPoolExecutor(1) as pool:
        released = pool.submit(release)
        written = write(accounts, creates(2))
        released.result()
    keeper.control("POST", f"faults/{late}")
    quiet(keeper)
    exactly(keeper, written, 2)


def test_a_write_that_cannot_be_rendered_keeps_nobody_else_from_theirs(keeper, accounts):
    ids = seed(keeper, 1)
    odd = patch("odd", "..", active=False)
    cut = patch("cut", ids[0], attributes={"emails.type": "work"})
    written = write(accounts, [*creates(150, 10), odd, cut, *creates(150, 200)])
    assert type(written.pop("odd").error) is Permanent
    assert written.pop("cut").error is not None
    exactly(keeper, written, 300, others=1)
    assert sent(keeper, "POST /Users") == 0


def test_one_user_who_is_too_large_does_not_make_every_later_request_small(keeper, accounts):
    big = [Write(key="big", kind=WriteKind.PATCH, scim_id=seed(keeper, 1)[0], attributes={"title": "x" * 5000})]
    keeper.fault(match={"path": "/Bulk$", "body": '"big"'}, status=413, times=None)
    assert kinds(write(accounts, [*creates(100, 10), *big])) == {"NoneType": 101}
    before = sent(keeper, "POST /Bulk")
    exactly(keeper, write(accounts, creates(400, 1000)), 400, others=101)
    # On a busy machine an operation seems to take long: then requests have ten each, and the ends of parts fewer.
    assert sent(keeper, "POST /Bulk") - before <= 60, "not one each"


def test_too_early_is_no_refusal_of_bulk(keeper, accounts):
    """RFC 8470 5.2: the same request may be sent again."""
    keeper.fault(match=POST_BULK, status=425)
    exactly(keeper, write(accounts, creates(60)), 60)
    assert sent(keeper, "POST /Users") == 0
    assert accounts.remarks() == ()


@pytest.mark.parametrize("wait", ["-5", "86400", "Sun, 29 Nov 2026 00:00:00 GMT", "soon"])
def test_a_wait_that_one_request_is_told_loses_none_of_the_others(keeper, accounts, wait):
    write(accounts, creates(400))  # from now on as many may be under way as there are chunks
    keeper.settings(latency_ms=300)
    keeper.fault(match=POST_BULK, status=429, headers={"Retry-After": wait}, skip=1)
    written = write(accounts, creates(400, 1000))
    held = {account["externalId"] for account in keeper.accounts()}
    assert {f"d{key[1:]}" for key, each in written.items() if each.error is None} | {
        f"d{n}" for n in range(400)
    } == held
    assert kinds(written).keys() <= {"NoneType", "Throttled"}


def test_a_token_that_is_revoked_while_others_are_under_way(keeper, accounts):
    keeper.settings(latency_ms=50)
    write(accounts, creates(400))
    keeper.settings(latency_ms=300)
    keeper.fault(match=POST_BULK, status=401, skip=1, times=None)
    keeper.fault(match=ONE_BY_ONE, status=401, times=None)
    written = write(accounts, creates(400, 1000))
    assert kinds(written) == {"NoneType": 100, "AuthorizationRefused": 300}
    assert len(keeper.accounts()) == 500


def test_what_is_under_way_when_the_caller_ends_is_not_sent_again(keeper, accounts):
    write(accounts, creates(400))
    keeper.settings(per_operation_ms=1)
    results = accounts.write(creates(2000, 1000), soon())
    told = [next(results) for _ in range(10)]
    results.close()
    quiet(keeper)
    there = keeper.accounts()
    held = {account["externalId"]: account["id"] for account in there}
    assert {f"d{each.key[1:]}": each.scim_id for each in told}.items() <= held.items()
    assert len(held) == len(there)
