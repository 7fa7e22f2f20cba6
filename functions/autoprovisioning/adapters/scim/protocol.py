"""The protocol without sockets: paths, filters, what an answer means. Pure."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from autoprovisioning.adapters.scim.names import spelled
from autoprovisioning.domain.accounts import id_problem
from autoprovisioning.domain.errors import (
    AccountGone,
    AuthorizationRefused,
    ConfigurationRefused,
    NotOffered,
    Permanent,
    ProvisioningError,
    Rejected,
    Throttled,
    Transient,
)

MEDIA_TYPE = "application/scim+json"  # RFC 7644 3.1
ACCEPT = "application/scim+json, application/json"
USERS = "/Users"
GROUPS = "/Groups"
BULK = "/Bulk"
PROVIDER_CONFIG = "/ServiceProviderConfig"
BULK_REQUEST = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?")
_WAIT = re.compile(r"(?i)try again in\s{1,9}([0-9]+)\s{0,9}(second|minute|hour)")
_UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
_WHOLE = re.compile(r"[0-9]{1,18}")
DETAIL = 200  # characters of the server's own words that go into an error
READ_WORDS = 5000  # characters of them that are looked at
LONGEST_TOLD = 3600.0  # seconds: whatever the server says, it is asked again then
FIRST_EPOCH = 1e9  # a larger Retry-After is not a number of seconds but a time, in seconds since 1970
LONGEST_DATE = 64  # characters
MOST_RESULTS = 10**9  # a number beyond counts no accounts
FINAL = frozenset({501, 505})  # 5xx that the same request meets again (RFC 9110 15.6.2, 15.6.6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer; `body` is None where it is not a JSON object, or longer than is read (`too_long`).

    The names of its attributes are in their usual spelling; `size` is the length of the body in bytes.
    """

    status: int
    body: dict[str, Any] | None
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    size: int = 0
    too_long: bool = False

    @property
    def ok(self) -> bool:
        """Say whether it is a success."""
        return 200 <= self.status < 300


class Dropped(Exception):
    """The connection was lost or timed out after the request may have been sent: its fate is unknown."""


class NotConnected(Dropped):
    """No connection could be made, so nothing was sent."""


def user_path(scim_id: str) -> str:
    """Return the path of one account.

    Raises:
        Permanent: an id that reaches another resource, or none.
    """
    problem = id_problem(scim_id)
    if problem:
        raise unusable_id(problem)
    return f"{USERS}/{quote(scim_id, safe='')}"


def unusable_id(problem: str) -> Permanent:
    """Return the failure of the user whose account has an id that cannot be used."""
    return Permanent(
        f"The account's id in Keeper cannot be used: {problem}. "
        "Delete the account in Keeper's Admin Console, or ask Keeper's support."
    )


def equals(attribute: str, value: str) -> str:
    """Render a filter; the value is a JSON string (RFC 7644 3.4.2.2), so quotes and backslashes are escaped."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{attribute} eq "{escaped}"'


def is_listing(body: Mapping[str, Any] | None) -> bool:
    """Say whether an answer is a ListResponse at all: an answer that is not proves nothing about who exists."""
    if not body:
        return False
    return isinstance(spelled(body).get("Resources"), list) or total(body) is not None


def resources(body: Mapping[str, Any]) -> list[Any]:
    """Return a listing's resources, whatever they are."""
    found = spelled(body).get("Resources")
    return found if isinstance(found, list) else []


def total(body: Mapping[str, Any]) -> int | None:
    """Return totalResults, None if the server gives none, or something that cannot be a number of accounts."""
    return whole(spelled(body).get("totalResults"), MOST_RESULTS)


def whole(value: object, most: int) -> int | None:
    """Read a whole number, which some servers send as a string; None for anything else, and beyond `most`."""
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most else None


def throttled(answer: Answer) -> bool:
    """Recognise 429, and the 403 "throttled" of Keeper's backend."""
    if answer.status == 429:
        return True
    return answer.status == 403 and "throttled" in _text(answer.body, "error", "message", "detail").lower()


def passing(answer: Answer) -> bool:
    """Say whether the answer is about the server's current state: the same request may well succeed later.

    A status that HTTP does not know counts as 500 (RFC 9110 15).
    """
    return throttled(answer) or answer.status in (408, 425) or (_failed(answer.status) and answer.status not in FINAL)


def maybe_done(answer: Answer) -> bool:
    """Say whether a write with this answer may have been carried out nevertheless.

    A gateway's 5xx means that the server's own answer did not come through, a 500 that it failed on the way; 501, 503
    and 505 (RFC 9110 15.6) are given instead of any work.
    """
    return answer.status == 408 or (_failed(answer.status) and answer.status not in FINAL | {503})


def _failed(status: int) -> bool:
    return status < 200 or status >= 500


def wait_told(answer: Answer, now: datetime) -> float | None:
    """Return the seconds to wait that the server asked for, `LONGEST_TOLD` at most: Retry-After, or Keeper's own words.

    Retry-After is a number of seconds or a date (RFC 9110 10.2.3); some send the time in seconds since 1970.
    """
    header = answer.headers.get("Retry-After", "").strip()
    told = float(header) if _SECONDS.fullmatch(header) else _until(header, now)
    if told is not None and told > FIRST_EPOCH:
        told -= now.timestamp()
    if told is None:
        said = _WAIT.search(words(answer))
        told = float(said[1]) * _UNITS[said[2].lower()] if said else None
    return None if told is None else min(max(told, 0.0), LONGEST_TOLD)


def _until(date: str, now: datetime) -> float | None:
    if not 0 < len(date) <= LONGEST_DATE:
        return None
    try:
        return (email.utils.parsedate_to_datetime(date) - now).total_seconds()
    except (ValueError, TypeError, OverflowError, LookupError):
        return None


def words(answer: Answer) -> str:
    """Return the server's own words."""
    return _text(answer.body, "detail", "message", "error")


def error_of(answer: Answer, now: datetime, *, known_account: bool) -> ProvisioningError:
    """Translate an answer that is not a success, whatever was asked; see `proof.refused` for writes.

    `known_account` makes a 404 mean that the account is gone.
    """
    detail = words(answer)[:DETAIL]
    told = f"HTTP {answer.status}" + (f": {detail}" if detail else "")
    if throttled(answer):
        return Throttled(f"Keeper asks us to slow down ({told})", retry_after=wait_told(answer, now))
    if 300 <= answer.status < 400:
        return ConfigurationRefused(f"The endpoint redirects ({told}); enter the target address instead")
    match answer.status:
        case 401 | 403:
            return AuthorizationRefused(f"Keeper refuses the access token ({told})", status=answer.status)
        case 404 if known_account:
            return AccountGone(f"Keeper no longer knows this account ({told})")
        case 408 | 425:
            return Transient(f"Keeper did not answer in time ({told})")
        case status if status in FINAL:
            return NotOffered(f"Keeper does not support this ({told})")
        case status if _failed(status):
            return Transient(f"Keeper failed ({told})", retry_after=wait_told(answer, now))
        case _:
            return Rejected(f"Keeper refuses this request ({told})")


def _text(body: Mapping[str, Any] | None, *names: str) -> str:
    if not body:
        return ""
    texts = (body.get(name) for name in names)
    return " ".join(text[:READ_WORDS] for text in texts if isinstance(text, str))
