"""Events are dated as they are committed: who follows the audit in the order of time must not be overtaken by one.

A run records thousands of outcomes in many commits, which take minutes together.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from autoprovisioning.app.runs import dispatch
from autoprovisioning.domain.events import EventName
from autoprovisioning.domain.mapping import AttributeMapping
from tests.support.scenario import Scenario

PEOPLE = tuple(f"x{number}" for number in range(30))  # more than are looked up one by one


@dataclass(frozen=True)
class Slow:
    """A company whose roster takes a second for each commit; `late` is how old each event was when committed, by id."""

    scenario: Scenario
    late: dict[str, timedelta] = field(default_factory=dict)

    def check(self, name: EventName) -> None:
        """Check that everybody has an event of that name, and that none is older than its commit."""
        events = self.scenario.fakes.store.events["c1"].values()
        told = [event for event in events if event.name is name and event.user_id in PEOPLE]
        assert len(told) == len(PEOPLE)
        assert {self.late[event.id] for event in told} == {timedelta(0)}


@pytest.fixture
def slow(scenario, monkeypatch) -> Slow:
    """Thirty newcomers, and commits of a few users each."""
    monkeypatch.setattr(dispatch, "NOTES_A_COMMIT", 5)
    monkeypatch.setattr(dispatch, "COMMITS_AT_ONCE", 1)
    clock, commit = scenario.fakes.clock, scenario.services.roster.commit_in_parts
    slow = Slow(scenario)

    def commit_in_parts(connection, user_ids, edit):
        def slowly(part, known):
            clock.advance(timedelta(seconds=1))
            change, result = edit(part, known)
            slow.late.update({event.id: clock.now - event.at for event in change.events})
            return change, result

        return commit(connection, user_ids, slowly)

    monkeypatch.setattr(scenario.services.roster, "commit_in_parts", commit_in_parts)
    for user_id in PEOPLE:
        scenario.hire(user_id, f"{user_id}@example.com")
    return slow


def test_adoptions_by_the_run_itself(slow):
    for user_id in PEOPLE:
        made = slow.scenario.keeper.seed(f"{user_id}@example.com", user_id)
        attributes = AttributeMapping().apply(slow.scenario.directory.live[user_id].profile)
        slow.scenario.keeper.accounts[made.scim_id] = replace(made, attributes=attributes)
    slow.scenario.plan()
    slow.check(EventName.ADOPTED)


def test_failures_found_by_planning(slow):
    for user_id in PEOPLE:
        known = slow.scenario.directory.live[user_id]
        slow.scenario.directory.live[user_id] = replace(known, profile={**known.profile, "primaryEmail": ""})
    slow.scenario.plan()
    slow.check(EventName.FAILED)


def test_outcomes_of_a_batch(slow):
    slow.scenario.reconcile_to_the_end()
    slow.check(EventName.CREATED)
