"""The notification channels that we opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A Directory notification channel. `token` goes to Google only; it is an HMAC (`notifications.channel_token`)."""

    id: str
    address: str
    token: str = ""
    event: str = ""
    expires: datetime | None = None
    resource_id: str = ""
    opened: datetime | None = None
    proven: bool = False  # its sync message arrived: Google can reach the webhook and knows the token
    fingerprint: str = ""  # of the key that its token was made with


class Channels(Protocol):
    """The channels we opened."""

    def all(self) -> Sequence[Channel]:
        """Return every channel not yet removed; one only heard of has no address."""

    def put(self, channel: Channel) -> None:
        """Store one (never its token)."""

    def prove(self, channel_id: str, heard: datetime) -> None:
        """Note that its sync message arrived; a channel that is not known yet is noted too (sync may come first).

        Such a note expires `PROOF_KEPT` after it was heard: a late sync message may be of a removed channel.
        """

    def remove(self, channel_id: str) -> None:
        """Forget one."""
