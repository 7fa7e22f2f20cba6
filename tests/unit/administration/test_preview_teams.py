"""What a preview says of teams: how many, with how many memberships, and whose names are taken in Keeper."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.entry import Action
from autoprovisioning.domain.errors import Transient
from autoprovisioning.domain.requests import Forecast, TeamsForeseen
from autoprovisioning.domain.scope import Group
from autoprovisioning.domain.teams import Team, TeamChoice, TeamState
from autoprovisioning.domain.words import saving, teams_foreseen, turning_on
from tests.support.in_memory import FakeAccounts
from tests.support.previewing import at, everything, hired
from tests.support.scenario import Scenario
from tests.support.settings import with_settings

CHOSEN = TeamChoice(patterns=("keeper-*",), role_prefix="Role")
NAMES = ("Engineers", "Sales", "Support", "Roles")


@pytest.fixture
def groups(scenario: Scenario) -> Scenario:
    """Four groups that a pattern fits; one has a team, one's name is taken, and one would be a role."""
    scenario.run()
    for number, name in enumerate(NAMES):
        group = Group(id=f"t{number}", email=f"keeper-{name.lower()}@example.com", name=name)
        scenario.directory.groups[group.id] = group
        scenario.directory.memberships[group.id] = {"u1", "u2", "u3", "u9"}
    scenario.keeper.teams = {
        "k1": Team(id="k1", name="Sales", external_id="t1"),
        "k2": Team(id="k2", name="support"),
    }
    return scenario


def foreseen(scenario: Scenario, choice: TeamChoice = CHOSEN) -> TeamsForeseen | None:
    preview, _ = at(scenario).preview(teams=choice)
    return preview.result.teams


def test_teams_and_memberships_are_counted_and_nothing_is_written(groups):
    before = everything(groups), dict(groups.keeper.teams)
    preview = at(groups).ask(teams=CHOSEN)
    done = at(groups).compute(preview)
    assert (everything(groups), dict(groups.keeper.teams)) == before
    told = done.result.teams
    assert told == TeamsForeseen(made=1, there=1, taken=1, other={TeamState.ROLE: 1}, memberships=6)
    assert teams_foreseen(told) == (
        "2 teams, 6 memberships; 1 of the teams is in Keeper already; 1 name exists already in Keeper: adopt or leave; "
        "would be a role: 1"
    )


def test_memberships_of_suspended_people_that_are_to_end_are_counted_where_that_is_chosen(groups):
    groups.services.connections.change("c1", lambda current: with_settings(current, teams=CHOSEN))
    groups.reconcile_to_the_end()
    sent = {user_id: groups.entry(user_id).teams for user_id in ("u1", "u2")}
    groups.suspend("u1")
    groups.reconcile_to_the_end()
    groups.suspend("u2")  # by the plan that is previewed
    groups.archive("u3")
    choice = replace(CHOSEN, remove_suspended=True)
    told = foreseen(groups, choice)
    ends = len(sent["u1"]) + len(sent["u2"])
    assert ends > 1
    assert f"; {ends} memberships of suspended people end" in teams_foreseen(told)
    assert foreseen(groups, replace(CHOSEN, most=40)).suspended == 0
    groups.restore("u1")
    assert foreseen(groups, choice).suspended == len(sent["u2"])


def test_only_people_with_access_by_then_are_counted(groups):
    groups.suspend("u1")
    groups.run()
    hired(groups)
    groups.directory.memberships["t0"].add("u4")  # created by the run that makes the teams
    assert foreseen(groups).memberships == 5


def test_what_it_says_comes_true(groups):
    told = foreseen(groups)
    current = groups.services.connections.get("c1")
    groups.services.connections.change(
        "c1", lambda known: replace(known, settings=replace(current.settings, teams=CHOSEN))
    )
    groups.run()
    groups.run()
    assert len(groups.keeper.teams) == 2 + told.made
    assert sum(len(groups.entry(user_id).teams) for user_id in ("u1", "u2", "u3")) == told.memberships


def test_groups_that_cannot_be_read_are_told(groups, monkeypatch):
    groups.directory.unreadable.add("t0")
    told = foreseen(groups)
    assert (told.unread, told.memberships) == (1, 3)
    assert "the members of 1 group could not be read" in teams_foreseen(told)
    groups.directory.unreadable.add("groups")
    assert "groups.list broke off" in teams_foreseen(foreseen(groups))
    groups.directory.unreadable.clear()

    def refuse(*_: object) -> None:
        raise Transient("Keeper is down")

    monkeypatch.setattr(FakeAccounts, "teams", refuse)
    assert "Keeper is down" in teams_foreseen(foreseen(groups))


def test_without_a_choice_or_another_one_nothing_is_asked(groups, monkeypatch):
    monkeypatch.setattr(FakeAccounts, "teams", None)
    assert foreseen(groups, TeamChoice()) is None
    groups.services.connections.change(
        "c1", lambda known: replace(known, settings=replace(known.settings, teams=CHOSEN))
    )
    assert foreseen(groups) is None


def test_turning_on_is_foreseen_with_the_choice_that_there_is(groups):
    groups.services.connections.change(
        "c1", lambda known: replace(known, state=State.OFF, settings=replace(known.settings, teams=CHOSEN))
    )
    assert foreseen(groups).memberships == 6


@pytest.mark.parametrize(
    ("state", "teams", "button"),
    [
        (
            State.ON,
            TeamsForeseen(made=12, memberships=1204),
            "Save, create 3 accounts, make 12 teams, 1,204 memberships",
        ),
        (State.ON, TeamsForeseen(there=2, memberships=9), "Save and create 3 accounts"),
        (State.OFF, TeamsForeseen(made=12), "Save"),
    ],
)
def test_the_button_of_what_is_saved_has_the_numbers(state, teams, button):
    assert saving(Forecast(counts={Action.CREATE.value: 3}, teams=teams), state).startswith(button)


@pytest.mark.parametrize(
    ("counts", "made", "button"),
    [
        ({}, 0, "Turn on"),
        ({}, 1, "Turn on and make 1 team"),
        ({Action.CREATE.value: 3}, 12, "Turn on and create 3 accounts and make 12 teams"),
    ],
)
def test_the_button_that_turns_on_has_the_numbers(counts, made, button):
    told = Forecast(counts=counts, teams=TeamsForeseen(made=made, there=2))
    assert turning_on(told, Connection(id="c1", state=State.OFF)) == button
