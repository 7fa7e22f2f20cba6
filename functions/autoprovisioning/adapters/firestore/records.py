"""The small documents: runs, guard, holds, claims, leases, and events of no single user."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from google.cloud import firestore

from autoprovisioning.adapters.firestore import schema_1
from autoprovisioning.adapters.firestore.audit import add_events, write_events
from autoprovisioning.adapters.firestore.brakes import (
    MEMBERS_A_DOCUMENT,
    SCHEMA,
    decision_fields,
    guard_of,
    guard_pieces,
    hold_expires,
    hold_of,
    members_of,
    members_parts,
)
from autoprovisioning.adapters.firestore.database import Database, LostRace, fields_of, is_id
from autoprovisioning.app.ports.records import Claim
from autoprovisioning.domain.events import Event
from autoprovisioning.domain.guard import GuardState, Member
from autoprovisioning.domain.holds import Hold, HoldState
from autoprovisioning.domain.runs import AskedRun, Run, RunKind, RunState

RUNS_KEPT = timedelta(days=90)
MEMBERS_OUTLIVE = timedelta(days=2)  # the service deletes what expired within a day, in no order
SWEPT_KEPT = 50_000  # names of 16 characters: below 1 MiB
OPEN = (RunState.OBSERVING.value, RunState.PLANNED.value)


class FirestoreRecords:
    """The Records port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put_run(self, run: Run) -> None:
        """Store a run's own fields; `done` and `counts` belong to the commits that add to them."""
        batch = self._database.client.batch()
        batch.set(self._run(run.connection_id, run.id), _run_fields(run), merge=True)
        self._database.write(batch, 1)

    def run(self, connection_id: str, run_id: str) -> Run | None:
        """Read a run's record."""
        if not is_id(run_id):
            return None
        snapshot = self._database.get(self._run(connection_id, run_id))
        return run_of(connection_id, snapshot) if snapshot.exists else None

    def open_runs(self, connection_id: str) -> Sequence[Run]:
        """Return the runs that are observing or planned."""
        runs = self._home(connection_id).collection("runs")
        query = runs.where(filter=firestore.FieldFilter("state", "in", list(OPEN)))
        return [run_of(connection_id, snapshot) for snapshot in self._database.stream(query)]

    def put_asked(self, asked: AskedRun) -> None:
        """Store that a run was asked for; `expires` is its TTL field."""
        batch = self._database.client.batch()
        fields = {"asked_by": asked.asked_by, "asked_at": asked.asked_at, "expires": asked.expires}
        batch.set(self._asked(asked.connection_id, asked.id), fields)
        self._database.write(batch, 1)

    def asked(self, connection_id: str, request_id: str) -> AskedRun | None:
        """Read one document."""
        if not is_id(request_id):
            return None
        fields = fields_of(self._database.get(self._asked(connection_id, request_id)))
        if not fields:
            return None
        return AskedRun(
            id=request_id,
            connection_id=connection_id,
            asked_by=fields["asked_by"],
            asked_at=fields["asked_at"],
            expires=fields["expires"],
        )

    def run_asked_for(self, connection_id: str, request_id: str) -> Run | None:
        """Return the first of the runs that carry the request: one, or a few where its message came again."""
        runs = self._home(connection_id).collection("runs")
        query = runs.where(filter=firestore.FieldFilter("request", "==", request_id))
        found = [run_of(connection_id, snapshot) for snapshot in self._database.stream(query)]
        return min(found, key=lambda run: (run.started, run.id), default=None)

    def change_run(self, connection_id: str, run_id: str, edit: Callable[[Run], Run | None]) -> Run | None:
        """Compare-and-set a run's own fields."""
        changed: list[Run] = []

        def apply(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            changed.clear()
            wanted = edit(run_of(connection_id, snapshot)) if snapshot.exists else None
            if wanted is None:
                return None
            changed.append(wanted)
            return _run_fields(wanted)

        self._database.edit(self._run(connection_id, run_id), apply)
        return changed[0] if changed else None

    def change_guard(self, connection_id: str, edit: Callable[[GuardState], GuardState | None]) -> GuardState | None:
        """Compare-and-set the guard; an edit that changes nothing is not written.

        What one document cannot hold goes on in others. The first decides the race, and is read first: one that goes on
        from another writing than it names was changed in between.
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
            if wanted == current:
                return None
            first, *further = guard_pieces(wanted)
            pieces[:], writing = further, self._database.new_stamp()
            return {"schema": SCHEMA, "reserved": first, "pieces": 1 + len(further), "writing": writing}

        home = self._guard(connection_id)

        def also(batch: firestore.WriteBatch) -> int:
            for number, piece in enumerate(pieces, 1):
                batch.set(home.document(f"{number}"), {"reserved": piece, "writing": writing})
            return len(pieces)

        self._database.edit(home.document("state"), apply, also)
        return changed[0] if changed else None

    def _guard(self, connection_id: str) -> firestore.CollectionReference:
        return self._home(connection_id).collection("guard")

    def _guard_of(self, snapshot: firestore.DocumentSnapshot) -> GuardState:
        fields = fields_of(snapshot)
        if not fields:
            return GuardState()
        if fields.get("schema") != SCHEMA:
            return schema_1.guard(fields)
        home = snapshot.reference.parent
        further = [
            fields_of(piece)
            for piece in self._database.get_all([home.document(f"{number}") for number in range(1, fields["pieces"])])
        ]
        if any(piece.get("writing") != fields["writing"] for piece in further):
            raise LostRace
        return guard_of(b"".join([fields["reserved"], *(piece["reserved"] for piece in further)]))

    def hold(self, connection_id: str, digest: str) -> Hold | None:
        """Read a held plan with its members."""
        if not is_id(digest):
            return None
        snapshot = self._database.get(self._holds(connection_id).document(digest))
        return self._hold_of(snapshot) if snapshot.exists else None

    def holds(self, connection_id: str) -> Sequence[Hold]:
        """Return the held plans of which something is still to come, newest first, with members.

        Those are few: of each kind one that waits, and what was decided within a day, or rejected within 30.
        """
        standing = [HoldState.WAITING.value, HoldState.APPROVED.value, HoldState.REJECTED.value]
        query = self._holds(connection_id).where(filter=firestore.FieldFilter("state", "in", standing))
        found = sorted(self._database.stream(query), key=lambda hold: hold.get("raised_at"), reverse=True)
        return [self._hold_of(snapshot) for snapshot in found]

    def put_hold(self, connection_id: str, hold: Hold, raised: Event | None = None) -> None:
        """Store a held plan: its members first, so that a hold that can be seen is whole, and told of."""
        reference = self._holds(connection_id).document(hold.digest)
        parts = members_parts(hold)
        for number, data in enumerate(parts):
            batch = self._database.client.batch()
            fields = {"members": data, "expires": hold_expires(hold) + MEMBERS_OUTLIVE}
            batch.set(reference.collection("members").document(f"{number:04d}"), fields)
            self._database.write(batch, 1)
        fields = {"raised_at": hold.raised_at, "chunks": len(parts), **decision_fields(hold)}

        def whole(batch: firestore.WriteBatch) -> int:
            batch.set(reference, fields)
            return 1

        if raised is not None:
            write_events(self._database, self._home(connection_id), [raised], whole)
            return
        batch = self._database.client.batch()
        self._database.write(batch, whole(batch))

    def change_hold(
        self,
        connection_id: str,
        digest: str,
        edit: Callable[[Hold], Hold | None],
        tell: Callable[[Hold, Hold], Event | None] | None = None,
    ) -> Hold | None:
        """Compare-and-set what is decided of a held plan; its members stay for as long as it does."""
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
            outlives[:] = changed if hold_expires(changed[0]) != hold_expires(current) else []
            return decision_fields(changed[0])

        reference = self._holds(connection_id).document(digest)
        self._database.edit(reference, apply, lambda batch: add_events(batch, self._home(connection_id), events))
        for hold in outlives:
            self._keep_members(reference, hold)
        return changed[0] if changed else None

    def _keep_members(self, reference: firestore.DocumentReference, hold: Hold) -> None:
        """Let the members of a plan expire with it, sooner or later than they would have."""
        batch = self._database.client.batch()
        parts = -(-len(hold.members) // MEMBERS_A_DOCUMENT)
        for number in range(parts):
            fields = {"expires": hold_expires(hold) + MEMBERS_OUTLIVE}
            batch.set(reference.collection("members").document(f"{number:04d}"), fields, merge=True)
        if parts:
            self._database.write(batch, parts)

    def claim_account(self, connection_id: str, scim_id: str, claim: Claim, instead_of: Claim | None = None) -> Claim:
        """Claim an account for adoption by compare-and-set: where nobody has, or in place of the claim named."""
        name = hashlib.sha256(scim_id.encode()).hexdigest()[:32]
        in_force: list[Claim] = []

        def apply(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            held = (
                Claim(user_id=snapshot.get("user_id"), change_id=snapshot.get("change_id")) if snapshot.exists else None
            )
            if held is None or held == instead_of or held.user_id == claim.user_id:
                in_force[:] = [claim]
                return {"user_id": claim.user_id, "change_id": claim.change_id}
            in_force[:] = [held]
            return None

        self._database.edit(self._home(connection_id).collection("claims").document(name), apply)
        return in_force[0]

    def swept(self, connection_id: str) -> frozenset[str]:
        """Return the differences that the scope sweep published last."""
        snapshot = self._database.get(self._sweep(connection_id))
        if not snapshot.exists:
            return frozenset()
        return frozenset(msgspec.msgpack.decode(snapshot.get("names"), type=list[str]))

    def put_swept(self, connection_id: str, names: frozenset[str]) -> None:
        """Remember them, as many as one document holds."""
        batch = self._database.client.batch()
        kept = sorted(names)[:SWEPT_KEPT]
        batch.set(self._sweep(connection_id), {"names": msgspec.msgpack.encode(kept)})
        self._database.write(batch, 1)

    def record(self, connection_id: str, events: Sequence[Event]) -> None:
        """Append events that belong to no roster change."""
        if events:
            write_events(self._database, self._home(connection_id), events)

    def lease(self, name: str, holder: str, now: datetime, length: timedelta) -> int | None:
        """Take a lease by compare-and-set: a free or an expired one, with the next fence, or prolong our own."""
        taken: list[int] = []

        def apply(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            taken.clear()
            fields = fields_of(snapshot)
            ours = fields.get("holder") == holder
            if fields and not ours and fields["until"] > now:
                return None
            fence = fields["fence"] if ours else fields.get("fence", 0) + 1
            taken.append(fence)
            return {"holder": holder, "until": now + length, "fence": fence}

        self._database.edit(self._database.client.collection("leases").document(name), apply)
        return taken[0] if taken else None

    def release(self, name: str, holder: str) -> None:
        """Give a lease back early: it expires at the time it was taken, the fence stays."""

        def apply(snapshot: firestore.DocumentSnapshot) -> dict[str, Any] | None:
            if not snapshot.exists or snapshot.get("holder") != holder:
                return None
            return {"holder": "", "until": datetime.fromtimestamp(0, UTC)}

        self._database.edit(self._database.client.collection("leases").document(name), apply)

    def _sweep(self, connection_id: str) -> firestore.DocumentReference:
        return self._home(connection_id).collection("sweep").document("state")

    def _home(self, connection_id: str) -> firestore.DocumentReference:
        return self._database.client.collection("connections").document(connection_id)

    def _asked(self, connection_id: str, request_id: str) -> firestore.DocumentReference:
        return self._home(connection_id).collection("run_requests").document(request_id)

    def _run(self, connection_id: str, run_id: str) -> firestore.DocumentReference:
        return self._home(connection_id).collection("runs").document(run_id)

    def _holds(self, connection_id: str) -> firestore.CollectionReference:
        return self._home(connection_id).collection("holds")

    def _hold_of(self, snapshot: firestore.DocumentSnapshot) -> Hold:
        fields = fields_of(snapshot)
        references = [
            snapshot.reference.collection("members").document(f"{number:04d}") for number in range(fields["chunks"])
        ]
        members: list[Member] = []
        for part in self._database.get_all(references):
            data = fields_of(part).get("members")
            if data is None:  # it has expired, and the plan is about to: the rest could not be told apart any more
                return hold_of(snapshot.id, fields, ())
            members += members_of(data)
        return hold_of(snapshot.id, fields, tuple(members))


def _run_fields(run: Run) -> dict[str, Any]:
    return {
        "kind": run.kind.value,
        "fence": run.fence,
        "started": run.started,
        "state": run.state.value,
        "finished": run.finished,
        "batches": run.batches,
        "planned": dict(run.planned),
        "complete": run.complete,
        "notes": list(run.notes),
        "last_progress": run.last_progress,
        "edition": run.edition,
        "request": run.request,
        "expires": run.started + RUNS_KEPT,
    }


def run_of(connection_id: str, snapshot: firestore.DocumentSnapshot) -> Run:
    """Return the run a document holds."""
    fields = fields_of(snapshot)
    return Run(
        id=snapshot.id,
        connection_id=connection_id,
        kind=RunKind(fields["kind"]),
        fence=fields["fence"],
        started=fields["started"],
        state=RunState(fields["state"]),
        finished=fields["finished"],
        batches=fields["batches"],
        done=fields.get("done", {}),
        planned=fields["planned"],
        counts=fields.get("counts", {}),
        seats_exhausted=fields.get("seats_exhausted", False),
        complete=fields["complete"],
        notes=tuple(fields["notes"]),
        last_progress=fields["last_progress"],
        edition=fields.get("edition", 0),
        request=fields.get("request", ""),
    )
