"""Requests: one document each, whatever they ask for, which expires."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.database import Database, fields_of, is_id
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.requests import R, RequestKind, RequestState, S, WorkRequest


class FirestoreRequests:
    """The Requests port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, request: WorkRequest[S, R]) -> WorkRequest[S, R]:
        """Store it, provided that the document did not change since no answer was expected of it."""
        standing = request

        def change(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            nonlocal standing
            known = _request(request.kind, request.connection_id, snapshot)
            standing = known if known is not None and known.expected(request.asked_at) else request
            return _fields(request) if standing is request else None

        self._database.edit(self._document(request.connection_id, request.id), change)
        return standing

    def put(self, request: WorkRequest[S, R]) -> None:
        """Store it whole; `expires` is its TTL field."""
        batch = self._database.client.batch()
        batch.set(self._document(request.connection_id, request.id), _fields(request))
        self._database.write(batch, 1)

    def get(self, kind: RequestKind[S, R], connection_id: str, request_id: str) -> WorkRequest[S, R] | None:
        """Read one document."""
        if not is_id(request_id):
            return None
        return _request(kind, connection_id, self._database.get(self._document(connection_id, request_id)))

    def _document(self, connection_id: str, request_id: str) -> firestore.DocumentReference:
        return document_of(self._database, connection_id, request_id)


def document_of(database: Database, connection_id: str, request_id: str) -> firestore.DocumentReference:
    """Return where a request is stored."""
    return database.home(connection_id).collection("requests").document(request_id)


@lru_cache(maxsize=16)
def _decoder(of: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(of)  # made once, and not by a process that reads no request: it takes milliseconds


def _request(
    kind: RequestKind[S, R], connection_id: str, snapshot: firestore.DocumentSnapshot
) -> WorkRequest[S, R] | None:
    fields = fields_of(snapshot)
    if not fields or fields["kind"] != kind.name:
        return None
    about: Any = kind.subject
    found: Any = type(kind.nothing)
    return WorkRequest(
        id=snapshot.id,
        kind=kind,
        connection_id=connection_id,
        subject=_decoder(about).decode(fields["subject"]),
        result=_decoder(found).decode(fields["result"]),
        asked_by=Actor(address=fields["asked_by"], directory_id=fields["asked_by_id"]),
        asked_at=fields["asked_at"],
        state=RequestState(fields["state"]),
        finished=fields["finished"],
        problem=fields["problem"],
    )


def _fields(request: WorkRequest[S, R]) -> dict[str, Any]:
    return {
        "kind": request.kind.name,
        "subject": msgspec.json.encode(request.subject).decode(),
        "result": msgspec.json.encode(request.result).decode(),
        "asked_by": request.asked_by.address,
        "asked_by_id": request.asked_by.directory_id,
        "asked_at": request.asked_at,
        "expires": request.expires,
        "state": request.state.value,
        "finished": request.finished,
        "problem": request.problem,
    }
