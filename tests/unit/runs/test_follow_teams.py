"""Teams of chosen groups, made and renamed by full runs: what is sent, what is kept, and what failing leaves alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.adapters.threads import Threads
from autoprovisioning.app.administration.adopt_team import adopt_team
from autoprovisioning.app.administration.configure import turn_off
from autoprovisioning.app.administration.retry_team import retry_team
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import (
    AuthorizationRefused,
    Incomplete,
    NotFound,
    Rejected,
    Stale,
    Throttled,
    Transient,
    WrongState,
)
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.runs import RunKind, RunState
from autoprovisioning.domain.scope import Group
from autoprovisioning.domain.team_plan import UNTOLD
from autoprovisioning.domain.teams import MOST_LOST, RESTS, Team, TeamChoice, TeamState
from tests.support.builders import DAY, MINUTE
from tests.support.in_memory import FakeAccounts
from tests.support.scenario import GROUP, LATER, Scenario
from tests.support.settings import with_settings
from tests.support.teams import BY_PATTERN, ENGINEERS, choose, run, with_teams

BOSS = Actor(address="boss@example.com")
SALES = Group(id="g8", email="keeper-sales@example.com", name="Sales")


@pytest.fixture
def teams(scenario: Scenario) -> Scenario:
    """A customer with two groups that a pattern chooses; of what is sent side by side, one comes after the other."""
    return with_teams(scenario, ENGINEERS, SALES)


def state(scenario: Scenario, group: Group) -> TeamState:
    return scenario.services.teams.get("c1")[group.id].state


def there(scenario: Scenario) -> dict[str, str]:
    return {team.external_id: team.name for team in scenario.keeper.teams.values()}


def test_nothing_is_asked_where_no_group_is_chosen(scenario, monkeypatch):
    monkeypatch.setattr(scenario.services.teams, "get", None)
    monkeypatch.setattr(scenario.directory, "all_groups", None)
    assert run(scenario).state in (RunState.PLANNED, RunState.DONE)
    assert scenario.keeper.teams == {}


def test_events_are_dated_as_they_are_committed(teams, monkeypatch):
    clock, members = teams.fakes.clock, teams.directory.members
    monkeypatch.setattr(teams.directory, "members", lambda group: (clock.advance(5 * MINUTE), members(group))[1])
    ended = None

    def change(connection_id, edit, events, change=teams.services.teams.change):
        nonlocal ended
        ended = clock()
        return change(connection_id, edit, events)

    monkeypatch.setattr(teams.services.teams, "change", change)
    run(teams)
    events = [event for event in teams.fakes.store.events["c1"].values() if "team" in event.changed]
    assert [event.at for event in events] == [ended, ended]


def test_a_full_run_makes_the_teams_once_and_tells(teams):
    told = run(teams)
    assert there(teams) == {"g7": "Engineers", "g8": "Sales"}
    assert "2 teams: 2 created" in told.notes
    events = [event for event in teams.fakes.store.events["c1"].values() if "team" in event.changed]
    assert {(event.reason, event.changed["team"], event.actor) for event in events} == {
        ("Created a team for the group keeper-engineers@example.com.", "Engineers", f"run {told.id}"),
        ("Created a team for the group keeper-sales@example.com.", "Sales", f"run {told.id}"),
    }
    kept = teams.services.teams.get("c1")["g7"]
    made = teams.fakes.clock.now
    assert (kept.state, kept.team_id, kept.created, kept.unseen_since) == (TeamState.THERE, "t1", made, made)
    again = run(teams)
    assert (len(teams.keeper.teams), again.notes) == (2, ())
    assert teams.services.teams.get("c1")["g7"] == replace(kept, unseen_since=None), "a listing shows it"


def test_none_is_made_once_the_connection_is_turned_off(teams, monkeypatch):
    create = FakeAccounts.create_team

    def turning_off(accounts, *wanted):
        turn_off(teams.services, "c1", Actor(address="boss@example.com"))
        return create(accounts, *wanted)

    monkeypatch.setattr(FakeAccounts, "create_team", turning_off)
    assert run(teams).state is RunState.REFUSED
    assert there(teams) == {"g7": "Engineers"}
    assert state(teams, ENGINEERS) is TeamState.THERE


def test_teams_are_made_side_by_side(teams, monkeypatch):
    teams.services = replace(teams.services, executor=Threads())
    create, together = FakeAccounts.create_team, threading.Barrier(2, timeout=20)

    def waiting_for_the_other(accounts, *wanted):
        together.wait()
        return create(accounts, *wanted)

    monkeypatch.setattr(FakeAccounts, "create_team", waiting_for_the_other)
    assert "2 teams: 2 created" in run(teams).notes
    assert there(teams) == {"g7": "Engineers", "g8": "Sales"}


def test_what_a_token_that_was_replaced_leaves_is_sent_with_the_next(teams, monkeypatch):
    create = FakeAccounts.create_team

    def rotating(accounts, *wanted):
        if teams.keeper.accepts == {"secret"}:
            teams.keeper.accepts = {"next"}
            version = teams.fakes.tokens.add("c1", "next")
            teams.services.connections.change("c1", lambda current: replace(current, token_version=version))
        return create(accounts, *wanted)

    monkeypatch.setattr(FakeAccounts, "create_team", rotating)
    assert "2 teams: 2 created" in run(teams).notes
    assert there(teams) == {"g7": "Engineers", "g8": "Sales"}


def test_a_refusal_about_one_team_alone_pauses_nothing(teams):
    teams.keeper.faults.extend([AuthorizationRefused("403", status=403), None])
    run(teams)
    assert (state(teams, ENGINEERS), there(teams)) == (TeamState.REFUSED, {"g8": "Sales"})
    assert teams.connection.state is State.ON


def test_no_more_is_made_once_keeper_fails(teams):
    for number in range(30):
        group = Group(id=f"m{number}", email=f"keeper-{number}@example.com", name=f"Team {number}")
        teams.directory.groups[group.id] = group
    teams.keeper.faults.extend([None, Transient("Keeper failed"), *[None] * 40])
    run(teams)
    assert len(there(teams)) == 1


def test_a_drift_run_makes_none(teams):
    teams.fakes.clock.advance(LATER)
    teams.plan(RunKind.DRIFT)
    assert teams.keeper.teams == {}


def test_a_renamed_group_renames_its_team_and_no_other_is_touched(teams):
    teams.keeper.teams["t9"] = Team(id="t9", name="Board")
    run(teams)
    teams.directory.groups["g7"] = replace(ENGINEERS, name="Builders")
    told = run(teams)
    assert "1 team: 1 renamed" in told.notes
    assert there(teams) == {"": "Board", "g7": "Builders", "g8": "Sales"}
    (event,) = [event for event in teams.fakes.store.events["c1"].values() if event.before == {"team": "Engineers"}]
    assert event.changed == {"team": "Builders"}


def test_a_group_that_is_deleted_or_not_chosen_any_more_leaves_its_team_and_a_new_one_gets_its_own(teams):
    run(teams)
    del teams.directory.groups["g7"]
    teams.directory.groups["g9"] = Group(id="g9", email="keeper-new@example.com", name="Newcomers")
    run(teams)
    assert there(teams) == {"g7": "Engineers", "g8": "Sales", "g9": "Newcomers"}
    assert state(teams, ENGINEERS) is TeamState.LEFT


@pytest.mark.parametrize("what", ["groups", "teams"])
def test_without_a_complete_listing_nothing_is_done(teams, what, monkeypatch):
    run(teams)
    kept = dict(teams.services.teams.get("c1"))
    teams.directory.groups["g7"] = replace(ENGINEERS, name="Builders")
    if what == "groups":
        teams.directory.unreadable.add("groups")
    else:
        incomplete = Incomplete("Keeper's listing broke off")
        monkeypatch.setattr(type(teams.keeper.opened(teams.connection, "secret")), "teams", raising(incomplete))
    told = run(teams)
    assert (there(teams)["g7"], dict(teams.services.teams.get("c1"))) == ("Engineers", kept)
    assert any(note.startswith("Teams were left alone") for note in told.notes)
    assert told.state in (RunState.PLANNED, RunState.DONE)


def raising(error):
    def raises(*_args):
        raise error

    return raises


def test_a_refusal_is_kept_and_asked_again_after_a_while(teams):
    teams.keeper.faults.extend([Rejected("Keeper refuses this request (HTTP 409: exists)"), None])
    run(teams)
    kept = teams.services.teams.get("c1")["g7"]
    assert (kept.state, kept.reason) == (TeamState.REFUSED, "Keeper refuses this request (HTTP 409: exists)")
    assert there(teams) == {"g8": "Sales"}, "the others are made"
    told = run(teams)
    assert ("1 team: 1 refused by keeper" in told.notes, there(teams)) == (True, {"g8": "Sales"})
    teams.fakes.clock.advance(RESTS)
    run(teams)
    assert there(teams) == {"g7": "Engineers", "g8": "Sales"}


def test_a_renamed_group_is_asked_for_at_once(teams):
    teams.keeper.faults.extend([Rejected("no"), None])
    run(teams)
    teams.directory.groups["g7"] = replace(ENGINEERS, name="Builders")
    run(teams)
    assert there(teams) == {"g7": "Builders", "g8": "Sales"}


def test_a_lost_answer_makes_no_second_team_though_the_listing_lags_behind(teams):
    teams.keeper.faults.append("lost")
    teams.keeper.unlisted.add("t1")
    run(teams)
    assert (there(teams), state(teams, ENGINEERS)) == ({"g7": "Engineers"}, TeamState.WAITING)
    run(teams)
    assert [team.external_id for team in teams.keeper.teams.values()] == ["g7", "g8"]
    teams.keeper.unlisted.clear()
    run(teams)
    assert (len(teams.keeper.teams), state(teams, ENGINEERS)) == (2, TeamState.THERE)


def hours(scenario: Scenario, number: int) -> list[int]:
    """Let so many hours pass with three runs each; returns after how many of them another team was there."""
    made = []
    for hour in range(number):
        before = len(scenario.keeper.teams)
        for _ in range(3):
            run(scenario)
        made += [hour] * (len(scenario.keeper.teams) - before)
    return made


def test_a_team_whose_creations_get_no_answer_is_made_ever_more_seldom_and_then_only_if_somebody_says_so(teams):
    teams.directory.groups.pop("g8")
    teams.keeper.faults.extend(["lost"] * 99)
    teams.keeper.unlisted = {f"t{number}" for number in range(99)}
    assert hours(teams, 100) == [0, 1, 5, 21]
    kept = teams.services.teams.get("c1")["g7"]
    assert (kept.state, kept.given_up, kept.reason) == (TeamState.REFUSED, True, "the answer was lost")
    assert "1 team: 1 keeper gave no answer" in run(teams).notes
    teams.directory.groups["g7"] = replace(ENGINEERS, name="Builders")
    assert hours(teams, 5) == [], "under another name, too"
    retry_team(teams.services, "c1", "g7", BOSS)
    assert (teams.fakes.queue.runs, hours(teams, 2)) == ([RunKind.FULL], [0, 1])
    teams.keeper.unlisted.clear()
    del teams.keeper.teams["t1"]
    for team_id in ("t2", "t3", "t4", "t5"):
        del teams.keeper.teams[team_id]
    run(teams)
    kept = teams.services.teams.get("c1")["g7"]
    assert (kept.state, kept.lost, kept.asked) == (TeamState.THERE, 0, "")


def test_runs_that_die_over_a_creation_are_counted_too(teams, monkeypatch):
    teams.directory.groups.pop("g8")
    teams.keeper.unlisted = {f"t{number}" for number in range(99)}
    for _ in range(9):
        dying(teams, monkeypatch)
        teams.fakes.clock.advance(DAY)
        if len(teams.keeper.teams) == MOST_LOST:
            break
    run(teams)
    kept = teams.services.teams.get("c1")["g7"]
    assert (len(teams.keeper.teams), kept.state, kept.reason) == (MOST_LOST, TeamState.REFUSED, UNTOLD)


def test_what_keeper_refuses_is_tried_at_once_if_somebody_says_so_even_while_a_run_is_under_way(teams, monkeypatch):
    teams.keeper.faults.extend([Rejected("no"), None])
    run(teams)
    members = teams.directory.members

    def meanwhile(group_id):
        monkeypatch.setattr(teams.directory, "members", members)
        retry_team(teams.services, "c1", "g7", BOSS)
        return members(group_id)

    monkeypatch.setattr(teams.directory, "members", meanwhile)
    run(teams)
    assert state(teams, ENGINEERS) is TeamState.WAITING
    with pytest.raises(WrongState):
        retry_team(teams.services, "c1", "g7", BOSS)
    with pytest.raises(NotFound):
        retry_team(teams.services, "c1", "nobody", BOSS)
    run(teams)
    assert there(teams) == {"g8": "Sales", "g7": "Engineers"}
    reasons = [event.reason for event in teams.fakes.store.events["c1"].values() if event.actor == BOSS.address]
    assert reasons == ["Requested another attempt for the team of the group keeper-engineers@example.com."]


def test_keeper_that_asks_for_a_wait_gets_it_and_the_next_run_goes_on(teams):
    teams.keeper.faults.append(Throttled("slow down", retry_after=60))
    run(teams)
    assert (teams.keeper.teams, state(teams, ENGINEERS)) == ({}, TeamState.WAITING)
    assert teams.connection.throttled_until == teams.fakes.clock.now + timedelta(seconds=60)
    run(teams)
    assert there(teams) == {"g7": "Engineers", "g8": "Sales"}


def test_what_was_done_before_a_failure_is_kept(teams):
    teams.keeper.faults.extend([None, Transient("Keeper failed")])
    run(teams)
    assert there(teams) == {"g7": "Engineers"}
    assert (state(teams, ENGINEERS), state(teams, SALES)) == (TeamState.THERE, TeamState.WAITING)
    assert len([event for event in teams.fakes.store.events["c1"].values() if "team" in event.changed]) == 1


def test_a_dead_token_pauses_the_connection_and_what_was_done_is_kept(teams, monkeypatch):
    fault = teams.keeper.next_fault

    def revoked_at_the_second():
        if teams.keeper.teams:
            teams.keeper.accepts.clear()
            return AuthorizationRefused("401", status=401)
        return fault()

    monkeypatch.setattr(teams.keeper, "next_fault", revoked_at_the_second)
    assert run(teams).state is RunState.REFUSED
    assert teams.connection.state is State.PAUSED
    assert (there(teams), state(teams, ENGINEERS)) == ({"g7": "Engineers"}, TeamState.THERE)
    assert len([event for event in teams.fakes.store.events["c1"].values() if "team" in event.changed]) == 1


def test_a_team_deleted_in_keeper_is_made_again_only_where_the_choice_says_so_anew(teams):
    run(teams)
    run(teams)
    del teams.keeper.teams["t1"]
    run(teams)
    assert (state(teams, ENGINEERS), there(teams)) == (TeamState.DELETED, {"g8": "Sales"})
    teams.fakes.clock.advance(DAY)
    choose(teams, replace(BY_PATTERN, exclusions=("engineers",)))
    run(teams)
    choose(teams, BY_PATTERN)
    run(teams)
    assert there(teams) == {"g8": "Sales", "g7": "Engineers"}


def test_teams_that_another_tool_made_of_the_same_groups_are_the_groups(teams):
    teams.keeper.teams["t5"] = Team(id="t5", name="Engineers (old)", external_id="g7")
    run(teams)
    assert teams.keeper.teams["t5"].name == "Engineers"
    assert len(teams.keeper.teams) == 2


@pytest.mark.parametrize("shown", ["t9", "t1"], ids=["people's", "another group's"])
def test_nobody_is_put_into_the_team_of_others_that_a_creation_is_answered_with(teams, monkeypatch, shown):
    teams.keeper.teams["t9"] = Team(id="t9", name="Board")
    teams.directory.memberships["g8"] = {"u1"}
    create = FakeAccounts.create_team

    def answered(accounts, external_id, name, deadline):
        made = create(accounts, external_id, name, deadline)
        return replace(made, id=shown) if external_id == SALES.id else made

    monkeypatch.setattr(FakeAccounts, "create_team", answered)
    run(teams)
    assert (state(teams, ENGINEERS), state(teams, SALES)) == (TeamState.THERE, TeamState.WAITING)
    assert teams.keeper.members == {}
    run(teams)
    assert (state(teams, SALES), teams.keeper.members) == (TeamState.THERE, {"t2": {teams.entry("u1").scim_id}})


def test_a_team_that_keeper_confirms_without_an_id_is_awaited_and_not_made_twice(teams, monkeypatch):
    teams.directory.memberships["g7"] = {"u1"}
    create = FakeAccounts.create_team
    monkeypatch.setattr(FakeAccounts, "create_team", lambda *wanted: replace(create(*wanted), id=""))
    teams.keeper.unlisted = {"t1", "t2"}
    for days in (0, 1, 14):
        teams.fakes.clock.advance(days * DAY)
        run(teams)
        assert state(teams, ENGINEERS) is (TeamState.UNSEEN if days > 1 else TeamState.SENT)
    assert (len(teams.keeper.teams), len(told(teams)), teams.keeper.members) == (2, 2, {})
    teams.keeper.unlisted.clear()
    run(teams)
    assert state(teams, ENGINEERS) is TeamState.THERE
    assert teams.keeper.members == {"t1": {teams.entry("u1").scim_id}}


def test_each_connection_has_its_own_teams_and_groups_are_listed_once(teams, monkeypatch):
    node = teams.connect("c2", GROUP, shared=False)
    teams.services.connections.change("c2", lambda current: with_settings(current, teams=BY_PATTERN))
    listings = []
    known = teams.directory.all_groups

    def counted():
        listings.append(1)
        return known()

    monkeypatch.setattr(teams.directory, "all_groups", counted)
    teams.run()
    assert [len(keeper.teams) for keeper in (teams.keeper, node)] == [2, 2]
    assert len(listings) == 1


def test_a_rename_that_keeper_accepts_and_does_not_show_is_sent_again_after_a_while(teams, monkeypatch):
    run(teams)
    teams.directory.groups["g7"] = replace(ENGINEERS, name="Builders")
    monkeypatch.setattr(FakeAccounts, "rename_team", lambda _accounts, team, name, _until: replace(team, name=name))
    for renames in (1, 1, 1, 2):
        run(teams)
        assert sum("Renamed" in each for each in told(teams)) == renames
    monkeypatch.undo()
    teams.fakes.clock.advance(RESTS)
    run(teams)
    assert there(teams)["g7"] == "Builders"
    teams.directory.groups["g7"] = replace(ENGINEERS, name="Makers")
    run(teams)
    assert there(teams)["g7"] == "Makers", "another name is sent at once"


@pytest.mark.parametrize("spelled", [str.casefold, str.title, lambda name: f" {name}  "])
def test_a_server_that_spells_names_in_its_own_way_is_not_asked_to_rename_again(teams, monkeypatch, spelled):
    teams.directory.groups["g7"] = replace(ENGINEERS, name="engINEERS")
    written = []
    write = FakeAccounts._team_written

    def as_it_likes(accounts, team):
        written.append(team.name)
        return write(accounts, replace(team, name=spelled(team.name)))

    monkeypatch.setattr(FakeAccounts, "_team_written", as_it_likes)
    for _ in range(3):
        run(teams)
        teams.fakes.clock.advance(RESTS)
    teams.directory.groups["g7"] = replace(ENGINEERS, name="bUILDERS")
    for _ in range(3):
        run(teams)
        teams.fakes.clock.advance(RESTS)
    assert (written, state(teams, ENGINEERS)) == (["Sales", "engINEERS", "bUILDERS"], TeamState.THERE)
    teams.keeper.teams["t2"] = replace(teams.keeper.teams["t2"], name="Other")
    teams.keeper.faults.append(Transient("Keeper failed"))
    for _ in range(3):
        run(teams)
        teams.fakes.clock.advance(RESTS)
    assert written[3:] == ["bUILDERS", "bUILDERS"], "what somebody renamed in Keeper gets its name back"


def test_a_team_that_is_listed_once_without_a_usable_id_is_remembered(teams):
    run(teams)
    team = teams.keeper.teams.pop("t1")
    teams.keeper.teams[""] = replace(team, id="")
    run(teams)
    assert teams.services.teams.get("c1")["g7"].team_id == "t1"
    del teams.keeper.teams[""]
    run(teams)
    assert (state(teams, ENGINEERS), there(teams)) == (TeamState.DELETED, {"g8": "Sales"})


def test_a_team_without_a_usable_id_is_not_taken_for_that_of_a_group_that_has_none(teams):
    teams.keeper.teams[""] = Team(id="", name="Board")
    run(teams)
    assert there(teams) == {"": "Board", "g7": "Engineers", "g8": "Sales"}


THEIRS = Team(id="t9", name="engineers")
BOSS = Actor(address="boss@example.com")


def confirm(scenario: Scenario, team: Team = THEIRS):
    return adopt_team(scenario.services, "c1", "g7", BOSS, team_id=team.id, team_name=team.name)


@pytest.fixture
def offered(teams: Scenario) -> Scenario:
    """A team that somebody made in Keeper, with somebody in it, has the name of a chosen group."""
    teams.keeper.teams["t9"] = THEIRS
    stranger = teams.keeper.seed("stranger@example.com")
    teams.keeper.members["t9"].add(stranger.scim_id)
    teams.directory.memberships["g7"] |= {"u1"}
    run(teams)
    assert state(teams, ENGINEERS) is TeamState.NAME_TAKEN
    return teams


def test_a_team_is_adopted_where_somebody_confirmed_it_with_those_who_are_in_it(offered):
    run(offered)
    assert offered.keeper.teams["t9"] == THEIRS, "never by itself"
    (stranger,) = offered.keeper.members["t9"]
    offered.fakes.queue.runs.clear()
    confirm(offered)
    assert offered.fakes.queue.runs == [RunKind.FULL]
    told = run(offered)
    assert offered.keeper.teams["t9"] == Team(id="t9", name="Engineers", external_id="g7")
    assert state(offered, ENGINEERS) is TeamState.THERE
    accounts = offered.keeper.accounts
    assert {accounts[scim_id].external_id for scim_id in offered.keeper.members["t9"]} == {"", "u1"}
    assert any("1 adopted" in note for note in told.notes)
    events = [event for event in offered.fakes.store.events["c1"].values() if "t9" in event.reason]
    assert [(event.actor, event.reason) for event in events] == [
        (
            "boss@example.com",
            "Confirmed that the team engineers (t9) in Keeper is to be that of the group keeper-engineers@example.com.",
        ),
        (
            f"run {told.id}",
            f"Adopted the team engineers (t9) for the group {ENGINEERS.email}, as boss@example.com confirmed.",
        ),
    ]
    assert (events[1].before, events[1].changed) == (
        {"team": "engineers", "externalId": None},
        {"team": "Engineers", "externalId": "g7"},
    )
    offered.directory.memberships["g7"].clear()
    run(offered)
    assert offered.keeper.members["t9"] == {stranger}
    assert offered.services.teams.adoptions("c1") == {}


def test_to_confirm_twice_is_to_confirm_once(offered):
    confirm(offered)
    confirm(offered)
    events = [event for event in offered.fakes.store.events["c1"].values() if "t9" in event.reason]
    assert len(events) == 1


@pytest.mark.parametrize(
    ("becomes", "told"),
    [
        (None, "the team is not in Keeper any more"),
        (replace(THEIRS, name="Board"), "the team is called Board now"),
        (replace(THEIRS, external_id="g1"), "the team carries the externalId g1 now"),
    ],
)
def test_a_team_that_changed_since_the_confirmation_is_left_alone(offered, becomes, told):
    confirm(offered)
    del offered.keeper.teams["t9"]
    if becomes is not None:
        offered.keeper.teams["t9"] = becomes
    done = run(offered)
    assert offered.keeper.teams.get("t9") == becomes
    assert any(told in note for note in done.notes)
    assert offered.services.teams.adoptions("c1") == {}
    assert not any(told in note for note in run(offered).notes), "it is told once"


def test_what_is_not_offered_any_more_is_not_confirmed(offered):
    with pytest.raises(Stale, match="Another team is offered"):
        confirm(offered, replace(THEIRS, name="Board"))
    with pytest.raises(Stale):
        confirm(offered, replace(THEIRS, id="t8"))
    with pytest.raises(Stale, match="No team is offered"):
        adopt_team(offered.services, "c1", "g8", BOSS, team_id="t9", team_name="engineers")
    with pytest.raises(NotFound):
        adopt_team(offered.services, "c1", "g1", BOSS, team_id="t9", team_name="engineers")
    offered.keeper.teams["t9"] = replace(THEIRS, external_id="g1")
    run(offered)
    with pytest.raises(WrongState, match="carries an externalId"):
        confirm(offered)
    choose(offered, TeamChoice())
    with pytest.raises(Stale):
        confirm(offered)
    assert offered.services.teams.adoptions("c1") == {}


def test_a_lost_answer_of_an_adoption_is_settled_by_the_listing(offered):
    confirm(offered)
    offered.keeper.faults.append("lost")
    run(offered)
    assert state(offered, ENGINEERS) is TeamState.WAITING
    run(offered)
    assert (state(offered, ENGINEERS), len(offered.keeper.teams)) == (TeamState.THERE, 2)
    assert offered.services.teams.adoptions("c1") == {}


def test_a_refused_adoption_says_so_and_puts_nobody_into_the_team(offered):
    confirm(offered)
    offered.keeper.faults.append(Rejected("Keeper refuses"))
    run(offered)
    kept = offered.services.teams.get("c1")["g7"]
    assert (kept.state, kept.reason, kept.serves) == (TeamState.REFUSED, "Keeper refuses", False)
    assert len(offered.keeper.members["t9"]) == 1
    run(offered)
    assert offered.keeper.teams["t9"] == THEIRS, "it rests"
    offered.fakes.clock.advance(RESTS)
    run(offered)
    assert offered.keeper.teams["t9"].external_id == "g7"


def test_a_team_that_did_not_take_the_groups_id_is_offered_again_and_nobody_is_put_into_it(offered):
    confirm(offered)
    run(offered)
    offered.keeper.teams["t9"] = Team(id="t9", name="Engineers")
    offered.directory.memberships["g7"] |= {"u2"}
    run(offered)
    assert state(offered, ENGINEERS) is TeamState.NAME_TAKEN
    assert len(offered.keeper.members["t9"]) == 2
    confirm(offered, Team(id="t9", name="Engineers"))
    run(offered)
    assert (state(offered, ENGINEERS), len(offered.keeper.members["t9"])) == (TeamState.THERE, 3)


def told(scenario: Scenario) -> list[str]:
    """Return what the activity says of teams."""
    return sorted(event.reason for event in scenario.fakes.store.events["c1"].values() if "team" in event.changed)


class Died(BaseException):
    """The worker is gone."""


def dying(scenario: Scenario, monkeypatch: pytest.MonkeyPatch, send: Callable[..., Team] | None = None) -> None:
    """Let a run die before it records what came of its requests; `send` stands for those that make a team."""
    change, changes = scenario.services.teams.change, []

    def dies(*told):
        if changes:
            raise Died
        changes.append(told)
        return change(*told)

    with monkeypatch.context() as patched:
        patched.setattr(scenario.services.teams, "change", dies)
        if send is not None:
            patched.setattr(FakeAccounts, "create_team", send)
        scenario.fakes.clock.advance(LATER)
        with pytest.raises(Died):
            scenario.plan(RunKind.FULL)


def test_what_a_run_did_that_died_before_it_could_record_it_is_told_by_the_next_one(teams, monkeypatch):
    dying(teams, monkeypatch)
    assert (there(teams), told(teams)) == ({"g7": "Engineers", "g8": "Sales"}, [])
    teams.fakes.clock.advance(DAY)
    run(teams)
    made = [f"Created a team for the group {group.email}." for group in (ENGINEERS, SALES)]
    assert told(teams) == made
    assert teams.services.teams.get("c1")["g7"].created is not None
    teams.directory.groups["g7"] = replace(ENGINEERS, name="Builders")
    dying(teams, monkeypatch)
    teams.fakes.clock.advance(DAY)
    for _ in range(2):
        run(teams)
    assert there(teams) == {"g7": "Builders", "g8": "Sales"}
    assert told(teams) == [*made, f"Renamed the team for the group {ENGINEERS.email}."]


def test_no_second_team_is_made_while_the_one_of_a_run_that_died_is_not_listed(teams, monkeypatch):
    dying(teams, monkeypatch)
    teams.keeper.unlisted = {"t1", "t2"}
    teams.directory.groups["g7"] = replace(ENGINEERS, name="Builders")
    run(teams)
    assert (len(teams.keeper.teams), state(teams, ENGINEERS)) == (2, TeamState.WAITING)
    teams.keeper.unlisted.clear()
    for _ in range(2):
        run(teams)
    assert there(teams) == {"g7": "Builders", "g8": "Sales"}
    assert len(told(teams)) == 3


def test_a_team_whose_answer_was_lost_is_told_once_it_is_listed(teams):
    teams.keeper.faults.append("lost")
    for _ in range(2):
        run(teams)
    teams.fakes.clock.advance(RESTS)
    for _ in range(2):
        run(teams)
    assert told(teams) == [f"Created a team for the group {group.email}." for group in (ENGINEERS, SALES)]


def test_a_request_that_was_never_sent_is_told_by_nobody_and_sent_an_hour_later(teams, monkeypatch):
    def dies(*_):
        raise Died

    dying(teams, monkeypatch, dies)
    assert teams.keeper.teams == {}
    run(teams)
    assert (teams.keeper.teams, told(teams)) == ({}, [])
    teams.fakes.clock.advance(RESTS)
    run(teams)
    assert (len(teams.keeper.teams), len(told(teams))) == (2, 2)


@pytest.mark.parametrize("died", [False, True])
def test_a_group_that_is_chosen_again_before_its_team_is_listed_gets_no_second_one(teams, monkeypatch, died):
    if died:
        dying(teams, monkeypatch)
    else:
        run(teams)
    teams.keeper.unlisted = {"t1", "t2"}
    choose(teams, TeamChoice(patterns=("keeper-s*",)))
    teams.plan(RunKind.FULL)
    choose(teams, BY_PATTERN)
    teams.plan(RunKind.FULL)
    assert len(teams.keeper.teams) == 2
    teams.keeper.unlisted.clear()
    run(teams)
    assert (state(teams, ENGINEERS), state(teams, SALES)) == (TeamState.THERE, TeamState.THERE)
