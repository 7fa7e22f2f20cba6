"""Time every page of the console with 100,000 users on the roster and 300,000 events, emulators reported apart.

The console runs in this process, behind the stand-in of Identity-Aware Proxy, so that the time it spends waiting for
Firestore and for the directory can be told from its own: the Firestore emulator scans where the service has indexes.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.local.cloud import ROOT, LocalCloud
from infra.local.directory.fixture import SCOPE_GROUP, make
from infra.local.processes import Supervisor, free_port, python
from infra.local.simulation import IAP_AUDIENCE, DirectorySide

sys.path.insert(0, str(ROOT / "functions"))
from autoprovisioning.domain.settings import Settings
from tests.benchmark.console_load import EVENTS, SHARDS, fill

USERS = 100_000
CONNECTION = "keeper"
LIMIT = 0.3  # seconds of our own for a page
TIMES = 5
PATIENCE = 30  # seconds for a page: where the emulator scans for longer, it is asked fewer times, but twice
SEARCH = re.compile(r"/audit\?(person|text)=")  # reads events until enough match, or so many that it stops
ANEW = "#anew"  # after an address: seen by a process that has not read the people yet


@dataclass(frozen=True)
class Seen:
    """One page, in the median of several requests: seconds, and the documents that it read.

    `cpu` is what the processor took of it, without the libraries of Firestore and of the directory: on a machine that
    does other things at the same time, our own time is longer.
    """

    page: str
    status: int
    cpu: float
    whole: float
    firestore: float
    directory: float
    documents: int
    size: int

    @property
    def own(self) -> float:
        """What neither Firestore nor the directory took."""
        return max(0.0, self.whole - self.firestore - self.directory)


class Stopwatch:
    """Adds up the time spent inside calls, and the processor's; calls that overlap count once."""

    def __init__(self) -> None:
        self.total = 0.0
        self.cpu = 0.0
        self._depth = 0
        self._since = 0.0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with self._lock:
            if self._depth == 0:
                self._since = time.perf_counter()
            self._depth += 1
            outermost, cpu = self._depth == 1, time.thread_time()
        try:
            yield
        finally:
            with self._lock:
                self._depth -= 1
                self.cpu += time.thread_time() - cpu if outermost else 0.0
                if self._depth == 0:
                    self.total += time.perf_counter() - self._since

    def take(self) -> tuple[float, float]:
        """Return what was added up, the time and the processor's, and start over."""
        taken = self.total, self.cpu
        self.total = self.cpu = 0.0
        return taken


@contextlib.contextmanager
def console() -> Iterator[tuple[list[str], Callable[[str], Seen]]]:
    """Serve the console over a full database; yields the pages, and a way to time one."""
    fixture = make(USERS)
    with tempfile.TemporaryDirectory() as folder, Supervisor(Path(folder) / "logs") as supervisor:
        cloud = LocalCloud(supervisor=supervisor)
        path = Path(folder) / "fixture.json"
        path.write_text(json.dumps(fixture))
        simulator = supervisor.start(
            "directory", python("-m", "infra.local.directory", "--fixture", str(path)), cwd=ROOT
        )
        cloud.start_backing()
        port, inside = free_port(), free_port()
        argv = ["-m", "infra.local.iap", "--audience", IAP_AUDIENCE, "--user", fixture["users"][0]["primaryEmail"]]
        argv += ["--accounts", DirectorySide(simulator.address).url]
        proxy = supervisor.start("iap", python(*argv, "--target", str(port), f"http://127.0.0.1:{inside}"), cwd=ROOT)
        supervisor.wait_ready()
        settings = {"IAP_AUDIENCE": IAP_AUDIENCE, "IAP_CERTS_URL": f"{proxy.address}/_iap/public_key"}
        settings["OUTSIDE_TIMEOUT_SECONDS"] = str(10 * PATIENCE)  # the emulator scans, it is not out of order
        cloud.configure(DirectorySide(simulator.address).url, settings)
        os.environ.update(cloud.environment)
        filled = _connect(fixture)
        gc.collect()
        gc.freeze()  # a console does not hold what the benchmark does: it need not be looked through
        with _serving(inside) as watches:
            yield pages(fixture, *filled), lambda page: _time(f"{proxy.address}{page}", page, *watches)


def forget_services() -> None:
    """Forget what an earlier part of the benchmark built."""
    from autoprovisioning import bootstrap

    for builder in vars(bootstrap).values():
        if hasattr(builder, "cache_clear"):
            builder.cache_clear()


def _connect(fixture: dict[str, Any]) -> tuple[str, str]:
    from autoprovisioning import bootstrap
    from autoprovisioning.domain.connections import Connection, State
    from autoprovisioning.domain.scope import Group, Scope

    forget_services()
    group = next(group for group in fixture["groups"] if group["email"] == SCOPE_GROUP)
    scope = Scope(groups=(Group(id=group["id"], email=group["email"], name=group["name"]),))
    endpoint = "https://keepersecurity.eu/api/rest/scim/v2/1"
    now = datetime.now(UTC)
    bootstrap.process_services().connections.create(
        Connection(
            id=CONNECTION,
            order=1,
            state=State.ON,
            settings=Settings(endpoint=endpoint, scope=scope),
            token_version="1",
            changed_at=now,
        )
    )
    return fill(CONNECTION, fixture["users"], now)


@contextlib.contextmanager
def _serving(port: int) -> Iterator[tuple[Stopwatch, Stopwatch, Stopwatch]]:
    """Serve the console from this process; yields stopwatches of the whole, of Firestore and of the directory."""
    from functions_framework import create_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    from autoprovisioning.adapters.directory import DirectoryTransport
    from autoprovisioning.adapters.firestore import Database

    whole, firestore, directory = Stopwatch(), Stopwatch(), Stopwatch()
    translated, get = Database.translated, DirectoryTransport.get

    @contextlib.contextmanager
    def timed(self: Database) -> Iterator[None]:
        with firestore.running(), translated(self):
            yield

    def asked(self: DirectoryTransport, *arguments: Any, **named: Any) -> Any:
        with directory.running():
            return get(self, *arguments, **named)

    app = create_app("console", str(ROOT / "functions" / "main.py"))

    def measured(environ: Any, start_response: Any) -> Any:
        with whole.running():
            return [b"".join(app(environ, start_response))]

    class Quiet(WSGIRequestHandler):
        def log_request(self, *_: Any) -> None:
            """Log nothing: thousands of lines would hide the table."""

    server = make_server("127.0.0.1", port, measured, threaded=True, request_handler=Quiet)
    Database.translated, DirectoryTransport.get = timed, asked  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield whole, firestore, directory
    finally:
        Database.translated, DirectoryTransport.get = translated, get  # type: ignore[method-assign]
        server.shutdown()


def _time(url: str, page: str, whole: Stopwatch, firestore: Stopwatch, directory: Stopwatch) -> Seen:
    from autoprovisioning.bootstrap import administration, meter

    seen: list[Seen] = []
    until = time.monotonic() + PATIENCE
    while len(seen) <= TIMES and (len(seen) < 3 or time.monotonic() < until):
        for watch in (whole, firestore, directory):
            watch.take()
        if page.endswith(ANEW):
            administration().services.people._known.clear()  # type: ignore[attr-defined]
        meter().take()
        with urllib.request.urlopen(url) as answer:
            body = answer.read()
            reads = meter().take().get("firestore_reads", 0)
            (spent, cpu), *others = (watch.take() for watch in (whole, firestore, directory))
            cpu -= sum(each for _, each in others)
            seen.append(Seen(page, answer.status, cpu, spent, *(each for each, _ in others), reads, len(body)))
    timed = sorted(seen[1:], key=lambda each: each.own)  # the first one imports and compiles
    return timed[len(timed) // 2]


def pages(fixture: dict[str, Any], digest: str, preview: str) -> list[str]:
    """Return the addresses of all pages that read something."""
    home, user = f"/connections/{CONNECTION}", fixture["users"][5]
    return [
        "/",
        home,
        f"{home}/usage",
        f"{home}/failures",
        f"{home}/audit",
        f"{home}/audit?name=Suspend+Auto+Provisioned+User",
        f"{home}/audit?user={user['primaryEmail']}",
        f"{home}/audit?outcome=done&name=Suspend+Auto+Provisioned+User&name=Create+User+By+Auto+Provisioning",
        f"{home}/audit?person={user['primaryEmail']}",
        f"{home}/audit?text=nothing+like+it",
        f"{home}/users{ANEW}",
        f"{home}/users",
        f"{home}/users?q={user['primaryEmail'][:3]}",
        f"{home}/users?sort=change&order=desc",
        f"/api/v1{home}/users",
        f"{home}/users?state=due&sort=change&order=desc",
        f"/find?quick=1&q={user['primaryEmail'][:3]}",
        f"{home}/users/{user['id']}",
        f"{home}/holds",
        f"{home}/holds/{digest}{ANEW}",
        f"{home}/holds/{digest}",
        f"{home}/holds/{digest}?q={user['primaryEmail'][:3]}",
        f"{home}/previews/{preview}",
        f"{home}/mapping",
        f"{home}/scope",
        f"{home}/deprovisioning",
        f"{home}/health",
    ]


def measure() -> list[Seen]:
    """Time every page."""
    with console() as (addresses, look):
        return [look(page) for page in addresses]


def table(seen: list[Seen]) -> str:
    """Return the pages as a Markdown table."""

    def shown(page: str) -> str:
        return re.sub(r"[0-9a-f]{20,}", "...", page.removeprefix(f"/connections/{CONNECTION}") or "/connections/...")

    lines = [
        "| page | our own | CPU of it | Firestore emulator | directory simulator | documents read | size |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in seen:
        spent = (each.own, each.cpu, each.firestore, each.directory)
        cells = [f"`{shown(each.page)}`", *(f"{seconds * 1000:.0f} ms" for seconds in spent)]
        lines.append("| " + " | ".join([*cells, str(each.documents), f"{each.size / 1024:.0f} KiB"]) + " |")
    return "\n".join(lines)


def summary(seen: list[Seen]) -> tuple[str, bool]:
    """Return the figure in a line, and whether it keeps to the limit without reading the roster."""
    from autoprovisioning.adapters.firestore.reports import SEARCHED

    slowest = max(seen, key=lambda each: each.own)
    searches = [each.documents for each in seen if SEARCH.search(each.page)]
    most = max(each.documents for each in seen if not SEARCH.search(each.page))
    cpu = max(each.cpu for each in seen)
    text = (
        f"slowest {slowest.own * 1000:.0f} ms, at most {cpu * 1000:.0f} ms of CPU ({len(seen)} pages, median "
        f"{statistics.median(each.own for each in seen) * 1000:.0f} ms), at most {most} documents read "
        f"(the roster alone has {SHARDS}), by a search of Activity at most {max(searches)}"
    )
    return text, slowest.own <= LIMIT and most < SHARDS and max(searches) < sum(SEARCHED) + SHARDS


def main() -> None:
    """Print the table."""
    seen = measure()
    print(f"{USERS} users on the roster, {EVENTS} events; median of {TIMES}\n\n{table(seen)}\n")
    print(f"{summary(seen)[0]}; limit {LIMIT * 1000:.0f} ms of our own")


if __name__ == "__main__":
    main()
