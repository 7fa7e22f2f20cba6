"""The drift run: whom it reads of the directory, what it repairs, and what it leaves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.runs import drift
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.entry import Status
from autoprovisioning.domain.runs import RunKind, RunState
from infra.local.sync import together
from tests.support.builders import active
from tests.support.scenario import LATER, Office
from tests.support.settings import with_settings


def tamper(office: Office, user_id: str, **changes: object) -> None:
    (account,) = office.keeper.of(user_id)
    office.keeper.accounts[account.scim_id] = replace(account, **changes)


def rename(office: Office, user_id: str) -> None:
    (account,) = office.keeper.of(user_id)
    tamper(office, user_id, attributes={**account.attributes, "displayName": "Somebody"})


def names(office: Office) -> set[object]:
    return {account.attributes["displayName"] for account in office.keeper.accounts.values()}


def run(office: Office):
    office.desk.clock.advance(LATER)
    done = office.plan(RunKind.DRIFT)
    office.work_off()
    return office.services.runs.get("c1", done.id)


@pytest.fixture
def listings(office, monkeypatch) -> list[int]:
    """Grows with each listing of the directory's users."""
    listed: list[int] = []
    users = office.directory.users
    monkeypatch.setattr(office.directory, "users", lambda fields: listed.append(1) or users(fields))
    return listed


def test_more_than_can_be_read_alone_are_listed_and_repaired_all_the_same(office, monkeypatch, listings):
    monkeypatch.setattr(drift, "ONE_BY_ONE", 1)
    rename(office, "u1")
    run(office)
    assert listings == []
    rename(office, "u2")
    rename(office, "u3")
    run(office)
    assert listings == [1]
    assert names(office) == {"New Byron"}


def test_who_cannot_be_proven_to_be_gone_by_one_answer_takes_a_listing(office, listings):
    office.delete("u1")
    office.run()
    office.directory.removed.clear()
    tamper(office, "u1", active=True)
    listings.clear()
    run(office)
    assert (listings, active(office, "u1")) == ([1], [False])


def test_a_directory_that_cannot_be_read_refuses_the_run(office, monkeypatch):
    from autoprovisioning.domain.errors import Transient

    def down(*_: object) -> None:
        raise Transient("503")

    rename(office, "u1")
    monkeypatch.setattr(office.directory, "user", down)
    monkeypatch.setattr(office.directory, "users", down)
    office.desk.clock.advance(LATER)
    with pytest.raises(Transient):
        office.plan(RunKind.DRIFT)
    (last,) = [run for run in office.desk.store.runs["c1"].values() if run.kind is RunKind.DRIFT]
    assert last.state is RunState.REFUSED


def test_the_reason_outlives_a_hold(office):
    for user_id in ("u1", "u2"):
        office.suspend(user_id)
    office.run()
    limit = replace(office.connection.settings.limit, minimum=1)
    office.services.connections.change("c1", lambda current: with_settings(current, limit=limit))
    office.desk.clock.advance(timedelta(days=2))
    for user_id in ("u1", "u2"):
        tamper(office, user_id, active=True)
    run(office)
    assert [active(office, user_id) for user_id in ("u1", "u2")] == [[True], [True]]
    office.services.connections.change("c1", lambda current: with_settings(current, limit=replace(limit, minimum=9)))
    office.desk.clock.advance(LATER)
    office.run()
    told = [event.reason for event in office.desk.store.events["c1"].values() if event.user_id == "u1"]
    assert told[-1] == "Changed in Keeper by somebody else, where was found: the account was active."


def test_what_is_found_is_told_once(office):
    tamper(office, "u1", active=False)
    assert "Accounts that somebody else changed in Keeper: 1 (1 locked)" in run(office).notes
    assert not any("somebody else changed" in note for note in run(office).notes)
    assert office.entry("u1").status is Status.LOCKED


def test_a_leaver_in_the_grace_period_is_remembered_as_vanished_and_gets_no_account(office):
    week = Delays(suspend_after=7)
    policy = Deprovisioning(app_off=week, suspended=week, deleted=week)
    office.services.connections.change("c1", lambda current: with_settings(current, deprovisioning=policy))
    office.suspend("u1")
    office.run()
    (account,) = office.keeper.of("u1")
    del office.keeper.accounts[account.scim_id]
    assert "1 vanished" in run(office).notes[0]
    assert (run(office).notes, active(office, "u1")) == ((), [])
    office.restore("u1")
    office.desk.clock.advance(LATER)
    office.run()
    assert active(office, "u1") == [True]


def test_an_account_that_is_there_again_has_not_vanished(office):
    (account,) = office.keeper.of("u1")
    limit = replace(office.connection.settings.limit, minimum=0, percent=0.0)
    office.services.connections.change("c1", lambda current: with_settings(current, limit=limit))
    del office.keeper.accounts[account.scim_id]
    run(office)
    assert office.entry("u1").drift == ("account",)
    office.keeper.accounts[account.scim_id] = account
    run(office)
    office.run()
    assert (office.entry("u1").drift, office.keeper.of("u1")) == ((), [account])


def test_two_summaries_make_one():
    first = {"updated": 1, "unchanged": 9, "failed": 2, "held": 0, "scim_requests": {"GET": 1}, "_undone": False}
    second = {"updated": 2, "unchanged": 9, "failed": 1, "held": 3, "scim_requests": {"GET": 2, "PATCH": 1}}
    assert together(first | {"_paused": False}, second | {"_undone": True, "_paused": False}) == {
        "updated": 3,
        "unchanged": 9,
        "failed": 2,
        "held": 3,
        "scim_requests": {"GET": 3, "PATCH": 1},
        "_undone": True,
        "_paused": False,
    }
