"""Runs and health in the API: how the work on a connection is going, and "Run now"."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Response

from autoprovisioning.app.administration import health as app
from autoprovisioning.app.administration.ask_for_run import Asked, ask_for_run, look_after_run
from autoprovisioning.app.administration.find_run import existing_run
from autoprovisioning.app.administration.health import health
from autoprovisioning.app.ports.channels import Channel
from autoprovisioning.app.ports.reports import KeeperAnswers
from autoprovisioning.domain import runs as domain
from autoprovisioning.domain.causes import Source
from autoprovisioning.domain.requests import Became
from autoprovisioning.domain.runs import RunKind, RunState
from autoprovisioning.entrypoints.console.api.models import Model, Nothing, Paging
from autoprovisioning.entrypoints.console.api.operations import Answers, Operation, answer
from autoprovisioning.entrypoints.console.api.requests import accepted, polled, shown
from autoprovisioning.entrypoints.console.routing import Call, existing


class Run(Model):
    """One reconciliation: `planned` is what it set out to do, `counts` what became of it so far.

    `people` is for how many it planned something, `people_done` for how many of them it is known what became of it.
    """

    id: str
    kind: RunKind
    state: RunState
    started: datetime
    finished: datetime | None
    last_progress: datetime | None
    batches: int
    batches_done: int
    people: int
    people_done: int
    planned: dict[str, int]
    counts: dict[str, int]
    complete: bool
    seats_exhausted: bool
    notes: list[str]


class Runs(Model):
    """A page of the runs, newest first."""

    items: list[Run]
    cursor: str


class RunRequest(Model):
    """A requested run: what became of it, in a word and in a sentence, and the run once it has begun."""

    id: str
    state: Became
    detail: str
    asked_by: str
    asked_at: datetime
    expires: datetime
    run: Run | None


class Concern(Model):
    """Something that is wrong, and how to fix it."""

    what: str
    mend: str


class Latency(Model):
    """How many changes that a source told of reached Keeper, and the seconds in which half and 95 percent of them did.

    They count from the source's own time: of an event of the audit log Google's, of a notification its arrival, of a
    run when it found the difference. Each is rounded up, by at most a quarter.
    """

    source: Source
    changes: int
    p50: float
    p95: float


class Answered(Model):
    """How Keeper answered: changes, how many failed, and the seconds they took together.

    `unsent` counts those that failed before anything was sent.
    """

    changes: int
    failed: int
    seconds: float
    unsent: int
    latency: list[Latency]


class NotificationChannel(Model):
    """A notification channel of the directory."""

    id: str
    event: str
    expires: datetime | None
    proven: bool


class SourcesOfChanges(Model):
    """Where changes are heard of: what this deployment has, and when entries and notifications came last.

    `last_notification` is noted only if there is a log sink. `sweep_seconds`: how often members of groups are swept;
    `full_run_seconds`: how often everybody is looked at, and `full_runs_often` why that is more often than is set.
    """

    notifications: bool
    audit_log: bool
    last_entry: datetime | None
    last_notification: datetime | None
    sweep_seconds: int
    full_run_seconds: int
    full_runs_often: str


class Health(Model):
    """How the work on a connection is going; without concerns all is well. `archived` users keep their access."""

    at: datetime
    concerns: list[Concern]
    last_success: Run | None
    running: Run | None
    last_run: Run | None
    batches_left: int
    failing: int
    waiting: int
    waiting_since: datetime | None
    oldest_pending: datetime | None
    channels: list[NotificationChannel]
    live_until: datetime | None
    last_hour: Answered
    last_day: Answered
    throttled_until: datetime | None
    archived: int
    sources: SourcesOfChanges


def list_runs(call: Call, query: Paging, connection_id: str) -> Response:
    """List them."""
    page = call.parts.reports.runs(existing(call, connection_id).id, query.cursor, query.limit)
    return answer(Runs(items=[Run(**_run(run)) for run in page.items], cursor=page.cursor))


def read_run(call: Call, connection_id: str, run_id: str) -> Response:
    """Read one."""
    run = existing_run(call.parts.services, existing(call, connection_id), run_id)
    return answer(Run(**_run(run)))


def run_now(call: Call, body: Nothing, key: str, connection_id: str) -> Response:  # noqa: ARG001 - an empty object
    """Ask for a full run."""
    connection = existing(call, connection_id)
    found = ask_for_run(call.parts.services, connection, call.actor, key)
    return accepted(_run_request(found), found.asked, "run-requests")


def read_run_request(call: Call, connection_id: str, request_id: str) -> Response:
    """Report what became of a requested run."""
    found = look_after_run(call.parts.services, existing(call, connection_id), request_id)
    return polled(_run_request(found), under_way=found.became in (Became.WAITING, Became.RUNNING))


def read_health(call: Call, connection_id: str) -> Response:
    """Report how it is going."""
    parts, connection = call.parts, existing(call, connection_id)
    return answer(_health(health(parts.services, parts.reports, parts.channels, connection)))


def _run(run: domain.Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "kind": run.kind,
        "state": run.state,
        "started": run.started,
        "finished": run.finished,
        "last_progress": run.last_progress,
        "batches": run.batches + sum(run.done.values()),
        "batches_done": len(run.done),
        "people": run.to_do,
        "people_done": run.settled,
        "planned": dict(run.planned),
        "counts": dict(run.counts),
        "complete": run.complete,
        "seats_exhausted": run.seats_exhausted,
        "notes": list(run.notes),
    }


def _run_request(found: Asked) -> RunRequest:
    run = Run(**_run(found.run)) if found.run is not None else None
    return shown(RunRequest, found.asked, state=found.became, detail=found.detail, run=run)


def _health(seen: app.Health) -> Health:
    return Health(
        at=seen.at,
        concerns=[Concern(what=concern.what, mend=concern.mend) for concern in seen.concerns],
        last_success=Run(**_run(seen.last_success)) if seen.last_success is not None else None,
        running=Run(**_run(seen.running)) if seen.running is not None else None,
        last_run=Run(**_run(seen.last_run)) if seen.last_run is not None else None,
        batches_left=seen.batches_left,
        failing=seen.failing,
        waiting=seen.waiting.count,
        waiting_since=seen.waiting.oldest,
        oldest_pending=seen.oldest_pending,
        channels=[_channel(channel) for channel in seen.channels],
        live_until=seen.live_until,
        last_hour=_answered(seen.hour),
        last_day=_answered(seen.day),
        throttled_until=seen.throttled_until,
        archived=seen.archived,
        sources=SourcesOfChanges(
            notifications=seen.through.notifications,
            audit_log=seen.through.audit_log,
            last_entry=seen.last_entry,
            last_notification=seen.last_notification,
            sweep_seconds=int(seen.sweep_every.total_seconds()),
            full_run_seconds=int(seen.full_run_every.total_seconds()),
            full_runs_often=seen.full_runs_often,
        ),
    )


def _channel(channel: Channel) -> NotificationChannel:
    return NotificationChannel(id=channel.id, event=channel.event, expires=channel.expires, proven=channel.proven)


def _answered(pace: KeeperAnswers) -> Answered:
    latency = [
        Latency(source=source, changes=found.changes, p50=found.percentile(0.5), p95=found.percentile(0.95))
        for source, found in pace.latencies.items()
    ]
    return Answered(changes=pace.changes, failed=pace.failed, seconds=pace.seconds, unsent=pace.unsent, latency=latency)


_ONE = "/connections/<id:connection_id>"
OPERATIONS = (
    Operation(
        name="listRuns",
        method="GET",
        path=f"{_ONE}/runs",
        what="List the runs",
        act=list_runs,
        answers={200: Answers(what="A page of them, newest first", model=Runs)},
        query=Paging,
    ),
    Operation(
        name="readRun",
        method="GET",
        path=f"{_ONE}/runs/<id:run_id>",
        what="Read a run",
        act=read_run,
        answers={200: Answers(what="The run", model=Run)},
    ),
    Operation(
        name="runNow",
        method="POST",
        path=f"{_ONE}/runs",
        what="Reconcile now instead of at the next scheduled time",
        act=run_now,
        answers={202: Answers(what="A run was requested", model=RunRequest, headers=("Location",))},
        body=Nothing,
        keyed=True,
    ),
    Operation(
        name="readRunRequest",
        method="GET",
        path=f"{_ONE}/run-requests/<id:request_id>",
        what="Report how far a requested run is, and how it ended",
        act=read_run_request,
        answers={200: Answers(what="What became of it", model=RunRequest)},
    ),
    Operation(
        name="health",
        method="GET",
        path=f"{_ONE}/health",
        what="Report how the work on a connection is going",
        act=read_health,
        answers={200: Answers(what="Its health", model=Health)},
    ),
)
