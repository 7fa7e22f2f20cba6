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
from tests.support.scenario import Office
from tests.support.settings import with_settings


def fail(office: Office, user_id: str) -> None:
    office.keeper.faults.append(Rejected("HTTP 400"))
    notice(office, user_id)
    entry = office.entry(user_id)
    assert entry is not None
    assert entry.failure is not None


@pytest.mark.parametrize("policy", [Delays(), Delays(suspend_after=None, delete_after=0)], ids=["suspend", "delete"])
def test_it_takes_access_from_whom_the_last_attempt_failed(office, policy):
    policies = Deprovisioning(app_off=policy, suspended=policy, deleted=policy)
    office.services.connections.change("c1", lambda current: with_settings(current, deprovisioning=policies))
    office.suspend("u1")
    fail(office, "u1")
    office.run()
    assert active(office, "u1") == [True], "the next attempt is later"
    office.plan(RunKind.FULL, retry_failures=True)
    office.work_off()
    assert active(office, "u1") == [False]


def test_it_reactivates(office):
    office.suspend("u1")
    notice(office, "u1")
    office.restore("u1")
    fail(office, "u1")
    office.plan(RunKind.FULL, retry_failures=True)
    office.work_off()
    assert active(office, "u1") == [True]


@pytest.mark.parametrize("look", ["run", "notice"])
def test_nothing_is_pending_beside_a_failure(office, look):
    office.suspend("u1")
    fail(office, "u1")
    office.services.roster.commit(
        office.connection, ["u1"], lambda entries: (_edit(replace(entries["u1"], pending=True)), None)
    )
    office.run() if look == "run" else notice(office, "u1")
    entry = office.entry("u1")
    assert (entry.failure is not None, entry.pending) == (True, False)
    assert office.desk.store.pending["c1"] == {}


def test_nothing_is_pending_beside_a_failed_mapping(office):
    office.services.connections.change("c1", lambda current: replace(current, state=State.PAUSED))
    office.rename("u1", "Other")
    notice(office, "u1")
    assert office.entry("u1").pending
    office.services.connections.change("c1", lambda current: replace(current, state=State.ON))
    user = office.directory.live["u1"]
    office.directory.live["u1"] = replace(user, profile={**user.profile, "name": {}, "primaryEmail": ""})
    office.run()
    assert (office.entry("u1").failure.code, office.entry("u1").pending) == ("mapping", False)


def test_nothing_is_pending_beside_a_hold():
    office = Office(limit=1)
    office.run()
    office.services.connections.change(
        "c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=1, percent=1.0))
    )
    office.keeper.faults.extend([Transient("HTTP 503")] * 4)
    for user_id in ("u1", "u2"):
        office.suspend(user_id)
        notice(office, user_id)
    office.refused.clear()
    office.keeper.faults.clear()
    office.desk.store.guards.clear()
    office.plan()
    assert office.desk.store.pending["c1"] == {}


def _edit(entry):
    from autoprovisioning.app.ports.roster import Edit

    return Edit(entries={entry.user_id: replace(entry, version=entry.version + 1)})


def test_what_fails_again_waits_for_its_next_attempt(office):
    office.suspend("u1")
    office.keeper.faults.extend([Unresolved("HTTP 500")] * 20)
    office.plan(RunKind.FULL, retry_failures=True)
    for _ in range(10):
        office.work_off()
        office.desk.clock.advance(SECOND)
        for look in office.refused[:]:
            office.refused.remove(look)
            office.deliver(look)
    assert len(office.keeper.faults) == 17, "three attempts, then a wait"
    assert office.entry("u1").failure.attempts == 3
