"""Follow the changes that Workspace's audit log reports: ask to look at a user again, or for a run that finds more.

The second source of changes beside the notifications of `receive`, and the only one that reports the members of
groups. What an entry says only decides where to look: whoever may publish one can cause looks and sweeps, as many as
the limits below allow, and nothing else. A removal is not believed by a look alone (`placement.AskedOneByOne`), so it
asks for a sweep, whose complete listings prove it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property

from autoprovisioning.app.notifications.recent import NEVER, Lineage, Memory
from autoprovisioning.app.ports.connections import Connections
from autoprovisioning.app.ports.directory import Directory
from autoprovisioning.app.ports.due_runs import NO_CAUSES, DueRuns
from autoprovisioning.app.ports.execution import Clock
from autoprovisioning.app.ports.queue import Queue
from autoprovisioning.app.ports.roster import RosterReader
from autoprovisioning.app.ports.teams import TeamsReader
from autoprovisioning.domain.causes import Cause, checked
from autoprovisioning.domain.connections import SERVING, Connection
from autoprovisioning.domain.due_runs import DueRun, DueRunSet, due, due_now, ripe
from autoprovisioning.domain.errors import ConfigurationRefused, Incomplete, Transient
from autoprovisioning.domain.runs import Look, RunKind
from autoprovisioning.domain.scope import Group
from autoprovisioning.domain.workspace_changes import (
    Change,
    LogEntry,
    ManyChanged,
    MemberChanged,
    MemberType,
    UserChanged,
    changes_of,
)

SOON = timedelta(minutes=1)
# Until a group's members appear as members of the groups above it, up to ten minutes may pass (Directory API, limits).
LAG_ABOVE = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=12))
MOST_ABOVE = 50  # groups that are asked for the groups above them
WAITED_FOR = ("add", "undelete", "delete")  # events that the directory's answers may lag behind
BEHIND = timedelta(seconds=2)  # by which a look's reading of the directory may be older than the request for it
COST = 4  # directory requests, of a look; a sweep that is asked for counts as one


class Followed(StrEnum):
    """What became of a change, as it is counted."""

    LOOK = "look"
    RUN = "run"  # a sweep or a full run was asked for
    REPEATED = "repeated"  # what was asked for after the change finds it
    MANY = "many"  # too many within a minute: left to a run that was asked for
    OUTSIDE = "outside"  # no connection is concerned
    STRANGER = "stranger"  # the directory knows no such user
    OTHER = "other"  # the entry reports nothing that matters here


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """What following changes needs. `lag`: how long the directory's answers may contradict what was reported."""

    directory: Directory
    connections: Connections
    roster: RosterReader
    teams: TeamsReader
    queue: Queue
    due_runs: DueRuns
    clock: Clock
    lag: timedelta
    memory: Memory = field(default_factory=Memory)


def follow(follower: Follower, entry: LogEntry, published: datetime) -> Sequence[Followed]:
    """Ask for what an entry's changes need; returns what became of each.

    Raises:
        Transient: something could not be read or published; deliver the entry again.
        ConfigurationRefused: the set-up does not work.
    """
    now = follower.clock()
    at = min(entry.at or published, now)
    changes = changes_of(entry)
    if not changes:
        return [Followed.OTHER]
    following = _Following(follower, entry, at=at, young=now < published + follower.lag)
    return [following.outcome(change) for change in changes]


def ask_for_due_runs(follower: Follower) -> frozenset[RunKind]:
    """Request the runs that are due; to be called every minute. Returns their kinds.

    A sweep is struck off by whoever made it, a full run here: its request is delivered until it was made.
    """
    now = follower.clock()
    kinds = ripe(follower.due_runs.all(), now)
    for kind in sorted(kinds):
        follower.queue.request_run(kind)
    if RunKind.FULL in kinds:
        follower.due_runs.strike(RunKind.FULL, now)
    return kinds


class _Following:
    """One entry being followed."""

    def __init__(self, follower: Follower, entry: LogEntry, *, at: datetime, young: bool) -> None:
        self._follower = follower
        self._memory = follower.memory
        self._entry = entry
        self._at = at
        self._young = young

    def outcome(self, change: Change) -> Followed:
        """Ask for what one change needs."""
        concerned = self._serving if self._finds(change) is RunKind.FULL else self._scoped | self._teamed
        if not concerned:
            return Followed.OUTSIDE
        if isinstance(change, ManyChanged):
            return self._later(change.finds, SOON)
        if self._memory.exhausted(self._now):
            self._later(self._finds(change), SOON)
            return Followed.MANY
        return self._member(change) if isinstance(change, MemberChanged) else self._user(change)

    @staticmethod
    def _finds(change: Change) -> RunKind:
        """Return the kind of run that finds a change."""
        match change:
            case ManyChanged():
                return change.finds
            case MemberChanged():
                return RunKind.SWEEP
            case UserChanged():
                return RunKind.FULL

    @property
    def _now(self) -> datetime:
        return self._follower.clock()

    @cached_property
    def _serving(self) -> Sequence[Connection]:
        """The connections that have a roster; what happens before the first run is the first run's business."""
        return [each for each in self._follower.connections.all() if each.state in SERVING and each.begun]

    @cached_property
    def _scoped(self) -> frozenset[str]:
        """The ids of their scope groups."""
        return frozenset(group.id for each in self._serving for group in each.settings.scope.groups)

    @cached_property
    def _teamed(self) -> frozenset[str]:
        """The ids of the groups that are teams on them."""
        choosing = (each.id for each in self._serving if each.settings.teams.on)
        teams = (team for each in choosing for team in self._follower.teams.get(each).values())
        return frozenset(team.group_id for team in teams if team.serves)

    def _member(self, change: MemberChanged) -> Followed:
        try:
            lineage = self._lineage(change.group)
        except Incomplete:  # nobody knows which groups it is in
            return self._later(RunKind.SWEEP, SOON)
        concerned = lineage.whole & (self._scoped | self._teamed) if lineage is not None else frozenset()
        if lineage is None or not concerned:
            return Followed.OUTSIDE
        nested = concerned != {lineage.id}
        user_id = "" if change.type is MemberType.GROUP else self._user_id(change.member)
        if not user_id and self._is_group(change):
            self._memory.lineages.forget()
            return self._later(RunKind.SWEEP, *LAG_ABOVE)
        if not user_id:
            return Followed.STRANGER
        if not concerned & self._scoped and not self._on_a_roster(user_id):
            return Followed.OUTSIDE  # whoever gets an account later is put into its teams then
        if nested:
            self._later(RunKind.SWEEP, *LAG_ABOVE, causes=self._news(user_id, change))
        teams = tuple(sorted(concerned & self._teamed))
        if change.removed and concerned & self._scoped:
            swept = self._sweep(user_id, change)
            if not teams:
                return swept
        return self._look(user_id, "", change, teams)

    def _is_group(self, change: MemberChanged) -> bool:
        if change.type is not MemberType.UNTOLD:
            return change.type is MemberType.GROUP
        return self._group(change.member) is not None

    def _group(self, address: str) -> Group | None:
        """Find a group; what is none is remembered, too."""
        if self._memory.no_groups.get(address, self._now):
            return None
        self._memory.spend(self._now)
        group = self._follower.directory.group(address)
        if group is None:
            self._memory.spend(self._now)  # for the query that follows upon groups.get
            self._memory.no_groups.put(address, True, self._now)
        return group

    def _lineage(self, address: str) -> Lineage | None:
        """Return a group and those above it; None if the directory knows no such group.

        Where only scopes are by group, one of a scope is enough; each team wants to be known.

        Raises:
            Incomplete: those above it could not be listed.
        """
        known = self._memory.lineages.get(address, self._now)
        if known is not None:
            return known
        group = self._group(address)
        if group is None:
            return None
        lineage = Lineage(id=group.id, above=self._above(group.id, address))
        self._memory.lineages.put(address, lineage, self._now)
        return lineage

    def _above(self, group_id: str, address: str) -> frozenset[str]:
        above: set[str] = set()
        enough = frozenset() if self._teamed else self._scoped
        todo = [] if group_id in enough else [address]
        asked = 0
        while todo and asked < MOST_ABOVE and not above & enough:
            asked += 1
            self._memory.spend(self._now)
            try:
                listed = self._follower.directory.groups_of(todo.pop())
            except ConfigurationRefused:
                if not above:
                    raise
                continue  # another organization's group, about which the directory tells us nothing
            found = {group.id: group.email for group in listed if group.id not in above | {group_id}}
            above |= found.keys()
            todo += sorted(filter(None, found.values()))
        return frozenset(above)

    def _user(self, change: UserChanged) -> Followed:
        try:
            user_ids = self._user_ids(change)
        except Incomplete:  # the deleted users cannot be listed: a full run compares everybody
            return self._later(RunKind.FULL, SOON)
        if not user_ids:
            if self._young and change.event in WAITED_FOR:
                raise Transient("The directory does not yet show what was reported of a user", retry_after=5)
            return Followed.STRANGER
        concerned = [user_id for user_id in user_ids if change.may_enter or self._on_a_roster(user_id)]
        outcomes = [self._look(user_id, change.event, change) for user_id in concerned]
        return outcomes[0] if outcomes else Followed.OUTSIDE

    def _user_ids(self, change: UserChanged) -> Sequence[str]:
        """Return who is meant: an address may be a deleted user's and another's by now."""
        changed = change.event in WAITED_FOR or len(change.addresses) > 1
        found = (self._user_id(address, anew=changed) for address in change.addresses)
        living = next(filter(None, found), "")
        gone = self._deleted(change.addresses[0]) if change.event == "delete" else ()
        return [user_id for user_id in (living, *gone) if user_id]

    def _user_id(self, address: str, *, anew: bool = False) -> str:
        """Return whose address it is, "" for nobody's."""
        known = None if anew else self._memory.users.get(address, self._now)
        if known is not None:
            return known
        self._memory.spend(self._now)
        user = self._follower.directory.by_address(address)
        if user is None:
            return ""
        if not user.id:
            self._memory.spend(self._now)  # for the probe that follows upon a refused users.get
            return ""
        self._memory.users.put(address, user.id, self._now)
        return user.id

    def _deleted(self, address: str) -> Sequence[str]:
        """Return which of the users deleted lately had an address; they are listed once for many of them."""
        known = self._memory.deleted.get(address, self._now)
        if known is not None:
            return known
        found: dict[str, tuple[str, ...]] = {}
        for page in self._follower.directory.deleted_users():
            self._memory.spend(self._now)
            for user in page:
                had = user.primary_email.casefold()
                found[had] = (*found.get(had, ()), user.id)
        for had, user_ids in found.items():
            self._memory.deleted.put(had, user_ids, self._now)
        return found.get(address, ())

    def _on_a_roster(self, user_id: str) -> bool:
        return any(self._follower.roster.entry(each, user_id) is not None for each in self._serving)

    def _cause(self, change: UserChanged | MemberChanged) -> Cause | None:
        """Return what was reported, with who did it, to be shown beside what comes of it; None without a time."""
        if self._entry.at is None:
            return None
        group = change.group if isinstance(change, MemberChanged) else ""
        return checked(Cause(at=self._at, event=change.name, actor=self._entry.actor, group=group))

    def _look(
        self, user_id: str, event: str, change: UserChanged | MemberChanged, groups: tuple[str, ...] = ()
    ) -> Followed:
        """Ask to look at a user, unless this was told before, or a look that sees it was asked for since.

        `groups` are those whose teams the user may have joined or left.
        """
        now, cause = self._now, self._cause(change)
        key = (user_id, event if event in WAITED_FOR else "", groups)
        what = (user_id, change.name, change.group if isinstance(change, MemberChanged) else "")
        asked = self._memory.asked.get(key, now)
        if asked is not None and (asked - BEHIND >= self._at or self._told_before(what)):
            return Followed.REPEATED
        self._follower.queue.look_again([Look(user_id=user_id, event=event, asked_at=now, cause=cause, groups=groups)])
        self._memory.asked.put(key, now, now)
        self._memory.asked.put((*key[:2], ()), now, now)
        self._memory.reported.put(what, (self._at, self._entry.service), now)
        self._memory.spend(now, COST + len(groups))
        return Followed.LOOK

    def _told_before(self, what: tuple[str, str, str]) -> bool:
        """Say whether this report came before: the same delivered again, or its other shape, by another service."""
        at, service = self._memory.reported.get(what, self._now) or (NEVER, "")
        return self._at == at or (self._entry.service != service and abs(self._at - at) <= BEHIND)

    def _news(self, user_id: str, change: MemberChanged) -> Mapping[str, Cause]:
        """Return the cause that a sweep is to find, unless it is stored; of a storm not every one is."""
        now, cause = self._now, self._cause(change)
        known = self._memory.noted.get(user_id, now)
        if cause is None or (known is not None and known >= cause.at) or not self._memory.may_note(now):
            return NO_CAUSES
        return {user_id: cause}

    def _store(self, runs: Collection[DueRun], now: datetime, causes: Mapping[str, Cause]) -> None:
        self._follower.due_runs.add(runs, now, causes)
        for user_id, cause in causes.items():
            self._memory.noted.put(user_id, cause.at, now)

    def _sweep(self, user_id: str, change: MemberChanged) -> Followed:
        """Ask for a sweep now, unless one was asked for since the change, and for another one in a minute.

        The second one finds a user whose account was being created when they were removed.
        """
        now, causes = self._now, self._news(user_id, change)
        if self._memory.requested >= self._at:
            if causes:
                self._store((), now, causes)
            return Followed.REPEATED
        self._store(due_now(RunKind.SWEEP, now) | due(RunKind.SWEEP, now, SOON), now, causes)
        self._follower.queue.request_run(RunKind.SWEEP)
        self._memory.requested = now
        self._memory.spend(now, COST)
        return Followed.RUN

    def _later(self, kind: RunKind, *waits: timedelta, causes: Mapping[str, Cause] = NO_CAUSES) -> Followed:
        """Store runs that are due later, unless they are stored, and whom they may find."""
        now = self._now
        runs: DueRunSet = due(kind, now, *waits)
        if causes or not runs <= self._memory.due:
            self._store(runs, now, causes)
            self._memory.due = frozenset(run for run in self._memory.due | runs if run.at > now)
        return Followed.RUN
