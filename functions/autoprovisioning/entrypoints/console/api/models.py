"""What several parts of the API take and give: JSON is read and written through models, and described by them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

LIMIT = 50


class Model(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A JSON object with these fields and no others."""


class Nothing(Model):
    """The body of what needs no words: an empty JSON object."""


class Accepted(Model):
    """Work that goes on; Location says where its state is told."""

    detail: str


class Paging(Model):
    """Which part of a list is wanted: `cursor` as the part before it gave, empty for the first."""

    cursor: Annotated[str, Meta(max_length=500)] = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = LIMIT


class Problem(msgspec.Struct, kw_only=True):
    """An error (RFC 9457); `field`, `problem` and `mend` where an input was refused."""

    type: str
    title: str
    status: int
    detail: str
    field: str | UnsetType = UNSET
    problem: str | UnsetType = UNSET
    mend: str | UnsetType = UNSET
