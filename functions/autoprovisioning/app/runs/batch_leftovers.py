"""What a batch leaves for later: looks by separate messages, another batch for the rest, or its own redelivery."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.app.provisioning.target import fails_for_everybody
from autoprovisioning.app.services import Services
from autoprovisioning.domain.changes import PASSING, Outcome, ended
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Entry, Status
from autoprovisioning.domain.errors import NotSent, Throttled, Transient, Unresolved, Vanished
from autoprovisioning.domain.runs import Batch, Look


@dataclass(slots=True, kw_only=True)
class Leftovers:
    """What is left of one batch so far."""

    services: Services
    batch: Batch
    deadline: datetime
    vanished: list[str] = field(default_factory=list)  # no account was there: looked at again in this batch
    late: set[str] = field(default_factory=set)  # the deadline came first: their part is published as another batch
    looks: dict[str, Look] = field(default_factory=dict)  # overtaken, or not yet clear what is wrong: look again, alone
    unsettled: set[str] = field(default_factory=set)  # those of them whose change was planned and is not settled
    held: int = 0  # whose approval an administrator withdrew
    postponed: Transient | None = None  # Keeper or Firestore failed: this message must be redelivered
    stops: bool = False  # ... and no more of it may be sent now

    def look_again(self, user_ids: Collection[str], *, unsettled: bool = False) -> None:
        """Leave users to looks by separate messages."""
        self.looks |= {user_id: self.look(user_id) for user_id in sorted(user_ids)}
        if unsettled:
            self.unsettled.update(user_ids)

    def look(self, user_id: str) -> Look:
        """Return a look by a separate message: with the evidence of the planned one, where there is one."""
        planned = (replace(look, retry_failures=False) for look in self.batch.looks if look.user_id == user_id)
        return next(planned, Look(user_id=user_id, asked_at=self.services.clock()))

    def publish_looks(self) -> None:
        """Ask for the looks."""
        if self.looks:
            self.services.queue.look_again([*self.looks.values()])
            self.looks = {}

    def flag_pending(self, connection: Connection) -> None:
        """Record for every user of this batch that the connection waits, for a new token or for Keeper."""
        planned = {change.user_id: change for change in self.batch.changes}

        def edit(part: Sequence[str], entries: Mapping[str, Entry]) -> tuple[Edit, None]:
            known = {user_id: planned[user_id].known(entries.get(user_id)) for user_id in part}
            standing = [entry for user_id, entry in known.items() if planned[user_id].stands(entry)]
            waiting = {entry.user_id: replace(entry, pending=True) for entry in standing if not entry.pending}
            return Edit(entries=waiting), None

        self.services.roster.commit_in_parts(connection, planned, edit)

    def stop(self, error: Transient) -> None:
        """Leave the whole rest to a redelivery."""
        self.postponed, self.stops = error, True

    def keep(self, outcome: Outcome) -> None:
        """Keep what was not done: for a continuation (the deadline came), a look (one user) or a redelivery (all)."""
        error, user_id = outcome.error, outcome.change.user_id
        if isinstance(error, Vanished):
            self.vanished.append(user_id)
        elif error is None and outcome.change.leaves is Status.SUSPENDED:
            self.look_again([user_id])  # which gives them access
        elif isinstance(error, NotSent) and self.services.clock() >= self.deadline:
            self.late.add(user_id)
        elif isinstance(error, Throttled):
            self.stop(error)
        elif isinstance(error, (Unresolved, *PASSING)):
            if not ended(outcome, self.services.clock()):
                self.look_again([user_id], unsettled=True)
        elif isinstance(error, Transient) and not fails_for_everybody(error):
            self.postponed = self.postponed or error

    def rest(self) -> list[Batch]:
        """Return the batch that goes on with what was too late, if anything was."""
        if not self.late:
            return []
        changes = tuple(change for change in self.batch.changes if change.user_id in self.late)
        looks = tuple(look for look in self.batch.looks if look.user_id in self.late)
        return [replace(self.batch, number=f"{self.batch.number}+", changes=changes, looks=looks)]
