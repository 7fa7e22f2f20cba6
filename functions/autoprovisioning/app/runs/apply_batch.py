"""Apply one batch of a run: mark, write, record in chunks; whose access changes is read alone first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from autoprovisioning.app.ports.roster import Edit, Progress
from autoprovisioning.app.provisioning.carry_out import carry_out
from autoprovisioning.app.provisioning.converge import converge
from autoprovisioning.app.provisioning.marked_changes import Intent, MarkedChanges
from autoprovisioning.app.provisioning.read_user import Asked, RunOf
from autoprovisioning.app.provisioning.target import Keeper, fails_for_everybody, may_be_outage
from autoprovisioning.app.provisioning.volume_guard import taken_back
from autoprovisioning.app.runs.batch_leftovers import Leftovers
from autoprovisioning.app.runs.close_run import LEFT_BY_EDIT, OUTAGE, add_notes, close_if_finished, close_unfinished
from autoprovisioning.app.runs.take_access import leavers
from autoprovisioning.app.services import Services
from autoprovisioning.app.unforeseen import known_or_unforeseen
from autoprovisioning.domain.causes import Origin, Source
from autoprovisioning.domain.changes import Change, Outcome, PlannedChange, ended
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.decision import settled
from autoprovisioning.domain.entry import Action, live_mark
from autoprovisioning.domain.errors import (
    EarlierDelivery,
    SeatsExhausted,
    Throttled,
    Transient,
)
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.runs import UNSETTLED, Batch, Look, Run, RunState

log = logging.getLogger(__name__)

CHUNK = 500  # changes: the connection's and the run's state are read again before each
FLUSH_AFTER = 250  # outcomes
FLUSH_EVERY = timedelta(seconds=2)
LOOKS_AT_ONCE = 8
LOOKS_TOGETHER = 50  # users who are read, marked and written together: the first of them waits for the last to be read
OUTAGE_PAUSE = 30.0  # seconds, at least, before a batch that met an outage comes again
FEW = 5  # failures of one batch that may each be about one user: up to so many are examined one by one
SEATS = "The number of licensed Keeper seats was exceeded earlier in this run. Buy seats, or free some."


def apply_batch(services: Services, batch: Batch, message_id: str, published: datetime, deadline: datetime) -> None:
    """Apply a batch. One whose run is closed or taken over is dropped: the next run does its work.

    Raises:
        Transient: deliver the batch again; what was recorded is not repeated.
    """
    application = _Application(services, batch, message_id, published, deadline)
    try:
        application.run()
    finally:
        application.left.publish_looks()  # their requests were acknowledged long ago


class _Application:
    def __init__(
        self, services: Services, batch: Batch, message_id: str, published: datetime, deadline: datetime
    ) -> None:
        self._services = services
        self._batch = batch
        self._message_id = message_id
        self._published = published
        self._deadline = deadline
        self.left = Leftovers(services=services, batch=batch, deadline=deadline)

    def run(self) -> None:
        changes = self._batch.changes
        for start in range(0, len(changes), CHUNK):
            if self._services.clock() >= self._deadline:
                self.left.late.update(change.user_id for change in changes[start:])
                break
            opened = self._open()
            if opened is None:
                return
            self._chunk(*opened, changes[start : start + CHUNK])
            if self.left.stops:
                self.left.flag_pending(opened[0])
                break  # anything else concerns one account, and must not hold up the others
        self._looks()
        if self.left.postponed is not None:
            raise self.left.postponed
        self._finish()

    def _open(self) -> tuple[Connection, Run] | None:
        """Read the connection's and the run's state; None if this batch has nothing left to do."""
        connection = self._services.connections.get(self._batch.connection_id)
        run = self._services.runs.get(self._batch.connection_id, self._batch.run_id)
        if connection is None or run is None or run.state is not RunState.PLANNED:
            return None
        if self._batch.number in run.done:
            close_if_finished(self._services, run)  # unless a worker did that died before it could
            return None
        if connection.state is State.PAUSED:
            self.left.flag_pending(connection)
        if connection.state is not State.ON or connection.edition != run.edition:
            close_unfinished(self._services, run, LEFT_BY_EDIT if connection.state is State.ON else "")
            return None
        return connection, run

    def _chunk(self, connection: Connection, run: Run, planned: Sequence[PlannedChange]) -> None:
        back = taken_back(self._services, connection, planned)
        self.left.held += len(back)
        standing = [change for change in planned if change.user_id not in back]
        self._under_marks(connection, run, lambda marked: self._mark(marked, standing), self._deadline)

    def _under_marks(
        self, connection: Connection, run: Run, mark: Callable[[MarkedChanges], list[Change]], deadline: datetime
    ) -> list[Change]:
        """Mark, send until the deadline, and record; returns the changes that were marked."""
        marked = MarkedChanges(
            self._services,
            connection,
            message_id=self._message_id,
            by=Actor(address=f"run {self._batch.run_id}"),
            run_id=self._batch.run_id,
            origin=Origin(source=Source.RUN, since=self._published),
        )
        changes = mark(marked)
        if self._open() is None:  # turned off, edited or deleted since, by somebody who could not see our marks
            self.left.look_again(marked.unmark(changes))
        else:
            self._carry_out(connection, run, marked, changes, deadline)
        return changes

    def _carry_out(
        self, connection: Connection, run: Run, marked: MarkedChanges, changes: list[Change], deadline: datetime
    ) -> None:
        """Send the changes, and record their outcomes meanwhile, one commit at a time."""
        if run.seats_exhausted:
            refused = [change for change in changes if change.action is Action.CREATE]
            changes = [change for change in changes if change.action is not Action.CREATE]
            self._flush(marked, [Outcome(change=change, error=SeatsExhausted(SEATS)) for change in refused])
        keeper = Keeper(self._services, connection)
        waiting: list[Outcome] = []
        doubtful: list[Outcome] = []
        answered = False
        since = self._services.clock()
        with ExitStack() as recording:

            def record(outcomes: Sequence[Outcome]) -> None:
                recording.close()  # once those before are recorded, whose error this raises
                recording.callback(self._services.executor.start(partial(self._flush, marked, outcomes)))

            for outcome in carry_out(self._services, keeper, changes, deadline):
                if may_be_outage(outcome.error):
                    doubtful.append(outcome)
                    continue
                waiting.append(outcome)
                now = self._services.clock()
                answered |= ended(outcome, now)
                if len(waiting) >= FLUSH_AFTER or now - since >= FLUSH_EVERY:
                    record(waiting)
                    waiting, since = [], now
            record([*waiting, *self._judged(run, keeper, doubtful, answered=answered)])
        add_notes(self._services, run, keeper.remarks())

    def _judged(self, run: Run, keeper: Keeper, doubtful: Sequence[Outcome], *, answered: bool) -> Sequence[Outcome]:
        """Distinguish failures of some users, who are looked at individually, from an outage, which stops the batch."""
        error = doubtful[0].error if doubtful else None
        if not isinstance(error, Transient):
            return []
        outage = not answered and fails_for_everybody(keeper.judged(error, self._deadline))
        untold = [outcome.change.user_id for outcome in doubtful if fails_for_everybody(outcome.error)]
        if answered or (not outage and len(untold) <= FEW):
            self.left.look_again(untold, unsettled=True)
            return doubtful
        again = max(OUTAGE_PAUSE, error.retry_after or 0)
        self.left.stop(Transient(f"{OUTAGE}{error}", retry_after=again))
        add_notes(self._services, run, [f"{OUTAGE}{error}"], instead_of=OUTAGE)
        return [replace(outcome, error=Transient(str(outcome.error))) for outcome in doubtful] if outage else doubtful

    def _mark(self, marked: MarkedChanges, planned: Sequence[PlannedChange]) -> list[Change]:
        """Mark every change whose entry is as the plan knew it; the others are looked at again."""
        by_user = {change.user_id: change for change in planned}
        until = self._services.clock() + self._services.timings.batch_mark
        changes, overtaken = marked.mark([_wanted(self._services.new_id(), change) for change in planned], until)
        now = self._services.clock()
        for user_id, current in overtaken.items():
            entry = by_user[user_id].known(current)
            mark = live_mark(entry, now)
            if mark is not None and mark.message_id == self._message_id:
                self.left.postponed = EarlierDelivery(
                    "An earlier delivery of this batch is still being processed", retry_after=mark.wait(now)
                )
            elif not settled(entry, by_user[user_id].attributes, by_user[user_id].teams, by_user[user_id].undecided):
                # If what overtook it is not settled, this change is not.
                self.left.look_again([user_id], unsettled=bool(entry.mark or entry.pending))
        return changes

    def _flush(self, marked: MarkedChanges, outcomes: Sequence[Outcome]) -> None:
        if outcomes:
            self.left.look_again(marked.record(outcomes, self._services.meter.take()))
        for outcome in outcomes:
            self.left.keep(outcome)

    def _looks(self) -> None:
        """Converge the users whose access changes or whose account vanished.

        Whatever happens to one of them, the others are done: that one gets a look by a separate message. If an earlier
        delivery of this batch holds one, the batch must be delivered again: that delivery's worker may be dead, and a
        separate message would leave the user to it.
        """
        alone = self._taken_together([*self._batch.looks, *map(self.left.look, self.left.vanished)])
        opened = self._open() if alone and not self.left.stops else None
        if opened is None:
            return
        failed = list(self._services.executor.each(self._converge, alone, LOOKS_AT_ONCE))
        outages = [f"{OUTAGE}{error}" for error in failed if fails_for_everybody(error)]
        add_notes(self._services, opened[1], outages[:1], instead_of=OUTAGE)

    def _taken_together(self, looks: Sequence[Look]) -> list[Look]:
        """Take access where that is all there is to do, from many users at once; returns the other looks."""
        taken = set[str]()
        for start in range(0, len(looks), LOOKS_TOGETHER):
            taken |= self._take(looks[start : start + LOOKS_TOGETHER])
        return [look for look in looks if look.user_id not in taken]

    def _take(self, looks: Sequence[Look]) -> set[str]:
        """Take access where that is all there is to do; returns of whom. It has one user's time, reading included."""
        timings, now = self._services.timings, self._services.clock()
        opened = self._open() if not self.left.stops and now < self._deadline else None
        if opened is None:
            return set()
        connection, run = opened
        deadline = min(self._deadline, self._services.clock() + timings.user_deadline)
        asked = [self._asked(look) for look in looks]
        wanted = leavers(self._services, connection, asked, deadline - timings.user_deadline / 2)
        if not wanted:
            return set()
        until = self._services.clock() + timings.user_mark
        marked = self._under_marks(connection, run, lambda marks: marks.mark(wanted, until)[0], deadline)
        return {change.user_id for change in marked}

    def _asked(self, look: Look) -> Asked:
        run = RunOf(id=self._batch.run_id, connection_id=self._batch.connection_id)
        return Asked(look=look, message_id=self._message_id, published=self._published, run=run)

    def _converge(self, look: Look) -> Exception | None:
        """Converge one user; returns the error for which they get a look by a separate message."""
        now = self._services.clock()
        if now >= self._deadline:
            self.left.late.add(look.user_id)
            return None
        try:
            converge(self._services, self._asked(look), min(self._deadline, now + self._services.timings.user_deadline))
        except (EarlierDelivery, Throttled) as error:
            self.left.postponed = error
        except Exception as error:  # noqa: BLE001 - it concerns one user: the others of this batch go on
            told = known_or_unforeseen(error)
            if self._services.clock() < self._deadline:
                log.warning("A look failed, and is retried as a separate message: %s", told)
                self.left.look_again([look.user_id], unsettled=True)
                return told
            self.left.late.add(look.user_id)
        return None

    def _finish(self) -> None:
        """Publish what is left, record the batch as done, close the run if it was the last."""
        self.left.publish_looks()
        opened = self._open()
        if opened is None:
            return
        connection, run = opened
        rest = self.left.rest()
        if rest:
            self._services.queue.apply(rest)
        counts = {**self._services.meter.take(), UNSETTLED: len(self.left.unsettled), "held": self.left.held}
        progress = Progress(
            run_id=run.id, at=self._services.clock(), counts=counts, done=self._batch.number, continued=len(rest)
        )
        self._services.roster.commit(connection, (), lambda _entries: (Edit(progress=progress), None))
        recorded = self._services.runs.get(connection.id, run.id)
        if recorded is not None:
            close_if_finished(self._services, recorded)


def _wanted(change_id: str, planned: PlannedChange) -> Intent:
    return Intent(
        id=change_id,
        user_id=planned.user_id,
        stands=lambda entry: planned.stands(planned.known(entry)),
        change=lambda entry: Change.of(planned, change_id, planned.known(entry)),
    )
