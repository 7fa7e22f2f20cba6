"""HTTP to the Directory API: sessions, retries, and the meaning of its errors.

Retried: 403 with a usage limit as reason, 408, 429, 5xx, timeouts, lost connections and what cannot be read (Admin SDK,
limits and error codes pages). Anything else says something about the request or the set-up.
"""

from __future__ import annotations

import email.utils
import ipaddress
import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import requests
import urllib3
from google.auth import exceptions as auth

from autoprovisioning.adapters.directory.answers import Unreadable, blotted, decoded, read_to_the_end, resource
from autoprovisioning.adapters.directory.quota import Quota
from autoprovisioning.domain.errors import ConfigurationRefused, Transient

SCOPES = (
    "https://www.googleapis.com/auth/admin.directory.user.readonly",
    "https://www.googleapis.com/auth/admin.directory.group.readonly",
    "https://www.googleapis.com/auth/admin.directory.group.member.readonly",
    "https://www.googleapis.com/auth/admin.directory.orgunit.readonly",
)
USAGE_LIMITS = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"})  # as reasons of a 403
NEVER_SERVED = frozenset({501, 505})  # of the 5xx: asking again cannot help (RFC 9110 15.6.2, 15.6.6)
ATTEMPTS = 5
LONGEST_PAUSE = 16.0  # seconds; a longer wait is the caller's
TEXT_LIMIT = 200
A_MINUTE = 1800  # requests: three quarters of the quota, unless a deployment says otherwise
LARGE_AT_ONCE = 2  # large bodies that are read and decoded at the same time: a function looks at eight users at once
LONGEST_WAIT = 3600.0  # whatever Retry-After says: then the directory is asked again
EPOCH_FROM = 1e9  # a Retry-After of more seconds than that is a time
LOST = (requests.RequestException, urllib3.exceptions.HTTPError, auth.TransportError)
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

T = TypeVar("T")

SessionFactory = Callable[[], requests.Session]
Reader = Callable[[bytes, str], T]  # decodes a body, leaves out the token, and raises Unreadable


class Count(Protocol):
    """Counts outside requests by name."""

    def __call__(self, name: str, n: int = 1) -> None:
        """Add n."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRefusal:
    """An answer that is not to be retried: status, and Google's reason and message, cut short and without our token."""

    status: int
    reason: str
    message: str

    def __str__(self) -> str:
        """Say what was answered."""
        return f"HTTP {self.status} {self.message or self.reason}".strip()


def anonymous(endpoint: str) -> SessionFactory:
    """Return sessions without credentials, for a simulator on loopback only."""
    host = urlsplit(endpoint).hostname or ""
    if not _is_loopback(host):
        raise ConfigurationRefused("The directory is read without credentials on loopback only.")
    return requests.Session


def delegated(admin: str, service_account: str) -> SessionFactory:
    """Return sessions with keyless domain-wide delegation: the IAM API signs, no key file exists.

    Source: google-auth's impersonated_credentials with `subject`. They let each thread that finds no token get one of
    its own: a batch reads many users at a time, each of whose threads would ask IAM and the token endpoint.
    """
    import google.auth
    from google.auth import impersonated_credentials
    from google.auth.transport.requests import AuthorizedSession

    getting = threading.Lock()

    class Shared(impersonated_credentials.Credentials):
        def before_request(self, request: object, method: str, url: str, headers: object) -> None:
            if not self.valid:
                with getting:
                    if not self.valid:
                        self.refresh(request)  # type: ignore[no-untyped-call]
            super().before_request(request, method, url, headers)  # type: ignore[no-untyped-call]

    source, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    credentials = Shared(  # type: ignore[no-untyped-call]
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
    """Sends requests and returns decoded JSON or a Refusal.

    A session serves one request at a time and is kept, with its connection, for the next one of any thread: those that
    look at users beside each other are new ones for each batch.
    """

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
        quota: Quota | None = None,
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._sessions = sessions
        self._count = count
        self._seconds = timeout.total_seconds()
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._attempts = attempts
        self._quota = Quota(A_MINUTE) if quota is None else quota
        self._idle: list[requests.Session] = []  # the last one used is used next
        self._large = threading.Semaphore(LARGE_AT_ONCE)

    def get(self, path: str, params: Mapping[str, str]) -> dict[str, Any] | ApiRefusal:
        """GET a resource; raises Transient once the retries are used up, ConfigurationRefused without credentials."""
        return self.read(path, params, resource)

    def read(self, path: str, params: Mapping[str, str], reader: Reader[T]) -> T | ApiRefusal:
        """GET what `reader` decodes; raises as `get` does."""
        return self._request("GET", path, params, None, reader)

    def post(self, path: str, params: Mapping[str, str], body: Mapping[str, Any]) -> dict[str, Any] | ApiRefusal:
        """POST a resource."""
        return self._request("POST", path, params, msgspec.json.encode(body), resource)

    def _request(
        self, method: str, path: str, params: Mapping[str, str], body: bytes | None, reader: Reader[T]
    ) -> T | ApiRefusal:
        problem = ""
        wait: float | None = None
        for attempt in range(self._attempts):
            if attempt:
                time.sleep(self._pause(attempt, wait))
                wait = None
            too_long = self._quota.take(min(self._longest_pause, self._seconds))
            if too_long is not None:
                problem = problem or "its quota is used up"
                raise Transient(f"The directory could not be read: {problem}, try again later", retry_after=too_long)
            self._count("directory_requests")
            try:
                answer, wait = self._once(method, path, params, body, reader)
            except LOST as error:
                problem = type(error).__name__
                continue
            except Unreadable as error:
                problem = str(error)
                continue
            except auth.RefreshError as error:
                raise _no_token(error) from None  # its text quotes the endpoint's answer
            if not isinstance(answer, ApiRefusal) or not _passes(answer):
                return answer
            if answer.status == 429 or answer.reason in USAGE_LIMITS:
                self._quota.refused()
            problem = f"HTTP {answer.status} {answer.reason}".strip()
            if wait is not None and wait > self._longest_pause:
                raise Transient(f"The directory could not be read: {problem}, try again later", retry_after=wait)
        raise Transient(f"The directory could not be read: {problem} after {self._attempts} attempts", retry_after=30)

    def _once(
        self, method: str, path: str, params: Mapping[str, str], body: bytes | None, reader: Reader[T]
    ) -> tuple[T | ApiRefusal, float | None]:
        """Send once; returns the answer and how long it asks to wait."""
        session = self._session()
        try:
            return self._answered(session, method, path, params=params, body=body, reader=reader)
        finally:
            self._idle.append(session)

    def _answered(
        self,
        session: requests.Session,
        method: str,
        path: str,
        *,
        params: Mapping[str, str],
        body: bytes | None,
        reader: Reader[T],
    ) -> tuple[T | ApiRefusal, float | None]:
        response = session.request(
            method,
            self._endpoint + path,
            params=params,
            data=body,
            timeout=self._seconds,
            allow_redirects=False,
            stream=True,
        )
        encoding = response.headers.get("Content-Encoding", "")
        with ExitStack() as until_decoded:
            try:
                content = read_to_the_end(
                    response.raw, encoding, self._seconds, lambda: until_decoded.enter_context(self._large)
                )
            except Unreadable:
                response.close()  # with its connection: the rest of the answer would come before the next one
                raise
            return _understood(response, content, reader), _retry_after(response.headers.get("Retry-After", ""))

    def _pause(self, attempt: int, told: float | None) -> float:
        grown: float = self._first_pause * 2 ** (attempt - 1)
        jittered = grown + random.uniform(0, min(1.0, grown))
        return max(min(self._longest_pause, jittered), told or 0)

    def _session(self) -> requests.Session:
        try:
            session = self._idle.pop()
        except IndexError:
            session = self._sessions()
            # Google compresses only for agents that say so themselves (Admin SDK, performance page).
            session.headers["User-Agent"] = "keeper-autoprovisioning (gzip)"
            session.headers["Accept"] = "application/json"
            session.headers["Accept-Encoding"] = "gzip"
            if isinstance(session.get_adapter("https://"), requests.adapters.HTTPAdapter):
                session.trust_env = False  # no netrc or proxy lookups per request
        session.headers["Content-Type"] = "application/json"
        return session


def part(value: str) -> str:
    """Quote one path segment."""
    return quote(value, safe="")


def _passes(refusal: ApiRefusal) -> bool:
    """Say whether the same request may be answered in a moment."""
    if refusal.status == 403:
        return refusal.reason in USAGE_LIMITS
    return refusal.status in (408, 429) or (refusal.status >= 500 and refusal.status not in NEVER_SERVED)


def _understood(response: requests.Response, content: bytes, reader: Reader[T]) -> T | ApiRefusal:
    """Return what was asked for, or the refusal, without our token should the answer repeat it.

    Raises:
        Unreadable: a success that the reader cannot read.
    """
    status, token = response.status_code, _token(response)
    if 200 <= status < 300:
        return reader(content, token)
    try:
        body = decoded(content)
    except Unreadable:
        body = {}
    body = blotted(body, token, content)
    error = body.get("error") if isinstance(body, dict) else None
    details = error if isinstance(error, dict) else {}
    errors = details.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    return ApiRefusal(status=status, reason=_short(first.get("reason")), message=_short(details.get("message")))


def _short(text: object) -> str:
    return text[:TEXT_LIMIT] if isinstance(text, str) else ""


def _token(response: requests.Response) -> str:
    """Return the access token that this request was sent with."""
    return response.request.headers.get("Authorization", "").removeprefix("Bearer ")


def _no_token(error: auth.RefreshError) -> ConfigurationRefused | Transient:
    """Say what a refused access token means; the text of the refusal itself is left out."""
    text = " ".join(str(argument) for argument in error.args)
    refusal = next((word for word in DELEGATION_REFUSED if word in text), "")
    if refusal:
        return ConfigurationRefused(f"No access token for the directory: {refusal}. {DELEGATION} {SIGNING}")
    return Transient("Could not get an access token for the directory", retry_after=30)


def _retry_after(value: str) -> float | None:
    """Read Retry-After: seconds, a date (RFC 9110 10.2.3) or, as some gateways send it, a Unix time; capped."""
    value = value.strip()
    if value.replace(".", "", 1).isdecimal():
        seconds = float(value)  # of any length: at worst it is infinite
        seconds -= time.time() if seconds > EPOCH_FROM else 0
    else:
        try:
            seconds = (email.utils.parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return max(0.0, min(seconds, LONGEST_WAIT))
