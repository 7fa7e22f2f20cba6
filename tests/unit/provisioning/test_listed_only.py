"""Users whose leave only listings show: neither convicted by them, nor kept for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from autoprovisioning.adapters.firestore.codec import decode, encode
from autoprovisioning.app.administration.held_plans import Choice, decide_hold
from autoprovisioning.domain.decision import SECOND_LISTING, decide, missed_twice
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.entry import Status
from autoprovisioning.domain.holds import Hold, HoldState
from autoprovisioning.domain.scope import Scope
from autoprovisioning.domain.settings import VolumeLimit
from tests.support.builders import NOW, SECOND, active, entry, notice, rules, seen
from tests.support.in_memory import SALES
from tests.support.previewing import ACTOR, at
from tests.support.scenario import Scenario
from tests.support.settings import with_settings
from tests.unit.administration.test_explain import look_into

LEAVERS = ("u1", "u2")
MINUTE = timedelta(minutes=1)
SOON, LATER = SECOND_LISTING - SECOND, SECOND_LISTING


class Silent:
    """members.hasMember that answers 400 for some; the fallback finds whom the derived listing has."""

    def __init__(self, scenario: Scenario, *user_ids: str) -> None:
        self.users = set(user_ids)
        self._ask = scenario.directory.is_member
        scenario.directory.is_member = self.is_member

    def is_member(self, group_id: str, user_id: str) -> bool | None:
        told = self._ask(group_id, user_id)
        return (told or None) if user_id in self.users else told


@pytest.fixture
def silent(scenario: Scenario) -> Silent:
    """Two of three are missing from the derived listing, and cannot be asked about one by one."""
    for user_id in LEAVERS:
        scenario.leave(user_id)
    return Silent(scenario, *LEAVERS)


def holds(scenario: Scenario, state: HoldState = HoldState.WAITING) -> list[Hold]:
    return [hold for hold in scenario.services.holds.standing("c1") if hold.state is state]


def named(hold: Hold) -> tuple[tuple[str, str], ...]:
    return tuple((member.resource, member.action) for member in hold.members)


def decided(scenario: Scenario, choice: Choice) -> None:
    (hold,) = holds(scenario)
    decide_hold(scenario.services, "c1", hold.digest, choice, ACTOR)


def access(scenario: Scenario) -> list[bool]:
    return [allowed for user_id in ("u1", "u2", "u3") for allowed in active(scenario, user_id)]


def run_after(scenario: Scenario, wait: timedelta) -> None:
    scenario.fakes.clock.advance(wait)
    scenario.run()


@pytest.mark.parametrize("looks", [Scenario.run, Scenario.sweep])
def test_one_listing_or_two_soon_after_each_other_take_access_from_nobody(scenario, silent, looks):
    looks(scenario)
    run_after(scenario, SOON)
    assert (access(scenario), holds(scenario)) == ([True] * 3, [])


@pytest.mark.parametrize("looks", [Scenario.run, Scenario.sweep])
def test_the_second_listing_ends_in_a_held_plan_however_few_they_are(scenario, silent, looks):
    looks(scenario)
    run_after(scenario, LATER)
    (hold,) = holds(scenario)
    assert named(hold) == (("u1", "suspend"), ("u2", "suspend"))
    assert hold.reason == (
        "2 suspensions of users missing from complete listings, about whom the directory gives no individual answer"
    )
    assert access(scenario) == [True] * 3
    for _ in range(3):
        run_after(scenario, LATER)
    assert ([each.digest for each in holds(scenario)], access(scenario)) == ([hold.digest], [True] * 3)


def test_an_approval_suspends_exactly_those_who_are_still_missing(scenario, silent):
    scenario.run()
    run_after(scenario, LATER)
    decided(scenario, "approve")
    scenario.join("u2")
    run_after(scenario, MINUTE)
    assert access(scenario) == [False, True, True]
    run_after(scenario, LATER)
    assert (access(scenario), holds(scenario)) == ([False, True, True], [])


def test_an_approval_says_nothing_of_who_is_missing_later(scenario, silent):
    scenario.run()
    run_after(scenario, LATER)
    decided(scenario, "approve")
    scenario.leave("u3")
    silent.users.add("u3")
    run_after(scenario, MINUTE)
    assert access(scenario) == [False, False, True]
    run_after(scenario, LATER)
    assert ([named(hold) for hold in holds(scenario)], access(scenario)[2]) == ([(("u3", "suspend"),)], True)


def test_who_is_named_in_the_approved_plan_is_asked_about_once_more(scenario, silent):
    scenario.run()
    run_after(scenario, LATER)
    decided(scenario, "approve")
    batch = scenario.plan()
    scenario.join("u1")
    scenario.work_off()
    assert batch.planned == {"suspend": 2}
    assert access(scenario) == [True, False, True]


def test_a_rejection_stays(scenario, silent):
    scenario.run()
    run_after(scenario, LATER)
    decided(scenario, "reject")
    for _ in range(5):
        run_after(scenario, LATER)
        notice(scenario, "u1")
    assert (access(scenario), holds(scenario)) == ([True] * 3, [])


def test_a_witness_who_speaks_again_needs_no_approval(scenario, silent):
    scenario.run()
    silent.users.clear()
    notice(scenario, "u1")
    run_after(scenario, LATER)
    assert access(scenario)[0] is False
    (hold,) = holds(scenario)
    assert named(hold) == (("u2", "suspend"),)


def test_who_is_in_a_listing_in_between_begins_anew(scenario, silent):
    scenario.run()
    scenario.join("u1")
    run_after(scenario, MINUTE)
    scenario.leave("u1")
    run_after(scenario, LATER)
    assert [named(hold) for hold in holds(scenario)] == [(("u2", "suspend"),)]
    assert scenario.entry("u1").missing_since == scenario.fakes.clock.now


def test_beside_a_plan_over_the_limit_they_are_held_with_it_and_told(scenario, silent):
    scenario.run()
    scenario.services.connections.change(
        "c1", lambda current: with_settings(current, limit=replace(current.settings.limit, minimum=0))
    )
    scenario.fakes.clock.advance(timedelta(days=2))
    scenario.leave("u3")
    scenario.run()
    (hold,) = holds(scenario)
    assert len(hold.members) == 3
    assert "3 suspensions would exceed the limit of 0" in hold.reason
    assert "; 2 of them of users missing from complete listings" in hold.reason


def test_beside_what_is_proven_they_alone_are_held(scenario, silent):
    scenario.run()
    scenario.leave("u3")
    run_after(scenario, LATER)
    assert ([len(hold.members) for hold in holds(scenario)], access(scenario)) == ([2], [True, True, False])


def test_a_broken_listing_is_no_second_listing(scenario, silent):
    scenario.run()
    scenario.directory.unreadable.add("g1")
    run_after(scenario, LATER)
    assert (access(scenario), holds(scenario)) == ([True] * 3, [])


def test_a_user_whom_the_directory_lists_no_more_but_does_not_show_is_held_too(scenario):
    hidden = scenario.directory.live.pop("u1")
    refused = DirectoryUser(
        id="u1",
        primary_email="",
        presence=Presence.UNKNOWN,
        org_unit_path="",
        untold="The directory does not show this user: HTTP 403.",
    )
    ask = scenario.directory.user
    scenario.directory.user = lambda user_id: refused if user_id == "u1" else ask(user_id)
    scenario.run()
    run_after(scenario, SOON)
    assert (access(scenario), holds(scenario)) == ([True] * 3, [])
    run_after(scenario, SECOND)
    (hold,) = holds(scenario)
    assert named(hold) == (("u1", "suspend"),)
    assert access(scenario) == [True] * 3
    told = look_into(scenario, "u1")
    assert told.standing.words.startswith(refused.untold)
    assert "approval under Approvals" in told.words
    decided(scenario, "approve")
    scenario.directory.user = ask
    scenario.directory.live["u1"] = hidden
    run_after(scenario, MINUTE)
    assert access(scenario) == [True] * 3
    assert scenario.entry("u1").missing_since is None


def test_who_is_held_by_listings_is_asked_about_at_each_run(scenario, silent):
    scenario.run()
    run_after(scenario, LATER)
    assert len(holds(scenario)) == 1
    silent.users.discard("u2")
    run_after(scenario, LATER)
    assert [scenario.entry(user_id).missing_since is None for user_id in LEAVERS] == [False, True]
    run_after(scenario, LATER)
    assert access(scenario) == [True, False, True]  # the directory answers about u2 now, and still not about u1
    assert [[member.resource for member in hold.members] for hold in holds(scenario)] == [["u1"]]


def test_many_held_by_listings_are_not_let_go_one_by_one(scenario, silent):
    scenario.run()
    run_after(scenario, LATER)
    limit = VolumeLimit(minimum=1, percent=0)
    scenario.services.connections.change("c1", lambda current: with_settings(current, limit=limit))
    silent.users.clear()
    run_after(scenario, timedelta(days=2))  # what was reserved for them by the first run counts no more
    assert access(scenario) == [True] * 3


def test_a_preview_says_that_they_would_be_held(scenario, silent):
    scenario.run()
    scenario.fakes.clock.advance(LATER)
    done, lines = at(scenario).preview()
    assert done.result.held
    assert {line.user_id: "held for approval" in line.detail for line in lines} == {"u1": True, "u2": True}


def test_why_says_it_in_words(scenario, silent):
    scenario.run()
    told = look_into(scenario, "u1")
    assert told.standing.words == "The directory does not say whether the user is a member of keeper@example.com."
    assert told.words == (
        "Whether the user is still in scope is not known: complete listings have lacked the user since "
        "24 Nov 2026, 09:00 UTC, so it takes an administrator's approval under Approvals."
    )


def test_a_unit_that_is_not_told_takes_access_from_nobody_and_gives_none(scenario):
    units = Scope(groups=(), org_units=(SALES,))
    for user_id, user in scenario.directory.live.items():
        scenario.directory.live[user_id] = replace(user, org_unit_path="")
    scenario.services.connections.change("c1", lambda current: with_settings(current, scope=units))
    scenario.hire("u4", "dan@example.com")
    scenario.directory.live["u4"] = replace(scenario.directory.live["u4"], org_unit_path="")
    scenario.run()
    run_after(scenario, timedelta(days=2))
    assert (access(scenario), active(scenario, "u4")) == ([True] * 3, [])
    told = look_into(scenario, "u1")
    assert told.standing.words == "The directory does not show the user's organizational unit (chosen: /Sales)."


REMEMBERED = [
    # missing since, seen -> missing since
    (None, seen(in_scope=None, missing=True), NOW),
    (NOW - MINUTE, seen(in_scope=None, missing=True), NOW - MINUTE),
    (NOW - MINUTE, seen(in_scope=None), NOW - MINUTE),
    (NOW - MINUTE, seen(in_scope=False), NOW - MINUTE),
    (NOW - MINUTE, seen(in_scope=None, missing=False), None),
    (NOW - MINUTE, seen(in_scope=True), None),
    (None, seen(Presence.UNKNOWN, None, missing=True), NOW),
    (None, seen(Presence.UNKNOWN, in_scope=True, missing=True), NOW),
    (NOW - MINUTE, seen(Presence.UNKNOWN, None), NOW - MINUTE),
    (NOW - MINUTE, seen(Presence.DELETED, None), None),
]


@pytest.mark.parametrize(("since", "observation", "expected"), REMEMBERED)
def test_since_when_somebody_is_missing_is_remembered_until_something_tells(since, observation, expected):
    decision = decide(entry(Status.SUSPENDED, missing_since=since), observation, rules(), NOW)
    assert decision.noted.missing_since == expected


@pytest.mark.parametrize(("ago", "expected"), [(None, False), (SOON, False), (LATER, True)])
def test_two_listings_are_fifteen_minutes_apart(ago, expected):
    assert missed_twice(entry(missing_since=NOW - ago if ago is not None else None), NOW) is expected
    assert missed_twice(None, NOW) is False


def test_an_entry_that_was_stored_before_is_missing_nowhere():
    dated = replace(entry(), missing_since=NOW)
    assert decode(encode({"u1": dated})).entries == {"u1": dated}
    (record,) = msgspec.msgpack.decode(encode({"u1": dated}))
    assert decode(msgspec.msgpack.encode([record[:16]])).entries == {"u1": entry()}  # the fields of then


def test_deleted_users_are_listed_again_once_for_whom_the_directory_goes_on_refusing_to_show(scenario, monkeypatch):
    scenario.run()
    del scenario.directory.live["u2"]
    ask, deleted, listings = scenario.directory.user, scenario.directory.deleted_users, list[str]()
    refused = DirectoryUser(id="u2", primary_email="", presence=Presence.UNKNOWN, untold="The directory answers 403.")
    monkeypatch.setattr(scenario.directory, "user", lambda user_id: refused if user_id == "u2" else ask(user_id))
    scenario.fakes.clock.advance(timedelta(hours=1))
    scenario.run()
    assert scenario.entry("u2").missing_since is not None
    monkeypatch.setattr(scenario.directory, "deleted_users", lambda: (listings.append("all"), deleted())[1])
    scenario.fakes.clock.advance(timedelta(hours=1))
    scenario.plan()
    assert listings == ["all"]
    del scenario.directory.live["u3"]
    scenario.fakes.clock.advance(timedelta(hours=1))
    scenario.plan()
    assert listings == ["all"] * 3, "somebody else is missing"
