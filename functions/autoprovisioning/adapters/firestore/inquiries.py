"""Inquiries: one document each, which expires."""

from __future__ import annotations

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.database import Database, fields_of, is_id
from autoprovisioning.app.ports import Clock
from autoprovisioning.app.reports import Inquiry, InquiryKind, InquiryState, Step
from autoprovisioning.domain.accounts import Account

_steps = msgspec.json.Decoder(tuple[Step, ...])
_account = msgspec.json.Decoder(Account | None)


class FirestoreInquiries:
    """The Inquiries port."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def put(self, inquiry: Inquiry) -> None:
        """Store an inquiry whole; `expires` is its TTL field."""
        fields = {
            "user_id": inquiry.user_id,
            "kind": inquiry.kind.value,
            "asked_by": inquiry.asked_by,
            "asked_at": inquiry.asked_at,
            "expires": inquiry.expires,
            "state": inquiry.state.value,
            "finished": inquiry.finished,
            "steps": msgspec.json.encode(inquiry.steps).decode(),
            "account": msgspec.json.encode(inquiry.account).decode(),
            "problem": inquiry.problem,
        }
        batch = self._database.client.batch()
        batch.set(self._document(inquiry.connection_id, inquiry.id), fields)
        self._database.write(batch, 1)

    def get(self, connection_id: str, inquiry_id: str) -> Inquiry | None:
        """Read one document; None where it expired: the service may leave it there for a day."""
        if not is_id(inquiry_id):
            return None
        fields = fields_of(self._database.get(self._document(connection_id, inquiry_id)))
        if not fields or fields["expires"] <= self._clock():
            return None
        return Inquiry(
            inquiry_id,
            connection_id,
            fields["user_id"],
            InquiryKind(fields["kind"]),
            fields["asked_by"],
            fields["asked_at"],
            fields["expires"],
            InquiryState(fields["state"]),
            fields["finished"],
            _steps.decode(fields["steps"]),
            _account.decode(fields["account"]),
            fields["problem"],
        )

    def _document(self, connection_id: str, inquiry_id: str) -> firestore.DocumentReference:
        home = self._database.client.collection("connections").document(connection_id)
        return home.collection("inquiries").document(inquiry_id)
