"""Protection of forms against cross-site requests: a token bound to the signed-in address and the hour."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta

HOUR = timedelta(hours=1)


def form_token(key: bytes, address: str, now: datetime) -> str:
    """Make the token that a form carries; it is valid for one to two hours."""
    hour = now.strftime("%Y%m%d%H")
    return hmac.new(key, f"form\n{address}\n{hour}".encode(), hashlib.sha256).hexdigest()


def genuine(key: bytes, address: str, token: str, now: datetime) -> bool:
    """Say whether a form's token is ours, for this address, made in this hour or the one before."""
    return any(
        hmac.compare_digest(token.encode(), form_token(key, address, moment).encode()) for moment in (now, now - HOUR)
    )
