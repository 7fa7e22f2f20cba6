"""The volume guard: at most so many suspends, deletes and re-creations in a rolling 24 hours.

A reservation is the same for the same user and action, so reserving it again is free; a plan is admitted whole or
held whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

WINDOW = timedelta(hours=24)
RECREATE = "recreate"

Member = tuple[str, str]  # directory id, action


def reservation(user_id: str, action: str) -> str:
    """Name the reservation of one action on one user (16 characters, so that thousands fit one document)."""
    return hashlib.blake2b(f"{user_id}\x1f{action}".encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class GuardState:
    """Reservations of the last 24 hours: name -> when it was first made."""

    reserved: Mapping[str, datetime] = field(default_factory=dict)
    roster_size: int = 0  # provisioned users at the last full run

    def current(self, now: datetime) -> dict[str, datetime]:
        """Return the reservations that still count."""
        return {name: at for name, at in self.reserved.items() if now - at < WINDOW}


def reserve(state: GuardState, names: Iterable[str], allowed: int, now: datetime) -> GuardState | None:
    """Add the reservations, or return None when that would exceed the limit (then nothing is reserved)."""
    current = state.current(now)
    fresh = {name: now for name in names if name not in current}
    if fresh and len(current) + len(fresh) > allowed:
        return None
    return GuardState({**current, **fresh}, state.roster_size)


class HoldState(StrEnum):
    """What became of a held plan."""

    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Hold:
    """A held plan: who is affected, what tripped, and the digest an administrator approves.

    `honoured` is when a rejected one was last noted to keep somebody back: it is remembered for as long as it does.
    """

    digest: str
    raised_at: datetime
    members: tuple[Member, ...]
    state: HoldState = HoldState.WAITING
    reason: str = ""
    decided_by: str = ""
    decided_at: datetime | None = None
    honoured: datetime | None = None

    def authorises(self, now: datetime) -> bool:
        """Say whether it was approved, at most 24 hours ago."""
        return self.state is HoldState.APPROVED and self.decided_at is not None and now - self.decided_at < WINDOW

    def counts(self) -> dict[str, int]:
        """Count the members by action."""
        counts: dict[str, int] = {}
        for _, action in self.members:
            counts[action] = counts.get(action, 0) + 1
        return counts


def digest_of(members: Iterable[Member]) -> str:
    """Digest the sorted (id, action): what an administrator approves is exactly this set."""
    lines = "\n".join(f"{user_id} {action}" for user_id, action in sorted(members))
    return hashlib.sha256(lines.encode()).hexdigest()[:32]
