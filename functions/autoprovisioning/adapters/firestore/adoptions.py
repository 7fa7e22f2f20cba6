"""Confirmed adoptions: pairs of directory id and SCIM id, some thousand a document."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.audit import add_events
from autoprovisioning.adapters.firestore.database import Database, fields_of
from autoprovisioning.app.ports.adoptions import Pair
from autoprovisioning.decoding import built
from autoprovisioning.document_kinds import ADOPTIONS
from autoprovisioning.domain.adoption import Confirmed
from autoprovisioning.domain.events import Event

PAIRS_A_DOCUMENT = 5_000
BYTES_A_DOCUMENT = 800_000  # of pairs; a document may have 1 MiB

Row = tuple[str, str, str, float]  # directory id, SCIM id, who confirmed it, when (Unix time)

_rows = msgspec.msgpack.Decoder(built(list[Row]))


class FirestoreAdoptions:
    """The Adoptions port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def confirm(self, connection_id: str, pairs: Sequence[Pair], by: str, at: datetime, told: Event) -> None:
        """Fill up the last document, then further ones; the event is written with the first that changes."""
        home = self._database.home(connection_id)
        left: list[Row] = [(*pair, by, at.timestamp()) for pair in dict.fromkeys(pairs)]
        events = [told]
        number = 0
        while left:
            left, written = self._add(home, number, left, events)
            events = [] if written else events
            number += 1

    def _add(
        self, home: firestore.DocumentReference, number: int, rows: Sequence[Row], events: Sequence[Event]
    ) -> tuple[list[Row], bool]:
        """Add to one document what fits; returns the rest, and whether something was written."""
        rest: list[Row] = []

        def change(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            known = _read(snapshot)
            packed, rest[:] = _packed(known, rows)
            return ADOPTIONS.stamped({"pairs": msgspec.msgpack.encode(packed)}) if len(packed) > len(known) else None

        document = home.collection("adoptions").document(f"{number:04d}")
        written = self._database.edit(document, change, lambda batch: add_events(batch, home, events))
        return rest, written

    def confirmed(self, connection_id: str) -> Confirmed:
        """Read every document."""
        home = self._database.home(connection_id)
        confirmed: dict[str, set[str]] = {}
        for snapshot in self._database.stream(home.collection("adoptions")):
            for user_id, scim_id, _by, _at in _read(snapshot):
                confirmed.setdefault(user_id, set()).add(scim_id)
        return {user_id: frozenset(ids) for user_id, ids in confirmed.items()}


def _read(snapshot: firestore.DocumentSnapshot) -> list[Row]:
    fields = fields_of(snapshot)
    ADOPTIONS.check(fields)
    return _rows.decode(fields["pairs"]) if fields else []


def _packed(known: list[Row], wanted: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Return what the document holds with as many of these as fit, and the rest of them; no pair is kept twice."""
    packed, rest = list(known), list[Row]()
    kept = {row[:2] for row in known}
    size = sum(map(_weight, known))
    for row in wanted:
        if row[:2] in kept:
            continue
        size += _weight(row)
        if len(packed) >= PAIRS_A_DOCUMENT or size > BYTES_A_DOCUMENT:
            rest.append(row)
        else:
            packed.append(row)
    return packed, rest


def _weight(row: Row) -> int:
    return sum(len(text.encode()) for text in row[:3]) + 30
