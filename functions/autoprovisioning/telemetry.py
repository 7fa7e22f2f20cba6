"""Logs: one JSON line each on stdout, in Cloud Logging's structure, with tokens redacted.

Uses google-cloud-logging's StructuredLogHandler, which needs no network; trace ids come from the Flask request. The
webhook cannot afford its import (a third of a second of cold start) and writes the same structure by itself.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any

_SECRET = re.compile(
    r"(?i)(bearer\s+|authorization['\"]?\s*[:=]\s*['\"]?|token['\"]?\s*[:=]\s*['\"]?)[A-Za-z0-9._~+/=-]{8,}"
)
REDACTED = r"\1[redacted]"
QUIET = ("google", "urllib3")


class Redaction(logging.Filter):
    """Replaces what looks like a token in messages and structured fields; the last line of defence, not the first."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record in place and let it pass."""
        record.msg = redact(record.getMessage())
        record.args = ()
        fields = getattr(record, "json_fields", None)
        if isinstance(fields, dict):
            record.json_fields = {name: _redacted(value) for name, value in fields.items()}
        return True


def redact(text: str) -> str:
    """Return the text with anything that looks like a credential replaced."""
    return _SECRET.sub(REDACTED, text)


def _redacted(value: object) -> object:
    return redact(value) if isinstance(value, str) else value


class LightFormatter(logging.Formatter):
    """Cloud Logging's structured JSON (cloud.google.com/logging/docs/structured-logging), without its library."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        line: dict[str, Any] = {"severity": record.levelname, "message": record.getMessage(), "logger": record.name}
        if record.exc_info:
            line["message"] += "\n" + redact(self.formatException(record.exc_info))
        line |= getattr(record, "json_fields", None) or {}
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up(project: str, level: str, *, light: bool = False) -> None:
    """Send the root logger's records to stdout, once a process."""
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
