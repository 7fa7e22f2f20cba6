"""The held plans of a connection.

Each part of a plan's members has a document of its own, and the plan has a verdict for each member: the verdicts that
differ, and by number which of them each member has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore import schema_1
from autoprovisioning.adapters.firestore.audit import add_events, write_events
from autoprovisioning.adapters.firestore.database import Database, fields_of, is_id
from autoprovisioning.decoding import built
from autoprovisioning.document_kinds import HOLD, MEMBERS
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.guard import Kind, Member
from autoprovisioning.domain.holds import Hold, HoldState, Standing, Verdict
from autoprovisioning.schemas import FIELD

MEMBERS_A_DOCUMENT = 5_000
WITHOUT_LOCKS = 1  # the schema of members that versions before the locks read, too: a rollback meets few others
MEMBERS_OUTLIVE = timedelta(days=2)  # the service deletes what expired within a day, in no order
HOLDS_KEPT = timedelta(days=400)  # as long as the audit
SUPERSEDED_KEPT = timedelta(days=7)  # a plan that grows leaves one a run


class FirestoreHolds:
    """The Holds port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, connection_id: str, digest: str) -> Hold | None:
        """Read a held plan with its members."""
        if not is_id(digest):
            return None
        snapshot = self._database.get(self._holds(connection_id).document(digest))
        return self._read(snapshot) if snapshot.exists else None

    def standing(self, connection_id: str) -> Sequence[Hold]:
        """Return the held plans that may still have an effect, newest first, with members.

        Those are few: of each kind one that waits, and what was decided within a day, or rejected within 30.
        """
        standing = [HoldState.WAITING.value, HoldState.APPROVED.value, HoldState.REJECTED.value]
        query = self._holds(connection_id).where(filter=firestore.FieldFilter("state", "in", standing))
        found = sorted(self._database.stream(query), key=lambda hold: hold.get("raised_at"), reverse=True)
        return [self._read(snapshot) for snapshot in found]

    def put(self, connection_id: str, hold: Hold, raised: Event | None = None) -> None:
        """Store a held plan: its members first, so that a hold that can be seen is complete and in the audit."""
        reference = self._holds(connection_id).document(hold.digest)
        parts = _member_parts(hold)
        for number, data in enumerate(parts):
            batch = self._database.client.batch()
            fields = MEMBERS.stamped({"members": data, "expires": expires_at(hold) + MEMBERS_OUTLIVE})
            if hold.kind is not Kind.LOCKING:
                fields[FIELD] = WITHOUT_LOCKS
            batch.set(reference.collection("members").document(f"{number:04d}"), fields)
            self._database.write(batch, 1)
        fields = {"raised_at": hold.raised_at, "chunks": len(parts), **_decision_fields(hold)}

        def whole(batch: firestore.WriteBatch) -> int:
            batch.set(reference, fields)
            return 1

        if raised is not None:
            write_events(self._database, self._database.home(connection_id), [raised], whole)
            return
        batch = self._database.client.batch()
        self._database.write(batch, whole(batch))

    def change(
        self,
        connection_id: str,
        digest: str,
        edit: Callable[[Hold], Hold | None],
        tell: Callable[[Hold, Hold], Event | None] | None = None,
    ) -> Hold | None:
        """Compare-and-set what is decided about a held plan; its members stay as long as it does."""
        if not is_id(digest):
            return None
        changed: list[Hold] = []
        events: list[Event] = []
        outlives: list[Hold] = []

        def apply(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            changed.clear()
            outlives.clear()
            if not snapshot.exists:
                return None
            current = self._hold_of(snapshot)
            wanted = edit(current)
            if wanted is None:
                return None
            changed.append(replace(wanted, members=current.members, raised_at=current.raised_at))
            told = tell(current, changed[0]) if tell is not None else None
            events[:] = [told] if told is not None else []
            outlives[:] = changed if expires_at(changed[0]) != expires_at(current) else []
            return _decision_fields(changed[0])

        home = self._database.home(connection_id)
        reference = home.collection("holds").document(digest)
        self._database.edit(reference, apply, lambda batch: add_events(batch, home, events))
        for hold in outlives:
            self._keep_members(reference, hold)
        return changed[0] if changed else None

    def _keep_members(self, reference: firestore.DocumentReference, hold: Hold) -> None:
        """Let the members of a plan expire with it, sooner or later than they would have."""
        batch = self._database.client.batch()
        parts = -(-len(hold.members) // MEMBERS_A_DOCUMENT)
        for number in range(parts):
            fields = {"expires": expires_at(hold) + MEMBERS_OUTLIVE}
            batch.set(reference.collection("members").document(f"{number:04d}"), fields, merge=True)
        if parts:
            self._database.write(batch, parts)

    def _holds(self, connection_id: str) -> firestore.CollectionReference:
        return self._database.home(connection_id).collection("holds")

    def _read(self, snapshot: firestore.DocumentSnapshot) -> Hold:
        hold, fields = self._hold_of(snapshot), fields_of(snapshot)
        if HOLD.check(fields) < HOLD.current and hold.members:
            self._database.migrate(snapshot, {**_decision_fields(hold), "expires": fields["expires"]})  # as its members
        return hold

    def _hold_of(self, snapshot: firestore.DocumentSnapshot) -> Hold:
        fields = fields_of(snapshot)
        references = [
            snapshot.reference.collection("members").document(f"{number:04d}") for number in range(fields["chunks"])
        ]
        members: list[Member] = []
        for part in self._database.get_all(references):
            stored = fields_of(part)
            MEMBERS.check(stored)
            data = stored.get("members")
            if data is None:  # it has expired, and the plan is about to: the rest could no longer be matched
                return _hold(snapshot.id, fields, ())
            members += _members_of(data)
        return _hold(snapshot.id, fields, tuple(members))


class _Member(msgspec.Struct, array_like=True):
    user_id: str
    action: str
    trigger: str = ""
    since: int | None = None


class _Verdict(msgspec.Struct, array_like=True):
    standing: Standing
    at: float | None  # to the microsecond: what is done within the second of a decision came before or after it
    by: str


class _Verdicts(msgspec.Struct, array_like=True):
    each: list[_Verdict]
    numbers: list[int]


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _member_parts(hold: Hold) -> list[bytes]:
    """Encode the members of a held plan, as many as a document holds in each part."""
    records = [
        _Member(m.resource, m.action, m.trigger, int(m.since.timestamp()) if m.since else None) for m in hold.members
    ]
    return [
        msgspec.msgpack.encode(records[start : start + MEMBERS_A_DOCUMENT])
        for start in range(0, len(records), MEMBERS_A_DOCUMENT)
    ]


def _members_of(data: bytes) -> list[Member]:
    """Decode a part of the members; schema 1 has neither trigger nor time."""
    records = msgspec.msgpack.decode(data, type=built(list[_Member]))
    return [
        Member(resource=r.user_id, action=r.action, trigger=r.trigger, since=None if r.since is None else _at(r.since))
        for r in records
    ]


def _decision_fields(hold: Hold) -> dict[str, Any]:
    """Return the fields of what was decided, counts for the lists included."""
    distinct = {verdict: number for number, verdict in enumerate(dict.fromkeys(hold.verdicts))}
    each = [_Verdict(v.standing, None if v.at is None else v.at.timestamp(), v.by) for v in distinct]
    return HOLD.stamped(
        {
            "state": hold.state.value,
            "reason": hold.reason,
            "counts": hold.counts(),
            "standings": hold.standings(),
            "verdicts": msgspec.msgpack.encode(_Verdicts(each, [distinct[verdict] for verdict in hold.verdicts])),
            "decided_by": hold.decided_by,
            "decided_at": hold.decided_at,
            "expires": expires_at(hold),
        }
    )


def _hold(digest: str, fields: Mapping[str, Any], members: tuple[Member, ...]) -> Hold:
    """Return a held plan; of schema 1 every member has the verdict of the whole."""
    if HOLD.check(fields) == HOLD.current:
        known = msgspec.msgpack.decode(fields["verdicts"], type=built(_Verdicts))
        each = [Verdict(standing=v.standing, at=None if v.at is None else _at(v.at), by=v.by) for v in known.each]
        verdicts = tuple(each[number] for number in known.numbers)
    else:
        verdicts = (schema_1.verdict(fields),) * len(members)
    return Hold(
        digest=digest,
        raised_at=fields["raised_at"],
        members=members,
        reason=fields["reason"],
        verdicts=verdicts,
        decided_by=fields["decided_by"],
        decided_at=fields["decided_at"],
    )


def expires_at(hold: Hold) -> datetime:
    """Return the value of a held plan's TTL field; it outlives every valid decision about it."""
    if hold.state is HoldState.SUPERSEDED:
        ended = max((verdict.at for verdict in hold.verdicts if verdict.at is not None), default=hold.raised_at)
        return ended + SUPERSEDED_KEPT
    return max(hold.raised_at, hold.decided_at or hold.raised_at) + HOLDS_KEPT
