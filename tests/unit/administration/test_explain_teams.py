"""Why? The teams of one user: through which groups, what was sent, and what keeps somebody out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.app.administration import explain_teams as asking
from autoprovisioning.app.administration.explain_teams import TeamsTold, TeamTold, explain_teams
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.entry import Status, Unseen
from autoprovisioning.domain.errors import ConfigurationRefused, Incomplete
from autoprovisioning.domain.memberships import Membership
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.scope import Group
from autoprovisioning.domain.teams import TeamChoice, TeamState
from tests.support.builders import NOW
from tests.support.scenario import Scenario
from tests.support.settings import with_settings

ENGINEERS = Group(id="g7", email="keeper-engineers@example.com", name="Engineers")
NESTED = Group(id="g8", email="backend@example.com", name="Backend")
INNER = Group(id="g9", email="storage@example.com", name="Storage")
IN_GROUP = "In the group"


@pytest.fixture
def teams(scenario: Scenario) -> Scenario:
    """A team of u1, who is a direct member of the group, and of u2, who is so through two others."""
    directory = scenario.directory
    directory.groups |= {group.id: group for group in (ENGINEERS, NESTED, INNER)}
    directory.nested["g7"].add("g8")
    directory.nested["g8"].add("g9")
    directory.memberships["g7"].add("u1")
    directory.memberships["g9"].add("u2")
    scenario.services.connections.change(
        "c1", lambda current: with_settings(current, teams=TeamChoice(patterns=("keeper-*",)))
    )
    scenario.run()
    scenario.plan(RunKind.DRIFT)  # which sees them in the team
    scenario.work_off()
    return scenario


def told(scenario: Scenario, user_id: str, *, in_scope: bool | None = True) -> TeamsTold:
    services, connection = scenario.services, scenario.connection
    user = scenario.directory.live.get(user_id) or scenario.directory.removed[user_id]
    entry = services.roster.entry(connection, user_id)
    return explain_teams(services, connection, entry, user, in_scope)


def team_of(scenario: Scenario, user_id: str, *, in_scope: bool | None = True) -> TeamTold:
    (found,) = told(scenario, user_id, in_scope=in_scope).teams
    return found


def change(scenario: Scenario, **fields: object) -> None:
    scenario.services.teams.change("c1", lambda known: {**known, "g7": replace(known["g7"], **fields)})


def recorded(scenario: Scenario, user_id: str, **fields: object) -> None:
    """Have the entry say something."""
    for _, entries in scenario.fakes.store.shards.values():
        if user_id in entries:
            entries[user_id] = replace(entries[user_id], **fields)


def test_members_are_told_through_which_nested_groups(teams):
    for user_id, through in (("u1", ()), ("u2", (INNER, NESTED))):
        found = team_of(teams, user_id)
        assert (found.team.group_id, found.member, found.membership) == ("g7", True, Membership.INSIDE)
        assert (found.through, found.words, found.seen) == (through, IN_GROUP, True)
    assert told(teams, "u3") == TeamsTold()


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (False, "In the group; sent, and not seen in Keeper yet"),
        (True, "In the group; taken out in Keeper by somebody, and stays out"),
    ],
)
def test_what_keeper_does_not_show_is_told(teams, seen, words):
    recorded(teams, "u1", unseen=(Unseen(team_id="t1", since=NOW, seen=seen),))
    assert team_of(teams, "u1").membership is (Membership.ENDED if seen else Membership.UNSEEN)
    assert team_of(teams, "u1").words == words
    assert team_of(teams, "u2").words == IN_GROUP


def test_whoever_joined_or_left_since_the_full_run_is_told_what_follows(teams):
    teams.directory.memberships["g8"].add("u3")
    teams.directory.memberships["g9"].discard("u2")
    joins, leaves = team_of(teams, "u3"), team_of(teams, "u2")
    assert (joins.membership, joins.words) == (Membership.JOINS, "In the group; joins with the next sweep or run")
    assert (leaves.membership, leaves.words) == (
        Membership.LEAVES,
        "Left the group; is taken out with the next sweep or run",
    )
    assert (leaves.member, leaves.through) == (False, ())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"held": 3}, "Left the group; stays until removals are approved, as 3 at once are many"),
        ({"unread": True}, "Left the group; stays, as the last full run could not read it"),
        ({"state": TeamState.LEFT}, "Not chosen any more; stays as it is"),
        ({"state": TeamState.LEFT, "held": 1}, "Not chosen any more; stays until emptying the team is approved"),
        ({"state": TeamState.REFUSED}, "Left the group; is taken out with the next sweep or run"),
        ({"state": TeamState.DELETED}, "Deleted in Keeper; stays as it is"),
    ],
)
def test_whoever_left_and_stays_is_told_why(teams, fields, words):
    change(teams, **fields)
    teams.directory.memberships["g9"].discard("u2")
    assert team_of(teams, "u2").words == words


@pytest.mark.parametrize(
    ("fields", "in_scope", "words"),
    [
        ({"status": Status.SUSPENDED}, True, "In the group; joins once access is back"),
        ({"status": Status.LOCKED}, True, "In the group; joins once the account is unlocked"),
        ({"status": Status.NONE}, True, "In the group; joins with the account"),
        ({}, False, "In the group; not in the provisioning scope"),
    ],
)
def test_whoever_is_in_the_group_and_may_not_join_is_told_why(teams, fields, in_scope, words):
    teams.directory.memberships["g7"].add("u3")
    recorded(teams, "u3", **fields)
    found = team_of(teams, "u3", in_scope=in_scope)
    assert (found.membership, found.words) == (Membership.WAITS, words)


def test_a_pilot_is_told_apart(teams):
    teams.directory.memberships["g7"].add("u3")
    teams.services.connections.change("c1", lambda known: replace(known, pilot={"u1": "ada@example.com"}))
    assert team_of(teams, "u3").words == "In the group; outside the pilot"


def test_a_lost_answer_and_a_state_of_the_connection_are_told(teams):
    recorded(teams, "u1", teams=(), asked=("t1",))
    assert team_of(teams, "u1").membership is Membership.ASKED
    teams.directory.memberships["g7"].add("u3")
    teams.services.connections.change("c1", lambda known: replace(known, state=State.PAUSED))
    assert team_of(teams, "u3").words == "In the group; waits until the connection is reauthorized"


def test_a_group_that_is_chosen_since_the_full_run_waits_for_the_next_one(teams):
    sales = Group(id="g6", email="keeper-sales@example.com", name="Sales")
    teams.directory.groups["g6"] = sales
    teams.directory.memberships["g6"].add("u3")
    found = team_of(teams, "u3")
    assert (found.team.name, found.team.state, found.seen) == ("Sales", TeamState.WAITING, False)
    assert (found.membership, found.words) == (None, "Waits for the next run. Nothing is to be done.")


@pytest.mark.parametrize("error", [Incomplete("groups.list broke off"), ConfigurationRefused("403")])
def test_a_directory_that_does_not_list_groups_is_asked_about_each_team(teams, monkeypatch, error):
    def refuse(_address: str) -> None:
        raise error

    monkeypatch.setattr(teams.directory, "groups_of", refuse)
    assert (team_of(teams, "u2").member, team_of(teams, "u2").words) == (True, IN_GROUP)
    assert told(teams, "u2").unread.startswith("The directory does not tell")
    monkeypatch.setattr(teams.directory, "is_member", lambda *_: None)
    found = team_of(teams, "u2")
    assert (found.member, found.membership) == (None, Membership.INSIDE)
    assert found.words == "Stays: the directory does not tell whether the user is in the group"


def test_somebody_who_is_deleted_is_in_what_was_sent(teams):
    teams.delete("u1")
    found = team_of(teams, "u1", in_scope=None)
    assert (found.member, found.membership) == (None, Membership.INSIDE)


def test_groups_above_groups_are_asked_for_within_bounds_and_circles_end(teams, monkeypatch):
    teams.directory.nested["g9"].add("g7")
    assert team_of(teams, "u2").through == (INNER, NESTED)
    monkeypatch.setattr(asking, "MOST_ASKED", 2)
    asked: list[str] = []
    listing = teams.directory.groups_of
    monkeypatch.setattr(teams.directory, "groups_of", lambda address: asked.append(address) or listing(address))
    assert "not in all of them" in told(teams, "u2").unread
    assert len(asked) == 2


def test_without_a_choice_the_directory_is_asked_nothing(teams, monkeypatch):
    teams.services.connections.change("c1", lambda current: with_settings(current, teams=TeamChoice()))
    monkeypatch.setattr(teams.directory, "groups_of", None)
    assert told(teams, "u3") == TeamsTold()
