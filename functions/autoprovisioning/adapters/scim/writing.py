"""Write many accounts: in Bulk where offered, else one request each, concurrently.

A write whose answer was lost, or may hide that it was carried out, is in doubt until Keeper says something definite
about it: it never comes back as "not done". A create in doubt is looked for before it is sent again, and once it is
refused then: the externalId we sent tells whether it arrived.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from autoprovisioning.adapters.scim.bulk import BulkRound, BulkSizes
from autoprovisioning.adapters.scim.lookup import AccountLookup
from autoprovisioning.adapters.scim.proof import as_written, proven, proven_by_account, refused
from autoprovisioning.adapters.scim.protocol import (
    USERS,
    Answer,
    Dropped,
    NotConnected,
    maybe_done,
    passing,
    user_path,
    wait_told,
)
from autoprovisioning.adapters.scim.resources import create_body, patch_body
from autoprovisioning.adapters.scim.sending import ATTEMPTS, OVERRUN, UNFORESEEN, Sender
from autoprovisioning.adapters.scim.streaming import fan_out
from autoprovisioning.adapters.scim.ways import Timed, Ways
from autoprovisioning.domain.accounts import Capabilities, Lookup, Write, WriteKind, Written
from autoprovisioning.domain.errors import (
    AddressTaken,
    AuthorizationRefused,
    ConfigurationRefused,
    NotAsWritten,
    NotSent,
    Permanent,
    ProvisioningError,
    SeatsExhausted,
    Throttled,
    Transient,
    Unresolved,
)
from autoprovisioning.domain.keeper import PatchDialect

log = logging.getLogger(__name__)

ROUNDS = 3  # a 409 on PATCH is tried again after the rest of the batch, twice: chains of e-mail changes
TELL_NOTHING = (Transient, AuthorizationRefused, ConfigurationRefused)  # about an earlier attempt of the same write
NOT_SHOWN_YET = "Keeper refuses the second attempt, perhaps since the first one made the account, not listed yet"
ENOUGH = 50  # writes of one call that tell how fast a way is
SENDS = 2  # of a create whose answers are lost: once, and once more when a lookup did not find it


@dataclass(slots=True, kw_only=True)
class Call:
    """One call of `write`: its deadline, and what ends it early."""

    deadline: datetime
    emit: Callable[[Written], None]
    room: Callable[[], Awaitable[None]]  # waits while the caller lags behind with the results
    refused: AuthorizationRefused | None = None  # 401: nothing more is sent
    throttled: Throttled | None = None  # a longer wait than ours: nothing more is sent
    seats: bool = False  # 428: no more creates
    doubtful: set[str] = field(default_factory=set)  # may have been carried out: a create's 409 may be our own account
    conflicts: list[Write] = field(default_factory=list)
    last_round: bool = False

    def settle(self, write: Write, written: Written) -> None:
        """Report a result, or keep a conflict for another round."""
        if isinstance(written.error, SeatsExhausted):
            self.seats = True
        if isinstance(written.error, AuthorizationRefused) and written.error.status == 401:
            self.refused = written.error
        if isinstance(written.error, AddressTaken) and write.kind is WriteKind.PATCH and not self.last_round:
            self.conflicts.append(write)
        else:
            self.emit(self._in_doubt(written) if write.key in self.doubtful else written)

    @staticmethod
    def _in_doubt(written: Written) -> Written:
        """Leave the fate of a write open if its last error says nothing about the attempts before."""
        error = written.error
        if isinstance(error, Unresolved | NotAsWritten) or not isinstance(error, TELL_NOTHING):
            return written
        again = error.retry_after if isinstance(error, Transient) else None
        unresolved = Unresolved(f"Keeper may have carried this write out before it failed: {error}", retry_after=again)
        unresolved.__cause__ = error
        return replace(written, error=unresolved)


class Writing:
    """Writes of one node."""

    def __init__(self, sender: Sender, search: AccountLookup, dialect: PatchDialect) -> None:
        self.sender = sender
        self.search = search
        self.dialect = dialect
        self._sizes = BulkSizes()
        self._ways = Ways()

    async def run(self, writes: Sequence[Write], offered: Capabilities, call: Call) -> None:
        """Carry the writes out, conflicts in further rounds."""
        pending = list(writes)
        for number in range(ROUNDS):
            call.last_round = number == ROUNDS - 1
            call.conflicts = []
            if offered.bulk and len(pending) > 1 and not self._sizes.refused and self._prefers_bulk(len(pending)):
                began, count = time.monotonic(), len(pending)
                pending = await BulkRound(
                    writing=self, offered=offered, call=call, sizes=self._sizes, pending=deque(pending)
                ).run()
                self._time(self._ways.bulk, began, 0 if pending else count)
            began = time.monotonic()
            await fan_out(pending, self.sender.pace.ceiling, lambda write: self._one(write, call))
            self._time(self._ways.alone, began, len(pending))
            pending = call.conflicts
            if not pending:
                return

    def _prefers_bulk(self, writes: int) -> bool:
        """Say whether to send so many writes in Bulk: either it is faster here, or that is still to be found out."""
        latency, at_once = self.sender.transport.fastest, self.sender.pace.limit
        bulk = self._sizes.at_best(writes, latency, at_once)
        return self._ways.prefers_bulk(bulk, latency * math.ceil(writes / at_once) / writes, time.monotonic())

    def _time(self, way: Timed, began: float, writes: int) -> None:
        """Note how long so many writes took, if they are enough to tell."""
        now = time.monotonic()
        if writes >= ENOUGH:
            way.note((now - began) / writes, now)

    async def _one(self, write: Write, call: Call) -> None:
        await call.room()
        began = time.monotonic()
        try:
            written = await self._single(write, call)
        except ProvisioningError as error:
            written = Written(key=write.key, error=error)
        except Exception as error:
            log.exception("A write failed")
            written = Written(key=write.key, error=Unresolved(f"{type(error).__name__} {UNFORESEEN}"))
        if isinstance(written.error, Transient):
            written = replace(written, error=await self.sender.verdict(written.error, began, self.sender.writes))
        call.settle(write, written)

    async def _single(self, write: Write, call: Call) -> Written:
        """Send one write, with bounded retries; a create in doubt is looked for first."""
        error: ProvisioningError | None = None
        lost = 0
        for attempt in range(ATTEMPTS):
            answer: Answer | None = None
            doubt = False
            try:
                async with self.sender.pace.slot(self.sender.left(call.deadline)):
                    stop = self.stopped(write, call)
                    if stop is not None:
                        return Written(key=write.key, error=stop if error is None else error)
                    answer = await self._send(write, call)
            except NotConnected as failed:
                error = Transient(f"Keeper cannot be reached ({failed})", retry_after=10)
                error.__cause__ = failed
            except Dropped as dropped:
                lost += 1
                doubt = True
                error = Unresolved(f"Keeper's answer to a write was lost ({dropped})")
            else:
                settled = await self._read(write, answer, call)
                if settled is not None:
                    return settled
                error = refused(write, answer, self.sender.clock())
                doubt = maybe_done(answer)
            about = write.scim_id or write.external_id  # its key changes whenever it is the user's turn again
            self.sender.count_failure(self.sender.writes, about, answer, str(error))
            if doubt:
                call.doubtful.add(write.key)
            if doubt and write.kind is WriteKind.CREATE:
                known = await self.resolve(write, call)
                if known is not None:
                    return known
                if lost >= SENDS:
                    break
            if not await self.sender.back_off(answer, attempt, self.sender.left(call.deadline)):
                self._note_throttle(answer, error, call)
                break
        return Written(key=write.key, error=error)

    def _note_throttle(self, answer: Answer | None, error: ProvisioningError, call: Call) -> None:
        """End the call if Keeper asked for a longer wait than ours: the rest would be refused just the same."""
        told = wait_told(answer, self.sender.clock()) if answer is not None else None
        if isinstance(error, Throttled) and told is not None and told > self.sender.longest_wait:
            call.throttled = error

    async def _read(self, write: Write, answer: Answer, call: Call) -> Written | None:
        """Return what an answer settles; None if it asks for another attempt."""
        if passing(answer):
            return None
        self.sender.writes.succeeded()
        if answer.ok:
            self.sender.pace.succeeded()
            return await self.done(write, answer, call)
        error = refused(write, answer, self.sender.clock())
        in_doubt = write.kind is WriteKind.CREATE and write.key in call.doubtful
        if in_doubt and not isinstance(error, TELL_NOTHING):
            known = await self.resolve(write, call)
            if known is not None:
                return known
            if isinstance(error, AddressTaken | SeatsExhausted):
                call.seats = call.seats or isinstance(error, SeatsExhausted)
                error = Unresolved(f"{NOT_SHOWN_YET} (HTTP {answer.status})")
        return Written(key=write.key, error=error, seconds=answer.seconds)

    async def done(self, write: Write, answer: Answer, call: Call) -> Written:
        """Return what became of a write that was answered with a success."""
        return proven(write, answer) or await self.look(write, answer, call)

    async def look(self, write: Write, answer: Answer, call: Call) -> Written:
        """Look at the account of a write whose success proves nothing.

        Raises:
            Unresolved: Keeper cannot be asked now, or does not show the account.
        """
        if write.kind is WriteKind.CREATE:
            known = await self.resolve(write, call, f"Keeper answered {answer.status}")
            return known or Written(
                key=write.key, error=Unresolved("Keeper did not return the id of the account it created")
            )
        try:
            seen = await self.sender.ask("GET", user_path(write.scim_id), deadline=call.deadline)
        except ProvisioningError as error:
            raise _cannot_be_asked(f"Keeper answered {answer.status} without proof", error) from error
        return proven_by_account(write, answer.status, seen, self.sender.clock())

    async def resolve(self, write: Write, call: Call, told: str = "Keeper's answer was lost") -> Written | None:
        """Look for the account of a create in doubt; None: it does not exist.

        By externalId alone: an account that only carries the userName is somebody else's until it is adopted.

        Raises:
            Unresolved: Keeper cannot be asked now.
            Permanent: it exists, and can never be addressed.
        """
        lookup = Lookup(key=write.key, external_id=write.external_id or "", user_names=())
        try:
            found = await self.search.find(lookup, external_id_only=True, deadline=call.deadline)
        except ProvisioningError as error:
            if type(error) is Permanent:  # it exists, and its id cannot be used
                raise
            raise _cannot_be_asked("Keeper's answer to a creation was lost", error) from error
        return as_written(write, found[0], told) if found else None

    def stopped(self, write: Write, call: Call) -> ProvisioningError | None:
        """Say why a write must not be sent any more."""
        if call.refused is not None:
            return call.refused
        if call.throttled is not None:
            return call.throttled
        if call.seats and write.kind is WriteKind.CREATE and write.key not in call.doubtful:
            return SeatsExhausted("The number of licensed Keeper seats was exceeded")
        stop = self.sender.writes.stop()
        if stop is not None:
            return stop
        if self.sender.left(call.deadline) <= 0:
            return NotSent("The deadline passed before this write was sent")
        return None

    async def _send(self, write: Write, call: Call) -> Answer:
        send, at_most = self.sender.transport.send, self.sender.left(call.deadline) + OVERRUN
        match write.kind:
            case WriteKind.CREATE:
                return await send("POST", USERS, body=create_body(write), at_most=at_most)
            case WriteKind.PATCH:
                body = patch_body(write, self.dialect)
                return await send("PATCH", user_path(write.scim_id), body=body, at_most=at_most)
            case WriteKind.DELETE:
                return await send("DELETE", user_path(write.scim_id), at_most=at_most)


def _cannot_be_asked(what: str, error: ProvisioningError) -> Unresolved:
    again = error.retry_after if isinstance(error, Transient) else None
    return Unresolved(f"{what}, and it cannot be asked now", retry_after=again)
