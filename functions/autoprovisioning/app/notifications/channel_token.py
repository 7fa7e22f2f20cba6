"""The notification channel's token: an HMAC over channel id and expiry, so that the webhook needs no database.

Token format: `<expiry in epoch seconds>.<hex HMAC-SHA256>`; at most 256 characters (Admin SDK push guide).
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta


def channel_token(key: bytes, channel_id: str, expires: datetime) -> str:
    """Make the token of a channel that must not be believed after `expires`."""
    seconds = str(int(expires.timestamp()))
    return f"{seconds}.{_mac(key, channel_id, seconds)}"


def believes(key: bytes, channel_id: str, token: str, now: datetime) -> bool:
    """Say whether the token is ours, for this channel, and not expired; compares in constant time."""
    seconds, _, mac = token.partition(".")
    genuine = hmac.compare_digest(mac.encode(), _mac(key, channel_id, seconds).encode())
    return genuine and now.timestamp() <= int(seconds)  # what we signed is a number


def fingerprint(key: bytes) -> str:
    """Distinguish keys without revealing them: stored with a channel, it says which key its token was made with."""
    return hmac.new(key, b"fingerprint", hashlib.sha256).hexdigest()[:8]


def _mac(key: bytes, channel_id: str, seconds: str) -> str:
    return hmac.new(key, f"{channel_id}\n{seconds}".encode(), hashlib.sha256).hexdigest()


GRACE = timedelta(minutes=5)  # Google's clock and ours
PROOF_KEPT = timedelta(days=3)  # longer than any channel lives: a proof still without one belongs to a removed channel
