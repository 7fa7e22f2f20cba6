"""Whatever happens to people, groups and answers: in the end exactly the members are in the team, and nobody else."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autoprovisioning.app.administration.approve_removals import approve_removals
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.errors import KeeperFailed, Rejected, Throttled, Transient
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.runs import Look, RunKind
from autoprovisioning.domain.teams import TeamChoice
from tests.support.builders import DAY
from tests.support.scenario import GROUP, LATER, USERS, Scenario
from tests.support.settings import with_settings
from tests.support.teams import ENGINEERS, NESTED

FAULTS = [
    "lost",
    "lost",
    Transient("503"),
    Rejected("400"),
    KeeperFailed("500"),
    Throttled("429", retry_after=60),
    None,
]
CHANGES = {
    "join": lambda scenario, whom: scenario.directory.memberships["g7"].add(whom),
    "nest": lambda scenario, whom: scenario.directory.memberships["g8"].add(whom),
    "leave": lambda scenario, whom: scenario.directory.memberships["g7"].discard(whom),
    "unnest": lambda scenario, whom: scenario.directory.memberships["g8"].discard(whom),
    "in": lambda scenario, whom: scenario.join(whom),
    "out": lambda scenario, whom: scenario.leave(whom),
    "suspend": lambda scenario, whom: scenario.suspend(whom),
    "restore": lambda scenario, whom: scenario.restore(whom),
    "rename": lambda scenario, whom: scenario.rename(whom, "Other"),
    "report": lambda scenario, whom: report(scenario, whom),
}
EVENTS = {
    "run": lambda scenario: go(scenario),
    "drift": lambda scenario: go(scenario, RunKind.DRIFT),
    "look": lambda scenario: [scenario.deliver(look) for look in scenario.sent[-3:]],
    "sweep": lambda scenario: scenario.sweep(),
    "unreadable": lambda scenario: scenario.directory.unreadable.add("g7"),
    "readable": lambda scenario: scenario.directory.unreadable.clear(),
    "empty": lambda scenario: scenario.directory.memberships["g7"].clear(),
    "day": lambda scenario: scenario.fakes.clock.advance(DAY),
}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(sorted(CHANGES)), st.sampled_from(USERS)),
        st.tuples(st.just("fault"), st.sampled_from(range(len(FAULTS)))),
        st.tuples(st.sampled_from(["run", *EVENTS]), st.none()),
    ),
    max_size=25,
)


def step(scenario: Scenario, verb: str, whom: object) -> None:
    if verb == "fault":
        scenario.keeper.faults.append(FAULTS[whom])
    elif verb in CHANGES:
        CHANGES[verb](scenario, whom)
    else:
        EVENTS[verb](scenario)


def report(scenario: Scenario, whom: str) -> None:
    """Deliver what the audit log has asked for because of the group, be it true or not."""
    scenario.deliver(Look(user_id=whom, asked_at=scenario.fakes.clock.now, groups=("g7",)))


def go(scenario: Scenario, kind: RunKind = RunKind.FULL) -> None:
    scenario.fakes.clock.advance(LATER)
    scenario.plan(kind)
    scenario.work_off()


def members(scenario: Scenario) -> set[str]:
    return {user_id for page in scenario.directory.members("g7") for user_id in page}


def inside(scenario: Scenario) -> set[str]:
    """Return who is in the one team that there may be."""
    assert len(scenario.keeper.teams) == 1, "no second team is made"
    (team_id,) = scenario.keeper.teams
    accounts = scenario.keeper.accounts
    return {accounts[scim_id].external_id for scim_id in scenario.keeper.members[team_id]}


@pytest.mark.parametrize("stranger", [False, True])
@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
@example(steps=[("join", "u1"), ("join", "u2"), ("run", None), ("empty", None)])
def test_in_the_end_exactly_the_members_are_in_the_team(stranger, steps):
    scenario = Scenario()
    scenario.hire("u4", "dan@example.com")
    scenario.directory.groups |= {group.id: group for group in (ENGINEERS, NESTED)}
    scenario.directory.nested["g7"].add("g8")
    choice = TeamChoice(patterns=("keeper-*",))
    scenario.services.connections.change("c1", lambda current: with_settings(current, teams=choice))
    go(scenario)
    theirs = scenario.keeper.seed("stranger@example.com")
    if stranger:
        scenario.keeper.members["t1"].add(theirs.scim_id)
    for verb, whom in steps:
        step(scenario, verb, whom)
    scenario.keeper.faults.clear()
    scenario.directory.unreadable.clear()
    for _ in range(6):
        scenario.fakes.clock.advance(DAY)
        go(scenario)
        for team in scenario.services.teams.get("c1").values():
            if team.held:
                approve_removals(scenario.services, "c1", team.group_id, team.held_digest, Actor(address="boss"))
        go(scenario)  # an approval is good for a day
    live, in_scope = scenario.directory.live, scenario.directory.memberships[GROUP.id]
    active = {user_id for user_id in USERS if live[user_id].presence is Presence.ACTIVE and user_id in in_scope}
    found = inside(scenario) - {""}
    assert active & members(scenario) <= found, "who is entitled has joined"
    assert found <= members(scenario), "nobody is in the team without being in the group"
    assert ("" in inside(scenario)) is stranger, "whom somebody else put there stays"


SHOWN = {
    "join": lambda scenario, whom: scenario.directory.memberships["g7"].add(whom),
    "leave": lambda scenario, whom: scenario.directory.memberships["g7"].discard(whom),
    "queue": lambda scenario, whom: queue(scenario, whom),
    "approve": lambda scenario, _: scenario.keeper.queued.clear(),
    "take out": lambda scenario, whom: take_out(scenario, whom),
    "shy": lambda scenario, _: setattr(scenario.keeper, "tells_teams", not scenario.keeper.tells_teams),
    "run": lambda scenario, _: go(scenario),
    "drift": lambda scenario, _: go(scenario, RunKind.DRIFT),
    "day": lambda scenario, _: scenario.fakes.clock.advance(7 * DAY),
}


def queue(scenario: Scenario, whom: str) -> None:
    """Have Keeper show no membership of somebody, as while it waits."""
    scenario.keeper.queued |= {("t1", account.scim_id) for account in scenario.keeper.of(whom)}


def take_out(scenario: Scenario, whom: str) -> None:
    """Take somebody out in Keeper's Admin Console."""
    scenario.keeper.members["t1"] -= {account.scim_id for account in scenario.keeper.of(whom)}


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(sorted(SHOWN)), st.sampled_from(USERS[:3])), max_size=25))
@example(steps=[("join", "u1"), ("run", "u1"), ("drift", "u1"), ("take out", "u1"), ("drift", "u1"), ("join", "u2")])
def test_whatever_keeper_shows_only_the_group_changes_what_is_sent(steps):
    scenario = Scenario()
    scenario.directory.groups[ENGINEERS.id] = ENGINEERS
    choice = TeamChoice(patterns=("keeper-*",))
    scenario.services.connections.change("c1", lambda current: with_settings(current, teams=choice))
    go(scenario)
    for verb, whom in steps:
        SHOWN[verb](scenario, whom)
    for _ in range(3):
        go(scenario)
        team = scenario.services.teams.get("c1")["g7"]
        if team.held:
            approve_removals(scenario.services, "c1", "g7", team.held_digest, Actor(address="boss"))
    before = {user_id: scenario.entry(user_id).teams for user_id in USERS[:3]}
    assert {user_id for user_id, sent in before.items() if sent} == members(scenario), "what is sent follows the group"
    written, put = [], scenario.keeper.write
    scenario.keeper.write = lambda write: (written.append(write), put(write))[1]
    for kind in (RunKind.DRIFT, RunKind.FULL, RunKind.DRIFT):
        scenario.fakes.clock.advance(30 * DAY)
        go(scenario, kind)
    assert written == [], "nothing is sent again, whatever is shown, and for however long"
    for user_id, sent in before.items():
        entry = scenario.entry(user_id)
        assert {each.team_id for each in entry.unseen} <= {*sent} == {*entry.teams}
