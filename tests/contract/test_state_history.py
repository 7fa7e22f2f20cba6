"""The contract of the state ports, continued: what a change left behind, who waits, and decisions on held plans."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from autoprovisioning.adapters.firestore.roster import shard_of
from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.deprovisioning import Clock
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.events import Event, EventName
from autoprovisioning.domain.holds import Hold, Standing
from tests.contract.state_stores import State as Stores
from tests.contract.state_stores import hold
from tests.support.builders import ADA, DAY, GRACE, NOW

HOME = Connection(id="c1", roster_layout="4")


def put(state: Stores, *entries: Entry) -> None:
    edit = Edit(entries={entry.user_id: entry for entry in entries})
    state.roster.commit(HOME, [entry.user_id for entry in entries], lambda _known: (edit, None))


def updated(change_id: str, **changes: Any) -> Event:
    return replace(Event(id=change_id, at=NOW, name=EventName.UPDATED, actor="run r1", user_id="u1"), **changes)


class TestApplied:
    def test_the_attributes_after_a_change_are_told_by_its_id(self, state):
        whole = {**ADA, "title": None, "emails.primary": True}
        events = [updated("x1", changed={"title": None}, after=whole), updated("x2", after=GRACE)]
        state.roster.commit(HOME, [], lambda _known: (Edit(events=events), None))
        assert state.audit.applied("c1", ["x2", "x1", "x2"]) == {"x1": whole, "x2": GRACE}

    def test_changes_without_attributes_or_unknown_ones_are_left_out(self, state):
        state.audit.record("c1", [updated("x1", changed=ADA)])
        state.audit.record("c2", [updated("x2", after=ADA)])
        assert state.audit.applied("c1", ["x1", "x2", "none", ""]) == {}
        assert state.audit.applied("c1", []) == {}

    def test_it_reads_one_document_a_change(self, firestore):
        firestore.audit.record("c1", [updated("x1", after=ADA), updated("x2", after=ADA), updated("x3", after=ADA)])
        firestore.reads.clear()
        firestore.audit.applied("c1", ["x1", "x3", "x1"])
        assert firestore.reads["firestore_reads"] == 2


class TestPending:
    def test_who_waits_is_mirrored_while_it_lasts(self, state):
        put(state, Entry(user_id="u1", email="ada@example.com"))
        assert state.pending("c1") == {}
        put(
            state,
            Entry(user_id="u1", version=2, email="ada@example.com", pending=True),
            Entry(user_id="u2", email="bob@example.com", pending=True),
        )
        assert state.pending("c1") == {"u1": "ada@example.com", "u2": "bob@example.com"}
        put(state, Entry(user_id="u1", version=3, email="ada@example.com"))
        assert state.pending("c1") == {"u2": "bob@example.com"}

    def test_it_goes_with_its_entry_and_with_the_connection(self, state):
        state.connections.create(HOME)
        put(state, Entry(user_id="u1", pending=True), Entry(user_id="u2", pending=True))
        state.roster.commit(HOME, ["u1"], lambda _known: (Edit(entries={"u1": None}), None))
        assert set(state.pending("c1")) == {"u2"}
        state.connections.purge("c1")
        assert state.pending("c1") == {}

    def test_connections_keep_theirs_apart(self, state):
        put(state, Entry(user_id="u1", pending=True))
        assert state.pending("c2") == {}


class TestIds:
    @pytest.mark.parametrize("name", ["", "a/b", ".", "__id__", "x" * 2000])
    def test_an_id_that_could_never_be_stored_names_nothing(self, state, name):
        assert state.connections.get(name) is None
        assert state.runs.get("c1", name) is None


class TestOlderDocuments:
    def test_a_connection_has_not_been_edited_yet(self, firestore):
        firestore.connections.create(HOME)
        document = firestore.client.document("connections/c1")
        stored = document.get().to_dict()
        del stored["schema"], stored["edition"]
        document.set(stored)
        assert firestore.connections.get("c1") == HOME
        assert list(firestore.connections.all()) == [HOME]
        changed = firestore.connections.change("c1", lambda current: replace(current, edition=current.edition + 1))
        assert firestore.connections.get("c1") == changed == replace(HOME, edition=1, revision=1)

    def test_a_roster_entry_names_no_change(self, firestore):
        wanted = Entry(user_id="u1", version=4, email="ada@example.com", applied_by="x1")
        put(firestore, wanted)
        document = firestore.client.document(f"connections/c1/roster/{shard_of('u1', 4):04d}")
        records = msgspec.msgpack.decode(document.get().get("entries"))
        document.update({"entries": msgspec.msgpack.encode([record[:15] for record in records])})
        assert firestore.roster.load(HOME) == {"u1": replace(wanted, applied_by="")}

    def test_an_event_left_no_attributes_to_tell(self, firestore):
        firestore.audit.record("c1", [updated("x1", after=ADA)])
        document = firestore.client.document("connections/c1/events/x1")
        fields = document.get().to_dict()
        document.set({name: value for name, value in fields.items() if name not in ("before", "after")})
        assert firestore.audit.applied("c1", ["x1"]) == {}

    def test_what_is_read_back_has_plain_times(self, firestore):
        firestore.connections.create(replace(HOME, changed_at=NOW, clock=Clock(stood=DAY, last=(NOW - DAY, NOW))))
        wanted = hold(["u1"], Standing.REJECTED, by="a@x.org")
        firestore.holds.put("c1", wanted)
        connection, read = firestore.connections.get("c1"), firestore.holds.get("c1", wanted.digest)
        assert msgspec.json.decode(msgspec.json.encode(connection), type=Connection) == connection
        assert msgspec.json.decode(msgspec.json.encode(read), type=Hold) == read
