"""Runs that were asked for and are to be made now or later.

Pub/Sub delivers at once and may deliver again, so their times are stored: a call every minute asks for those that are
due, and one that was made is struck off, with all that were due when it began. Later times are rounded up to a grid,
and of those that are due one is kept: thousands of changes ask for few runs, and what is stored stays small.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .runs import RunKind

# A sweep lists the scope groups' members; a full run lists everybody.
GRID = {RunKind.SWEEP: timedelta(minutes=1), RunKind.FULL: timedelta(minutes=5)}
FARTHEST = timedelta(minutes=20)  # nothing is asked for later than that
START = datetime.fromtimestamp(0, UTC)
SKEW = timedelta(seconds=5)  # by which another function's clock may be ahead of ours
KEPT = timedelta(minutes=20)  # after which one that nobody made is given up: a scheduled run has found it by then


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRun:
    """A kind of run, and when it is due."""

    kind: RunKind
    at: datetime


DueRunSet = frozenset[DueRun]


def due(kind: RunKind, now: datetime, *later: timedelta) -> DueRunSet:
    """Return runs of a kind, due so much later than now, or a little after that."""
    grid = GRID[kind]
    steps = (-((START - now - min(wait, FARTHEST)) // grid) for wait in later)
    return frozenset(DueRun(kind=kind, at=START + step * grid) for step in steps)


def due_now(kind: RunKind, now: datetime) -> DueRunSet:
    """Return a run that is due at once."""
    return frozenset({DueRun(kind=kind, at=now)})


def ripe(runs: Collection[DueRun], now: datetime) -> frozenset[RunKind]:
    """Return the kinds that are due; a full run does what a sweep does."""
    kinds = frozenset(run.kind for run in runs if now - KEPT < run.at <= now)
    return kinds - {RunKind.SWEEP} if RunKind.FULL in kinds else kinds


def latest(runs: Collection[DueRun], kind: RunKind, now: datetime) -> datetime | None:
    """Return the latest time of those of a kind that are due, by another function's clock; None if none is.

    What is asked for later is later by that clock, too: so all that are struck off up to then were asked for before.
    """
    return max((run.at for run in runs if run.kind is kind and now - KEPT < run.at <= now + SKEW), default=None)


def added(known: Collection[DueRun], more: Collection[DueRun], now: datetime) -> DueRunSet:
    """Return both, of each kind only the latest of those that are due.

    One far in the future was asked for by a clock that was wrong, and is dropped.
    """
    farthest = now + FARTHEST + max(GRID.values())
    runs = frozenset(run for run in (*known, *more) if run.at <= farthest)
    last = {kind: max((run.at for run in runs if run.kind is kind and run.at <= now), default=now) for kind in GRID}
    return frozenset(run for run in runs if run.at >= last[run.kind])


def struck(known: Collection[DueRun], kind: RunKind, until: datetime) -> DueRunSet:
    """Return what is left once a run of a kind was made for all that were due until then."""
    return frozenset(run for run in known if run.kind is not kind or run.at > until)
