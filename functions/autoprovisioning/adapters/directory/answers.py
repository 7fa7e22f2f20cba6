"""Reads an answer's body, bounded in bytes and seconds, decodes it whatever it holds, and removes our token."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

LARGEST_BODY = 16 * 1024 * 1024  # bytes, also after decompression; a page of 500 users has some 2 MB
MOST_VALUES = 1_000_000  # in one body: "{}," sixteen million bytes long would take 400 million decoded
LARGE = 1024 * 1024  # bytes: only listings are that long
CHUNK = 64 * 1024
GZIP = 16 + zlib.MAX_WBITS
SHORTEST_TOKEN = 8  # a shorter one is no secret, and might be part of any word
BLOT = "[token]"


class Unreadable(Exception):
    """The answer cannot be read; its text says why, and never repeats what was answered."""


class Raw(Protocol):
    """A response's body as it comes over the wire (urllib3's HTTPResponse)."""

    def read1(self, amt: int, *, decode_content: bool) -> bytes:
        """Return what one read of the connection gives, at most so many bytes; b"" is the end."""


def read_to_the_end(raw: Raw, encoding: str, seconds: float, grows_large: Callable[[], object]) -> bytes:
    """Return the body, unpacked; raises Unreadable for one that is damaged, too large or does not end in time.

    `grows_large` is called once, as soon as the body is longer than `LARGE`, and may wait. A timeout of the socket
    alone would let a server that sends a byte now and then go on for ever.
    """
    encoding = encoding.strip().casefold()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise Unreadable("an answer in an encoding that was not asked for")
    unpacking = zlib.decompressobj(GZIP) if encoding.endswith("gzip") else None
    body = bytearray()
    large = False
    until = time.monotonic() + seconds
    try:
        while chunk := raw.read1(CHUNK, decode_content=False):
            if unpacking is not None and unpacking.eof:
                raise Unreadable("an answer with more after its end")
            body += unpacking.decompress(chunk, LARGEST_BODY + 1 - len(body)) if unpacking is not None else chunk
            if len(body) > LARGE and not large:
                large = True
                grows_large()
            if len(body) > LARGEST_BODY:
                raise Unreadable(f"an answer of more than {LARGEST_BODY >> 20} MiB")
            if time.monotonic() > until:
                raise Unreadable("an answer that did not end in time")
    except zlib.error:
        raise Unreadable("a damaged answer") from None
    if unpacking is not None and body and not unpacking.eof:
        raise Unreadable("a truncated answer")
    return bytes(body)


def bound(content: bytes) -> None:
    """Raise Unreadable for more values than any honest answer has."""
    if len(content) > MOST_VALUES and sum(map(content.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise Unreadable("an answer of too many values")


def decoded(content: bytes) -> Any:
    """Decode JSON; raises Unreadable for anything else, and for more values than any honest answer has.

    Beside DecodeError msgspec raises UnicodeDecodeError for text that is not UTF-8, RecursionError for deep nesting,
    and ValueError for an integer of thousands of digits.
    """
    bound(content)
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Unreadable("an answer that is not JSON") from None


def blotted(value: Any, token: str, content: bytes) -> Any:
    """Return a decoded value without the token, however it was escaped; `content` is what it was decoded from."""
    if len(token) < SHORTEST_TOKEN:
        return value
    try:
        # Re-encoded, each character has only one form; walking through every answer would take much longer.
        plain = msgspec.json.encode(value) if b"\\" in content else content
        return _without(value, token) if msgspec.json.encode(token)[1:-1] in plain else value
    except RecursionError:
        raise Unreadable("an answer that is nested too deeply") from None


def resource(content: bytes, token: str) -> dict[str, Any]:
    """Decode a JSON object, without the token; nothing stands for one that is empty.

    Raises:
        Unreadable: it is anything else.
    """
    body = blotted(decoded(content), token, content) if content else {}
    if not isinstance(body, dict):
        raise Unreadable("an answer that is not a JSON object")
    return body


def _without(value: Any, token: str) -> Any:
    if isinstance(value, str):
        return value.replace(token, BLOT)
    if isinstance(value, list):
        return [_without(item, token) for item in value]
    if isinstance(value, dict):
        return {_without(name, token): _without(item, token) for name, item in value.items()}
    return value
