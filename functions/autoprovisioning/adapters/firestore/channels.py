"""The notification channels we opened; their tokens are never stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autoprovisioning.adapters.firestore.database import Database
from autoprovisioning.app.ports import Channel


class FirestoreChannels:
    """The Channels port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Sequence[Channel]:
        """Return every channel that was opened and not removed; one only heard of is left out."""
        found = self._database.stream(self._database.client.collection("channels"))
        opened = [(snapshot.id, snapshot.to_dict() or {}) for snapshot in found]
        return [_channel(channel_id, fields) for channel_id, fields in opened if fields.get("address")]

    def put(self, channel: Channel) -> None:
        """Store a channel; a proof that came before it stays."""
        fields: dict[str, Any] = {
            "address": channel.address,
            "event": channel.event,
            "expires": channel.expires,
            "resource_id": channel.resource_id,
            "opened": channel.opened,
            "fingerprint": channel.fingerprint,
        }
        self._merge(channel.id, fields)

    def prove(self, channel_id: str) -> None:
        """Note that the channel's sync message arrived, which may be before the channel itself is stored."""
        self._merge(channel_id, {"proven": True})

    def remove(self, channel_id: str) -> None:
        """Forget a channel."""
        batch = self._database.client.batch()
        batch.delete(self._database.client.collection("channels").document(channel_id))
        self._database.commit(batch, 1)

    def _merge(self, channel_id: str, fields: dict[str, Any]) -> None:
        batch = self._database.client.batch()
        batch.set(self._database.client.collection("channels").document(channel_id), fields, merge=True)
        self._database.commit(batch, 1)


def _channel(channel_id: str, fields: dict[str, Any]) -> Channel:
    return Channel(
        channel_id,
        fields["address"],
        "",
        fields["event"],
        fields["expires"],
        fields["resource_id"],
        fields["opened"],
        bool(fields.get("proven")),
        fields.get("fingerprint", ""),
    )
