"""`make bench SCALE=1`: what reading and judging a large directory takes, with the latency of a real one.

The simulated directory answers each request after 0.3 s. State is in memory: Firestore's part is measured by the other
benchmarks. Nothing has changed since everybody was provisioned. Each row is a process of its own, so that its memory is
its own. Users are listed after the groups' members, and beside them: how many times the seconds of the former are those
of the latter is the ratio. What that means for a million users, and for ten: docs/scale.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from infra.local.cloud import ROOT
from infra.local.directory.fixture import make
from infra.local.processes import Supervisor, python
from infra.local.simulation import DirectorySide

SIZES = ((4_000, 1), (20_000, 4), (100_000, 8))  # users, scope groups
LATENCY = 0.3  # seconds a request
USERS_A_SHARD = 300
SMALL = 5_000  # users: fewer are listed in one listing
WAYS = (("after",), (), ("parts", "after"), ("parts",))
MUST = 60.0  # seconds, of a run without changes over the largest one, in parts


# How often addresses begin with a letter, of a hundred: made up, with the largest part that is to be expected.
LETTERS = "jamscdelkrbtnhgpfivwozyuqx"
BEFORE = {"name.familyName": "Before"}  # what was applied to those who changed since
WEIGHTS = (12, 10, 10, 9, 8, 6, 6, 6, 5, 5, 5, 4, 3, 2, 2, 1, *[0.6] * 10)


def fixture(users: int, groups: int) -> dict[str, Any]:
    """Return active users, spread over so many scope groups."""
    chance = Random(1)
    letters = chance.choices(LETTERS, WEIGHTS, k=users)
    state = make(users)
    for number, user in enumerate(state["users"]):
        address = f"{letters[number]}{user['primaryEmail']}"
        user |= {"suspended": False, "archived": False, "primaryEmail": address, "aliases": []}
        user["emails"] = [{"address": address, "primary": True}]
    state["deletedUsers"] = []
    state["groups"] = [{"id": f"g{number}", "email": f"g{number}@example.com"} for number in range(groups)]
    state["members"] = {group["id"]: [] for group in state["groups"]}
    for number, user in enumerate(state["users"]):
        member = {"id": user["id"], "email": user["primaryEmail"], "type": "USER", "role": "MEMBER"}
        state["members"][f"g{number % groups}"].append(member)
    return state


def scim_id_of(user: dict[str, Any]) -> str:
    """Return the id of a user's account."""
    return f"{int(user['id']):032x}"


def roster_of(state: dict[str, Any], changed: float = 0) -> list[bytes]:
    """Return the roster's shards, on which everybody has an account; of so many percent the name changed since."""
    from autoprovisioning.adapters.firestore.codec import encode
    from autoprovisioning.domain.accounts import fingerprint
    from autoprovisioning.domain.entry import Entry, Status
    from autoprovisioning.domain.mapping import AttributeMapping

    mapping = AttributeMapping()
    every = round(100 / changed) if changed else 0
    entries = [
        Entry(
            user_id=user["id"],
            version=2,
            email=user["primaryEmail"],
            scim_id=scim_id_of(user),
            fingerprint=fingerprint(mapping.apply(user) | (BEFORE if every and number % every == 0 else {})),
            status=Status.ACTIVE,
            in_scope=True,
            applied_by=f"{int(user['id']):032x}",
            shown="",
        )
        for number, user in enumerate(state["users"])
    ]
    parts = (entries[start : start + USERS_A_SHARD] for start in range(0, len(entries), USERS_A_SHARD))
    return [encode({entry.user_id: entry for entry in part}) for part in parts]


def measure(users: int, groups: int, latency: float) -> Iterator[dict[str, Any]]:
    """Read one directory in one listing and in parts, after the members and beside them, in a process of its own each.

    Parts are not tried where a directory is too small for them.
    """
    with tempfile.TemporaryDirectory() as folder, Supervisor(Path(folder)) as supervisor:
        path, shards = Path(folder) / "fixture.json", Path(folder) / "roster"
        state = fixture(users, groups)
        path.write_text(json.dumps(state))
        shards.mkdir()
        for number, data in enumerate(roster_of(state)):
            (shards / f"{number:06d}").write_bytes(data)
        del state
        argv = python("-m", "infra.local.directory", "--fixture", str(path))
        side = DirectorySide(supervisor.start("directory", argv, cwd=ROOT).wait_ready().address)
        side.fault(match={}, delay=latency, times=None)
        for how in WAYS:
            if "parts" in how and users < SMALL:
                continue
            argv = [sys.executable, "-m", "tests.benchmark.scale", "--child", side.url, str(shards), str(groups), *how]
            done = subprocess.run(argv, cwd=ROOT, check=True, stdout=subprocess.PIPE, env={**os.environ})
            yield json.loads(done.stdout.splitlines()[-1]) | {"users": users, "groups": groups}


def child(url: str, path: str, groups: int, how: Collection[str]) -> dict[str, Any]:
    """Read and judge the directory as a run does, with everybody on the roster."""
    from autoprovisioning.adapters.directory import DirectoryTransport, GoogleDirectory, Quota, anonymous
    from autoprovisioning.adapters.firestore.codec import decode
    from autoprovisioning.adapters.threads import Threads
    from autoprovisioning.app.runs import plan_everybody
    from autoprovisioning.app.runs.plan_everybody import judge_everybody
    from autoprovisioning.domain.connections import Connection, State
    from autoprovisioning.domain.listing_parts import Listings
    from autoprovisioning.domain.observation import rules_of
    from autoprovisioning.domain.plan import Planner
    from autoprovisioning.domain.scope import Group, Scope
    from autoprovisioning.domain.settings import Settings
    from tests.support.in_memory import START, FakeServices

    scope = Scope(groups=tuple(Group(id=f"g{number}") for number in range(groups)))
    settings = Settings(endpoint="https://keepersecurity.eu/api/rest/scim/v2/1", scope=scope)
    connection = Connection(id="c1", state=State.ON, settings=settings, roster_layout="1")
    roster = {
        user_id: entry
        for shard in sorted(Path(path).iterdir())
        for user_id, entry in decode(shard.read_bytes()).entries.items()
    }
    count = _Count()
    fakes = FakeServices()
    if "after" in how:
        plan_everybody.MOST_AHEAD = 0
    if "parts" in how:  # the sizes as the listing of the day before found them
        heads = Counter(entry.email[0] for entry in roster.values())
        fakes.store.listings = Listings().whole(heads, START, None)
    transport = DirectoryTransport(url, anonymous(url), count, quota=Quota(1800))
    services = replace(fakes.services, directory=GoogleDirectory(transport), executor=Threads())
    planner = Planner(connection, roster, rules_of(connection, {}), START)
    began, cpu = time.monotonic(), time.process_time()
    survey = judge_everybody(services, [connection], {"c1": planner}, {"c1": roster}, START + timedelta(days=1))
    return {
        "seconds": time.monotonic() - began,
        "cpu": time.process_time() - cpu,
        "requests": count.requests,
        "unchanged": planner.plan.unchanged,
        "in_parts": survey.in_parts,
        "after": "after" in how,
        "peak_mib": peak(),
    }


class _Count:
    def __init__(self) -> None:
        self.requests = 0

    def __call__(self, name: str, n: int = 1) -> None:
        self.requests += n


def peak() -> float:
    """Return the highest resident size of this process, in MiB (getrusage would count the one that started it)."""
    told = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(told.split()[1]) / 1024


def main() -> None:
    """Measure each size, and print the table."""
    parser = argparse.ArgumentParser(description="Scale")
    parser.add_argument("--users", type=int)
    parser.add_argument("--groups", type=int, default=8)
    parser.add_argument("--latency", type=float, default=LATENCY)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        url, path, groups, *how = asked.child
        print(json.dumps(child(url, path, int(groups), how)))
        return
    print("| users | scope groups | users are listed | members and users | seconds | ratio | CPU seconds | requests |")
    print("|---|---|---|---|---:|---:|---:|---:|")
    slow = False
    for users, groups in [(asked.users, asked.groups)] if asked.users else SIZES:
        before = 0.0
        for row in measure(users, groups, asked.latency):
            before = row["seconds"] if row["after"] else before
            way = "one after the other" if row["after"] else "side by side"
            ratio = "" if row["after"] else f"{before / row['seconds']:.2f}"
            slow |= row["in_parts"] and not row["after"] and users == SIZES[-1][0] and row["seconds"] > MUST
            print(
                f"| {users:,} | {groups} | {'in parts' if row['in_parts'] else 'in one'} | {way} | "
                f"{row['seconds']:.1f} | {ratio} | {row['cpu']:.1f} | {row['requests']} |",
                flush=True,
            )
            if row["unchanged"] != users:
                raise SystemExit(f"{row['unchanged']} unchanged")
            print(f"{row['peak_mib']:.0f} MiB", file=sys.stderr)
    print("not reached" if slow else f"reached: {SIZES[-1][0]:,} users within {MUST:.0f} s")


if __name__ == "__main__":
    main()
