"""Attempts of one user that say nothing of the user: two are made again at once, the third is that user's failure."""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from autoprovisioning.domain.accounts import Account, Write, Written
from autoprovisioning.domain.change_events import event_for
from autoprovisioning.domain.changes import Change, Outcome, ended, recorded
from autoprovisioning.domain.decision import Nothing
from autoprovisioning.domain.entry import Action, Status
from autoprovisioning.domain.errors import (
    AuthorizationRefused,
    ConfigurationRefused,
    Contradicted,
    Incomplete,
    KeeperFailed,
    NotOffered,
    ProvisioningError,
    Rejected,
    Transient,
)
from autoprovisioning.domain.events import EventName
from autoprovisioning.domain.explanation import in_words
from autoprovisioning.domain.runs import Evidence, Look, RunState
from tests.support.builders import ADA, BY_RUN, MINUTE, NOW, SECOND, active, entry, notice, seen
from tests.support.in_memory import FakeAccounts
from tests.support.in_memory_state import FakeRoster
from tests.support.scenario import Scenario

CHANGE = Change(id="c1", entry=entry(), action=Action.UPDATE, email="ada@example.com", attributes=ADA, scim_id="k1")


def attempted(times: int, error: ProvisioningError) -> list[tuple[int, bool, bool]]:
    """Return, after each attempt, how many were counted, whether the user waits, and whether it is reported."""
    change, told = CHANGE, []
    for number in range(times):
        now = NOW + number * MINUTE
        outcome = Outcome(change=change, error=error)
        after = recorded(change.entry, outcome, now)
        assert ended(outcome, now) is (event_for(outcome, BY_RUN, now) is not None)
        told.append((after.failure.attempts, after.pending, ended(outcome, now)))
        change = replace(change, entry=after)
    return told


@pytest.mark.parametrize("error", [KeeperFailed("HTTP 500"), Incomplete("the listing ended early")])
def test_the_third_attempt_that_says_nothing_is_that_users_failure(error):
    assert attempted(4, error) == [(1, True, False), (2, True, False), (3, False, True), (4, False, True)]


def test_the_waits_double_from_the_first_failure_on():
    change, waits = CHANGE, []
    for _ in range(5):
        after = recorded(change.entry, Outcome(change=change, error=KeeperFailed("HTTP 500")), NOW)
        waits.append((after.failure.next_attempt - NOW) // MINUTE)
        change = replace(change, entry=after)
    assert waits == [0, 0, 15, 30, 60]


def test_a_refusal_after_attempts_that_said_nothing_waits_no_longer_for_them():
    tried = recorded(CHANGE.entry, Outcome(change=CHANGE, error=KeeperFailed("HTTP 500")), NOW)
    tried = recorded(tried, Outcome(change=CHANGE, error=KeeperFailed("HTTP 500")), NOW)
    refused = recorded(tried, Outcome(change=CHANGE, error=Rejected("HTTP 400")), NOW)
    assert (refused.failure.attempts, refused.failure.next_attempt - NOW) == (1, 15 * MINUTE)


@pytest.mark.parametrize("error", [NotOffered("HTTP 501"), Rejected("HTTP 405"), Contradicted("still active")])
def test_what_is_final_is_a_failure_at_once_and_changes_no_status(error):
    outcome = Outcome(change=replace(CHANGE, action=Action.SUSPEND, attributes={}), error=error)
    after = recorded(CHANGE.entry, outcome, NOW)
    assert (after.status, after.failure.code, after.pending) == (Status.ACTIVE, error.code, False)
    assert event_for(outcome, BY_RUN, NOW).name is EventName.FAILED


def failures(scenario: Scenario) -> list[str]:
    """Return whom the console lists as failing."""
    return sorted(scenario.fakes.store.failures["c1"])


def deliver_until_done(scenario: Scenario, user_id: str, times: int = 10) -> int:
    """Deliver a notification again while it is refused; returns how often it was."""
    notice(scenario, user_id)
    for number in range(times):
        if not scenario.refused:
            return number
        scenario.fakes.clock.advance(10 * SECOND)
        look, scenario.refused = scenario.refused[0], []
        scenario.deliver(look)
    return times


@pytest.mark.parametrize("error", [KeeperFailed("HTTP 500"), Transient("HTTP 500")])
def test_a_write_that_keeper_fails_on_ends_as_a_failure_and_the_message_is_done_with(scenario, error):
    scenario.suspend("u1")
    scenario.keeper.faults.extend([error] * 10)
    assert deliver_until_done(scenario, "u1") == 2
    failure = scenario.entry("u1").failure
    assert (failure.code, failure.attempts, failures(scenario)) == ("keeper_failed", 3, ["u1"])
    assert [event.reason for event in scenario.fakes.store.events["c1"].values() if event.code] == ["HTTP 500"]
    for _ in range(3):
        scenario.run()
    assert len(scenario.keeper.faults) == 7, "nothing is sent before the next attempt is due"
    scenario.keeper.faults.clear()
    scenario.fakes.clock.advance(16 * MINUTE)
    scenario.run()
    assert (active(scenario, "u1"), failures(scenario)) == ([False], [])


def test_nobody_is_told_of_an_attempt_that_is_made_again_at_once(scenario):
    scenario.suspend("u1")
    scenario.keeper.faults.append(KeeperFailed("HTTP 500"))
    notice(scenario, "u1")
    assert (scenario.entry("u1").pending, failures(scenario), scenario.refused != []) == (True, [], True)
    notice(scenario, "u1")
    assert (scenario.entry("u1").failure, scenario.entry("u1").pending) == (None, False)


@pytest.mark.parametrize("error", [KeeperFailed("HTTP 500"), Transient("HTTP 500")])
def test_an_outage_counts_against_nobody(scenario, monkeypatch, error):
    scenario.suspend("u1")
    monkeypatch.setattr(FakeAccounts, "_written", lambda self, write, at: Written(key=write.key, error=error))
    monkeypatch.setattr(FakeAccounts, "probe", refusing(Transient("HTTP 500")))
    assert deliver_until_done(scenario, "u1", 5) == 5
    assert (scenario.entry("u1").failure, scenario.entry("u1").pending) == (None, True)


def refusing(error: Exception):
    def refuse(*_: object) -> None:
        raise error

    return refuse


def lost(scenario: Scenario) -> None:
    """Leave a mark of u1 that ran out: what became of the change is not known."""
    scenario.keeper.faults.append("lost")
    scenario.rename("u1", "Lost")
    notice(scenario, "u1")
    scenario.refused.clear()
    assert scenario.entry("u1").mark is not None


@pytest.mark.parametrize(
    ("error", "code", "attempts"),
    [
        (KeeperFailed("HTTP 500"), "keeper_failed", 3),
        (Transient("Keeper's answer is not an account"), "keeper_failed", 3),
        (AuthorizationRefused("403", status=403), "rejected", 1),
        (ConfigurationRefused("The endpoint redirects"), "configuration", 1),
        (RecursionError("nested"), "unforeseen", 1),
    ],
)
def test_a_mark_whose_account_is_never_shown_is_a_failure_and_stays(scenario, monkeypatch, error, code, attempts):
    lost(scenario)
    asked = []

    def get(accounts: FakeAccounts, scim_id: str) -> None:
        asked.append(scim_id)
        raise error

    monkeypatch.setattr(FakeAccounts, "get", get)
    deliver_until_done(scenario, "u1")
    known = scenario.entry("u1")
    assert (known.failure.code, known.failure.attempts, known.pending) == (code, attempts, False)
    assert known.mark is not None, "what became of the change is not known all the same"
    assert failures(scenario) == ["u1"]
    told = len(asked)
    for _ in range(4):
        run = scenario.plan()
        scenario.work_off()
        assert (run.state, dict(run.planned)) == (RunState.DONE, {})
        scenario.fakes.clock.advance(3 * MINUTE)
    assert len(asked) == told, "no run asks before the next attempt is due"
    scenario.fakes.clock.advance(10 * MINUTE)
    scenario.run()
    assert len(asked) == told + 1
    monkeypatch.undo()
    scenario.fakes.clock.advance(timedelta(hours=1))
    scenario.run()
    assert (scenario.entry("u1").mark, scenario.entry("u1").failure, failures(scenario)) == (None, None, [])


def test_a_leaver_whose_last_change_is_unknown_is_not_kept_in_by_its_back_off(scenario, monkeypatch):
    lost(scenario)
    monkeypatch.setattr(FakeAccounts, "get", refusing(KeeperFailed("HTTP 500")))
    deliver_until_done(scenario, "u1")
    monkeypatch.undo()
    scenario.suspend("u1")
    scenario.run()  # no notification came through
    scenario.work_off()
    assert active(scenario, "u1") == [False]


def test_asking_why_tells_when_an_unknown_change_is_asked_for_again(scenario, monkeypatch):
    lost(scenario)
    monkeypatch.setattr(FakeAccounts, "get", refusing(KeeperFailed("HTTP 500")))
    deliver_until_done(scenario, "u1")
    known, now = scenario.entry("u1"), scenario.fakes.clock.now
    words = in_words(Nothing(noted=known), known, seen(), scenario.connection, now)
    assert "UTC" in words
    assert words.endswith("HTTP 500")


@pytest.mark.parametrize("error", [Transient("HTTP 500"), ConfigurationRefused("users.get is refused: HTTP 400")])
def test_a_user_whom_the_directory_never_shows_is_a_failure_while_it_shows_others(scenario, monkeypatch, error):
    scenario.suspend("u1")
    broken = scenario.directory.user
    monkeypatch.setattr(scenario.directory, "user", lambda user_id: broken(user_id) if user_id != "u1" else fail(error))
    scenario.plan()
    asked = scenario.fakes.clock.now
    (batch,) = scenario.fakes.queue.batches
    scenario.fakes.queue.batches = []
    scenario.apply(batch)
    (look,) = scenario.fakes.queue.looks
    for _ in range(12):
        scenario.fakes.clock.advance(10 * SECOND)
        try_again(scenario, look, asked)
    failure = scenario.entry("u1").failure
    assert (failure.code, failures(scenario)) == ("directory_failed", ["u1"])
    assert dict(scenario.plan().planned) == {}, "no run reads the user before the next attempt is due"
    monkeypatch.undo()
    notice(scenario, "u1")
    assert (scenario.entry("u1").failure, active(scenario, "u1")) == (None, [False])


def try_again(scenario: Scenario, look: Look, asked) -> None:
    with contextlib.suppress(ConfigurationRefused):  # answered 500: delivered again
        scenario.deliver(replace(look, asked_at=asked))
    scenario.refused.clear()


def fail(error: Exception) -> None:
    raise error


def test_a_directory_that_fails_for_everybody_counts_against_nobody(scenario, monkeypatch):
    scenario.suspend("u1")
    monkeypatch.setattr(scenario.directory, "user", refusing(Transient("HTTP 500")))
    monkeypatch.setattr(scenario.directory, "probe", refusing(Transient("HTTP 500")))
    scenario.fakes.clock.advance(5 * MINUTE)
    asked = scenario.fakes.clock.now - 4 * MINUTE
    for _ in range(5):
        try_again(scenario, Look(user_id="u1", event="update"), asked)
    assert scenario.entry("u1").failure is None


def test_a_leaver_whom_the_listing_lacks_is_not_sent_again_and_again(scenario):
    del scenario.directory.live["u1"]
    scenario.keeper.faults.extend([Rejected("409")] * 10)
    scenario.deliver(Look(user_id="u1", event="", evidence=Evidence(missing=True), asked_at=scenario.fakes.clock.now))
    assert scenario.entry("u1").failure is not None
    run = scenario.plan()
    assert (dict(run.planned), len(scenario.keeper.faults)) == ({}, 9)


def test_a_listed_leaver_whom_the_directory_knows_not_alone_fails_with_that_reason(scenario, monkeypatch):
    scenario.suspend("u1")
    monkeypatch.setattr(scenario.directory, "user", lambda _user_id: None)
    for _ in range(3):
        asked = scenario.fakes.clock.now
        scenario.fakes.clock.advance(2 * MINUTE)
        try_again(scenario, Look(user_id="u1", event="", evidence=Evidence(listed=True)), asked)
    failure = scenario.entry("u1").failure
    assert "does not find them when asked individually" in failure.text
    assert active(scenario, "u1") == [True], "nothing proves that the user is deleted, and nothing shows the suspension"


class LosesAnswers(FakeRoster):
    """Every commit arrives, its answer is lost, and before it is tried again others write to the shard."""

    def __init__(self, store):
        super().__init__(store)
        self.meanwhile = deque()

    def commit(self, connection, user_ids, edit):
        wanted = set(user_ids)
        super().commit(connection, wanted, edit)
        if self.meanwhile:
            self.meanwhile.popleft()()
        return super().commit(connection, wanted, edit)


@pytest.mark.parametrize("when", ["marking", "writing"])
def test_a_look_asked_for_meanwhile_outlives_a_commit_whose_answer_was_lost(scenario, monkeypatch, when):
    roster = LosesAnswers(scenario.fakes.store)
    scenario.services = replace(scenario.services, roster=roster)
    written = FakeAccounts._written

    def ask() -> None:
        scenario.rename("u1", "Second")
        notice(scenario, "u1")  # finds the mark, and asks its owner to look again

    def refused(accounts: FakeAccounts, write: Write, at: datetime) -> Written:
        monkeypatch.setattr(FakeAccounts, "_written", written)
        if when == "writing":
            ask()
        return Written(key=write.key, error=Rejected("400"))

    if when == "marking":
        roster.meanwhile.append(ask)
    monkeypatch.setattr(FakeAccounts, "_written", refused)
    scenario.rename("u1", "First")
    notice(scenario, "u1")
    (account,) = scenario.keeper.of("u1")
    assert (account.attributes["name.givenName"], scenario.entry("u1").failure) == ("Second", None)


def test_who_counts_a_failure_while_another_settles_the_same_mark_is_not_written_over(scenario, monkeypatch):
    """The same message was published twice: one worker is shown the account, the other one's request fails."""
    lost(scenario)
    scenario.fakes.clock.advance(timedelta(hours=1))
    get, counted = FakeAccounts.get, []

    def first(accounts: FakeAccounts, scim_id: str) -> Account | None:
        monkeypatch.setattr(FakeAccounts, "get", refusing(KeeperFailed("HTTP 500")))
        notice(scenario, "u1")
        monkeypatch.setattr(FakeAccounts, "get", get)
        counted.append(scenario.entry("u1"))
        return get(accounts, scim_id)

    monkeypatch.setattr(FakeAccounts, "get", first)
    notice(scenario, "u1")
    (meanwhile,) = counted
    assert (meanwhile.failure.attempts, meanwhile.mark is not None) == (1, True)
    known = scenario.entry("u1")
    assert (known.mark, known.failure) == (None, None)
    assert known.version > meanwhile.version, "else a plan made upon the other one's entry would be carried out"
