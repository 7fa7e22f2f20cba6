"""The contract of the report of accounts that nobody provisions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.adapters.firestore import unprovisioned
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.events import Actor, Stamp, configured
from autoprovisioning.domain.locks import Lock
from autoprovisioning.domain.unprovisioned import By, Ignored, Offer, Report, Unprovisioned
from tests.contract.state_stores import HOME, Firestore
from tests.support.builders import DAY, NOW

KNOWN = Unprovisioned(
    scim_id="k/1 ü",
    user_name="ada@example.com",
    external_id="u1",
    by=By.EXTERNAL_ID,
    offer=Offer.ALL,
    user_id="u1",
    email="ada@example.com",
    presence=Presence.DELETED,
    since=NOW,
)
WHY = Ignored(scim_id="k/1 ü", note="Payroll's export", by="a@example.com", at=NOW)
STRANGER = Unprovisioned(scim_id="k2", user_name="x@example.com", external_id="")


def test_there_is_none_before_keeper_was_listed(state):
    state.unprovisioned.put("c1", Report(at=NOW, digest="d1", accounts=(KNOWN,)))
    assert state.unprovisioned.get("c2") is None


def test_a_report_replaces_the_one_before(state):
    state.unprovisioned.put("c1", Report(at=NOW, digest="d1", accounts=(KNOWN, STRANGER)))
    assert state.unprovisioned.get("c1") == Report(at=NOW, digest="d1", accounts=(KNOWN, STRANGER))
    state.unprovisioned.put("c1", Report(at=NOW + DAY, digest="d2"))
    assert state.unprovisioned.get("c1") == Report(at=NOW + DAY, digest="d2")


def test_it_is_forgotten_with_the_connection(state):
    state.connections.create(HOME)
    state.unprovisioned.put("c1", Report(at=NOW, digest="d1", accounts=(KNOWN,)))
    state.connections.purge("c1")
    assert state.unprovisioned.get("c1") is None


def test_those_that_are_ignored_are_kept_beside_each_report(state):
    state.connections.create(HOME)
    told = configured(Stamp(id="e1", at=NOW, by=Actor(address="a@example.com")), "Ignores 1 account")
    assert state.unprovisioned.ignored("c1") == {}
    state.unprovisioned.ignore("c1", lambda known: {**known, "k/1 ü": WHY}, told)
    state.unprovisioned.put("c1", Report(at=NOW, digest="d1", accounts=(KNOWN,)))
    state.unprovisioned.ignore("c1", lambda known: known, replace(told, id="e2"))
    assert state.unprovisioned.ignored("c1") == {"k/1 ü": WHY}
    assert state.unprovisioned.ignored("c2") == {}
    assert "e1" in state.audited("c1")
    assert "e2" not in state.audited("c1")
    state.unprovisioned.ignore("c1", lambda _known: {}, replace(told, id="e3"))
    assert state.unprovisioned.ignored("c1") == {}
    state.unprovisioned.ignore("c1", lambda known: {**known, "k2": WHY}, replace(told, id="e4"))
    state.connections.purge("c1")
    assert state.unprovisioned.ignored("c1") == {}


def test_locks_are_kept_beside_each_report_with_their_events(state):
    state.connections.create(HOME)
    lock = Lock(account=KNOWN, by="a@example.com", at=NOW, administrator=True)
    told = configured(Stamp(id="e1", at=NOW, by=Actor(address="a@example.com")), "Chose 1 account")
    assert state.unprovisioned.locks("c1") == {}
    state.unprovisioned.change_locks("c1", lambda known: ({**known, lock.key: lock}, [told]))
    state.unprovisioned.put("c1", Report(at=NOW, digest="d1", accounts=(KNOWN,)))
    assert state.unprovisioned.locks("c1") == {"k/1 ü": lock}
    assert (state.unprovisioned.locks("c2"), state.unprovisioned.ignored("c1")) == ({}, {})
    state.unprovisioned.change_locks("c1", lambda known: (known, [replace(told, id="e2")]))
    assert state.audited("c1") == {"e1"}
    done = replace(lock, locked_at=NOW + DAY, approved_by="b@example.com", change_id="x", until=NOW, unlock_by="c")
    state.unprovisioned.change_locks("c1", lambda _known: ({lock.key: done}, ()))
    assert state.unprovisioned.locks("c1") == {"k/1 ü": done}
    state.connections.purge("c1")
    assert state.unprovisioned.locks("c1") == {}


@pytest.mark.emulator
def test_many_go_into_several_documents(firestore: Firestore, monkeypatch):
    monkeypatch.setattr(unprovisioned, "ROWS_A_DOCUMENT", 3)
    monkeypatch.setattr(unprovisioned, "MOST_DOCUMENTS", 3)
    rows = tuple(replace(STRANGER, scim_id=f"k{number}") for number in range(20))
    firestore.unprovisioned.put("c1", Report(at=NOW, digest="d1", accounts=rows[:8]))
    assert firestore.unprovisioned.get("c1") == Report(at=NOW, digest="d1", accounts=rows[:8])
    firestore.unprovisioned.put("c1", Report(at=NOW, digest="d2", accounts=rows))
    assert firestore.unprovisioned.get("c1") == Report(at=NOW, digest="d2", accounts=rows[:9])
    assert sorted(firestore.collection("c1", "unprovisioned")) == ["0000", "0001", "0002"]
