"""Documents as the version before schema 2 wrote them are read, and rewritten when anything of them changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from autoprovisioning.adapters.firestore import schema_1
from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.deprovisioning import Clock
from autoprovisioning.domain.entry import Action, Entry, Failure, Mark, Status, Timer, Trigger
from tests.support.builders import DAY, NOW, running
from tests.support.settings import with_settings

SHARD = bytes.fromhex(
    "96dc0013a2753100a0a0a000c2c0c0c0c2c0c0c0c2c0a0c0c0dc0013a2753207af616461406578616d706c652e636f6da26b32a2663202c393"
    "ce6af82310c0ce6b040090c095a66368616e6765a76d65737361676503cb41dac1549a900000c3c30496ad616464726573735f74616b656e"
    "a574616b656e02ce6b040090ce6b056020aa6372656174653a616263ce6b055210c301a86368616e67652031ce6b040090a6616263646566dc"
    "0013a2753302af626f62406578616d706c652e636f6da26b33a2663301c393c0ce6af82310c0ce6b000c10c0c2c0c0c0c2c0a0c0c0dc0013a2"
    "753402af637964406578616d706c652e636f6da26b34a2663403c293c0ce6ad09610c0c0c0c2c0c0ce6b02af10c2c0a86368616e67652034c0"
    "c0dc0013a2753502af64616e406578616d706c652e636f6da26b35a2663504c3c0c0c0c2c0c0c0c2c0a0c0c0dc0013a2753602af6576654065"
    "78616d706c652e636f6da26b36a2663601c3c0ce6b000c10c0c2c0c0c0c2c0a0c0c0"
)
OFF = ((NOW - 9 * DAY, NOW - 8 * DAY), (NOW - 3 * DAY, NOW - DAY))
TEN_DAYS, A_DAY = NOW - 10 * DAY, NOW - DAY
ENTRIES = {
    "u1": Entry(user_id="u1"),
    "u2": Entry(
        user_id="u2",
        version=7,
        email="ada@example.com",
        scim_id="k2",
        fingerprint="f2",
        status=Status.SUSPENDED,
        in_scope=True,
        timers={
            Trigger.APP_OFF: running(TEN_DAYS),
            Trigger.DELETED: Timer(since=A_DAY, running_since=A_DAY - 3 * DAY),
        },
        mark=Mark(
            change_id="change",
            message_id="message",
            action=Action.UNSUSPEND,
            until=NOW + timedelta(seconds=90, microseconds=250_000),
        ),
        again=True,
        pending=True,
        failure=Failure(
            code="address_taken",
            text="taken",
            attempts=2,
            first=NOW - DAY,
            next_attempt=NOW + timedelta(hours=1),
            about="create:abc",
        ),
        last_action_at=NOW,
        gone=True,
        applied_by="change 1",
        missing_since=A_DAY,
        shown="abcdef",
    ),
    "u3": Entry(
        user_id="u3",
        version=2,
        email="bob@example.com",
        scim_id="k3",
        fingerprint="f3",
        status=Status.ACTIVE,
        in_scope=True,
        timers={Trigger.SUSPENDED: Timer(since=TEN_DAYS, accrued=5 * DAY)},
    ),
    "u4": Entry(
        user_id="u4",
        version=2,
        email="cyd@example.com",
        scim_id="k4",
        fingerprint="f4",
        status=Status.SUSPENDED,
        deleted=True,
        timers={Trigger.SUSPENDED: running(NOW - 40 * DAY)},
        last_action_at=NOW - 2 * DAY,
        applied_by="change 4",
    ),
    "u5": Entry(
        user_id="u5",
        version=2,
        email="dan@example.com",
        scim_id="k5",
        fingerprint="f5",
        status=Status.LOCKED,
        in_scope=True,
    ),
    "u6": Entry(
        user_id="u6",
        version=2,
        email="eve@example.com",
        scim_id="k6",
        fingerprint="f6",
        status=Status.ACTIVE,
        in_scope=True,
    ),
}
CONNECTION: dict[str, Any] = {
    "order": 1,
    "name": "Keeper",
    "revision": 4,
    "edition": 2,
    "state": "off",
    "endpoint": "https://keepersecurity.eu/api/rest/scim/v2/1",
    "token_version": "4",
    "mapping": [],
    "scope": {"groups": [{"id": "g1", "email": "a@example.com", "name": "A"}], "org_units": []},
    "deprovisioning": {
        trigger: {"suspend_after": 7, "delete_after": 30} for trigger in ("app_off", "suspended", "deleted")
    },
    "limit": {"minimum": 10, "percent": 5.0},
    "archived_as_suspended": True,
    "patch_dialect": "standard",
    "shards": 1,
    "throttled_until": None,
    "paused_reason": "",
    "changed_at": NOW,
    "off_spans": [{"start": start, "end": end} for start, end in OFF],
    "retired_tokens": [],
}


def test_the_timers_of_a_shard_run_by_the_clock_from_then_on():
    assert schema_1.roster(SHARD, OFF) == ENTRIES
    clock = Clock(stood=3 * DAY, last=OFF[-1])
    elapsed = {name: entry.timers for name, entry in schema_1.roster(SHARD, OFF).items() if entry.timers}
    assert elapsed["u2"][Trigger.APP_OFF].elapsed(clock.at(NOW)) == 7 * DAY
    assert elapsed["u2"][Trigger.DELETED].elapsed(clock.at(NOW)) == DAY
    assert elapsed["u3"][Trigger.SUSPENDED].elapsed(clock.at(NOW)) == 5 * DAY


@pytest.mark.emulator
class TestStored:
    def test_a_connection_keeps_for_how_long_it_was_off(self, firestore):
        document = firestore.client.document("connections/c1")
        document.set(CONNECTION)
        read = firestore.connections.get("c1")
        assert read.clock == Clock(stood=3 * DAY, last=OFF[-1], off_since=NOW)
        assert (read.state, read.settings.archived_as_suspended, read.changed_at) == (State.OFF, True, NOW)
        firestore.connections.change("c1", lambda current: with_settings(current, name="New"))
        assert document.get().get("schema") == 2
        assert firestore.connections.get("c1") == with_settings(replace(read, revision=5), name="New")

    @pytest.mark.parametrize(("stored", "since"), [(True, NOW), (False, None), (NOW, NOW), (None, None)])
    def test_a_node_without_proof_was_a_flag_at_first(self, firestore, stored, since):
        firestore.client.document("connections/c1").set(CONNECTION)
        firestore.connections.change("c1", lambda current: with_settings(current, name="New"))
        firestore.client.document("connections/c1").update({"unproven": stored})
        assert firestore.connections.get("c1").unproven == since

    def test_a_shard_is_read_and_rewritten_whole_whatever_became_of_the_connection_meanwhile(self, firestore):
        firestore.client.document("connections/c1").set(CONNECTION)
        document = firestore.client.document("connections/c1/roster/0000")
        document.set({"entries": SHARD})
        home: Connection = firestore.connections.change("c1", lambda current: with_settings(current, name="New"))
        assert firestore.roster.load(home) == ENTRIES
        assert firestore.roster.entry(home, "u3") == ENTRIES["u3"]
        changed = replace(ENTRIES["u1"], version=1)
        firestore.roster.commit(home, ["u1"], lambda _known: (Edit(entries={"u1": changed}), None))
        assert document.get().get("schema") == 2
        assert firestore.roster.load(home) == {**ENTRIES, "u1": changed}

    def test_whoever_reads_a_connection_migrates_it_with_nothing_changed(self, firestore):
        document = firestore.client.document("connections/c1")
        document.set(CONNECTION)
        (read,) = firestore.connections.all()
        stored = document.get().to_dict()
        assert (stored["schema"], stored["revision"], stored["edition"]) == (2, 4, 2)
        assert firestore.connections.get("c1") == read
        assert stored["off_spans"] == CONNECTION["off_spans"]  # for the shards of schema 1

    def test_a_connection_that_is_read_alone_is_migrated_too(self, firestore):
        firestore.client.document("connections/c1").set(CONNECTION)
        read = firestore.connections.get("c1")
        assert firestore.client.document("connections/c1").get().get("schema") == 2
        assert firestore.connections.get("c1") == read

    def test_a_run_migrates_every_shard_that_it_loads(self, firestore):
        firestore.client.document("connections/c1").set({**CONNECTION, "shards": 2})
        documents = [firestore.client.document(f"connections/c1/roster/{number:04d}") for number in range(2)]
        documents[0].set({"entries": SHARD})
        (home,) = firestore.connections.all()
        assert firestore.roster.load(home) == ENTRIES
        assert documents[0].get().get("schema") == 2
        assert not documents[1].get().exists
        firestore.reads.clear()
        assert firestore.roster.load(home) == ENTRIES
        assert dict(firestore.reads) == {"firestore_reads": 2}

    def test_a_shard_that_somebody_changes_meanwhile_is_left_to_them(self, firestore):
        firestore.client.document("connections/c1").set(CONNECTION)
        firestore.client.document("connections/c1/roster/0000").set({"entries": SHARD})
        (home,) = firestore.connections.all()
        changed = replace(ENTRIES["u1"], version=1)
        others = [lambda: firestore.roster.commit(home, ["u1"], lambda _known: (Edit(entries={"u1": changed}), None))]
        firestore.before_writing(lambda: others.pop()() if others else None)
        assert firestore.roster.load(home) == ENTRIES
        assert firestore.roster.load(home) == {**ENTRIES, "u1": changed}
