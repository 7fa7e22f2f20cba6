"""A group that is a team, with another one in it, over ports in memory: who joins, leaves, and is in it by now."""

from __future__ import annotations

from dataclasses import replace

from autoprovisioning.domain.runs import Run, RunKind
from autoprovisioning.domain.scope import Group
from autoprovisioning.domain.teams import TeamChoice
from tests.support.executors import Inline
from tests.support.scenario import LATER, Scenario
from tests.support.settings import with_settings

ENGINEERS = Group(id="g7", email="keeper-engineers@example.com", name="Engineers")
NESTED = Group(id="g8", email="backend@example.com", name="Backend")
TEAM = "t1"
BY_PATTERN = TeamChoice(patterns=("keeper-*",))


def with_teams(scenario: Scenario, *groups: Group) -> Scenario:
    """Have these groups in the directory, and those chosen whose address begins with keeper-; teams made in order."""
    scenario.services = replace(scenario.services, executor=Inline())
    scenario.directory.groups |= {group.id: group for group in groups}
    choose(scenario, BY_PATTERN)
    return scenario


def choose(scenario: Scenario, choice: TeamChoice) -> None:
    """Make this the choice, as nobody's edit."""
    scenario.services.connections.change("c1", lambda current: with_settings(current, teams=choice))


def run(scenario: Scenario, kind: RunKind = RunKind.FULL) -> Run:
    """Plan a run some time later, and carry it out."""
    scenario.fakes.clock.advance(LATER)
    done = scenario.plan(kind)
    scenario.work_off()
    return done


def inside(scenario: Scenario) -> set[str]:
    """Return the directory ids of those whom Keeper has in the team."""
    accounts = scenario.keeper.accounts
    return {accounts[scim_id].external_id for scim_id in scenario.keeper.members[TEAM] if scim_id in accounts}


def join(scenario: Scenario, *users: str, group: Group = ENGINEERS) -> None:
    """Put people into a group."""
    scenario.directory.memberships[group.id] |= set(users)


def leave(scenario: Scenario, *users: str, group: Group = ENGINEERS) -> None:
    """Take people out of a group."""
    scenario.directory.memberships[group.id] -= set(users)


def hire(scenario: Scenario, number: int) -> list[str]:
    """Hire so many people; returns their ids."""
    users = [f"x{each:02}" for each in range(number)]
    for user_id in users:
        scenario.hire(user_id, f"{user_id}@example.com")
    return users
