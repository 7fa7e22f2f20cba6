"""Failures of Keeper: they wait, back off and end as that user's failure; nothing else is kept back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from autoprovisioning.app.runs import apply_batch as batches
from autoprovisioning.domain.errors import AuthorizationRefused, Rejected, Throttled, Transient, Unresolved
from autoprovisioning.domain.runs import RunState
from tests.support.builders import SECOND, active, notice
from tests.support.in_memory import FakeAccounts
from tests.support.scenario import LATER, Scenario


def test_messages_that_meet_a_wait_do_not_prolong_it(scenario):
    scenario.keeper.faults.append(Throttled("429", retry_after=30))
    scenario.rename("u1", "Patient")
    notice(scenario, "u1")
    for _ in range(70):
        scenario.fakes.clock.advance(SECOND / 2)
        scenario.refused.clear()
        notice(scenario, "u1")
    assert scenario.keeper.of("u1")[0].attributes["name.givenName"] == "Patient"


def test_one_account_that_always_fails_does_not_stop_the_runs_after_it(scenario):
    scenario.rename("u1", "Poison")
    scenario.rename("u2", "Fine")
    poison, write = scenario.keeper.of("u1")[0].scim_id, scenario.keeper.write

    def failing(wanted):
        if wanted.scim_id == poison:
            raise Transient("HTTP 500")
        return write(wanted)

    scenario.keeper.write = failing
    first = scenario.plan()
    (batch,) = scenario.fakes.queue.batches
    scenario.fakes.queue.batches = []
    for _ in range(4):
        scenario.apply(batch)
        scenario.fakes.clock.advance(timedelta(minutes=5))
    assert [look.user_id for look in scenario.fakes.queue.looks] == ["u1"], "who was done is not looked at again"
    assert scenario.keeper.of("u2")[0].attributes["name.givenName"] == "Fine"
    assert scenario.plan().id != first.id


def test_a_mark_whose_account_keeper_refuses_to_show_ends_as_that_users_failure(scenario, monkeypatch):
    scenario.keeper.faults.append(Unresolved("lost"))
    scenario.rename("u1", "Lost")
    notice(scenario, "u1")

    def refused(_accounts, _scim_id):
        raise AuthorizationRefused("403", status=403)

    monkeypatch.setattr(FakeAccounts, "get", refused)
    scenario.fakes.clock.advance(LATER)
    run = scenario.plan()
    scenario.work_off()
    entry = scenario.entry("u1")
    assert (entry.mark is not None, entry.failure.code) == (True, "rejected"), "what became of it is not known"
    assert scenario.services.runs.get("c1", run.id).state is RunState.DONE


def test_a_probe_that_is_refused_for_another_reason_loses_no_outcome(scenario, monkeypatch):
    scenario.rename("u1", "Later")
    scenario.keeper.faults.append(AuthorizationRefused("403", status=403))
    scenario.plan()
    probe, refusals = FakeAccounts.probe, iter([None, Rejected("HTTP 400")])  # the write's own, then ours

    def odd(accounts):
        refusal = next(refusals, None)
        if refusal is not None:
            raise refusal
        probe(accounts)

    monkeypatch.setattr(FakeAccounts, "probe", odd)
    (batch,) = scenario.fakes.queue.batches
    scenario.apply(batch)
    assert (scenario.entry("u1").mark, scenario.entry("u1").pending) == (None, True)
    scenario.apply(batch)
    assert scenario.keeper.of("u1")[0].attributes["name.givenName"] == "Later"


def test_an_address_of_somebody_else_backs_off_in_large_runs_too():
    scenario = Scenario()
    for number in range(25):
        scenario.hire(f"x{number}", f"x{number}@example.com")
        scenario.keeper.seed(f"x{number}@example.com", f"somebody-else-{number}")
    attempts = []
    for _ in range(5):
        scenario.run()
        scenario.fakes.clock.advance(timedelta(minutes=15) + SECOND)
        attempts.append(scenario.entry("x1").failure.attempts)
    assert attempts == [1, 2, 2, 3, 3]


def test_a_user_is_worked_on_no_longer_than_their_mark_lives(scenario, monkeypatch):
    scenario.suspend("u1")
    deadlines = []
    write = FakeAccounts.write

    def watched(accounts, writes, deadline):
        deadlines.append(deadline - scenario.fakes.clock.now)
        return write(accounts, writes, deadline)

    monkeypatch.setattr(FakeAccounts, "write", watched)
    scenario.run()
    assert deadlines == [scenario.services.timings.user_deadline]
    assert deadlines[0] < scenario.services.timings.user_mark


def test_a_write_that_keeper_never_answers_ends_as_a_failure_that_backs_off(scenario):
    scenario.suspend("u1")
    scenario.keeper.faults.extend([Unresolved("HTTP 500")] * 6)
    for _ in range(6):
        notice(scenario, "u1")
        scenario.fakes.clock.advance(SECOND)
    failure = scenario.entry("u1").failure
    assert (failure.code, failure.attempts, scenario.entry("u1").pending) == ("unresolved", 3, False)
    assert len(scenario.keeper.faults) == 3, "three attempts, then a wait"
    scenario.keeper.faults.clear()
    scenario.fakes.clock.advance(timedelta(minutes=16))
    notice(scenario, "u1")
    assert (scenario.entry("u1").failure, active(scenario, "u1")) == (None, [False])


def test_one_failing_search_does_not_keep_the_rest_of_its_batch_back(monkeypatch):
    monkeypatch.setattr(batches, "CHUNK", 5)
    scenario = Scenario()
    for number in range(12):
        scenario.hire(f"x{number:02}", f"x{number:02}@example.com")
    find = FakeAccounts.find

    def failing(accounts, lookups):
        for found in find(accounts, lookups):
            error = Transient("HTTP 500") if "x00" in {lookup.external_id for lookup in lookups} else None
            yield replace(found, error=error) if error and found.key == lookups[0].key else found

    monkeypatch.setattr(FakeAccounts, "find", failing)
    scenario.plan()
    for batch in scenario.fakes.queue.batches:
        scenario.apply(batch)
    assert sum(bool(active(scenario, f"x{number:02}")) for number in range(12)) == 11
