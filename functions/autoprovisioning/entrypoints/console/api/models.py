"""Models that several parts of the API share: JSON is read, written and described through models."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from autoprovisioning.domain.errors import BadInput

T = TypeVar("T")
LIMIT = 50


class Model(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A JSON object with these fields and no others."""


class Nothing(Model):
    """The body of a request without parameters: an empty JSON object."""


class Accepted(Model):
    """Work in progress; Location says where its state is reported."""

    detail: str


class Paging(Model):
    """Which part of a list is wanted: `cursor` as returned with the previous part, empty for the first."""

    cursor: Annotated[str, Meta(max_length=500)] = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = LIMIT

    def part(self, items: Iterable[T], count: int) -> tuple[list[T], str]:
        """Return this part of a list in memory, and the cursor of the next one; raises BadInput."""
        if self.cursor and not (self.cursor.isascii() and self.cursor.isdecimal()):
            raise BadInput("cursor", "it is not a cursor of this list", "Use the cursor of the page before, or none.")
        first = min(int(self.cursor or 0), count)
        end = first + self.limit
        return list(islice(items, first, end)), str(end) if end < count else ""


class Problem(msgspec.Struct, kw_only=True):
    """An error (RFC 9457); `code` tells what it is, `field`, `problem` and `mend` are there if an input was refused."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    field: str | UnsetType = UNSET
    problem: str | UnsetType = UNSET
    mend: str | UnsetType = UNSET
