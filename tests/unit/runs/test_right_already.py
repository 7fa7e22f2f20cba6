"""Accounts that are right already are adopted by the run itself: no write to Keeper, no mark, no claim and no batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import count
from threading import Barrier

import pytest

from autoprovisioning.adapters.threads import Threads
from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.app.runs import dispatch
from autoprovisioning.domain.entry import Entry, Status
from autoprovisioning.domain.errors import Transient
from autoprovisioning.domain.events import Event, EventName
from autoprovisioning.domain.mapping import AttributeMapping
from autoprovisioning.domain.runs import RunState
from tests.support.builders import notice
from tests.support.scenario import Scenario

PEOPLE = tuple(f"x{number}" for number in range(30))  # more than are looked up one by one


@pytest.fixture
def company(scenario) -> Scenario:
    """Thirty newcomers, all of whom have an account that is right: somebody else's tool made it."""
    for user_id in PEOPLE:
        scenario.hire(user_id, f"{user_id}@example.com")
        made = scenario.keeper.seed(f"{user_id}@example.com", user_id)
        attributes = AttributeMapping().apply(scenario.directory.live[user_id].profile)
        scenario.keeper.accounts[made.scim_id] = replace(made, attributes=attributes)
    scenario.keeper.meanwhile.append(lambda: pytest.fail("Keeper is written to"))
    return scenario


def events(scenario: Scenario) -> list[Event]:
    told = scenario.fakes.store.events["c1"].values()
    return sorted((event for event in told if event.user_id in PEOPLE), key=lambda event: event.user_id)


def entries(scenario: Scenario) -> list[Entry]:
    found = [scenario.entry(user_id) for user_id in PEOPLE]
    return [entry for entry in found if entry is not None]


def test_the_run_records_them_and_sends_nothing(company):
    run = company.plan()
    assert (company.fakes.queue.batches, run.state) == ([], RunState.DONE)
    assert company.fakes.store.claims == {}
    assert [entry.status for entry in entries(company)] == [Status.ACTIVE] * len(PEOPLE)
    assert Counter(event.name for event in events(company)) == {EventName.ADOPTED: len(PEOPLE)}
    recorded = company.services.runs.get("c1", run.id)
    assert recorded.counts["adopted"] == len(PEOPLE)
    assert company.plan().counts.get("adopted", 0) == 0


def test_what_is_recorded_is_what_a_batch_would_record(company, monkeypatch):
    by_batch = _scenario_like(company)
    company.plan()
    with monkeypatch.context() as patched:
        patched.setattr(dispatch, "_seems_right", lambda _planned: False)
        by_batch.run()

    def plain(scenario: Scenario) -> tuple[list[Entry], list[Event]]:
        at_all = scenario.fakes.clock.now
        return (
            [replace(entry, applied_by="", version=0, last_action_at=at_all) for entry in entries(scenario)],
            [replace(event, id="", at=at_all, actor="") for event in events(scenario)],
        )

    assert plain(company) == plain(by_batch)
    assert {entry.applied_by for entry in entries(company)} == {event.id for event in events(company)}


def test_several_commits_are_under_way_and_what_they_adopt_counts_though_another_fails(company, monkeypatch):
    monkeypatch.setattr(dispatch, "NOTES_A_COMMIT", 5)
    company.services = replace(company.services, executor=Threads())
    roster, most = company.services.roster, dispatch.COMMITS_AT_ONCE
    commit, begun, together = roster.commit_in_parts, count(), Barrier(most, timeout=10)

    def commit_in_parts(connection, user_ids, edit):
        number = next(begun)
        if number < most:
            together.wait()
        if number == len(PEOPLE) // 5 - 1:
            raise Transient("The database does not answer")
        return commit(connection, user_ids, edit)

    monkeypatch.setattr(roster, "commit_in_parts", commit_in_parts)
    with pytest.raises(Transient):
        company.plan()
    (run,) = [run for run in company.services.runs.latest("c1", 50) if run.state is RunState.SUPERSEDED]
    assert run.counts["adopted"] == len(events(company)) == len(PEOPLE) - 5
    monkeypatch.undo()
    company.run()
    assert Counter(event.name for event in events(company)) == {EventName.ADOPTED: len(PEOPLE)}


def _scenario_like(company: Scenario) -> Scenario:
    other = Scenario()
    other.run()
    other.fakes.clock.now = company.fakes.clock.now
    other.directory.live = dict(company.directory.live)
    other.directory.memberships = {group: set(members) for group, members in company.directory.memberships.items()}
    other.keeper.accounts = dict(company.keeper.accounts)
    return other


@pytest.mark.parametrize("flaw", ["locked", "another name", "no externalId"])
def test_whose_account_is_not_right_is_left_to_a_batch(company, flaw):
    (account,) = company.keeper.of("x7")
    wrong = {
        "locked": replace(account, active=False),
        "another name": replace(account, attributes={**account.attributes, "name.givenName": "Somebody"}),
        "no externalId": replace(account, external_id=""),
    }[flaw]
    company.keeper.accounts[account.scim_id] = wrong
    company.plan()
    (batch,) = company.fakes.queue.batches
    assert [change.user_id for change in batch.changes] == ["x7"]
    company.keeper.meanwhile.clear()
    company.work_off()
    assert Counter(event.name for event in events(company)) == {EventName.ADOPTED: len(PEOPLE)}


def test_who_was_decided_about_since_the_plan_is_looked_at_again(company):
    """Between the plan and the commit a worker adopts one of them, and has another one marked."""

    def adopts() -> None:
        company.keeper.meanwhile.clear()
        notice(company, "x3")

    company.fakes.store.meanwhile.append(adopts)
    company.run()
    assert Counter(event.user_id for event in events(company)) == Counter(PEOPLE), "nobody is adopted twice"
    assert all(entry.mark is None for entry in entries(company))


def test_nobody_is_adopted_while_the_node_is_not_proven(company):
    change = company.services.connections.change
    change("c1", lambda current: replace(current, unproven=company.fakes.clock.now))
    company.run()
    assert entries(company) == [] or all(entry.status is Status.NONE for entry in entries(company))
    assert not [event for event in events(company) if event.name is EventName.ADOPTED]


def test_a_commit_that_is_made_twice_tells_of_each_once(company):
    commits: list[int] = []
    commit = company.services.roster.commit_in_parts

    def counting(connection, user_ids, edit):
        def counted(part, known):
            change, result = edit(part, known)
            commits.append(len(change.events)) if isinstance(change, Edit) and change.events else None
            return change, result

        return commit(connection, user_ids, counted)

    object.__setattr__(company.services.roster, "commit_in_parts", counting)
    company.plan()
    assert len(events(company)) == len(PEOPLE)
    assert len(commits) <= 2 * 64, "a commit for a part of the roster, not for a user; each is made twice here"
