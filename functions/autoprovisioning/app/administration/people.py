"""Who has access through a connection: the roll, with what held plans say, and what was found in Keeper besides."""

from __future__ import annotations

import base64
from bisect import bisect_right
from collections.abc import Sequence

from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.errors import BadInput
from autoprovisioning.domain.people import Line, in_order
from autoprovisioning.domain.review import Decided, Review


def review(services: Services, connection: Connection) -> Review:
    """Return everybody, as of some seconds ago at most; a handful of documents is read."""
    now = services.clock()
    report, ignored = services.unprovisioned.get(connection.id), services.unprovisioned.ignored(connection.id)
    return Review(
        services.people.read(connection, now),
        connection,
        now,
        Decided(services.holds.standing(connection.id)),
        report.without(ignored) if report is not None else (),
    )


def part(lines: Sequence[Line], cursor: str, limit: int) -> tuple[Sequence[Line], str]:
    """Return the lines after a cursor, at most `limit`, and the next cursor, "" at the end.

    The cursor is the last line's place in the order of names, so nobody is left out or told twice because others came
    or left meanwhile.

    Raises:
        BadInput: it is not a cursor of such a list.
    """
    start = bisect_right(lines, _place(cursor), key=in_order) if cursor else 0
    shown = lines[start : start + limit]
    more = start + limit < len(lines)
    return shown, _cursor(in_order(shown[-1])) if more else ""


def _cursor(place: str) -> str:
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _place(cursor: str) -> str:
    try:
        place = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        place = ""
    if "\t" not in place:
        raise BadInput("cursor", "it is not a cursor of this list", "Start again at the first page.")
    return place
