"""SCIM Bulk (RFC 7644 3.7): many writes a request, each with a result of its own.

Chunks start at 100 operations, double on success up to the server's limits, and halve on 413 or a timeout. When an
answer is lost or lacks operations, no create is sent again before one listing has told which of them arrived.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from autoprovisioning.adapters.scim.protocol import (
    BULK,
    BULK_REQUEST,
    USERS,
    Answer,
    Dropped,
    error_of,
    throttled,
    user_path,
)
from autoprovisioning.adapters.scim.resources import create_body, patch_body
from autoprovisioning.domain.accounts import Account, Capabilities, Write, WriteKind, Written
from autoprovisioning.domain.connections import PatchDialect
from autoprovisioning.domain.errors import AuthorizationRefused, Incomplete, ProvisioningError, Transient, Unresolved

if TYPE_CHECKING:
    from autoprovisioning.adapters.scim.writing import Call, Writing

FIRST_SIZE = 100
AT_ONCE = 2  # Bulk requests under way
SECONDS_AN_OPERATION = 0.25  # added to the timeout
ENVELOPE = 200  # bytes around the operations
RETRIED_BY_ONE = frozenset({408, 425, 429, 500, 502, 503, 504})


class BulkRefused(Exception):
    """The server does not take Bulk after all; `rest` is what has not been sent."""

    def __init__(self, rest: list[Write]) -> None:
        super().__init__("Bulk is refused")
        self.rest = rest


@dataclass(slots=True)
class BulkSizes:
    """What this process has learnt about the server's Bulk."""

    size: int = FIRST_SIZE
    refused: bool = False

    def grow(self, most: int) -> None:
        """Double."""
        self.size = min(most, self.size * 2)

    def shrink(self, sent: int) -> None:
        """Halve what was sent."""
        self.size = max(1, sent // 2)


async def send_in_bulk(
    writing: Writing, writes: Sequence[Write], offered: Capabilities, call: Call, sizes: BulkSizes
) -> list[Write]:
    """Send the writes in Bulk; returns those that must be sent one by one (retries, and what was lost on the way)."""
    pending = deque(writes)
    by_one: list[Write] = []
    workers = [_worker(writing, pending, offered, call, sizes, by_one) for _ in range(AT_ONCE)]
    await asyncio.gather(*workers)
    if sizes.refused:
        raise BulkRefused([*pending, *by_one])
    return by_one


async def _worker(
    writing: Writing,
    pending: deque[Write],
    offered: Capabilities,
    call: Call,
    sizes: BulkSizes,
    by_one: list[Write],
) -> None:
    while pending and not sizes.refused:
        if writing.stopped(pending[0], call) is not None:
            by_one.extend(pending)  # each tells its own reason without being sent
            pending.clear()
            return
        chunk, body = _chunk(pending, offered, sizes.size, writing.dialect)
        try:
            async with writing.sender.pace.slot():
                answer = await writing.sender.transport.send(
                    "POST", BULK, body=body, extra_time=SECONDS_AN_OPERATION * len(chunk)
                )
        except Dropped:
            sizes.shrink(len(chunk))
            by_one.extend(await _after_loss(writing, chunk, call))
            continue
        if answer.ok and answer.body is not None:
            if len(chunk) >= sizes.size:
                sizes.grow(offered.max_operations)
            writing.sender.pace.succeeded()
            by_one.extend(await _read(writing, chunk, answer, call))
        else:
            await _refused(writing, chunk, answer, call, pending, sizes, by_one)


def _chunk(pending: deque[Write], offered: Capabilities, size: int, dialect: PatchDialect) -> tuple[list[Write], bytes]:
    """Take as many writes as the limits allow, rendered."""
    chunk: list[Write] = []
    operations: list[bytes] = []
    weight = ENVELOPE
    while pending and len(chunk) < min(size, offered.max_operations):
        operation = msgspec.json.encode(_operation(pending[0], dialect))
        if chunk and weight + len(operation) + 1 > offered.max_payload:
            break
        weight += len(operation) + 1
        operations.append(operation)
        chunk.append(pending.popleft())
    body = b'{"schemas":["%s"],"Operations":[%s]}' % (BULK_REQUEST.encode(), b",".join(operations))
    return chunk, body


def _operation(write: Write, dialect: PatchDialect) -> dict[str, Any]:
    match write.kind:
        case WriteKind.CREATE:
            return {"method": "POST", "path": USERS, "bulkId": write.key, "data": create_body(write)}
        case WriteKind.PATCH:
            data = patch_body(write, dialect)
            return {"method": "PATCH", "path": user_path(write.scim_id), "bulkId": write.key, "data": data}
        case WriteKind.DELETE:
            return {"method": "DELETE", "path": user_path(write.scim_id), "bulkId": write.key}


async def _refused(
    writing: Writing,
    chunk: list[Write],
    answer: Answer,
    call: Call,
    pending: deque[Write],
    sizes: BulkSizes,
    by_one: list[Write],
) -> None:
    """Settle an answer to the whole request: nothing of it was carried out, except perhaps on a 5xx."""
    if answer.status == 413 and len(chunk) > 1:
        sizes.shrink(len(chunk))
        pending.extendleft(reversed(chunk))
    elif throttled(answer):
        if await writing.sender.back_off(answer, 0, (call.deadline - writing.sender.clock()).total_seconds()):
            pending.extendleft(reversed(chunk))
        else:
            error = error_of(answer, writing.sender.clock(), known_account=False)
            for write in [*chunk, *pending]:
                call.emit(Written(write.key, error=error))
            pending.clear()
    elif answer.status == 401:
        call.refused = AuthorizationRefused("Keeper refuses the access token (HTTP 401)", status=401)
        by_one.extend(chunk)
    elif answer.status >= 500 and answer.status != 501:
        sizes.shrink(len(chunk))
        by_one.extend(await _after_loss(writing, chunk, call))
    elif answer.ok:
        by_one.extend(await _after_loss(writing, chunk, call))  # a success that cannot be read
    else:
        sizes.refused = True
        pending.extendleft(reversed(chunk))


async def _read(writing: Writing, chunk: list[Write], answer: Answer, call: Call) -> list[Write]:
    """Settle each operation by its own status; returns those to send one by one."""
    results = _results(chunk, (answer.body or {}).get("Operations"))
    by_one: list[Write] = []
    lost: list[Write] = []
    for write in chunk:
        result = results.get(write.key)
        status = _status(result) if result is not None else 0
        if result is None or not status:
            lost.append(write)
            continue
        body = result.get("response")
        operation = Answer(status, body if isinstance(body, dict) else {}, {}, answer.seconds)
        if operation.ok:
            call.settle(write, await _done(writing, write, result, operation))
        elif status in RETRIED_BY_ONE:
            by_one.append(write)
        else:
            known = write.kind is not WriteKind.CREATE
            error = error_of(operation, writing.sender.clock(), known_account=known)
            call.settle(write, Written(write.key, error=error, seconds=answer.seconds))
    return by_one + (await _after_loss(writing, lost, call) if lost else [])


async def _done(writing: Writing, write: Write, result: Mapping[str, Any], operation: Answer) -> Written:
    """Return a success; a created account's id is in the response or at the end of its location."""
    if write.kind is WriteKind.CREATE and not (operation.body or {}).get("id"):
        scim_id = str(result.get("location") or "").rstrip("/").rpartition("/")[2]
        operation = Answer(operation.status, {"id": scim_id}, {}, operation.seconds)
    try:
        return await writing.done(write, operation)
    except ProvisioningError as error:
        return Written(write.key, error=error)


def _results(chunk: Sequence[Write], operations: object) -> dict[str, dict[str, Any]]:
    """Match results with writes: by bulkId, by the id in the location, or, in a full answer, by position."""
    results = [item for item in operations if isinstance(item, dict)] if isinstance(operations, list) else []
    keys = {write.key for write in chunk}
    by_id = {write.scim_id: write.key for write in chunk if write.scim_id}
    matched: dict[str, dict[str, Any]] = {}
    for position, result in enumerate(results):
        key = str(result.get("bulkId") or "")
        if key not in keys:
            key = by_id.get(str(result.get("location") or "").rstrip("/").rpartition("/")[2], "")
        if not key and len(results) == len(chunk):
            key = chunk[position].key
        if key:
            matched[key] = result
    return matched


def _status(result: Mapping[str, Any]) -> int:
    """Read an operation's status: a string by the RFC, a number or an object with a code in some servers."""
    status = result.get("status")
    if isinstance(status, dict):
        status = status.get("code")
    text = str(status)
    return int(text) if text.isdigit() else 0


async def _after_loss(writing: Writing, chunk: Sequence[Write], call: Call) -> list[Write]:
    """Tell by one listing which creates arrived; returns what is to be sent again, one by one."""
    creates = {write.external_id or "": write for write in chunk if write.kind is WriteKind.CREATE}
    again = [write for write in chunk if write.kind is not WriteKind.CREATE]
    if not creates:
        return again
    arrived: dict[str, Account] = {}
    try:
        async for page in writing.search.pages():
            arrived |= {account.external_id: account for account in page if account.external_id in creates}
    except (Transient, Incomplete, ProvisioningError):
        for write in creates.values():
            if write.external_id not in arrived:
                call.emit(Written(write.key, error=Unresolved("Keeper's answer to a Bulk request was lost")))
        creates = {external_id: write for external_id, write in creates.items() if external_id in arrived}
    for external_id, write in creates.items():
        if external_id in arrived:
            call.emit(Written(write.key, arrived[external_id].scim_id))
        else:
            again.append(write)
    return again
