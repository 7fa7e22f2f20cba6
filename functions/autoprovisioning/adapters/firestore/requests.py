"""Requests: one document each, whatever they ask for, which expires."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.database import Database, fields_of, is_id
from autoprovisioning.decoding import built
from autoprovisioning.document_kinds import REQUEST
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.requests import R, RequestKind, RequestState, S, WorkRequest


class FirestoreRequests:
    """The Requests port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, request: WorkRequest[S, R]) -> WorkRequest[S, R]:
        """Store it, provided that no request in the document still stands; returns the one that does."""
        standing = request

        def change(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            nonlocal standing
            known = _request(request.kind, request.connection_id, snapshot)
            standing = known if known is not None and known.stands(request.asked_at) else request
            return _fields(request) if standing is request else None

        self._database.edit(self._document(request.connection_id, request.id), change)
        return standing

    def put(self, request: WorkRequest[S, R]) -> None:
        """Store it whole, but never replace an answer with a state that has none; `expires` is its TTL field."""

        def change(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            known = _request(request.kind, request.connection_id, snapshot)
            return _fields(request) if known is None or known.gives_way_to(request) else None

        self._database.edit(self._document(request.connection_id, request.id), change)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    """A request as it is stored: what it is about and what came of it are JSON, since each kind has its own."""

    kind: str
    subject: str
    result: str
    asked_by: str
    asked_by_id: str
    asked_at: datetime
    expires: datetime
    state: RequestState
    finished: datetime | None
    problem: str


@lru_cache(maxsize=16)
def _decoder(of: Any) -> msgspec.json.Decoder[Any]:
    # Made once, and only by a process that reads requests: it takes milliseconds.
    return msgspec.json.Decoder(built(of))


def _request(
    kind: RequestKind[S, R], connection_id: str, snapshot: firestore.DocumentSnapshot
) -> WorkRequest[S, R] | None:
    fields = fields_of(snapshot)
    if not fields:
        return None
    stored = REQUEST.read(fields, _Document)
    if stored.kind != kind.name:
        return None
    about: Any = kind.subject
    found: Any = type(kind.nothing)
    try:
        subject, result = _decoder(about).decode(stored.subject), _decoder(found).decode(stored.result)
    except msgspec.ValidationError as error:
        raise REQUEST.unreadable(error) from None
    return WorkRequest(
        id=snapshot.id,
        kind=kind,
        connection_id=connection_id,
        subject=subject,
        result=result,
        asked_by=Actor(address=stored.asked_by, directory_id=stored.asked_by_id),
        asked_at=stored.asked_at,
        state=stored.state,
        finished=stored.finished,
        problem=stored.problem,
    )


def _fields(request: WorkRequest[S, R]) -> dict[str, Any]:
    document = _Document(
        kind=request.kind.name,
        subject=msgspec.json.encode(request.subject).decode(),
        result=msgspec.json.encode(request.result).decode(),
        asked_by=request.asked_by.address,
        asked_by_id=request.asked_by.directory_id,
        asked_at=request.asked_at,
        expires=request.expires,
        state=request.state,
        finished=request.finished,
        problem=request.problem,
    )
    return REQUEST.stamped({**asdict(document), "state": request.state.value})
