"""Which HTTP library carries SCIM: the same POSTs to the Keeper simulator (50 ms a request) through four of them.

    PYTHONPATH=functions python -m tests.benchmark.scim_transport

CPU is this process's, so the server's is not in it. The figures of docs/adr/0002-scim-client.md come from here.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import httpx2
import requests
import requests.adapters
import urllib3

from autoprovisioning.adapters.scim.resources import create_body
from tests.contract.scim_servers import as_new, creates, keeper

REQUESTS = 800
Send = Callable[[str, dict[str, str], list[bytes], int], None]


def with_aiohttp(url: str, headers: dict[str, str], bodies: list[bytes], at_once: int) -> None:
    async def run() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as session:

            async def worker(pending: Iterator[bytes]) -> None:
                for body in pending:
                    async with session.post(url, data=body, headers=headers) as response:
                        await response.read()
                        assert response.status == 201

            pending = iter(bodies)
            await asyncio.gather(*(worker(pending) for _ in range(at_once)))

    asyncio.run(run())


def with_httpx2(url: str, headers: dict[str, str], bodies: list[bytes], at_once: int) -> None:
    async def run() -> None:
        limits = httpx2.Limits(max_connections=at_once, max_keepalive_connections=at_once)
        async with httpx2.AsyncClient(limits=limits) as session:

            async def worker(pending: Iterator[bytes]) -> None:
                for body in pending:
                    assert (await session.post(url, content=body, headers=headers)).status_code == 201

            pending = iter(bodies)
            await asyncio.gather(*(worker(pending) for _ in range(at_once)))

    asyncio.run(run())


def _in_threads(one: Callable[[bytes], int], bodies: list[bytes], at_once: int) -> None:
    with ThreadPoolExecutor(at_once) as pool:
        assert set(pool.map(one, bodies)) == {201}


def with_urllib3(url: str, headers: dict[str, str], bodies: list[bytes], at_once: int) -> None:
    with urllib3.PoolManager(maxsize=at_once, block=True) as pool:
        _in_threads(lambda body: pool.request("POST", url, body=body, headers=headers).status, bodies, at_once)


def with_requests(url: str, headers: dict[str, str], bodies: list[bytes], at_once: int) -> None:
    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=at_once))
        _in_threads(lambda body: session.post(url, data=body, headers=headers).status_code, bodies, at_once)


LIBRARIES: dict[str, Send] = {
    "aiohttp": with_aiohttp,
    "httpx2": with_httpx2,
    "urllib3": with_urllib3,
    "requests": with_requests,
}


def imported(library: str) -> float:
    """Return the milliseconds that importing a library adds to a bare interpreter: the best of three."""

    def run(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - started

    return 1000 * (min(run(f"import {library}") for _ in range(3)) - min(run("pass") for _ in range(3)))


def main() -> None:
    """Measure and print the table."""
    bodies = [json.dumps(create_body(write)).encode() for write in creates(REQUESTS)]
    print("| library | at once | requests a second | CPU ms a request | import ms |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, keeper(Path(folder)) as side:
        headers = {"Authorization": f"Bearer {side.token}", "Content-Type": "application/scim+json"}
        for library, send in LIBRARIES.items():
            cost = imported(library)
            for at_once in (32, 64):
                as_new(side).settings(latency_ms=50)
                wall, cpu = time.perf_counter(), time.process_time()
                send(side.endpoint + "/Users", headers, bodies, at_once)
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                rate, each = REQUESTS / wall, 1000 * cpu / REQUESTS
                print(f"| {library} | {at_once} | {rate:.0f} | {each:.2f} | {cost:.0f} |", flush=True)


if __name__ == "__main__":
    main()
