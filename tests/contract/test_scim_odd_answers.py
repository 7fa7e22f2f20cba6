"""Answers that cannot be read are the failure of the request that got them, and of nobody else."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from autoprovisioning.domain.accounts import Lookup
from autoprovisioning.domain.errors import KeeperFailed, ProvisioningError, Rejected, Throttled, Transient
from tests.contract.listener import Response
from tests.contract.scim_servers import client, creates, patch
from tests.contract.scim_writes import LISTING, kinds, seed, sent, write

UNREADABLE = [{"not_utf8": True}, {"nested": 200_000}, {"digits": 5000}, {"truncate": 30}]
ONE = {"method": "GET", "path": "/Users/1001$"}


@pytest.mark.parametrize("odd", UNREADABLE)
def test_an_account_that_cannot_be_read_is_that_users_failure(keeper, accounts, odd):
    seed(keeper, 3)
    keeper.fault(match=ONE, times=None, **odd)
    with pytest.raises(KeeperFailed):
        accounts.get("1001")
    assert accounts.get("1002") is not None


@pytest.mark.parametrize("odd", [*UNREADABLE, {"status": 400, "not_utf8": True}])
def test_an_error_that_cannot_be_read_fails_its_write_and_no_other(keeper, accounts, odd):
    ids = seed(keeper, 6)
    keeper.fault(match={"method": "PATCH", "path": "/Users/1003$"}, **{"status": 400, **odd}, times=None)
    written = write(accounts, [patch(scim_id, scim_id, active=False) for scim_id in ids])
    assert kinds(written) == {"NoneType": 5, "Rejected": 1}
    assert isinstance(written["1003"].error, Rejected)


@pytest.mark.parametrize("odd", UNREADABLE)
def test_a_search_that_cannot_be_read_is_done_by_a_listing(keeper, accounts, odd):
    seed(keeper, 6)
    keeper.fault(match={**LISTING, "query": "filter="}, times=None, **odd)
    found = list(accounts.find([Lookup(key=f"k{n}", external_id=f"d{n}", user_names=()) for n in range(6)]))
    assert [[account.external_id for account in item.accounts] for item in found] == [[f"d{n}"] for n in range(6)]
    assert sent(keeper, "GET /Users") == 2


@pytest.mark.parametrize("odd", UNREADABLE)
def test_a_listing_that_cannot_be_read_proves_nothing(keeper, accounts, odd):
    seed(keeper, 6)
    keeper.fault(match=LISTING, times=None, **odd)
    with pytest.raises(Transient):
        list(accounts.list())
    errors = [
        item.error
        for item in accounts.find(
            [Lookup(key="k", external_id="d1", user_names=()), Lookup(key="other", external_id="d2", user_names=())]
        )
    ]
    assert [isinstance(error, Transient) for error in errors] == [True, True]


ODD_HTTP = [
    b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n\x0b\x02",
    b"HTTP/1.1 200 OK\r\nContent-Type: \xff\xfe; charset=\xff\r\nContent-Length: 4\r\n\r\n\xff\xfe{}",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
    b"HTTP/1.1 200 " + b"y" * 100_000 + b"\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 -20 OK\r\n\r\n",
    b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 999 OK\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
    b"HTTP/9.9 200 OK\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"\x00\xff\x00\xff\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nSet-Cookie: \x00=\xff; expires=never\r\nContent-Length: 1\r\n\r\n1",
    b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n",
    b"",
]


@contextmanager
def saying(words: bytes) -> Iterator[str]:
    """Serve an endpoint that answers every connection with these words."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(2)
                    connection.recv(65536)
                    connection.sendall(words)
            except OSError:
                if listener.fileno() < 0:
                    return

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize("words", ODD_HTTP, ids=range(len(ODD_HTTP)))
def test_what_is_no_http_is_an_error_with_a_name(words):
    with saying(words) as url:
        accounts = client(url, "a-token-of-the-test", timeout=0.2, first_pause=0.01)
        for call in (accounts.probe, lambda: accounts.get("1"), lambda: list(accounts.list())):
            with pytest.raises(ProvisioningError):
                call()
        errors = [item.error for item in accounts.find([Lookup(key="k", external_id="d1", user_names=())])]
        errors += [item.error for item in write(accounts, creates(2), 1).values()]
        assert len(errors) == 3
        assert all(isinstance(error, ProvisioningError) for error in errors)


@pytest.mark.parametrize("wait", ["1000000", "9" * 400, "1795510890000", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_no_wait_is_longer_than_an_hour(keeper, accounts, wait):
    keeper.fault(match={}, status=429, retry_after=wait, times=None)
    with pytest.raises(Throttled) as told:
        accounts.probe()
    assert told.value.retry_after == 3600
    (error,) = [item.error for item in write(accounts, creates(1)).values()]
    assert isinstance(error, Throttled)
    assert error.retry_after == 3600


def test_a_body_of_nothing_but_brackets_takes_no_memory(listener):
    listener.answer = lambda _: Response(200, b'{"Resources":[' + b"{}," * 4_000_000 + b"{}]}")
    accounts = client(listener.url, "a-token-of-the-test")
    began = time.monotonic()
    with pytest.raises(Transient):
        list(accounts.list())
    assert time.monotonic() - began < 5
