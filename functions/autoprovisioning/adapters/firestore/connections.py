"""Connections: readable documents, since an operator looks at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from google.cloud import firestore

from autoprovisioning.adapters.firestore import schema_1
from autoprovisioning.adapters.firestore.audit import add_events
from autoprovisioning.adapters.firestore.database import STAMP, Database, LostRace, fields_of, is_id, stamped
from autoprovisioning.app.ports.connections import Telling
from autoprovisioning.domain.connections import Connection, Deleted, RetiredToken, State
from autoprovisioning.domain.deprovisioning import Clock, Delays, Deprovisioning
from autoprovisioning.domain.directory_user import Group, OrgUnit, Scope
from autoprovisioning.domain.errors import Stale
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.mapping import AttributeMapping, Row
from autoprovisioning.domain.settings import PatchDialect, Settings, VolumeLimit

SCHEMA = 2
TOMBSTONE = "deleted"
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
    "runs",
    "sweep",
    "requests",
)
PARTS = {"holds": "members", "requests": "chunks"}  # collections whose documents have a collection of their own
DELETES_A_COMMIT = 200


class FirestoreConnections:
    """The Connections port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Sequence[Connection]:
        """Return every connection, in their order."""
        found = self._database.stream(self._collection())
        connections = [from_document(item) for item in found if item.get("state") != TOMBSTONE]
        return sorted(connections, key=lambda connection: (connection.order, connection.id))

    def get(self, connection_id: str) -> Connection | None:
        """Read one connection."""
        if not is_id(connection_id):
            return None
        snapshot = self._database.get(self._collection().document(connection_id))
        return from_document(snapshot) if lives(snapshot) else None

    def deleted(self) -> Sequence[Deleted]:
        """Return what the tombstones say."""
        query = self._collection().where(filter=firestore.FieldFilter("state", "==", TOMBSTONE))
        found = [(snapshot.id, fields_of(snapshot)) for snapshot in self._database.stream(query)]
        gone = [Deleted(id=name, name=fields.get("name", ""), at=fields.get("deleted_at")) for name, fields in found]
        return sorted(gone, key=lambda each: each.at.timestamp() if each.at else 0.0, reverse=True)

    def create(self, connection: Connection, event: Event | None = None) -> None:
        """Store a new one and what the audit says of it; an id is never used twice."""
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

    def begin_set_up(self, connection_id: str, now: datetime) -> None:
        """Note it in a document of its own: the connection's would use its id up."""
        batch = self._database.client.batch()
        batch.set(self._set_ups().document(connection_id), {"begun": now})
        self._database.write(batch, 1)

    def begun_set_ups(self) -> Mapping[str, datetime]:
        """Read the notes: none, but for a set-up that is under way or was cut short."""
        found = self._database.stream(self._set_ups())
        return {snapshot.id: fields_of(snapshot)["begun"] for snapshot in found}

    def end_set_up(self, connection_id: str) -> None:
        """Remove the note."""
        batch = self._database.client.batch()
        batch.delete(self._set_ups().document(connection_id))
        self._database.write(batch, 1)

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
            current = from_document(snapshot)
            wanted = edit(current)
            if wanted is None:
                return None
            changed.append(replace(wanted, revision=current.revision + 1))
            events[:] = [tell(current, wanted)] if tell is not None else []
            return to_document(changed[0]) | schema_1.kept(fields_of(snapshot))

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
        batch.set(home, {"state": TOMBSTONE, "order": 0, "name": name, "deleted_at": firestore.SERVER_TIMESTAMP})
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

    def _set_ups(self) -> firestore.CollectionReference:
        return self._database.client.collection("set_ups")

    def _collection(self) -> firestore.CollectionReference:
        return self._database.client.collection("connections")


def lives(snapshot: firestore.DocumentSnapshot) -> bool:
    """Say whether a document is of a connection that is there, not a tombstone."""
    return bool(snapshot.exists and snapshot.get("state") != TOMBSTONE)


def to_document(connection: Connection) -> dict[str, Any]:
    """Return a connection as a document."""
    return {
        "schema": SCHEMA,
        "order": connection.order,
        "name": connection.settings.name,
        "revision": connection.revision,
        "edition": connection.edition,
        "state": connection.state.value,
        "endpoint": connection.settings.endpoint,
        "token_version": connection.token_version,
        "mapping": [asdict(row) for row in connection.settings.mapping.rows],
        "scope": {
            "groups": [asdict(group) for group in connection.settings.scope.groups],
            "org_units": [asdict(unit) for unit in connection.settings.scope.org_units],
        },
        "deprovisioning": asdict(connection.settings.deprovisioning),
        "limit": {"minimum": connection.settings.limit.minimum, "percent": connection.settings.limit.percent},
        "archived_as_suspended": connection.settings.archived_as_suspended,
        "patch_dialect": connection.settings.patch_dialect.value,
        "shards": int(connection.roster_layout or 0),
        "throttled_until": connection.throttled_until,
        "paused_reason": connection.paused_reason,
        "changed_at": connection.changed_at,
        "clock": {
            "stood": connection.clock.stood.total_seconds(),
            "last": {"start": connection.clock.last[0], "end": connection.clock.last[1]}
            if connection.clock.last
            else None,
            "off_since": connection.clock.off_since,
        },
        "retired_tokens": [asdict(retired) for retired in connection.retired_tokens],
        "unproven": connection.unproven,
        "confirmed": connection.confirmed,
    }


def from_document(snapshot: firestore.DocumentSnapshot) -> Connection:
    """Return the connection a document holds."""
    stored = fields_of(snapshot)
    fields = stored if stored.get("schema") == SCHEMA else schema_1.connection(stored)
    scope, policy = fields["scope"], fields["deprovisioning"]
    return Connection(
        id=snapshot.id,
        order=fields["order"],
        settings=Settings(
            name=fields["name"],
            endpoint=fields["endpoint"],
            mapping=AttributeMapping(tuple(Row(**row) for row in fields["mapping"])),
            scope=Scope(
                groups=tuple(Group(**group) for group in scope["groups"]),
                org_units=tuple(OrgUnit(**unit) for unit in scope["org_units"]),
            ),
            deprovisioning=Deprovisioning(**{trigger: Delays(**delays) for trigger, delays in policy.items()}),
            limit=VolumeLimit(minimum=fields["limit"]["minimum"], percent=fields["limit"]["percent"]),
            archived_as_suspended=fields["archived_as_suspended"],
            patch_dialect=PatchDialect(fields["patch_dialect"]),
        ),
        revision=fields["revision"],
        edition=fields["edition"],
        state=State(fields["state"]),
        token_version=fields["token_version"],
        roster_layout=str(fields["shards"] or ""),
        throttled_until=fields["throttled_until"],
        paused_reason=fields["paused_reason"],
        changed_at=fields["changed_at"],
        clock=_clock(fields["clock"]),
        retired_tokens=tuple(RetiredToken(**retired) for retired in fields["retired_tokens"]),
        # It was a flag at first; the state changed when it was set, and nothing nearer to it was kept.
        unproven=fields["changed_at"] if fields.get("unproven") is True else fields.get("unproven") or None,
        confirmed=fields.get("confirmed"),
    )


def _clock(stored: dict[str, Any]) -> Clock:
    last = stored["last"]
    stood = timedelta(seconds=stored["stood"])
    return Clock(stood=stood, last=(last["start"], last["end"]) if last else None, off_since=stored["off_since"])
