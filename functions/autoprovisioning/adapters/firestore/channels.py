"""The notification channels we opened; their tokens are never stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from google.cloud.firestore import DocumentReference, DocumentSnapshot

from autoprovisioning.adapters.firestore.database import Database, fields_of
from autoprovisioning.app.notifications.channel_token import PROOF_KEPT
from autoprovisioning.app.ports.channels import Channel
from autoprovisioning.document_kinds import CHANNEL


class FirestoreChannels:
    """The Channels port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Sequence[Channel]:
        """Return every channel that was opened and not removed; one only heard of has no address."""
        found = self._database.stream(self._database.client.collection("channels"))
        return [_channel(snapshot.id, fields_of(snapshot)) for snapshot in found]

    def put(self, channel: Channel) -> None:
        """Store a channel; a proof that came before it stays, and expires with the channel."""
        fields = msgspec.to_builtins(channel, builtin_types=(datetime,))
        for name in ("id", "token", "proven"):
            del fields[name]
        batch = self._database.client.batch()
        batch.set(self._document(channel.id), CHANNEL.stamped(fields), merge=True)
        self._database.write(batch, 1)

    def prove(self, channel_id: str, heard: datetime) -> None:
        """Note that the channel's sync message arrived, which may be before the channel itself is stored.

        `expires` is the TTL field of both: a proof without a channel has a time of its own.
        """

        def proof(known: DocumentSnapshot) -> dict[str, Any]:
            CHANNEL.check(fields_of(known))
            return CHANNEL.stamped({"proven": True, **({} if known.exists else {"expires": heard + PROOF_KEPT})})

        self._database.edit(self._document(channel_id), proof)

    def remove(self, channel_id: str) -> None:
        """Forget a channel."""
        batch = self._database.client.batch()
        batch.delete(self._document(channel_id))
        self._database.write(batch, 1)

    def _document(self, channel_id: str) -> DocumentReference:
        return self._database.client.collection("channels").document(channel_id)


def _channel(channel_id: str, fields: dict[str, Any]) -> Channel:
    return CHANNEL.read({"address": "", **fields, "id": channel_id}, Channel)
