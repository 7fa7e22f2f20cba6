"""Previews: a document each, with its lines in documents of their own by kind; all of them expire."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.database import Database, fields_of, is_id
from autoprovisioning.adapters.firestore.paging import at_offset, offset_of
from autoprovisioning.app.ports.execution import Clock
from autoprovisioning.app.ports.reports import Page
from autoprovisioning.app.ports.requests import Line, Preview, PreviewState, Would
from autoprovisioning.domain.settings import Settings

LINES_A_DOCUMENT = 1_000
BYTES_A_DOCUMENT = 800_000  # of lines; a document may have 1 MiB

Chunk = tuple[Would, int, int]  # kind, its number within the kind, how many lines

_settings = msgspec.json.Decoder(Settings)
_chunks = msgspec.json.Decoder(list[Chunk])
_lines = msgspec.msgpack.Decoder(list[Line])


class FirestorePreviews:
    """The Previews port."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def open(self, preview: Preview, since: datetime) -> Preview:
        """Store it, provided that the document did not change since it was seen not to be computed any more."""
        standing = preview

        def change(known: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            nonlocal standing
            found = self._known(preview.connection_id, preview.id, known)
            waits = found is not None and found.computing and found.asked_at > since
            standing = found if found is not None and waits else preview
            return None if waits else {**_fields(preview), "chunks": "[]"}

        self._database.edit(self._document(preview.connection_id, preview.id), change)
        return standing

    def put(self, preview: Preview) -> None:
        """Store a preview's own fields; which lines it has stays as `fill` left it."""
        self._put(preview, {})

    def get(self, connection_id: str, preview_id: str) -> Preview | None:
        """Read one document; None where it expired: the service may leave it there for a day."""
        if not is_id(preview_id):
            return None
        return self._known(connection_id, preview_id, self._database.get(self._document(connection_id, preview_id)))

    def _known(self, connection_id: str, preview_id: str, snapshot: firestore.DocumentSnapshot) -> Preview | None:
        fields = fields_of(snapshot)
        if not fields or fields["expires"] <= self._clock():
            return None
        return Preview(
            id=preview_id,
            connection_id=connection_id,
            edition=fields["edition"],
            settings=_settings.decode(fields["settings"]),
            asked_by=fields["asked_by"],
            asked_at=fields["asked_at"],
            expires=fields["expires"],
            state=PreviewState(fields["state"]),
            finished=fields["finished"],
            counts=fields["counts"],
            held=fields["held"],
            notes=tuple(fields["notes"]),
            problem=fields["problem"],
        )

    def fill(self, preview: Preview, lines: Iterable[Line]) -> None:
        """Store the lines, 1,000 a document at most, then the preview itself with the list of those documents."""
        kinds = list(Would)
        chunks = sorted(self._store(preview, lines), key=lambda chunk: (kinds.index(chunk[0]), chunk[1]))
        self._put(preview, {"chunks": msgspec.json.encode(chunks).decode()})

    def lines(self, preview: Preview, would: Would | None, cursor: str, limit: int) -> Page[Line]:
        """Return a page of its lines: it reads the preview, and the documents that the page's lines are in."""
        start = offset_of(cursor)
        concerned: list[Chunk] = []
        before = total = 0  # lines ahead of those documents, and of the whole list
        for chunk in self._chunks(preview):
            if would is None or chunk[0] is would:
                if total + chunk[2] <= start:
                    before += chunk[2]
                elif total < start + limit:
                    concerned.append(chunk)
                total += chunk[2]
        found = [line for lines in self._read(preview, concerned) for line in lines]
        shown = found[start - before :][:limit] if concerned else []
        return Page(items=tuple(shown), cursor=at_offset(start + limit) if start + limit < total else "")

    def every_line(self, preview: Preview) -> Iterator[Line]:
        """Stream its lines, one document at a time."""
        for chunk in self._chunks(preview):
            for lines in self._read(preview, [chunk]):
                yield from lines

    def _put(self, preview: Preview, more: dict[str, Any]) -> None:
        fields = {**_fields(preview), **more}
        batch = self._database.client.batch()
        # By name: a merge of everything would keep counts that are no longer there.
        batch.set(self._document(preview.connection_id, preview.id), fields, merge=list(fields))
        self._database.write(batch, 1)

    def _store(self, preview: Preview, lines: Iterable[Line]) -> Iterator[Chunk]:
        """Store the lines by kind, as they come; tells what was stored."""
        full: dict[Would, int] = dict.fromkeys(Would, 0)  # documents stored
        open_: dict[Would, list[Line]] = {would: [] for would in Would}
        size: dict[Would, int] = dict.fromkeys(Would, 0)
        for line in lines:
            weight = len(msgspec.msgpack.encode(line))
            kept = open_[line.would]
            if len(kept) == LINES_A_DOCUMENT or (kept and size[line.would] + weight > BYTES_A_DOCUMENT):
                yield self._store_chunk(preview, (line.would, full[line.would], len(kept)), kept)
                full[line.would] += 1
                size[line.would] = 0
                kept.clear()
            kept.append(line)
            size[line.would] += weight
        for would, kept in open_.items():
            if kept:
                yield self._store_chunk(preview, (would, full[would], len(kept)), kept)

    def _store_chunk(self, preview: Preview, chunk: Chunk, lines: Sequence[Line]) -> Chunk:
        """Store some lines; they expire with the preview, since the service does not delete what is below it."""
        batch = self._database.client.batch()
        fields = {"lines": msgspec.msgpack.encode(lines), "expires": preview.expires}
        batch.set(self._chunk(preview, chunk), fields)
        self._database.write(batch, 1)
        return chunk

    def _chunks(self, preview: Preview) -> list[Chunk]:
        fields = fields_of(self._database.get(self._document(preview.connection_id, preview.id)))
        return _chunks.decode(fields.get("chunks", "[]"))

    def _read(self, preview: Preview, chunks: Sequence[Chunk]) -> Iterator[list[Line]]:
        for snapshot in self._database.get_all([self._chunk(preview, chunk) for chunk in chunks]):
            if snapshot.exists:  # it may have expired meanwhile
                yield _lines.decode(snapshot.get("lines"))

    def _chunk(self, preview: Preview, chunk: Chunk) -> firestore.DocumentReference:
        document = self._document(preview.connection_id, preview.id)
        return document.collection("chunks").document(f"{chunk[0].value}.{chunk[1]:04d}")

    def _document(self, connection_id: str, preview_id: str) -> firestore.DocumentReference:
        home = self._database.client.collection("connections").document(connection_id)
        return home.collection("previews").document(preview_id)


def _fields(preview: Preview) -> dict[str, Any]:
    return {
        "edition": preview.edition,
        "settings": msgspec.json.encode(preview.settings).decode(),
        "asked_by": preview.asked_by,
        "asked_at": preview.asked_at,
        "expires": preview.expires,
        "state": preview.state.value,
        "finished": preview.finished,
        "counts": dict(preview.counts),
        "held": preview.held,
        "notes": list(preview.notes),
        "problem": preview.problem,
    }
