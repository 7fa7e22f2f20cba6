"""Connections: readable documents, since an operator looks at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore import schema_1
from autoprovisioning.adapters.firestore.audit import add_events
from autoprovisioning.adapters.firestore.database import STAMP, Database, LostRace, fields_of, is_id, stamped
from autoprovisioning.app.ports.connections import Telling
from autoprovisioning.document_kinds import CONNECTION
from autoprovisioning.domain.connections import Connection, Deleted
from autoprovisioning.domain.errors import Stale
from autoprovisioning.domain.events import Event

TOMBSTONE = "deleted"
# Before the state of a pilot. A version that knows no pilots would provision everybody: so it must not read this one,
# while it may go on reading all other connections, whose number is the same.
PILOT = "pilot: "
# Events and usage stay.
FORGOTTEN = (
    "roster",
    "holds",
    "guard",
    "failures",
    "pending",
    "claims",
    "adoptions",
    "unprovisioned",
    "keeper_changes",
    "teams",
    "people",
    "runs",
    "sweep",
    "requests",
    # Of the previous version: what is left in them expires within a day, but a deletion may come before that.
    "previews",
    "inquiries",
    "run_requests",
)
PARTS = {  # collections whose documents have a collection of their own
    "holds": "members",
    "requests": "chunks",
    "previews": "chunks",
}
DELETES_A_COMMIT = 200


class FirestoreConnections:
    """The Connections port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Sequence[Connection]:
        """Return every connection, in their order."""
        found = self._database.stream(self._collection())
        connections = [self._read(item) for item in found if item.get("state") != TOMBSTONE]
        return sorted(connections, key=lambda connection: (connection.order, connection.id))

    def get(self, connection_id: str) -> Connection | None:
        """Read one connection."""
        if not is_id(connection_id):
            return None
        snapshot = self._database.get(self._collection().document(connection_id))
        return self._read(snapshot) if lives(snapshot) else None

    def _read(self, snapshot: firestore.DocumentSnapshot) -> Connection:
        fields = fields_of(snapshot)
        connection = from_document(snapshot.id, fields)
        if CONNECTION.check(fields) < CONNECTION.current:
            self._database.migrate(snapshot, to_document(connection))
        return connection

    def deleted(self) -> Sequence[Deleted]:
        """Return what the tombstones say."""
        query = self._collection().where(filter=firestore.FieldFilter("state", "==", TOMBSTONE))
        found = [(snapshot.id, fields_of(snapshot)) for snapshot in self._database.stream(query)]
        gone = [Deleted(id=name, name=fields.get("name", ""), at=fields.get("deleted_at")) for name, fields in found]
        return sorted(gone, key=lambda each: each.at.timestamp() if each.at else 0.0, reverse=True)

    def create(self, connection: Connection, event: Event | None = None) -> None:
        """Store a new one and its line in the audit; an id is never used twice."""
        batch, reference = self._database.client.batch(), self._collection().document(connection.id)
        stamp = self._database.new_stamp()
        batch.create(reference, {**to_document(connection), STAMP: stamp})
        events = [event] if event is not None else []
        try:
            self._database.commit(batch, 1 + add_events(batch, reference, events))
        except LostRace:
            if stamped(self._database.get(reference), stamp):
                return  # our own write, sent again because its answer was lost
            raise Stale(f"The connection id {connection.id!r} was used before. Choose another one.") from None

    def change(
        self,
        connection_id: str,
        edit: Callable[[Connection], Connection | None],
        tell: Telling[Connection] | None = None,
    ) -> Connection | None:
        """Compare-and-set; the revision grows by one, and what `tell` returns is written with it."""
        changed: list[Connection] = []
        events: list[Event] = []
        reference = self._collection().document(connection_id)

        def apply(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            changed.clear()
            if not lives(snapshot):
                return None
            fields = fields_of(snapshot)
            current = from_document(snapshot.id, fields)
            wanted = edit(current)
            if wanted is None:
                return None
            changed.append(replace(wanted, revision=current.revision + 1))
            events[:] = [tell(current, wanted)] if tell is not None else []
            return _changed(current, changed[0], fields)

        self._database.edit(reference, apply, lambda batch: add_events(batch, reference, events))
        return changed[0] if changed else None

    def purge(self, connection_id: str) -> None:
        """Forget everything but the audit, and leave a tombstone, so that the id is not used again."""
        home = self._collection().document(connection_id)
        name = fields_of(self._database.get(home)).get("name", "")  # kept: the audit is found by it
        for collection, parts in PARTS.items():
            for owner in self._database.stream(home.collection(collection).select([])):
                self._delete_all(owner.reference.collection(parts))
        for collection in FORGOTTEN:
            self._delete_all(home.collection(collection))
        batch = self._database.client.batch()
        fields = {"state": TOMBSTONE, "order": 0, "name": name, "deleted_at": firestore.SERVER_TIMESTAMP}
        batch.set(home, CONNECTION.stamped(fields))
        self._database.write(batch, 1)

    def _delete_all(self, collection: firestore.CollectionReference) -> None:
        while True:
            found = self._database.stream(collection.select([]).limit(DELETES_A_COMMIT))
            if not found:
                return
            batch = self._database.client.batch()
            for snapshot in found:
                batch.delete(snapshot.reference)
            self._database.write(batch, len(found))

    def _collection(self) -> firestore.CollectionReference:
        return self._database.client.collection("connections")


def lives(snapshot: firestore.DocumentSnapshot) -> bool:
    """Say whether a document is that of an existing connection, not a tombstone."""
    return bool(snapshot.exists and snapshot.get("state") != TOMBSTONE)


def to_document(connection: Connection) -> dict[str, Any]:
    """Return a connection as a document: what an administrator chose stands beside the rest."""
    fields = msgspec.to_builtins(connection, builtin_types=(datetime,))
    chosen, layout, clock = fields.pop("settings"), fields.pop("roster_layout"), connection.clock
    del fields["id"], chosen["limit"]["share"]
    if connection.pilot is not None:
        fields["state"] = f"{PILOT}{connection.state.value}"
    return CONNECTION.stamped(
        {
            **fields,
            **chosen,
            "mapping": chosen["mapping"]["rows"],
            "shards": int(layout or 0),
            "clock": {
                "stood": clock.stood.total_seconds(),
                "last": {"start": clock.last[0], "end": clock.last[1]} if clock.last else None,
                "off_since": clock.off_since,
            },
        }
    )


def from_document(connection_id: str, fields: Mapping[str, Any]) -> Connection:
    """Return the connection that a document's fields describe."""
    if CONNECTION.check(fields) < CONNECTION.current:
        fields = schema_1.connection(fields)
    clock, last = fields["clock"], fields["clock"]["last"]
    return CONNECTION.read(
        {
            **fields,
            "id": connection_id,
            "state": fields["state"].removeprefix(PILOT),
            "pilot": _by_address(fields.get("pilot")),
            "settings": {**fields, "mapping": {"rows": fields["mapping"]}},
            "roster_layout": str(fields["shards"] or ""),
            "clock": {
                "stood": timedelta(seconds=clock["stood"]),
                "last": (last["start"], last["end"]) if last else None,
                "off_since": clock["off_since"],
            },
            # It was a flag at first; the time of the state's last change is the closest one that was kept.
            "unproven": fields["changed_at"] if fields.get("unproven") is True else fields.get("unproven") or None,
        },
        Connection,
    )


def _by_address(pilot: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Put the people of a pilot in order, of which Firestore keeps none."""
    return dict(sorted(pilot.items(), key=itemgetter(1, 0))) if pilot is not None else None


def _changed(before: Connection, after: Connection, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that differ: the others stay as stored, with what a newer version keeps in them."""
    if CONNECTION.check(stored) < CONNECTION.current:
        return to_document(after)
    was, becomes = to_document(before), to_document(after)
    return CONNECTION.stamped({name: value for name, value in becomes.items() if value != was[name]})
