"""The lines of previews: many a document, by kind, below the preview's own document; all of them expire."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.database import Database, fields_of
from autoprovisioning.adapters.firestore.paging import at_offset, offset_of
from autoprovisioning.adapters.firestore.requests import document_of
from autoprovisioning.app.ports.reports import Page
from autoprovisioning.decoding import built
from autoprovisioning.document_kinds import LINES
from autoprovisioning.domain.requests import Line, Preview, Would

LINES_A_DOCUMENT = 1_000
BYTES_A_DOCUMENT = 800_000  # of lines; a document may have 1 MiB

Chunk = tuple[Would, int, int]  # kind, its number within the kind, how many lines

_chunks = msgspec.json.Decoder(built(list[Chunk]))
_lines = msgspec.msgpack.Decoder(built(list[Line]))


class FirestorePreviewLines:
    """The PreviewLines port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, preview: Preview, lines: Iterable[Line]) -> None:
        """Store the lines, 1,000 a document at most, then the list of those documents, which makes them count."""
        kinds = list(Would)
        chunks = sorted(self._store(preview, lines), key=lambda chunk: (kinds.index(chunk[0]), chunk[1]))
        batch = self._database.client.batch()
        fields = {"list": msgspec.json.encode(chunks).decode(), "expires": preview.expires}
        batch.set(self._list(preview), LINES.stamped(fields))
        self._database.write(batch, 1)

    def page(self, preview: Preview, would: Would | None, cursor: str, limit: int) -> Page[Line]:
        """Return a page of its lines: it reads that list, and the documents that the page's lines are in."""
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

    def every(self, preview: Preview) -> Iterator[Line]:
        """Stream its lines, one document at a time."""
        for chunk in self._chunks(preview):
            for lines in self._read(preview, [chunk]):
                yield from lines

    def _store(self, preview: Preview, lines: Iterable[Line]) -> Iterator[Chunk]:
        """Store the lines by kind, as they come; returns what was stored."""
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
        batch.set(self._chunk(preview, chunk), LINES.stamped(fields))
        self._database.write(batch, 1)
        return chunk

    def _chunks(self, preview: Preview) -> list[Chunk]:
        fields = fields_of(self._database.get(self._list(preview)))
        LINES.check(fields)
        return _chunks.decode(fields.get("list", "[]"))

    def _read(self, preview: Preview, chunks: Sequence[Chunk]) -> Iterator[list[Line]]:
        for snapshot in self._database.get_all([self._chunk(preview, chunk) for chunk in chunks]):
            if snapshot.exists:  # it may have expired meanwhile
                yield _lines.decode(snapshot.get("lines"))

    def _list(self, preview: Preview) -> firestore.DocumentReference:
        return self._documents(preview).document("list")

    def _chunk(self, preview: Preview, chunk: Chunk) -> firestore.DocumentReference:
        return self._documents(preview).document(f"{chunk[0].value}.{chunk[1]:04d}")

    def _documents(self, preview: Preview) -> firestore.CollectionReference:
        return document_of(self._database, preview.connection_id, preview.id).collection("chunks")
