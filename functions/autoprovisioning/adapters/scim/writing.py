"""Write many accounts: in Bulk where offered, else one request each, concurrently.

A create whose answer was lost is looked for before it is sent again: the externalId we sent tells whether it arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from autoprovisioning.adapters.scim.bulk import BulkRefused, BulkSizes, send_in_bulk
from autoprovisioning.adapters.scim.lookup import Search
from autoprovisioning.adapters.scim.protocol import USERS, Answer, Dropped, error_of, throttled, user_path
from autoprovisioning.adapters.scim.resources import create_body, patch_body
from autoprovisioning.adapters.scim.sending import ATTEMPTS, Sender
from autoprovisioning.domain.accounts import Capabilities, Lookup, Write, WriteKind, Written
from autoprovisioning.domain.connections import PatchDialect
from autoprovisioning.domain.errors import (
    AddressTaken,
    AuthorizationRefused,
    NotSent,
    ProvisioningError,
    SeatsExhausted,
    Transient,
    Unresolved,
)

Emit = Callable[[Written], None]
ROUNDS = 3  # a 409 on PATCH is tried again after the rest of the batch, twice: chains of e-mail changes


@dataclass(slots=True)
class Call:
    """One call of `write`: its deadline, and what ends it early."""

    deadline: datetime
    emit: Emit
    refused: AuthorizationRefused | None = None  # 401: nothing more is sent
    seats: bool = False  # 428: no more creates
    conflicts: list[Write] = field(default_factory=list)
    last_round: bool = False

    def settle(self, write: Write, written: Written) -> None:
        """Tell a result, or keep a conflict for another round."""
        if isinstance(written.error, SeatsExhausted):
            self.seats = True
        if isinstance(written.error, AuthorizationRefused) and written.error.status == 401:
            self.refused = written.error
        if isinstance(written.error, AddressTaken) and write.kind is WriteKind.PATCH and not self.last_round:
            self.conflicts.append(write)
        else:
            self.emit(written)


class Writing:
    """Writes of one node."""

    def __init__(self, sender: Sender, search: Search, dialect: PatchDialect, clock: Callable[[], datetime]) -> None:
        self._sender = sender
        self._search = search
        self._dialect = dialect
        self._clock = clock
        self._sizes = BulkSizes()

    async def run(self, writes: Sequence[Write], offered: Capabilities, deadline: datetime, emit: Emit) -> None:
        """Carry the writes out, conflicts in further rounds while that helps."""
        call = Call(deadline, emit)
        pending = list(writes)
        for number in range(ROUNDS):
            call.last_round = number == ROUNDS - 1
            before, call.conflicts = len(pending), []
            await self._round(pending, offered, call)
            pending = call.conflicts
            if not pending:
                return
            if number and len(pending) == before:
                call.last_round = True
        for write in pending:
            emit(Written(write.key, error=AddressTaken("Another account holds this e-mail address")))

    async def _round(self, writes: Sequence[Write], offered: Capabilities, call: Call) -> None:
        rest = list(writes)
        if offered.bulk and len(writes) > 1 and not self._sizes.refused:
            try:
                rest = await send_in_bulk(self, rest, offered, call, self._sizes)
            except BulkRefused as refused:
                rest = refused.rest
        await asyncio.gather(*(self._one(write, call) for write in rest))

    async def _one(self, write: Write, call: Call) -> None:
        try:
            written = await self.single(write, call)
        except ProvisioningError as error:
            written = Written(write.key, error=error)
        call.settle(write, written)

    async def single(self, write: Write, call: Call) -> Written:
        """Send one write, with bounded retries; an ambiguous create is looked for first."""
        ambiguous = False
        error: ProvisioningError = NotSent("The deadline came before this write was sent")
        for attempt in range(ATTEMPTS):
            answer: Answer | None = None
            try:
                async with self._sender.pace.slot():
                    stop = self.stopped(write, call)
                    if stop is not None:
                        return Written(write.key, error=stop)
                    answer = await self._send(write)
            except Dropped as dropped:
                ambiguous = True
                error = Unresolved(f"Keeper's answer to a write was lost ({dropped})")
                if write.kind is WriteKind.CREATE:
                    known = await self.resolve(write)
                    if known is not None:
                        return known
            if answer is not None:
                settled = await self._read(write, answer, ambiguous=ambiguous)
                if settled is not None:
                    return settled
                error = error_of(answer, self._clock(), known_account=True)
            left = (call.deadline - self._clock()).total_seconds()
            if not await self._sender.back_off(answer, attempt, left):
                break
        return Written(write.key, error=error)

    async def _read(self, write: Write, answer: Answer, *, ambiguous: bool) -> Written | None:
        """Return what an answer settles; None where it asks for another attempt."""
        if answer.ok:
            self._sender.pace.succeeded()
            return await self.done(write, answer)
        if throttled(answer) or answer.status >= 500 or answer.status in (408, 425):
            return None
        error = error_of(answer, self._clock(), known_account=write.kind is not WriteKind.CREATE)
        if isinstance(error, AddressTaken) and ambiguous and write.kind is WriteKind.CREATE:
            known = await self.resolve(write)
            if known is not None:
                return known
        return Written(write.key, error=error, seconds=answer.seconds)

    async def done(self, write: Write, answer: Answer) -> Written:
        """Return a success; a created account whose id the answer lacks is looked up."""
        if write.kind is not WriteKind.CREATE:
            return Written(write.key, write.scim_id, seconds=answer.seconds)
        scim_id = (answer.body or {}).get("id")
        if scim_id not in (None, ""):
            return Written(write.key, str(scim_id), seconds=answer.seconds)
        known = await self.resolve(write)
        return known or Written(write.key, error=Unresolved("Keeper did not tell the id of the account it created"))

    async def resolve(self, write: Write) -> Written | None:
        """Look for the account of an ambiguous create; None: it does not exist.

        Raises:
            Unresolved: Keeper cannot be asked now.
        """
        lookup = Lookup(write.key, write.external_id or "", ())
        try:
            found = await self._search.find(lookup, external_id_only=True)
        except (Transient, AuthorizationRefused) as error:
            raise Unresolved("Keeper's answer to a creation was lost, and it cannot be asked now") from error
        return Written(write.key, found[0].scim_id) if found else None

    def stopped(self, write: Write, call: Call) -> ProvisioningError | None:
        """Say why a write must not be sent any more."""
        if call.refused is not None:
            return call.refused
        if call.seats and write.kind is WriteKind.CREATE:
            return SeatsExhausted("The number of licensed Keeper seats was exceeded")
        if self._clock() >= call.deadline:
            return NotSent("The deadline came before this write was sent")
        return None

    async def _send(self, write: Write) -> Answer:
        match write.kind:
            case WriteKind.CREATE:
                return await self._sender.transport.send("POST", USERS, body=create_body(write))
            case WriteKind.PATCH:
                body = patch_body(write, self._dialect)
                return await self._sender.transport.send("PATCH", user_path(write.scim_id), body=body)
            case WriteKind.DELETE:
                return await self._sender.transport.send("DELETE", user_path(write.scim_id))

    @property
    def sender(self) -> Sender:
        """Return what sends."""
        return self._sender

    @property
    def search(self) -> Search:
        """Return what finds."""
        return self._search

    @property
    def dialect(self) -> PatchDialect:
        """Return how PATCHes are spelled."""
        return self._dialect
