"""Pub/Sub for the webhook: the REST method projects.topics.publish, without gRPC and its third of a second of import.

Source: cloud.google.com/pubsub/docs/reference/rest/v1/projects.topics/publish; the emulator serves the same path.
"""

from __future__ import annotations

import base64
import http.client
import json
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from autoprovisioning.domain.errors import Transient
from autoprovisioning.domain.runs import Look
from autoprovisioning.messages import encode_look

GOOGLE = "https://pubsub.googleapis.com"
ATTEMPTS = 3
_SECONDS = re.compile(r"[0-9]{1,6}")

AccessToken = Callable[[], str]


def metadata_token() -> AccessToken:
    """Return a source of access tokens for the function's own service account, from the metadata server.

    The source raises Transient if there is none.
    """
    import google.auth
    from google.auth import exceptions
    from google.auth.transport.requests import Request

    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/pubsub"])
    lock = threading.Lock()

    def token() -> str:
        with lock:
            try:
                if not credentials.valid:
                    credentials.refresh(Request())  # type: ignore[no-untyped-call]
            except exceptions.GoogleAuthError as error:
                raise Transient("Could not get an access token for Pub/Sub", retry_after=5) from error
            return str(credentials.token)

    return token


class RestLookQueue:
    """The LookQueue port over kept-alive HTTP connections, one a thread."""

    def __init__(self, project: str, topic: str, emulator: str, token: AccessToken | None, seconds: float) -> None:
        self._base = urlsplit(f"http://{emulator}" if emulator else GOOGLE)
        self._path = f"/v1/projects/{project}/topics/{topic}:publish"
        self._token = token
        self._seconds = seconds
        self._local = threading.local()

    def look_again(self, looks: Sequence[Look]) -> None:
        """Publish; returns once Pub/Sub has accepted, raises Transient otherwise."""
        messages = [{"data": base64.b64encode(encode_look(look)).decode()} for look in looks]
        body = json.dumps({"messages": messages}).encode()
        status, wait = 0, None
        for attempt in range(ATTEMPTS):
            try:
                status, wait = self._post(body)
            except (OSError, http.client.HTTPException):
                self._local.connection = None  # a kept connection may have gone stale while the process was frozen
                status, wait = 0, None
            if status == 200:
                return
            if wait is not None or status not in (0, 429, 500, 502, 503, 504):
                break  # if Pub/Sub asks for a wait, Google waits: it delivers the notification again
            if attempt + 1 < ATTEMPTS:
                time.sleep(0.05 * 2**attempt * random.uniform(0.5, 1.5))
        raise Transient(
            f"Pub/Sub did not accept the message (HTTP {status})", retry_after=5.0 if wait is None else wait
        )

    def _post(self, body: bytes) -> tuple[int, float | None]:
        """Return the status, and the seconds to wait where Pub/Sub names them."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            kind = http.client.HTTPSConnection if self._base.scheme == "https" else http.client.HTTPConnection
            connection = kind(self._base.hostname or "", self._base.port, timeout=self._seconds)
            self._local.connection = connection
        headers = {"Content-Type": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token()}"
        connection.request("POST", self._path, body, headers)
        response = connection.getresponse()
        response.read()
        told = response.headers.get("Retry-After", "")
        return int(response.status), float(told) if _SECONDS.fullmatch(told) else None
