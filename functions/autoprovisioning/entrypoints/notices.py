"""What a page says once, after a form was taken and the browser was sent on to it (RFC 9110 15.4.4).

It travels in a cookie of that page alone, which showing the page removes: a reload, another page or a kept link says
nothing. The cookie holds a word of ours and perhaps a number, so nobody can make a page say anything else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import flask
from flask import Response

COOKIE = "notice"
LASTS = 60  # seconds: longer than a redirect takes
_VALUE = re.compile(r"([a-z-]{1,40})(?:\.([0-9]{1,9}))?@(/.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A word, which the page turns into a sentence, and a number that belongs to it."""

    word: str
    number: int = 0

    def among(self, sentences: Mapping[str, str]) -> str:
        """Return its sentence; empty if there is none."""
        return sentences.get(self.word, "")


NONE = Notice(word="")


def leave(answer: Response, path: str, notice: Notice) -> Response:
    """Let the page at this path say it."""
    value = f"{notice.word}.{notice.number}@{path}"
    answer.set_cookie(COOKIE, value, LASTS, path=path, secure=True, httponly=True, samesite="Strict")
    return answer


def left(request: flask.Request) -> Notice:
    """Return what the page that is asked for is to say."""
    for value in request.cookies.getlist(COOKIE):  # also those of the pages above it
        found = _VALUE.fullmatch(value)
        if found is not None and found[3] == request.path:
            return Notice(word=found[1], number=int(found[2] or 0))
    return NONE


def said(answer: Response, request: flask.Request) -> Response:
    """Remove what the page has said."""
    if left(request) is not NONE:
        answer.delete_cookie(COOKIE, path=request.path, secure=True, httponly=True, samesite="Strict")
    return answer
