"""Accounts (SCIM Users in Keeper): actual ones, intended writes, and fingerprints of what was applied.

An account's attributes are a flat mapping from SCIM attribute path ("userName", "name.givenName", "emails.value",
"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department") to a string, a boolean, or None for "mapped,
but without a value".
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

Value = str | bool | None
Attributes = Mapping[str, Value]

_WHOLE = 16  # characters: 96 bits over all attributes, so that one comparison settles "nothing changed"
_PART = 6  # characters: 36 bits per attribute, to see which of them changed

LONGEST_ID = 256  # characters of a SCIM id: it appears in URLs, roster entries and the audit
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def id_problem(scim_id: str) -> str:
    """Say what is wrong with a SCIM id, empty where it can be used.

    The id is the server's (RFC 7643 3.1) and becomes the last segment of a path: "." and ".." are taken out of a path
    (RFC 3986 5.2.4), so that a request would reach another resource.
    """
    if scim_id.isalnum() and len(scim_id) <= LONGEST_ID:
        return ""
    if not scim_id:
        return "it is empty"
    if len(scim_id) > LONGEST_ID:
        return f"it has {len(scim_id)} characters, and {LONGEST_ID} at most can be used"
    if scim_id in (".", ".."):
        return f"it is {scim_id!r}, which has a special meaning in a path"
    return "it has control characters" if _NO_TEXT.search(scim_id) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A SCIM User as Keeper returned it.

    `flaw` says why it cannot be addressed, and then `scim_id` is empty. A user for whom it would be found has a
    failure, since it has their address.
    """

    scim_id: str
    user_name: str
    external_id: str
    active: bool
    attributes: Attributes = field(default_factory=dict)
    created: datetime | None = None  # meta.created, if the server returns it
    flaw: str = ""
    teams: tuple[str, ...] | None = None  # ids of those that Keeper shows it in; None where it does not tell


class WriteKind(StrEnum):
    """The three SCIM writes; adoption, rename, suspension and reactivation are all a PATCH."""

    CREATE = "create"
    PATCH = "patch"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One intended SCIM write; `key` names it in the results.

    CREATE sends `attributes` without the None ones; PATCH replaces each attribute and removes the None ones, sets
    `external_id` when given (adoption) and `active` when not None. Either may change the account's teams.
    """

    key: str
    kind: WriteKind
    scim_id: str = ""
    external_id: str | None = None
    attributes: Attributes = field(default_factory=dict)
    active: bool | None = None
    joins: tuple[str, ...] = ()  # ids of the teams that the account is put into
    leaves: tuple[str, ...] = ()  # ... and taken out of

    @property
    def empty(self) -> bool:
        """Say whether a PATCH would change nothing."""
        untouched = self.external_id is None and self.active is None
        return untouched and not (self.attributes or self.joins or self.leaves)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one request, which `key` names; `error` is one of `domain.errors`."""

    key: str
    error: Exception | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written(Result):
    """The outcome of a Write: `scim_id` on success, else `error`.

    Both if a creation made an account, but not as written: it is ours, and must be kept track of. `shown` is what
    Keeper showed of the account afterwards, None if nothing.
    """

    scim_id: str = ""
    seconds: float = 0.0
    shown: Attributes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """Whom to look for: first by externalId, then by each userName (the primary address, then aliases)."""

    key: str
    external_id: str
    user_names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Result):
    """The accounts that really carry the externalId or a userName asked for; `error` if that is not known."""

    accounts: tuple[Account, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What ServiceProviderConfig offers (RFC 7643 section 5); zeros where Bulk is not offered."""

    bulk: bool = False
    max_operations: int = 0
    max_payload: int = 0


def _digest(text: str, characters: int) -> str:
    raw = hashlib.blake2b(text.encode(), digest_size=(characters * 6 + 7) // 8).digest()
    return base64.urlsafe_b64encode(raw).decode()[:characters]


def _text(attributes: Attributes) -> list[str]:
    return [f"{target}\x1f{value!r}" for target, value in sorted(attributes.items())]


def whole_fingerprint(attributes: Attributes) -> str:
    """Digest all attributes at once: the first part of a fingerprint, enough to tell that nothing changed."""
    return _digest("\x1e".join(_text(attributes)), _WHOLE)


def fingerprint(attributes: Attributes) -> str:
    """Digest the applied attributes: 16 characters over all of them, then 6 for each, in the order of their names."""
    return whole_fingerprint(attributes) + one_by_one(attributes)


def one_by_one(attributes: Attributes) -> str:
    """Digest each attribute with its value, 6 characters each: what `remembers` looks in."""
    return "".join(_digest(part, _PART) for part in _text(attributes))


def unchanged(applied: str, attributes: Attributes) -> bool:
    """Say whether the attributes are the ones that the fingerprint was made of."""
    return applied[:_WHOLE] == whole_fingerprint(attributes)


def holds(applied: str, target: str, value: Value) -> bool:
    """Say whether a value of an attribute is among those that the fingerprint was made of."""
    return not changed_attributes(applied, {target: value})


def remembered(shown: Attributes, written: Attributes) -> str:
    """Digest what Keeper shows of the attributes written wherever that is not what was written, 6 characters each."""
    return one_by_one({target: shown.get(target) for target, value in written.items() if shown.get(target) != value})


def remembers(memory: str | None, target: str, value: Value) -> bool:
    """Say whether a value of an attribute is among those that `memory` was made of; None remembers nothing."""
    memory = memory or ""
    part = _digest(f"{target}\x1f{value!r}", _PART)
    return any(memory[i : i + _PART] == part for i in range(0, len(memory), _PART))


def changed_attributes(applied: str, attributes: Attributes) -> dict[str, Value]:
    """Return the attributes that are not among those the fingerprint was made of (all, for an empty fingerprint)."""
    known = _parts(applied[_WHOLE:])
    return {
        target: value
        for target, value in sorted(attributes.items())
        if _digest(f"{target}\x1f{value!r}", _PART) not in known
    }


def only_of(applied: str, attributes: Attributes) -> bool:
    """Say whether the fingerprint was made of some of these attributes, and of nothing besides."""
    return _parts(applied[_WHOLE:]) <= _parts(one_by_one(attributes))


def _parts(digests: str) -> set[str]:
    return {digests[i : i + _PART] for i in range(0, len(digests), _PART)}
