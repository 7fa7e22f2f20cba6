"""What one process remembers for minutes, so that many reports of the same thing cost few requests.

It is shared by the threads of an instance and lost with it: everything works without it, at a higher price.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from autoprovisioning.domain.due_runs import DueRunSet

K = TypeVar("K")
V = TypeVar("V")

NEVER = datetime.fromtimestamp(0, UTC)
KEPT = timedelta(minutes=5)
UNKNOWN_KEPT = timedelta(minutes=1)  # the directory may not know yet what was just made or renamed
MOST = 20_000  # entries; then it starts over
# Of the 2,400 that all functions share (Directory API, quotas): enough for five changes a second, and room for runs.
DIRECTORY_REQUESTS_A_MINUTE = 1_600
NOTES_A_MINUTE = 120


class Recent(Generic[K, V]):
    """Values by key, each believed for a while."""

    def __init__(self, kept: timedelta = KEPT, most: int = MOST) -> None:
        self._kept = kept
        self._most = most
        self._values: dict[K, tuple[datetime, V]] = {}

    def get(self, key: K, now: datetime) -> V | None:
        """Return a value that is young enough."""
        at, value = self._values.get(key, (NEVER, None))
        return value if now - at < self._kept else None

    def put(self, key: K, value: V, now: datetime) -> None:
        """Remember one."""
        if len(self._values) >= self._most:
            self._values = {}
        self._values[key] = (now, value)

    def forget(self) -> None:
        """Forget all."""
        self._values = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """A group's id, and the ids of all groups that have it as a member, directly or nested."""

    id: str
    above: frozenset[str]

    @property
    def whole(self) -> frozenset[str]:
        """The group, and all above it."""
        return self.above | {self.id}


@dataclass(slots=True, kw_only=True)
class Memory:
    """All that is remembered of change events.

    `asked` are the times at which looks were asked for, by user, event and groups: a look that was asked for after a
    change sees it. `reported` is when the last change was made, and which service told of it, by user, event and group.
    `requested` is when a sweep was last asked for at once, `due` are the runs that are stored already.
    """

    users: Recent[str, str] = field(default_factory=Recent)  # directory ids by address
    deleted: Recent[str, tuple[str, ...]] = field(default_factory=Recent)  # those of deleted users, by their address
    lineages: Recent[str, Lineage] = field(default_factory=Recent)
    no_groups: Recent[str, bool] = field(default_factory=lambda: Recent(kept=UNKNOWN_KEPT))  # addresses of no group
    asked: Recent[tuple[str, str, tuple[str, ...]], datetime] = field(default_factory=Recent)
    reported: Recent[tuple[str, str, str], tuple[datetime, str]] = field(default_factory=Recent)
    noted: Recent[str, datetime] = field(default_factory=Recent)  # the times of the causes that are stored, by user
    requested: datetime = NEVER
    due: DueRunSet = frozenset()
    _minute: datetime = NEVER
    _spent: int = 0
    _notes: int = 0

    def may_note(self, now: datetime) -> bool:
        """Say whether one more cause may be stored in this minute, and count it: all of them are in one document."""
        self._begin(now)
        self._notes += 1
        return self._notes <= NOTES_A_MINUTE

    def spend(self, now: datetime, requests: int = 1) -> None:
        """Count requests to the directory, ours and those of the looks that we ask for."""
        self._begin(now)
        self._spent += requests

    def exhausted(self, now: datetime) -> bool:
        """Say whether this minute's requests are used up."""
        self._begin(now)
        return self._spent >= DIRECTORY_REQUESTS_A_MINUTE

    def _begin(self, now: datetime) -> None:
        if now - self._minute >= timedelta(minutes=1):
            self._minute, self._spent, self._notes = now, 0, 0
