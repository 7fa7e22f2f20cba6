"""How often a full run looks at everybody: as seldom as is set while the audit log tells of changes.

It is scheduled every 15 minutes, and made each time where nothing else would find what it finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from .connections import Connection
from .runs import Run, RunKind, RunState
from .sources import CALLED, NOTHING, AllHeard, Feed, arrives

SCHEDULED = timedelta(minutes=15)


def last_full(runs: Sequence[Run]) -> Run | None:
    """Return the last full run; `runs` are the latest of a connection, newest first."""
    return next((run for run in runs if run.kind is RunKind.FULL), None)


def why_often(
    connection: Connection,
    runs: Sequence[Run],
    told: AllHeard,
    now: datetime,
    *,
    sweep_every: timedelta,
    held: bool,
    spent: bool,
) -> str:
    """Say why full runs of a connection are made each time that one is scheduled; "" where they need not be.

    `runs` are its latest runs, newest first; `held`: a plan of it waits for a decision, or is being carried out;
    `spent`: a limit lets no more changes go, and what it holds back waits for a plan, which only a full run raises.
    """
    full = last_full(runs)
    if not arrives(told, now):
        return "no entry of the audit log arrives"
    if full is None or full.edition != connection.edition:
        return "none was made since the connection was set up or changed"
    if runs[0].state is not RunState.DONE:
        return "the last run is not done"
    if not full.complete:
        return "the last one could not read everything, or found a listing empty"
    if connection.settings.scope.groups and not _swept(told, now, sweep_every):
        return "the members of the scope groups could not be listed lately"
    if held:
        return "a plan is held, or approved and not carried out yet"
    return "as much was changed within 24 hours as a limit allows" if spent else ""


def _swept(told: AllHeard, now: datetime, every: timedelta) -> bool:
    """Say whether members were listed to their end as often as is set; some calls may be late, or meet another."""
    latest = told.get(Feed.SWEEP, NOTHING).latest
    return latest is not None and abs(now - latest) < every + 3 * CALLED


def full_run_due(runs: Sequence[Run], every: timedelta, now: datetime) -> bool:
    """Say whether the full run that is scheduled now is due by what is set; `runs` as above.

    What falls due within half of the time between two calls is made now.
    """
    full = last_full(runs)
    return full is None or abs(now - full.started) >= every - SCHEDULED / 2
