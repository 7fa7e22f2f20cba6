"""Two connections whose nodes are of one Keeper: an e-mail address is taken on both, and DELETE only locks."""

from __future__ import annotations

import pytest

from infra.local.connect import CONNECTION
from infra.local.simulation import KeeperSide, wait_for
from tests.functional.test_connections import OTHER_GROUP, OTHER_ID, SECOND, active, documents, entry, set_up
from tests.support.system import GROUP_ID, System, person


@pytest.fixture
def other(system):
    """A second node of the same Keeper, and a scope group for it, of which u20 and u21 are members."""
    side = system.keeper.beside("4243")
    state = system.directory.control("GET", "state")
    state["groups"].append({"id": OTHER_ID, "email": OTHER_GROUP, "name": "Other users"})
    state["users"] += [person(20), person(21)]
    state["members"][OTHER_ID] = [
        {"id": f"u{number}", "email": f"person{number}@example.com", "type": "USER", "role": "MEMBER"}
        for number in (20, 21)
    ]
    system.directory.control("PUT", "state", state)
    yield side
    side.rotate()
    system.keeper.alone()


@pytest.fixture
def both(system, other) -> tuple[System, KeeperSide]:
    """Two connections that have provisioned everybody, and a live notification channel."""
    system.connect()
    set_up(system, other, SECOND, OTHER_GROUP)
    summary = system.sync()
    assert (summary["created"], summary["failed"]) == (14, 0)
    system.world.watch_directory()
    return system, other


def sweep(system: System) -> int:
    return int(system.ask("reconcile", body=b'{"kind": "sweep"}').json()["looked_at"])


def test_who_is_also_put_into_the_first_connections_group_keeps_access_where_they_have_it(both):
    system, other = both
    system.directory.join(GROUP_ID, "u20")
    assert sweep(system) == 0
    system.directory.patch("u20", {"name": {"familyName": "Stays"}})
    wait_for(lambda: other.of("u20")["name"]["familyName"] == "Stays", "the change where the account is")
    assert system.sync()["failed"] == 0
    assert active(other) == {"u20", "u21"}
    known = entry(system, CONNECTION, "u20")
    assert known is None or (known.scim_id, known.failure, known.in_scope) == ("", None, False)
    posted = [seen for seen in system.keeper.requests()["log"] if "person20@example.com" in seen["body"]]
    assert posted == [], "no attempt, and so no 409, on the first"


def test_who_moves_keeps_access_until_an_administrator_moves_the_account_and_then_has_it_there(both):
    system, other = both
    system.directory.join(GROUP_ID, "u20")
    system.directory.leave(OTHER_ID, "u20")
    assert sweep(system) == 1
    wait_for(lambda: entry(system, CONNECTION, "u20") and entry(system, CONNECTION, "u20").failure, "the refusal")
    wait_for(lambda: system.look("u20") == 204, "quiet")
    system.sync()
    assert active(other) == {"u20", "u21"}
    text = entry(system, CONNECTION, "u20").failure.text
    assert text.startswith("person20@example.com is the address of this user's own account on the connection second.")

    account = other.of("u20")["id"]
    system.keeper.take(account)
    assert system.ask("reconcile", body=b'{"kind": "full", "retry_failures": true}').status == 200
    wait_for(lambda: entry(system, CONNECTION, "u20").scim_id == account, "the adoption")
    wait_for(lambda: system.look("u20") == 204, "quiet")
    for _ in range(2):
        system.sync()
    assert entry(system, SECOND, "u20") is None
    assert (system.account("u20")["id"], system.account("u20")["active"]) == (account, True)


def test_whom_we_locked_on_one_node_we_let_in_again_on_the_other(both):
    system, other = both
    system.directory.leave(OTHER_ID, "u20")
    assert sweep(system) == 1
    wait_for(lambda: active(other) == {"u21"}, "the lock")
    wait_for(lambda: system.look("u20") == 204, "quiet")
    account = other.of("u20")["id"]
    system.keeper.take(account)
    system.directory.join(GROUP_ID, "u20")
    assert sweep(system) == 1
    after = system.await_account("u20", lambda found: found["active"])
    assert after["id"] == account
    wait_for(lambda: entry(system, CONNECTION, "u20").status.value == "active", "the record of it")


def test_a_deleted_scope_group_of_the_first_does_not_stop_hiring_on_the_second(both):
    system, other = both
    system.directory.call("DELETE", f"groups/{GROUP_ID}")
    system.directory.weather(lose=True)  # or a notification may come before the sweep
    system.directory.insert(person(30))
    system.directory.join(OTHER_ID, "u30")
    assert sweep(system) == 1
    wait_for(lambda: "u30" in active(other), "the new account")
    system.directory.insert(person(31))
    system.directory.join(OTHER_ID, "u31")
    system.sync()
    assert active(other) == {"u20", "u21", "u30", "u31"}
    assert len(active(system.keeper)) == 12
    runs = documents(system, f"connections/{CONNECTION}/runs")
    assert any("could not be read" in note for run in runs for note in run["notes"])
