"""Close a run once its last batch is recorded, or leave what is left of it to the next one."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from autoprovisioning.app.runs.hold_plan import settle_holds
from autoprovisioning.app.services import Services
from autoprovisioning.domain.runs import UNDER_ALIASES, Run, RunState
from autoprovisioning.domain.words import counted

log = logging.getLogger(__name__)

NOTE_LIMIT = 500  # characters
MOST_NOTES = 50
OUTAGE = "Keeper fails for everybody: "  # how the note for this begins; Health looks for it
LEFT_BY_EDIT = "The connection has been changed: what was planned for its old settings is left to the next run."


def close_if_finished(services: Services, run: Run) -> Run:
    """Close the run if every batch, continuations included, is recorded; return it as it then is."""
    if run.state is not RunState.PLANNED or run.batches_left:
        return run
    now = services.clock()

    def edit(current: Run) -> Run | None:
        if current.state is not RunState.PLANNED or current.batches_left:
            return None
        beside, unsettled = current.counts.get(UNDER_ALIASES, 0), current.unsettled
        notes = (*current.notes, beside_note(beside)) if beside else current.notes
        notes = (*notes, unsettled_note(current)) if unsettled else notes
        return replace(current, state=RunState.UNSETTLED if unsettled else RunState.DONE, finished=now, notes=notes)

    closed = services.runs.change(run.connection_id, run.id, edit)
    if closed is None:
        return run
    tell(closed)
    connection = services.connections.get(run.connection_id)
    if connection is not None:
        settle_holds(services, connection, None)
    return closed


def beside_note(count: int) -> str:
    """Say how many users got a new account beside one that was left alone."""
    return f"New accounts, where Keeper has an account under an alias of the user, too, which is left alone: {count}"


def unsettled_note(run: Run) -> str:
    """Say how much of what a run planned is unsettled, and what becomes of it."""
    planned = counted(sum(run.planned.values()), "planned change")
    return f"Ended with {run.unsettled} of {planned} unsettled: each is retried automatically"


def close_unfinished(services: Services, run: Run, note: str = "") -> None:
    """Close a run whose work is left to the next one: its outstanding batches will be dropped."""
    now = services.clock()

    def edit(current: Run) -> Run | None:
        if current.state not in (RunState.OBSERVING, RunState.PLANNED):
            return None
        notes = (*current.notes, note[:NOTE_LIMIT]) if note else current.notes
        return replace(current, state=RunState.SUPERSEDED, finished=now, notes=notes)

    closed = services.runs.change(run.connection_id, run.id, edit)
    if closed is not None:
        tell(closed)


def add_notes(services: Services, run: Run, notes: Iterable[str], instead_of: str = "") -> None:
    """Add notes to a run's record, each once; they replace those that begin with `instead_of`."""
    added = tuple(note[:NOTE_LIMIT] for note in notes)

    def edit(current: Run) -> Run | None:
        kept = [note for note in current.notes if not instead_of or not note.startswith(instead_of)]
        wanted = tuple(dict.fromkeys((*kept, *added)))[:MOST_NOTES]
        return replace(current, notes=wanted) if wanted != current.notes else None

    if not set(added) <= set(run.notes):
        services.runs.change(run.connection_id, run.id, edit)


def tell(run: Run) -> None:
    """Log how a run ended, in one line: monitoring counts runs and their length from it."""
    assert run.finished is not None  # noqa: S101 - closed by the caller
    fields = {
        "run_outcome": run.state.value,
        "kind": run.kind.value,
        "connection": run.connection_id,
        "run": run.id,
        "run_seconds": round((run.finished - run.started).total_seconds(), 3),
    }
    log.info("Run %s is %s", run.id, run.state.value, extra={"json_fields": fields})
