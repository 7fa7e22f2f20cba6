"""The rosters of all connections, sharded by a hash of the directory id."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from google.cloud import firestore

from autoprovisioning.adapters.firestore import schema_1
from autoprovisioning.adapters.firestore.audit import add_events
from autoprovisioning.adapters.firestore.codec import Shard, decode, encode, find
from autoprovisioning.adapters.firestore.connections import from_document, lives
from autoprovisioning.adapters.firestore.database import Database, fields_of, stamped
from autoprovisioning.adapters.firestore.known_shards import MOST, KnownShards
from autoprovisioning.app.ports.roster import Edit, Progress
from autoprovisioning.document_kinds import FAILURE, PENDING, ROSTER
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.deprovisioning import Span
from autoprovisioning.domain.entry import Entry, Failure
from autoprovisioning.domain.errors import Permanent

T = TypeVar("T")

Snapshots = Mapping[int, firestore.DocumentSnapshot]  # by shard

FIELD = "entries"
WRITTEN = "written"  # field: when the shard was, for `written_since`
SMALLEST = 64  # shards
USERS_A_SHARD = 300  # at first, on average; those who join later may make it 2,000
SHARDS_A_READ = 64
LARGEST_SHARD = 1_000_000  # bytes; a document may have 1 MiB
PART = 3_500_000  # bytes of shards that each of several commits aims at: service and emulator take it, events included
GROWTH = 500  # bytes that an edit may add for each user it names
LARGEST_COMMIT = 9_000_000  # bytes of shards; the service takes 10 MiB a request (the emulator 4 MiB a message)


class FirestoreRoster:
    """The Roster port."""

    def __init__(self, database: Database, remembered: int = MOST) -> None:
        """Remember so many entries of those that `load` decodes."""
        self._database = database
        self._off: dict[str, tuple[Span, ...]] = {}  # as schema 1 kept them: nothing is added to them any more
        self._known = KnownShards(remembered)

    def entry(self, connection: Connection, user_id: str) -> Entry | None:
        """Read one entry: one document."""
        if not connection.begun:
            return None
        snapshot = self._database.get(self._reference(connection, shard_of(user_id, _shards(connection))))
        return self._found(connection, snapshot.to_dict() or {}, (user_id,)).get(user_id)

    def entries(self, connection: Connection, user_ids: Iterable[str]) -> dict[str, Entry]:
        """Read the entries of these users: each of their shards once, all at once."""
        if not connection.begun:
            return {}
        wanted = set(user_ids)
        shards = _shards_of(connection, wanted)
        found: dict[str, Entry] = {}
        for read in self._read(connection, shards).values():
            found |= self._found(connection, read.to_dict() or {}, wanted)
        return found

    def load(self, connection: Connection) -> dict[str, Entry]:
        """Read every entry of a connection: as many documents as it has shards. One of schema 1 is migrated."""
        references = [self._reference(connection, shard) for shard in range(_shards(connection))]
        entries: dict[str, Entry] = {}
        for start in range(0, len(references), SHARDS_A_READ):
            for shard, snapshot in enumerate(self._database.get_all(references[start : start + SHARDS_A_READ]), start):
                fields = snapshot.to_dict() or {}
                if fields and ROSTER.check(fields) < ROSTER.current:
                    older = self._shard(connection, fields).entries
                    self._database.migrate(snapshot, _fields(encode(older)))
                    entries |= older
                elif fields:
                    entries |= self._known.entries(connection.id, shard, fields[FIELD])
        return entries

    def written_since(self, connection: Connection, since: datetime) -> dict[int, dict[str, Entry]]:
        """Read the shards written after a time, whole, by number.

        Those that were written last by a version that did not note the time are left out.
        """
        shards = self._database.home(connection.id).collection("roster")
        found = self._database.stream(shards.where(filter=firestore.FieldFilter(WRITTEN, ">", since)))
        return {int(snapshot.id): self._shard(connection, snapshot.to_dict() or {}).entries for snapshot in found}

    def begin(self, connection: Connection, expected: int) -> Connection:
        """Fix the number of shards: a power of two, at least 64, with at most 300 of these users in each on average."""
        if connection.begun:
            return connection
        shards = SMALLEST
        while expected > shards * USERS_A_SHARD:
            shards *= 2
        begun: list[Connection] = []

        def apply(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            begun.clear()
            if not lives(snapshot):
                return None
            begun.append(from_document(snapshot.id, fields_of(snapshot)))
            if begun[0].begun:
                return None
            begun[0] = replace(begun[0], roster_layout=f"{shards}", revision=begun[0].revision + 1)
            return {"shards": shards, "revision": begun[0].revision}

        self._database.edit(self._database.home(connection.id), apply)
        return begun[0] if begun else replace(connection, roster_layout=f"{shards}")

    def as_stored(self, connection: Connection, user_ids: Iterable[str]) -> list[str]:
        """Return the users shard by shard."""
        shards = _shards(connection)
        return sorted(user_ids, key=lambda user_id: shard_of(user_id, shards))

    def commit(
        self, connection: Connection, user_ids: Iterable[str], edit: Callable[[Mapping[str, Entry]], tuple[Edit, T]]
    ) -> T:
        """Read, edit, write in one commit; see the port. `edit` must stand being called again on newer entries.

        A race that our own write won (its answer was lost and the client sent it again) counts as won: the result of
        that attempt stands, and its events and counts are not written twice.
        """
        return self._commit(connection, user_ids, edit, {})

    def commit_in_parts(
        self,
        connection: Connection,
        user_ids: Iterable[str],
        edit: Callable[[Sequence[str], Mapping[str, Entry]], tuple[Edit, T]],
    ) -> list[T]:
        """Commit in as few parts of whole shards as their sizes allow; see the port. Each shard is read once."""
        shards = _shards(connection)
        named: dict[int, list[str]] = {}
        for user_id in user_ids:
            named.setdefault(shard_of(user_id, shards), []).append(user_id)
        results: list[T] = []
        for read in self._parts(connection, named):
            ids = [user_id for shard in read for user_id in named[shard]]
            results.append(self._commit(connection, ids, partial(edit, ids), read))
        return results

    def _parts(self, connection: Connection, named: Mapping[int, Sequence[str]]) -> Iterator[Snapshots]:
        """Read the shards and put as many together as one commit takes."""
        part: dict[int, firestore.DocumentSnapshot] = {}
        size = 0
        for shard, snapshot in self._read(connection, sorted(named)).items():
            weight = GROWTH * len(named[shard]) + (len(snapshot.get(FIELD)) if snapshot.exists else 0)
            if part and size + weight > PART:
                yield part
                part, size = {}, 0
            part[shard] = snapshot
            size += weight
        if part:
            yield part

    def _read(self, connection: Connection, shards: Sequence[int]) -> Snapshots:
        return dict(zip(shards, self._database.get_all([self._reference(connection, n) for n in shards]), strict=True))

    def _commit(
        self,
        connection: Connection,
        user_ids: Iterable[str],
        edit: Callable[[Mapping[str, Entry]], tuple[Edit, T]],
        read: Snapshots,
    ) -> T:
        """Compare-and-set; `read` are the shards if they were read already, for the first attempt."""
        wanted = set(user_ids)
        shards = _shards_of(connection, wanted)
        stamp = self._database.new_stamp()
        results: list[T] = []

        def attempt() -> T:
            snapshots = read if read and not results else self._read(connection, shards)
            if results and any(stamped(snapshot, stamp) for snapshot in snapshots.values()):
                return results[0]
            contents = {number: self._shard(connection, read.to_dict() or {}) for number, read in snapshots.items()}
            named = {
                user_id: entry
                for shard in contents.values()
                for user_id, entry in shard.entries.items()
                if user_id in wanted
            }
            change, result = edit(named)
            results[:] = [result]
            self._write(connection, snapshots, contents, change, stamp)
            return result

        return self._database.compare_and_set(attempt)

    def _write(
        self,
        connection: Connection,
        snapshots: Snapshots,
        contents: Mapping[int, Shard],
        change: Edit,
        stamp: str,
    ) -> None:
        batch = self._database.client.batch()
        documents = self._write_entries(batch, connection, snapshots, contents, changed=change.entries, stamp=stamp)
        home = self._database.home(connection.id)
        documents += add_events(batch, home, change.events)
        documents += self._add_progress(batch, home, change.progress, stamp, alone=not documents)
        if documents:
            self._database.commit(batch, documents)

    def _add_progress(
        self,
        batch: firestore.WriteBatch,
        home: firestore.DocumentReference,
        progress: Progress | None,
        stamp: str,
        *,
        alone: bool,
    ) -> int:
        """Add to a run's record; if nothing else has a precondition the record has one, lest it count twice.

        If an answer is lost the client sends the commit again: then the record has our stamp, or our batch as done.
        """
        fields = _progress_fields(progress) if progress is not None else {}
        if progress is None or not fields:
            return 0
        run = home.collection("runs").document(progress.run_id)
        snapshot = self._database.get(run) if alone else None
        if snapshot is None or not snapshot.exists:
            batch.update(run, fields)
            return 1
        if stamped(snapshot, stamp) or progress.done in (snapshot.to_dict() or {}).get("done", {}):
            return 0
        self._database.put(batch, snapshot, fields, stamp)
        return 1

    def _write_entries(
        self,
        batch: firestore.WriteBatch,
        connection: Connection,
        snapshots: Snapshots,
        contents: Mapping[int, Shard],
        *,
        changed: Mapping[str, Entry | None],
        stamp: str,
    ) -> int:
        touched: dict[int, dict[str, Entry]] = {}
        documents, shards = 0, _shards(connection)
        for user_id, entry in changed.items():
            shard = shard_of(user_id, shards)
            entries = touched.setdefault(shard, contents[shard].entries)
            before = entries.pop(user_id, None)
            if entry is not None:
                entries[user_id] = entry
            documents += self._mirror_failure(batch, connection, user_id, before, entry)
            documents += self._mirror_pending(batch, connection, user_id, before, entry)
        size = 0
        for shard, entries in touched.items():
            data = encode(entries, contents[shard].appended)
            size += len(data)
            if len(data) > LARGEST_SHARD:
                raise Permanent(f"The roster has outgrown its {shards} shards: one has {len(data)} bytes")
            self._database.put(batch, snapshots[shard], _fields(data), stamp)
        if size > LARGEST_COMMIT:
            raise Permanent(f"A roster commit of {size} bytes is too large; commit fewer users at once")
        return documents + len(touched)

    def _mirror_failure(
        self,
        batch: firestore.WriteBatch,
        connection: Connection,
        user_id: str,
        before: Entry | None,
        after: Entry | None,
    ) -> int:
        """Keep failures/{user} equal to the entry's failure, so that the console never reads the roster.

        One that is retried at once does not count yet.
        """
        was, now = _told_failure(before), _told_failure(after)
        if was == now:
            return 0
        reference = self._database.home(connection.id).collection("failures").document(user_id)
        if now is None or after is None:
            batch.delete(reference)
            return 1
        fields = {
            "email": after.email,
            "code": now.code,
            "reason": now.text,
            "attempts": now.attempts,
            "first": now.first,
            "next_attempt": now.next_attempt,
            "attempted": now.about.partition(":")[0],
        }
        batch.set(reference, FAILURE.stamped(fields))
        return 1

    def _mirror_pending(
        self,
        batch: firestore.WriteBatch,
        connection: Connection,
        user_id: str,
        before: Entry | None,
        after: Entry | None,
    ) -> int:
        """Keep pending/{user} while the entry is pending, with the time since: the console never reads the roster."""
        was = before is not None and before.pending
        if was == (after is not None and after.pending):
            return 0
        reference = self._database.home(connection.id).collection("pending").document(user_id)
        if after is None or was:
            batch.delete(reference)
        else:
            batch.set(reference, PENDING.stamped({"email": after.email, "since": firestore.SERVER_TIMESTAMP}))
        return 1

    def _found(self, connection: Connection, fields: Mapping[str, Any], wanted: Container[str]) -> dict[str, Entry]:
        """Read some entries of a shard that is not written: the others are not decoded, but in schema 1."""
        if fields and ROSTER.check(fields) == ROSTER.current:
            return find(fields[FIELD], wanted)
        known = self._shard(connection, fields).entries
        return {user_id: entry for user_id, entry in known.items() if user_id in wanted}

    def _shard(self, connection: Connection, fields: Mapping[str, Any]) -> Shard:
        if not fields:
            return Shard()
        if ROSTER.check(fields) == ROSTER.current:
            return decode(fields[FIELD])
        if connection.id not in self._off:
            home = self._database.get(self._database.home(connection.id))
            self._off[connection.id] = schema_1.off_spans(fields_of(home))
        return Shard(entries=schema_1.roster(fields[FIELD], self._off[connection.id]))

    def _reference(self, connection: Connection, shard: int) -> firestore.DocumentReference:
        return self._database.home(connection.id).collection("roster").document(f"{shard:04d}")


def _fields(data: bytes) -> dict[str, Any]:
    return ROSTER.stamped({FIELD: data, WRITTEN: firestore.SERVER_TIMESTAMP})


def _shards(connection: Connection) -> int:
    """Return how many shards the roster of a connection has, 0 before it is begun: that is its layout."""
    return int(connection.roster_layout or 0)


def shard_of(user_id: str, shards: int) -> int:
    """Name the shard of a user."""
    return int.from_bytes(hashlib.blake2b(user_id.encode(), digest_size=4).digest(), "big") % shards


def _shards_of(connection: Connection, user_ids: Iterable[str]) -> list[int]:
    shards = _shards(connection)
    return sorted({shard_of(user_id, shards) for user_id in user_ids})


def _told_failure(entry: Entry | None) -> Failure | None:
    failure = entry.failure if entry is not None else None
    return failure if failure is not None and not failure.trying else None


def _progress_fields(progress: Progress) -> dict[str, Any]:
    fields: dict[str, Any] = {f"counts.{name}": firestore.Increment(n) for name, n in progress.counts.items() if n}
    if progress.at is not None:
        fields["last_progress"] = progress.at
    if progress.done:
        fields[f"done.`{progress.done}`"] = progress.continued
    if progress.seats_exhausted:
        fields["seats_exhausted"] = True
    return fields
