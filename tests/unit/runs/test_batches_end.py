"""A batch always ends: one user's failure is that user's, an outage is everybody's, and users who wait are shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from autoprovisioning.app.runs import apply_batch as batches
from autoprovisioning.app.runs import dispatch
from autoprovisioning.app.runs.apply_batch import apply_batch
from autoprovisioning.app.runs.close_run import OUTAGE
from autoprovisioning.domain.accounts import Written
from autoprovisioning.domain.errors import (
    Busy,
    ConfigurationRefused,
    KeeperFailed,
    ProvisioningError,
    Rejected,
    Throttled,
    Transient,
)
from autoprovisioning.domain.runs import Batch, RunState
from tests.support.builders import MINUTE, active
from tests.support.in_memory import FakeAccounts
from tests.support.scenario import Scenario

POISON = [
    ConfigurationRefused("users.get is refused: HTTP 400"),
    Transient("HTTP 500"),
    Busy("This user's account on another connection is being created"),
    Rejected("HTTP 400"),
    RecursionError("maximum recursion depth exceeded"),
    UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid continuation byte"),
]


def only_batch(scenario: Scenario) -> Batch:
    (batch,) = scenario.fakes.queue.batches
    scenario.fakes.queue.batches = []
    return batch


def deliver(scenario: Scenario, batch: Batch, message_id: str = "m1") -> ProvisioningError | None:
    """Deliver a batch; returns what it asks to be delivered again for."""
    now = scenario.fakes.clock.now
    try:
        apply_batch(scenario.services, batch, message_id, now, now + 8 * MINUTE)
    except ProvisioningError as error:
        return error
    return None


def fail_on(scenario: Scenario, monkeypatch, user_id: str, error: Exception) -> None:
    """Let the directory fail on one user, and show the others."""
    read = scenario.directory.user

    def user(wanted: str):
        if wanted == user_id:
            raise error
        return read(wanted)

    monkeypatch.setattr(scenario.directory, "user", user)


@pytest.mark.parametrize("error", POISON, ids=lambda error: type(error).__name__)
def test_whatever_one_look_raises_the_batch_ends_and_the_look_goes_on_alone(scenario, monkeypatch, error):
    for user_id in ("u1", "u2", "u3"):
        scenario.leave(user_id)
    run = scenario.plan()
    batch = only_batch(scenario)
    poisoned = next(look for look in batch.looks if look.user_id == "u2")
    fail_on(scenario, monkeypatch, "u2", error)
    assert deliver(scenario, batch) is None
    unknown = isinstance(error, RecursionError | UnicodeDecodeError)
    ended = RunState.DONE if unknown else RunState.UNSETTLED
    assert scenario.services.runs.get("c1", run.id).state is ended
    assert (active(scenario, "u1"), active(scenario, "u3")) == ([False], [False])
    if unknown:  # it is that user's failure at once: the roster has an entry to note it at
        assert (scenario.fakes.queue.looks, scenario.entry("u2").failure.code) == ([], "unforeseen")
    else:
        assert scenario.fakes.queue.looks == [poisoned], "with its evidence, and with the plan that was approved"
    monkeypatch.undo()
    scenario.work_off()
    if unknown:
        scenario.fakes.clock.advance(16 * MINUTE)
        scenario.run()
    assert (active(scenario, "u2"), scenario.entry("u2").failure) == ([False], None)


def test_what_nobody_foresaw_is_logged_once_with_its_stack_and_the_alert(scenario, monkeypatch, caplog):
    scenario.suspend("u2")
    scenario.plan()
    batch = only_batch(scenario)
    fail_on(scenario, monkeypatch, "u2", RecursionError("nested"))
    deliver(scenario, batch)
    told = [record for record in caplog.records if "RecursionError" in record.getMessage()]
    assert [record.json_fields for record in told] == [{"alert": "unforeseen"}]
    assert "Traceback" in told[0].getMessage()
    event = next(event for event in scenario.fakes.store.events["c1"].values() if event.code == "unforeseen")
    assert "nested" not in event.reason, "an exception's text may hold what was read"


def renamed(scenario: Scenario, *user_ids: str) -> Batch:
    for user_id in user_ids:
        scenario.rename(user_id, "Renamed")
    scenario.plan()
    return only_batch(scenario)


def names(scenario: Scenario) -> list[str]:
    return [str(scenario.keeper.of(user_id)[0].attributes["name.givenName"]) for user_id in ("u1", "u2", "u3")]


def fail_writes_of(scenario: Scenario, monkeypatch, user_id: str, error: Exception) -> None:
    write, scim_id = scenario.keeper.write, scenario.keeper.of(user_id)[0].scim_id

    def failing(wanted):
        if wanted.scim_id == scim_id:
            raise error
        return write(wanted)

    monkeypatch.setattr(scenario.keeper, "write", failing)


@pytest.mark.parametrize("error", [KeeperFailed("HTTP 500"), Transient("HTTP 500"), Rejected("HTTP 405")])
def test_a_write_that_fails_on_one_user_leaves_the_batch_done(scenario, monkeypatch, error):
    batch = renamed(scenario, "u1", "u2", "u3")
    fail_writes_of(scenario, monkeypatch, "u2", error)
    assert deliver(scenario, batch) is None
    assert names(scenario) == ["Renamed", "New", "Renamed"]
    scenario.work_off()
    refused: Counter[str] = Counter()
    while scenario.refused:
        look = scenario.refused.pop()
        refused[look.user_id] += 1
        scenario.deliver(look)
    assert refused["u2"] <= 2
    assert "u2" in scenario.fakes.store.failures["c1"]


def test_an_exception_in_the_middle_of_a_batch_is_nobody_elses(scenario, monkeypatch):
    """The adapter breaks on one write: which of the others arrived is asked of each account."""
    batch = renamed(scenario, "u1", "u2", "u3")
    fail_writes_of(scenario, monkeypatch, "u2", RecursionError("nested"))
    assert deliver(scenario, batch) is None
    for _ in range(6):
        scenario.work_off()
        again, scenario.refused = scenario.refused, []
        for look in again:
            scenario.deliver(look)
    assert names(scenario) == ["Renamed", "New", "Renamed"]
    assert sorted(scenario.fakes.store.failures["c1"]) == ["u2"]
    assert scenario.refused == []


def test_a_written_result_that_is_no_error_of_ours_is_that_users(scenario, monkeypatch):
    batch = renamed(scenario, "u1", "u2")
    written = FakeAccounts._written

    def odd(accounts, write, deadline):
        done = written(accounts, write, deadline)
        return Written(key=write.key, error=OSError("odd")) if write.scim_id == scenario.entry("u2").scim_id else done

    monkeypatch.setattr(FakeAccounts, "_written", odd)
    assert deliver(scenario, batch) is None
    assert names(scenario)[0] == "Renamed"
    assert scenario.entry("u2").mark is not None, "it may have arrived"


def outage(monkeypatch, error: Exception) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(FakeAccounts, "probe", refuse)


def test_in_an_outage_the_batch_comes_again_later_and_everybody_of_it_waits(monkeypatch):
    monkeypatch.setattr(batches, "CHUNK", 2)
    scenario = Scenario()
    for number in range(6):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    run = scenario.plan()
    batch = only_batch(scenario)
    outage(monkeypatch, Transient("Keeper answers HTTP 500", retry_after=10))
    error = deliver(scenario, batch)
    assert isinstance(error, Transient)
    assert error.retry_after == 30, "not at once"
    assert {change.user_id for change in batch.changes} == set(scenario.fakes.store.pending["c1"])
    assert scenario.services.runs.get("c1", run.id).notes == (f"{OUTAGE}Keeper answers HTTP 500",)
    monkeypatch.setattr(FakeAccounts, "probe", lambda _accounts: None)
    assert deliver(scenario, batch) is None
    assert scenario.fakes.store.pending["c1"] == {}
    assert scenario.services.runs.get("c1", run.id).state is RunState.DONE


def test_in_an_outage_nothing_is_counted_against_those_who_were_tried(scenario, monkeypatch):
    batch = renamed(scenario, "u1", "u2", "u3")

    def failing(_accounts, write, _deadline):
        return Written(key=write.key, error=KeeperFailed("HTTP 500"))

    monkeypatch.setattr(FakeAccounts, "_written", failing)
    probe = FakeAccounts.probe
    outage(monkeypatch, Transient("HTTP 500"))
    for _ in range(4):
        assert isinstance(deliver(scenario, batch), Transient)
    assert [scenario.entry(user_id).failure for user_id in ("u1", "u2", "u3")] == [None] * 3
    monkeypatch.setattr(FakeAccounts, "probe", probe)
    assert deliver(scenario, batch) is None, "now it is about each of them"
    assert [scenario.entry(user_id).failure.attempts for user_id in ("u1", "u2", "u3")] == [1] * 3


def test_an_outage_is_noted_once_however_often_it_is_met(scenario, monkeypatch):
    batch = renamed(scenario, "u1", "u2", "u3")
    for status in (500, 502, 503):
        outage(monkeypatch, Transient(f"HTTP {status}"))
        deliver(scenario, batch)
    assert scenario.services.runs.get("c1", batch.run_id).notes == (f"{OUTAGE}HTTP 503",)


def test_a_wait_that_keeper_asks_for_flags_the_whole_batch(monkeypatch):
    monkeypatch.setattr(batches, "CHUNK", 2)
    scenario = Scenario()
    for number in range(6):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    scenario.plan()
    batch = only_batch(scenario)
    scenario.keeper.faults.extend([Throttled("429", retry_after=600)] * 2)
    assert isinstance(deliver(scenario, batch), Throttled)
    assert {change.user_id for change in batch.changes} == set(scenario.fakes.store.pending["c1"])


def test_what_the_server_refuses_is_noted_once_by_planner_and_batches(scenario):
    scenario.keeper.remarks = ["Keeper does not search: accounts are listed instead."]
    batch = renamed(scenario, "u1")
    scenario.keeper.remarks.append("Keeper does not offer Bulk.")
    deliver(scenario, replace(batch, changes=batch.changes))
    assert scenario.services.runs.get("c1", batch.run_id).notes == tuple(scenario.keeper.remarks)


class Killed(BaseException):
    """The worker died."""


def test_a_run_waits_for_its_other_batches_when_a_worker_died_between_publishing_a_rest_and_recording_it(monkeypatch):
    monkeypatch.setattr(dispatch, "CHANGES_A_BATCH", 2)
    monkeypatch.setattr(batches, "CHUNK", 1)
    scenario = Scenario()
    for number in range(6):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    run = scenario.plan()
    (first, *others), scenario.fakes.queue.batches = scenario.fakes.queue.batches, []
    commit = scenario.services.roster.commit

    def die_before_it_is_recorded(connection, users, edit):
        if not users:
            raise Killed
        return commit(connection, users, edit)

    with monkeypatch.context() as patched:
        patched.setattr(scenario.services.roster, "commit", die_before_it_is_recorded)
        scenario.keeper.afterwards.append(lambda: scenario.fakes.clock.advance(9 * MINUTE))
        with pytest.raises(Killed):
            deliver(scenario, first)
    (rest,), scenario.fakes.queue.batches = scenario.fakes.queue.batches, []
    for number, batch in enumerate((rest, first, *others)):
        assert deliver(scenario, batch, f"m{number}") is None
    assert all(active(scenario, f"x{number}") == [True] for number in range(6))
    closed = scenario.services.runs.get("c1", run.id)
    assert closed is not None
    assert (closed.state, closed.batches_left) == (RunState.DONE, 0)


def test_neighbours_which_may_share_a_document_are_not_published_one_after_the_other(monkeypatch):
    monkeypatch.setattr(dispatch, "CHANGES_A_BATCH", 1)
    scenario = Scenario()
    for number in range(5):
        scenario.hire(f"x{number}", f"x{number}@example.com")
    scenario.plan()
    published = scenario.fakes.queue.batches
    assert len(published) > 5
    assert [int(batch.number) for batch in published] == [
        *range(1, len(published) + 1, 2),
        *range(2, len(published) + 1, 2),
    ]
    stored = [batch.changes[0].user_id for batch in sorted(published, key=lambda batch: int(batch.number))]
    assert stored == scenario.services.roster.as_stored(scenario.connection, stored)
