"""The contract of the list of what somebody else changed in Keeper."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.adapters.firestore import keeper_changes
from autoprovisioning.domain.entry import Action
from autoprovisioning.domain.keeper_changes import KEPT, MOST_KEPT, KeeperChange
from tests.contract.state_stores import HOME, Firestore
from tests.support.builders import DAY, NOW

RENAMED = KeeperChange(
    user_id="u1",
    email="ada@example.com",
    scim_id="k/1 ü",
    at=NOW,
    run_id="r1",
    found={"title": None, "active": True},
    before={"title": "Ünïcode", "active": False},
    repair=Action.UPDATE,
)
GONE = KeeperChange(user_id="u2", email="", scim_id="k2", at=NOW + DAY, run_id="r2", gone=True)


def test_the_newest_come_first_and_each_connection_has_its_own(state):
    assert list(state.keeper_changes.get("c1")) == []
    state.keeper_changes.add("c1", [RENAMED], NOW)
    state.keeper_changes.add("c1", [GONE], NOW + DAY)
    assert list(state.keeper_changes.get("c1")) == [GONE, RENAMED]
    assert list(state.keeper_changes.get("c2")) == []


def test_the_old_and_those_beyond_the_limit_are_left_out(state):
    state.keeper_changes.add("c1", [RENAMED, GONE], NOW + DAY)
    state.keeper_changes.add("c1", [], NOW + KEPT)
    assert list(state.keeper_changes.get("c1")) == [GONE]
    many = [replace(RENAMED, user_id=f"u{number}", at=NOW + DAY) for number in range(MOST_KEPT)]
    state.keeper_changes.add("c1", many, NOW + 2 * DAY)
    assert list(state.keeper_changes.get("c1")) == many


def test_they_are_forgotten_with_the_connection(state):
    state.connections.create(HOME)
    state.keeper_changes.add("c1", [RENAMED], NOW)
    state.connections.purge("c1")
    assert list(state.keeper_changes.get("c1")) == []


@pytest.mark.emulator
def test_a_document_takes_the_newest_that_fit(firestore: Firestore, monkeypatch):
    monkeypatch.setattr(keeper_changes, "MOST_BYTES", 2_000)
    many = [replace(RENAMED, user_id=f"u{number}", at=NOW - timedelta(seconds=number)) for number in range(99)]
    firestore.keeper_changes.add("c1", many, NOW)
    kept = list(firestore.keeper_changes.get("c1"))
    assert kept == many[: len(kept)]
    assert 5 < len(kept) < 20
