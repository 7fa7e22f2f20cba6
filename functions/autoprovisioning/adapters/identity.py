"""Who calls, by Identity-Aware Proxy's signed assertion (cloud.google.com/iap/docs/signed-headers-howto).

Signature, expiry and audience are checked by google-auth, the issuer here; the unsigned x-goog-authenticated-user-*
headers are never looked at.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from typing import Any

from google.auth import exceptions
from google.auth.transport import Request
from google.auth.transport import requests as transport
from google.oauth2 import id_token

from autoprovisioning.domain.errors import ConfigurationRefused, Forbidden, Transient

HEADER = "x-goog-iap-jwt-assertion"
CERTS_KEPT = 600.0  # seconds
FETCH_SECONDS = 5.0


class IapIdentity:
    """The Identity port."""

    def __init__(self, audience: str, issuer: str, certs_url: str, seconds: float = FETCH_SECONDS) -> None:
        self._audience = audience
        self._issuer = issuer
        self._certs_url = certs_url
        self._request = _CachedRequest(transport.Request(), seconds)

    def address(self, assertion: str) -> str:
        """Return the caller's verified e-mail address; raises Forbidden."""
        if not self._audience:
            raise ConfigurationRefused("IAP_AUDIENCE is not set. Set it to the audience that IAP signs for.")
        if not assertion:
            raise Forbidden("The request did not come through Identity-Aware Proxy. Open the console's own address.")
        try:
            claims: Mapping[str, Any] = id_token.verify_token(
                assertion, self._request, audience=self._audience, certs_url=self._certs_url
            )
        except exceptions.TransportError as error:
            raise Transient("The keys of Identity-Aware Proxy could not be fetched", retry_after=5) from error
        except (ValueError, exceptions.GoogleAuthError):
            raise Forbidden("The proxy's assertion is not valid. Sign in again.") from None
        email = claims.get("email")
        if claims.get("iss") != self._issuer or not isinstance(email, str) or "@" not in email:
            raise Forbidden("The proxy's assertion is not valid. Sign in again.")
        return email.removeprefix("accounts.google.com:")


class _CachedRequest(Request):
    """A google-auth transport that keeps the key set for ten minutes: the library fetches it for each verification."""

    def __init__(self, request: transport.Request, seconds: float) -> None:
        self._request = request
        self._seconds = seconds
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Any]] = {}

    def __call__(
        self, url: Any, method: Any = "GET", body: Any = None, headers: Any = None, timeout: Any = None, **more: Any
    ) -> Any:
        """Fetch, or return what was fetched lately."""
        with self._lock:
            kept = self._kept.get(url)
            if kept is not None and time.monotonic() - kept[0] < CERTS_KEPT:
                return kept[1]
            seconds = timeout or self._seconds
            response = self._request(url, method=method, body=body, headers=headers, timeout=seconds, **more)
            if response.status == 200:
                _check_key_set(response.data)
                self._kept[url] = (time.monotonic(), response)
            return response


def _check_key_set(content: bytes) -> None:
    """Refuse what is no key set, as if it had not come: it must neither be kept nor blamed on the caller."""
    try:
        keys = json.loads(content)
    except ValueError:
        keys = None
    if not isinstance(keys, dict) or not keys:
        raise exceptions.TransportError("The answer is no key set")  # type: ignore[no-untyped-call]
