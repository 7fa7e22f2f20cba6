"""Faults at the wire: every write gets its true result, nobody gets two accounts, and the token stays with us."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator

import pytest

from autoprovisioning.adapters.scim import ScimAccounts
from autoprovisioning.domain.accounts import Lookup, Write, WriteKind, Written
from autoprovisioning.domain.errors import (
    AuthorizationRefused,
    ConfigurationRefused,
    Incomplete,
    NotSent,
    Rejected,
    SeatsExhausted,
    Throttled,
    Transient,
    Unresolved,
)
from infra.local.processes import Supervisor, free_port, python
from infra.local.world import KeeperSide, wait_for
from tests.contract.scim_servers import ROOT, Counts, as_new, client, creates, keeper, patch, person, soon

POST_USER = {"method": "POST", "path": "/Users$"}
POST_BULK = {"method": "POST", "path": "/Bulk$"}
LISTING = {"method": "GET", "path": "/Users$"}
THROTTLED = {"error": "throttled", "message": "Too many requests. Try again in 1 second"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeeperSide]:
    with keeper(tmp_path_factory.mktemp("keeper")) as side:
        yield side


@pytest.fixture
def side(running: KeeperSide) -> Iterator[KeeperSide]:
    yield as_new(running)
    running.control("DELETE", "faults")


@pytest.fixture
def accounts(side: KeeperSide) -> ScimAccounts:
    return client(side.endpoint, side.token)


def write(accounts: ScimAccounts, writes: list[Write], seconds: float = 30) -> dict[str, Written]:
    """Write, and see that every write got exactly one result."""
    told = list(accounts.write(writes, soon(seconds)))
    assert Counter(item.key for item in told) == Counter(item.key for item in writes)
    return {item.key: item for item in told}


def kinds(written: dict[str, Written]) -> Counter[str]:
    return Counter(type(item.error).__name__ for item in written.values())


def exactly(side: KeeperSide, written: dict[str, Written], count: int) -> None:
    """See that everybody has one account, the one that was told."""
    assert kinds(written) == {"NoneType": count}
    held = {account["externalId"]: account["id"] for account in side.accounts()}
    assert len(side.accounts()) == count
    assert {f"d{key[1:]}": item.scim_id for key, item in written.items()} == held


def sent(side: KeeperSide, what: str) -> int:
    return int(side.requests()["paths"].get(what, 0))


def seed(side: KeeperSide, count: int) -> list[str]:
    """Put people there; returns their ids."""
    side.control(
        "PUT",
        "accounts",
        [{"userName": f"person{n}@example.com", "externalId": f"d{n}", "id": f"{1000 + n}"} for n in range(count)],
    )
    side.control("DELETE", "requests")
    return [f"{1000 + n}" for n in range(count)]


class TestOneByOne:
    def test_thirty_two_and_more_are_under_way(self, side, accounts):
        side.settings(latency_ms=40)
        exactly(side, write(accounts, creates(200)), 200)
        assert side.requests()["most_at_once"] >= 32

    def test_a_lost_answer_is_resolved_without_sending_again(self, side, accounts):
        side.fault(match=POST_USER, drop_after=True, times=6, skip=5)
        exactly(side, write(accounts, creates(30)), 30)
        assert sent(side, "POST /Users") == 30

    def test_a_lost_request_is_sent_once_more(self, side, accounts):
        side.fault(match=POST_USER, drop_before=True, times=6, skip=5)
        exactly(side, write(accounts, creates(30)), 30)
        assert sent(side, "POST /Users") == 36

    def test_a_create_that_never_gets_through_stays_unresolved(self, side, accounts):
        side.fault(match={**POST_USER, "body": '"d3"'}, drop_before=True, times=None)
        written = write(accounts, creates(10))
        assert kinds(written) == {"NoneType": 9, "Unresolved": 1}
        assert isinstance(written["c3"].error, Unresolved)
        assert sent(side, "POST /Users") == 11

    def test_a_lost_answer_is_unresolved_while_keeper_cannot_be_asked(self, side, accounts):
        side.fault(match=POST_USER, drop_after=True)
        side.fault(match=LISTING, status=500, times=None)
        assert kinds(write(accounts, creates(1))) == {"Unresolved": 1}
        assert sent(side, "POST /Users") == 1

    def test_a_hanging_create_is_resolved(self, side):
        accounts = client(side.endpoint, side.token, timeout=0.4)
        fault = side.fault(match=POST_USER, hold_after=True)
        exactly(side, write(accounts, creates(5)), 5)
        assert side.matched(fault) == 1
        assert sent(side, "POST /Users") == 5

    def test_a_hanging_patch_is_sent_again(self, side):
        ids = seed(side, 3)
        accounts = client(side.endpoint, side.token, timeout=0.4)
        side.fault(match={"method": "PATCH"}, hang=True)
        written = write(accounts, [patch(scim_id, scim_id, active=False) for scim_id in ids])
        assert kinds(written) == {"NoneType": 3}
        assert not any(account["active"] for account in side.accounts())

    def test_the_id_that_an_answer_lacks_is_looked_up(self, side, accounts):
        side.fault(match=POST_USER, truncate=1, times=4)
        exactly(side, write(accounts, creates(8)), 8)
        assert sent(side, "POST /Users") == 8

    @pytest.mark.parametrize("status", [500, 502, 504])
    def test_a_failure_of_a_gateway_is_looked_into_before_sending_again(self, side, accounts, status):
        side.fault(match=POST_USER, status=status, times=3)
        exactly(side, write(accounts, creates(10)), 10)
        assert sent(side, "POST /Users") == 13
        assert sent(side, "GET /Users") >= 3

    def test_an_overload_passes(self, side, accounts):
        side.fault(match=POST_USER, status=503, retry_after=1, times=20)
        exactly(side, write(accounts, creates(40)), 40)

    def test_a_failure_for_ever_ends_after_four_attempts(self, side, accounts):
        ids = seed(side, 1)
        side.fault(match={"method": "PATCH"}, status=500, times=None)
        assert kinds(write(accounts, [patch("p", ids[0], active=False)])) == {"Unresolved": 1}
        assert sent(side, "PATCH /Users") == 4

    def test_an_overload_for_ever_is_no_ambiguity(self, side, accounts):
        ids = seed(side, 1)
        side.fault(match={"method": "PATCH"}, status=503, times=None)
        assert kinds(write(accounts, [patch("p", ids[0], active=False)])) == {"Transient": 1}
        assert sent(side, "PATCH /Users") == 4

    @pytest.mark.parametrize("style", ["429", "403"])
    def test_a_storm_of_throttling_loses_nothing(self, side, accounts, style):
        side.settings(rate=200, burst=20, retry_after=1, throttle_style=style)
        exactly(side, write(accounts, creates(50)), 50)
        assert sent(side, "POST /Users") > 50
        assert accounts._sender.pace.limit < 32

    def test_a_long_wait_is_left_to_the_connection(self, side, accounts):
        side.fault(match=POST_USER, status=429, retry_after=120, times=None)
        written = write(accounts, creates(300))
        assert kinds(written) == {"Throttled": 300}
        assert {item.error.retry_after for item in written.values() if isinstance(item.error, Throttled)} == {120}
        assert sent(side, "POST /Users") <= 64

    def test_keepers_minutes_are_understood(self, side, accounts):
        body = {"error": "throttled", "message": "Try again in 3 minutes"}
        side.fault(match=POST_USER, status=403, body=body, times=None)
        error = write(accounts, creates(1))["c0"].error
        assert isinstance(error, Throttled)
        assert error.retry_after == 180

    def test_no_wait_goes_past_the_deadline(self, side, accounts):
        side.fault(match=POST_USER, status=429, retry_after=15, times=None)
        written = write(accounts, creates(5), seconds=2)
        assert set(kinds(written)) <= {"Throttled", "NotSent"}
        assert sent(side, "POST /Users") <= 5

    def test_a_refused_token_stops_the_sending(self, side, accounts):
        side.fault(match=POST_USER, status=401, skip=10, times=None)
        written = write(accounts, creates(300))
        assert kinds(written) == {"NoneType": 10, "AuthorizationRefused": 290}
        assert {item.error.status for item in written.values() if isinstance(item.error, AuthorizationRefused)} == {401}
        assert sent(side, "POST /Users") <= 10 + 64
        assert len(side.accounts()) == 10

    def test_a_refusal_of_one_account_is_that_accounts(self, side, accounts):
        ids = seed(side, 20)
        side.fault(match={"method": "PATCH", "path": "/1007$"}, status=403, times=None)
        written = write(accounts, [patch(scim_id, scim_id, active=False) for scim_id in ids])
        assert kinds(written) == {"NoneType": 19, "AuthorizationRefused": 1}
        error = written["1007"].error
        assert isinstance(error, AuthorizationRefused)
        assert error.status == 403

    def test_the_last_seat_stops_creates_and_nothing_else(self, side, accounts):
        ids = seed(side, 5)
        side.settings(seats=8, latency_ms=10)
        patches = [patch(scim_id, scim_id, active=False) for scim_id in ids]
        mixed = [*creates(200, 100), *patches]
        written = write(accounts, mixed)
        assert kinds(written) == {"NoneType": 8, "SeatsExhausted": 197}
        assert sent(side, "POST /Users") <= 3 + 64
        assert sum(not account["active"] for account in side.accounts()) == 5

    def test_what_the_deadline_left_is_not_sent(self, side):
        accounts = client(side.endpoint, side.token, concurrency=2)
        side.settings(latency_ms=150)
        written = write(accounts, creates(60), seconds=0.9)
        assert set(kinds(written)) == {"NoneType", "NotSent"}
        told = {f"d{key[1:]}" for key, item in written.items() if item.error is None}
        assert told == {account["externalId"] for account in side.accounts()}

    def test_data_that_keeper_refuses_fails_that_user_only(self, side, accounts):
        side.settings(reserved_domains=["example.com"])
        other = {**person(9), "userName": "x@elsewhere.example", "emails.value": "x@elsewhere.example"}
        written = write(accounts, [*creates(5), Write("c9", WriteKind.CREATE, external_id="d9", attributes=other)])
        assert kinds(written) == {"NoneType": 5, "Rejected": 1}
        assert isinstance(written["c9"].error, Rejected)
        assert "not reserved" in str(written["c9"].error)

    def test_nobody_listening_is_no_ambiguity(self, side):
        counts = Counts()
        accounts = client(f"http://127.0.0.1:{free_port()}/scim", side.token, count=counts)
        written = write(accounts, creates(1), seconds=5)
        assert kinds(written) == {"Transient": 1}
        assert set(counts) == {"scim_post"}

    def test_kept_connections_that_died_lose_nothing(self, tmp_path):
        """A function is frozen between requests: the server may be another one when it wakes."""
        port = free_port()
        token = tmp_path / "token"
        token.write_text("a-token-of-the-test")
        argv = python("-m", "infra.local.keeper", "--token-file", str(token), "--port", str(port))
        with Supervisor(tmp_path) as supervisor:
            process = supervisor.start("keeper", argv, cwd=ROOT).wait_ready()
            accounts = client(process.address, token.read_text())
            written = write(accounts, creates(40))
            process.stop()
            process.start().wait_ready()
            written = write(accounts, creates(40, 100))
            exactly(KeeperSide(process.address, token.read_text()), written, 40)

    def test_one_client_serves_several_threads(self, side, accounts):
        side.settings(latency_ms=10)
        results: list[dict[str, Written]] = []

        def work(first: int) -> None:
            results.append(write(accounts, creates(40, first)))

        threads = [threading.Thread(target=work, args=(100 * number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        exactly(side, {key: item for part in results for key, item in part.items()}, 160)

    def test_a_caller_that_gives_up_stops_the_sending(self, side, accounts):
        side.settings(latency_ms=50)
        stream = accounts.write(creates(400), soon())
        next(stream)
        stream.close()
        wait_for(lambda: _settled(side), "the end of the sending")
        assert len(side.accounts()) < 200


def _settled(side: KeeperSide) -> bool:
    before = sent(side, "POST /Users")
    time.sleep(0.15)
    return sent(side, "POST /Users") == before


class TestBulk:
    @pytest.fixture(autouse=True)
    def offered(self, side):
        side.settings(bulk=True)

    def test_few_requests_carry_many_writes(self, side, accounts):
        exactly(side, write(accounts, creates(1200)), 1200)
        assert sent(side, "POST /Bulk") <= 6
        assert sent(side, "POST /Users") == 0

    def test_the_servers_limits_are_kept(self, side, accounts):
        side.settings(max_operations=30, max_payload=4000)
        exactly(side, write(accounts, creates(100)), 100)
        assert sent(side, "POST /Bulk") >= 8
        assert sent(side, "POST /Users") == 0

    def test_too_large_is_halved(self, side, accounts):
        fault = side.fault(match=POST_BULK, status=413, times=2)
        exactly(side, write(accounts, creates(300)), 300)
        assert side.matched(fault) == 2
        assert sent(side, "POST /Users") == 0

    @pytest.mark.parametrize("fault", [{"drop_after": True}, {"truncate": 100}, {"lose_results": 37}])
    def test_a_lost_answer_is_resolved_by_one_listing(self, side, accounts, fault):
        side.fault(match=POST_BULK, **fault)
        exactly(side, write(accounts, creates(250)), 250)
        assert sent(side, "POST /Users") == 0
        assert sent(side, "GET /Users") == 1

    def test_a_lost_request_is_sent_again_one_by_one(self, side, accounts):
        side.fault(match=POST_BULK, drop_before=True)
        exactly(side, write(accounts, creates(250)), 250)
        assert sent(side, "POST /Users") == 100

    def test_a_hanging_answer_is_resolved(self, side):
        accounts = client(side.endpoint, side.token, timeout=0.3)
        side.fault(match=POST_BULK, hold_after=True)
        written = write(accounts, creates(5))
        exactly(side, written, 5)
        assert sent(side, "POST /Users") == 0

    def test_a_lost_answer_is_unresolved_while_keeper_cannot_be_asked(self, side, accounts):
        side.fault(match=POST_BULK, drop_after=True, times=1)
        side.fault(match=LISTING, status=500, times=None)
        assert kinds(write(accounts, creates(50))) == {"Unresolved": 50}
        assert sent(side, "POST /Users") == 0

    def test_changes_and_deletions_are_sent_again_after_a_loss(self, side, accounts):
        ids = seed(side, 60)
        side.fault(match=POST_BULK, drop_before=True)
        writes = [patch(scim_id, scim_id, active=False) for scim_id in ids[:30]]
        writes += [Write(scim_id, WriteKind.DELETE, scim_id) for scim_id in ids[30:]]
        assert kinds(write(accounts, writes)) == {"NoneType": 60}
        assert not any(account["active"] for account in side.accounts())
        assert sent(side, "GET /Users") == 0

    def test_bulk_that_is_always_lost_is_given_up_for_the_call(self, side, accounts):
        fault = side.fault(match=POST_BULK, drop_before=True, times=None)
        exactly(side, write(accounts, creates(400)), 400)
        assert side.matched(fault) <= 4

    @pytest.mark.parametrize("status", [403, 404, 501])
    def test_bulk_that_is_refused_is_not_tried_again(self, side, accounts, status):
        fault = side.fault(match=POST_BULK, status=status, times=None)
        exactly(side, write(accounts, creates(60)), 60)
        assert side.matched(fault) <= 2
        write(accounts, creates(60, 100))
        assert side.matched(fault) <= 2

    def test_a_storm_of_throttling_loses_nothing(self, side, accounts):
        side.fault(match=POST_BULK, status=429, retry_after=1, times=2)
        exactly(side, write(accounts, creates(300)), 300)
        assert sent(side, "POST /Users") == 0

    def test_a_long_wait_is_left_to_the_connection(self, side, accounts):
        side.fault(match=POST_BULK, status=403, body={"error": "throttled", "message": "Try again in 2 minutes"},
                   times=None)  # fmt: skip
        written = write(accounts, creates(300))
        assert kinds(written) == {"Throttled": 300}
        assert sent(side, "POST /Bulk") <= 2
        assert sent(side, "POST /Users") == 0

    def test_a_refused_token_stops_the_sending(self, side, accounts):
        side.fault(match=POST_BULK, status=401, skip=1, times=None)
        written = write(accounts, creates(500))
        assert kinds(written) == {"NoneType": 100, "AuthorizationRefused": 400}
        assert sent(side, "POST /Bulk") <= 3
        assert sent(side, "POST /Users") == 0

    def test_the_last_seat_stops_creates_and_nothing_else(self, side, accounts):
        ids = seed(side, 50)
        side.settings(seats=70)
        changes = [patch(scim_id, scim_id, active=False) for scim_id in ids]
        writes = [item for pair in zip(changes, creates(50, 100), strict=True) for item in pair] + creates(400, 200)
        written = write(accounts, writes)
        assert kinds(written) == {"NoneType": 70, "SeatsExhausted": 430}
        assert isinstance(written["c599"].error, SeatsExhausted)
        assert sent(side, "POST /Bulk") <= 3
        assert sent(side, "POST /Users") == 0
        assert sum(not account["active"] for account in side.accounts()) == 50

    def test_each_operation_has_its_own_result(self, side, accounts):
        ids = seed(side, 3)
        side.settings(taken_addresses=["person12@example.com"])
        gone = patch("gone", "31337", active=False)
        written = write(accounts, [*creates(5, 10), gone, patch("p", ids[0], active=False)])
        assert {key: type(item.error).__name__ for key, item in written.items()} == {
            "c10": "NoneType", "c11": "NoneType", "c12": "AddressTaken", "c13": "NoneType", "c14": "NoneType",
            "gone": "AccountGone", "p": "NoneType",
        }  # fmt: skip


CHANGES = {"method": "PATCH|DELETE", "path": "/Users/"}
DONE_UNHEARD = [{"drop_after": True}, *({"status_after": status} for status in (408, 500, 502, 504))]
LONG_WAITS = [{"status": 503, "retry_after": 60}, {"status": 429, "retry_after": 60}]


def to_be_locked(ids: list[str]) -> list[Write]:
    """Return a change of each for accounts that are unlocked: PATCH and DELETE in turn, both lock."""
    makers = (lambda key: patch(key, key, active=False), lambda key: Write(key, WriteKind.DELETE, key))
    return [makers[number % 2](scim_id) for number, scim_id in enumerate(ids)]


def locked(side: KeeperSide) -> set[str]:
    return {account["id"] for account in side.accounts() if not account["active"]}


class TestDoubt:
    """A write that may have been carried out is never told as "not done": who asked must look at the account."""

    @pytest.mark.parametrize("lost", DONE_UNHEARD)
    @pytest.mark.parametrize("then", LONG_WAITS)
    @pytest.mark.parametrize("kind", [0, 1], ids=["PATCH", "DELETE"])
    def test_a_change_done_but_unheard_of_stays_unresolved(self, side, accounts, lost, then, kind):
        ids = seed(side, 2)
        side.fault(match=CHANGES, **lost)
        side.fault(match=CHANGES, times=None, **then)
        error = write(accounts, [to_be_locked(ids)[kind]])[ids[kind]].error
        assert type(error) is Unresolved
        assert error.retry_after == 60
        assert locked(side) == {ids[kind]}

    def test_an_update_and_an_unlocking_stay_unresolved_too(self, side, accounts):
        ids = seed(side, 2)
        side.control("PATCH", f"accounts/{ids[0]}", {"active": False})
        side.fault(match=CHANGES, status_after=504, times=2)
        side.fault(match=CHANGES, status=503, retry_after=60, times=None)
        changes = [patch("on", ids[0], active=True), patch("named", ids[1], attributes={"displayName": "Other"})]
        assert kinds(write(accounts, changes)) == {"Unresolved": 2}
        assert {account["displayName"] for account in side.accounts()} == {"person0@example.com", "Other"}
        assert locked(side) == set()

    @pytest.mark.parametrize("lost", [*DONE_UNHEARD, {"truncate": 40}, {"results_after": 504}])
    @pytest.mark.parametrize("then", LONG_WAITS)
    def test_changes_of_a_bulk_request_stay_unresolved(self, side, accounts, lost, then):
        side.settings(bulk=True)
        ids = seed(side, 6)
        side.fault(match=POST_BULK, **lost)
        side.fault(match=CHANGES, times=None, **then)
        written = write(accounts, to_be_locked(ids))
        assert kinds(written) == {"Unresolved": 6}
        assert {item.error.retry_after for item in written.values() if isinstance(item.error, Unresolved)} == {60}
        assert locked(side) == set(ids)

    def test_of_a_bulk_answer_that_lacks_some_the_others_are_known(self, side, accounts):
        side.settings(bulk=True)
        ids = seed(side, 6)
        side.fault(match=POST_BULK, lose_results=2)
        side.fault(match=CHANGES, status=503, retry_after=60, times=None)
        written = write(accounts, to_be_locked(ids))
        assert {key for key, item in written.items() if isinstance(item.error, Unresolved)} == set(ids[4:])
        assert kinds(written) == {"NoneType": 4, "Unresolved": 2}

    @pytest.mark.parametrize("bulk", [False, True])
    def test_what_the_deadline_ends_after_a_loss_is_not_told_as_unsent(self, side, bulk):
        side.settings(bulk=bulk)
        ids = seed(side, 2)
        accounts = client(side.endpoint, side.token, timeout=0.3)
        accounts.capabilities()
        side.fault(match={"method": "PATCH|DELETE|POST"}, hold_after=True, times=None)
        assert kinds(write(accounts, to_be_locked(ids), seconds=0.5)) == {"Unresolved": 2}
        assert locked(side) == set(ids)

    @pytest.mark.parametrize("bulk", [False, True])
    def test_a_token_refused_after_a_loss_says_nothing_about_the_change(self, side, bulk):
        side.settings(bulk=bulk)
        ids = seed(side, 8)
        accounts = client(side.endpoint, side.token, concurrency=1)
        side.fault(match={"method": "PATCH|DELETE|POST"}, status_after=502)
        side.fault(match={"method": "PATCH|DELETE|POST"}, status=401, times=None)
        written = write(accounts, to_be_locked(ids))
        unresolved = {key for key, item in written.items() if isinstance(item.error, Unresolved)}
        assert unresolved == locked(side)
        assert kinds(written) == Counter({"Unresolved": len(unresolved), "AuthorizationRefused": 8 - len(unresolved)})
        assert len(unresolved) == (8 if bulk else 1)

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            ({"status": 400}, "Rejected"),
            ({"status": 404}, "AccountGone"),
            ({"status": 409}, "AddressTaken"),
            ({"delay": 0}, "NoneType"),
        ],
    )
    @pytest.mark.parametrize("bulk", [False, True])
    def test_a_definite_answer_to_the_change_sent_again_settles_it(self, side, accounts, bulk, answer, kind):
        side.settings(bulk=bulk)
        ids = seed(side, 2)
        side.fault(match=POST_BULK, status_after=504)
        side.fault(match={"method": "PATCH"}, status_after=504, times=0 if bulk else 2)
        side.fault(match={"method": "PATCH"}, times=2, **answer)
        side.fault(match={"method": "PATCH|POST"}, times=None, **answer)
        writes = [patch(scim_id, scim_id, active=False) for scim_id in ids]
        assert kinds(write(accounts, writes)) == {kind: 2}

    def test_a_create_whose_own_account_took_the_last_seat_is_found(self, side, accounts):
        side.settings(bulk=True)
        side.fault(match=POST_BULK, results_after=504)
        side.fault(match=POST_USER, status=428, times=None)
        exactly(side, write(accounts, creates(5)), 5)

    def test_a_create_under_way_stays_unresolved_although_it_cannot_be_found_yet(self, side, accounts):
        side.fault(match=POST_USER, status=504)
        side.fault(match=POST_USER, status=503, retry_after=60, times=None)
        assert kinds(write(accounts, creates(1))) == {"Unresolved": 1}


class TestReading:
    @pytest.mark.parametrize(
        "weather",
        [
            {"page_cap": 10},
            {"page_cap": 10, "short_pages": True},
            {"page_cap": 10, "lower_case_resources": True, "no_items_per_page": True},
            {"string_active": True},
        ],
    )
    def test_a_listing_is_complete_in_any_weather(self, side, accounts, weather):
        ids = seed(side, 45)
        side.settings(**weather)
        listed = [account for page in accounts.list() for account in page]
        assert [account.scim_id for account in listed] == ids
        assert {account.active for account in listed} == {True}

    def test_a_suspended_account_is_seen_where_active_is_a_string(self, side, accounts):
        ids = seed(side, 2)
        side.control("PATCH", f"accounts/{ids[1]}", {"active": False})
        side.settings(string_active=True)
        assert {account.scim_id: account.active for page in accounts.list() for account in page} == {
            ids[0]: True, ids[1]: False,
        }  # fmt: skip

    def test_a_server_that_repeats_its_first_page_is_incomplete(self, side, accounts):
        seed(side, 45)
        side.settings(page_cap=10, repeat_first_page=True)
        with pytest.raises(Incomplete, match="repeats"):
            list(accounts.list())

    def test_a_page_that_fails_once_is_asked_for_again(self, side, accounts):
        ids = seed(side, 45)
        side.settings(page_cap=10)
        side.fault(match=LISTING, status=502, skip=2)
        assert [account.scim_id for page in accounts.list() for account in page] == ids

    def test_a_page_that_fails_for_ever_makes_it_incomplete(self, side, accounts):
        seed(side, 45)
        side.settings(page_cap=10)
        side.fault(match=LISTING, drop_before=True, skip=2, times=None)
        pages = accounts.list()
        assert [len(next(pages)), len(next(pages))] == [10, 10]
        with pytest.raises(Incomplete):
            next(pages)

    @pytest.mark.parametrize("body", [{}, {"detail": "maintenance"}, []])
    def test_a_success_that_is_no_listing_proves_nothing(self, side, accounts, body):
        side.fault(match=LISTING, status=200, body=body, times=None)
        with pytest.raises(Incomplete):
            list(accounts.list())
        (found,) = accounts.find([Lookup("k", "d1", ("a@example.com",))])
        assert isinstance(found.error, Transient)

    def test_a_listing_without_totals_goes_on_to_an_empty_page(self, side, accounts):
        one = {"Resources": [{"id": "1", "userName": "a@example.com"}]}
        two = {"resources": [{"id": 2, "userName": "b@example.com"}]}
        for body in (one, two, {"Resources": []}):
            side.fault(match=LISTING, status=200, body=body)
        assert [account.scim_id for page in accounts.list() for account in page] == ["1", "2"]

    def test_a_listing_that_ends_early_is_incomplete(self, side, accounts):
        short = {"totalResults": 3, "Resources": [{"id": "1", "userName": "a@example.com"}]}
        side.fault(match=LISTING, status=200, body=short)
        side.fault(match=LISTING, status=200, body={"totalResults": 3, "Resources": []})
        with pytest.raises(Incomplete, match="1 of 3"):
            list(accounts.list())

    def test_ignored_filters_are_recognised_and_one_listing_answers_all(self, side, accounts):
        seed(side, 60)
        side.settings(ignore_filter=True, page_cap=25)
        lookups = [Lookup(f"k{n}", f"d{n}", (f"person{n}@example.com",)) for n in range(40, 80)]
        found = {item.key: item for item in accounts.find(lookups)}
        assert [len(found[f"k{n}"].accounts) for n in range(40, 80)] == [1] * 20 + [0] * 20
        assert found["k44"].accounts[0].scim_id == "1044"
        assert sent(side, "GET /Users") == 1 + 3
        again = list(accounts.find(lookups[:5]))
        assert [len(item.accounts) for item in again] == [1] * 5
        assert sent(side, "GET /Users") == 1 + 3 + 3

    def test_refused_filters_lead_to_a_listing_too(self, side, accounts):
        seed(side, 10)
        side.fault(match=LISTING, status=400, body={"scimType": "invalidFilter"})
        found = list(accounts.find([Lookup(f"k{n}", f"d{n}", ()) for n in range(5)]))
        assert [len(item.accounts) for item in found] == [1] * 5
        assert sent(side, "GET /Users") == 2

    def test_a_lost_create_is_never_judged_by_a_listing_from_before_it(self, side, accounts):
        seed(side, 5)
        side.settings(ignore_filter=True)
        assert [len(item.accounts) for item in accounts.find([Lookup("k", "d100", ())])] == [0]
        side.fault(match=POST_USER, drop_after=True, times=30)
        written = write(accounts, creates(30, 100))
        assert kinds(written) == {"NoneType": 30}
        assert sent(side, "POST /Users") == 30
        assert sent(side, "GET /Users") <= 1 + 30 // 3, "those that were lost together share a listing"

    def test_a_lookup_that_fails_is_that_lookups_error(self, side, accounts):
        seed(side, 5)
        side.fault(match=LISTING, status=500, skip=1, times=4)
        found = [item.error for item in accounts.find([Lookup("a", "d1", ()), Lookup("b", "d2", ())])]
        assert [type(error).__name__ for error in found] == ["NoneType", "Transient"]

    def test_only_a_404_means_gone(self, side, accounts):
        ids = seed(side, 1)
        side.fault(match={"method": "GET", "path": "/Users/"}, truncate=5)
        with pytest.raises(Transient):
            accounts.get(ids[0])
        assert accounts.get(ids[0]) is not None
        assert accounts.get("31337") is None

    def test_redirects_are_not_followed(self, side, accounts):
        to = side.endpoint.replace("/4242", "/elsewhere") + "/Users"
        side.fault(match={}, status=307, headers={"Location": to}, times=None)
        for call in (accounts.probe, lambda: accounts.get("1"), lambda: list(accounts.list())):
            with pytest.raises(ConfigurationRefused):
                call()
        assert kinds(write(accounts, creates(1))) == {"ConfigurationRefused": 1}
        assert not [item for item in side.requests()["log"] if "elsewhere" in item["path"]]

    def test_capabilities_are_remembered_only_when_the_server_told_them(self, side, accounts):
        side.settings(bulk=True)
        side.fault(match={"path": "/ServiceProviderConfig"}, status=403)
        assert not accounts.capabilities().bulk
        assert accounts.capabilities().bulk
        assert accounts.capabilities().max_operations == 1000
        assert sent(side, "GET /ServiceProviderConfig") == 2
        side.fault(match={"path": "/ServiceProviderConfig"}, status=401)
        with pytest.raises(AuthorizationRefused):
            client(side.endpoint, side.token).capabilities()

    def test_a_server_without_capabilities_offers_nothing(self, side, accounts):
        side.fault(match={"path": "/ServiceProviderConfig"}, status=404, times=None)
        assert not accounts.capabilities().bulk
        exactly(side, write(accounts, creates(3)), 3)
        assert sent(side, "GET /ServiceProviderConfig") == 1

    def test_requests_are_counted(self, side):
        counts = Counts()
        accounts = client(side.endpoint, side.token, count=counts)
        ids = seed(side, 2)
        write(accounts, [*creates(3, 10), patch("p", ids[0], active=False), Write("d", WriteKind.DELETE, ids[1])])
        assert counts == {"scim_get": 1, "scim_post": 3, "scim_patch": 1, "scim_delete": 1}

    def test_requests_are_strict_scim(self, side, accounts):
        side.settings(latency_ms=0)
        accounts.probe()
        write(accounts, creates(1))
        posted = [item for item in side.requests()["log"] if item["method"] == "POST"]
        assert '"active":true' in posted[0]["body"]
        assert accounts._sender.transport._headers["Accept"].startswith("application/scim+json")


def _every_word(error: BaseException) -> str:
    """Return all that a log could show of an error."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None:
        chain.append(current)
        current = current.__cause__ or current.__context__
    shown = [repr(item) + str(item) + str(vars(item)) for item in chain]
    return "\n".join([*shown, *traceback.format_exception(error)])


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 418, 428, 429, 500, 503])
@pytest.mark.parametrize("bulk", [False, True])
def test_the_token_is_nowhere_even_where_the_server_repeats_it(side, caplog, status, bulk):
    caplog.set_level(logging.DEBUG)
    token = side.token
    side.settings(bulk=bulk)
    accounts = client(side.endpoint, token)
    said = {"detail": f"no: Bearer {token} " * 20, "message": token, "error": token}
    side.fault(match={"path": "/(Users|Bulk)"}, status=status, body=said, retry_after=60, times=None)
    words: list[str] = []
    for call in (accounts.probe, lambda: accounts.get("1"), lambda: list(accounts.list())):
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever it is
            words.append(_every_word(error))
    words += [_every_word(item.error) for item in write(accounts, creates(3), 5).values() if item.error is not None]
    words += [_every_word(item.error) for item in accounts.find([Lookup("k", "d1", ())]) if item.error is not None]
    assert len(words) >= 5
    assert token not in "".join(words) + caplog.text + repr(accounts) + repr(vars(accounts))
    assert not [item for item in side.requests()["log"] if token in item["path"]]


def test_an_operations_own_words_are_scrubbed_and_cut(side):
    token = side.token
    side.settings(bulk=True)
    accounts = client(side.endpoint, token)
    operation = {"method": "POST", "bulkId": "c0", "status": "400", "response": {"detail": f"{token} " + "x" * 900}}
    other = {"method": "POST", "bulkId": "c1", "status": {"code": 400}, "response": {"detail": "no"}}
    side.fault(match=POST_BULK, status=200, body={"Operations": [operation, other]})
    written = write(accounts, creates(2))
    assert kinds(written) == {"Rejected": 2}
    assert token not in _every_word(written["c0"].error or Exception())
    assert len(str(written["c0"].error)) < 300


def test_writes_whose_time_is_over_are_not_sent(side, accounts):
    written = write(accounts, creates(5), seconds=-1)
    assert {type(item.error) for item in written.values()} == {NotSent}
    assert side.accounts() == []
