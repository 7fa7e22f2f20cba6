"""What a run holds in memory for each user: full, drift and sweep, in a process of its own each, at two sizes.

Directory and Keeper are simulated and speak HTTP, so that what is decoded counts; state is in memory, but the roster,
which is decoded from its shards as a run reads it. Nothing has changed since everybody was provisioned, or `--changed`
percent of the names have. With `--latency` the directory answers so many seconds later, has a known size, so that it is
listed in parts, and takes 1,800 requests a minute from us.

PYTHONPATH=functions .venv/bin/python -m tests.benchmark.memory [--users 50000] [--run full] [--latency 0.3 --changed 1]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from infra.local.cloud import ROOT
from infra.local.processes import Supervisor, python
from infra.local.simulation import DirectorySide, KeeperSide
from tests.benchmark.scale import fixture, peak, roster_of, scim_id_of

USERS = 50_000
GROUPS = 8
WAIT = 600  # seconds for the simulated directory to read a large fixture
TOKEN = "token"
RUNS = ("full", "drift", "drift that lists everybody", "sweep")


def accounts_of(state: dict[str, Any]) -> list[dict[str, Any]]:
    """Return everybody's account as Keeper shows it."""
    from autoprovisioning.adapters.scim.resources import create_body
    from autoprovisioning.domain.accounts import Write, WriteKind
    from autoprovisioning.domain.mapping import AttributeMapping

    mapping, accounts = AttributeMapping(), []
    for user in state["users"]:
        write = Write(
            key="", kind=WriteKind.CREATE, external_id=user["id"], attributes=mapping.apply(user), active=True
        )
        accounts.append(create_body(write) | {"id": scim_id_of(user)})
    return accounts


def measure(
    users: int, groups: int, runs: tuple[str, ...], latency: float, changed: float
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Make each run over one customer, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder, Supervisor(Path(folder)) as supervisor:
        path, shards, token = (Path(folder) / name for name in ("fixture.json", "roster", "token"))
        state = fixture(users, groups)
        path.write_text(json.dumps(state))
        token.write_text(TOKEN)
        shards.mkdir()
        for number, data in enumerate(roster_of(state, changed)):
            (shards / f"{number:06d}").write_bytes(data)
        directory = supervisor.start(
            "directory", python("-m", "infra.local.directory", "--fixture", str(path)), cwd=ROOT
        )
        keeper = supervisor.start("keeper", python("-m", "infra.local.keeper", "--token-file", str(token)), cwd=ROOT)
        directory.wait_ready(WAIT)
        if latency:
            DirectorySide(directory.address).fault(match={}, delay=latency, times=None)
        side = KeeperSide(endpoint=keeper.wait_ready().address, token=TOKEN)
        accounts = accounts_of(state) if {*runs} & {*RUNS[1:3]} else []  # only they list Keeper
        del state
        for run in runs:
            odd = [{"userName": "shared@example.com"}] if run == RUNS[2] else []  # whose owner is looked for
            side.control("PUT", "accounts", accounts + odd)
            argv = [sys.executable, "-m", "tests.benchmark.memory", "--child", run, directory.address]
            argv += [side.endpoint, str(shards), str(latency), str(groups)]
            done = subprocess.run(argv, cwd=ROOT, check=True, stdout=subprocess.PIPE)
            yield run, json.loads(done.stdout.splitlines()[-1])


def heads_of(shards: str) -> Counter[str]:
    """Count by what addresses begin with, without holding anybody."""
    from autoprovisioning.adapters.firestore.codec import decode

    heads = Counter[str]()
    for shard in Path(shards).iterdir():
        heads.update(entry.email[0] for entry in decode(shard.read_bytes()).entries.values())
    return heads


def child(run: str, directory: str, keeper: str, shards: str, latency: str, groups: str) -> dict[str, Any]:
    """Make one run, and return what it took."""
    from autoprovisioning.adapters.directory import DirectoryTransport, GoogleDirectory, Quota, anonymous, known_users
    from autoprovisioning.adapters.firestore.codec import decode
    from autoprovisioning.adapters.scim.client import ScimAccounts
    from autoprovisioning.adapters.threads import Threads
    from autoprovisioning.app.runs.reconcile import reconcile
    from autoprovisioning.app.runs.sweep import sweep_on_schedule
    from autoprovisioning.domain.connections import Connection, State
    from autoprovisioning.domain.entry import Entry
    from autoprovisioning.domain.keeper import PatchDialect
    from autoprovisioning.domain.listing_parts import Listings
    from autoprovisioning.domain.runs import RunKind
    from autoprovisioning.domain.scope import Group, Scope
    from autoprovisioning.domain.settings import Settings
    from tests.support.in_memory import START, FakeServices
    from tests.support.in_memory_state import FakeRoster

    class Stored(FakeRoster):
        """The roster as it is stored."""

        def load(self, _connection: Connection) -> dict[str, Entry]:
            """Decode it, as a run does."""
            entries: dict[str, Entry] = {}
            for shard in sorted(Path(shards).iterdir()):
                entries |= decode(shard.read_bytes()).entries
            return entries

    requests = Counter[str]()

    def count(name: str, n: int = 1) -> None:
        """Count a request."""
        requests[name] += n

    known_users.ROOM = 0  # what is remembered for the next run has a limit, and is not so much a user
    fakes = FakeServices()
    if float(latency):  # the sizes as the listing of the day before found them
        fakes.store.listings = Listings().whole(heads_of(shards), START, None)
    scope = Scope(groups=tuple(Group(id=f"g{number}") for number in range(int(groups))))
    connection = Connection(
        id="c1",
        state=State.ON,
        settings=Settings(endpoint="https://keepersecurity.eu/api/rest/scim/v2/1", scope=scope),
        roster_layout="1",
        token_version="v1",
    )
    fakes.services.connections.create(connection)
    fakes.tokens.enabled["c1", "v1"] = TOKEN
    accounts = ScimAccounts(keeper, TOKEN, PatchDialect.STANDARD, count, fakes.clock)
    transport = DirectoryTransport(
        directory, anonymous(directory), count, quota=Quota(1800 if float(latency) else 10**9)
    )
    services = replace(
        fakes.services,
        roster=Stored(fakes.store),
        directory=GoogleDirectory(transport),
        executor=Threads(),
        accounts_for=lambda *_: accounts,
    )
    began, cpu = time.monotonic(), time.process_time()
    deadline = START + timedelta(minutes=25)
    before = peak()
    if run == "sweep":
        unchanged, planned = sweep_on_schedule(services, deadline), 0
    else:
        kind = RunKind.FULL if run == "full" else RunKind.DRIFT
        (done,) = reconcile(services, kind, deadline)
        told = services.runs.get("c1", done.id)
        assert told is not None
        unchanged, planned = told.counts.get("unchanged", 0), sum(told.planned.values())
    return {
        "seconds": time.monotonic() - began,
        "cpu": time.process_time() - cpu,
        "unchanged": unchanged,
        "planned": planned,
        "requests": requests["directory_requests"],
        "before": before,
        "peak": peak(),
    }


def main() -> None:
    """Measure two sizes, and print the table."""
    parser = argparse.ArgumentParser(description="Memory of a run")
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--groups", type=int, default=GROUPS)
    parser.add_argument("--run", choices=RUNS, action="append")
    parser.add_argument("--latency", type=float, default=0, help="seconds a request to the directory")
    parser.add_argument("--changed", type=float, default=0, help="percent of the users")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(child(*asked.child)))
        return
    runs = tuple(asked.run or RUNS)
    sizes = (asked.users * 2 // 5, asked.users)
    seen = [dict(measure(users, asked.groups, runs, asked.latency, asked.changed)) for users in sizes]
    print(
        "| run | users | unchanged | planned | requests | seconds | CPU seconds | peak MiB | bytes for each user more |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for run in runs:
        small, large = (each[run] for each in seen)
        grown = (large["peak"] - small["peak"]) * 1024 * 1024 / (sizes[1] - sizes[0])
        for users, row, told in ((sizes[0], small, ""), (sizes[1], large, f"{grown:.0f}")):
            print(
                f"| {run} | {users:,} | {row['unchanged']:,} | {row['planned']:,} | {row['requests']:,} | "
                f"{row['seconds']:.1f} | {row['cpu']:.1f} | {row['peak']:.0f} | {told} |"
            )


if __name__ == "__main__":
    main()
