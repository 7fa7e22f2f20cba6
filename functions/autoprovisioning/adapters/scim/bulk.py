"""SCIM Bulk (RFC 7644 3.7): many writes a request, each with a result of its own.

Chunks start at 100 operations, double on success up to the server's limits, and halve on 413 or a timeout. When an
answer is lost or lacks operations, no create is sent again before one listing has told which of them arrived.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from autoprovisioning.adapters.scim.proof import as_written, last_part, proven_in_bulk, refused
from autoprovisioning.adapters.scim.protocol import (
    BULK,
    BULK_REQUEST,
    USERS,
    Answer,
    Dropped,
    NotConnected,
    error_of,
    maybe_done,
    passing,
    throttled,
    user_path,
)
from autoprovisioning.adapters.scim.resources import create_body, patch_body
from autoprovisioning.adapters.scim.sending import ATTEMPTS, OVERRUN
from autoprovisioning.adapters.scim.streaming import fan_out
from autoprovisioning.domain.accounts import Capabilities, Write, WriteKind, Written
from autoprovisioning.domain.errors import AuthorizationRefused, Permanent, ProvisioningError, Throttled, Unresolved
from autoprovisioning.domain.keeper import PatchDialect

if TYPE_CHECKING:
    from autoprovisioning.adapters.scim.writing import Call, Writing

FIRST_SIZE = 100
AT_ONCE = 2  # Bulk requests under way
SECONDS_AN_OPERATION = 0.25  # added to the timeout
ENVELOPE = 200  # bytes around the operations
LOSSES = 3  # lost answers in one call before the rest goes one by one


@dataclass(slots=True, kw_only=True)
class BulkSizes:
    """What this process has learnt about the server's Bulk."""

    size: int = FIRST_SIZE
    most: int = 1_000_000  # half of what was too large
    refused: bool = False

    def grow(self, most: int) -> None:
        """Double."""
        self.size = min(most, self.most, self.size * 2)

    def shrink(self, sent: int, *, too_large: bool = False) -> None:
        """Halve what was sent."""
        self.size = max(1, sent // 2)
        if too_large:
            self.most = min(self.most, self.size)


@dataclass(slots=True, kw_only=True)
class BulkRound:
    """One round of writes in Bulk; `by_one` collects those that must be sent one by one, sent already or not."""

    writing: Writing
    offered: Capabilities
    call: Call
    sizes: BulkSizes
    pending: deque[Write]
    by_one: list[Write] = field(default_factory=list)
    losses: int = 0
    throttles: int = 0

    async def run(self) -> list[Write]:
        """Send; returns those that must be sent one by one (retries, what was lost on the way, Bulk refused)."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._worker())
        return [*self.by_one, *self.pending]

    async def _worker(self) -> None:
        sender = self.writing.sender
        while True:
            await self.call.room()
            self._set_aside()
            if not self.pending or self.sizes.refused or self.losses >= LOSSES:
                return
            chunk, body = self._chunk()
            try:
                async with sender.pace.slot(sender.left(self.call.deadline)):
                    if self.writing.stopped(chunk[0], self.call) is not None:
                        self.by_one += chunk
                        continue
                    at_most = sender.left(self.call.deadline) + OVERRUN
                    extra = SECONDS_AN_OPERATION * len(chunk)
                    answer = await sender.transport.send("POST", BULK, body=body, extra_time=extra, at_most=at_most)
            except NotConnected as failed:
                self._failed(chunk, None, str(failed))
                self.losses += 1
                self.pending.extendleft(reversed(chunk))
                await sender.back_off(None, self.losses, sender.left(self.call.deadline))
            except Dropped as dropped:
                self._failed(chunk, None, str(dropped))
                self.sizes.shrink(len(chunk))
                await self._lost(chunk)
            else:
                await self._read(chunk, answer)

    def _set_aside(self) -> None:
        """Take out what must not be sent any more: one by one, each tells its own reason without being sent."""
        stopped = [write for write in self.pending if self.writing.stopped(write, self.call) is not None]
        if stopped:
            keys = {write.key for write in stopped}
            self.by_one += stopped
            self.pending = deque(write for write in self.pending if write.key not in keys)

    def _chunk(self) -> tuple[list[Write], bytes]:
        """Take as many writes as the limits allow, rendered."""
        chunk: list[Write] = []
        operations: list[bytes] = []
        weight = ENVELOPE
        while self.pending and len(chunk) < min(self.sizes.size, self.offered.max_operations):
            operation = msgspec.json.encode(_operation(self.pending[0], self.writing.dialect))
            if chunk and weight + len(operation) + 1 > self.offered.max_payload:
                break
            weight += len(operation) + 1
            operations.append(operation)
            chunk.append(self.pending.popleft())
        return chunk, b'{"schemas":["%s"],"Operations":[%s]}' % (BULK_REQUEST.encode(), b",".join(operations))

    def _failed(self, chunk: list[Write], answer: Answer | None, problem: str) -> None:
        sender = self.writing.sender
        sender.pace.failed()
        sender.count_failure(sender.writes, chunk[0].scim_id or chunk[0].external_id, answer, problem)

    async def _read(self, chunk: list[Write], answer: Answer) -> None:
        if passing(answer):
            self._failed(chunk, answer, f"HTTP {answer.status}")
        elif answer.body is not None:
            self.writing.sender.writes.succeeded()
        if answer.ok and answer.body is not None:
            if len(chunk) >= self.sizes.size:
                self.sizes.grow(self.offered.max_operations)
            self.throttles = 0
            self.writing.sender.pace.succeeded()
            await self._settle(chunk, answer, answer.body)
        elif answer.ok:
            await self._lost(chunk)  # a success that cannot be read
        else:
            await self._refused(chunk, answer)

    async def _refused(self, chunk: list[Write], answer: Answer) -> None:
        """Settle a refusal of the whole request: nothing of it was carried out, except perhaps on a 5xx."""
        if answer.status == 413 and len(chunk) > 1:
            self.sizes.shrink(len(chunk), too_large=True)
            self.pending.extendleft(reversed(chunk))
        elif answer.status == 413:
            self.by_one += chunk
        elif throttled(answer) or answer.status == 503:
            await self._busy(chunk, answer)
        elif answer.status == 401:
            self.call.refused = AuthorizationRefused("Keeper refuses the access token (HTTP 401)", status=401)
            self.by_one += chunk
        elif maybe_done(answer):
            self.sizes.shrink(len(chunk))
            await self._lost(chunk)
        else:
            self.sizes.refused = True
            told = f"Keeper refuses Bulk (HTTP {answer.status}): changes are sent one by one."
            self.writing.sender.remarks["bulk"] = told
            self.pending.extendleft(reversed(chunk))

    async def _busy(self, chunk: list[Write], answer: Answer) -> None:
        sender = self.writing.sender
        self.throttles += 1
        waited = await sender.back_off(answer, self.throttles - 1, sender.left(self.call.deadline))
        if waited and self.throttles < ATTEMPTS:
            self.pending.extendleft(reversed(chunk))
            return
        error = error_of(answer, sender.clock(), known_account=False)
        if isinstance(error, Throttled):
            self.call.throttled = error
        self.losses = LOSSES  # a Bulk that keeps failing is given up for this call
        self.by_one += chunk

    async def _settle(self, chunk: list[Write], answer: Answer, body: Mapping[str, Any]) -> None:
        """Settle each operation by its own status."""
        results = match_results(chunk, body.get("Operations"))
        lost: list[Write] = []
        doubtful: dict[str, Answer] = {}
        for write in chunk:
            result = results.get(write.key)
            status = _status(result) if result is not None else 0
            if result is None or not status:
                lost.append(write)
                continue
            response = result.get("response")
            operation = Answer(
                status=status, body=response if isinstance(response, dict) else {}, headers={}, seconds=answer.seconds
            )
            if operation.ok:
                self._settle_done(write, result, operation, doubtful)
            elif passing(operation):
                if maybe_done(operation):
                    self.call.doubtful.add(write.key)
                self.by_one.append(write)
            else:
                error = refused(write, operation, self.writing.sender.clock())
                self.call.settle(write, Written(key=write.key, error=error, seconds=answer.seconds))
        if lost:
            await self._lost(lost)
        looked_at = [write for write in chunk if write.key in doubtful]
        await fan_out(looked_at, self.writing.sender.pace.ceiling, lambda write: self._look(write, doubtful[write.key]))

    def _settle_done(
        self, write: Write, result: Mapping[str, Any], operation: Answer, doubtful: dict[str, Answer]
    ) -> None:
        try:
            written = proven_in_bulk(write, result, operation)
        except ProvisioningError as error:
            written = Written(key=write.key, error=error)
        if written is None:
            doubtful[write.key] = operation
        else:
            self.call.settle(write, written)

    async def _look(self, write: Write, operation: Answer) -> None:
        """Settle a success that proves nothing by looking at the account."""
        try:
            written = await self.writing.look(write, operation, self.call)
        except ProvisioningError as error:
            written = Written(key=write.key, error=error)
        self.call.settle(write, written)

    async def _lost(self, chunk: Sequence[Write]) -> None:
        """Tell by one listing which creates arrived; what did not, and what is idempotent, is sent again one by one."""
        self.losses += 1
        creates = {write.external_id or write.key: write for write in chunk if write.kind is WriteKind.CREATE}
        changes = [write for write in chunk if write.kind is not WriteKind.CREATE]
        self.call.doubtful.update(write.key for write in changes)
        self.by_one += changes
        error: ProvisioningError | None = None
        try:
            if creates:
                async for page in self.writing.search.pages(self.call.deadline):
                    for account in page:
                        write = creates.pop(account.external_id, None)
                        if write is not None:
                            flaw = Permanent(account.flaw) if account.flaw else None
                            told = as_written(write, account, "Keeper's answer was lost")
                            self.call.emit(Written(key=write.key, error=flaw) if flaw else told)
        except ProvisioningError as broken:
            error = Unresolved("Keeper's answer to a Bulk request was lost, and it cannot be asked now")
            error.__cause__ = broken
        for write in creates.values():
            if error is not None:
                self.call.emit(Written(key=write.key, error=error))
            else:
                self.call.doubtful.add(write.key)  # it may be under way still: a 409 is then our own account
                self.by_one.append(write)


def _operation(write: Write, dialect: PatchDialect) -> dict[str, Any]:
    match write.kind:
        case WriteKind.CREATE:
            return {"method": "POST", "path": USERS, "bulkId": write.key, "data": create_body(write)}
        case WriteKind.PATCH:
            data = patch_body(write, dialect)
            return {"method": "PATCH", "path": user_path(write.scim_id), "bulkId": write.key, "data": data}
        case WriteKind.DELETE:
            return {"method": "DELETE", "path": user_path(write.scim_id), "bulkId": write.key}


def match_results(chunk: Sequence[Write], operations: object) -> dict[str, dict[str, Any]]:
    """Match results with writes: by bulkId, by the id in the location, or, in a full answer, by position.

    A write that has two results has none: nobody can tell which of them is its own.
    """
    results = [item for item in operations if isinstance(item, dict)] if isinstance(operations, list) else []
    keys = {write.key for write in chunk}
    by_id = {write.scim_id: write.key for write in chunk if write.scim_id}
    matched: dict[str, dict[str, Any]] = {}
    twice: set[str] = set()
    for position, result in enumerate(results):
        key = str(result.get("bulkId") or "")
        if key not in keys:
            key = by_id.get(last_part(result), "")
        if not key and len(results) == len(chunk):
            key = chunk[position].key
        if key in matched:
            twice.add(key)
        elif key:
            matched[key] = result
    return {key: result for key, result in matched.items() if key not in twice}


def _status(result: Mapping[str, Any]) -> int:
    """Read an operation's status: a string by the RFC, a number or an object with a code in some servers; else 0."""
    status = result.get("status")
    if isinstance(status, dict):
        status = status.get("code")
    text = str(status)
    return int(text) if re.fullmatch("[1-5][0-9][0-9]", text) else 0
