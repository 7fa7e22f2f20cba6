"""`make bench`: measure the figures of docs/benchmarks.md in one run, against a baseline measured in the same run.

The baseline is a plain sequential loop: one kept connection, one POST per user, no lookups, the same payloads and the
same server. Ours is timed from the scheduler's call to the last recorded event. The server answers after 50 ms, plus
1 ms for each operation inside a Bulk. `--memory` adds the runs of 100,000 users.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local import connect
from infra.local.cloud import ROOT
from infra.local.directory.fixture import SCOPE_GROUP, make
from infra.local.processes import Supervisor
from infra.local.simulation import World
from infra.local.simulation import http as call
from infra.local.sync import synchronize
from tests.benchmark import teams
from tests.benchmark.large_changes import LEAVERS, Run, hold_leavers, in_one_group, run, seed_accounts

LATENCY_MS = 50
BASELINE_USERS = 300
FIRST_RUN_USERS = 5_000
QUIET_USERS = 20_000
MEMORY_USERS = 100_000
CHANGES, CHANGES_A_SECOND = 60, 5


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    work: str
    must: str
    measured: str
    reached: bool | None = None


@contextlib.contextmanager
def world_of(users: int, *, bulk: bool = True, latency: float = LATENCY_MS, group: str = "") -> Iterator[World]:
    """Start everything for a customer of that many active users, all in scope: as the organization's, or a group's."""
    fixture = make(users)
    for user in fixture["users"]:
        user |= {"suspended": False, "archived": False}
    fixture["deletedUsers"] = []
    if group:
        fixture = in_one_group(fixture)
    with tempfile.TemporaryDirectory() as folder, Supervisor(Path(folder) / "logs") as supervisor:
        world = World(supervisor=supervisor, folder=Path(folder))
        world.start(fixture, fixture["users"][0]["primaryEmail"], scheduler=False)
        os.environ.update(world.cloud.environment)
        from tests.benchmark.console import forget_services

        forget_services()
        world.keeper.settings(bulk=bulk, latency_ms=0)
        groups = (group,) if group else ()
        print(connect.connect(world.keeper.endpoint, world.keeper.token, groups, creates=users), file=sys.stderr)
        _warm(world)
        world.keeper.settings(latency_ms=latency)
        world.keeper.control("DELETE", "requests")
        yield world


def _warm(world: World) -> None:
    """Have every function import what it needs, without any work: imports are measured apart."""
    call("POST", world.cloud.url("reconcile"), {"kind": "sweep"})
    empty = {
        "message": {"messageId": "warm", "data": "eyJ1c2VyX2lkIjoid2FybSJ9", "publishTime": "2026-01-01T00:00:00Z"}
    }
    batch = {
        "message": {
            "messageId": "warm",
            "data": "eyJjb25uZWN0aW9uX2lkIjoieCIsInJ1bl9pZCI6IngiLCJmZW5jZSI6MCwibnVtYmVyIjoiMSJ9",
        }
    }
    call("POST", world.cloud.url("provision_user"), empty)
    call("POST", world.cloud.url("apply_changes"), batch)


def baseline(world: World) -> float:
    """Return seconds per user of the plain loop, against the same server."""
    sys.path.insert(0, str(ROOT / "functions"))
    from autoprovisioning.adapters.scim.resources import create_body
    from autoprovisioning.domain.accounts import Write, WriteKind
    from autoprovisioning.domain.mapping import AttributeMapping

    mapping = AttributeMapping()
    payloads = []
    for user in make(BASELINE_USERS, seed=99)["users"]:
        user["primaryEmail"] = "baseline-" + user["primaryEmail"]
        write = Write(
            key=user["id"],
            kind=WriteKind.CREATE,
            scim_id="",
            external_id="b" + user["id"],
            attributes=mapping.apply(user),
            active=True,
        )
        payloads.append(json.dumps(create_body(write)).encode())
    parts = urllib.parse.urlsplit(world.keeper.endpoint)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    headers = {"Authorization": f"Bearer {world.keeper.token}", "Content-Type": "application/scim+json"}
    started = time.perf_counter()
    for payload in payloads:
        connection.request("POST", parts.path + "/Users", payload, headers)
        response = connection.getresponse()
        response.read()
        if response.status != 201:
            raise SystemExit(f"baseline: HTTP {response.status}")
    return (time.perf_counter() - started) / len(payloads)


def first_run(world: World) -> dict[str, Any]:
    """Run and return the summary."""
    return synchronize(world.cloud.url("reconcile"), "full")


def new_users(bulk: bool) -> Row:
    """Time 5,000 new users against the baseline on the same server."""
    with world_of(FIRST_RUN_USERS, bulk=bulk) as world:
        per_user = baseline(world)
        world.keeper.control("PUT", "accounts", [])
        world.keeper.settings(latency_ms=0)
        own = baseline(world)  # what the server itself and the loop's own work take
        world.keeper.settings(latency_ms=LATENCY_MS)
        world.keeper.control("PUT", "accounts", [])
        world.keeper.control("DELETE", "requests")
        summary = first_run(world)
    times = per_user * FIRST_RUN_USERS / summary["seconds"]
    requests = sum(summary["scim_requests"].values())
    honest = per_user <= 1.2 * (LATENCY_MS / 1000 + own)
    reached = times >= 25 and summary["created"] == FIRST_RUN_USERS and honest and (not bulk or requests <= 60)
    measured = (
        f"{times:.1f} times ({summary['seconds']:.1f} s against {per_user * FIRST_RUN_USERS:.0f} s; "
        f"baseline {per_user * 1000:.1f} ms a user, {own * 1000:.1f} ms without latency), "
        f"{requests} SCIM requests, {summary['created']} created"
    )
    work = f"{FIRST_RUN_USERS:,} new users, {'Bulk offered' if bulk else 'no Bulk offered'}"
    return Row(work, "25 times" + (", at most 60 SCIM requests" if bulk else ""), measured, reached)


def slow_bulk() -> list[Row]:
    """Time 5,000 new users where an operation inside a Bulk takes long, with Bulk and without."""
    rows: list[Row] = []
    for milliseconds in (10, 40):
        seconds: dict[bool, float] = {}
        for bulk in (True, False):
            with world_of(FIRST_RUN_USERS, bulk=bulk) as world:
                world.keeper.settings(per_operation_ms=milliseconds)
                seconds[bulk] = float(first_run(world)["seconds"])
        work = f"{FIRST_RUN_USERS:,} new users, {milliseconds} ms an operation inside a Bulk"
        measured = f"{seconds[True]:.1f} s with Bulk, {seconds[False]:.1f} s without"
        rows.append(Row(work, "not slower than without", measured, seconds[True] <= 1.1 * seconds[False]))
    return rows


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process group."""
    total = 0.0
    tick = os.sysconf("SC_CLK_TCK")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == pid:
                    total += (int(fields[11]) + int(fields[12])) / tick
    return total


def quiet_run() -> list[Row]:
    """Measure a run with no changes, then changes through the whole pipe."""
    with world_of(QUIET_USERS, latency=0) as world:
        first_run(world)
        first_run(world)
        world.keeper.settings(latency_ms=LATENCY_MS)
        reconcile = world.cloud.workers["reconcile"]
        before = cpu_of(reconcile.pid)
        summary = first_run(world)
        cpu = cpu_of(reconcile.pid) - before
        requests = sum(summary["scim_requests"].values())
        reached = (
            summary["firestore_reads"] <= 200 and requests <= 2 and cpu <= 2 and summary["unchanged"] == QUIET_USERS
        )
        measured = (
            f"{summary['firestore_reads']} documents read, {requests} SCIM requests, {cpu:.2f} s CPU, "
            f"{summary['seconds']:.2f} s, {summary['directory_requests']} directory requests"
        )
        quiet = Row(f"run with no changes, {QUIET_USERS:,} users", "<= 200, <= 2, <= 2 s CPU", measured, reached)
        return [quiet, latency(world)]


def latency(world: World) -> Row:
    """Measure from the directory's change to Keeper, 5 changes a second."""
    world.watch_directory()
    people = world.directory.control("GET", "state")["users"][:CHANGES]
    world.keeper.control("DELETE", "requests")
    changed: dict[str, float] = {}
    started = time.perf_counter()
    for position, user in enumerate(people):
        pause = started + position / CHANGES_A_SECOND - time.perf_counter()
        time.sleep(max(0.0, pause))
        name = f"Changed{position}"
        changed[name] = time.time()
        world.directory.patch(user["id"], {"name": {"familyName": name}})
    arrived = _arrivals(world, set(changed))
    took = sorted(arrived[name] - changed[name] for name in changed)
    p50, p95 = statistics.median(took), took[int(len(took) * 0.95) - 1]
    return Row(
        f"directory change to Keeper, {CHANGES_A_SECOND} changes a second",
        "p95 <= 1 s",
        f"p50 {p50:.2f} s, p95 {p95:.2f} s, worst {took[-1]:.2f} s of {len(took)}",
        p95 <= 1,
    )


def _arrivals(world: World, names: set[str]) -> dict[str, float]:
    """Return when each change's PATCH arrived, by the simulator's own log."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        arrived: dict[str, float] = {}
        for item in world.keeper.requests()["log"]:
            if item["method"] == "PATCH":
                found = [name for name in names if f'"{name}"' in item["body"]]
                for name in found:
                    arrived.setdefault(name, item["at"])
        if len(arrived) == len(names):
            return arrived
        time.sleep(0.2)
    raise SystemExit(f"only {len(arrived)} of {len(names)} changes arrived")


def cold_start() -> Row:
    """Compare the webhook, from exec to its first published notification, with importing the libraries it avoids."""
    with tempfile.TemporaryDirectory() as folder, Supervisor(Path(folder) / "logs") as supervisor:
        world = World(supervisor=supervisor, folder=Path(folder))
        fixture = make(5)
        world.start(fixture, fixture["users"][0]["primaryEmail"], scheduler=False)
        environment = {**os.environ, **world.cloud.environment}
        imports = "import functions_framework, google.cloud.firestore, google.cloud.pubsub, google.cloud.logging"
        webhook = [sys.executable, "-m", "tests.benchmark.webhook_once"]
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(7):
            ours.append(_timed(webhook, environment))
            theirs.append(_timed([sys.executable, "-c", imports], environment))
    ratio = statistics.median(ours) / statistics.median(theirs)
    measured = f"{ratio:.2f} times ({statistics.median(ours):.2f} s against {statistics.median(theirs):.2f} s)"
    work = "webhook from exec to first notification published, against importing the libraries"
    return Row(work, "<= 0.5 times", measured, ratio <= 0.5)


def large_changes() -> list[Row]:
    """Adopt accounts that are right, then suspend people as an administrator approved."""
    with world_of(QUIET_USERS, latency=0, group=SCOPE_GROUP) as world:
        seed_accounts(world)
        adopted, cpu = _with_cpu(world)
        writes = sum(count for method, count in adopted.keeper.items() if method != "GET")
        adopting = Row(
            f"adopting {QUIET_USERS:,} accounts that are right",
            "<= 6 s, no write to Keeper",
            f"{adopted.seconds:.1f} s, {cpu:.1f} s CPU, {writes} writes to Keeper, {adopted.told('adopted')} adopted, "
            f"{adopted.told('firestore_reads')} documents read, {adopted.told('firestore_writes')} written",
            adopted.seconds <= 6 and not writes and adopted.told("adopted") == QUIET_USERS,
        )
        print(f"{adopting.work}: {adopting.measured}", file=sys.stderr, flush=True)
        first_run(world)
        before = first_run(world)["directory_requests"]  # what it takes to list everybody
        world.keeper.settings(latency_ms=LATENCY_MS)
        hold_leavers(world)
        taken, cpu = _with_cpu(world)
        each = (taken.directory - before) / LEAVERS
        leaving = Row(
            f"{LEAVERS:,} approved suspensions among {QUIET_USERS:,} users",
            "<= 20 s, two directory requests each",
            f"{taken.seconds:.1f} s, {cpu:.1f} s CPU, {each:.2f} directory requests each, "
            f"{taken.told('suspended')} suspended, "
            f"{taken.told('firestore_reads')} documents read, {taken.told('firestore_writes')} written",
            taken.seconds <= 20 and each <= 2 and taken.told("suspended") == LEAVERS,
        )
    return [adopting, leaving]


def teams_of_groups() -> list[Row]:
    """Make teams of groups, and put people into them: with their accounts, and later."""
    with world_of(FIRST_RUN_USERS, bulk=False) as world:
        teams.put_into_groups(world, 40)
        without = first_run(world)["seconds"]
        each = teams.plain_loop(world)
        teams.choose()
        later = first_run(world)["seconds"]
        joined = teams.memberships(world)
    with world_of(FIRST_RUN_USERS, bulk=False) as world:
        teams.put_into_groups(world, 40)
        teams.choose()
        together = first_run(world)["seconds"]
        at_once = teams.memberships(world)
    times = each * FIRST_RUN_USERS / later
    first = Row(
        f"{FIRST_RUN_USERS:,} new users in 40 groups that become teams, against the same without teams",
        "<= 1.2 times",
        f"{together / without:.2f} times ({together:.1f} s against {without:.1f} s), {at_once} memberships",
        together <= 1.2 * without and at_once == FIRST_RUN_USERS,
    )
    putting = Row(
        f"{FIRST_RUN_USERS:,} people put into the teams of 40 groups, against one PATCH after the other",
        "25 times",
        f"{times:.1f} times ({later:.1f} s against {each * FIRST_RUN_USERS:.0f} s), {joined} memberships",
        times >= 25 and joined == FIRST_RUN_USERS,
    )
    return [first, putting, _quiet_teams()]


def _quiet_teams() -> Row:
    with world_of(QUIET_USERS, latency=0) as world:
        teams.put_into_groups(world, 300)
        first_run(world)
        first_run(world)
        before = first_run(world)
        teams.choose()
        for _ in range(5):  # a run makes a hundred teams at most; the last but one settles what is kept
            first_run(world)
        after = first_run(world)
    requests, more = sum(after["scim_requests"].values()), after["firestore_reads"] - before["firestore_reads"]
    return Row(
        f"run with no changes, {QUIET_USERS:,} users and 300 teams",
        "<= 4 SCIM requests, one document more",
        f"{requests} SCIM requests, {after['firestore_reads']} documents read ({more} more than without teams), "
        f"{after['directory_requests']} directory requests, {after['seconds']:.2f} s",
        requests <= 4 and more <= 1 and after["unchanged"] == QUIET_USERS,
    )


def _with_cpu(world: World) -> tuple[Run, float]:
    """Run; returns what it took, and the CPU seconds of the functions that take part."""
    workers = [world.cloud.workers[name].pid for name in ("reconcile", "apply_changes")]
    before = sum(map(cpu_of, workers))
    done = run(world)
    return done, sum(map(cpu_of, workers)) - before


def _timed(argv: list[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(argv, env=environment, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def memory() -> list[Row]:
    """Measure the peak memory of `reconcile`'s worker with 100,000 users."""
    rows = []
    with world_of(MEMORY_USERS, latency=0) as world:
        worker = world.cloud.workers["reconcile"]
        for name in ("first run", "no-change run"):
            summary = first_run(world)
            peak = _peak_memory(worker.pid)
            did = f"{summary['created']} created, {summary['unchanged']} unchanged, {summary['seconds']:.0f} s"
            measured = f"{peak:.0f} MiB ({did})"
            rows.append(
                Row(f"peak memory of reconcile, {MEMORY_USERS:,} users, {name}", "<= 300 MiB", measured, peak <= 300)
            )
            if name == "first run":
                worker.stop()
                world.cloud.start_function("reconcile").wait_ready()
                worker = world.cloud.workers["reconcile"]
    return rows


def console_pages() -> list[Row]:
    """Time the pages of the console over a full database."""
    from tests.benchmark import console

    seen = console.measure()
    print(console.table(seen), file=sys.stderr)
    measured, reached = console.summary(seen)
    work = f"every page of the console, {console.USERS:,} users and {console.EVENTS:,} events: our own time"
    return [Row(work, "<= 300 ms, roster not read", measured, reached)]


def _peak_memory(pid: int) -> float:
    """Return the highest VmHWM of a process group, in MiB."""
    peak = 0.0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[2]) == pid:
                    for line in (entry / "status").read_text().splitlines():
                        if line.startswith("VmHWM"):
                            peak = max(peak, int(line.split()[1]) / 1024)
    return peak


def machine() -> str:
    """Describe the machine."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores ({model}), {gib:.0f} GiB, {system}"


def table(rows: list[Row]) -> str:
    """Render the rows."""
    lines = ["| work | must reach | measured | reached |", "|---|---|---|---|"]
    for row in rows:
        reached = {True: "yes", False: "**no**", None: "-"}[row.reached]
        lines.append(f"| {row.work} | {row.must} | {row.measured} | {reached} |")
    return "\n".join(lines)


def write_report(rows: list[Row]) -> None:
    """Write docs/benchmarks.md around the table."""
    text = (Path(__file__).parent / "report.md").read_text()
    filled = text.replace("{machine}", machine()).replace("{table}", table(rows))
    (ROOT / "docs" / "benchmarks.md").write_text(filled)


def main() -> None:
    """Measure everything, or the parts named."""
    parts: dict[str, Callable[[], list[Row]]] = {
        "no-bulk": lambda: [new_users(bulk=False)],
        "bulk": lambda: [new_users(bulk=True)],
        "quiet": quiet_run,
        "large": large_changes,
        "slow-bulk": slow_bulk,
        "teams": teams_of_groups,
        "cold": lambda: [cold_start()],
        "console": console_pages,
        "memory": memory,
    }
    parser = argparse.ArgumentParser(description="Benchmarks")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(parts)}; default: all but memory")
    parser.add_argument("--memory", action="store_true")
    asked = parser.parse_args()
    chosen = asked.parts or [name for name in parts if name != "memory" or asked.memory]
    rows: list[Row] = []
    for name in chosen:
        measured = parts[name]()
        rows += measured
        for row in measured:
            print(f"{row.work}: {row.measured}", file=sys.stderr, flush=True)
    print(f"\n{machine()}\n\n{table(rows)}")
    if not asked.parts:
        write_report(rows)


if __name__ == "__main__":
    main()
