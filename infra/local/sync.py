"""`make sync`: trigger a full run, wait until its last batch is recorded, print one JSON line on stdout.

Exit status: 0, 1 something failed, 2 something is held, 3 the connection is paused.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from infra.local.cloud import ROOT, load_state

OUTCOMES = (
    "created",
    "updated",
    "suspended",
    "unsuspended",
    "deleted",
    "adopted",
    "failed",
    "held",
    "unchanged",
)
POLL = 0.05
FINISHED = ("done", "superseded", "refused")


def call(url: str, body: dict[str, Any], timeout: float = 1800) -> dict[str, Any]:
    """POST JSON and return the answer's; problem details come back as {"status", "detail"}."""
    request = urllib.request.Request(  # noqa: S310 - loopback
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
            answer: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        answer = json.load(error)
    return answer


def on_stderr(line: str) -> None:
    """Tell the user; stdout is for the JSON line alone."""
    print(line, file=sys.stderr)


def synchronize(reconcile_url: str, kind: str, tell: Callable[[str], None] = on_stderr) -> dict[str, Any]:
    """Run and wait; returns the summary, `paused` included; `tell` is given what a user should know besides."""
    sys.path.insert(0, str(ROOT / "functions"))
    from autoprovisioning.bootstrap import services

    desk = services()
    while True:
        started = time.time()
        answer = call(reconcile_url, {"kind": kind, "retry_failures": True})
        if "runs" not in answer:
            raise SystemExit(f"The run could not be started: {answer.get('detail', answer)}")
        runs = [_finished(desk, item["connection"], item["run"]) for item in answer["runs"]]
        if all(run.started.timestamp() >= started for run in runs):
            break
        tell("An earlier run was still being applied; starting over.")
    seconds = max([run.finished.timestamp() - started for run in runs if run.finished], default=0.0)
    for run in runs:
        for note in run.notes:
            tell(note)
    summary = summarize([run.counts for run in runs], seconds)
    summary["_refused"] = any(run.state.value == "refused" for run in runs)
    summary["_paused"] = any(connection.state.value == "paused" for connection in desk.connections.all())
    return summary


def _finished(desk: Any, connection_id: str, run_id: str) -> Any:
    while True:
        run = desk.records.run(connection_id, run_id)
        if run is not None and run.state.value in FINISHED:
            return run
        time.sleep(POLL)


def summarize(counts: list[Any], seconds: float) -> dict[str, Any]:
    """Add the runs up, in the words of the command's contract."""
    total: dict[str, int] = {}
    for run in counts:
        for name, n in run.items():
            total[name] = total.get(name, 0) + n
    summary: dict[str, Any] = {name: total.get(name, 0) for name in OUTCOMES}
    summary["seconds"] = round(seconds, 3)
    methods = {name.removeprefix("scim_").upper(): n for name, n in total.items() if name.startswith("scim_")}
    summary["scim_requests"] = methods
    for name in ("directory_requests", "firestore_reads", "firestore_writes"):
        summary[name] = total.get(name, 0)
    return summary


def main() -> None:
    """Print the line and exit by what happened."""
    parser = argparse.ArgumentParser(description="Synchronize now")
    parser.add_argument("--full", action="store_true", help="include the drift listing")
    asked = parser.parse_args()
    ports, environment = load_state()
    os.environ.update(environment)
    summary = synchronize(f"http://127.0.0.1:{ports['reconcile']}", "drift" if asked.full else "full")
    refused, paused = summary.pop("_refused"), summary.pop("_paused")
    print(json.dumps(summary), flush=True)
    if paused:
        sys.exit(3)
    if summary["held"]:
        sys.exit(2)
    sys.exit(1 if summary["failed"] or refused else 0)


if __name__ == "__main__":
    main()
