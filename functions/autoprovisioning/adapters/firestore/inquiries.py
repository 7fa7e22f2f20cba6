"""Inquiries: one document each, which expires."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.database import Database, fields_of, is_id
from autoprovisioning.app.ports.execution import Clock
from autoprovisioning.app.ports.requests import Inquiry, InquiryKind, InquiryState, Step
from autoprovisioning.domain.accounts import Account

_steps = msgspec.json.Decoder(tuple[Step, ...])
_account = msgspec.json.Decoder(Account | None)


class FirestoreInquiries:
    """The Inquiries port."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def open(self, inquiry: Inquiry, since: datetime) -> Inquiry:
        """Store it, provided that the document did not change since it was seen not to wait."""
        standing = inquiry

        def change(known: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            nonlocal standing
            found = self._known(inquiry.connection_id, inquiry.id, known)
            waits = found is not None and found.state is InquiryState.WAITING and found.asked_at > since
            standing = found if found is not None and waits else inquiry
            return None if waits else _fields(inquiry)

        self._database.edit(self._document(inquiry.connection_id, inquiry.id), change)
        return standing

    def put(self, inquiry: Inquiry) -> None:
        """Store an inquiry whole; `expires` is its TTL field."""
        batch = self._database.client.batch()
        batch.set(self._document(inquiry.connection_id, inquiry.id), _fields(inquiry))
        self._database.write(batch, 1)

    def get(self, connection_id: str, inquiry_id: str) -> Inquiry | None:
        """Read one document; None where it expired: the service may leave it there for a day."""
        if not is_id(inquiry_id):
            return None
        snapshot = self._database.get(self._document(connection_id, inquiry_id))
        return self._known(connection_id, inquiry_id, snapshot)

    def _known(self, connection_id: str, inquiry_id: str, snapshot: firestore.DocumentSnapshot) -> Inquiry | None:
        fields = fields_of(snapshot)
        if not fields or fields["expires"] <= self._clock():
            return None
        return Inquiry(
            id=inquiry_id,
            connection_id=connection_id,
            user_id=fields["user_id"],
            kind=InquiryKind(fields["kind"]),
            asked_by=fields["asked_by"],
            asked_at=fields["asked_at"],
            expires=fields["expires"],
            state=InquiryState(fields["state"]),
            finished=fields["finished"],
            steps=_steps.decode(fields["steps"]),
            account=_account.decode(fields["account"]),
            problem=fields["problem"],
            asked_by_id=fields.get("asked_by_id", ""),  # an older one has none
        )

    def _document(self, connection_id: str, inquiry_id: str) -> firestore.DocumentReference:
        home = self._database.client.collection("connections").document(connection_id)
        return home.collection("inquiries").document(inquiry_id)


def _fields(inquiry: Inquiry) -> dict[str, Any]:
    return {
        "user_id": inquiry.user_id,
        "kind": inquiry.kind.value,
        "asked_by": inquiry.asked_by,
        "asked_by_id": inquiry.asked_by_id,
        "asked_at": inquiry.asked_at,
        "expires": inquiry.expires,
        "state": inquiry.state.value,
        "finished": inquiry.finished,
        "steps": msgspec.json.encode(inquiry.steps).decode(),
        "account": msgspec.json.encode(inquiry.account).decode(),
        "problem": inquiry.problem,
    }
