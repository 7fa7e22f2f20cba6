"""What a fault does to an answer: refusals, bodies that are not JSON, and resources that say something odd.

status, reason, message, domain, retry_after   a refusal in Google's shape; Retry-After may be any text
body, body_base64                              this body as it is, with `status` or 200
bomb_mib                                       so many MiB of blanks, compressed to next to nothing
endless                                        a body that does not end while the client reads, 1 GiB at most
set, unset                                     fields that each user of the answer has, or lacks
leave_out                                      ids that a listing lacks, without a sign
is_member                                      what hasMember answers, of any type
"""

from __future__ import annotations

import asyncio
import base64
import copy
import gzip
from functools import lru_cache
from typing import Any

from infra.local.asgi import Fault, Reply, Send

ALTERING = {"set", "unset", "leave_out", "is_member"}
CHUNK = b" " * 64 * 1024
CHUNKS = 4096  # of an endless body: 256 MiB, or a byte each


def reply_of(fault: Fault, refusal: dict[str, Any]) -> Reply | None:
    """Return the answer that replaces the server's own, None where it is only altered."""
    effect = fault.effect
    headers = {"Retry-After": str(effect["retry_after"])} if "retry_after" in effect else {}
    status = int(effect.get("status", 200))
    if "body" in effect:
        body = effect["body"]
        return Reply(status=status, body=body.encode() if isinstance(body, str) else body, headers=headers)
    if "body_base64" in effect:
        return Reply(status=status, body=base64.b64decode(effect["body_base64"]), headers=headers)
    if "bomb_mib" in effect:
        return Reply(status=status, body=_bomb(int(effect["bomb_mib"])), headers=headers | {"content-encoding": "gzip"})
    if "endless" in effect:
        raise Endless(fault)
    return Reply(status=status, body=refusal, headers=headers) if "status" in effect else None


def altered(fault: Fault, result: Any) -> Any:
    """Return what a method answers, altered as the fault says."""
    effect = fault.effect
    if not isinstance(result, dict) or not ALTERING & effect.keys():
        return result
    result = copy.deepcopy(result)
    if "is_member" in effect and "isMember" in result:
        return {**result, "isMember": effect["is_member"]}
    for key in ("users", "members"):
        if key in result:
            kept = [item for item in result[key] if item.get("id") not in effect.get("leave_out", ())]
            result |= {key: kept}
    for user in result.get("users", [result]):
        user.update(effect.get("set", {}))
        for name in effect.get("unset", ()):
            user.pop(name, None)
    return result


@lru_cache(maxsize=1)
def _bomb(mib: int) -> bytes:
    return gzip.compress(b" " * (mib << 20))


class Endless(Exception):
    """Raised to answer with a body that does not end before its fault is lifted."""

    def __init__(self, fault: Fault) -> None:
        super().__init__("endless")
        self.fault = fault

    async def send(self, send: Send, media_type: str) -> None:
        """Send it for as long as anybody could be reading."""
        headers = [(b"content-type", media_type.encode())]
        pace = self.fault.effect["endless"]
        slow = pace is not True
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(CHUNKS):
            if self.fault.released.is_set():
                break
            await send({"type": "http.response.body", "body": b" " if slow else CHUNK, "more_body": True})
            await asyncio.sleep(pace if slow else 0)
        await send({"type": "http.response.body", "body": b""})
