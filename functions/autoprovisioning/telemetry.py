"""Logs: one JSON line each on stdout, in Cloud Logging's structure, with tokens redacted.

Uses google-cloud-logging's StructuredLogHandler, which needs no network; trace ids come from the Flask request. The
webhook cannot afford its import (a third of a second of cold start) and writes the same structure by itself.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

_NAMES = "authorization|token|secret|password|assertion|api[-_]?key|cookie"
_SECRET = re.compile(
    rf"""(?ix)
    ( \b(?:bearer|basic)\s+                                    # a scheme, whatever stands before it
    | (?:{_NAMES}) [\\'"]* \s* [:=] \s* [\\'"]* (?:bearer\s+|basic\s+)?
    | (?=eyJ[\w-]+\.[\w-]+\.) )                                # a JSON web token, whatever it is called
    [A-Za-z0-9._~+/=-]{{8,}}"""
)
_SECRET_NAME = re.compile(rf"(?i)(?:{_NAMES})$")
REDACTED = r"\1[redacted]"
QUIET = ("google", "urllib3")


class Redaction(logging.Filter):
    """Replaces what looks like a token in messages and structured fields; the last line of defence, not the first."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record in place and let it pass."""
        record.msg = redact(_message(record))
        record.args = ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        fields = getattr(record, "json_fields", None)
        if isinstance(fields, dict):
            record.json_fields = _redacted(fields)
        return True


def _message(record: logging.LogRecord) -> str:
    """Return the message; one whose arguments do not fit must not fail the work that logs it."""
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        return f"{record.msg} (its arguments do not fit)"


def redact(text: str) -> str:
    """Return the text with anything that looks like a credential replaced."""
    return _SECRET.sub(REDACTED, text)


def _redacted(value: object) -> object:
    match value:
        case str():
            return redact(value)
        case dict():
            return {
                name: "[redacted]" if item and _SECRET_NAME.search(str(name)) else _redacted(item)
                for name, item in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_redacted(item) for item in value]
        case bool() | int() | float() | None:
            return value
        case _:
            return redact(str(value))


class Sampled:
    """Limits a line that anybody can cause: the first is logged, then one in a while, with the number since."""

    def __init__(self, every: timedelta) -> None:
        self._every = every
        self._lock = threading.Lock()
        self._logged: datetime | None = None
        self._count = 0

    def due(self, now: datetime) -> int:
        """Count one more; returns how many there were since the last line if another is due, else 0."""
        with self._lock:
            self._count += 1
            if self._logged is not None and now - self._logged < self._every:
                return 0
            count, self._count, self._logged = self._count, 0, now
            return count


class Tally:
    """Counts what there is too much of for a line each; the counts are due once in a while."""

    def __init__(self, every: timedelta) -> None:
        self._every = every
        self._lock = threading.Lock()
        self._begun: datetime | None = None
        self._counts: Counter[str] = Counter()

    def add(self, name: str) -> None:
        """Count one."""
        with self._lock:
            self._counts[name] += 1

    def due(self, now: datetime) -> dict[str, int]:
        """Return the counts since they were last returned, and start over, if that is long enough ago; else none."""
        with self._lock:
            if not self._counts or (self._begun is not None and now - self._begun < self._every):
                return {}
            counts, self._counts, self._begun = dict(self._counts), Counter(), now
            return counts


class LightFormatter(logging.Formatter):
    """Cloud Logging's structured JSON (cloud.google.com/logging/docs/structured-logging), without its library."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        line: dict[str, Any] = {"severity": record.levelname, "message": record.getMessage(), "logger": record.name}
        if record.exc_info and not record.exc_text:
            record.exc_text = redact(self.formatException(record.exc_info))
        if record.exc_text:
            line["message"] += "\n" + record.exc_text
        line |= getattr(record, "json_fields", None) or {}
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up(project: str, level: str, *, light: bool = False) -> None:
    """Send the root logger's records to stdout, once per process."""
    root = logging.getLogger()
    if any(isinstance(item, Redaction) for handler in root.handlers for item in handler.filters):
        return
    handler = _light() if light else _structured(project)
    handler.addFilter(Redaction())
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _structured(project: str) -> logging.Handler:
    from google.cloud.logging_v2.handlers import StructuredLogHandler

    handler: logging.Handler = StructuredLogHandler(project_id=project, stream=sys.stdout)  # type: ignore[no-untyped-call]
    return handler


def _light() -> logging.Handler:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LightFormatter())
    return handler
