"""The contract of confirmed adoptions."""

from __future__ import annotations

import threading

from autoprovisioning.adapters.firestore import adoptions
from autoprovisioning.domain.events import EventName
from tests.contract.state_stores import HOME, Firestore, State, event
from tests.support.builders import NOW

BOSS = "boss@example.com"


def confirm(state: State, *pairs: tuple[str, str], told: str = "e1") -> None:
    state.adoptions.confirm("c1", pairs, BOSS, NOW, event(told, EventName.CONFIGURED))


def test_nothing_is_confirmed_on_a_connection_nobody_confirmed_anything_on(state):
    confirm(state, ("u1", "k1"))
    assert state.adoptions.confirmed("c2") == {}


def test_pairs_add_up_and_are_told_with_their_event(state):
    confirm(state, ("u1", "k1"), ("u2", "k/2 ü"))
    confirm(state, ("u1", "k3"), told="e2")
    assert state.adoptions.confirmed("c1") == {"u1": {"k1", "k3"}, "u2": {"k/2 ü"}}
    assert state.audited("c1") == {"e1", "e2"}


def test_what_is_confirmed_already_is_neither_kept_nor_told_twice(state):
    confirm(state, ("u1", "k1"))
    confirm(state, ("u1", "k1"), told="e2")
    assert state.adoptions.confirmed("c1") == {"u1": {"k1"}}
    assert state.audited("c1") == {"e1"}


def test_they_are_forgotten_with_the_connection(state):
    state.connections.create(HOME)
    confirm(state, ("u1", "k1"))
    state.connections.purge("c1")
    assert state.adoptions.confirmed("c1") == {}
    assert state.audited("c1") == {"e1"}


class TestDocuments:
    def documents(self, firestore: Firestore) -> list[str]:
        return sorted(firestore.collection("c1", "adoptions"))

    def test_more_than_a_document_holds_go_into_several_and_the_last_is_filled_up(self, firestore, monkeypatch):
        monkeypatch.setattr(adoptions, "PAIRS_A_DOCUMENT", 3)
        confirm(firestore, *((f"u{number}", f"k{number}") for number in range(4)))
        assert self.documents(firestore) == ["0000", "0001"]
        confirm(firestore, *((f"u{number}", f"k{number}") for number in range(7)), told="e2")
        assert self.documents(firestore) == ["0000", "0001", "0002"]
        assert firestore.adoptions.confirmed("c1") == {f"u{number}": {f"k{number}"} for number in range(7)}
        assert firestore.audited("c1") == {"e1", "e2"}

    def test_the_longest_ids_of_as_many_as_fit_are_stored(self, firestore):
        pairs = [(f"{number:021}", f"{number:0256}") for number in range(5_000)]
        confirm(firestore, *pairs)
        assert firestore.adoptions.confirmed("c1") == {user_id: {scim_id} for user_id, scim_id in pairs}
        assert len(self.documents(firestore)) == 3

    def test_who_confirms_at_the_same_time_loses_nothing(self, firestore):
        threads = [
            threading.Thread(target=confirm, args=(firestore, (f"u{number}", "k1")), kwargs={"told": f"e{number}"})
            for number in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(firestore.adoptions.confirmed("c1")) == {f"u{number}" for number in range(6)}
        assert len(firestore.audited("c1")) == 6
