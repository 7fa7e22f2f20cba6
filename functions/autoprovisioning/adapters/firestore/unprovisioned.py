"""The accounts that nobody provisions, as the last drift run found them: some thousand a document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.audit import add_events
from autoprovisioning.adapters.firestore.database import Database, fields_of
from autoprovisioning.decoding import built
from autoprovisioning.document_kinds import UNPROVISIONED
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.locks import Lock, Locks
from autoprovisioning.domain.unprovisioned import Ignored, Report, Unprovisioned

ROWS_A_DOCUMENT = 1_000  # of some 200 bytes, 800 at most
MOST_DOCUMENTS = 20  # whoever has more than that cannot go through them one by one

_rows = msgspec.msgpack.Decoder(built(list[Unprovisioned]))
_those_ignored = msgspec.msgpack.Decoder(built(list[Ignored]))
_chosen = msgspec.msgpack.Decoder(built(list[Lock]))


class FirestoreUnprovisioned:
    """The UnprovisionedAccounts port: one document with the head and the first rows, others with the rest."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, connection_id: str, report: Report) -> None:
        """Store the rest first: the head says how many documents there are."""
        rows = report.accounts[: ROWS_A_DOCUMENT * MOST_DOCUMENTS]
        chunks = [rows[start : start + ROWS_A_DOCUMENT] for start in range(0, len(rows), ROWS_A_DOCUMENT)]
        for number in range(len(chunks) - 1, 0, -1):
            self._set(connection_id, number, {"rows": msgspec.msgpack.encode(chunks[number]), "digest": report.digest})
        head: dict[str, Any] = {"at": report.at, "digest": report.digest, "documents": len(chunks)}
        self._set(connection_id, 0, {**head, "rows": msgspec.msgpack.encode(chunks[0] if chunks else ())})

    def get(self, connection_id: str) -> Report | None:
        """Read them all; documents of another report are left out."""
        head = fields_of(self._database.get(self._document(connection_id, 0)))
        if not head:
            return None
        UNPROVISIONED.check(head)
        rows = _rows.decode(head["rows"])
        others = [self._document(connection_id, number) for number in range(1, head["documents"])]
        for snapshot in self._database.get_all(others) if others else ():
            fields = fields_of(snapshot)
            if fields.get("digest") == head["digest"]:
                rows += _rows.decode(fields["rows"])
        return Report(at=head["at"], digest=head["digest"], accounts=tuple(rows))

    def ignored(self, connection_id: str) -> dict[str, Ignored]:
        """Read one document, beside those of the report."""
        return _ignored(self._database.get(self._home(connection_id).document("ignored")))

    def ignore(
        self, connection_id: str, edit: Callable[[Mapping[str, Ignored]], Mapping[str, Ignored]], told: Event
    ) -> None:
        """Write the document and the event in one commit."""

        def change(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            known = _ignored(snapshot)
            wanted = edit(known)
            packed = msgspec.msgpack.encode(list(wanted.values()))
            return UNPROVISIONED.stamped({"ignored": packed}) if wanted != known else None

        home = self._database.home(connection_id)
        document = self._home(connection_id).document("ignored")
        self._database.edit(document, change, lambda batch: add_events(batch, home, [told]))

    def locks(self, connection_id: str) -> Locks:
        """Read one document, beside those of the report."""
        return _locks(self._database.get(self._home(connection_id).document("locks")))

    def change_locks(self, connection_id: str, edit: Callable[[Locks], tuple[Locks, Sequence[Event]]]) -> None:
        """Write the document and the events in one commit."""
        events: list[Event] = []

        def change(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            known = _locks(snapshot)
            wanted, events[:] = edit(known)
            packed = msgspec.msgpack.encode(list(wanted.values()))
            return UNPROVISIONED.stamped({"locks": packed}) if wanted != known else None

        home = self._database.home(connection_id)
        document = self._home(connection_id).document("locks")
        self._database.edit(document, change, lambda batch: add_events(batch, home, events))

    def _set(self, connection_id: str, number: int, fields: dict[str, Any]) -> None:
        batch = self._database.client.batch()
        batch.set(self._document(connection_id, number), UNPROVISIONED.stamped(fields))
        self._database.write(batch, 1)

    def _document(self, connection_id: str, number: int) -> firestore.DocumentReference:
        return self._home(connection_id).document(f"{number:04d}")

    def _home(self, connection_id: str) -> firestore.CollectionReference:
        return self._database.home(connection_id).collection("unprovisioned")


def _ignored(snapshot: firestore.DocumentSnapshot) -> dict[str, Ignored]:
    fields = fields_of(snapshot)
    UNPROVISIONED.check(fields)
    return {each.scim_id: each for each in _those_ignored.decode(fields["ignored"])} if fields else {}


def _locks(snapshot: firestore.DocumentSnapshot) -> dict[str, Lock]:
    fields = fields_of(snapshot)
    UNPROVISIONED.check(fields)
    return {each.key: each for each in _chosen.decode(fields["locks"])} if fields else {}
