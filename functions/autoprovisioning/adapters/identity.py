"""Who calls, by Identity-Aware Proxy's signed assertion (cloud.google.com/iap/docs/signed-headers-howto).

Signature, times and audience are checked by google-auth, the issuer here; the unsigned x-goog-authenticated-user-*
headers are never looked at.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from google.auth import exceptions, jwt
from google.auth.transport import requests as transport

from autoprovisioning.app.administration.roles import Caller
from autoprovisioning.domain.errors import ConfigurationRefused, Forbidden, Transient

HEADER = "x-goog-iap-jwt-assertion"
GOOGLE = "accounts.google.com:"  # what `sub` begins with for a Google account
_ACCOUNT = re.compile(rf"{re.escape(GOOGLE)}\S{{1,100}}")
SKEW_SECONDS = 30  # that Google tells verifiers to allow for iat and exp
KEYS_KEPT = 600.0  # seconds
KEYS_ASKED_AGAIN = 30.0  # at least so many seconds between two fetches for an unknown key id
FETCH_SECONDS = 5.0


class IapIdentity:
    """The Identity port."""

    def __init__(
        self,
        audience: str,
        issuer: str,
        certs_url: str,
        seconds: float = FETCH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._audience = audience
        self._issuer = issuer
        self._keys = _Keys(certs_url, seconds, clock)

    def caller(self, assertion: str) -> Caller:
        """Return the caller's verified address and account; raises Forbidden."""
        if not self._audience:
            raise ConfigurationRefused("IAP_AUDIENCE is not set. Set it to the audience that IAP signs for.")
        if not assertion:
            raise Forbidden("The request did not come through Identity-Aware Proxy. Open the console's own address.")
        claims = self._verified(assertion)
        email, subject = claims.get("email"), claims.get("sub", "")
        if claims.get("iss") != self._issuer or not isinstance(email, str) or "@" not in email:
            raise _invalid()
        # The proxy may let in accounts of other kinds: they are not in the directory.
        if not isinstance(subject, str) or (subject and not _ACCOUNT.fullmatch(subject)):
            raise _invalid()
        return Caller(address=email.removeprefix(GOOGLE), account_id=subject.removeprefix(GOOGLE))

    def _verified(self, assertion: str) -> Mapping[str, Any]:
        try:
            keys = self._keys.for_id(jwt.decode_header(assertion).get("kid"))  # type: ignore[no-untyped-call]
            claims: Mapping[str, Any] = jwt.decode(  # type: ignore[no-untyped-call]
                assertion, certs=keys, audience=self._audience, clock_skew_in_seconds=SKEW_SECONDS
            )
        except exceptions.TransportError as error:
            raise Transient("The keys of Identity-Aware Proxy could not be fetched", retry_after=5) from error
        except (ValueError, TypeError, RecursionError, exceptions.GoogleAuthError):
            raise _invalid() from None
        return claims


def _invalid() -> Forbidden:
    return Forbidden("The proxy's assertion is not valid. Sign in again.")


class _Keys:
    """The proxy's public keys, by id: kept for ten minutes, fetched again for an id that is not among them.

    Such an id may be invented: it makes us ask every 30 seconds at most.
    """

    def __init__(self, url: str, seconds: float, clock: Callable[[], float]) -> None:
        self._url = url
        self._seconds = seconds
        self._clock = clock
        self._request = transport.Request()
        self._lock = threading.Lock()
        self._kept: Mapping[str, str] = {}
        self._fetched = self._asked = 0.0

    def for_id(self, key_id: object) -> Mapping[str, str]:
        """Return the keys; raises TransportError if they cannot be fetched."""
        with self._lock:
            now = self._clock()
            missing = key_id not in list(self._kept) and now - self._asked >= KEYS_ASKED_AGAIN
            if not self._kept or missing or now - self._fetched >= KEYS_KEPT:
                self._asked = now
                self._kept = self._fetch()
                self._fetched = now
            return self._kept

    def _fetch(self) -> Mapping[str, str]:
        response = self._request(self._url, method="GET", timeout=self._seconds)
        if response.status != 200:
            raise exceptions.TransportError(f"HTTP {response.status}")  # type: ignore[no-untyped-call]
        try:
            keys = json.loads(response.data)
        except (ValueError, RecursionError):
            keys = None
        if not isinstance(keys, dict) or not keys or not all(isinstance(key, str) for key in keys.values()):
            # As if it had not come: it must neither be kept nor blamed on the caller.
            raise exceptions.TransportError("The answer is not a key set")  # type: ignore[no-untyped-call]
        return keys
