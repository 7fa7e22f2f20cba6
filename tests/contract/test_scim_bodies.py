"""Bodies are read to a limit, as they are after decompression: a function has 512 MiB."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
import zlib

import pytest

from autoprovisioning.adapters.scim.transport import LONGEST_BODY
from autoprovisioning.domain.errors import KeeperFailed, Transient
from tests.contract.listener import Response
from tests.contract.scim_servers import ROOT, client
from tests.contract.scim_writes import LISTING, seed

ANYTHING = {"method": "GET|POST", "path": "/Users$"}


@pytest.mark.parametrize("odd", [{"gzip_bomb": 600}, {"endless": True}])
def test_forty_at_once_take_less_memory_than_a_function_has(keeper, tmp_path, odd):
    seed(keeper, 1)
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(keeper.token)
    keeper.fault(match=ANYTHING, times=None, **odd)
    argv = [sys.executable, "-m", "tests.contract.read_in_little_memory", keeper.endpoint, str(token)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    grown, errors = map(int, done.stdout.split())
    assert errors == 81
    assert grown < 256


@pytest.mark.parametrize("odd", [{"gzip_bomb": 600}, {"endless": True}])
def test_an_account_beyond_the_limit_is_that_users_failure_in_time(keeper, odd):
    seed(keeper, 2)
    accounts = client(keeper.endpoint, keeper.token, timeout=5)
    keeper.fault(match={"method": "GET", "path": "/1000$"}, times=None, **odd)
    began = time.monotonic()
    with pytest.raises(KeeperFailed):
        accounts.get("1000")
    assert time.monotonic() - began < 5
    assert accounts.get("1001") is not None


def test_a_body_that_trickles_for_ever_ends_with_the_requests_time(keeper):
    accounts = client(keeper.endpoint, keeper.token, timeout=0.3)
    keeper.fault(match=LISTING, hang=True, times=None)
    began = time.monotonic()
    with pytest.raises(Transient):
        list(accounts.list())
    assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda plain: zlib.compress(plain, wbits=-15)),
        ("identity", bytes),
    ],
)
@pytest.mark.parametrize("people", [1, 3000])
def test_what_is_compressed_is_read(listener, encoding, pack, people):
    page = [{"id": f"{n}", "userName": f"p{n}@example.com", "title": "x" * 1000} for n in range(people)]
    plain = json.dumps({"totalResults": people, "Resources": page}).encode()
    listener.answer = lambda _: Response(200, pack(plain), {"Content-Encoding": encoding})
    listed = [account for some in client(listener.url, "a-token-of-the-test").list() for account in some]
    assert len(listed) == people
    assert {request.headers["accept-encoding"] for request in listener.requests} == {"gzip, deflate"}


def test_the_limit_leaves_room_for_a_page_of_large_accounts():
    assert LONGEST_BODY // 1000 > 16_000
