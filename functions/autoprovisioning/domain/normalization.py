"""How servers store values: in another spelling, but not as another value.

RFC 7643 lets a server compare userName and e-mail addresses without case (4.1.1, 4.1.2) and canonicalize phone numbers
(4.1.2); servers trim, compose (NFC) and cut to a length besides. A value stored that way is neither a failed write nor
somebody's change.
"""

from __future__ import annotations

import unicodedata

from .accounts import Attributes, Value
from .scim_user import ADDRESSES, Kind, family_of, kind_of


def same(target: str, one: Value, other: Value) -> bool:
    """Say whether two values mean the same: without case for addresses, by their digits for phone numbers."""
    return one == other or _plain(target, one) == _plain(target, other)


def made_of(target: str, shown: Attributes, sent: Attributes) -> bool:
    """Say whether what a server shows may be how it stores the value that was sent.

    That is the same value, or its beginning, cut to a length; but not for an address or a reference, where that is
    another value. Keeper derives the e-mail entry from userName, and userName from a new e-mail address, and shows the
    address as displayName if there is none.
    """
    value, wanted = shown.get(target), sent.get(target)
    if same(target, value, wanted):
        return True
    if not value:
        return False
    if kind_of(target) is Kind.ADDRESS:
        return any(same(target, value, sent.get(address)) for address in ADDRESSES)
    if family_of(target) == "emails":
        return True
    if target == "displayName" and not wanted:
        return same("userName", value, shown.get("userName"))
    whole = _plain(target, wanted)
    return kind_of(target) is not Kind.NAME and whole.startswith(_plain(target, value))


def _plain(target: str, value: Value) -> str:
    """Return what is compared; booleans as the texts that some servers send instead of them."""
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    text, kind = unicodedata.normalize("NFC", value).strip(), kind_of(target)
    if kind is Kind.ADDRESS:
        return text.lower()
    if kind is Kind.PHONE:
        return "".join(filter(str.isdecimal, text)) or text
    return text.lower() if text.lower() in ("true", "false") else text
