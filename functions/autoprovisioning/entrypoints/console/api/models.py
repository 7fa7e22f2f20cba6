"""What several parts of the API take and give: JSON is read and written through models, and described by them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from autoprovisioning.entrypoints.console.api.operations import Answers

LIMIT = 50


class Model(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A JSON object with these fields and no others."""


class Nothing(Model):
    """The body of what needs no words: an empty JSON object."""


class Paging(Model):
    """Which part of a list is wanted: `cursor` as the part before it gave, empty for the first."""

    cursor: Annotated[str, Meta(max_length=500)] = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = LIMIT


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error (RFC 9457); `field`, `problem` and `mend` where an input was refused."""

    type: str
    title: str
    status: int
    detail: str
    field: str | UnsetType = UNSET
    problem: str | UnsetType = UNSET
    mend: str | UnsetType = UNSET


def listing(model: type[msgspec.Struct], what: str) -> dict[int, Answers]:
    """Say that this is answered with 200."""
    return {200: Answers(what, model)}
