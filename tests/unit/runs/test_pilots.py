"""A pilot, from turning on for chosen people to its end: who is operated on meanwhile, and who is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.administration.configure import turn_off, turn_on, turn_on_for
from autoprovisioning.app.administration.take_over import take_over
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.directory_user import DirectoryUser
from autoprovisioning.domain.entry import Status, Trigger
from autoprovisioning.domain.errors import BadInput, Stale, WrongState
from autoprovisioning.domain.events import EDITS, TURNED_OFF_PILOT, Actor
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.scope import Group
from autoprovisioning.entrypoints.console.pages.pilot import as_typed, chosen_people
from tests.support.builders import active, notice
from tests.support.in_memory import FakeDirectory
from tests.support.in_memory_state import FakeRoster
from tests.support.scenario import LATER, Scenario
from tests.support.settings import with_settings
from tests.unit.runs.test_decided_plans import company, decide, plans

ADMIN = Actor(address="boss@example.com")


def pilot(scenario: Scenario, *people: str) -> None:
    """Turn on for these people: off before, where it is on for everybody."""
    if scenario.connection.pilot is None:
        turn_off(scenario.services, "c1", ADMIN)
    turn_on_for(scenario.services, "c1", people, ADMIN)


def run(scenario: Scenario, kind: RunKind = RunKind.FULL) -> None:
    scenario.fakes.clock.advance(LATER)
    scenario.plan(kind)
    scenario.work_off()


def everything(scenario: Scenario) -> None:
    """Let all that looks at users do so: runs, a sweep, and notifications."""
    scenario.fakes.clock.advance(LATER)
    scenario.sweep()
    for user_id in (*scenario.directory.live, *scenario.directory.removed):
        notice(scenario, user_id)
    scenario.work_off()
    run(scenario)
    run(scenario, RunKind.DRIFT)


def created(scenario: Scenario) -> set[str]:
    return {account.external_id for account in scenario.keeper.accounts.values()}


def accounts(scenario: Scenario) -> dict[str, object]:
    return dict(scenario.keeper.accounts)


def told(scenario: Scenario) -> list[str]:
    return [event.reason for event in scenario.fakes.store.events["c1"].values() if event.reason in EDITS]


def test_only_those_chosen_get_accounts_until_it_is_on_for_everybody():
    scenario = Scenario()
    pilot(scenario, "Ada@Example.com", "u2", "ada@example.com")
    assert scenario.connection.pilot == {"u1": "ada@example.com", "u2": "bob@example.com"}
    everything(scenario)
    assert created(scenario) == {"u1", "u2"}
    turn_on(scenario.services, "c1", ADMIN)
    assert (scenario.connection.state, scenario.connection.pilot) == (State.ON, None)
    everything(scenario)
    assert created(scenario) == {"u1", "u2", "u3"}
    assert sorted(told(scenario)) == ["Turned on for chosen people only", "Turned on for everybody"]


def test_a_roster_that_begins_with_a_pilot_has_room_for_everybody_in_scope(monkeypatch):
    """It is never laid out again: that of a pilot in a large organization would be too small for the organization."""
    scenario, expected, begin = Scenario(), list[int](), FakeRoster.begin
    scenario.hire("u4", "dan@example.com")
    scenario.suspend("u3")
    pilot(scenario, "u1")

    def begun(self: FakeRoster, connection: Connection, users: int) -> Connection:
        expected.append(users)
        return begin(self, connection, users)

    monkeypatch.setattr(FakeRoster, "begin", begun)
    run(scenario)
    assert expected == [len({"u1", "u2", "u4"})]


def test_deleted_users_are_not_listed_again_for_whom_a_pilot_leaves_out(monkeypatch):
    """Nobody asks whether they are gone, so that each run would list twice."""
    scenario, listings, listing = Scenario(), list[str](), FakeDirectory.deleted_users
    run(scenario)
    pilot(scenario, "u1")
    scenario.delete("u2")
    del scenario.directory.removed["u2"]  # 20 days ago

    def deleted_users(self: FakeDirectory) -> Iterator[Sequence[DirectoryUser]]:
        listings.append("deleted users")
        return listing(self)

    monkeypatch.setattr(FakeDirectory, "deleted_users", deleted_users)
    run(scenario)
    assert listings == ["deleted users"]


def changed_everywhere(scenario: Scenario) -> None:
    """Let each of u1, u2, u3 leave or change in another way: suspended, deleted, out of the group."""
    scenario.suspend("u1")
    scenario.delete("u2")
    scenario.leave("u3")
    scenario.rename("admin", "Other")


def test_whoever_is_outside_keeps_what_they_have_whatever_happens_to_them():
    scenario = Scenario()
    scenario.hire("u4", "dan@example.com")
    run(scenario)
    pilot(scenario, "u4")
    before = accounts(scenario)
    changed_everywhere(scenario)
    for _ in range(3):
        scenario.fakes.clock.advance(timedelta(days=2))
        everything(scenario)
    assert accounts(scenario) == before
    assert plans(scenario) == []
    entries = [scenario.entry(user_id) for user_id in ("u1", "u2", "u3")]
    assert [entry.status for entry in entries if entry is not None] == [Status.ACTIVE] * 3
    assert not any(timer.ran for entry in entries if entry is not None for timer in entry.timers.values())
    turn_off(scenario.services, "c1", ADMIN)
    assert (scenario.connection.pilot, accounts(scenario)) == (None, before)
    turn_on(scenario.services, "c1", ADMIN)
    everything(scenario)
    assert [active(scenario, user_id) for user_id in ("u1", "u2", "u3", "u4")] == [[False], [False], [False], [True]]


@pytest.mark.parametrize("leaves", ["suspend", "delete", "leave"])
def test_whoever_is_chosen_and_leaves_loses_access(leaves):
    scenario = Scenario()
    run(scenario)
    pilot(scenario, "u1", "u2")
    getattr(scenario, leaves)("u1")
    everything(scenario)
    run(scenario)
    assert [active(scenario, user_id) for user_id in ("u1", "u2", "u3")] == [[False], [True], [True]]


def test_what_is_changed_in_keeper_is_repaired_for_those_chosen_alone():
    scenario = Scenario()
    run(scenario)
    pilot(scenario, "u1")
    for user_id in ("u1", "u2", "u3"):
        (account,) = scenario.keeper.of(user_id)
        attributes = {**account.attributes, "displayName": "Somebody"}
        scenario.keeper.accounts[account.scim_id] = replace(account, attributes=attributes, active=user_id != "u3")
    run(scenario, RunKind.DRIFT)
    names = {user_id: scenario.keeper.of(user_id)[0].attributes["displayName"] for user_id in ("u1", "u2", "u3")}
    assert names == {"u1": "New Byron", "u2": "Somebody", "u3": "Somebody"}
    assert [change.user_id for change in scenario.services.keeper_changes.get("c1")] == ["u1"]
    entry = scenario.entry("u3")
    assert entry is not None
    assert (entry.status, entry.drift) == (Status.ACTIVE, ())


def test_whoever_is_removed_keeps_the_account_and_who_is_added_gets_one():
    scenario = Scenario()
    pilot(scenario, "u1", "u2")
    run(scenario)
    turn_on_for(scenario.services, "c1", ["bob@example.com", "u3"], ADMIN)
    assert scenario.connection.pilot == {"u2": "bob@example.com", "u3": "cyd@example.com"}
    scenario.suspend("u1")
    everything(scenario)
    assert (created(scenario), active(scenario, "u1")) == ({"u1", "u2", "u3"}, [True])
    assert "Changed who the pilot is for" in told(scenario)


def test_what_was_planned_for_everybody_is_not_carried_out_in_a_pilot_begun_meanwhile():
    scenario = Scenario()
    scenario.fakes.clock.advance(LATER)
    scenario.plan()
    pilot(scenario, "u1")
    scenario.work_off()
    assert created(scenario) <= {"u1"}
    run(scenario)
    run(scenario)
    assert created(scenario) == {"u1"}


def test_what_was_planned_for_those_chosen_is_not_carried_out_once_others_are():
    scenario = Scenario()
    pilot(scenario, "u1", "u2")
    scenario.fakes.clock.advance(LATER)
    scenario.plan()
    pilot(scenario, "u2")
    scenario.work_off()
    run(scenario)
    run(scenario)
    assert created(scenario) == {"u2"}


def test_a_paused_pilot_is_one_still_once_there_is_a_new_token():
    scenario = Scenario()
    pilot(scenario, "u1")
    run(scenario)
    scenario.services.connections.change("c1", lambda current: replace(current, state=State.PAUSED))
    turn_on_for(scenario.services, "c1", ["u1", "u2"], ADMIN)
    assert (scenario.connection.state, set(scenario.connection.pilot or ())) == (State.PAUSED, {"u1", "u2"})
    scenario.services.connections.change("c1", lambda current: replace(current, state=State.ON))
    run(scenario)
    assert created(scenario) == {"u1", "u2"}


def named(count: int) -> Sequence[str]:
    return [f"x{number}@example.com" for number in range(count)]


def test_a_pilot_has_the_same_limits_and_ends_with_the_number_that_was_confirmed():
    """The first run for everybody is the one that creates as many as its preview said."""
    scenario = Scenario()
    scenario.fakes.store.guards.clear()
    for number in range(150):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    pilot(scenario, *named(60))
    run(scenario)
    (hold,) = plans(scenario)
    assert (created(scenario), hold.counts()) == (set(), {"create": 60})
    turn_on_for(scenario.services, "c1", named(20), ADMIN)
    run(scenario)
    assert len(created(scenario)) == 20
    turn_on(scenario.services, "c1", ADMIN, creates=133)
    run(scenario)
    assert (len(created(scenario)), plans(scenario)) == (153, [])


def test_who_is_to_stay_by_a_rejected_plan_stays_after_a_pilot():
    scenario = company(40)
    for number in range(15):
        scenario.suspend(f"x{number}")
    run(scenario)
    decide(scenario, "reject")
    pilot(scenario, "x20@example.com")
    for _ in range(3):
        everything(scenario)
    turn_on(scenario.services, "c1", ADMIN)
    run(scenario)
    run(scenario)
    assert all(active(scenario, f"x{number}") == [True] for number in range(15))
    assert [plan.standings() for plan in plans(scenario)] == [{"rejected": 15}]


def test_a_second_connection_takes_whom_a_pilot_of_the_first_leaves_out():
    scenario = Scenario()
    other = Group(id="g2", email="other@example.com", name="Other")
    node = scenario.connect("c2", other, shared=False)
    scenario.directory.memberships["g2"] |= {"u1", "u2"}
    pilot(scenario, "u1")
    everything(scenario)
    run(scenario)
    assert created(scenario) == {"u1"}
    assert {account.external_id for account in node.accounts.values()} == {"u2"}


@pytest.mark.parametrize(("choices", "seen"), [(["u3"], True), (["u3", "u2"], True), (["u3"], False)])
def test_days_outside_do_not_count_for_a_leaver(choices, seen):
    """Nor if no run ended in all that time, as may be where the directory is very large or does not answer."""
    scenario = Scenario()
    delays = Delays(suspend_after=7)
    policy = Deprovisioning(app_off=delays, suspended=delays, deleted=delays)
    scenario.services.connections.change("c1", lambda current: with_settings(current, deprovisioning=policy))
    run(scenario)
    scenario.suspend("u1")
    run(scenario)
    scenario.fakes.clock.advance(timedelta(days=3))
    for chosen in choices:
        pilot(scenario, chosen)
        for _ in range(2):
            if seen:
                run(scenario)
            scenario.fakes.clock.advance(timedelta(days=15))
    turn_on(scenario.services, "c1", ADMIN)
    run(scenario)
    scenario.fakes.clock.advance(timedelta(days=3))
    run(scenario)
    assert active(scenario, "u1") == [True]
    scenario.fakes.clock.advance(timedelta(days=1))
    run(scenario)
    assert active(scenario, "u1") == [False]
    entry = scenario.entry("u1")
    assert entry is not None
    assert set(entry.timers) == {Trigger.SUSPENDED}


@pytest.mark.parametrize(
    ("people", "problem"),
    [
        ([], "nobody is named"),
        (["  ", ""], "nobody is named"),
        (["nobody@example.com"], "the directory has no user 'nobody@example.com'"),
        (["u77"], "the directory has no user 'u77'"),
        ([f"x{number}" for number in range(201)], "201 people are more than 200"),
    ],
)
def test_who_is_chosen_must_be_people_of_the_directory_and_not_too_many(people, problem):
    scenario = Scenario()
    turn_off(scenario.services, "c1", ADMIN)
    with pytest.raises(BadInput) as refused:
        turn_on_for(scenario.services, "c1", people, ADMIN)
    assert (refused.value.field, refused.value.problem) == ("people", problem)
    assert (scenario.connection.state, scenario.connection.pilot) == (State.OFF, None)


def test_what_is_on_for_everybody_is_not_narrowed_by_the_way():
    scenario = Scenario()
    with pytest.raises(WrongState, match="Turn it off first"):
        turn_on_for(scenario.services, "c1", ["u1"], ADMIN)
    pilot(scenario, "u1")
    with pytest.raises(WrongState, match="In a pilot"):
        take_over(scenario.services, "c1", None, ADMIN)
    with pytest.raises(Stale):
        turn_on_for(scenario.services, "c1", ["u2"], ADMIN, edition=scenario.connection.edition - 1)
    edition = scenario.connection.edition
    turn_on_for(scenario.services, "c1", ["u1"], ADMIN)
    assert scenario.connection.edition == edition


def test_whoever_edits_the_people_of_a_pilot_that_was_turned_off_meanwhile_does_not_turn_it_on_again():
    scenario = Scenario()
    pilot(scenario, "u1")
    edition = scenario.connection.edition
    turn_off(scenario.services, "c1", ADMIN)
    with pytest.raises(Stale, match="ended meanwhile"):
        turn_on_for(scenario.services, "c1", ["u1", "u2"], ADMIN, edition=edition, begins=False)
    assert (scenario.connection.state, scenario.connection.pilot) == (State.OFF, None)


def test_what_was_read_before_a_pilot_was_turned_off_does_not_begin_it_again():
    scenario = Scenario()
    pilot(scenario, "u1")
    edition = scenario.connection.edition
    turn_off(scenario.services, "c1", ADMIN)
    with pytest.raises(Stale):
        turn_on_for(scenario.services, "c1", ["u1"], ADMIN, edition=edition)
    assert scenario.connection.state is State.OFF
    assert told(scenario)[-1] == TURNED_OFF_PILOT


def test_two_people_of_a_pilot_who_are_stored_with_one_address_both_stay_in_it():
    """The address of somebody who was renamed may be another's by the time that person is chosen."""
    scenario = Scenario()
    pilot(scenario, "u1", "u2")
    both = {"u1": "ada@example.com", "u2": "Ada@example.com"}
    scenario.services.connections.change("c1", lambda current: replace(current, pilot=both))
    typed = chosen_people(scenario.connection)
    turn_on_for(scenario.services, "c1", typed, ADMIN)
    assert set(scenario.connection.pilot or {}) == {"u1", "u2"}


def test_whoever_has_by_now_the_address_of_somebody_in_a_pilot_can_be_selected():
    scenario = Scenario()
    pilot(scenario, "u1")
    scenario.readdress("u1", "ada.king@example.com")
    scenario.hire("u9", "Ada@example.com")
    connection, live = scenario.connection, scenario.directory.live
    selected = [as_typed(connection, user_id, live[user_id].primary_email) for user_id in ("u9", "u2")]
    assert selected == ["u9", "bob@example.com"]
    turn_on_for(scenario.services, "c1", [*chosen_people(connection), *selected], ADMIN)
    assert set(scenario.connection.pilot or {}) == {"u1", "u2", "u9"}
