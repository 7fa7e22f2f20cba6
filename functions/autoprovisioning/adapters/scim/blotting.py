"""Removes the access token from what a server answers: verbatim, in JSON or percent escapes, and in pieces."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import msgspec

SHORTEST_TOKEN = 8  # a shorter one is no secret, and might be part of any word
PIECE = 8  # characters: any 15 consecutive ones of the token contain one of its pieces
SHORT = 65_536  # bytes
MOST_ESCAPES = 100_000  # percent signs that are decoded
INSTEAD = "[token]"


class TooManyEscapes(ValueError):
    """There is more to decode than any account has a use for."""


class Blot:
    """Knows the token of one client."""

    def __init__(self, token: str) -> None:
        starts = range(0, len(token) - PIECE + 1, PIECE) if len(token) >= 2 * PIECE else ()
        pieces = [(token[:at], token[at : at + PIECE], token[at + PIECE :]) for at in starts]
        if not pieces and len(token) >= SHORTEST_TOKEN:
            pieces = [("", token, "")]
        self._whole = token.encode() if pieces else b""
        self._pieces = [piece.encode() for _, piece, _ in pieces]
        self._pattern = re.compile("|".join(_with_neighbours(*parts) for parts in pieces) or r"\Z.")

    def clean(self, content: bytes | bytearray, decoded: Any) -> Any:
        """Return what `content` was decoded to, without the token.

        Raises:
            TooManyEscapes: there is no telling whether the token is in it.
        """
        if self._shows(content) or self._hides(content, decoded):
            return self._walk(decoded)
        return decoded

    def _shows(self, content: bytes | bytearray) -> bool:
        """Look for a piece of the token; in what is too long for an error text, for the whole token."""
        if len(content) > SHORT:
            return bool(self._whole) and self._whole in content
        return any(piece in content for piece in self._pieces)

    def _hides(self, content: bytes | bytearray, decoded: Any) -> bool:
        """Look behind escapes; the encoder has none but for quotes, backslashes and control characters."""
        if b"\\u" in content:
            content = msgspec.json.encode(decoded)
            if self._shows(content):
                return True
        escapes = content.count(b"%")
        if escapes > MOST_ESCAPES:
            raise TooManyEscapes
        return escapes > 0 and self._shows(unquote_to_bytes(bytes(content)))

    def _walk(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return {self._text(key): self._walk(item) for key, item in value.items()}
        return [self._walk(item) for item in value] if isinstance(value, list) else value

    def _text(self, text: str) -> str:
        text = self._pattern.sub(INSTEAD, text)
        return INSTEAD if "%" in text and self._pattern.search(unquote(text)) else text


def _with_neighbours(before: str, piece: str, after: str) -> str:
    """Match a piece with as much of the token around it as is there."""
    left = right = ""
    for character in before:
        left = f"(?:{left}{re.escape(character)})?"
    for character in reversed(after):
        right = f"(?:{re.escape(character)}{right})?"
    return left + re.escape(piece) + right
