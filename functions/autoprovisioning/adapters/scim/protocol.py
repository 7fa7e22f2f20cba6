"""The protocol without sockets: paths, filters, what an answer means. Pure."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from autoprovisioning.domain.errors import (
    AccountGone,
    AuthorizationRefused,
    ConfigurationRefused,
    NotOffered,
    ProvisioningError,
    Rejected,
    Throttled,
    Transient,
)

MEDIA_TYPE = "application/scim+json"  # RFC 7644 3.1
ACCEPT = "application/scim+json, application/json"
USERS = "/Users"
BULK = "/Bulk"
PROVIDER_CONFIG = "/ServiceProviderConfig"
BULK_REQUEST = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
_WAIT = re.compile(r"(?i)try again in\s+(\d+)\s*(second|minute|hour)")
_UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
DETAIL = 200  # characters of the server's own words that go into an error


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; `body` is None where it is not a JSON object."""

    status: int
    body: dict[str, Any] | None
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Say whether it is a success."""
        return 200 <= self.status < 300


class Dropped(Exception):
    """The connection was lost or timed out after the request may have been sent: its fate is unknown."""


class NotConnected(Dropped):
    """No connection could be made, so nothing was sent."""


def user_path(scim_id: str) -> str:
    """Return the path of one account."""
    return f"{USERS}/{quote(scim_id, safe='')}"


def equals(attribute: str, value: str) -> str:
    """Render a filter; the value is a JSON string (RFC 7644 3.4.2.2), so quotes and backslashes are escaped."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{attribute} eq "{escaped}"'


def is_listing(body: Mapping[str, Any] | None) -> bool:
    """Say whether an answer is a ListResponse at all: an answer that is not proves nothing about who exists."""
    if not body:
        return False
    return isinstance(body.get("Resources", body.get("resources")), list) or total(body) is not None


def resources(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a listing's resources, under whichever spelling."""
    found = body.get("Resources", body.get("resources"))
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def total(body: Mapping[str, Any]) -> int | None:
    """Return totalResults, None where the server does not tell."""
    value = body.get("totalResults")
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and value.isdecimal() else None


def throttled(answer: Answer) -> bool:
    """Recognise 429, and the 403 "throttled" of Keeper's backend."""
    if answer.status == 429:
        return True
    return answer.status == 403 and "throttled" in _text(answer.body, "error", "message", "detail").lower()


def passing(answer: Answer) -> bool:
    """Say whether the answer tells of the server's moment: the same request may well succeed later.

    501 tells of the server itself (RFC 9110 15.6.2).
    """
    return throttled(answer) or (answer.status >= 500 and answer.status != 501) or answer.status in (408, 425)


def maybe_done(answer: Answer) -> bool:
    """Say whether a write answered so may have been carried out all the same.

    A gateway's 5xx tells that the server's own answer did not come through, a 500 that it failed on the way; 501 and
    503 (RFC 9110 15.6) are given instead of any work.
    """
    return answer.status == 408 or (answer.status >= 500 and answer.status not in (501, 503))


def wait_told(answer: Answer, now: datetime) -> float | None:
    """Return the seconds that the server asked to wait: Retry-After (RFC 9110 10.2.3), or Keeper's own words."""
    header = answer.headers.get("Retry-After", "")
    if header.isdecimal():
        return float(header)
    if header:
        try:
            return max(0.0, (email.utils.parsedate_to_datetime(header) - now).total_seconds())
        except (ValueError, TypeError):
            pass
    said = _WAIT.search(words(answer))
    return float(said[1]) * _UNITS[said[2].lower()] if said else None


def words(answer: Answer) -> str:
    """Return the server's own words."""
    return _text(answer.body, "detail", "message", "error")


def error_of(answer: Answer, now: datetime, *, known_account: bool) -> ProvisioningError:
    """Translate an answer that is no success, whatever was asked; see `proof.refused` for writes.

    `known_account` makes a 404 mean that the account is gone.
    """
    detail = words(answer)[:DETAIL]
    told = f"HTTP {answer.status}" + (f": {detail}" if detail else "")
    if throttled(answer):
        return Throttled(f"Keeper asks to slow down ({told})", retry_after=wait_told(answer, now))
    if 300 <= answer.status < 400:
        return ConfigurationRefused(f"The endpoint redirects ({told}); enter the address it redirects to yourself")
    match answer.status:
        case 401 | 403:
            return AuthorizationRefused(f"Keeper refuses the access token ({told})", status=answer.status)
        case 404 if known_account:
            return AccountGone(f"Keeper does not know this account any more ({told})")
        case 408 | 425:
            return Transient(f"Keeper did not answer in time ({told})")
        case 501:
            return NotOffered(f"Keeper does not offer this ({told})")
        case status if status >= 500:
            return Transient(f"Keeper failed ({told})", retry_after=wait_told(answer, now))
        case _:
            return Rejected(f"Keeper refuses this request ({told})")


def _text(body: Mapping[str, Any] | None, *names: str) -> str:
    if not body:
        return ""
    return " ".join(str(body[name]) for name in names if isinstance(body.get(name), str))
