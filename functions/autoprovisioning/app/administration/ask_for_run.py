"""Reconcile now: an administrator requests a run, and can follow it to its end.

The request is stored and published; the run that `reconcile` opens because of it carries its id. Its outcome is derived
when somebody looks: a message may be lost or come twice, and a planner may be cut short, so no process can be relied on
to record it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from autoprovisioning.app.administration.requests import ask, existing
from autoprovisioning.app.provisioning.target import end_wait
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.errors import WrongState
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.requests import RUN, AskedRun, Became
from autoprovisioning.domain.runs import Run, RunKind, RunState
from autoprovisioning.domain.words import BECAME, SHOWN

STALLED = timedelta(hours=1)  # longer than planning, and than the pauses between two parts of a run


ENDED = {
    RunState.DONE: Became.DONE,
    RunState.UNSETTLED: Became.UNSETTLED,
    RunState.REFUSED: Became.REFUSED,
    RunState.SUPERSEDED: Became.SUPERSEDED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How far a requested run is; `detail` says it in a sentence."""

    asked: AskedRun
    became: Became
    detail: str
    run: Run | None = None


def ask_for_run(services: Services, connection: Connection, actor: Actor, key: str = "") -> Asked:
    """Ask `reconcile` for a full run, and end a wait that Keeper asked the connection for.

    Raises:
        WrongState: the connection is not on.
        Transient: it could not be stored or published.
    """
    if connection.state is not State.ON:
        raise WrongState(f"Nothing runs, since the connection is not on ({SHOWN[connection.state]}).")

    def publish(request: AskedRun) -> None:
        end_wait(services, connection.id, actor, "Requested a run")
        services.queue.request_work(request)

    # A run that has begun may have missed later changes, and its beginning is not recorded: each request gets a run.
    asked = ask(services, RUN, connection.id, subject=RunKind.FULL, actor=actor, publish=publish, own=True, key=key)
    return Asked(asked=asked, became=Became.WAITING, detail=BECAME[Became.WAITING])


def look_after_run(services: Services, connection: Connection, request_id: str) -> Asked:
    """Return the outcome of a request. An outcome once returned stays: the first run opened for it is its answer.

    Raises:
        NotFound: nobody asked for that on this connection, or more than a day ago.
    """
    now = services.clock()
    asked = existing(services, RUN, connection.id, request_id)
    run = services.runs.asked_for(connection.id, request_id)
    if run is None:
        return _not_begun(services, connection, asked, now)
    became = ENDED.get(run.state, Became.RUNNING)
    if became is Became.RUNNING and now - (run.last_progress or run.started) >= STALLED:
        detail = "It started, but has made no progress for an hour. The next run closes it and does the rest."
        return Asked(asked=asked, became=Became.GIVEN_UP, detail=detail, run=run)
    return Asked(asked=asked, became=became, detail=BECAME[became], run=run)


def _not_begun(services: Services, connection: Connection, asked: AskedRun, now: datetime) -> Asked:
    if connection.state is not State.ON:
        detail = f"It was not started, since the connection is no longer on ({SHOWN[connection.state]})."
        return Asked(asked=asked, became=Became.GIVEN_UP, detail=detail)
    # At its last delivery, a request may still need the whole time of a planner before its run is opened.
    if now - asked.asked_at >= RUN.patience + services.timings.reconcile_limit:
        return Asked(
            asked=asked, became=Became.GIVEN_UP, detail="It was not started in time. The next scheduled run takes over."
        )
    return Asked(asked=asked, became=Became.WAITING, detail=BECAME[Became.WAITING])
