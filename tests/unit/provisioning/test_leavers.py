"""Who leaves the scope, or moves to another connection: let in and out once, and not swept for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.runs.sweep import sweep
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.directory_user import Group, Scope
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.settings import VolumeLimit
from tests.support.builders import active, notice
from tests.support.in_memory import SALES
from tests.support.scenario import GROUP, LATER, Office
from tests.support.settings import with_settings


def test_not_being_a_member_by_one_answer_alone_gives_no_access_back(office):
    office.suspend("u1")
    notice(office, "u1")
    office.leave("u1")
    office.restore("u1")
    notice(office, "u1")
    assert active(office, "u1") == [False]
    office.run()
    assert active(office, "u1") == [False]


def test_a_remembered_member_who_left_gets_no_account(office):
    office.hire("u4", "dan@example.com")
    office.suspend("u4")
    notice(office, "u4")
    office.leave("u4")
    office.restore("u4")
    notice(office, "u4")
    assert active(office, "u4") == []


def test_a_sweep_looks_once_at_what_a_look_cannot_settle(office):
    units = Scope(groups=(GROUP,), org_units=(SALES,))
    office.services.connections.change("c1", lambda current: with_settings(current, scope=units))
    office.join("admin")
    assert sweep(office.services) == 1
    office.work_off()
    assert sweep(office.services) == 0
    office.leave("admin")
    assert sweep(office.services) == 0
    office.join("admin")
    assert sweep(office.services) == 1


@pytest.mark.parametrize("gone", ["delete", "archive"])
def test_a_leaver_who_is_gone_is_not_swept_for_ever_nor_hides_others(office, gone):
    office.services.connections.change(
        "c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=1, percent=1.0))
    )
    office.sweep()
    getattr(office, gone)("u1")
    office.leave("u1")
    notice(office, "u1", "delete" if gone == "delete" else "update")
    assert sweep(office.services) <= 1
    office.work_off()
    assert sweep(office.services) == 0
    office.leave("u2")
    office.desk.clock.advance(timedelta(days=2))
    office.sweep()
    assert active(office, "u2") == [False]


def test_who_moves_to_a_later_connection_is_let_in_while_the_earlier_one_is_paused():
    office = Office()
    node = office.connect("c2", Group(id="g2", email="other@example.com", name="Others"), shared=False)
    office.join("u1")
    office.run()
    office.leave("u1")
    office.directory.memberships["g2"].add("u1")
    office.run()
    office.directory.memberships["g2"].discard("u1")
    office.join("u1")
    office.desk.clock.advance(LATER)
    office.run()
    assert (active(office, "u1"), [account.active for account in node.of("u1")]) == ([True], [False])
    office.services.connections.change("c1", lambda current: replace(current, state=State.PAUSED))
    office.leave("u1")
    office.directory.memberships["g2"].add("u1")
    office.desk.clock.advance(LATER)
    office.run()
    assert [account.active for account in node.of("u1")] == [True]


GONE = {
    "suspended": lambda office: office.suspend("u1"),
    "deleted": lambda office: office.delete("u1"),
    "deleted long ago": lambda office: (office.delete("u1"), office.directory.removed.clear()),
}


@pytest.mark.parametrize("policy", [Delays(), Delays(suspend_after=None, delete_after=0)], ids=["suspend", "delete"])
@pytest.mark.parametrize("gone", GONE)
def test_a_leaver_who_was_let_in_again_in_keeper_is_found_by_the_next_drift_run(office, gone, policy):
    """Or Keeper said that the suspension was done, and it was not."""
    policies = Deprovisioning(app_off=policy, suspended=policy, deleted=policy)
    office.services.connections.change("c1", lambda current: with_settings(current, deprovisioning=policies))
    GONE[gone](office)
    office.run()
    assert active(office, "u1") == [False]
    (account,) = [account for account in office.keeper.accounts.values() if account.external_id == "u1"]
    office.keeper.accounts[account.scim_id] = replace(account, active=True)
    office.run()
    assert active(office, "u1") == [True], "no run looks into Keeper but one that lists it"
    office.reconcile_to_the_end(RunKind.DRIFT)
    assert active(office, "u1") == [False]
