"""An administrator's run waits for no next attempt, whatever is to be done; what failed or is held is not pending."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.domain.connections import State
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.errors import Rejected, Transient, Unresolved
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.settings import VolumeLimit
from tests.support.builders import SECOND, active, notice
from tests.support.scenario import Scenario
from tests.support.settings import with_settings


def fail(scenario: Scenario, user_id: str) -> None:
    scenario.keeper.faults.append(Rejected("HTTP 400"))
    notice(scenario, user_id)
    entry = scenario.entry(user_id)
    assert entry is not None
    assert entry.failure is not None


@pytest.mark.parametrize("policy", [Delays(), Delays(suspend_after=None, delete_after=0)], ids=["suspend", "delete"])
def test_it_takes_access_from_whom_the_last_attempt_failed(scenario, policy):
    policies = Deprovisioning(app_off=policy, suspended=policy, deleted=policy)
    scenario.services.connections.change("c1", lambda current: with_settings(current, deprovisioning=policies))
    scenario.suspend("u1")
    fail(scenario, "u1")
    scenario.run()
    assert active(scenario, "u1") == [True], "the next attempt is later"
    scenario.plan(RunKind.FULL, retry_failures=True)
    scenario.work_off()
    assert active(scenario, "u1") == [False]


def test_it_reactivates(scenario):
    scenario.suspend("u1")
    notice(scenario, "u1")
    scenario.restore("u1")
    fail(scenario, "u1")
    scenario.plan(RunKind.FULL, retry_failures=True)
    scenario.work_off()
    assert active(scenario, "u1") == [True]


@pytest.mark.parametrize("look", ["run", "notice"])
def test_nothing_is_pending_beside_a_failure(scenario, look):
    scenario.suspend("u1")
    fail(scenario, "u1")
    scenario.services.roster.commit(
        scenario.connection, ["u1"], lambda entries: (_edit(replace(entries["u1"], pending=True)), None)
    )
    scenario.run() if look == "run" else notice(scenario, "u1")
    entry = scenario.entry("u1")
    assert (entry.failure is not None, entry.pending) == (True, False)
    assert scenario.fakes.store.pending["c1"] == {}


def test_nothing_is_pending_beside_a_failed_mapping(scenario):
    scenario.services.connections.change("c1", lambda current: replace(current, state=State.PAUSED))
    scenario.rename("u1", "Other")
    notice(scenario, "u1")
    assert scenario.entry("u1").pending
    scenario.services.connections.change("c1", lambda current: replace(current, state=State.ON))
    user = scenario.directory.live["u1"]
    scenario.directory.live["u1"] = replace(user, profile={**user.profile, "name": {}, "primaryEmail": ""})
    scenario.run()
    assert (scenario.entry("u1").failure.code, scenario.entry("u1").pending) == ("mapping", False)


def test_nothing_is_pending_beside_a_hold():
    scenario = Scenario(limit=1)
    scenario.run()
    scenario.services.connections.change(
        "c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=1, percent=1.0))
    )
    scenario.keeper.faults.extend([Transient("HTTP 503")] * 4)
    for user_id in ("u1", "u2"):
        scenario.suspend(user_id)
        notice(scenario, user_id)
    scenario.refused.clear()
    scenario.keeper.faults.clear()
    scenario.fakes.store.guards.clear()
    scenario.plan()
    assert scenario.fakes.store.pending["c1"] == {}


def _edit(entry):
    from autoprovisioning.app.ports.roster import Edit

    return Edit(entries={entry.user_id: replace(entry, version=entry.version + 1)})


def test_what_fails_again_waits_for_its_next_attempt(scenario):
    scenario.suspend("u1")
    scenario.keeper.faults.extend([Unresolved("HTTP 500")] * 20)
    scenario.plan(RunKind.FULL, retry_failures=True)
    for _ in range(10):
        scenario.work_off()
        scenario.fakes.clock.advance(SECOND)
        for look in scenario.refused[:]:
            scenario.refused.remove(look)
            scenario.deliver(look)
    assert len(scenario.keeper.faults) == 17, "three attempts, then a wait"
    assert scenario.entry("u1").failure.attempts == 3
