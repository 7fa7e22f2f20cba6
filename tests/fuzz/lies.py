"""How an answer may depart from the truth: any status, any body, any header, any manner of sending it.

A lie is applied to the answer that a truthful server gives to the request at hand, so that much of it gets past what
only looks at the shape.
"""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any

from hypothesis import strategies as st

# JSON that Python's own encoder would not write, by the text that stands for it.
RAW = {
    "@huge": b"9" * 5000,
    "@nested": b"[" * 50_000 + b"]" * 50_000,
    "@deep": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "@nan": b"NaN",
    "@infinite": b"1e999",
    "@latin-1": b'"\xe9"',
    "@long": b'"' + b"x" * 100_000 + b'"',
}
JUNK: tuple[Any, ...] = (
    *RAW, None, True, False, 0, 1, -1, 1.5, 2**64, "", " ", ".", "..", "../Users", "true", "no", "\x00", "\ud800",
    "x" * 300, "2026-11-24T09:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "ADA@EXAMPLE.COM", [], {},
    [None], [{}], {"value": None}, [[["x"]]], {"": ""}, ["u1"],
)  # fmt: skip
WHOLE = {
    "nothing": b"",
    "a page": b"<!doctype html><title>Blocked</title><p>Your request was blocked by the firewall.",
    "latin-1": b'{"detail": "Acc\xe8s refus\xe9"}',
    "no JSON": b'{"Resources": [',
    "a number": RAW["@huge"],
    "a nest": RAW["@nested"],
    "a deep object": RAW["@deep"],
    "a list": b"[]",
    "null": b"null",
    "a text": b'"ok"',
    "an empty object": b"{}",
    "with a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"id": "u1"}'.encode("utf-16"),
    "a SCIM error": b'{"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "500", "detail": "No"}',
    "an error without texts": b'{"error": {"errors": [], "message": [], "code": "x"}}',
    "an odd error": b'{"error": {"errors": {"reason": 1}, "message": null}, "message": {}, "detail": []}',
    "a usage limit": b'{"error": {"code": 403, "errors": [{"reason": "userRateLimitExceeded"}], "message": "Slow"}}',
    "throttled": b'{"error": "throttled", "message": "Throttled. Try again in 99999999999999999999 minutes"}',
    "throttled for a moment": b'{"error": "throttled", "message": "Try again in 1 second"}',
    "deleted": b'{"error": {"code": 412, "errors": [{"reason": "conditionNotMet"}], "message": "User is deleted."}}',
    "an empty listing": b'{"totalResults": 0, "Resources": [], "users": [], "members": []}',
    "the token": b"@token",
    "the token, escaped": b"@escaped",
}
RETRY_AFTER = (
    "0", "1", "-1", "1000000", "1790000000", "9" * 400, "1e9", "1.5", "1.2.3", "nan", "inf", "soon", "\xb2", ".",
    "Wed, 21 Oct 2099 07:28:00 GMT", "Wed, 21 Oct 1999 07:28:00 GMT", "Wed, 99 Foo 2026 99:99:99 GMT",
    "Wed, 21 Oct 2099 07:28:00 -9999", "Wed, 21 Oct 99999 07:28:00 GMT", "Wed, 21 Oct 2099 07:28:00",
)  # fmt: skip
STATUSES = (
    200, 200, 200, 201, 202, 204, 206, 301, 302, 304, 307, 400, 400, 401, 403, 403, 404, 404, 405, 408, 409, 410, 412,
    413, 415, 422, 425, 428, 429, 500, 500, 501, 502, 503, 503, 504, 507, 599, 103, 150,
)  # fmt: skip
MANNERS = ("gzip", "no gzip", "chunked", "cut short", "until closed", "dropped", "no HTTP", "early hints", "slow")
SLOW = 0.4  # seconds: longer than those who ask wait
LIST_NAMES = frozenset({"Resources", "users", "members", "groups", "Operations", "organizationUnits"})


@dataclass(frozen=True)
class Trick:
    """One change of a JSON body; `where` chooses the place among all there are."""

    verb: str  # drop, put, flip, recase, add, shorten, double
    where: int
    junk: Any = None


@dataclass(frozen=True)
class Lie:
    """One answer's departure from the truth; `undone`: the request is answered, but not carried out."""

    status: int | None = None
    whole: str = ""
    tricks: tuple[Trick, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    manner: str = "whole"
    undone: bool = False


def junk() -> st.SearchStrategy[Any]:
    """Return values that stand where nobody expects them."""
    leaves = st.one_of(st.sampled_from(JUNK), st.text(max_size=8), st.integers())
    return st.one_of(leaves, st.dictionaries(st.text(max_size=4), leaves, max_size=2), st.lists(leaves, max_size=2))


def tricks() -> st.SearchStrategy[Trick]:
    where = st.integers(0, 400)
    plain = st.builds(Trick, st.sampled_from(("drop", "flip", "recase", "shorten", "double")), where)
    return st.one_of(plain, st.builds(Trick, st.sampled_from(("put", "add")), where, junk()))


def _headers() -> st.SearchStrategy[tuple[str, str]]:
    odd = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=12)
    retry = st.tuples(st.just("Retry-After"), st.one_of(st.sampled_from(RETRY_AFTER), odd))
    other = st.sampled_from(
        (
            ("Content-Encoding", "gzip"), ("Content-Encoding", "br"), ("Content-Encoding", "nonsense"),
            ("Content-Type", "text/html; charset=nonsense"), ("Location", "http://127.0.0.1:9/"), ("Location", "/"),
            ("Set-Cookie", "session=1"), ("X-Odd", "\xe9\xff"), ("X-Long", "x" * 9000), ("ETag", 'W/"1"'),
            ("Content-Length", "7"), ("Content-Length", "-1"), ("Transfer-Encoding", "chunked"),
            ("Connection", "close"),
        )
    )  # fmt: skip
    return st.one_of(retry, retry, other)


def lies(*, slow: bool = True) -> st.SearchStrategy[Lie]:
    """Return lies of every kind; about half of them only change the JSON of a truthful answer."""
    manners = MANNERS if slow else MANNERS[:-1]
    statuses = st.one_of(st.sampled_from(STATUSES), st.integers(100, 999))
    changed = st.lists(tricks(), min_size=1, max_size=3).map(tuple)
    odd_headers = st.lists(_headers(), min_size=1, max_size=2).map(tuple)
    undone = st.booleans()
    return st.one_of(
        st.builds(Lie, tricks=changed, undone=undone),
        st.builds(Lie, tricks=changed, undone=undone),
        st.builds(Lie, statuses, undone=undone),
        st.builds(Lie, statuses, st.sampled_from(sorted(WHOLE)), headers=odd_headers | st.just(()), undone=undone),
        st.builds(Lie, st.none(), st.sampled_from(sorted(WHOLE)), undone=undone),
        st.builds(Lie, st.none() | statuses, headers=odd_headers, undone=undone),
        st.builds(Lie, st.none(), manner=st.sampled_from(manners), undone=undone),
        st.builds(Lie, statuses, st.just(""), changed, odd_headers, undone=undone),
    )


def body_of(lie: Lie, truth: bytes, token: str) -> bytes:
    """Return the body that is sent."""
    if lie.whole:
        echo = WHOLE[lie.whole]
        escaped = "".join(f"\\u{ord(char):04x}" for char in token)
        texts = {b"@token": f'{{"detail": "Bearer {token}"}}', b"@escaped": f'{{"detail": "Bearer {escaped}"}}'}
        return texts[echo].encode() if echo in texts else echo
    if not lie.tricks or not truth.startswith((b"{", b"[")):
        return truth
    value = json.loads(truth)
    for trick in lie.tricks:
        _play(trick, value)
    return render(value)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _places(item)


def _play(trick: Trick, value: Any) -> None:
    places = list(_places(value))
    if not places:
        return
    holder, key = places[trick.where % len(places)]
    named = [(at, name) for at, name in places if isinstance(at, dict) and name in LIST_NAMES]
    lists = [(at, name) for at, name in named if isinstance(at[name], list) and at[name]]
    flags = [(at, name) for at, name in places if isinstance(at[name], bool)]
    match trick.verb:
        case "drop":
            del holder[key]
        case "put":
            holder[key] = copy.deepcopy(trick.junk)
        case "add" if isinstance(holder, dict):
            holder["zz"] = copy.deepcopy(trick.junk)
        case "flip" if flags:
            at, name = flags[trick.where % len(flags)]
            at[name] = not at[name]
        case "recase" if isinstance(holder, dict):
            holder[key.swapcase()] = holder.pop(key)
        case "shorten" if lists:
            at, name = lists[trick.where % len(lists)]
            del at[name][trick.where % len(at[name])]
        case "double" if lists:
            at, name = lists[trick.where % len(lists)]
            at[name].append(copy.deepcopy(at[name][0]))


def render(value: Any) -> bytes:
    """Write JSON, what stands for raw text included."""
    text = json.dumps(value).encode()
    for name, raw in RAW.items():
        text = text.replace(f'"{name}"'.encode(), raw)
    return text


BLOWN_UP = 400 * 2**20  # bytes


@lru_cache(maxsize=1)
def bomb() -> bytes:
    """Return 0.4 MB that unpack to 400 MiB."""
    with BytesIO() as packed:
        with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9) as out:
            for _ in range(BLOWN_UP >> 20):
                out.write(b" " * (1 << 20))
        return packed.getvalue()


def on_the_wire(lie: Lie, status: int, headers: list[tuple[str, str]], body: bytes) -> bytes | None:
    """Return the bytes of an answer; None drops the connection without one."""
    if lie.manner == "dropped":
        return None
    if lie.manner == "no HTTP":
        return b"\x15\x03\x01\x00\x02\x02\x28 go away\r\n\r\n"
    named = {name.lower() for name, _ in lie.headers}
    sent = [(name, value) for name, value in headers if name.lower() not in named] + list(lie.headers)
    if lie.manner == "gzip bomb":
        body, sent = bomb(), [*sent, ("Content-Encoding", "gzip")]
    if lie.manner == "gzip":
        body, sent = gzip.compress(body, 1), [*sent, ("Content-Encoding", "gzip")]
    if lie.manner == "no gzip":
        sent.append(("Content-Encoding", "gzip"))
    length = (
        []
        if "content-length" in named or lie.manner in ("until closed", "endless")
        else [("Content-Length", str(len(body)))]
    )
    if lie.manner == "chunked":
        length = [("Transfer-Encoding", "chunked")]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:]) if part) + b"0\r\n\r\n"
    if lie.manner == "cut short":
        body = body[: len(body) // 2]
    head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in [*sent, *length])
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" if lie.manner == "early hints" else b""
    return early + head.encode("latin-1") + b"\r\n" + body


def closes(lie: Lie) -> bool:
    """Say whether the connection must end with this answer, since nobody can tell where the next one begins."""
    return lie.manner in ("cut short", "until closed", "endless", "no HTTP", "dropped") or bool(lie.headers)
