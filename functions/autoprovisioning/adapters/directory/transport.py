"""HTTP to the Directory API: sessions, retries, and the meaning of its errors.

Retried: 403 with a usage limit as reason, 408, 429, 5xx, timeouts and lost connections (Admin SDK, limits and error
codes pages). Anything else says something about the request or the set-up.
"""

from __future__ import annotations

import email.utils
import ipaddress
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import msgspec
import requests
from google.auth import exceptions as auth

from autoprovisioning.domain.errors import ConfigurationRefused, Transient

SCOPES = (
    "https://www.googleapis.com/auth/admin.directory.user.readonly",
    "https://www.googleapis.com/auth/admin.directory.group.readonly",
    "https://www.googleapis.com/auth/admin.directory.group.member.readonly",
    "https://www.googleapis.com/auth/admin.directory.orgunit.readonly",
)
USAGE_LIMITS = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"})  # as reasons of a 403
RETRIED = frozenset({408, 429, 500, 502, 503, 504})
ATTEMPTS = 5
LONGEST_PAUSE = 16.0
LOST = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    auth.TransportError,
)
# What IAM's signJwt and the token endpoint say when the set-up is wrong; anything else may pass (google-auth retries
# the token endpoint itself, and does not say of signJwt or the metadata server whether trying again could help).
DELEGATION_REFUSED = (
    "unauthorized_client access_denied invalid_grant invalid_scope PERMISSION_DENIED NOT_FOUND UNAUTHENTICATED".split()
)
DELEGATION = (
    "Check in the Admin console, under API controls > Domain-wide delegation, that the service account's client id "
    "is listed with the read-only user, group, group member and organizational unit scopes, and that DIRECTORY_ADMIN "
    "is an administrator."
)

SIGNING = (
    "The functions' service account needs the role Service Account Token Creator on it, "
    "and the project the IAM Service Account Credentials API."
)

SessionFactory = Callable[[], requests.Session]


class Count(Protocol):
    """Counts outside requests by name."""

    def __call__(self, name: str, n: int = 1) -> None:
        """Add n."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is not to be retried: status and Google's reason."""

    status: int
    reason: str
    message: str


def anonymous(endpoint: str) -> SessionFactory:
    """Return sessions without credentials, for a simulator on loopback only."""
    host = urlsplit(endpoint).hostname or ""
    if not _is_loopback(host):
        raise ConfigurationRefused("The directory is read without credentials on loopback only.")
    return requests.Session


def delegated(admin: str, service_account: str) -> SessionFactory:
    """Return sessions with keyless domain-wide delegation: the IAM API signs, no key file exists.

    Source: google-auth's impersonated_credentials with `subject`.
    """
    import google.auth
    from google.auth import impersonated_credentials
    from google.auth.transport.requests import AuthorizedSession

    source, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    credentials = impersonated_credentials.Credentials(  # type: ignore[no-untyped-call]
        source_credentials=source, target_principal=service_account, target_scopes=list(SCOPES), subject=admin
    )
    return lambda: AuthorizedSession(credentials)  # type: ignore[no-untyped-call]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class DirectoryTransport:
    """Sends requests, a session a thread, and returns decoded JSON or a Refusal."""

    def __init__(
        self,
        endpoint: str,
        sessions: SessionFactory,
        count: Count,
        *,
        timeout: timedelta = timedelta(seconds=20),
        first_pause: float = 0.5,
        longest_pause: float = LONGEST_PAUSE,
        attempts: int = ATTEMPTS,
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._sessions = sessions
        self._count = count
        self._seconds = timeout.total_seconds()
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._attempts = attempts
        self._local = threading.local()

    def get(self, path: str, params: Mapping[str, str]) -> dict[str, Any] | Refusal:
        """GET a resource; raises Transient once the retries are used up, ConfigurationRefused for 401."""
        return self._request("GET", path, params, None)

    def post(self, path: str, params: Mapping[str, str], body: Mapping[str, Any]) -> dict[str, Any] | Refusal:
        """POST a resource."""
        return self._request("POST", path, params, msgspec.json.encode(body))

    def _request(
        self, method: str, path: str, params: Mapping[str, str], body: bytes | None
    ) -> dict[str, Any] | Refusal:
        problem = ""
        wait: float | None = None
        for attempt in range(self._attempts):
            if attempt:
                time.sleep(self._pause(attempt, wait))
                wait = None
            self._count("directory_requests")
            try:
                response = self._session().request(
                    method,
                    self._endpoint + path,
                    params=params,
                    data=body,
                    timeout=self._seconds,
                    allow_redirects=False,
                )
            except LOST as error:
                problem = type(error).__name__
                continue
            except auth.RefreshError as error:
                raise _no_token(error) from None  # its text quotes the endpoint's answer
            answer = _read(response)
            if not isinstance(answer, Refusal):
                return answer
            limited = answer.status == 403 and answer.reason in USAGE_LIMITS
            if answer.status not in RETRIED and not limited:
                return _final(answer)
            problem, wait = f"HTTP {answer.status} {answer.reason}".strip(), _retry_after(response)
            if wait is not None and wait > self._longest_pause:
                raise Transient(f"The directory could not be read: {problem}, come back later", retry_after=wait)
        raise Transient(f"The directory could not be read: {problem} after {self._attempts} attempts", retry_after=30)

    def _pause(self, attempt: int, told: float | None) -> float:
        grown: float = self._first_pause * 2 ** (attempt - 1)
        jittered = grown + random.uniform(0, min(1.0, grown))
        return max(min(self._longest_pause, jittered), told or 0)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._sessions()
            # Google compresses only for agents that say so themselves (Admin SDK, performance page).
            session.headers["User-Agent"] = "keeper-autoprovisioning (gzip)"
            session.headers["Accept"] = "application/json"
            if isinstance(session.get_adapter("https://"), requests.adapters.HTTPAdapter):
                session.trust_env = False  # no netrc or proxy lookups per request
            self._local.session = session
        session.headers["Content-Type"] = "application/json"
        return session


def part(value: str) -> str:
    """Quote one path segment."""
    return quote(value, safe="")


def _read(response: requests.Response) -> dict[str, Any] | Refusal:
    if response.status_code == 204:
        return {}
    try:
        body = msgspec.json.decode(response.content) if response.content else {}
    except msgspec.DecodeError:
        body = None
    if 200 <= response.status_code < 300:
        if isinstance(body, dict):
            return body
        return Refusal(502, "notJson", "The directory's answer is not a JSON object")
    error = body.get("error") if isinstance(body, dict) else None
    details = error if isinstance(error, dict) else {}
    reasons = details.get("errors") or [{}]
    reason = reasons[0].get("reason", "") if isinstance(reasons[0], dict) else ""
    return Refusal(response.status_code, str(reason), str(details.get("message", ""))[:200])


def _final(refusal: Refusal) -> Refusal:
    if refusal.status == 401:
        raise ConfigurationRefused(f"The directory refuses our credentials (401). {DELEGATION}")
    return refusal


def _no_token(error: auth.RefreshError) -> ConfigurationRefused | Transient:
    """Say what a refused access token means; the text of the refusal itself is left out."""
    text = " ".join(str(argument) for argument in error.args)
    refusal = next((word for word in DELEGATION_REFUSED if word in text), "")
    if refusal:
        return ConfigurationRefused(f"No access token for the directory: {refusal}. {DELEGATION} {SIGNING}")
    return Transient("No access token for the directory could be had", retry_after=30)


def _retry_after(response: requests.Response) -> float | None:
    """Read Retry-After: seconds or a date (RFC 9110 10.2.3)."""
    value = response.headers.get("Retry-After", "")
    if value.replace(".", "", 1).isdigit():
        return float(value)
    try:
        at = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    return max(0.0, (at - datetime.now(UTC)).total_seconds()) if at.tzinfo is not None else None
