"""Runs over a directory that is large enough to be listed in parts: nobody loses access because a part lacks them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.app.runs import list_users
from autoprovisioning.domain import listing_parts
from autoprovisioning.domain.directory_user import DirectoryUser
from autoprovisioning.domain.errors import Incomplete, NotSent, Rejected
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.holds import Standing
from autoprovisioning.domain.runs import RunKind, RunState
from autoprovisioning.domain.settings import VolumeLimit
from tests.support.scenario import LATER, Scenario
from tests.support.settings import with_settings

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def scenario(monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """Everybody has an account, and the next listing is one in parts."""
    monkeypatch.setattr(listing_parts, "SMALL", 1)
    monkeypatch.setattr(listing_parts, "QUICK", timedelta())
    scenario = Scenario()
    scenario.reconcile_to_the_end()
    scenario.check_access()
    assert parts_of(scenario) >= set("abc")
    return scenario


def parts_of(scenario: Scenario) -> set[str]:
    return set(scenario.services.listings.get().parts(scenario.fakes.clock()))


def listings(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note every listing that is begun: "" is one of everybody."""
    begun: list[str] = []
    whole, parts = scenario.directory.users, scenario.directory.users_beginning

    def users(fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        begun.append("")
        return whole(fields)

    def users_beginning(letters: str, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        begun.append(letters)
        return parts(letters, fields)

    monkeypatch.setattr(scenario.directory, "users", users)
    monkeypatch.setattr(scenario.directory, "users_beginning", users_beginning)
    return begun


def test_a_small_directory_is_listed_in_one_listing(monkeypatch):
    scenario = Scenario()
    begun = listings(scenario, monkeypatch)
    scenario.reconcile_to_the_end()
    assert set(begun) == {""}
    assert scenario.services.listings.get() == listing_parts.Listings(), "nothing is kept of it"


def waits(scenario: Scenario, monkeypatch: pytest.MonkeyPatch, wait: timedelta) -> None:
    """Let the only page of a listing of everybody take so long."""
    whole = scenario.directory.users

    def users(fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        scenario.fakes.clock.advance(wait)
        return whole(fields)

    monkeypatch.setattr(scenario.directory, "users", users)


@pytest.mark.parametrize(("seconds", "next_time"), [(4, {""}), (5, set("abc"))])
def test_a_large_one_is_listed_in_parts_if_one_listing_waits_long(monkeypatch, seconds, next_time):
    monkeypatch.setattr(listing_parts, "SMALL", 1)
    scenario = Scenario()
    waits(scenario, monkeypatch, timedelta(seconds=seconds))
    scenario.reconcile_to_the_end()
    begun = listings(scenario, monkeypatch)
    scenario.run()
    assert set(begun) >= next_time
    assert ("" in begun) == ("" in next_time)


def test_what_a_quick_listing_shows_is_not_stored_again_and_again(monkeypatch):
    monkeypatch.setattr(listing_parts, "SMALL", 1)
    scenario = Scenario()
    scenario.reconcile_to_the_end()
    assert scenario.services.listings.get() == listing_parts.Listings()


def test_a_large_one_in_parts_and_once_a_day_in_one(scenario, monkeypatch):
    begun = listings(scenario, monkeypatch)
    run = scenario.plan()
    assert "" not in begun
    assert set(begun) == parts_of(scenario)
    assert (run.state, run.complete, run.notes) == (RunState.DONE, True, ())
    begun.clear()
    scenario.fakes.clock.advance(DAY)
    scenario.plan()
    assert begun == [""]
    begun.clear()
    scenario.plan()
    assert "" not in begun


def test_changes_are_found_in_parts(scenario):
    scenario.hire("u4", "dan@example.com")
    scenario.rename("u1", "Augusta")
    scenario.suspend("u2")
    scenario.delete("u3")
    scenario.sent.clear()
    scenario.reconcile_to_the_end()
    scenario.check_access()
    assert [account.active for account in scenario.keeper.of("u3")] == [False]


def test_who_is_renamed_between_two_parts_and_met_in_none_is_read_by_id(scenario, monkeypatch):
    parts = scenario.directory.users_beginning

    def renamed_meanwhile(letters: str, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        yield from parts(letters, fields)
        if letters == "a":
            scenario.readdress("u2", "aaron@example.com")
            scenario.directory.live["u2"] = replace(scenario.directory.live["u2"], aliases=())

    monkeypatch.setattr(scenario.directory, "users_beginning", renamed_meanwhile)
    run = scenario.plan()
    assert (run.complete, run.planned) == (True, {"update": 1})
    scenario.work_off()
    assert [account.user_name for account in scenario.keeper.of("u2")] == ["aaron@example.com"]
    assert [account.active for account in scenario.keeper.of("u2")] == [True]


def test_who_is_met_in_two_parts_is_one_user(scenario):
    scenario.readdress("u2", "aaron@example.com")
    assert scenario.directory.live["u2"].aliases == ("bob@example.com",)
    run = scenario.plan()
    assert (run.planned, run.counts.get("unchanged")) == ({"update": 1}, None)


@pytest.mark.parametrize("shown", [True, False])
def test_who_is_in_no_part_keeps_access_until_one_listing_lacks_them(scenario, shown):
    """Nothing tells a user whom no query finds from one who is gone for longer than deleted users are listed."""
    user = scenario.directory.live.pop("u1")
    if shown:  # an address that no query can carry
        scenario.directory.live["u1"] = replace(user, primary_email="'ada@example.com", aliases=())
    for _ in range(3):
        scenario.run()
        scenario.fakes.clock.advance(LATER)
    assert [account.active for account in scenario.keeper.of("u1")] == [True]
    scenario.fakes.clock.advance(DAY)
    scenario.run()
    assert [account.active for account in scenario.keeper.of("u1")] == [shown]


def test_who_is_hired_with_an_address_that_no_part_has_is_found_by_one_listing(scenario):
    scenario.hire("u4", "'dan@example.com")
    scenario.run()
    assert scenario.keeper.of("u4") == []
    scenario.fakes.clock.advance(DAY)
    scenario.run()
    assert [account.active for account in scenario.keeper.of("u4")] == [True]


def test_a_creation_that_failed_is_tried_again_in_its_time_though_no_part_has_its_user(scenario):
    scenario.hire("u4", "'dan@example.com")
    scenario.keeper.faults.append(Rejected("Keeper refuses this"))
    scenario.deliver(scenario.sent[-1])
    failing = scenario.entry("u4")
    assert failing is not None
    assert failing.failure is not None
    scenario.fakes.clock.advance(LATER)
    assert parts_of(scenario)
    scenario.run()
    assert [account.active for account in scenario.keeper.of("u4")] == [True]


def test_a_part_that_fails_is_made_up_for_and_not_tried_again_for_a_day(scenario, monkeypatch):
    scenario.directory.failing = {"b"}
    scenario.suspend("u1")
    begun = listings(scenario, monkeypatch)
    run = scenario.plan()
    assert "" in begun
    assert (run.complete, run.planned) == (True, {"suspend": 1})
    begun.clear()
    scenario.fakes.clock.advance(LATER)
    scenario.work_off()
    scenario.plan()
    assert begun == [""]
    scenario.fakes.clock.advance(DAY)
    scenario.plan()
    begun.clear()
    scenario.directory.failing = set()
    scenario.plan()
    assert "" not in begun


def test_if_one_listing_breaks_off_as_well_nobody_is_deprovisioned(scenario):
    scenario.directory.failing = {"b"}
    scenario.directory.broken_after = 0
    scenario.suspend("u1")
    run = scenario.plan()
    assert (run.complete, run.planned) == (False, {})
    scenario.work_off()
    assert [account.active for account in scenario.keeper.of("u1")] == [True]


def test_parts_that_lack_more_than_can_be_asked_for_are_made_up_for(scenario, monkeypatch):
    monkeypatch.setattr(list_users, "ASKED_AT_MOST", 1)
    scenario.directory.users_beginning = lambda letters, fields: iter([[]])
    begun = listings(scenario, monkeypatch)
    run = scenario.plan()
    assert "" in begun
    assert (run.state, run.complete, run.counts.get("failed")) == (RunState.DONE, True, None)
    assert parts_of(scenario) == set()


def test_a_roster_that_is_not_begun_needs_one_listing(scenario, monkeypatch):
    begun = listings(scenario, monkeypatch)
    with_another = replace(scenario.connection, id="c2", order=2, roster_layout="", revision=0)
    scenario.fakes.tokens.enabled["c2", with_another.token_version] = "secret"
    scenario.services.connections.create(with_another)
    scenario.plan()
    assert begun == [""]


def test_accounts_of_unknown_owners_are_looked_for_in_one_listing(scenario, monkeypatch):
    scenario.keeper.seed("'dan@example.com")
    scenario.hire("u4", "'dan@example.com")
    begun = listings(scenario, monkeypatch)
    scenario.plan(RunKind.DRIFT)
    assert begun == [""]


def test_one_listing_that_takes_too_long_is_made_in_parts_the_next_time(monkeypatch):
    monkeypatch.setattr(listing_parts, "SMALL", 1)
    monkeypatch.setattr(listing_parts, "QUICK", timedelta())
    scenario = Scenario()
    scenario.reconcile_to_the_end()
    scenario.fakes.clock.advance(DAY)
    whole = scenario.directory.users

    def slow(fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        for page in whole(fields):
            yield page
            scenario.fakes.clock.advance(26 * MINUTE)

    monkeypatch.setattr(scenario.directory, "users", slow)
    scenario.suspend("u1")
    with pytest.raises(NotSent):
        scenario.plan()
    assert [account.active for account in scenario.keeper.of("u1")] == [True]
    scenario.run()
    assert [account.active for account in scenario.keeper.of("u1")] == [False]


@pytest.mark.parametrize(("minutes", "runs"), [(20, 2), (30, 3)], ids=["has all the time then", "goes back to parts"])
def test_one_listing_for_which_failing_parts_left_too_little_time(scenario, monkeypatch, minutes, runs):
    whole, passes = scenario.directory.users, scenario.fakes.clock.advance
    in_parts, faults = scenario.directory.users_beginning, {"a"}

    def fails(letters: str, fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        if letters in faults:
            passes(10 * MINUTE)
            raise Incomplete("users.list broke off")
        yield from in_parts(letters, fields)

    def slow(fields: frozenset[str]) -> Iterator[Sequence[DirectoryUser]]:
        pages = whole(fields)
        yield next(pages)
        passes(minutes * MINUTE)
        yield from pages

    monkeypatch.setattr(scenario.directory, "users_beginning", fails)
    monkeypatch.setattr(scenario.directory, "users", slow)
    scenario.suspend("u1")
    for _ in range(runs - 1):
        with pytest.raises(NotSent):
            scenario.plan()
    if minutes > 25:
        faults.clear()
    scenario.run()
    assert [account.active for account in scenario.keeper.of("u1")] == [False]


@pytest.fixture
def held(scenario) -> list[str]:
    """Twenty of thirty people are in no listing any more, and their suspensions are held."""
    everybody = [f"x{number}" for number in range(30)]
    for user_id in everybody:
        scenario.hire(user_id, f"{user_id}@example.com")
    scenario.run()
    scenario.services.connections.change("c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=5)))
    for _ in range(2):  # the second counts who is active
        scenario.fakes.clock.advance(2 * DAY)
        scenario.run()
    for user_id in everybody[:20]:
        del scenario.directory.live[user_id]
    scenario.fakes.clock.advance(DAY)
    scenario.run()
    return everybody[:20]


def test_a_held_plan_of_people_who_are_in_no_part_waits_for_a_decision(scenario, held):
    plans = scenario.services.holds.standing("c1")
    assert [len(plan.those(Standing.WAITING)) for plan in plans] == [20]
    scenario.fakes.clock.advance(LATER)
    scenario.suspend("x20")  # whom parts show, and who would fit
    scenario.run()
    assert scenario.services.holds.standing("c1") == plans
    assert [account.active for account in scenario.keeper.of("x20")] == [False]
    scenario.fakes.clock.advance(DAY)
    for user_id in held:
        scenario.hire(user_id, f"{user_id}@example.com")
    scenario.run()
    assert scenario.services.holds.standing("c1") == []


def test_what_was_approved_about_people_who_are_in_no_part_is_done_by_the_next_listing_in_one(scenario, held):
    (plan,) = scenario.services.holds.standing("c1")
    decide_hold(scenario.services, "c1", plan.digest, "approve", Actor(address="admin@example.com", directory_id="u0"))
    scenario.fakes.clock.advance(LATER)
    assert parts_of(scenario)
    scenario.run()
    assert all(account.active for user_id in held for account in scenario.keeper.of(user_id))
    for passed in (DAY - LATER - 5 * MINUTE, 15 * MINUTE):  # an approval lasts for a day
        scenario.fakes.clock.advance(passed)
        scenario.run()
    assert not any(account.active for user_id in held for account in scenario.keeper.of(user_id))
