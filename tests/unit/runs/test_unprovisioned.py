"""Accounts that nobody provisions: each drift listing tells whose they are, and leavers among them lose access."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.administration.take_over import take_over
from autoprovisioning.app.ports.claims import Claim
from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Action, Entry, Mark, Status
from autoprovisioning.domain.errors import BadInput, Incomplete, NotFound
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.unprovisioned import By, Offer, Report
from tests.support.builders import active, notice
from tests.support.scenario import LATER, Office
from tests.support.settings import with_settings

ACTOR = Actor(address="boss@example.com", directory_id="u0")


def drift(office: Office) -> Report:
    """List Keeper; returns what was found."""
    office.desk.clock.advance(LATER)
    office.plan(RunKind.DRIFT)
    office.work_off()
    report = office.services.unprovisioned.get("c1")
    assert report is not None
    return report


def lose_the_roster(office: Office) -> None:
    office.desk.store.shards.clear()


@pytest.fixture
def lost(office):
    """A leaver of every kind whose account is active, and no roster."""
    office.hire("u4", "dan@example.com")
    notice(office, "u4", "add")
    office.suspend("u1")
    office.delete("u2")
    office.leave("u3")
    lose_the_roster(office)
    office.desk.clock.advance(timedelta(days=2))
    office.run()
    assert [active(office, user_id) for user_id in ("u1", "u2", "u3")] == [[True]] * 3
    return office


def test_after_the_roster_was_lost_every_leaver_is_found_by_their_id(lost):
    report = drift(lost)
    assert [(row.user_id, row.by, row.offer, row.presence) for row in report.accounts] == [
        ("u1", By.EXTERNAL_ID, Offer.ALL, Presence.SUSPENDED),
        ("u2", By.EXTERNAL_ID, Offer.ALL, Presence.DELETED),
        ("u3", By.EXTERNAL_ID, Offer.CHOSEN, Presence.ACTIVE),
    ]
    run = max(lost.desk.store.runs["c1"].values(), key=lambda run: run.started)
    assert "Active accounts in Keeper that nobody provisions: 3, 2 of them of people who left" in run.notes


def test_what_is_offered_together_is_deprovisioned_and_the_rest_stays(lost):
    drift(lost)
    assert take_over(lost.services, "c1", None, ACTOR) == 2
    lost.run()
    assert [active(lost, user_id) for user_id in ("u1", "u2", "u3", "u4")] == [[False], [False], [True], [True]]
    assert [row.user_id for row in drift(lost).accounts] == ["u3"]
    assert take_over(lost.services, "c1", None, ACTOR) == 0


def test_who_is_out_of_scope_is_taken_over_only_if_chosen(lost):
    rows = {row.user_id: row.scim_id for row in drift(lost).accounts}
    assert take_over(lost.services, "c1", [rows["u3"]], ACTOR) == 1
    lost.run()
    assert [active(lost, user_id) for user_id in ("u1", "u3")] == [[True], [False]]


def test_an_account_that_is_being_adopted_at_this_moment_is_left_out(lost):
    (first, *_) = drift(lost).accounts
    now = lost.desk.clock.now
    mark = Mark(change_id="c9", message_id="m9", action=Action.CREATE, until=now + timedelta(minutes=1))
    at_it = Edit(entries={"u9": Entry(user_id="u9", mark=mark)})
    lost.services.roster.commit(lost.connection, ["u9"], lambda _known: (at_it, None))
    lost.services.claims.claim("c1", first.scim_id, Claim(user_id="u9", change_id="c9"))
    assert take_over(lost.services, "c1", [first.scim_id], ACTOR) == 0
    entry = lost.entry(first.user_id)
    assert entry is not None
    assert entry.scim_id == ""


def test_timers_run_from_the_directorys_own_time_and_nothing_is_renamed_meanwhile(lost):
    week = Delays(suspend_after=7)
    policy = Deprovisioning(app_off=week, suspended=week, deleted=week)
    lost.services.connections.change("c1", lambda current: with_settings(current, deprovisioning=policy))
    before = lost.keeper.of("u1")
    lost.rename("u1", "Renamed")
    drift(lost)
    take_over(lost.services, "c1", None, ACTOR)
    lost.run()
    lost.desk.clock.advance(timedelta(days=4))
    lost.run()
    assert lost.keeper.of("u1") == before
    lost.desk.clock.advance(timedelta(days=1))
    lost.run()
    (account,) = lost.keeper.of("u1")
    assert (account.active, account.attributes) == (False, before[0].attributes)


def test_above_the_limit_they_are_one_held_plan():
    office = Office(limit=2)
    for number in range(10, 14):
        office.keeper.seed(f"x{number}@example.com", f"u{number}")
        office.hire(f"u{number}", f"x{number}@example.com")
        office.suspend(f"u{number}")
    office.run()
    drift(office)
    assert take_over(office.services, "c1", None, ACTOR) == 4
    office.run()
    (hold,) = office.services.holds.standing("c1")
    assert hold.counts() == {"suspend": 4}
    assert all(active(office, f"u{number}") == [True] for number in range(10, 14))


def test_by_address_only_if_chosen_and_never_by_an_alias(office):
    office.hire("u4", "dan@example.com")
    office.alias("u4", "danny@example.com")
    office.suspend("u4")
    primary = office.keeper.seed("dan@example.com")
    alias = office.keeper.seed("danny@example.com")
    report = drift(office)
    assert {row.user_name: (row.by, row.offer) for row in report.accounts} == {
        "dan@example.com": (By.ADDRESS, Offer.CHOSEN),
        "danny@example.com": (By.NOTHING, Offer.NONE),
    }
    assert take_over(office.services, "c1", None, ACTOR) == 0
    with pytest.raises(BadInput, match="not offered"):
        take_over(office.services, "c1", [alias.scim_id], ACTOR)
    assert take_over(office.services, "c1", [primary.scim_id], ACTOR) == 1
    office.run()
    assert not office.keeper.accounts[primary.scim_id].active
    assert office.keeper.accounts[alias.scim_id].active


def test_an_address_that_passed_to_somebody_else_is_theirs(office):
    office.delete("u1")
    notice(office, "u1", "delete")
    office.hire("u4", "ada@example.com")
    office.leave("u4")
    second = office.keeper.seed("eve@example.com")
    lose_the_roster(office)
    (row,) = [row for row in drift(office).accounts if row.scim_id == second.scim_id]
    assert (row.by, row.offer) == (By.NOTHING, Offer.NONE)


def test_an_account_unlocked_when_its_owner_was_long_forgotten_is_found(office):
    office.delete("u1")
    notice(office, "u1", "delete")
    (account,) = office.keeper.of("u1")
    office.directory.removed.clear()
    office.desk.clock.advance(timedelta(days=31))
    office.run()
    assert office.entry("u1") is None
    office.keeper.accounts[account.scim_id] = replace(account, active=True)
    (row,) = drift(office).accounts
    assert (row.by, row.offer, row.user_id) == (By.UNKNOWN_ID, Offer.CHOSEN, "u1")
    take_over(office.services, "c1", [row.scim_id], ACTOR)
    office.run()
    office.run()
    assert active(office, "u1") == [False]


def test_who_is_about_to_be_adopted_is_no_part_of_it(office):
    office.keeper.seed("dan@example.com")
    office.hire("u4", "dan@example.com")
    assert drift(office).accounts == ()


def test_a_second_account_is_told_and_not_offered(office):
    office.keeper.seed("second@example.com", "u1")
    (row,) = drift(office).accounts
    assert (row.user_id, row.by, row.offer) == ("u1", By.EXTERNAL_ID, Offer.NONE)


def test_the_directory_is_listed_for_it_only_when_there_is_something_new(office, monkeypatch):
    office.keeper.seed("stranger@example.com")
    drift(office)
    listed = []
    users = office.directory.users
    monkeypatch.setattr(office.directory, "users", lambda fields: listed.append(1) or users(fields))
    drift(office)
    assert listed == []
    office.keeper.seed("another@example.com")
    assert len(drift(office).accounts) == 2
    assert listed == [1]
    office.desk.clock.advance(timedelta(days=1))
    drift(office)
    assert listed == [1, 1]


def test_a_listing_that_breaks_off_tells_nothing(lost):
    lost.directory.broken_after = 1
    lost.desk.clock.advance(LATER)
    lost.plan(RunKind.DRIFT)
    assert lost.services.unprovisioned.get("c1") is None
    with pytest.raises(NotFound):
        take_over(lost.services, "c1", None, ACTOR)


def test_who_came_back_is_provisioned_again(lost):
    drift(lost)
    take_over(lost.services, "c1", None, ACTOR)
    lost.run()
    lost.restore("u1")
    lost.rename("u1", "Back")
    lost.run()
    lost.run()
    (account,) = lost.keeper.of("u1")
    assert (account.active, account.attributes["name.givenName"]) == (True, "Back")
    assert (lost.entry("u1").status, lost.entry("u1").taken_over) == (Status.ACTIVE, False)


def test_an_account_taken_over_by_address_is_theirs_once_they_are_in_scope_and_untouched_before(office, monkeypatch):
    policy = Deprovisioning(app_off=Delays(suspend_after=30))
    office.services.connections.change("c1", lambda current: with_settings(current, deprovisioning=policy))
    office.hire("u4", "dan@example.com")
    office.leave("u4")
    primary = office.keeper.seed("dan@example.com")
    drift(office)
    take_over(office.services, "c1", [primary.scim_id], ACTOR)
    unknown = office.directory.is_member
    monkeypatch.setattr(office.directory, "is_member", silent)
    notice(office, "u4")
    assert office.keeper.accounts[primary.scim_id] == primary
    monkeypatch.setattr(office.directory, "is_member", unknown)
    office.run()
    assert office.keeper.accounts[primary.scim_id] == primary
    office.join("u4")
    office.run()
    account = office.keeper.accounts[primary.scim_id]
    assert (account.external_id, account.attributes["name.givenName"]) == ("u4", "New")
    assert (office.entry("u4").status, office.entry("u4").taken_over) == (Status.ACTIVE, False)


def silent(_group_id: str, _user_id: str) -> bool:
    raise Incomplete("the directory does not tell")


def test_each_one_has_its_line_in_the_audit(lost):
    drift(lost)
    take_over(lost.services, "c1", None, ACTOR)
    told = [event for event in lost.desk.store.events["c1"].values() if event.actor == ACTOR.address]
    assert {(event.user_id, event.name.value) for event in told} == {
        ("u1", "Adopt User By Auto Provisioning"),
        ("u2", "Adopt User By Auto Provisioning"),
    }
    assert all("Taken over to be deprovisioned" in event.reason for event in told)
