"""Everybody of a connection: packed by full runs into at most 16 documents, and kept up to date in memory.

Packed are the people of a range of the roster's shards, each shard apart, and beside them what they are sorted, found
and counted by: a person is unpacked when somebody asks for it. Whoever reads them again reads the documents whose
digest changed, and the shards written since. The time of a shard's write is the service's when it began to handle the
commit, so what was written shortly before the last look is read again.
"""

from __future__ import annotations

import gc
import hashlib
import threading
import zlib
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain, islice
from typing import Any

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.database import Database, fields_of
from autoprovisioning.adapters.firestore.known_shards import MOST
from autoprovisioning.adapters.firestore.roster import FirestoreRoster, shard_of
from autoprovisioning.decoding import built
from autoprovisioning.document_kinds import PEOPLE
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.people import (
    Line,
    Lines,
    Listed,
    Person,
    Roll,
    again,
    entitled,
    line_of,
    person_of,
)

PEOPLE_A_DOCUMENT = 8_000  # of some 60 bytes each, compressed; a document may have 1 MiB
MOST_DOCUMENTS = 16
FRESH = timedelta(seconds=3)  # what was read then is shown again
OVERLAP = timedelta(seconds=30)  # longer than a commit takes, and than our clocks differ
INDEXED = b"indexed 1"  # part of what digests name: with another number the documents are written anew
UNREAD = datetime(1970, 1, 1, tzinfo=UTC)
KEPT = 400_000  # people in memory, of all connections; those of the connection read last in any case


class _Index(msgspec.Struct, array_like=True):
    """What lines have beside the person, in the order of the people."""

    texts: list[str]
    user_ids: list[str]
    marks: bytes
    last: list[int]


class _Packed(Line):
    """A line as it is stored."""

    __slots__ = ()

    @property
    def person(self) -> Person:
        """Unpack the person; what a newer version appended is passed over."""
        try:
            return _person.decode(self.held)
        except msgspec.ValidationError:
            return _appended(self.held)


_shards = msgspec.msgpack.Decoder(built(list[tuple[int, list[msgspec.Raw]]]))
_person = msgspec.msgpack.Decoder(built(Person))
_indexes = msgspec.msgpack.Decoder(built(_Index))
_packed = partial(tuple.__new__, _Packed)  # 100,000 are made at once: `_Packed._make` takes three times as long


@dataclass(slots=True, kw_only=True)
class _Known:
    """What was read of a connection: lines by shard, and all of them."""

    layout: str
    roll: Roll
    digests: Sequence[str] = ()
    listed: datetime | None = None
    looked: datetime = UNREAD  # by the service's clock
    shards: dict[int, list[Line]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """What documents are made of; they are not made again of the same.

    `listed` is a hash of all that was listed: 64 bits, other ones in each process.
    """

    layout: str
    listed: int
    roster: Mapping[str, Entry]


class FirestorePeople:
    """The People port; one instance for a process, since it keeps what it read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._roster = FirestoreRoster(database, remembered=0)  # loaded once at most
        self._made: dict[str, tuple[_Source, Sequence[str]]] = {}  # by connection: of what, and the digests
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._reading = threading.Lock()

    def put(
        self, connection: Connection, at: datetime, listed: Mapping[str, Listed], roster: Mapping[str, Entry]
    ) -> None:
        """Store the documents that changed, then the head, which names the digest of each."""
        with _uncollected():
            self._put(connection, at, listed, roster)

    def _put(
        self, connection: Connection, at: datetime, listed: Mapping[str, Listed], roster: Mapping[str, Entry]
    ) -> None:
        known = self._head(connection)[0].get("digests", ())
        source = _Source(layout=connection.roster_layout, listed=hash(frozenset(listed.items())), roster=roster)
        if self._made.get(connection.id) == (source, known):
            return
        digests = self._write(connection, at, listed, roster, known)
        self._made.pop(connection.id, None)
        if len(roster) + sum(len(made.roster) for made, _ in self._made.values()) <= MOST:
            self._made[connection.id] = replace(source, roster=dict(roster)), digests

    def _write(
        self,
        connection: Connection,
        at: datetime,
        listed: Mapping[str, Listed],
        roster: Mapping[str, Entry],
        known: Sequence[str],
    ) -> Sequence[str]:
        """Make the documents, and write those that are not among the known ones; returns the digests of all."""
        shards = int(connection.roster_layout or 0)
        ids: dict[int, list[str]] = defaultdict(list)
        for user_id in chain(roster, (user_id for user_id in listed if user_id not in roster)):
            ids[shard_of(user_id, shards)].append(user_id)
        count = 1
        while count < min(shards, MOST_DOCUMENTS) and count * PEOPLE_A_DOCUMENT < sum(map(len, ids.values())):
            count *= 2
        digests = []
        for number in range(count):
            some = range(number * shards // count, (number + 1) * shards // count)
            people = [(shard, _people(ids[shard], listed, roster)) for shard in some]
            packed = msgspec.msgpack.encode(people)
            digests.append(hashlib.blake2b(packed, digest_size=12, person=INDEXED).hexdigest())
            if len(known) != count or known[number] != digests[number]:
                index = _index_of([line_of(person) for _, each in people for person in each])
                fields = {"people": zlib.compress(packed, 1), "index": zlib.compress(index, 1)}
                self._set(self._document(connection, count, number), fields)
        if digests != list(known):
            self._set(self._document(connection, 0, 0), {"at": at, "digests": digests})
        if known and len(known) != count:
            self._forget([self._document(connection, len(known), number) for number in range(len(known))])
        return digests

    def read(self, connection: Connection, now: datetime) -> Roll:
        """Return everybody: a process that has read them before reads what changed since."""
        if not connection.begun:
            return Roll(at=now)
        with self._reading, _uncollected():
            known = self._known.get(connection.id)
            if known is None or now - known.roll.at >= FRESH:
                head, looked = self._head(connection)
                if known is None or _restored(connection, known, head):
                    known = _Known(layout=connection.roster_layout, roll=Roll(at=now))
                self._refresh(connection, known, head, now, looked)
            self._known[connection.id] = known
            self._known.move_to_end(connection.id)
            while len(self._known) > 1 and sum(len(each.roll.lines) for each in self._known.values()) > KEPT:
                self._known.popitem(last=False)
            return known.roll

    def _refresh(
        self, connection: Connection, known: _Known, head: Mapping[str, Any], now: datetime, looked: datetime
    ) -> None:
        if not head and known.looked == UNREAD:
            read = self._whole_roster(connection)
        else:
            read = self._changed(connection, known, head) if head else {}
            since = head["at"] if known.looked == UNREAD else known.looked
            if read:  # as a full run met them, which may have begun before we last looked
                since = min(since, head["at"])
            for shard, entries in self._roster.written_since(connection, since - OVERLAP).items():
                read[shard] = _anew(read.get(shard, known.shards.get(shard, ())), entries)
        lines = Lines(_merged(known, read)) if read else known.roll.lines
        known.looked = looked
        known.shards |= read
        known.roll = Roll(at=now, listed=known.listed, lines=lines)

    def _whole_roster(self, connection: Connection) -> dict[int, list[Line]]:
        """Read what no full run has kept yet."""
        shards: dict[int, dict[str, Entry]] = defaultdict(dict)
        for user_id, entry in self._roster.load(connection).items():
            shards[shard_of(user_id, int(connection.roster_layout))][user_id] = entry
        return {shard: _anew((), entries) for shard, entries in shards.items()}

    def _changed(self, connection: Connection, known: _Known, head: Mapping[str, Any]) -> dict[int, list[Line]]:
        """Read the documents that a full run has written since."""
        digests, before = head["digests"], known.digests
        count = len(digests)
        numbers = [n for n in range(count) if len(before) != count or before[n] != digests[n]]
        found: dict[int, list[Line]] = {}
        for snapshot in self._database.get_all([self._document(connection, count, n) for n in numbers]):
            fields = fields_of(snapshot)
            PEOPLE.check(fields)
            if fields:
                found |= _unpacked(fields["people"], fields.get("index"))
        if known.listed is None:  # once: what waits to be collected then stays, too
            gc.freeze()  # there are no cycles in 100,000 people: they are not looked through for any
        known.digests, known.listed = digests, head["at"]
        return found

    def _head(self, connection: Connection) -> tuple[dict[str, Any], datetime]:
        """Read the head, and the service's time."""
        snapshot = self._database.get(self._document(connection, 0, 0))
        fields = fields_of(snapshot)
        PEOPLE.check(fields)
        return fields, snapshot.read_time

    def _set(self, reference: firestore.DocumentReference, fields: dict[str, Any]) -> None:
        batch = self._database.client.batch()
        batch.set(reference, PEOPLE.stamped(fields))
        self._database.write(batch, 1)

    def _forget(self, references: Sequence[firestore.DocumentReference]) -> None:
        batch = self._database.client.batch()
        for reference in references:
            batch.delete(reference)
        self._database.write(batch, len(references))

    def _document(self, connection: Connection, count: int, number: int) -> firestore.DocumentReference:
        """Name a document by how many there are: those of different numbers hold different shards."""
        people = self._database.home(connection.id).collection("people")
        return people.document(f"{count:02d}.{number:02d}" if count else "head")


@contextmanager
def _uncollected() -> Iterator[None]:
    """Make 100,000 objects without looking through them for cycles again and again: that takes longer than they do."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _restored(connection: Connection, known: _Known, head: Mapping[str, Any]) -> bool:
    """Say whether what is stored is not what was read grown older, but something else: a backup of it, say."""
    if known.layout != connection.roster_layout or (known.listed is not None and not head):
        return True
    return known.listed is not None and head["at"] != known.listed and head["digests"] == known.digests


def _index_of(lines: Sequence[Line]) -> bytes:
    texts, user_ids, marks, last, _ = zip(*lines, strict=True) if lines else ((),) * 5
    return msgspec.msgpack.encode(_Index(list(texts), list(user_ids), bytes(marks), list(last)))


def _unpacked(people: bytes, index: bytes | None) -> dict[int, list[Line]]:
    """Return the lines of a document by shard; versions before kept no index."""
    try:
        shards = _shards.decode(zlib.decompress(people))
        held = list(chain.from_iterable(some for _, some in shards))
        if index is None:
            each: Iterator[Line] = (line_of(_Packed("", "", 0, 0, raw).person) for raw in held)
        else:
            known = _indexes.decode(zlib.decompress(index))
            each = map(_packed, zip(known.texts, known.user_ids, known.marks, known.last, held, strict=True))
        return {shard: list(islice(each, len(some))) for shard, some in shards}
    except (msgspec.MsgspecError, zlib.error, ValueError) as error:
        raise PEOPLE.unreadable(error) from None


def _appended(raw: msgspec.Raw) -> Person:
    """Return a person to whom a newer version appended something."""
    try:
        return msgspec.convert(msgspec.msgpack.decode(raw)[: len(Person._fields)], built(Person))
    except msgspec.MsgspecError as error:
        raise PEOPLE.unreadable(error) from None


def _people(ids: Iterable[str], listed: Mapping[str, Listed], roster: Mapping[str, Entry]) -> list[Person]:
    """Return the people of a shard, in the same order each time."""
    return [
        person_of(roster[user_id], listed.get(user_id)) if user_id in roster else entitled(user_id, listed[user_id])
        for user_id in sorted(ids)
    ]


def _anew(lines: Sequence[Line], entries: Mapping[str, Entry]) -> list[Line]:
    """Return the lines of a shard as its entries are by now."""
    listed = {line.user_id: line.person for line in lines}
    stays = (again(person, entries.get(user_id)) for user_id, person in listed.items())
    comes = (person_of(entry, None) for user_id, entry in entries.items() if user_id not in listed)
    return [line_of(person) for person in chain(stays, comes) if person is not None]


def _merged(known: _Known, read: Mapping[int, list[Line]]) -> Iterator[Line]:
    """Return all lines, those of these shards replaced."""
    gone = {line.user_id for shard in read for line in known.shards.get(shard, ())}
    kept = [line for line in known.roll.lines if line[1] not in gone] if gone else known.roll.lines
    return chain(kept, chain.from_iterable(read.values()))
