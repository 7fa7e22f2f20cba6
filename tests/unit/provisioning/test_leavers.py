"""Who leaves the scope, or moves to another connection: let in and out once, and not swept for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.domain.connections import State
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.scope import Group, Scope
from autoprovisioning.domain.settings import VolumeLimit
from tests.support.builders import active, notice
from tests.support.in_memory import SALES
from tests.support.scenario import GROUP, LATER, Scenario, sweep
from tests.support.settings import with_settings


def test_not_being_a_member_by_one_answer_alone_gives_no_access_back(scenario):
    scenario.suspend("u1")
    notice(scenario, "u1")
    scenario.leave("u1")
    scenario.restore("u1")
    notice(scenario, "u1")
    assert active(scenario, "u1") == [False]
    scenario.run()
    assert active(scenario, "u1") == [False]


def test_who_left_by_a_listing_is_asked_about_again_while_the_directory_still_calls_them_a_member(scenario):
    scenario.leave("u1")
    told, asked = scenario.directory.is_member, []

    def behind(group_id: str, user_id: str) -> bool:
        asked.append(user_id)
        return True if len(asked) <= 2 else told(group_id, user_id)

    scenario.directory.is_member = behind
    scenario.sweep()
    assert active(scenario, "u1") == [True]
    scenario.again()
    assert active(scenario, "u1") == [True]
    scenario.again()
    assert active(scenario, "u1") == [False]


def test_who_joined_by_a_listing_is_asked_about_again_while_the_directory_calls_them_no_member(scenario):
    """A sweep tells of a joiner once: where full runs are rare, that look is the last one of the day."""
    scenario.hire("u4", "dan@example.com")
    told, asked = scenario.directory.is_member, []

    def behind(group_id: str, user_id: str) -> bool:
        asked.append(user_id)
        return False if len(asked) == 1 else told(group_id, user_id)

    scenario.directory.is_member = behind
    scenario.sweep()
    assert active(scenario, "u4") == []
    scenario.again()
    assert active(scenario, "u4") == [True]


def test_who_left_again_after_the_listing_is_asked_about_for_no_longer_than_the_directory_needs(scenario):
    scenario.hire("u4", "dan@example.com")
    sweep(scenario.services)
    scenario.leave("u4")
    scenario.work_off()
    assert scenario.refused
    scenario.fakes.clock.advance(scenario.services.timings.contradiction)
    scenario.again()
    assert (active(scenario, "u4"), scenario.refused) == ([], [])


def test_who_is_a_member_again_after_the_listing_stays_once_the_directory_had_time(scenario):
    scenario.leave("u1")
    sweep(scenario.services)
    scenario.join("u1")
    scenario.work_off()
    scenario.fakes.clock.advance(scenario.services.timings.contradiction)
    scenario.again()
    assert (active(scenario, "u1"), scenario.refused) == ([True], [])


def test_a_run_does_not_wait_for_a_directory_that_contradicts_its_listing(scenario):
    scenario.fakes.clock.advance(LATER)
    scenario.leave("u1")
    told = scenario.directory.is_member
    scenario.directory.is_member = lambda _group_id, _user_id: True
    scenario.run()
    assert (active(scenario, "u1"), scenario.refused) == ([True], [])
    scenario.directory.is_member = told
    scenario.run()
    assert active(scenario, "u1") == [False]


def test_a_remembered_member_who_left_gets_no_account(scenario):
    scenario.hire("u4", "dan@example.com")
    scenario.suspend("u4")
    notice(scenario, "u4")
    scenario.leave("u4")
    scenario.restore("u4")
    notice(scenario, "u4")
    assert active(scenario, "u4") == []


def test_a_sweep_looks_once_at_what_a_look_cannot_settle(scenario):
    units = Scope(groups=(GROUP,), org_units=(SALES,))
    scenario.services.connections.change("c1", lambda current: with_settings(current, scope=units))
    scenario.join("admin")
    assert sweep(scenario.services) == 1
    scenario.work_off()
    assert sweep(scenario.services) == 0
    scenario.leave("admin")
    assert sweep(scenario.services) == 0
    scenario.join("admin")
    assert sweep(scenario.services) == 1


@pytest.mark.parametrize("gone", ["delete", "archive"])
def test_a_leaver_who_is_gone_is_not_swept_for_ever_nor_hides_others(scenario, gone):
    scenario.services.connections.change(
        "c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=1, percent=1.0))
    )
    scenario.sweep()
    getattr(scenario, gone)("u1")
    scenario.leave("u1")
    notice(scenario, "u1", "delete" if gone == "delete" else "update")
    assert sweep(scenario.services) <= 1
    scenario.work_off()
    assert sweep(scenario.services) == 0
    scenario.leave("u2")
    scenario.fakes.clock.advance(timedelta(days=2))
    scenario.sweep()
    assert active(scenario, "u2") == [False]


def test_who_moves_to_a_later_connection_is_let_in_while_the_earlier_one_is_paused():
    scenario = Scenario()
    node = scenario.connect("c2", Group(id="g2", email="other@example.com", name="Others"), shared=False)
    scenario.join("u1")
    scenario.run()
    scenario.leave("u1")
    scenario.directory.memberships["g2"].add("u1")
    scenario.run()
    scenario.directory.memberships["g2"].discard("u1")
    scenario.join("u1")
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    assert (active(scenario, "u1"), [account.active for account in node.of("u1")]) == ([True], [False])
    scenario.services.connections.change("c1", lambda current: replace(current, state=State.PAUSED))
    scenario.leave("u1")
    scenario.directory.memberships["g2"].add("u1")
    scenario.fakes.clock.advance(LATER)
    scenario.run()
    assert [account.active for account in node.of("u1")] == [True]


GONE = {
    "suspended": lambda scenario: scenario.suspend("u1"),
    "deleted": lambda scenario: scenario.delete("u1"),
    "deleted long ago": lambda scenario: (scenario.delete("u1"), scenario.directory.removed.clear()),
}


@pytest.mark.parametrize("policy", [Delays(), Delays(suspend_after=None, delete_after=0)], ids=["suspend", "delete"])
@pytest.mark.parametrize("gone", GONE)
def test_a_leaver_who_was_let_in_again_in_keeper_is_found_by_the_next_drift_run(scenario, gone, policy):
    """Or Keeper said that the suspension was done, and it was not."""
    policies = Deprovisioning(app_off=policy, suspended=policy, deleted=policy)
    scenario.services.connections.change("c1", lambda current: with_settings(current, deprovisioning=policies))
    GONE[gone](scenario)
    scenario.run()
    assert active(scenario, "u1") == [False]
    (account,) = [account for account in scenario.keeper.accounts.values() if account.external_id == "u1"]
    scenario.keeper.accounts[account.scim_id] = replace(account, active=True)
    scenario.run()
    assert active(scenario, "u1") == [True], "no run looks into Keeper but one that lists it"
    scenario.reconcile_to_the_end(RunKind.DRIFT)
    assert active(scenario, "u1") == [False]
