"""Writes sent one by one through faults at the wire: every one gets its true result, and nobody two accounts."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from autoprovisioning.adapters.scim.transport import LOOP
from autoprovisioning.domain.accounts import Write, WriteKind, Written
from autoprovisioning.domain.errors import AuthorizationRefused, NotSent, Rejected, Throttled, Unresolved
from infra.local.processes import Supervisor, free_port, python
from infra.local.simulation import KeeperSide, wait_for
from tests.contract.scim_servers import ROOT, Counts, client, creates, patch, person, soon
from tests.contract.scim_writes import LISTING, POST_USER, exactly, kinds, seed, sent, write


def test_thirty_two_and_more_are_under_way(keeper, accounts):
    held = keeper.fault(match=POST_USER, hang=True, times=None)
    with ThreadPoolExecutor() as pool:
        writing = pool.submit(write, accounts, creates(200))
        try:
            wait_for(lambda: keeper.matched(held) >= 32, "32 requests under way", 4)
        finally:
            keeper.control("DELETE", "faults")
        exactly(keeper, writing.result(), 200)


def test_a_lost_answer_is_resolved_without_sending_again(keeper, accounts):
    keeper.fault(match=POST_USER, drop_after=True, times=6, skip=5)
    exactly(keeper, write(accounts, creates(30)), 30)
    assert sent(keeper, "POST /Users") == 30


def test_a_lost_request_is_sent_once_more(keeper, accounts):
    keeper.fault(match=POST_USER, drop_before=True, times=6, skip=5)
    exactly(keeper, write(accounts, creates(30)), 30)
    assert sent(keeper, "POST /Users") == 36


def test_a_create_that_never_gets_through_stays_unresolved(keeper, accounts):
    keeper.fault(match={**POST_USER, "body": '"d3"'}, drop_before=True, times=None)
    written = write(accounts, creates(10))
    assert kinds(written) == {"NoneType": 9, "Unresolved": 1}
    assert isinstance(written["c3"].error, Unresolved)
    assert sent(keeper, "POST /Users") == 11


def test_a_lost_answer_is_unresolved_while_keeper_cannot_be_asked(keeper, accounts):
    keeper.fault(match=POST_USER, drop_after=True)
    keeper.fault(match=LISTING, status=500, times=None)
    assert kinds(write(accounts, creates(1))) == {"Unresolved": 1}
    assert sent(keeper, "POST /Users") == 1


def test_a_hanging_create_is_resolved(keeper):
    accounts = client(keeper.endpoint, keeper.token, timeout=0.4)
    fault = keeper.fault(match=POST_USER, hold_after=True)
    exactly(keeper, write(accounts, creates(5)), 5)
    assert keeper.matched(fault) == 1
    assert sent(keeper, "POST /Users") == 5


def test_a_hanging_patch_is_sent_again(keeper):
    ids = seed(keeper, 3)
    accounts = client(keeper.endpoint, keeper.token, timeout=0.4)
    keeper.fault(match={"method": "PATCH"}, hang=True)
    written = write(accounts, [patch(scim_id, scim_id, active=False) for scim_id in ids])
    assert kinds(written) == {"NoneType": 3}
    assert not any(account["active"] for account in keeper.accounts())


def test_the_id_that_an_answer_lacks_is_looked_up(keeper, accounts):
    keeper.fault(match=POST_USER, truncate=1, times=4)
    exactly(keeper, write(accounts, creates(8)), 8)
    assert sent(keeper, "POST /Users") == 8


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_failure_of_a_gateway_is_looked_into_before_sending_again(keeper, accounts, status):
    keeper.fault(match=POST_USER, status=status, times=3)
    exactly(keeper, write(accounts, creates(10)), 10)
    assert sent(keeper, "POST /Users") == 13
    assert sent(keeper, "GET /Users") >= 3


def test_an_overload_passes(keeper, accounts):
    keeper.fault(match=POST_USER, status=503, retry_after=1, times=20)
    exactly(keeper, write(accounts, creates(40)), 40)


def test_a_failure_for_ever_ends_after_four_attempts(keeper, accounts):
    ids = seed(keeper, 1)
    keeper.fault(match={"method": "PATCH"}, status=500, times=None)
    assert kinds(write(accounts, [patch("p", ids[0], active=False)])) == {"Unresolved": 1}
    assert sent(keeper, "PATCH /Users") == 4


def test_an_overload_for_ever_is_no_ambiguity_and_that_writes_failure_where_others_are_answered(keeper, accounts):
    ids = seed(keeper, 1)
    keeper.fault(match={"method": "PATCH"}, status=503, times=None)
    assert kinds(write(accounts, [patch("p", ids[0], active=False)])) == {"KeeperFailed": 1}
    assert sent(keeper, "PATCH /Users") == 4


@pytest.mark.parametrize("style", ["429", "403"])
def test_a_storm_of_throttling_loses_nothing(keeper, accounts, style):
    keeper.settings(rate=200, burst=20, retry_after=1, throttle_style=style)
    exactly(keeper, write(accounts, creates(50)), 50)
    assert sent(keeper, "POST /Users") > 50
    assert accounts._sender.pace.limit < 32


def test_a_long_wait_is_left_to_the_connection(keeper, accounts):
    keeper.fault(match=POST_USER, status=429, retry_after=120, times=None)
    written = write(accounts, creates(300))
    assert kinds(written) == {"Throttled": 300}
    assert {item.error.retry_after for item in written.values() if isinstance(item.error, Throttled)} == {120}
    assert sent(keeper, "POST /Users") <= 64


def test_keepers_minutes_are_understood(keeper, accounts):
    body = {"error": "throttled", "message": "Try again in 3 minutes"}
    keeper.fault(match=POST_USER, status=403, body=body, times=None)
    error = write(accounts, creates(1))["c0"].error
    assert isinstance(error, Throttled)
    assert error.retry_after == 180


def test_no_wait_goes_past_the_deadline(keeper, accounts):
    keeper.fault(match=POST_USER, status=429, retry_after=15, times=None)
    started = time.monotonic()
    written = write(accounts, creates(5), seconds=2)
    assert time.monotonic() - started < 10
    assert set(kinds(written)) <= {"Throttled", "NotSent"}
    assert sent(keeper, "POST /Users") <= 5


def test_a_refused_token_stops_the_sending(keeper, accounts):
    keeper.fault(match=POST_USER, status=401, skip=10, times=None)
    written = write(accounts, creates(300))
    assert kinds(written) == {"NoneType": 10, "AuthorizationRefused": 290}
    assert {item.error.status for item in written.values() if isinstance(item.error, AuthorizationRefused)} == {401}
    assert sent(keeper, "POST /Users") <= 10 + 64
    assert len(keeper.accounts()) == 10


def test_a_refusal_of_one_account_is_that_accounts(keeper, accounts):
    ids = seed(keeper, 20)
    keeper.fault(match={"method": "PATCH", "path": "/1007$"}, status=403, times=None)
    written = write(accounts, [patch(scim_id, scim_id, active=False) for scim_id in ids])
    assert kinds(written) == {"NoneType": 19, "AuthorizationRefused": 1}
    error = written["1007"].error
    assert isinstance(error, AuthorizationRefused)
    assert error.status == 403


def test_the_last_seat_stops_creates_and_nothing_else(keeper, accounts):
    ids = seed(keeper, 5)
    keeper.settings(seats=8, latency_ms=10)
    patches = [patch(scim_id, scim_id, active=False) for scim_id in ids]
    mixed = [*creates(200, 100), *patches]
    written = write(accounts, mixed)
    assert kinds(written) == {"NoneType": 8, "SeatsExhausted": 197}
    assert sent(keeper, "POST /Users") <= 3 + 64
    assert sum(not account["active"] for account in keeper.accounts()) == 5


def test_what_the_deadline_left_is_not_sent(keeper):
    accounts = client(keeper.endpoint, keeper.token, concurrency=2)
    keeper.settings(latency_ms=150)
    written = write(accounts, creates(200), seconds=1.5)
    assert set(kinds(written)) == {"NoneType", "NotSent"}
    told = {f"d{key[1:]}" for key, item in written.items() if item.error is None}
    assert told == {account["externalId"] for account in keeper.accounts()}


def test_data_that_keeper_refuses_fails_that_user_only(keeper, accounts):
    keeper.settings(reserved_domains=["example.com"])
    other = {**person(9), "userName": "x@elsewhere.example", "emails.value": "x@elsewhere.example"}
    written = write(accounts, [*creates(5), Write(key="c9", kind=WriteKind.CREATE, external_id="d9", attributes=other)])
    assert kinds(written) == {"NoneType": 5, "Rejected": 1}
    assert isinstance(written["c9"].error, Rejected)
    assert "not reserved" in str(written["c9"].error)


def test_nobody_listening_is_no_ambiguity(keeper):
    counts = Counts()
    accounts = client(f"http://127.0.0.1:{free_port()}/scim", keeper.token, count=counts)
    written = write(accounts, creates(1), seconds=5)
    assert kinds(written) == {"Transient": 1}
    assert set(counts) == {"scim_post"}


def test_kept_connections_that_died_lose_nothing(tmp_path):
    """A function is frozen between requests: the server may be another one when it wakes."""
    port = free_port()
    token = tmp_path / "token"
    token.write_text("a-token-of-the-test")
    argv = python("-m", "infra.local.keeper", "--token-file", str(token), "--port", str(port))
    with Supervisor(tmp_path) as supervisor:
        process = supervisor.start("keeper", argv, cwd=ROOT).wait_ready()
        accounts = client(process.address, token.read_text())
        assert kinds(write(accounts, creates(40))) == {"NoneType": 40}
        process.stop()
        process.start().wait_ready()
        written = write(accounts, creates(40, 100))
        exactly(KeeperSide(endpoint=process.address, token=token.read_text()), written, 40)


def test_one_client_serves_several_threads(keeper, accounts):
    keeper.settings(latency_ms=10)
    results: list[dict[str, Written]] = []

    def work(first: int) -> None:
        results.append(write(accounts, creates(40, first)))

    threads = [threading.Thread(target=work, args=(100 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    exactly(keeper, {key: item for part in results for key, item in part.items()}, 160)


async def _tasks() -> set[asyncio.Task[object]]:
    """Return what the client's event loop has to do, this question apart."""
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


def test_a_caller_that_gives_up_stops_the_sending(keeper, accounts):
    before = LOOP.run(_tasks()).result()
    held = keeper.fault(match=POST_USER, hang=True, skip=1, times=None)
    stream = accounts.write(creates(400), soon())
    next(stream)
    wait_for(lambda: keeper.matched(held), "a request under way")
    stream.close()
    wait_for(lambda: LOOP.run(_tasks()).result() <= before, "the end of the sending", 4)
    assert sent(keeper, "POST /Users") <= 1 + 64
    assert len(keeper.accounts()) == 1


def test_writes_whose_time_is_over_are_not_sent(keeper, accounts):
    written = write(accounts, creates(5), seconds=-1)
    assert {type(item.error) for item in written.values()} == {NotSent}
    assert keeper.accounts() == []
