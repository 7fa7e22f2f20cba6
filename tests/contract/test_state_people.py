"""The contract of the list of everybody: what full runs kept, and the roster as it is by now."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoprovisioning.adapters.firestore import FirestorePeople, people
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Entry, Status
from autoprovisioning.domain.errors import ConfigurationRefused
from autoprovisioning.domain.people import Listed, Person, Roll, entitled, line_of, person_of
from tests.contract.state_stores import HOME, IN_FIRESTORE, Firestore, InMemory, State, write
from tests.support.builders import DAY, NOW

BEGAN = NOW - 365 * DAY  # of the full run: every store's own clock is later
MINUTE = timedelta(minutes=1)
ADA = Entry(user_id="u1", email="ada@example.com", scim_id="k1", status=Status.ACTIVE, in_scope=True)
ALAN = replace(ADA, user_id="u2", email="alan@example.com", scim_id="k2")
LISTED = {
    "u1": Listed("ada@example.com", "Ada Lovelace", Presence.ACTIVE),
    "u2": Listed("alan@example.com", "Alan Turing", Presence.SUSPENDED),
    "u3": Listed("grace@example.com", "Grace Hopper", Presence.ACTIVE, "/Sales", administers=True),
}


def everybody(roll: Roll) -> list[Person]:
    return [line.person for line in roll.lines.all]


def told(roll: Roll) -> list[tuple[str, str, bool, str]]:
    return [(each.name, each.email, each.on_roster, each.status.value) for each in everybody(roll)]


def kept(state: State) -> None:
    write(state, entries={"u1": ADA, "u2": ALAN})
    state.people.put(HOME, BEGAN, LISTED, {"u1": ADA, "u2": ALAN})


def test_everybody_is_there_in_the_order_of_names(state):
    kept(state)
    roll = state.people.read(HOME, NOW)
    assert told(roll) == [
        ("Ada Lovelace", "ada@example.com", True, "active"),
        ("Alan Turing", "alan@example.com", True, "active"),
        ("Grace Hopper", "grace@example.com", False, "none"),
    ]
    assert (roll.at, roll.listed) == (NOW, BEGAN)


@settings(max_examples=30, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_what_is_told_after_many_runs_is_what_the_last_one_saw(data):
    firestore = InMemory()
    entries = [None, ADA, replace(ADA, teams=("t1",)), replace(ADA, status=Status.SUSPENDED)]
    names = [None, *LISTED.values(), LISTED["u1"]._replace(teams=("t1",))]
    for _ in range(data.draw(st.integers(1, 4))):
        people = {user_id: data.draw(st.tuples(st.sampled_from(entries), st.sampled_from(names))) for user_id in LISTED}
        roster = {user_id: replace(entry, user_id=user_id) for user_id, (entry, _) in people.items() if entry}
        listed = {user_id: each for user_id, (_, each) in people.items() if each}
        firestore.people.put(HOME, BEGAN, listed, roster)
    lines = FirestorePeople(firestore.database).read(HOME, NOW).lines.all
    seen = {line.person.user_id: line.person for line in lines}
    wanted = {user_id: person_of(entry, listed.get(user_id)) for user_id, entry in roster.items()}
    assert seen == {user_id: entitled(user_id, each) for user_id, each in listed.items()} | wanted


def test_unit_and_role_are_kept(state):
    kept(state)
    by_id = state.people.read(HOME, NOW).lines.by_id
    assert [(by_id[name].person.unit, by_id[name].person.administers) for name in ("u1", "u3")] == [
        ("", False),
        ("/Sales", True),
    ]


def test_nobody_is_there_before_the_first_run(state):
    assert state.people.read(Connection(id="c1"), NOW) == Roll(at=NOW)


def test_the_roster_is_told_before_a_full_run_kept_anything(state):
    write(state, entries={"u1": ADA})
    assert told(state.people.read(HOME, NOW)) == [("", "ada@example.com", True, "active")]
    write(state, entries={"u1": replace(ADA, status=Status.SUSPENDED), "u2": ALAN})
    later = state.people.read(HOME, NOW + MINUTE)
    assert [line[1:] for line in told(later)] == [
        ("ada@example.com", True, "suspended"),
        ("alan@example.com", True, "active"),
    ]


def test_what_changes_on_the_roster_is_told_with_the_names_kept(state):
    kept(state)
    state.people.read(HOME, NOW)
    write(state, entries={"u1": replace(ADA, status=Status.SUSPENDED), "u2": None, "u3": replace(ADA, user_id="u3")})
    assert told(state.people.read(HOME, NOW + MINUTE)) == [
        ("Ada Lovelace", "ada@example.com", True, "suspended"),
        ("Grace Hopper", "ada@example.com", True, "active"),
    ]


def test_a_later_run_replaces_what_was_kept(state):
    kept(state)
    state.people.read(HOME, NOW)
    renamed = LISTED | {"u1": Listed("ada@example.com", "Ada King", Presence.ACTIVE)}
    del renamed["u3"]
    state.people.put(HOME, BEGAN + DAY, renamed, {"u1": ADA, "u2": ALAN})
    roll = state.people.read(HOME, NOW + MINUTE)
    assert [line[0] for line in told(roll)] == ["Ada King", "Alan Turing"]
    assert roll.listed == BEGAN + DAY


def test_whoever_changed_and_changed_back_between_two_runs_is_told_as_they_are(state, monkeypatch):
    monkeypatch.setattr(people, "PEOPLE_A_DOCUMENT", 1)  # u3 has another document
    kept(state)
    state.people.read(HOME, NOW)
    write(state, entries={"u1": replace(ADA, status=Status.LOCKED)})
    assert [status for *_, status in told(state.people.read(HOME, NOW + MINUTE))] == ["locked", "active", "none"]
    write(state, entries={"u1": ADA})
    renamed = LISTED | {"u3": Listed("grace@example.com", "Grace Brewster Hopper", Presence.ACTIVE)}
    state.people.put(HOME, NOW + 3650 * DAY, renamed, {"u1": ADA, "u2": ALAN})  # later than every store's own clock
    assert told(state.people.read(HOME, NOW + 2 * MINUTE)) == [
        ("Ada Lovelace", "ada@example.com", True, "active"),
        ("Alan Turing", "alan@example.com", True, "active"),
        ("Grace Brewster Hopper", "grace@example.com", False, "none"),
    ]


def test_what_somebody_is_found_by_is_the_same_however_it_was_read(state):
    names = ("Ada Lovelace", "Zoë Straße", "Ιωάννα Ritchie", "太郎", "", "A\nB\tÇ")
    listed = {
        f"u{number}": Listed(f"{number}@Bücher.example", name, Presence.ACTIVE) for number, name in enumerate(names)
    }
    state.people.put(HOME, BEGAN, listed, {})
    lines = state.people.read(HOME, NOW).lines.all
    assert [line.opened() for line in lines] == sorted(line_of(line.person) for line in lines)
    assert {line[0] for line in lines} >= {"zoe strasse 1@bucher.example\tu1", "4@bucher.example\tu4"}


def test_teams_are_kept_and_followed(state):
    sent = replace(ADA, teams=("t1", "t2"), asked=("t3",))
    write(state, entries={"u1": sent, "u2": ALAN})
    inside = {"u1": ("t1", "t4"), "u2": ("t1",), "u3": ("t1",)}
    listed = {user_id: each._replace(teams=inside[user_id]) for user_id, each in LISTED.items()}
    state.people.put(HOME, BEGAN, listed, {"u1": sent, "u2": ALAN})

    def teams(minutes: int) -> dict[str, list[tuple[str, str]]]:
        people = everybody(state.people.read(HOME, NOW + minutes * MINUTE))
        return {person.user_id: [(team, each.value) for team, each in person.memberships()] for person in people}

    assert teams(0) == {
        "u1": [("t1", "inside"), ("t2", "leaves"), ("t3", "leaves"), ("t4", "joins")],
        "u2": [("t1", "joins")],
        "u3": [("t1", "waits")],
    }
    write(state, entries={"u1": replace(sent, teams=("t1", "t4", "t5"), asked=()), "u2": replace(ALAN, asked=("t1",))})
    assert teams(1) == {
        "u1": [("t1", "inside"), ("t4", "inside"), ("t5", "inside")],
        "u2": [("t1", "asked")],
        "u3": [("t1", "waits")],
    }


def test_they_are_forgotten_with_the_connection(state):
    state.connections.create(HOME)
    kept(state)
    state.connections.purge("c1")
    assert told(state.people.read(HOME, NOW)) == []


@pytest.mark.parametrize("firestore", IN_FIRESTORE, indirect=True)
class TestCost:
    def test_a_run_that_saw_nothing_new_reads_one_document_and_writes_none(self, firestore: Firestore):
        kept(firestore)
        firestore.reads.clear()
        firestore.people.put(HOME, BEGAN + DAY, LISTED, {"u1": ADA, "u2": ALAN})
        assert firestore.reads == {"firestore_reads": 1}

    def test_what_was_made_of_the_same_before_is_not_made_again(self, firestore: Firestore, monkeypatch):
        kept(firestore)
        monkeypatch.setattr(people, "_people", None)
        same = {user_id: Listed(*each) for user_id, each in reversed(LISTED.items())}
        firestore.people.put(HOME, BEGAN + DAY, same, {"u2": replace(ALAN), "u1": replace(ADA)})
        with pytest.raises(TypeError):
            firestore.people.put(HOME, BEGAN + DAY, same, {"u1": ADA, "u2": replace(ALAN, status=Status.LOCKED)})

    def test_what_was_lost_is_written_again(self, firestore: Firestore):
        kept(firestore)
        batch = firestore.client.batch()
        for snapshot in firestore.client.collection("connections/c1/people").stream():
            batch.delete(snapshot.reference)
        batch.commit()
        kept(firestore)
        assert sorted(firestore.collection("c1", "people")) == ["01.00", "head"]

    def test_whoever_looks_again_reads_the_shards_that_changed(self, firestore: Firestore, monkeypatch):
        kept(firestore)
        monkeypatch.setattr(people, "OVERLAP", -timedelta(seconds=30))  # as if it were over
        firestore.people.read(HOME, NOW)
        firestore.reads.clear()
        first = firestore.people.read(HOME, NOW + timedelta(seconds=1))
        assert (first.at, firestore.reads) == (NOW, {})
        firestore.people.read(HOME, NOW + MINUTE)
        assert firestore.reads == {"firestore_reads": 2}  # the head, and an empty query
        monkeypatch.setattr(people, "OVERLAP", timedelta(seconds=30))
        write(firestore, entries={"u2": replace(ALAN, status=Status.SUSPENDED)})
        firestore.reads.clear()
        later = firestore.people.read(HOME, NOW + 2 * MINUTE)
        assert [status for *_, status in told(later)] == ["active", "suspended", "none"]
        assert firestore.reads["firestore_reads"] <= 3  # the shards of the last half minute: u1's may be one

    @pytest.mark.parametrize("index", [b"no zlib", zlib.compress(msgspec.msgpack.encode([["x"], ["u1"], b"\1", [0]]))])
    def test_an_index_that_is_not_of_these_people_is_refused(self, firestore: Firestore, index: bytes):
        kept(firestore)
        document = firestore.database.home("c1").collection("people").document("01.00")
        document.update({"index": index})
        with pytest.raises(ConfigurationRefused, match="A list of people cannot be read"):
            firestore.people.read(HOME, NOW)

    def test_several_connections_are_kept_in_memory_as_far_as_there_is_room(self, firestore: Firestore, monkeypatch):
        several = [replace(HOME, id=f"c{number}") for number in range(8)]
        for connection in several:
            firestore.people.put(connection, BEGAN, LISTED, {})
        for later, at in enumerate((NOW, NOW + timedelta(seconds=1))):
            firestore.reads.clear()
            for connection in several:
                firestore.people.read(connection, at)
            assert bool(firestore.reads) is (later == 0)
        monkeypatch.setattr(people, "KEPT", 2 * len(LISTED))
        firestore.people.read(several[7], NOW)
        firestore.reads.clear()
        firestore.people.read(several[6], NOW)
        assert firestore.reads == {}
        firestore.people.read(several[0], NOW)
        assert firestore.reads

    def test_many_go_into_several_documents(self, firestore: Firestore, monkeypatch):
        monkeypatch.setattr(people, "PEOPLE_A_DOCUMENT", 10)
        many = {
            f"u{number}": Listed(f"{number}@example.com", f"N{number:03d}", Presence.ACTIVE) for number in range(35)
        }
        firestore.people.put(HOME, BEGAN, dict(list(many.items())[:10]), {})
        assert sorted(firestore.collection("c1", "people")) == ["01.00", "head"]
        firestore.people.put(HOME, BEGAN, many, {})
        assert sorted(firestore.collection("c1", "people")) == ["04.00", "04.01", "04.02", "04.03", "head"]
        assert [name for name, *_ in told(firestore.people.read(HOME, NOW))] == [
            f"N{number:03d}" for number in range(35)
        ]
        firestore.reads.clear()
        firestore.people.put(HOME, BEGAN, many | {"u1": Listed("one@example.com", "One", Presence.ACTIVE)}, {})
        assert firestore.reads == {"firestore_reads": 1, "firestore_writes": 2}
