"""`make sync`: trigger a full run, wait until its last batch is recorded, print one JSON line on stdout.

Exit status: 0, 1 something failed or is not done, 2 something is held, 3 the connection is paused. Stderr has
the details: notes, who failed and why, how many leavers keep their access, and the progress while it waits.
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
from datetime import timedelta
from typing import Any

from infra.local.cloud import ROOT, STATE, load_state

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
TOLD_EVERY = 5.0  # seconds between two lines of progress
NAMED = 10  # users who fail are named at most; the others are only counted
STUCK_AFTER = timedelta(minutes=35)  # longer than a planner lives, or a batch without a recorded outcome
SEE_LOGS = f"The functions' logs are in {STATE / 'logs'}; restart the local cloud, or run `make sync` again."


def call(url: str, body: dict[str, Any], timeout: float = 1800) -> dict[str, Any]:
    """POST JSON and return the answer's; problem details come back as {"status", "detail"}."""
    request = urllib.request.Request(  # noqa: S310 - loopback
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
            answer: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        answer = json.loads(text) if text.startswith("{") else {"status": error.code, "detail": text}
    except OSError as error:
        raise SystemExit(f"{url} does not answer ({error}). Is the local cloud still running?") from None
    return answer


def on_stderr(line: str) -> None:
    """Tell the user on stderr; stdout is only for the JSON line."""
    print(line, file=sys.stderr)


def synchronize(reconcile_url: str, kind: str, tell: Callable[[str], None] = on_stderr) -> dict[str, Any]:
    """Run and wait; returns the summary, `_paused` and `_undone` included; `tell` gets what else is worth saying.

    `_undone` says that a run did not end as done, that a listing was not whole, that a chosen organizational unit is
    gone, or that users fail.
    """
    sys.path.insert(0, str(ROOT / "functions"))
    from autoprovisioning.bootstrap import process_services, reports

    services = process_services()
    started, runs = _fresh_runs(services, reconcile_url, kind, tell)
    seconds = max([run.finished.timestamp() - started for run in runs if run.finished], default=0.0)
    for run in runs:
        for note in run.notes:
            tell(note)
    connections = services.connections.all()
    for connection in connections:
        if connection.pilot is not None:
            tell(f"{connection.id} is a pilot: it is on for {len(connection.pilot)} chosen people only.")
    if not runs:
        states = ", ".join(f"{connection.id} is {connection.state_word}" for connection in connections)
        tell(f"No connection is on ({states or 'there is none'}): use `make connect`.")
    summary = summarize([run.counts for run in runs], seconds)
    failing = [failure for run in runs for failure in reports().every_failure(run.connection_id)]
    _tell_failures(failing, tell)
    _tell_leavers(runs, failing, tell)
    undone = [run for run in runs if run.state.value != "done" or not run.complete]
    for run in undone:
        what = f"ended as {run.state.value}" if run.state.value != "done" else "lacked complete listings"
        tell(f"The run of {run.connection_id} {what}, so not everything is in step.")
    summary["failed"] = max(summary["failed"], len(failing))  # those whose attempt is not due are no less failing
    gone = any(not unit.listed for connection in connections for unit in connection.settings.scope.org_units)
    pilots = [len(connection.pilot) for connection in connections if connection.pilot is not None]
    if pilots:
        summary["pilot"] = sum(pilots)  # of whom alone the rest tells
    summary["_undone"] = bool(undone or failing or gone)
    summary["_paused"] = any(connection.state.value == "paused" for connection in connections)
    return summary


def _fresh_runs(services: Any, url: str, kind: str, tell: Callable[[str], None]) -> tuple[float, list[Any]]:
    """Start runs until all of them began after they were requested; returns that time, and the finished runs."""
    while True:
        started = time.time()
        answer = call(url, {"kind": kind, "retry_failures": True})
        if "runs" not in answer:
            raise SystemExit(f"The run could not be started: {answer.get('detail', answer)}")
        found = [_finished(services, item["connection"], item["run"], tell) for item in answer["runs"]]
        runs = [run for run in found if run is not None]
        on = any(connection.state.value == "on" for connection in services.connections.all())
        if all(run.started.timestamp() >= started for run in runs) and (runs or not on):
            return started, runs
        tell("An earlier run was still in progress; starting over.")
        time.sleep(POLL)


def _finished(services: Any, connection_id: str, run_id: str, tell: Callable[[str], None]) -> Any:
    """Wait for a run's end, reporting progress; None if the run was deleted with its connection.

    Raises:
        SystemExit: nothing of it was recorded for a long time.
    """
    following = time.monotonic() + TOLD_EVERY
    while True:
        run = services.runs.get(connection_id, run_id)
        if run is None or run.ended:
            return run
        if time.monotonic() >= following:
            tell(progress_of(run))
            following = time.monotonic() + TOLD_EVERY
        if services.clock() - (run.last_progress or run.started) > STUCK_AFTER:
            raise SystemExit(f"The run {run_id} is stuck: its messages may be among the dead letters. {SEE_LOGS}")
        time.sleep(POLL)


def progress_of(run: Any) -> str:
    """Say how far a run is, and which problems it has met so far."""
    if run.state.value == "observing":
        return f"{run.connection_id}: reading the directory and planning"
    done = {name: run.counts[name] for name in OUTCOMES if run.counts.get(name)}
    counted = ", ".join(f"{number} {name}" for name, number in done.items())
    batches = f"{len(run.done)} of {run.batches + sum(run.done.values())} batches done"
    return "; ".join(filter(None, (f"{run.connection_id}: {batches}", counted, *run.notes[-1:])))


def _tell_failures(failing: list[Any], tell: Callable[[str], None]) -> None:
    """Say who fails and why: the first of them, then how many more there are."""
    for failure in failing[:NAMED]:
        again = f"{failure.next_attempt:%Y-%m-%d %H:%M} UTC"
        tell(f"{failure.email or failure.user_id} fails ({failure.code}), retried at {again}: {failure.reason}")
    if len(failing) > NAMED:
        tell(f"... and {len(failing) - NAMED} more: Failures in the console lists all {len(failing)}.")


def _tell_leavers(runs: list[Any], failing: list[Any], tell: Callable[[str], None]) -> None:
    """Say how many leavers keep their access, and why; an unsettled change may have taken it."""
    waiting = sum(run.counts.get("keep_access", 0) for run in runs)
    failed = sum(failure.attempted in ("suspend", "delete") for failure in failing)
    unsettled = sum(min(run.unsettled, _not_taken(run)) for run in runs)
    if waiting or failed:
        what = f"Leavers who keep their access: {waiting + failed}"
        tell(f"{what} (held, or waiting for complete listings: {waiting}; failing: {failed}).")
    if unsettled:
        tell(f"Leavers who may have kept it, since the outcome of their change is unknown: at most {unsettled}.")


def _not_taken(run: Any) -> int:
    """Count the suspensions and deletions that a run planned and did not carry out."""
    planned: int = sum(run.planned.get(name, 0) for name in ("suspend", "delete"))
    done: int = sum(run.counts.get(name, 0) for name in ("suspended", "deleted"))
    return max(0, planned - done)


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


def together(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Add the summary of a run to that of the one before it.

    The first one says who was left unchanged; users who fail or are held are the same in both.
    """
    requests = {**second["scim_requests"]}
    for method, count in first["scim_requests"].items():
        requests[method] = requests.get(method, 0) + count
    flags = {name: first[name] or second[name] for name in ("_undone", "_paused")}
    standing: dict[str, int] = {
        name: max(first[name], second[name]) for name in ("failed", "held", "pilot") if name in first
    }
    kept = {"scim_requests": requests, "unchanged": first["unchanged"], **standing, **flags}
    return {name: kept[name] if name in kept else first[name] + second[name] for name in first}


def main() -> None:
    """Print the line and exit by what happened."""
    parser = argparse.ArgumentParser(description="Synchronize now")
    parser.add_argument("--full", action="store_true", help="list Keeper too, and repair drift")
    asked = parser.parse_args()
    ports, environment = load_state()
    os.environ.update(environment)
    sys.path.insert(0, str(ROOT / "functions"))
    from autoprovisioning.domain.errors import ProvisioningError

    try:
        url = f"http://127.0.0.1:{ports['reconcile']}"
        summary = synchronize(url, "full")
        if asked.full:
            summary = together(summary, synchronize(url, "drift"))
    except ProvisioningError as error:
        sys.exit(str(error))
    undone, paused = summary.pop("_undone"), summary.pop("_paused")
    print(json.dumps(summary), flush=True)
    sys.exit(exit_status(summary, undone=undone, paused=paused))


def exit_status(summary: dict[str, Any], *, undone: bool, paused: bool) -> int:
    """Return what the command exits with: the highest that applies."""
    if paused:
        return 3
    if summary["held"]:
        return 2
    return 1 if summary["failed"] or undone else 0


if __name__ == "__main__":
    main()
