"""The groups that are teams, or were to be: one document a connection, and one each with what was approved."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore.audit import add_events
from autoprovisioning.adapters.firestore.database import Database, fields_of
from autoprovisioning.decoding import built
from autoprovisioning.document_kinds import TEAMS
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.memberships import WINDOW, ApprovedRemovals
from autoprovisioning.domain.teams import ConfirmedAdoption, GroupTeam

MOST_BYTES = 900_000  # a document has 1 MiB at most; a thousand teams have some 300,000

_given = msgspec.msgpack.Decoder(built(list[ApprovedRemovals]))
_confirmed = msgspec.msgpack.Decoder(built(list[ConfirmedAdoption]))
_teams = msgspec.msgpack.Decoder(built(list[GroupTeam]))


class FirestoreTeams:
    """The Teams port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, connection_id: str) -> dict[str, GroupTeam]:
        """Read one document."""
        return _known(self._database.get(self._document(connection_id)))

    def change(
        self,
        connection_id: str,
        edit: Callable[[Mapping[str, GroupTeam]], Mapping[str, GroupTeam]],
        events: Sequence[Event] = (),
    ) -> Mapping[str, GroupTeam]:
        """Write document and events in one commit.

        Of more than fit the longest lists of who was let out of a team are left out, and then the last teams: one that
        is not known any more would be made again, though somebody deleted it in Keeper.
        """
        becomes: Mapping[str, GroupTeam] = {}

        def change(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            nonlocal becomes
            known = _known(snapshot)
            becomes = edit(known)
            return TEAMS.stamped({"teams": _packed(becomes)}) if events or becomes != known else None

        home = self._database.home(connection_id)
        self._database.edit(self._document(connection_id), change, lambda batch: add_events(batch, home, events))
        return becomes

    def approvals(self, connection_id: str) -> dict[str, ApprovedRemovals]:
        """Read one document."""
        return _approvals(self._database.get(self._document(connection_id, "approvals")))

    def approve(self, connection_id: str, approval: ApprovedRemovals, told: Event) -> None:
        """Write the document and the event in one commit; approvals that are over are left out."""

        def change(snapshot: firestore.DocumentSnapshot) -> dict[str, Any]:
            kept = {**_approvals(snapshot), approval.group_id: approval}
            lasting = [each for each in kept.values() if approval.at - each.at < WINDOW]
            return TEAMS.stamped({"approvals": msgspec.msgpack.encode(lasting)})

        home = self._database.home(connection_id)
        document = self._document(connection_id, "approvals")
        self._database.edit(document, change, lambda batch: add_events(batch, home, [told]))

    def adoptions(self, connection_id: str) -> dict[str, ConfirmedAdoption]:
        """Read one document."""
        return _adoptions(self._database.get(self._document(connection_id, "adoptions")))

    def confirm(self, connection_id: str, confirmed: ConfirmedAdoption, told: Event) -> None:
        """Write the document and the event in one commit; confirmations that are over are left out."""

        def change(snapshot: firestore.DocumentSnapshot) -> dict[str, Any]:
            kept = {**_adoptions(snapshot), confirmed.group_id: confirmed}
            lasting = [each for each in kept.values() if each.lasts(confirmed.at)]
            return TEAMS.stamped({"adoptions": msgspec.msgpack.encode(lasting)})

        home = self._database.home(connection_id)
        document = self._document(connection_id, "adoptions")
        self._database.edit(document, change, lambda batch: add_events(batch, home, [told]))

    def settle(self, connection_id: str, settled: Collection[ConfirmedAdoption]) -> None:
        """Write the document without them."""

        def change(snapshot: firestore.DocumentSnapshot) -> dict[str, Any]:
            kept = [each for each in _adoptions(snapshot).values() if each not in settled]
            return TEAMS.stamped({"adoptions": msgspec.msgpack.encode(kept)})

        self._database.edit(self._document(connection_id, "adoptions"), change)

    def _document(self, connection_id: str, name: str = "latest") -> firestore.DocumentReference:
        return self._database.home(connection_id).collection("teams").document(name)


def _known(snapshot: firestore.DocumentSnapshot) -> dict[str, GroupTeam]:
    fields = fields_of(snapshot)
    TEAMS.check(fields)
    return {team.group_id: team for team in _teams.decode(fields["teams"])} if fields else {}


def _packed(teams: Mapping[str, GroupTeam]) -> bytes:
    kept = list(teams.values())
    packed = msgspec.msgpack.encode(kept)
    while len(packed) > MOST_BYTES and _let_out(longest := max(kept, key=_let_out)):
        kept = [replace(team, removals=None) if team is longest else team for team in kept]
        packed = msgspec.msgpack.encode(kept)
    while len(packed) > MOST_BYTES:
        kept = kept[: len(kept) * MOST_BYTES // len(packed)]
        packed = msgspec.msgpack.encode(kept)
    return packed


def _let_out(team: GroupTeam) -> int:
    return len(team.removals.users) + len(team.removals.approved) if team.removals is not None else 0


def _approvals(snapshot: firestore.DocumentSnapshot) -> dict[str, ApprovedRemovals]:
    fields = fields_of(snapshot)
    TEAMS.check(fields)
    return {each.group_id: each for each in _given.decode(fields["approvals"])} if fields else {}


def _adoptions(snapshot: firestore.DocumentSnapshot) -> dict[str, ConfirmedAdoption]:
    fields = fields_of(snapshot)
    TEAMS.check(fields)
    return {each.group_id: each for each in _confirmed.decode(fields["adoptions"])} if fields else {}
