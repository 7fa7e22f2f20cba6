"""People in teams: put in and taken out with the user's own write, by full runs, and what holds that up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning import messages
from autoprovisioning.app.administration.approve_removals import approve_removals
from autoprovisioning.app.administration.health import health
from autoprovisioning.app.runs import dispatch
from autoprovisioning.domain.accounts import Write
from autoprovisioning.domain.entry import Action, Mark, Status, Unseen
from autoprovisioning.domain.errors import AccountGone, NotFound, Rejected, Stale, Throttled, Transient, Unresolved
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.memberships import SETTLED, Unsettled
from autoprovisioning.domain.runs import Batch, RunKind, RunState
from autoprovisioning.domain.scope import Group
from autoprovisioning.domain.teams import MOST_LOST, Team, TeamChoice, TeamState
from tests.support.builders import DAY, MINUTE
from tests.support.in_memory import FakeAccounts
from tests.support.in_memory_state import FakeChannels
from tests.support.scenario import LATER, USERS, Scenario
from tests.support.settings import with_settings
from tests.support.teams import ENGINEERS, NESTED, TEAM, hire, inside, join, leave, run, with_teams
from tests.unit.administration.test_health import Told


@pytest.fixture
def teams(scenario: Scenario) -> Scenario:
    """Three provisioned people, and a group that becomes a team, with another one in it; teams are made in order."""
    with_teams(scenario, ENGINEERS, NESTED).directory.nested["g7"].add("g8")
    return scenario


def test_members_direct_or_nested_are_put_into_the_team_and_only_people_who_are_provisioned(teams):
    join(teams, "u1", "admin")
    join(teams, "u2", group=NESTED)
    told = run(teams)
    assert inside(teams) == {"u1", "u2"}
    assert teams.entry("u1").teams == (TEAM,)
    assert told.planned == {"update": 2}
    again = run(teams)
    assert (again.planned, again.notes) == ({}, ())


def test_people_who_are_put_into_a_team_cost_no_document_of_the_audit(teams, monkeypatch):
    join(teams, "u1", "u2")
    teams.rename("u2", "Other")
    read: list[str] = []
    applied = teams.services.audit.applied
    monkeypatch.setattr(teams.services.audit, "applied", lambda home, ids: (read.extend(ids), applied(home, ids))[1])
    run(teams)
    assert inside(teams) == {"u1", "u2"}
    assert len(read) == 1, "of the one whose name changed"
    changed = [event for event in teams.fakes.store.events["c1"].values() if event.before and "groups" in event.before]
    assert {event.user_id: event.before.get("name.givenName") for event in changed} == {"u1": None, "u2": "New"}


def test_a_new_user_is_created_with_the_teams_in_one_write(teams):
    run(teams)
    written = []
    put = teams.keeper.write
    teams.keeper.write = lambda write: (written.append(write), put(write))[1]
    teams.hire("u4", "new@example.com")
    join(teams, "u4")
    run(teams)
    assert "u4" in inside(teams)
    assert [(write.kind.value, write.joins) for write in written] == [("create", (TEAM,))]


def test_who_leaves_the_group_is_taken_out_and_the_audit_names_the_team(teams):
    join(teams, "u1")
    run(teams)
    leave(teams, "u1")
    run(teams)
    assert (inside(teams), teams.entry("u1").teams) == (set(), ())
    events = [event for event in teams.fakes.store.events["c1"].values() if "groups" in event.changed]
    assert [(event.changed["groups"], event.before["groups"]) for event in events] == [
        ("Engineers", ""),
        ("", "Engineers"),
    ]


def test_what_people_did_in_keeper_is_left_alone(teams):
    teams.keeper.teams["t9"] = Team(id="t9", name="Board")
    run(teams)
    (account,) = teams.keeper.of("u1")
    teams.keeper.members[TEAM].add(account.scim_id)
    teams.keeper.members["t9"].add(account.scim_id)
    run(teams)
    assert inside(teams) == {"u1"}
    assert teams.keeper.members["t9"] == {account.scim_id}


def test_a_drift_run_and_a_look_for_another_reason_change_no_membership(teams):
    join(teams, "u1")
    run(teams)
    leave(teams, "u1")
    join(teams, "u2")
    run(teams, RunKind.DRIFT)
    teams.rename("u1", "Other")
    for look in teams.sent:
        teams.deliver(look)
    assert inside(teams) == {"u1"}
    run(teams)
    assert inside(teams) == {"u2"}


def test_an_unreadable_group_holds_back_its_own_team_only(teams):
    other = Group(id="g9", email="keeper-sales@example.com", name="Sales")
    teams.directory.groups["g9"] = other
    join(teams, "u1", "u2")
    join(teams, "u1", "u2", group=other)
    run(teams)
    leave(teams, "u1")
    leave(teams, "u1", group=other)
    teams.directory.unreadable.add("g7")
    told = run(teams)
    sizes = {team.name: len(teams.keeper.members[team.id]) for team in teams.keeper.teams.values()}
    assert sizes == {"Engineers": 2, "Sales": 1}
    assert any("could not be read: Engineers (members.list broke off)" in note for note in told.notes)
    teams.directory.unreadable.clear()
    run(teams)
    assert inside(teams) == {"u2"}


def test_a_group_that_takes_too_long_leaves_time_for_everybodys_changes(teams, monkeypatch):
    join(teams, "u1", "u2")
    run(teams)
    leave(teams, "u1")
    members = teams.directory.members

    def slow(group_id):
        for _ in range(30 if group_id == ENGINEERS.id else 1):
            teams.fakes.clock.advance(MINUTE)
            yield []
        yield from members(group_id)

    monkeypatch.setattr(teams.directory, "members", slow)
    teams.rename("u3", "Augusta")
    teams.sent.clear()
    told = run(teams)
    assert (told.state, told.planned) == (RunState.PLANNED, {"update": 1})
    assert inside(teams) == {"u1", "u2"}
    assert any("could not be read: Engineers" in note for note in told.notes)


def test_teams_that_keeper_is_slow_to_make_leave_time_for_everybodys_changes(teams, monkeypatch):
    for number in range(30):
        group = Group(id=f"m{number}", email=f"keeper-{number}@example.com", name=f"Team {number}")
        teams.directory.groups[group.id] = group
    create = FakeAccounts.create_team

    def slow(*asked):
        teams.fakes.clock.advance(MINUTE)
        return create(*asked)

    monkeypatch.setattr(FakeAccounts, "create_team", slow)
    made = 0
    for _ in range(5):
        assert run(teams).state in (RunState.PLANNED, RunState.DONE)
        assert made < len(teams.keeper.teams) <= made + 7
        made = len(teams.keeper.teams)
    assert made == 31


def test_half_of_a_team_is_never_taken_out_at_once(teams):
    join(teams, *USERS[:3])
    run(teams)
    teams.directory.memberships["g7"].clear()
    told = run(teams)
    assert inside(teams) == set(USERS[:3])
    assert any("3 of Engineers" in note for note in told.notes)
    kept = teams.services.teams.get("c1")["g7"]
    assert (kept.held, kept.people) == (3, 3)
    join(teams, "u2", "u3")
    run(teams)
    assert inside(teams) == {"u2", "u3"}, "one may go"
    assert teams.services.teams.get("c1")["g7"].held == 0


def test_more_than_twenty_or_a_tenth_are_held_together(teams):
    users = hire(teams, 45)
    run(teams)
    join(teams, *users)
    run(teams)
    leave(teams, *users[:21])
    run(teams)
    assert len(inside(teams)) == 45
    join(teams, users[0])
    run(teams)
    assert len(inside(teams)) == 25
    leave(teams, users[0])
    run(teams)
    assert len(inside(teams)) == 25, "it is the twenty-first of this day"
    teams.fakes.clock.advance(DAY)
    run(teams)
    assert len(inside(teams)) == 24


@pytest.mark.parametrize("how", ["deleted", "locked"])
def test_whoever_can_be_taken_out_of_nothing_holds_up_nobody_else(teams, how):
    users = hire(teams, 45)
    run(teams)
    join(teams, *users)
    run(teams)
    for start in range(0, 24, 3):
        for user_id in users[start : start + 3]:
            if how == "deleted":
                teams.delete(user_id)
            else:
                scim_id = teams.entry(user_id).scim_id
                teams.keeper.accounts[scim_id] = replace(teams.keeper.accounts[scim_id], active=False)
        run(teams, RunKind.DRIFT)
        leave(teams, *users[start : start + 3])
        teams.fakes.clock.advance(DAY)
        run(teams)
    assert {"x00", "x44"} < inside(teams)
    leave(teams, "x44")
    run(teams)
    kept = teams.services.teams.get("c1")["g7"]
    assert ("x44" in inside(teams), kept.held) == (False, 0)
    leave(teams, *users[24:44])
    run(teams)
    assert teams.services.teams.get("c1")["g7"].held == 20, "of those who can leave these are all"


def test_archived_people_who_left_a_group_do_not_count_into_what_others_may_leave(teams):
    users = hire(teams, 45)
    run(teams)
    join(teams, *users)
    run(teams)
    for user_id in users[:20]:
        teams.archive(user_id)
    run(teams)
    leave(teams, *users[:20])
    run(teams)
    assert len(inside(teams)) == 45, "they are not operated on"
    leave(teams, *users[20:31])
    run(teams)
    assert (len(inside(teams)), teams.services.teams.get("c1")["g7"].held) == (34, 0)
    teams.restore(users[0])
    run(teams)
    run(teams)
    assert users[0] not in inside(teams)


def test_a_suspended_user_keeps_the_teams_but_those_whose_group_they_left(teams):
    other = Group(id="g9", email="keeper-sales@example.com", name="Sales")
    teams.directory.groups["g9"] = other
    join(teams, "u1", "u2")
    join(teams, "u1", group=other)
    run(teams)
    teams.suspend("u1")
    run(teams)
    assert (teams.entry("u1").status, len(teams.entry("u1").teams)) == (Status.SUSPENDED, 2)
    leave(teams, "u1")
    join(teams, "u1", group=NESTED)
    leave(teams, "u1", group=NESTED)
    run(teams)
    assert inside(teams) == {"u2"}
    assert [len(members) for members in teams.keeper.members.values()] == [1, 1]
    join(teams, "u1")
    run(teams)
    assert inside(teams) == {"u2"}, "nobody joins without access"
    teams.restore("u1")
    run(teams)
    run(teams)
    assert inside(teams) == {"u1", "u2"}


def test_a_membership_that_ended_meanwhile_is_removed_before_access_is_given_back(teams):
    join(teams, "u1", "u2", "u3")
    run(teams)
    teams.suspend("u1")
    run(teams)
    teams.restore("u1")
    leave(teams, "u1")
    run(teams)
    assert ("u1" in inside(teams), teams.entry("u1").status) == (False, Status.SUSPENDED)
    run(teams)
    assert teams.entry("u1").status is Status.ACTIVE


def test_a_removal_that_keeper_refuses_keeps_nobody_out(teams):
    join(teams, "u1", "u2", "u3")
    run(teams)
    teams.suspend("u1")
    run(teams)
    teams.restore("u1")
    leave(teams, "u1")
    teams.keeper.faults.extend([Rejected("400"), Rejected("400"), None, Rejected("400")])
    for _ in range(2):
        run(teams)
        assert (teams.entry("u1").status, teams.entry("u1").failure.code) == (Status.SUSPENDED, "rejected")
    run(teams)
    assert (teams.entry("u1").status, inside(teams)) == (Status.ACTIVE, {"u1", "u2", "u3"})
    assert teams.entry("u1").failure.code == "rejected", "it is tried after access, too"
    run(teams)
    assert inside(teams) == {"u2", "u3"}


def test_a_lost_answer_is_asked_again_and_a_membership_that_ended_meanwhile_goes(teams):
    run(teams)
    join(teams, "u1", "u2")
    teams.keeper.faults.extend(["lost", None])
    run(teams)
    assert inside(teams) == {"u1", "u2"}
    leave(teams, "u1")
    for _ in range(4):
        teams.fakes.clock.advance(DAY)
        run(teams)
    assert inside(teams) == {"u2"}
    assert teams.entry("u1").sent_teams == ()


def test_a_refused_write_is_that_users_failure_and_is_made_up_for(teams):
    run(teams)
    join(teams, "u1", "u2")
    teams.keeper.faults.extend([Rejected("400"), None])
    run(teams)
    assert len(inside(teams)) == 1
    teams.fakes.clock.advance(DAY)
    run(teams)
    assert inside(teams) == {"u1", "u2"}


def test_a_refusal_of_memberships_keeps_nobody_from_an_account_or_a_change(teams):
    run(teams)
    teams.hire("u4", "new@example.com")
    join(teams, "u1", "u4")
    teams.rename("u1", "Other")
    refuse = refusing_teams(teams.keeper.write)
    put, teams.keeper.write = teams.keeper.write, refuse
    run(teams)
    assert [account.active for account in teams.keeper.of("u4")] == [True]
    assert [account.attributes["name.givenName"] for account in teams.keeper.of("u1")] == ["Other"]
    assert (inside(teams), teams.entry("u4").teams, teams.entry("u4").failure) == (set(), (), None)
    run(teams)
    assert {teams.entry(user_id).failure.code for user_id in ("u1", "u4")} == {"rejected"}
    teams.keeper.write = put
    teams.fakes.clock.advance(DAY)
    run(teams)
    assert inside(teams) == {"u1", "u4"}


def refusing_teams(put):
    def refuse(write):
        if write.joins or write.leaves:
            raise Rejected("400")
        return put(write)

    return refuse


def test_a_group_that_is_not_chosen_any_more_leaves_its_people_in_the_team(teams):
    join(teams, "u1")
    run(teams)
    teams.services.connections.change(
        "c1", lambda current: with_settings(current, teams=TeamChoice(patterns=("other-*",)))
    )
    leave(teams, "u1")
    told = run(teams)
    assert inside(teams) == {"u1"}
    assert teams.services.teams.get("c1")["g7"].state is TeamState.LEFT
    assert told.planned == {}


def _choose_none(scenario: Scenario) -> None:
    choice = TeamChoice(empty_left=scenario.connection.settings.teams.empty_left)
    scenario.services.connections.change("c1", lambda current: with_settings(current, teams=choice))


@pytest.fixture
def emptied(teams: Scenario) -> Scenario:
    """A team with four members, one of them put there by somebody else; the teams of groups that left are emptied."""
    choice = replace(teams.connection.settings.teams, empty_left=True)
    teams.services.connections.change("c1", lambda current: with_settings(current, teams=choice))
    join(teams, *USERS[:3])
    run(teams)
    teams.keeper.members[TEAM].add(teams.keeper.seed("stranger@example.com").scim_id)
    return teams


ENDS = {
    "another choice": lambda scenario: _choose_others(scenario),
    "no choice": _choose_none,
    "deleted": lambda scenario: scenario.directory.groups.pop("g7"),
}


@pytest.mark.parametrize("how", ENDS)
def test_the_team_of_a_group_that_left_is_emptied_once_somebody_approves_it(emptied, how):
    ENDS[how](emptied)
    told = run(emptied)
    assert inside(emptied) == {"", *USERS[:3]}
    kept = emptied.services.teams.get("c1")["g7"]
    assert (kept.state, kept.held, kept.people) == (TeamState.LEFT, 3, 3)
    assert any("not chosen any more stay until that is approved under Teams: 3 of Engineers" in n for n in told.notes)
    approve_removals(emptied.services, "c1", "g7", kept.held_digest, Actor(address="boss@example.com"))
    told = run(emptied)
    assert inside(emptied) == {""}, "whom somebody else put there stays"
    assert told.notes == ()
    kept = emptied.services.teams.get("c1")["g7"]
    run(emptied)
    kept = emptied.services.teams.get("c1")["g7"]
    assert (kept.state, kept.held, kept.people) == (TeamState.LEFT, 0, 0)
    assert TEAM in emptied.keeper.teams


def test_even_a_single_one_waits_for_the_approval(emptied):
    for user_id in ("u2", "u3"):
        leave(emptied, user_id)
        emptied.fakes.clock.advance(DAY)
        run(emptied)
    ENDS["deleted"](emptied)
    run(emptied)
    assert inside(emptied) == {"", "u1"}
    assert approve(emptied) == 1
    run(emptied)
    assert inside(emptied) == {""}


def test_an_approval_to_empty_a_team_is_not_about_others(emptied):
    ENDS["deleted"](emptied)
    run(emptied)
    assert approve(emptied) == 3
    emptied.delete("u3")
    run(emptied, RunKind.DRIFT)
    run(emptied)
    assert len(inside(emptied)) == 4, "one of them cannot be taken out any more"
    assert approve(emptied) == 2
    run(emptied)
    assert inside(emptied) == {"", "u3"}


def test_a_team_that_is_not_in_keeper_any_more_is_not_emptied(emptied):
    ENDS["deleted"](emptied)
    emptied.keeper.teams.clear()
    assert run(emptied).planned == {}


def test_a_group_that_is_chosen_again_keeps_its_people(emptied):
    group = emptied.directory.groups.pop("g7")
    run(emptied)
    emptied.directory.groups["g7"] = group
    run(emptied)
    kept = emptied.services.teams.get("c1")["g7"]
    assert (kept.state, kept.held, inside(emptied)) == (TeamState.THERE, 0, {"", *USERS[:3]})


def test_where_nothing_is_known_of_teams_nothing_is_listed_to_empty_them(teams, monkeypatch):
    _choose_none(teams)
    choice = TeamChoice(empty_left=True)
    teams.services.connections.change("c1", lambda current: with_settings(current, teams=choice))
    monkeypatch.setattr(teams.directory, "all_groups", None)
    assert run(teams).state in (RunState.PLANNED, RunState.DONE)


def test_a_run_under_way_leaves_nothing_of_a_choice_that_ends_meanwhile(teams, monkeypatch):
    join(teams, *USERS[:3])
    run(teams)
    leave(teams, *USERS[:3])
    members = teams.directory.members
    monkeypatch.setattr(teams.directory, "members", lambda group: (_choose_none(teams), members(group))[1])
    run(teams)
    kept = teams.services.teams.get("c1")["g7"]
    assert (kept.state, kept.held) == (TeamState.LEFT, 0)


def _choose_others(scenario: Scenario) -> None:
    choice = replace(scenario.connection.settings.teams, patterns=("other-*",))
    scenario.services.connections.change("c1", lambda current: with_settings(current, teams=choice))


def _have_two_teams(scenario: Scenario) -> None:
    scenario.keeper.teams["t9"] = replace(scenario.keeper.teams[TEAM], id="t9")


@pytest.mark.parametrize(
    "ends",
    [
        _choose_others,
        _have_two_teams,
        lambda scenario: scenario.keeper.teams.clear(),
        lambda scenario: scenario.directory.groups.pop("g7"),
    ],
)
def test_nobody_is_held_in_a_team_that_is_not_the_group_s_any_more(teams, ends):
    join(teams, *USERS[:3])
    run(teams)
    leave(teams, *USERS[:3])
    run(teams)
    assert teams.services.teams.get("c1")["g7"].held == 3
    ends(teams)
    told = run(teams)
    kept = teams.services.teams.get("c1")["g7"]
    assert (kept.serves, kept.held, kept.held_digest) == (False, 0, "")
    assert not [note for note in told.notes if "left a group" in note]


def test_a_team_that_is_deleted_in_keeper_concerns_nobody(teams):
    join(teams, "u1")
    run(teams)
    teams.keeper.teams.clear()
    leave(teams, "u1")
    join(teams, "u2")
    told = run(teams)
    assert told.planned == {}


def test_an_account_that_is_made_again_is_put_into_its_teams_again(teams):
    join(teams, "u1", "u2")
    run(teams)
    (account,) = teams.keeper.of("u1")
    del teams.keeper.accounts[account.scim_id]
    teams.keeper.members[TEAM].discard(account.scim_id)
    teams.rename("u1", "Back")
    for _ in range(3):
        run(teams)
    assert inside(teams) == {"u1", "u2"}


def test_in_a_pilot_only_the_chosen_people_join_and_leave(teams):
    join(teams, "u1")
    run(teams)
    teams.services.connections.change(
        "c1", lambda current: replace(current, pilot={"u2": "b@example.com", "u3": "c@example.com"})
    )
    leave(teams, "u1")
    join(teams, "u2", "u3")
    run(teams)
    assert inside(teams) == {"u1", "u2", "u3"}
    assert teams.services.teams.get("c1")["g7"].held == 0
    teams.services.connections.change("c1", lambda current: replace(current, pilot=None))
    run(teams)
    assert inside(teams) == {"u2", "u3"}


def test_without_a_choice_nobody_is_put_anywhere(teams):
    teams.services.connections.change("c1", lambda current: with_settings(current, teams=TeamChoice()))
    join(teams, "u1")
    assert run(teams).planned == {}
    assert teams.entry("u1").teams == ()


@pytest.mark.parametrize("error", [Transient("Keeper failed"), AccountGone("404")])
def test_whatever_fails_the_directory_decides_in_the_end(teams, error):
    run(teams)
    join(teams, "u1", "u2", "u3")
    teams.keeper.faults.extend([error, None, error])
    for _ in range(5):
        teams.fakes.clock.advance(DAY)
        run(teams)
    assert inside(teams) == {"u1", "u2", "u3"}


def approve(scenario: Scenario) -> int:
    """Approve what is held of the team, as an administrator who looks at the page."""
    team = scenario.services.teams.get("c1")["g7"]
    return approve_removals(scenario.services, "c1", "g7", team.held_digest, Actor(address="boss@example.com"))


def test_an_approval_takes_out_exactly_those_whom_it_is_about(teams):
    join(teams, *USERS[:3])
    run(teams)
    leave(teams, "u1", "u2")
    run(teams)
    assert inside(teams) == set(USERS[:3])
    assert approve(teams) == 2
    assert teams.fakes.queue.runs == [RunKind.FULL]
    run(teams)
    assert inside(teams) == {"u3"}
    assert teams.services.teams.get("c1")["g7"].held == 0
    told = [event.reason for event in teams.fakes.store.events["c1"].values() if event.actor == "boss@example.com"]
    assert told == ["Approved taking 2 people out of the team Engineers."]


def test_an_approval_is_not_about_others_and_ends_after_a_day(teams):
    users = hire(teams, 6)
    run(teams)
    join(teams, *users)
    run(teams)
    leave(teams, *users[:3])
    run(teams)
    approve(teams)
    leave(teams, users[3])
    run(teams)
    assert len(inside(teams)) == 6, "another one left meanwhile"
    join(teams, users[3])
    teams.fakes.clock.advance(DAY)
    run(teams)
    assert len(inside(teams)) == 6, "it was given a day ago"
    with pytest.raises(Stale):
        approve_removals(teams.services, "c1", "g7", "d" * 32, Actor(address="boss@example.com"))
    with pytest.raises(NotFound):
        approve_removals(teams.services, "c1", "g9", "d" * 32, Actor(address="boss@example.com"))
    approve(teams)
    run(teams)
    assert inside(teams) == set(users[3:])


def test_what_was_approved_and_could_not_be_done_needs_no_second_approval(teams):
    join(teams, *USERS[:3])
    run(teams)
    leave(teams, "u1", "u2")
    run(teams)
    approve(teams)
    teams.keeper.faults.extend([Rejected("400"), None])
    run(teams)
    assert len(inside(teams)) == 2
    teams.fakes.clock.advance(DAY / 2)
    run(teams)
    assert inside(teams) == {"u3"}


def test_an_approval_counts_from_when_it_was_given_not_from_when_the_first_one_left(teams):
    users = hire(teams, 10)
    run(teams)
    join(teams, *users)
    run(teams)
    leave(teams, users[0])
    run(teams)
    teams.fakes.clock.advance(DAY * 0.9)
    leave(teams, *users[1:7])
    run(teams)
    assert approve(teams) == 6
    teams.keeper.faults.extend([Rejected("400")] * 3)
    run(teams)
    assert len(inside(teams)) == 6, "three are left to do, half of the team"
    teams.fakes.clock.advance(DAY * 0.8)
    run(teams)
    assert len(inside(teams)) == 3


@pytest.mark.parametrize("how", ["carried out", "back before that"])
def test_an_approval_is_spent_by_what_it_was_about_and_lets_nobody_go_again(teams, how):
    join(teams, *USERS[:3])
    run(teams)
    leave(teams, "u1", "u2")
    run(teams)
    approve(teams)
    if how == "back before that":
        teams.keeper.faults.extend([Rejected("400")] * 4)
    run(teams)
    teams.keeper.faults.clear()
    assert ("u1" in inside(teams)) is (how == "back before that")
    join(teams, "u1", "u2")
    teams.fakes.clock.advance(DAY / 4)
    run(teams)
    assert inside(teams) == set(USERS[:3])
    leave(teams, "u1", "u2")
    run(teams)
    kept = teams.services.teams.get("c1")["g7"]
    assert (inside(teams), kept.held, kept.removals.approved) == (set(USERS[:3]), 2, ())
    approve(teams)
    run(teams)
    assert inside(teams) == {"u3"}, "it is approved once more"


def test_an_approval_outlasts_an_answer_that_was_lost(teams):
    join(teams, *USERS[:3])
    run(teams)
    leave(teams, "u1", "u2")
    run(teams)
    approve(teams)
    teams.keeper.faults.extend(["lost"] * 2)
    run(teams)
    kept = teams.services.teams.get("c1")["g7"]
    assert (teams.entry("u1").asked, kept.removals.approved) == ((TEAM,), ("u1", "u2"))
    run(teams)
    kept = teams.services.teams.get("c1")["g7"]
    assert (teams.entry("u1").sent_teams, kept.held) == ((), 0)
    run(teams)
    assert teams.services.teams.get("c1")["g7"].removals.approved == (), "the answers are known"


@pytest.mark.parametrize("between", ["nothing", "another write", "a refusal"])
def test_a_membership_that_may_have_arrived_goes_with_the_group(teams, between):
    run(teams)
    join(teams, "u1")
    teams.keeper.faults.append("lost")
    run(teams)
    assert (inside(teams), teams.entry("u1").teams, teams.entry("u1").asked) == ({"u1"}, (), (TEAM,))
    leave(teams, "u1")
    if between != "nothing":
        teams.rename("u1", "Other")
        teams.keeper.faults.extend([Rejected("400")] * (between == "a refusal"))
        for look in teams.sent[-1:]:
            teams.deliver(look)
    teams.fakes.clock.advance(DAY)
    run(teams)
    assert (inside(teams), teams.entry("u1").sent_teams) == (set(), ())


def test_somebody_who_was_deleted_in_keeper_loses_teams_with_the_group(teams):
    scenario = Scenario(delete_after=0)
    scenario.directory.groups[ENGINEERS.id] = ENGINEERS
    scenario.services.connections.change(
        "c1", lambda current: with_settings(current, teams=TeamChoice(patterns=("keeper-*",)))
    )
    join(scenario, *USERS[:3])
    run(scenario)
    run(scenario)
    scenario.suspend("u1")
    run(scenario)
    assert scenario.entry("u1").deleted
    assert "u1" in inside(scenario)
    leave(scenario, "u1")
    run(scenario)
    assert inside(scenario) == {"u2", "u3"}
    assert not any(account.active for account in scenario.keeper.of("u1"))


def test_an_account_that_takes_the_place_of_another_has_none_of_its_teams(teams):
    join(teams, "u1", "u2")
    run(teams)
    (account,) = teams.keeper.of("u1")
    moved = replace(account, scim_id="k900")
    teams.keeper.accounts["k900"] = moved
    del teams.keeper.accounts[account.scim_id]
    for _ in range(3):
        teams.rename("u1", f"Name {_}")
        for look in teams.sent[-1:]:
            teams.deliver(look)
        run(teams)
    assert "k900" in teams.keeper.members[TEAM]


def test_a_batch_stays_within_its_size_though_everybody_is_in_many_teams(teams):
    for number in range(150):
        group = Group(id=f"m{number}", email=f"keeper-{number}@example.com", name=f"{number}".rjust(60, "x"))
        teams.directory.groups[group.id] = group
        teams.directory.memberships[group.id] = {"u1", "u2", "u3"}
    choice = TeamChoice(patterns=("keeper-*",), most=500)
    teams.services.connections.change("c1", lambda current: with_settings(current, teams=choice))
    for _ in range(2):  # a run makes a hundred teams
        teams.fakes.clock.advance(LATER)
        teams.plan()
        [*batches] = teams.fakes.queue.batches
        teams.work_off()
    changes = [change for batch in batches for change in batch.changes]
    assert len(changes) == 3
    for change in changes:
        sent = len(
            messages.encode_batch(Batch(connection_id="c1", run_id="r1", fence=1, number="1", changes=(change,)))
        )
        assert dispatch.weight(change) >= sent - 500, "the envelope is not counted"


def waits(scenario: Scenario) -> Unsettled:
    return scenario.services.teams.get("c1")["g7"].unsettled


def writes(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return what is written from now on."""
    written, put = [], scenario.keeper.write
    monkeypatch.setattr(scenario.keeper, "write", lambda write: (written.append(write), put(write))[1])
    return written


def queue(scenario: Scenario, *users: str) -> None:
    """Have Keeper show these memberships no more, or not yet."""
    for user_id in users:
        (account,) = scenario.keeper.of(user_id)
        scenario.keeper.queued.add((TEAM, account.scim_id))


@pytest.mark.parametrize("shows", [True, False], ids=["Keeper shows what waits", "Keeper does not"])
def test_what_was_sent_waits_is_told_when_it_is_late_and_is_never_sent_again(teams, monkeypatch, shows):
    join(teams, "u1", "u2")
    run(teams)
    sent = teams.entry("u1").last_action_at
    assert teams.entry("u1").unseen == (Unseen(team_id=TEAM, since=sent),)
    queue(teams, *(() if shows else ("u1", "u2")))
    written = writes(teams, monkeypatch)
    run(teams)
    assert (waits(teams).waiting, waits(teams).late) == (2, 0), "nobody has looked yet"
    assert run(teams, RunKind.DRIFT).planned == {}
    assert run(teams).planned == {}
    assert waits(teams) == (SETTLED if shows else Unsettled(waiting=2, since=sent))
    teams.fakes.clock.advance(14 * DAY)
    drifted = run(teams, RunKind.DRIFT)
    run(teams)
    assert waits(teams) == (SETTLED if shows else Unsettled(since=sent, late=2))
    assert [note for note in drifted.notes if "changed in Keeper" in note] == []
    teams.keeper.queued.clear()
    run(teams, RunKind.DRIFT)
    run(teams)
    assert waits(teams) == SETTLED
    assert written == []


def test_what_arrived_is_noted_without_asking_the_directory_about_anybody(teams, monkeypatch):
    join(teams, *USERS[:3])
    run(teams)
    monkeypatch.setattr(teams.directory, "user", None)
    monkeypatch.setattr(teams.directory, "users", None)
    asked = []
    monkeypatch.setattr(FakeAccounts, "teams", lambda *_: asked.append(1))
    done = run(teams, RunKind.DRIFT)
    assert (done.state, done.planned, done.notes) == (RunState.DONE, {}, ())
    assert [teams.entry(user_id).unseen for user_id in USERS[:3]] == [()] * 3
    assert asked == []


def test_whom_somebody_took_out_in_keeper_stays_out_and_is_told_once(teams, monkeypatch):
    join(teams, "u1", "u2")
    run(teams)
    run(teams, RunKind.DRIFT)
    (account,) = teams.keeper.of("u1")
    teams.keeper.members[TEAM].discard(account.scim_id)
    written = writes(teams, monkeypatch)
    told = run(teams, RunKind.DRIFT)
    assert told.notes == ("Accounts that somebody else changed in Keeper: 1 (1 taken out of teams)",)
    (change,) = teams.services.keeper_changes.get("c1")
    assert (change.user_id, change.found, change.before, change.repair) == (
        "u1", {"groups": ""}, {"groups": "Engineers"}, None,
    )  # fmt: skip
    run(teams)
    assert waits(teams) == Unsettled(ended=1)
    assert run(teams, RunKind.DRIFT).notes == ()
    assert written == []
    teams.keeper.members[TEAM].add(account.scim_id)
    run(teams, RunKind.DRIFT)
    run(teams)
    assert waits(teams) == SETTLED


def test_beside_another_change_in_keeper_both_are_told_and_only_that_is_repaired(teams):
    join(teams, "u1", "u2")
    run(teams)
    run(teams, RunKind.DRIFT)
    (account,) = teams.keeper.of("u1")
    teams.keeper.members[TEAM].discard(account.scim_id)
    attributes = {**account.attributes, "name.givenName": "Somebody"}
    teams.keeper.accounts[account.scim_id] = replace(account, attributes=attributes)
    run(teams, RunKind.DRIFT)
    (change,) = teams.services.keeper_changes.get("c1")
    assert set(change.found) == {"groups", "name.givenName"}
    assert inside(teams) == {"u2"}
    assert teams.entry("u1").unseen[0].seen
    assert [account.attributes["name.givenName"] for account in teams.keeper.of("u1")] == ["New"]


def test_a_team_that_is_gone_as_a_whole_is_nobodys_change(teams):
    join(teams, "u1", "u2")
    run(teams)
    run(teams)
    run(teams, RunKind.DRIFT)
    teams.keeper.teams.clear()
    assert run(teams, RunKind.DRIFT).notes == ()
    run(teams)
    assert teams.services.teams.get("c1")["g7"].state is TeamState.DELETED
    assert list(teams.services.keeper_changes.get("c1")) == []


@pytest.mark.parametrize("error", [Transient("503"), Rejected("403"), Throttled("429", retry_after=1)])
def test_where_teams_cannot_be_listed_it_is_told_by_the_next_drift_run(teams, monkeypatch, error):
    join(teams, "u1", "u2")
    run(teams)
    run(teams, RunKind.DRIFT)
    (account,) = teams.keeper.of("u1")
    teams.keeper.members[TEAM].discard(account.scim_id)

    def fail(*_):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(FakeAccounts, "teams", fail)
        assert run(teams, RunKind.DRIFT).notes == ()
    assert any("1 taken out of teams" in note for note in run(teams, RunKind.DRIFT).notes)


def test_a_server_that_tells_no_teams_makes_nobody_s_drift(teams):
    join(teams, "u1")
    run(teams)
    run(teams, RunKind.DRIFT)
    teams.keeper.tells_teams = False
    assert run(teams, RunKind.DRIFT).notes == ()
    run(teams)
    assert waits(teams) == SETTLED


def test_where_changes_are_only_reported_it_is_told_once_too(teams):
    teams.services.connections.change("c1", lambda current: with_settings(current, repair_drift=False))
    join(teams, "u1", "u2")
    run(teams)
    run(teams, RunKind.DRIFT)
    (account,) = teams.keeper.of("u1")
    teams.keeper.members[TEAM].discard(account.scim_id)
    assert any("1 taken out of teams" in note for note in run(teams, RunKind.DRIFT).notes)
    assert run(teams, RunKind.DRIFT).notes == ()


def test_a_new_team_that_keeper_does_not_list_is_awaited_and_those_of_the_first_run_are_in_it(teams):
    join(teams, "u1")
    run(teams)
    teams.keeper.unlisted.add(TEAM)
    join(teams, "u2")
    assert run(teams).planned == {}
    assert teams.services.teams.get("c1")["g7"].state is TeamState.SENT
    assert inside(teams) == {"u1"}
    teams.fakes.clock.advance(14 * DAY)
    run(teams)
    assert teams.services.teams.get("c1")["g7"].state is TeamState.UNSEEN
    teams.keeper.unlisted.clear()
    run(teams)
    assert teams.services.teams.get("c1")["g7"].state is TeamState.THERE
    assert (inside(teams), len(teams.keeper.teams)) == ({"u1", "u2"}, 1)


def test_nobody_joins_a_new_team_that_keeper_does_not_list_once_the_group_is_not_chosen_any_more(teams):
    join(teams, "u1")
    run(teams)
    teams.keeper.unlisted.add(TEAM)
    others = TeamChoice(patterns=("keeper-*",), exclusions=("engineers",))
    teams.services.connections.change("c1", lambda current: with_settings(current, teams=others))
    join(teams, "u2")
    run(teams)
    teams.sweep()
    assert inside(teams) == {"u1"}
    assert teams.services.teams.get("c1")["g7"].state is TeamState.LEFT


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "under way"])
def test_whom_we_take_out_while_keeper_is_listed_is_nobody_else_s_change(teams, monkeypatch, recorded):
    join(teams, "u1", "u2")
    run(teams)
    run(teams, RunKind.DRIFT)
    (account,) = teams.keeper.of("u1")
    listed = FakeAccounts.list

    def leaves_meanwhile(accounts):
        entry, now = teams.entry("u1"), teams.fakes.clock.now
        mark = Mark(change_id="x", message_id="m", action=Action.UPDATE, until=now + MINUTE)
        sent = replace(entry, teams=(), version=entry.version + 1) if recorded else replace(entry, mark=mark)
        teams.fakes.store.put_entry(teams.connection, sent)
        teams.keeper.members[TEAM].discard(account.scim_id)
        return listed(accounts)

    with monkeypatch.context() as patched:
        patched.setattr(FakeAccounts, "list", leaves_meanwhile)
        told = run(teams, RunKind.DRIFT)
    assert [note for note in told.notes if "changed in Keeper" in note] == []
    assert list(teams.services.keeper_changes.get("c1")) == []


def test_who_comes_back_into_a_group_after_a_removal_whose_answer_was_lost_is_in_the_team_again(teams):
    join(teams, "u1", "u2", "u3")
    run(teams)
    leave(teams, "u1")
    teams.keeper.faults.append("lost")
    run(teams)
    assert inside(teams) == {"u2", "u3"}
    join(teams, "u1")
    for _ in range(3):
        run(teams)
        teams.fakes.clock.advance(DAY)
    assert inside(teams) == {"u1", "u2", "u3"}
    assert (teams.entry("u1").teams, teams.entry("u1").asked) == ((TEAM,), ())


def in_doubt(scenario: Scenario) -> None:
    """Let the answer to u1's first membership be lost, with which the request was, too."""
    join(scenario, "u2", "u3")
    run(scenario)
    join(scenario, "u1")
    scenario.keeper.faults.append(Unresolved("lost, and not done"))
    run(scenario)
    assert ("u1" in inside(scenario), scenario.entry("u1").asked) == (False, (TEAM,))


def joins_of(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note whose account is put into a team from here on."""
    told: list[str] = []
    put = scenario.keeper.write

    def write(write):
        told.extend([scenario.keeper.accounts[write.scim_id].external_id] * bool(write.joins or write.leaves))
        return put(write)

    monkeypatch.setattr(scenario.keeper, "write", write)
    return told


def test_a_membership_in_doubt_is_not_asked_for_again_without_access(teams, monkeypatch):
    run(teams)
    in_doubt(teams)
    teams.suspend("u1")
    run(teams)
    told = joins_of(teams, monkeypatch)
    teams.fakes.clock.advance(DAY)
    run(teams)
    assert (told, teams.entry("u1").asked) == ([], (TEAM,))
    teams.restore("u1")
    for _ in range(2):
        run(teams)
    assert (inside(teams), teams.entry("u1").asked) == ({"u1", "u2", "u3"}, ())


@pytest.mark.parametrize("why", ["its group was not read", "its group is not chosen any more", "the team is gone"])
def test_nothing_is_sent_about_a_membership_in_doubt_while(teams, monkeypatch, why):
    run(teams)
    in_doubt(teams)
    leave(teams, "u1")
    match why:
        case "its group was not read":
            teams.directory.unreadable.add("g7")
        case "its group is not chosen any more":
            teams.directory.groups["g9"] = Group(id="g9", email="keeper-sales@example.com", name="Sales")
            del teams.directory.groups["g7"]
        case _:
            del teams.keeper.teams[TEAM]
    told = joins_of(teams, monkeypatch)
    teams.rename("u1", "Other")
    for _ in range(2):
        teams.fakes.clock.advance(DAY)
        run(teams)
    assert (told, teams.entry("u1").asked, teams.entry("u1").failure) == ([], (TEAM,), None)
    assert teams.keeper.of("u1")[0].attributes["name.givenName"] == "Other"


def test_who_leaves_before_their_account_is_made_whole_is_taken_out_of_the_team(teams):
    join(teams, "u1", "u2", "u3")
    run(teams)
    teams.hire("u4", "new@example.com")
    join(teams, "u4")
    teams.keeper.faults.append("inactive")
    run(teams)
    assert "u4" in inside(teams)
    leave(teams, "u4")
    for _ in range(3):
        run(teams)
        teams.fakes.clock.advance(DAY)
    assert (inside(teams), teams.entry("u4").sent_teams) == ({"u1", "u2", "u3"}, ())


def test_an_update_whose_memberships_are_not_understood_sends_nothing(teams, monkeypatch):
    """As in a worker of the release before memberships, which does not know the field."""
    run(teams)
    join(teams, "u1")
    written, put = [], teams.keeper.write
    monkeypatch.setattr(teams.keeper, "write", lambda write: (written.append(write), put(write))[1])
    teams.fakes.clock.advance(LATER)
    teams.plan(RunKind.FULL)
    queue = teams.fakes.queue
    (batch,) = queue.batches
    queue.batches = [replace(batch, changes=tuple(replace(change, teams=None) for change in batch.changes))]
    teams.work_off()
    assert (written, teams.entry("u1").failure, teams.entry("u1").teams) == ([], None, ())
    run(teams)
    assert inside(teams) == {"u1"}


@pytest.mark.parametrize("by", ["a run", "a look"])
def test_an_account_that_is_made_again_is_not_put_into_the_team_of_a_group_that_is_gone(teams, by):
    join(teams, "u1", "u2")
    run(teams)
    (account,) = teams.keeper.of("u1")
    del teams.keeper.accounts[account.scim_id]
    teams.keeper.members[TEAM].discard(account.scim_id)
    teams.directory.groups["g9"] = Group(id="g9", email="keeper-sales@example.com", name="Sales")
    del teams.directory.groups["g7"]
    run(teams)
    teams.rename("u1", "Back")
    if by == "a look":
        for look in teams.sent[-1:]:
            teams.deliver(look)
        teams.work_off()
    for _ in range(3):
        run(teams)
    assert [account.active for account in teams.keeper.of("u1")] == [True]
    assert inside(teams) == {"u2"}


def test_whose_account_seemed_to_have_vanished_is_put_into_their_team_once_more_and_then_left_alone(teams):
    join(teams, "u1")
    run(teams)
    teams.fakes.store.put_entry(teams.connection, replace(teams.entry("u1"), drift=("account",)))
    run(teams)
    run(teams)
    assert (inside(teams), teams.entry("u1").teams, teams.entry("u1").asked) == ({"u1"}, (TEAM,), ())
    assert run(teams).planned == {}


def test_who_is_out_of_scope_keeps_the_teams_though_the_account_seemed_to_have_vanished(teams):
    join(teams, "u1", "u2", "u3")
    run(teams)
    teams.leave("u1")
    teams.fakes.store.put_entry(teams.connection, replace(teams.entry("u1"), drift=("account",)))
    run(teams)
    assert inside(teams) == {"u1", "u2", "u3"}


def test_an_account_that_is_gone_is_not_asked_to_leave_a_team_again_and_again(teams):
    join(teams, "u1", "u2", "u3")
    run(teams)
    teams.suspend("u1")
    run(teams)
    (account,) = teams.keeper.of("u1")
    del teams.keeper.accounts[account.scim_id]
    leave(teams, "u1")
    run(teams)
    gone = teams.entry("u1")
    assert (gone.deleted, gone.sent_teams) == (True, ())
    run(teams)
    assert teams.entry("u1").version == gone.version


def test_what_stayed_in_doubt_while_nothing_was_done_about_somebody_puts_them_into_no_team(teams, monkeypatch):
    join(teams, "u1", "u2", "u3")
    run(teams)
    (account,) = teams.keeper.of("u1")
    teams.keeper.members[TEAM].discard(account.scim_id)
    teams.fakes.store.put_entry(teams.connection, replace(teams.entry("u1"), teams=(), asked=(TEAM,)))
    teams.archive("u1")
    run(teams)
    leave(teams, "u1")
    teams.restore("u1")
    joined, put = [], teams.keeper.write
    monkeypatch.setattr(teams.keeper, "write", lambda write: (joined.extend(write.joins), put(write))[1])
    for _ in range(3):
        run(teams)
    assert (joined, teams.entry("u1").sent_teams, inside(teams)) == ([], (), {"u2", "u3"})


def test_whom_the_brake_has_not_counted_since_a_pilot_kept_them_still_stays_until_it_does(teams):
    join(teams, "u1", "u2", "u3")
    run(teams)
    teams.services.connections.change("c1", lambda current: replace(current, pilot={"u9": "z@example.com"}))
    for user_id in ("u1", "u2"):
        teams.leave(user_id)
        leave(teams, user_id)
    run(teams)
    for user_id in ("u1", "u2"):
        teams.join(user_id)
    teams.services.connections.change("c1", lambda current: replace(current, pilot=None))
    for _ in range(3):
        run(teams)
        assert inside(teams) == {"u1", "u2", "u3"}
    assert teams.services.teams.get("c1")["g7"].held == 2


def concerns(scenario: Scenario) -> list[str]:
    """Return what Health says about teams."""
    seen = health(scenario.services, Told(), FakeChannels(scenario.fakes.store), scenario.connection)
    return [concern.what for concern in seen.concerns if concern.page == "teams"]


def test_a_node_that_takes_memberships_with_success_and_keeps_none_is_told_and_not_asked_again(teams):
    write, sent = teams.keeper.write, []

    def forgetting(each):
        sent.append(each)
        return write(replace(each, joins=(), leaves=()))

    teams.keeper.write = forgetting
    join(teams, "u1", "u2")
    for days in (0, 5, 5):
        teams.fakes.clock.advance(days * DAY)
        run(teams)
        run(teams, RunKind.DRIFT)
        run(teams)
    assert (len(sent), concerns(teams)) == (2, [])
    teams.fakes.clock.advance(5 * DAY)
    run(teams)
    assert concerns(teams) == ["Keeper has not shown 2 memberships of 1 team for 14 days, and nothing is sent again."]
    run(teams)
    assert len(sent) == 2
    leave(teams, "u1", "u2")
    approve_all(teams)
    assert concerns(teams) == []


def approve_all(scenario: Scenario) -> None:
    """Let everybody who is held leave the team."""
    run(scenario)
    held = scenario.services.teams.get("c1")["g7"]
    approve_removals(scenario.services, "c1", "g7", held.held_digest, Actor(address="boss@example.com"))
    for _ in range(2):
        run(scenario)


def test_health_tells_of_a_team_to_whose_creation_keeper_gave_no_answer(teams):
    run(teams)
    lost = replace(teams.services.teams.get("c1")["g7"], state=TeamState.REFUSED, team_id="", asked="E", lost=MOST_LOST)
    teams.services.teams.change("c1", lambda _: {"g7": lost})
    assert concerns(teams) == ["Keeper gave no answer to the creation of 1 team, and none is sent again."]


def test_who_got_no_account_is_in_no_team_and_nobody_is_asked_to_take_them_out(teams, monkeypatch):
    run(teams)

    def refuse(_write: Write) -> None:
        raise Rejected("Keeper refuses to make this account")

    with monkeypatch.context() as patch:
        patch.setattr(teams.keeper, "write", refuse)
        users = hire(teams, 3)
        join(teams, *users)
        run(teams)
    leave(teams, *users)
    run(teams)
    assert teams.services.teams.get("c1")["g7"].held == 0
    assert [teams.entry(user_id).sent_teams for user_id in users] == [()] * 3
