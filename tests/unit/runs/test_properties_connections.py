"""Two connections, any history: users who should have access have it once, on a connection whose scope holds them."""

from __future__ import annotations

from hypothesis import HealthCheck, given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.errors import AddressTaken
from autoprovisioning.domain.scope import Group
from tests.support.builders import MINUTE, notice
from tests.support.scenario import ADDRESSES, GROUP, USERS, Scenario

SECOND = Group(id="g2", email="sales@example.com", name="Sales")
GROUPS = {"c1": GROUP.id, "c2": SECOND.id}

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["join", "leave", "join", "leave", "move", "suspend", "restore", "delete", "notice", "run", "sweep", "run",
             "sweep", "break", "mend", "deliver"]
        ),
        st.sampled_from(USERS),
        st.sampled_from([GROUP.id, SECOND.id]),
    ),
    max_size=14,
)  # fmt: skip


def step(scenario: Scenario, verb: str, user_id: str, group_id: str) -> None:
    directory = scenario.directory
    members = directory.memberships[group_id]
    match verb:
        case "join" if user_id in directory.live:
            members.add(user_id)
        case "leave":
            members.discard(user_id)
        case "move" if user_id in directory.live:
            members.add(user_id)
            for other in {*GROUPS.values()} - {group_id}:
                directory.memberships[other].discard(user_id)
        case "suspend" | "restore" | "delete":
            getattr(scenario, verb)(user_id)
        case "notice":
            notice(scenario, user_id)
        case "run":
            scenario.run()
        case "sweep":
            scenario.sweep()
        case "break":
            directory.unreadable.add(group_id)
        case "mend":
            directory.unreadable.clear()
        case "deliver" if scenario.sent:
            scenario.deliver(scenario.sent.pop())
    scenario.fakes.clock.advance(MINUTE)


@bounded(max_examples=200, deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, st.booleans())
def test_whoever_belongs_has_access_once_and_nobody_else_has(steps, shared):
    scenario = Scenario()
    scenario.connect("c2", SECOND, shared=shared)
    scenario.hire("u4", ADDRESSES[3])
    scenario.run()
    for each in steps:
        step(scenario, *each)
    scenario.directory.unreadable.clear()
    scenario.reconcile_to_the_end()

    for user_id in USERS:
        user = scenario.directory.live.get(user_id)
        inside = {name for name, group in GROUPS.items() if user_id in scenario.directory.memberships[group]}
        entitled = user is not None and user.presence is Presence.ACTIVE and bool(inside)
        nodes = [name for name, node in scenario.nodes.items() for account in node.of(user_id) if account.active]
        assert len(nodes) <= 1, (user_id, nodes)
        if not entitled:
            assert nodes == [], user_id
            continue
        failures = {
            name: entry.failure.code
            for name in GROUPS
            if (entry := scenario.entry(user_id, name)) is not None and entry.failure is not None
        }
        if failures:  # their own account on the other node is in the way: an administrator has to move it
            assert shared, user_id
            assert set(failures.values()) == {AddressTaken.code}, user_id
            assert failures.keys() <= inside, user_id
        else:
            assert set(nodes) <= inside, user_id
            assert len(nodes) == 1, user_id
        for name in GROUPS:
            told = scenario.entry(user_id, name)
            assert told is None or not (told.pending or told.mark), (user_id, name)
    looks = len(scenario.keeper.accounts), scenario.fakes.store.shards.copy()
    scenario.run()
    assert (len(scenario.keeper.accounts), scenario.fakes.store.shards) == looks, "a run more has nothing to write"
