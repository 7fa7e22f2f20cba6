"""Lock accounts that nobody provisions, as administrators chose and approved, and unlock what was locked so.

As for any other change: a mark, then a reading of both sides, the request, and its outcome; a mark that ran out means
that the outcome is unknown. Such accounts are on no roster, so a list of those chosen has the marks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache

from autoprovisioning.app.ports.claims import Claim
from autoprovisioning.app.provisioning.claiming import claim
from autoprovisioning.app.provisioning.owner_of_account import owner_of
from autoprovisioning.app.provisioning.serving import as_it_was
from autoprovisioning.app.provisioning.target import Keeper, fails_for_everybody
from autoprovisioning.app.provisioning.volume_guard import note, room
from autoprovisioning.app.runs.close_run import LEFT_BY_EDIT
from autoprovisioning.app.runs.hold_plan import DueChange, admit, settle_holds
from autoprovisioning.app.runs.team_members import read_group
from autoprovisioning.app.services import Services
from autoprovisioning.domain.accounts import Write, WriteKind, Written
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.errors import (
    AccountGone,
    NotSent,
    ProvisioningError,
    ReauthorizationRequired,
    Throttled,
    Unresolved,
)
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.guard import APPROVED, Kind
from autoprovisioning.domain.holds import Book, Hold
from autoprovisioning.domain.locks import (
    GONE,
    UNLISTED,
    Lock,
    Locks,
    Owner,
    after,
    done,
    not_after_all,
    told,
    why_not,
)

log = logging.getLogger(__name__)

AT_A_TIME = 100  # accounts that are marked, read, written and recorded together
READ_AT_ONCE = 16
CHOSEN = "as an administrator chose"


def lock_accounts(services: Services, keeper: Keeper, connection: Connection, deadline: datetime) -> list[str]:
    """Carry out what is approved, as far as there is time for it; returns notes for the run's record."""
    locks = services.unprovisioned.locks(connection.id)
    if not locks:
        return []
    _end_unlisted(services, connection)
    hold_chosen(services, connection)
    if connection.pilot is not None:
        return []  # nobody outside it is operated on
    book = Book(services.holds.standing(connection.id))
    now, due = services.clock(), list[tuple[Lock, str]]()
    for lock in services.unprovisioned.locks(connection.id).values():
        verdict = book.verdict(lock.member) if lock.waits else None
        by = verdict.by if verdict is not None and verdict.authorises(None, now) else ""
        if not lock.live(now) and (by or lock.returns or (lock.waits and lock.until is not None)):
            due.append((lock, by))
    if not due:
        return []
    work, left, problem = _Work(services, keeper, connection, deadline), len(due), ""
    note(services, connection, APPROVED, [lock.member.name for lock, _ in due if lock.returns])
    for start in range(0, len(due), AT_A_TIME):
        if work.ends:
            break
        ended, problem = work.carry_out(due[start : start + AT_A_TIME])
        left -= ended
    hold_chosen(services, connection)
    waiting = f"Accounts that nobody provisions, still to be locked or unlocked: {left}"
    return [f"{waiting}. {problem}".strip()] if left else []


def hold_chosen(services: Services, connection: Connection) -> Hold | None:
    """Settle the plans of locks, and have all that wait for a decision stand in one; returns that, if any does."""
    locks = services.unprovisioned.locks(connection.id)
    pending = [lock for lock in locks.values() if lock.waits]
    entries = {key: lock.entry for key, lock in locks.items()}
    due = [lock.member for lock in pending]
    holds = settle_holds(services, connection, due, entries, locks=True)
    left = room(services, connection, Kind.LOCKING)
    over = f", which is more than the limit of {left.allowed} within 24 hours" if len(due) > left.allowed else ""
    wanted = [DueChange(member=member, entry=None, unproven=f"{CHOSEN}{over}") for member in due]
    return admit(services, connection, Kind.LOCKING, wanted, holds)[1]


def _end_unlisted(services: Services, connection: Connection) -> None:
    """End what waits for an account that a later drift run did not find any more."""
    report = services.unprovisioned.get(connection.id)
    if report is None:
        return
    found = [key for key, lock in services.unprovisioned.locks(connection.id).items() if lock.waits]
    ids, now = {key: services.new_id() for key in found}, services.clock()

    def edit(known: Locks) -> tuple[Locks, Sequence[Event]]:
        gone = [lock for key, lock in known.items() if key in ids and lock.waits and lock.outlived(report)]
        ended = {lock.key: kept for lock in gone if (kept := not_after_all(lock, UNLISTED)) is not None}
        return {**known, **ended}, [told(replace(lock, change_id=ids[lock.key]), now, UNLISTED) for lock in gone]

    if found:
        services.unprovisioned.change_locks(connection.id, edit)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """An account as it was read, and with the mark of this attempt; one not `approved` only finds out what happened."""

    was: Lock
    lock: Lock
    approved: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What became of an attempt: carried out, or else not for a reason; `later`: it is made again."""

    lock: Lock
    reason: str = ""
    failed: str = ""
    recovered: bool = False
    later: bool = False
    unknown: bool = False  # ... once the account has shown what became of this one


class _Work:
    def __init__(self, services: Services, keeper: Keeper, connection: Connection, deadline: datetime) -> None:
        self._services = services
        self._keeper = keeper
        self._connection = connection
        self._deadline = min(deadline, services.clock() + services.timings.batch_deadline)
        self._connections = services.connections.all()
        self._held = {
            entry.scim_id for each in self._connections for entry in services.roster.load(each).values()
        }  # read once, before anything is claimed: whoever adopts an account later has to claim it first
        self._listed = cache(lambda group_id: read_group(services, group_id, self._deadline))
        self._problem = ""
        self._stopped = False  # Keeper asked to wait, is down, or refuses the token: nothing more is asked of it

    @property
    def ends(self) -> bool:
        """Say whether the rest is left to the next run: what this one planned for everybody must still be sent out."""
        return self._stopped or self._services.clock() >= self._deadline

    def carry_out(self, due: Sequence[tuple[Lock, str]]) -> tuple[int, str]:
        """Carry these out, each with who approved it; returns how many ended, and what kept the others."""
        attempts = self._mark(due)
        if not as_it_was(self._services, self._connection):  # since the mark, whoever turns it off waits for its end
            self._record([_Result(lock=each.lock, later=True, unknown=each.was.until is not None) for each in attempts])
            return 0, LEFT_BY_EDIT
        whose = list(self._services.executor.each(self._owner, attempts, READ_AT_ONCE))
        results: list[_Result] = []
        ready: list[Lock] = []
        for attempt, owner in zip(attempts, whose, strict=True):
            result = self._judge(attempt, owner)
            if result is None:
                ready.append(attempt.lock)
            else:
                results.append(result)
        results += [_Result(lock=lock, later=True) for lock in ready] if self._stopped else self._write(ready)
        self._record(results)
        return sum(not each.later for each in results), self._problem

    def _mark(self, due: Sequence[tuple[Lock, str]]) -> list[_Attempt]:
        """Mark those that nobody else has changed since they were read."""
        until = self._services.clock() + self._services.timings.batch_mark
        wanted = {
            lock.key: _Attempt(
                was=lock,
                lock=lock.marked(lock.change_id or self._services.new_id(), until, by),
                approved=bool(by) or lock.returns,
            )
            for lock, by in due
        }
        marked: list[_Attempt] = []

        def edit(known: Locks) -> tuple[Locks, Sequence[Event]]:
            marked[:] = [each for key, each in wanted.items() if known.get(key) == each.was]
            return {**known, **{each.lock.key: each.lock for each in marked}}, ()

        self._services.unprovisioned.change_locks(self._connection.id, edit)
        return marked

    def _owner(self, attempt: _Attempt) -> Owner:
        """Ask whose an account may be; of what is to be unlocked that does not matter."""
        was = attempt.was
        return Owner() if was.returns else owner_of(self._services, self._connections, was.account, self._listed)

    def _judge(self, attempt: _Attempt, owner: Owner) -> _Result | None:
        """Say what became of an attempt without a request; None where it is to be sent."""
        was, lock = attempt.was, attempt.lock
        later = _Result(lock=lock, later=True, unknown=was.until is not None)
        held, ours = lock.key in self._held, Claim(user_id="", change_id=lock.change_id)
        if self.ends:
            return later
        if not held and not claim(self._services, self._connection, lock.key, ours):
            return later  # somebody is about to adopt it
        try:
            account = self._keeper.ask(lambda accounts: accounts.get(lock.key))
        except ProvisioningError as error:
            self._fail(error)
            return later
        if account is not None and done(was, account):
            return _Result(lock=lock, recovered=True)
        reason = why_not(was, account, owner, provisioned=held)
        if reason:
            return _Result(lock=lock, reason=reason)
        if owner.entitled is None:
            self._problem = "The directory does not tell whose they are."
        return None if attempt.approved and owner.entitled is not None else _Result(lock=lock, later=True)

    def _write(self, locks: Sequence[Lock]) -> Iterator[_Result]:
        by_id = {lock.change_id: lock for lock in locks}
        rest: Exception = NotSent("Not sent")
        try:
            for lock, written in self._keeper.through(by_id, self._send):
                del by_id[lock.change_id]
                yield self._result(lock, written.error)
        except ProvisioningError as error:
            rest = error if error.defers else NotSent(str(error))
        except Exception as error:
            log.exception("A lock ended in an unforeseen error")
            rest = Unresolved(type(error).__name__)
        yield from [self._result(lock, rest) for lock in by_id.values()]

    def _send(self, locks: Sequence[Lock]) -> Iterator[Written]:
        writes = [
            Write(key=lock.change_id, kind=WriteKind.PATCH, scim_id=lock.key, active=lock.returns) for lock in locks
        ]
        return self._keeper.accounts().write(writes, self._deadline)

    def _result(self, lock: Lock, error: Exception | None) -> _Result:
        if error is None:
            return _Result(lock=lock)
        self._fail(error)
        if isinstance(error, AccountGone):
            return _Result(lock=lock, reason=GONE)
        if not isinstance(error, ProvisioningError) or isinstance(error, Unresolved):
            return _Result(lock=lock, later=True, unknown=True)
        if error.defers:
            return _Result(lock=lock, later=True)
        return _Result(lock=lock, reason=str(error), failed=error.code)

    def _fail(self, error: Exception) -> None:
        self._problem = str(error)
        self._stopped |= fails_for_everybody(error) or isinstance(error, Throttled | ReauthorizationRequired)
        if isinstance(error, Throttled):
            self._keeper.throttle(error)

    def _record(self, results: Sequence[_Result]) -> None:
        now = self._services.clock()

        def edit(known: Locks) -> tuple[Locks, Sequence[Event]]:
            mine = [each for each in results if _mark_of(known, each.lock.key) == each.lock.change_id]
            becomes = {**known, **{each.lock.key: _becomes(each, now) for each in mine}}
            events = [
                told(each.lock, now, each.reason, failed=each.failed, recovered=each.recovered)
                for each in mine
                if not each.later
            ]
            return {key: lock for key, lock in becomes.items() if lock is not None}, events

        if results:
            self._services.unprovisioned.change_locks(self._connection.id, edit)


def _mark_of(known: Mapping[str, Lock], key: str) -> str:
    return known[key].change_id if key in known else ""


def _becomes(result: _Result, now: datetime) -> Lock | None:
    if result.later:
        return replace(result.lock, until=now) if result.unknown else result.lock.unmarked()
    return not_after_all(result.lock, result.reason) if result.reason else after(result.lock, now)
