"""What use cases work with: the ports, the clock and the time limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from autoprovisioning.app.ports.accounts import AccountsFor
from autoprovisioning.app.ports.adoptions import Adoptions, UnprovisionedAccounts
from autoprovisioning.app.ports.audit import Audit
from autoprovisioning.app.ports.claims import Claims
from autoprovisioning.app.ports.connections import Connections
from autoprovisioning.app.ports.directory import Directory
from autoprovisioning.app.ports.due_runs import DueRuns
from autoprovisioning.app.ports.execution import Clock, Executor, Meter, NewId
from autoprovisioning.app.ports.guard import Guard
from autoprovisioning.app.ports.holds import Holds
from autoprovisioning.app.ports.keeper_changes import KeeperChanges
from autoprovisioning.app.ports.leases import Leases
from autoprovisioning.app.ports.listings import ListingSizes
from autoprovisioning.app.ports.people import People
from autoprovisioning.app.ports.queue import Queue
from autoprovisioning.app.ports.requests import PreviewLines, Requests
from autoprovisioning.app.ports.roster import Roster
from autoprovisioning.app.ports.runs import Runs
from autoprovisioning.app.ports.set_ups import SetUps
from autoprovisioning.app.ports.sources import Sources
from autoprovisioning.app.ports.sweeps import Sweeps
from autoprovisioning.app.ports.teams import Teams
from autoprovisioning.app.ports.tokens import Tokens
from autoprovisioning.domain.causes import Origin
from autoprovisioning.domain.events import Actor, Stamp
from autoprovisioning.domain.full_runs import SCHEDULED
from autoprovisioning.domain.recognition import Recognized


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Time limits: work deadline < function timeout < mark lease, and push ack deadline > function timeout."""

    user_deadline: timedelta = timedelta(seconds=60)
    user_mark: timedelta = timedelta(seconds=90)
    batch_deadline: timedelta = timedelta(seconds=480)
    batch_mark: timedelta = timedelta(seconds=660)
    reconcile_deadline: timedelta = timedelta(minutes=25)
    reconcile_limit: timedelta = timedelta(minutes=30)  # no planner lives longer: Cloud Scheduler's longest attempt
    reconcile_lease: timedelta = timedelta(minutes=2)  # prolonged while the planner lives
    contradiction: timedelta = timedelta(seconds=60)  # how far an event may be ahead of the directory's answers


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSources:
    """Which sources of changes a deployment has, and how often its sweep finds what they lost."""

    audit_log: bool = False  # a log sink publishes Workspace's audit log
    notifications: bool = True  # the directory may notify the public webhook
    sweep_every: timedelta = timedelta(minutes=5)
    full_run_every: timedelta = SCHEDULED

    @property
    def full_runs_may_wait(self) -> bool:
        """Say whether full runs are made more seldom than they are scheduled, as long as entries arrive."""
        return self.audit_log and self.full_run_every > SCHEDULED


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The outside world, as ports; `recognized` outlives a run."""

    clock: Clock
    new_id: NewId
    directory: Directory
    connections: Connections
    set_ups: SetUps
    roster: Roster
    runs: Runs
    requests: Requests
    preview_lines: PreviewLines
    holds: Holds
    guard: Guard
    claims: Claims
    sweeps: Sweeps
    audit: Audit
    leases: Leases
    sources: Sources
    due_runs: DueRuns
    listings: ListingSizes
    adoptions: Adoptions
    unprovisioned: UnprovisionedAccounts
    keeper_changes: KeeperChanges
    teams: Teams
    people: People
    tokens: Tokens
    queue: Queue
    accounts_for: AccountsFor
    meter: Meter
    executor: Executor
    reads_at_once: int = 8  # requests of one listing of the directory
    timings: Timings = field(default_factory=Timings)
    through: ChangeSources = field(default_factory=ChangeSources)
    recognized: Recognized = field(default_factory=Recognized)

    def stamp(self, by: Actor, origin: Origin | None = None) -> Stamp:
        """Return the beginning of a new line of the audit: now, by whom, and what made us look."""
        return Stamp(id=self.new_id(), at=self.clock(), by=by, origin=origin)
