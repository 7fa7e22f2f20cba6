"""What is wrong shows at once: an outage, lasting failures, broken listings, and changes that were not done."""

from __future__ import annotations

from typing import Any

import pytest

from infra.local.simulation import wait_for
from infra.local.sync import exit_status, synchronize
from tests.support.system import GROUP_ID, System, customer

UPDATED = "Update Auto Provisioned User"


def sync(system: System) -> tuple[int, dict[str, Any], str]:
    """Synchronize as `make sync` does; returns its exit status, its line, and what it says beside."""
    said: list[str] = []
    summary = synchronize(system.world.cloud.url("reconcile"), "full", said.append)
    undone, paused = summary.pop("_undone"), summary.pop("_paused")
    return exit_status(summary, undone=undone, paused=paused), summary, "\n".join(said)


def concerns(system: System) -> str:
    health = system.api("GET", "/connections/keeper/health").json()
    return " ".join(concern["what"] for concern in health["concerns"])


def overview(system: System) -> str:
    return system.through_proxy("GET", "/connections/keeper").text


def test_keeper_that_answers_503_to_everything_is_told_of_at_once(system):
    system.restored()
    assert "Syncing active." in overview(system)
    system.keeper.fault(match={"path": "/"}, status=503, times=None)
    status, _, said = sync(system)
    assert status == 1
    assert "ended as refused" in said
    assert "The last full run could not be planned, so nothing was changed" in concerns(system)
    page = overview(system)
    assert "Syncing active." not in page
    assert "could not be planned" in page
    assert system.ask("reconcile", body=b'{"kind": "sweep"}').status == 200
    assert '"alert": "run_not_done"' in system.log("reconcile")
    system.keeper.control("DELETE", "faults")
    assert sync(system)[0] == 0
    assert "could not be planned" not in concerns(system)


def test_creations_that_keeper_always_fails_on_are_never_done_with_exit_0(system):
    system.directory.control("PUT", "state", customer(30))
    system.keeper.settings(bulk=False)
    system.keeper.fault(match={"method": "POST", "path": "/Users$"}, status=500, times=None)
    system.connect()
    for _ in range(2):
        status, summary, said = sync(system)
        assert status == 1
        assert summary["created"] == 0
    # A Keeper that fails on all is left alone for a while, and looks come again later and later.
    wait_for(lambda: "30 users fail" in concerns(system), "everybody's failure", 150)
    status, summary, said = sync(system)
    assert (status, summary["failed"]) == (1, 30)
    assert said.count("@example.com fails (") == 10
    assert "... and 20 more: Failures in the console lists all 30." in said
    system.keeper.control("DELETE", "faults")
    wait_for(lambda: sync(system)[0] == 0, "everybody's account", 90)
    assert len(system.active()) == 30


def test_renames_that_keeper_did_not_do_leave_no_line_that_says_so(system):
    system.restored()
    system.keeper.settings(bulk=False)
    system.directory.weather(lose=True)
    for number in range(1, 12):
        system.directory.patch(f"u{number}", {"name": {"familyName": "Renamed"}})
    system.keeper.fault(match={"method": "PATCH", "path": "/Users/"}, status=500, times=None)
    sync(system)
    status, summary, _ = sync(system)
    assert (status, summary["updated"]) == (1, 0)
    assert [event for event in system.events() if event["name"] == UPDATED] == []
    system.keeper.control("DELETE", "faults")
    wait_for(lambda: sync(system)[0] == 0, "everybody in step", 60)
    assert {system.account(f"u{number}")["name"]["familyName"] for number in range(1, 12)} == {"Renamed"}
    told = [(event["user_id"], event["recovered"]) for event in system.events() if event["name"] == UPDATED]
    assert sorted(told) == sorted((f"u{number}", False) for number in range(1, 12))


def test_renames_of_which_nothing_is_known_are_told_from_what_was_sent(system):
    """The node never shows one of the attributes, which therefore says nothing of what was done."""
    system.keeper.settings(normalization={"dropped": ["displayName"]})  # in Bulk, whose answers show no account
    system.provisioned()
    system.directory.weather(lose=True)
    for number in range(1, 7):
        system.directory.patch(f"u{number}", {"name": {"familyName": "Renamed", "fullName": f"New {number}"}})
    system.keeper.fault(match={"method": "(PATCH|POST)", "path": "/(Users|Bulk)"}, status=500, times=None)
    system.keeper.fault(match={"method": "GET", "path": "/Users/"}, status=500, times=None)
    system.world.reconcile()
    wait_for(lambda: all(system.entry(f"u{number}").mark for number in range(1, 7)), "the marks", 30)
    system.keeper.control("DELETE", "faults")
    wait_for(lambda: sync(system)[0] == 0, "everybody in step", 90)
    told = [(event["user_id"], event["recovered"]) for event in system.events() if event["name"] == UPDATED]
    assert sorted(told) == sorted((f"u{number}", False) for number in range(1, 7))


BROKEN = [
    {"method": "users.list", "from_page": 200},
    {"method": "users.list", "deleted": True},
    {"method": "members.list", "from_page": 200},
]


@pytest.mark.parametrize("listing", BROKEN, ids=["users", "deleted users", "members"])
def test_a_listing_that_broke_off_is_never_exit_0(system, listing):
    system.directory.control("PUT", "state", customer(510))
    system.provisioned()
    system.directory.weather(lose=True)
    system.directory.patch("u3", {"suspended": True})
    system.directory.fault(match=listing, status=500, times=None)
    status, _, said = sync(system)
    assert status == 1
    assert "lacked complete listings" in said


def test_an_empty_listing_beside_active_accounts_is_never_exit_0(system):
    system.restored()
    system.directory.fault(match={"method": "users.list"}, empty=True, times=None)
    status, _, said = sync(system)
    assert status in (1, 2)
    assert "The directory's listing of users is empty, although 12 of this connection's accounts are active" in said
    assert "Leavers who keep their access: 12" in said


def test_an_emptied_scope_group_is_told_of(system):
    system.restored()
    for number in range(12):
        system.directory.leave(GROUP_ID, f"u{number}")
    status, summary, said = sync(system)
    assert (status, summary["held"]) == (2, 12)
    assert "Scope group keeper-users@example.com is empty" in said
    assert "Leavers who keep their access: 12 (held, or waiting for complete listings: 12; failing: 0)." in said


def test_a_scope_group_that_is_gone_is_never_exit_0(system):
    system.restored()
    system.directory.call("DELETE", f"groups/{GROUP_ID}")
    status, summary, said = sync(system)
    assert (status, summary["suspended"]) == (1, 0)
    assert "Scope group keeper-users@example.com could not be read" in said
    assert "lacked complete listings" in said
    assert "could not read the directory to its end" in concerns(system)


def test_a_chosen_organizational_unit_that_is_gone_is_never_exit_0(system):
    system.directory.patch("u1", {"orgUnitPath": "/Sales"})
    system.provisioned((), org_units=("/Sales",))
    system.directory.patch("u1", {"orgUnitPath": "/"})
    system.directory.delete_unit("/Sales")
    status, summary, said = sync(system)
    assert (status, summary["suspended"]) == (1, 0)
    assert "The organizational unit /Sales is no longer in the directory" in said
