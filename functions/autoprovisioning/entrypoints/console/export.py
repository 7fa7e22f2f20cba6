"""Lists for spreadsheets: CSV (RFC 4180), streamed, with no cell that a spreadsheet could take for a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

from flask import Response

from autoprovisioning.entrypoints.answers import PRIVATE

# What makes a cell a formula (owasp.org, CSV Injection): one of these signs, full-width or not, whatever blanks and
# control characters stand before it, which spreadsheets skip; and a tab or line break, which begins another cell.
FORMULA = re.compile(
    r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2060\ufeff]*[=+@\-＝＋＠－]|[\x00-\x1f\x7f-\x9f\u2028\u2029]"
)
ROWS_AT_ONCE = 200


def export(name: str, header: Sequence[str], rows: Iterable[Iterable[object]]) -> Response:
    """Return a download named `name`; rows are read while it is sent, the first one before, so that errors show."""
    lines = _encoded(header, iter(rows))
    first = next(lines)
    headers = {**PRIVATE, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(_chained(first, lines), mimetype="text/csv", headers=headers)


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _encoded(header: Sequence[str], rows: Iterator[Iterable[object]]) -> Iterator[str]:
    """Encode header and rows, several at a time: a chunk for each row would cost more than the row."""
    waiting = io.StringIO(newline="")
    writer = csv.writer(waiting)
    writer.writerow(header)
    for number, row in enumerate(rows, 1):
        writer.writerow([cell(value) for value in row])
        if number % ROWS_AT_ONCE == 0:
            yield waiting.getvalue()
            waiting.seek(0)
            waiting.truncate()
    yield waiting.getvalue()


def cell(value: object) -> str:
    """Render a value; one that a spreadsheet would compute gets a leading apostrophe."""
    text = "" if value is None else str(value)
    return f"'{text}" if FORMULA.match(text) else text
