"""The volume guard of a connection.

A reservation takes 8 bytes, below the second in which it was made; the guard is one field, cut into as many documents
as it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore import schema_1
from autoprovisioning.adapters.firestore.database import Database, LostRace, fields_of
from autoprovisioning.decoding import built
from autoprovisioning.document_kinds import GUARD
from autoprovisioning.domain.guard import GuardState

PIECE = 900_000  # bytes of 1 MiB
NAME = 8  # bytes


class FirestoreGuard:
    """The Guard port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def change(self, connection_id: str, edit: Callable[[GuardState], GuardState | None]) -> GuardState | None:
        """Compare-and-set the guard; an edit that changes nothing is not written.

        What one document cannot hold continues in others. The first decides the race, and is read first: a continuation
        of another write than the one it names was changed in between.
        """
        changed: list[GuardState] = []
        pieces: list[bytes] = []
        writing = ""

        def apply(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            nonlocal writing
            changed.clear()
            pieces.clear()
            current = self._guard_of(snapshot)
            wanted = edit(current)
            if wanted is None:
                return None
            changed.append(wanted)
            if wanted == current and GUARD.check(fields_of(snapshot)) == GUARD.current:
                return None
            first, *further = _pieces(wanted)
            pieces[:], writing = further, self._database.new_stamp()
            return GUARD.stamped({"reserved": first, "pieces": 1 + len(further), "writing": writing})

        home = self._database.home(connection_id).collection("guard")

        def also(batch: firestore.WriteBatch) -> int:
            for number, piece in enumerate(pieces, 1):
                batch.set(home.document(f"{number}"), GUARD.stamped({"reserved": piece, "writing": writing}))
            return len(pieces)

        self._database.edit(home.document("state"), apply, also)
        return changed[0] if changed else None

    def _guard_of(self, snapshot: firestore.DocumentSnapshot) -> GuardState:
        fields = fields_of(snapshot)
        if not fields:
            return GuardState()
        if GUARD.check(fields) < GUARD.current:
            return schema_1.guard(fields)
        home = snapshot.reference.parent
        further = [
            fields_of(piece)
            for piece in self._database.get_all([home.document(f"{number}") for number in range(1, fields["pieces"])])
        ]
        if any(piece.get("writing") != fields["writing"] for piece in further):
            raise LostRace
        return _state_of(b"".join([fields["reserved"], *(piece["reserved"] for piece in further)]))


class _Guard(msgspec.Struct, array_like=True):
    reserved: dict[str, dict[int, bytes]] = {}
    active: list[tuple[int, int]] = []


def _pieces(state: GuardState) -> list[bytes]:
    """Encode a guard, cut into pieces that fit into a document."""
    reserved: dict[str, dict[int, bytearray]] = {}
    for budget, names in state.reserved.items():
        buckets = reserved.setdefault(budget, {})
        together: dict[datetime, list[str]] = {}  # many were reserved by one commit: to convert each would take longest
        for name, at in names.items():
            together.setdefault(at, []).append(name)
        for at, alike in together.items():
            buckets.setdefault(int(at.timestamp()), bytearray()).extend(bytes.fromhex("".join(alike)))
    data = msgspec.msgpack.encode((reserved, [(int(at.timestamp()), count) for at, count in state.active]))
    return [data[start : start + PIECE] for start in range(0, len(data), PIECE)]


def _state_of(data: bytes) -> GuardState:
    """Decode a guard of schema 2."""
    guard = msgspec.msgpack.decode(data, type=built(_Guard))
    reserved = {budget: dict(_names(buckets)) for budget, buckets in guard.reserved.items()}
    active = tuple((datetime.fromtimestamp(at, UTC), count) for at, count in guard.active)
    return GuardState(reserved=reserved, active=active)


def _names(buckets: Mapping[int, bytes]) -> Iterator[tuple[str, datetime]]:
    for seconds, names in buckets.items():
        at, text = datetime.fromtimestamp(seconds, UTC), names.hex()
        for start in range(0, len(text), 2 * NAME):
            yield text[start : start + 2 * NAME], at
