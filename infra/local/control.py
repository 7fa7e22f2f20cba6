"""The simulators' control API, over a connection that is kept: to open one takes more than half of what a call takes.

A test makes some thirty of these calls before it begins. No fault reaches this API, so a call that found its connection
closed was not carried out, and is sent again.
"""

from __future__ import annotations

import io
import json
import threading
import time
import urllib.error
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

KEPT = 1.0  # seconds that a connection may have been idle: uvicorn closes it after five
_of_thread = threading.local()


def control(method: str, url: str, body: Any = None) -> Any:
    """Send JSON, or bytes that are JSON already; return JSON.

    Raises:
        urllib.error.HTTPError: the status is an error's.
        urllib.error.URLError: there was no answer.
    """
    kept: dict[str, tuple[HTTPConnection, float]] = _of_thread.__dict__
    home = urlsplit(url).netloc
    connection, used = kept.pop(home) if home in kept else (HTTPConnection(home, timeout=60), 0.0)
    if time.monotonic() - used > KEPT:
        connection.close()  # a request opens it again
    try:
        try:
            response = _sent(connection, method, url, body)
        except ConnectionError:
            connection.close()
            response = _sent(connection, method, url, body)
        content = response.read()
    except OSError as error:
        raise urllib.error.URLError(error) from error
    kept[home] = connection, time.monotonic()
    if response.status >= 400:
        raise urllib.error.HTTPError(url, response.status, response.reason, response.headers, io.BytesIO(content))
    return json.loads(content) if content else None


def _sent(connection: HTTPConnection, method: str, url: str, body: Any) -> HTTPResponse:
    parts = urlsplit(url)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, data)
    return connection.getresponse()
