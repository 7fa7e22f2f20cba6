"""The sources of changes: when each was heard last, and whether one is silent while the other speaks.

Both report changes of users, so that each can be held against the other: notifications of the directory, and entries of
Workspace's audit log, which alone report the members of groups. While those arrive, the sweep of members is only a net.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

CALLED = timedelta(minutes=5)  # how often a sweep is scheduled
KEPT = timedelta(hours=48)  # hours are remembered for so long
SPOKEN = 6  # hours in which one source spoke, and the other did not: longer than any delay that Google documents
STALE = timedelta(hours=24)  # without an entry, after which the sweep is made as often as without a log sink
SILENT = timedelta(days=3)  # without an entry, which is longer than a weekend


class Feed(StrEnum):
    """Where changes are heard of. The sweep of members is noted here, too, since it finds what the others lost."""

    AUDIT_LOG = "audit_log"
    NOTIFICATIONS = "notifications"
    SWEEP = "sweep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What was heard of a source: when last, and the hours in which it reported a change of a user."""

    latest: datetime | None = None
    hours: frozenset[datetime] = frozenset()


NOTHING = Heard()
AllHeard = Mapping[Feed, Heard]


def hour_of(at: datetime) -> datetime:
    """Return the hour that a time is in."""
    return at.replace(minute=0, second=0, microsecond=0)


def heard(known: Heard, at: datetime, *, user: bool) -> Heard:
    """Return what is known once something was heard; `user`: it was a change of a user."""
    latest = max(known.latest or at, at)
    hours = known.hours | ({hour_of(at)} if user else set())
    return Heard(latest=latest, hours=frozenset(each for each in hours if each > latest - KEPT))


def silent_beside(silent: Heard, speaking: Heard) -> bool:
    """Say whether one source reported changes of users in many hours since the other was heard last."""
    since = silent.latest
    return sum(since is None or each > since for each in speaking.hours) >= SPOKEN


def arrives(told: AllHeard, now: datetime) -> bool:
    """Say whether entries of the audit log arrive, as far as that can be told."""
    entries = told.get(Feed.AUDIT_LOG, NOTHING)
    if entries.latest is None or abs(now - entries.latest) >= STALE:  # far ahead is the time of a clock that is wrong
        return False
    return not silent_beside(entries, told.get(Feed.NOTIFICATIONS, NOTHING))


def swept_lately(told: AllHeard, now: datetime, every: timedelta) -> bool:
    """Say whether the sweep that is scheduled now may be left out, since one was made and entries arrive since.

    It is called every few minutes: what is due within half of that is made now.
    """
    latest = told.get(Feed.SWEEP, NOTHING).latest
    return latest is not None and abs(now - latest) < every - CALLED / 2 and arrives(told, now)
