"""SCIM Bulk (RFC 7644 3.7): many writes a request, each with a result of its own.

A server works through the operations of one request one after the other, so what there is to send goes in several
chunks side by side. The first have few operations, to learn how long one takes. From then on they have up to 100,
twice as many after a success up to the server's limits, half as many after 413 or a timeout, and always so few that
no request takes long. Two requests are under way at first, twice as many after a success.
When answers are lost or lack operations, no create is sent again before one listing has shown which of them arrived.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec

from autoprovisioning.adapters.scim.proof import as_written, last_part, names, proven_in_bulk, refused
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
MOST = 1_000_000  # operations of a request, as long as none was too large
AT_ONCE = 32  # Bulk requests under way at most, where the pace allows as many
FIRST_AT_ONCE = 2
PARTS = 4  # that go side by side; two where they would have fewer operations than the first size
FEWEST = 10  # operations of a request, unless there are no more
LONGEST = 0.25  # seconds that a request's operations should take
SECONDS_AN_OPERATION = 0.25  # added to the timeout
ENVELOPE = 200  # bytes around the operations
LOSSES = 3  # bursts of lost answers in one call before the rest goes one by one


@dataclass(slots=True, kw_only=True)
class BulkSizes:
    """What this process has learnt about the server's Bulk."""

    size: int = FIRST_SIZE
    most: int = MOST  # half of what was too large
    at_once: int = FIRST_AT_ONCE
    operation: float = LONGEST  # seconds that one took, the last time; taken for slow as long as nobody knows
    refused: bool = False

    def of(self, writes: int) -> int:
        """Return how many operations a chunk of so many writes has."""
        side_by_side = max(math.ceil(writes / PARTS), min(FIRST_SIZE, math.ceil(writes / 2)))
        in_time = int(LONGEST / self.operation) if self.operation else self.size
        return min(self.size, max(FEWEST, min(side_by_side, in_time)))

    def at_best(self, writes: int, latency: float, at_once: int) -> float:
        """Return the seconds a write that so many take, if so many requests go side by side."""
        size = self.of(writes)
        rounds = math.ceil(math.ceil(writes / size) / at_once)
        return rounds * (latency + size * self.operation) / writes

    def grow(self, sent: int, most: int) -> None:
        """Double the requests under way, and the size, if that is what was sent."""
        self.at_once = min(AT_ONCE, self.at_once * 2)
        if sent >= self.size:
            self.size = min(most, self.most, self.size * 2)

    def shrink(self, sent: int, *, too_large: bool = False) -> None:
        """Halve what was sent."""
        self.size = max(1, sent // 2)
        if too_large:
            self.most = min(self.most, self.size)


@dataclass(slots=True)
class Bursts:
    """How often something went wrong, counted once for all requests that were under way together."""

    number: int = 0
    last: float = -math.inf  # on the monotonic clock

    def count(self, sent: float, now: float) -> None:
        """Count it for a request that was sent at that time."""
        if sent > self.last:
            self.number += 1
            self.last = now


@dataclass(slots=True, kw_only=True)
class Chunk:
    """The writes of one request; `sent` is when, on the monotonic clock."""

    writes: list[Write]
    body: bytes
    sent: float = math.inf


@dataclass(slots=True, kw_only=True)
class BulkRound:
    """One round of writes in Bulk; `by_one` collects those that must be sent one by one, sent already or not."""

    writing: Writing
    offered: Capabilities
    call: Call
    sizes: BulkSizes
    pending: deque[Write]
    by_one: list[Write] = field(default_factory=list)
    losses: Bursts = field(default_factory=Bursts)
    throttles: Bursts = field(default_factory=Bursts)
    given_up: bool = False  # for this call
    lost: dict[str, Write] = field(default_factory=dict)  # creates whose answers were lost, by externalId
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)  # for those
    fastest: float = math.inf  # seconds an operation, of the requests of this round: one that waited took longer
    workers: int = 0
    writes: int = field(init=False)

    def __post_init__(self) -> None:
        """Note how many there are to be divided."""
        self.writes = len(self.pending)

    async def run(self) -> list[Write]:
        """Send; returns those that must be sent one by one (retries, what was lost on the way, Bulk refused)."""
        async with asyncio.TaskGroup() as group:
            self._begin(group)
        if self.fastest < math.inf:
            self.sizes.operation = self.fastest
        return [*self.by_one, *self.pending]

    def _begin(self, group: asyncio.TaskGroup) -> None:
        self.workers += 1
        group.create_task(self._work(group))

    async def _work(self, group: asyncio.TaskGroup) -> None:
        """Send chunk after chunk, beside as many others as may be under way."""
        while True:
            await self.call.room()
            self._set_aside()
            if not self.pending or self.sizes.refused or self.given_up:
                break
            chunk = self._chunk()
            if self.pending and self.workers < self.sizes.at_once:
                self._begin(group)
            if chunk.writes:
                await self._send(chunk)
        self.workers -= 1

    async def _send(self, chunk: Chunk) -> None:
        sender = self.writing.sender
        try:
            async with sender.pace.slot(sender.left(self.call.deadline)):
                if self.writing.stopped(chunk.writes[0], self.call) is not None:
                    self.by_one += chunk.writes
                    return
                chunk.sent = time.monotonic()
                at_most = sender.left(self.call.deadline) + OVERRUN
                extra = SECONDS_AN_OPERATION * len(chunk.writes)
                answer = await sender.transport.send("POST", BULK, body=chunk.body, extra_time=extra, at_most=at_most)
        except NotConnected as failed:
            self._failed(chunk, None, str(failed))
            self._count_loss(chunk)
            self.pending.extendleft(reversed(chunk.writes))
            await sender.back_off(None, self.losses.number, sender.left(self.call.deadline))
        except Dropped as dropped:
            self._failed(chunk, None, str(dropped))
            self.sizes.shrink(len(chunk.writes))
            await self._lost(chunk)
        else:
            await self._read(chunk, answer)

    def _set_aside(self) -> None:
        """Take out what must no longer be sent: handled one by one, each gets its own reason without being sent."""
        stopped = [write for write in self.pending if self.writing.stopped(write, self.call) is not None]
        if stopped:
            keys = {write.key for write in stopped}
            self.by_one += stopped
            self.pending = deque(write for write in self.pending if write.key not in keys)

    def _chunk(self) -> Chunk:
        """Take as many writes as the limits allow, rendered; one that cannot be is that user's failure, by itself."""
        writes: list[Write] = []
        operations: list[bytes] = []
        weight, most = ENVELOPE, min(self.sizes.of(self.writes), self.offered.max_operations)
        while self.pending and len(writes) < most:
            try:
                operation = msgspec.json.encode(_operation(self.pending[0], self.writing.dialect))
            except Exception:  # noqa: BLE001 - sent one by one it fails in the same way, and says why
                self.by_one.append(self.pending.popleft())
                continue
            if writes and weight + len(operation) + 1 > self.offered.max_payload:
                break
            weight += len(operation) + 1
            operations.append(operation)
            writes.append(self.pending.popleft())
        body = b'{"schemas":["%s"],"Operations":[%s]}' % (BULK_REQUEST.encode(), b",".join(operations))
        return Chunk(writes=writes, body=body)

    def _failed(self, chunk: Chunk, answer: Answer | None, problem: str) -> None:
        sender, first = self.writing.sender, chunk.writes[0]
        sender.pace.failed()
        sender.count_failure(sender.writes, first.scim_id or first.external_id, answer, problem)

    async def _read(self, chunk: Chunk, answer: Answer) -> None:
        if passing(answer):
            self._failed(chunk, answer, f"HTTP {answer.status}")
        elif answer.body is not None:
            self.writing.sender.writes.succeeded()
        if answer.ok and answer.body is not None:
            self.sizes.grow(len(chunk.writes), self.offered.max_operations)
            latency = self.writing.sender.transport.fastest
            self.fastest = min(self.fastest, (answer.seconds - latency) / len(chunk.writes))
            self.sizes.operation = min(self.sizes.operation, self.fastest)  # slower counts once the round has ended
            self.throttles = Bursts()
            self.writing.sender.pace.succeeded()
            await self._settle(chunk, answer, answer.body)
        elif answer.ok:
            await self._lost(chunk)  # a success that cannot be read
        else:
            await self._refused(chunk, answer)

    async def _refused(self, chunk: Chunk, answer: Answer) -> None:
        """Settle a refusal of the whole request: nothing of it was carried out, except perhaps on a 5xx."""
        if answer.status == 413 and len(chunk.writes) > 1:
            self.sizes.shrink(len(chunk.writes), too_large=True)
            self.pending.extendleft(reversed(chunk.writes))
        elif answer.status == 413:
            self.sizes.most = MOST  # it is this user who is too large, whatever was sent with them
            self.by_one += chunk.writes
        elif answer.status == 401:
            self.call.refused = AuthorizationRefused("Keeper refuses the access token (HTTP 401)", status=401)
            self.by_one += chunk.writes
        elif maybe_done(answer):
            self.sizes.shrink(len(chunk.writes))
            await self._lost(chunk)
        elif passing(answer):
            await self._busy(chunk, answer)
        else:
            self.sizes.refused = True
            told = f"Keeper refuses Bulk (HTTP {answer.status}): changes are sent one by one."
            self.writing.sender.remarks["bulk"] = told
            self.pending.extendleft(reversed(chunk.writes))

    async def _busy(self, chunk: Chunk, answer: Answer) -> None:
        sender = self.writing.sender
        self.throttles.count(chunk.sent, time.monotonic())
        self.sizes.at_once = FIRST_AT_ONCE
        waited = await sender.back_off(answer, self.throttles.number - 1, sender.left(self.call.deadline))
        if waited and self.throttles.number < ATTEMPTS:
            self.pending.extendleft(reversed(chunk.writes))
            return
        error = error_of(answer, sender.clock(), known_account=False)
        if isinstance(error, Throttled):
            self.call.throttled = error
        self.given_up = True
        self.by_one += chunk.writes

    async def _settle(self, chunk: Chunk, answer: Answer, body: Mapping[str, Any]) -> None:
        """Settle each operation by its own status."""
        results = match_results(chunk.writes, body.get("Operations"))
        named = Counter(filter(None, map(last_part, results.values())))
        lost: list[Write] = []
        doubtful: dict[str, Answer] = {}
        for write in chunk.writes:
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
                self._settle_done(write, result, operation, doubtful, alone=named[last_part(result)] <= 1)
            elif maybe_done(operation) or not names(result, write):
                self.call.doubtful.add(write.key)
                if write.kind is WriteKind.CREATE:
                    doubtful[write.key] = operation
                else:
                    self.by_one.append(write)
            elif passing(operation):
                self.by_one.append(write)
            else:
                error = refused(write, operation, self.writing.sender.clock())
                self.call.settle(write, Written(key=write.key, error=error, seconds=answer.seconds))
        if lost:
            await self._lost(replace(chunk, writes=lost))
        looked_at = [write for write in chunk.writes if write.key in doubtful]
        await fan_out(looked_at, self.writing.sender.pace.ceiling, lambda write: self._look(write, doubtful[write.key]))

    def _settle_done(
        self, write: Write, result: Mapping[str, Any], operation: Answer, doubtful: dict[str, Answer], *, alone: bool
    ) -> None:
        """Settle a success if it proves anything; `alone`: no other result names the same account."""
        try:
            written = proven_in_bulk(write, result, operation)
        except ProvisioningError as error:
            written = Written(key=write.key, error=error)
        if written is None or (written.error is None and written.shown is None and not alone):
            doubtful[write.key] = operation
        else:
            self.call.settle(write, written)

    async def _look(self, write: Write, operation: Answer) -> None:
        """Settle a success that proves nothing by looking at the account; a create that failed, if there is one."""
        written: Written | None
        try:
            if operation.ok:
                written = await self.writing.look(write, operation, self.call)
            else:
                written = await self.writing.resolve(write, self.call)
        except ProvisioningError as error:
            written = Written(key=write.key, error=error)
        if written is None:
            self.by_one.append(write)
        else:
            self.call.settle(write, written)

    def _count_loss(self, chunk: Chunk) -> None:
        self.losses.count(chunk.sent, time.monotonic())
        self.sizes.at_once = FIRST_AT_ONCE
        self.given_up = self.given_up or self.losses.number >= LOSSES

    async def _lost(self, chunk: Chunk) -> None:
        """Find out which creates arrived; the others, and what is idempotent, are sent again one by one.

        One listing does for all whose answers were lost before it began.
        """
        self._count_loss(chunk)
        changes = [write for write in chunk.writes if write.kind is not WriteKind.CREATE]
        self.call.doubtful.update(write.key for write in changes)
        self.by_one += changes
        creates = (write for write in chunk.writes if write.kind is WriteKind.CREATE)
        self.lost |= {write.external_id or write.key: write for write in creates}
        async with self.looking:
            looked_for, self.lost = self.lost, {}
            if looked_for:
                await self._look_for(looked_for)

    async def _look_for(self, creates: dict[str, Write]) -> None:
        error: ProvisioningError | None = None
        try:
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
    """Match results with writes: by bulkId, by the id in the location, or, in a full answer without, by position.

    A write that has two results has none: nobody can say which of them is its own. Nor does a result with a bulkId that
    was not sent belong to anybody.
    """
    results = [item for item in operations if isinstance(item, dict)] if isinstance(operations, list) else []
    keys = {write.key for write in chunk}
    by_id = {write.scim_id: write.key for write in chunk if write.scim_id}
    matched: dict[str, dict[str, Any]] = {}
    twice: set[str] = set()
    for position, result in enumerate(results):
        told = str(result.get("bulkId") or "")
        key = told if told in keys else by_id.get(last_part(result), "")
        if not key and not told and len(results) == len(chunk):
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
