"""Answers as no client should have to read them, on demand: what gateways, bugs and attackers make of an answer.

An effect of a fault changes the answer of the request that it meets, after it was carried out:

    total          totalResults as given, any JSON value; the word "missing" leaves it out
    names          how attributes are spelled: "lower", "upper" or "title"
    id             the id shown, instead of the account's own
    extra          attributes that are added to the answer
    not_utf8       a text in ISO 8859-1 beside the others
    nested         so many arrays within each other, as an attribute
    digits         a number of so many digits, as an attribute
    gzip_bomb      the answer, followed by so many MiB of blanks, compressed
    endless        the answer never ends
    echo           the token, in the detail: "escaped" as JSON may, "percent" with lower-case hex digits, "split" over
                   the texts, or "key" as the name of an attribute
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from infra.local.asgi import Reply

SPELLINGS: dict[str, Callable[[str], str]] = {
    "lower": str.lower, "upper": str.upper, "title": lambda name: name[:1].upper() + name[1:],
}  # fmt: skip
MIB = b" " * 1024 * 1024


def applied(effect: Mapping[str, Any], reply: Reply, token: str) -> Reply:
    """Return the answer with the oddities of a fault."""
    body = reply.body
    if isinstance(body, dict):
        body = _odd(dict(body), effect, token)
    content = Reply(status=reply.status, body=body).content()
    content = _inserted(content, effect, token)
    headers = dict(reply.headers)
    if "gzip_bomb" in effect:
        content = _compressed(content, int(effect["gzip_bomb"]))
        headers["content-encoding"] = "gzip"
    endless = MIB if effect.get("endless") else b""
    return Reply(status=reply.status, body=content, headers=headers, endless=endless)


def _odd(body: dict[str, Any], effect: Mapping[str, Any], token: str) -> dict[str, Any]:
    if effect.get("total") == "missing":
        body.pop("totalResults", None)
    elif "total" in effect:
        body["totalResults"] = effect["total"]
    if "id" in effect:
        if "Resources" in body:
            body["Resources"] = [{**item, "id": effect["id"]} for item in body["Resources"]]
        else:
            body["id"] = effect["id"]
    body |= effect.get("extra", {})
    body |= _echo(str(effect.get("echo", "")), token)
    names = effect.get("names")
    spelled: dict[str, Any] = _spelled(body, str(names)) if names else body
    return spelled


def _echo(how: str, token: str) -> dict[str, Any]:
    half = len(token) // 2
    percent = "".join(f"%{ord(character):02x}" for character in token)
    return {
        "percent": {"detail": f"no: {percent}"},
        "split": {"detail": f"no: {token[:half]}", "message": token[half:]},
        "key": {token: "no", "detail": "no"},
    }.get(how, {})


def _spelled(value: Any, how: str) -> Any:
    if isinstance(value, dict):
        return {SPELLINGS[how](name): _spelled(item, how) for name, item in value.items()}
    return [_spelled(item, how) for item in value] if isinstance(value, list) else value


def _inserted(content: bytes, effect: Mapping[str, Any], token: str) -> bytes:
    """Put in front what no encoder would write."""
    first = b""
    if effect.get("echo") == "escaped":
        escaped = "".join(f"\\u{ord(character):04X}" for character in token)
        first = f'"detail":"no: {escaped}",'.encode()
        content = content.replace(b'"detail":', b'"was":')
    if effect.get("not_utf8"):
        first += '"note":"Verzögerung",'.encode("iso-8859-1")
    if "nested" in effect:
        first += b'"nested":' + b"[" * int(effect["nested"]) + b"]" * int(effect["nested"]) + b","
    if "digits" in effect:
        first += b'"digits":' + b"9" * int(effect["digits"]) + b","
    return b"{" + first + content[1:] if first and content[:1] == b"{" else content


def _compressed(content: bytes, megabytes: int) -> bytes:
    return gzip.compress(content) + _blanks(megabytes)  # members of one stream (RFC 1952 2.2)


@lru_cache(maxsize=4)
def _blanks(megabytes: int) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as packed:
        for _ in range(megabytes):
            packed.write(MIB)
    return out.getvalue()
