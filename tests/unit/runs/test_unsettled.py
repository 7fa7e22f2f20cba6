"""A run says what it planned and did not settle, and is not done while there is any."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoprovisioning.app.administration.ask_for_run import ask_for_run, look_after_run
from autoprovisioning.domain.entry import Action, Mark
from autoprovisioning.domain.errors import KeeperFailed, Rejected, Unresolved
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.runs import Run, RunKind, RunState
from infra.local.sync import progress_of
from tests.support.builders import MINUTE, NOW
from tests.support.scenario import Scenario


def renamed_everybody(scenario: Scenario) -> Run:
    """Plan a run that renames all three."""
    for user_id in ("u1", "u2", "u3"):
        scenario.rename(user_id, "Renamed")
    return scenario.plan()


def deliver_one(scenario: Scenario) -> None:
    """Deliver the only batch there is; what it queues stays there."""
    (batch,) = scenario.fakes.queue.batches
    scenario.fakes.queue.batches = []
    scenario.apply(batch)


def stored(scenario: Scenario, run: Run) -> Run:
    found = scenario.services.runs.get("c1", run.id)
    assert found is not None
    return found


@pytest.mark.parametrize("error", [KeeperFailed("HTTP 500"), Unresolved("no answer")])
def test_a_run_whose_write_is_left_to_a_look_of_its_own_is_not_done(scenario, error):
    run = renamed_everybody(scenario)
    scenario.keeper.faults.extend([None, error, None])
    deliver_one(scenario)
    ended = stored(scenario, run)
    assert (ended.state, ended.unsettled, ended.counts["updated"]) == (RunState.UNSETTLED, 1, 2)
    assert ended.notes[-1] == "Ended with 1 of 3 planned changes unsettled: each is retried automatically"
    scenario.work_off()
    scenario.fakes.clock.advance(20 * MINUTE)
    again = scenario.plan()
    assert (again.state, again.unsettled) == (RunState.DONE, 0)


def test_a_run_whose_changes_fail_is_done_and_says_how_many_failed(scenario):
    run = renamed_everybody(scenario)
    scenario.keeper.faults.extend([None, Rejected("HTTP 400"), None])
    deliver_one(scenario)
    ended = stored(scenario, run)
    assert (ended.state, ended.unsettled, ended.counts["failed"]) == (RunState.DONE, 0, 1)


def test_whom_a_newer_decision_overtook_is_settled_and_whose_mark_ran_out_is_not(scenario):
    run = renamed_everybody(scenario)
    scenario.deliver(scenario.sent[-1])  # the notification about u3 came first
    deliver_one(scenario)
    assert stored(scenario, run).state is RunState.DONE
    scenario.rename("u1", "Marked")
    run = scenario.plan()
    entry = scenario.entry("u1")
    mark = Mark(change_id="x1", message_id="m0", action=Action.UPDATE, until=scenario.fakes.clock.now)
    scenario.fakes.store.put_entry(scenario.connection, replace(entry, mark=mark))  # the worker that had it is gone
    deliver_one(scenario)
    assert (stored(scenario, run).state, stored(scenario, run).unsettled) == (RunState.UNSETTLED, 1)


def test_who_asked_for_a_run_is_told_that_it_left_something(scenario):
    scenario.rename("u1", "Renamed")
    asked = ask_for_run(scenario.services, scenario.connection, Actor(address="admin@example.com"))
    run = scenario.plan()
    scenario.services.runs.put(replace(run, request=asked.asked.id))
    scenario.keeper.faults.append(KeeperFailed("HTTP 500"))
    deliver_one(scenario)
    told = look_after_run(scenario.services, scenario.connection, asked.asked.id)
    assert (told.became.value, "not everything it planned is settled" in told.detail) == ("unsettled", True)


def test_users_refused_before_sending_count_as_failures_of_their_own_kind(scenario):
    for user_id in ("u1", "u2"):
        user = scenario.directory.live[user_id]
        scenario.directory.live[user_id] = replace(user, profile={**user.profile, "name": {}})
    run = scenario.plan()
    counts = scenario.services.runs.get("c1", run.id).counts
    assert (counts["failed"], counts["unsent"]) == (2, 2)


def test_what_the_guard_keeps_back_when_it_is_sent_counts_as_held():
    scenario = Scenario(limit=1)
    scenario.run()
    scenario.keeper.accounts.clear()
    run = renamed_everybody(scenario)
    deliver_one(scenario)
    ended = stored(scenario, run)
    assert (ended.counts["created"], ended.counts["held"], ended.unsettled) == (1, 2, 0)


def test_progress_says_how_far_a_run_is_and_what_it_met_with():
    planned = {"batches": 3, "done": {"1": 0, "2": 1}, "counts": {"created": 7, "failed": 2, "scim_get": 9}}
    run = Run(
        id="r1",
        connection_id="keeper",
        kind=RunKind.FULL,
        fence=1,
        started=NOW,
        state=RunState.PLANNED,
        notes=("Keeper fails for everybody: 503",),
        **planned,
    )
    assert progress_of(run) == ("keeper: 2 of 4 batches done; 7 created, 2 failed; Keeper fails for everybody: 503")
    assert progress_of(replace(run, state=RunState.OBSERVING)) == "keeper: reading the directory and planning"
