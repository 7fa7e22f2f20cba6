"""Access is taken from many together: each is read alone before, the rest of the work is done once for all."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from autoprovisioning.app.administration.held_plans import decide_hold
from autoprovisioning.app.runs import apply_batch as applying
from autoprovisioning.app.runs import take_access
from autoprovisioning.app.runs.apply_batch import apply_batch
from autoprovisioning.domain.errors import KeeperFailed, Throttled, Transient
from autoprovisioning.domain.events import Actor, EventName
from autoprovisioning.domain.runs import Batch, RunState
from autoprovisioning.domain.settings import VolumeLimit
from tests.support.builders import MINUTE, active, notice
from tests.support.executors import Inline
from tests.support.scenario import Scenario, person
from tests.support.settings import with_settings

ADMIN = Actor(address="admin@example.com", directory_id="u0")
PEOPLE = tuple(f"x{number}" for number in range(30))
LEAVERS = PEOPLE[:20]


class Killed(BaseException):
    """The worker is gone; nobody handles this."""


def die() -> None:
    raise Killed


@pytest.fixture
def company(scenario) -> Scenario:
    """Thirty people more, of whom twenty are suspended; the suspensions that were held are approved."""
    for user_id in PEOPLE:
        scenario.hire(user_id, f"{user_id}@example.com")
    scenario.run()
    scenario.services.connections.change("c1", lambda current: with_settings(current, limit=VolumeLimit(minimum=5)))
    scenario.fakes.clock.advance(timedelta(days=2))
    scenario.run()
    scenario.fakes.clock.advance(MINUTE)
    for user_id in LEAVERS:
        scenario.suspend(user_id)
    scenario.run()
    (hold,) = scenario.services.holds.standing("c1")
    assert len(hold.members) == len(LEAVERS)
    assert with_access(scenario, LEAVERS) == set(LEAVERS)
    decide_hold(scenario.services, "c1", hold.digest, "approve", ADMIN)
    scenario.fakes.clock.advance(MINUTE)
    scenario.plan()
    return scenario


def with_access(scenario: Scenario, users: tuple[str, ...] = PEOPLE) -> set[str]:
    return {user_id for user_id in users if active(scenario, user_id) == [True]}


def only_batch(scenario: Scenario) -> Batch:
    (batch,), scenario.fakes.queue.batches = scenario.fakes.queue.batches, []
    return batch


def deliver(scenario: Scenario, batch: Batch, published: datetime | None = None) -> Transient | None:
    """Deliver the batch; returns what it is to be delivered again for."""
    now = scenario.fakes.clock.now
    try:
        apply_batch(scenario.services, batch, "m1", published or now, now + timedelta(minutes=8))
    except Transient as error:
        return error
    return None


def count_calls(monkeypatch, port: object, *names: str) -> Counter[str]:
    """Count the calls of these methods."""
    counts: Counter[str] = Counter()

    def counted(name: str):
        call = getattr(port, name)

        def counting(*args, **kwargs):
            counts[name] += 1
            return call(*args, **kwargs)

        return counting

    for name in names:
        monkeypatch.setattr(port, name, counted(name))
    return counts


def events(scenario: Scenario, name: EventName) -> Counter[str]:
    return Counter(each.user_id for each in scenario.fakes.store.events["c1"].values() if each.name is name)


def while_read(scenario: Scenario, monkeypatch, user_id: str, happens) -> None:
    """Let something happen once the directory has shown a user, before that is acted on."""
    read, waiting = scenario.directory.user, [happens]

    def user(wanted: str):
        shown = read(wanted)
        if wanted == user_id and waiting:
            waiting.pop()()
        return shown

    monkeypatch.setattr(scenario.directory, "user", user)


def test_each_leaver_is_read_once_and_what_they_share_once_for_all(company, monkeypatch):
    scenario, services = company, company.services
    directory = count_calls(monkeypatch, scenario.directory, "user", "is_member", "deleted_users", "org_units")
    connections = count_calls(monkeypatch, services.connections, "all", "get")
    roster = count_calls(monkeypatch, services.roster, "entry", "entries", "commit", "commit_in_parts")
    brakes = count_calls(monkeypatch, services.guard, "change")
    holds = count_calls(monkeypatch, services.holds, "standing")
    assert deliver(scenario, only_batch(scenario)) is None
    assert with_access(scenario) == set(PEOPLE) - set(LEAVERS)
    assert directory == {"user": len(LEAVERS), "is_member": len(LEAVERS)}
    assert (connections["all"], roster["entry"], roster["entries"]) == (1, 0, 2), "closing the run reads them, too"
    assert roster["commit_in_parts"] <= 3, "a commit each for the marks and for the outcomes"
    assert (brakes["change"], holds["standing"]) == (1, 2)
    assert connections["get"] <= 10
    assert events(scenario, EventName.SUSPENDED) == Counter(LEAVERS), "one for each"
    assert all(scenario.entry(user_id).mark is None for user_id in LEAVERS)


def test_what_is_approved_is_noted_by_the_guard_before_anything_is_sent(company, monkeypatch):
    noted: list[int] = []
    guard = company.services.guard
    company.keeper.meanwhile.append(lambda: noted.append(len(company.fakes.store.guards["c1"].reserved["approved"])))
    seen = count_calls(monkeypatch, guard, "change")
    deliver(company, only_batch(company))
    assert (noted, seen["change"]) == ([len(LEAVERS)], 1)


def test_who_has_returned_since_the_plan_keeps_access(company):
    back, batch = "x7", only_batch(company)
    company.directory.live[back] = person(back, f"{back}@example.com", "New")
    deliver(company, batch)
    assert with_access(company) == {*PEOPLE, back} - (set(LEAVERS) - {back})
    assert events(company, EventName.SUSPENDED)[back] == 0


def test_who_returns_while_they_are_read_keeps_access(company, monkeypatch):
    back, batch = "x7", only_batch(company)

    def returns() -> None:
        company.directory.live[back] = person(back, f"{back}@example.com", "New")
        notice(company, back)  # a worker that decides on the newer reading, and has nothing to do

    while_read(company, monkeypatch, back, returns)
    deliver(company, batch)
    assert with_access(company, LEAVERS) == {back}
    assert events(company, EventName.SUSPENDED)[back] == 0


def test_whose_approval_was_withdrawn_keeps_access(company):
    batch = only_batch(company)
    (hold,) = company.services.holds.standing("c1")
    decide_hold(company.services, "c1", hold.digest, "withdraw", ADMIN, users=["x3", "x4"])
    deliver(company, batch)
    assert with_access(company, LEAVERS) == {"x3", "x4"}


def test_nobody_loses_access_if_the_connection_is_edited_before_the_marks_are_seen(company):
    batch = only_batch(company)
    change = company.services.connections.change
    company.fakes.store.meanwhile.append(
        lambda: change("c1", lambda current: replace(current, edition=current.edition + 1))
    )
    deliver(company, batch)
    assert with_access(company, LEAVERS) == set(LEAVERS)
    assert not any(company.entry(user_id).mark for user_id in LEAVERS)


def test_a_rename_that_is_due_as_well_is_made_in_the_same_batch(company):
    batch = only_batch(company)
    company.rename("x5", "Renamed")
    deliver(company, batch)
    (account,) = company.keeper.of("x5")
    assert (account.active, account.attributes["name.givenName"]) == (False, "Renamed")


def test_another_look_that_was_asked_for_meanwhile_is_published(company):
    batch = only_batch(company)
    company.keeper.meanwhile.append(lambda: notice(company, "x0"))
    deliver(company, batch)
    assert [look.user_id for look in company.fakes.queue.looks] == ["x0"]


def test_a_lost_answer_gets_a_look_with_the_evidence_of_the_plan(company):
    batch = only_batch(company)
    company.keeper.faults.append("lost")
    deliver(company, batch)
    (look,) = company.fakes.queue.looks
    assert look in batch.looks
    run = company.services.runs.get("c1", batch.run_id)
    assert run.state is RunState.UNSETTLED
    company.work_off()
    assert with_access(company, LEAVERS) == set()
    assert events(company, EventName.SUSPENDED) == Counter(LEAVERS)


def test_what_the_deadline_cuts_off_is_carried_on_by_another_batch(company):
    batch, advance = only_batch(company), company.fakes.clock.advance
    company.keeper.meanwhile += [lambda: None, lambda: advance(timedelta(minutes=9))]
    assert deliver(company, batch) is None
    (rest,) = company.fakes.queue.batches
    assert 0 < len(rest.looks) < len(LEAVERS)
    assert len(with_access(company, LEAVERS)) == len(rest.looks)
    company.work_off()
    assert with_access(company, LEAVERS) == set()
    assert events(company, EventName.SUSPENDED) == Counter(LEAVERS)


def test_what_was_read_long_ago_is_not_acted_on(company, monkeypatch):
    batch, standing = only_batch(company), company.services.holds.standing

    def late(connection_id: str):
        company.fakes.clock.advance(3 * MINUTE)  # the process stood still
        return standing(connection_id)

    monkeypatch.setattr(company.services.holds, "standing", late)
    assert isinstance(deliver(company, batch), Transient)
    assert with_access(company, LEAVERS) == set(LEAVERS)
    monkeypatch.undo()
    deliver(company, batch)
    company.work_off()
    assert with_access(company, LEAVERS) == set()
    assert events(company, EventName.SUSPENDED) == Counter(LEAVERS)


def test_whom_a_slow_directory_shows_too_late_together_lose_access_one_by_one(company, monkeypatch):
    batch, read = only_batch(company), company.directory.user
    company.services = replace(company.services, executor=Inline())  # or it is chance whose time the others' takes up

    def slow(wanted: str):
        company.fakes.clock.advance(timedelta(seconds=4))
        return read(wanted)

    monkeypatch.setattr(company.directory, "user", slow)
    assert deliver(company, batch) is None
    assert with_access(company, LEAVERS) == set()
    assert events(company, EventName.SUSPENDED) == Counter(LEAVERS)


@pytest.mark.parametrize("error", [Transient("HTTP 500"), Throttled("HTTP 429", retry_after=30)], ids=["500", "429"])
def test_an_outage_of_keeper_has_the_batch_delivered_again(company, error):
    batch = only_batch(company)
    company.keeper.faults += [error] * len(LEAVERS)
    assert isinstance(deliver(company, batch), Transient)
    assert with_access(company, LEAVERS) == set(LEAVERS)
    company.fakes.clock.advance(MINUTE)
    deliver(company, batch)
    company.work_off()
    assert with_access(company, LEAVERS) == set()
    assert events(company, EventName.SUSPENDED) == Counter(LEAVERS)


def test_who_is_done_is_not_read_twice_when_the_batch_comes_again(company, monkeypatch):
    batch = only_batch(company)
    company.keeper.meanwhile += [lambda: None] * 10
    company.keeper.faults += [None] * 10 + [Throttled("HTTP 429", retry_after=30)] * 10
    began = company.fakes.clock.now
    assert isinstance(deliver(company, batch), Transient)
    company.fakes.clock.advance(MINUTE)
    directory = count_calls(monkeypatch, company.directory, "user")
    apply_batch(company.services, batch, "m1", began, company.fakes.clock.now + 8 * MINUTE)
    assert directory["user"] == len(LEAVERS)
    assert with_access(company, LEAVERS) == set()


def test_whom_keeper_fails_is_looked_at_alone_and_the_others_are_done(company):
    batch = only_batch(company)
    company.keeper.faults.append(KeeperFailed("HTTP 500"))
    assert deliver(company, batch) is None
    assert len(with_access(company, LEAVERS)) == 1
    assert [look for look in batch.looks if look in company.fakes.queue.looks] == company.fakes.queue.looks
    company.work_off()
    assert with_access(company, LEAVERS) == set()


def test_a_directory_that_fails_is_not_asked_about_everybody_twice(company, monkeypatch):
    batch, asked = only_batch(company), Counter()

    def user(wanted: str):
        asked[wanted] += 1
        raise Transient("HTTP 503")

    monkeypatch.setattr(company.directory, "user", user)
    assert deliver(company, batch) is None
    assert with_access(company, LEAVERS) == set(LEAVERS)
    assert sum(asked.values()) <= len(LEAVERS) + take_access.AT_ONCE
    assert sorted(look.user_id for look in company.fakes.queue.looks) == sorted(LEAVERS)


@pytest.mark.parametrize("together", [20, 10], ids=["all of the batch", "half of the batch"])
@pytest.mark.parametrize("sent", [0, 5])
def test_whom_a_worker_that_died_had_marked_lose_access_once_their_marks_run_out(company, monkeypatch, sent, together):
    monkeypatch.setattr(applying, "LOOKS_TOGETHER", together)
    batch, began, clock = only_batch(company), company.fakes.clock.now, company.fakes.clock

    company.keeper.meanwhile += [*[lambda: None] * sent, die]
    with pytest.raises(Killed):
        deliver(company, batch)
    marked = {user_id for user_id in LEAVERS if company.entry(user_id).mark}
    assert len(marked) == together
    locked = {user_id for user_id in LEAVERS if active(company, user_id) == [False]}
    assert len(locked) == sent

    clock.advance(timedelta(seconds=10))
    writes = count_calls(monkeypatch, company.keeper, "write")
    error = deliver(company, batch, began)
    assert isinstance(error, Transient)
    assert error.retry_after == 80, "what is left of the marks"
    assert (company.fakes.queue.looks, company.fakes.queue.batches) == ([], [])
    assert with_access(company, LEAVERS) == marked - locked, "the others do not wait"
    assert company.services.runs.get("c1", batch.run_id).state is RunState.PLANNED

    clock.advance(timedelta(seconds=error.retry_after))
    assert deliver(company, batch, began) is None
    assert (company.fakes.queue.looks, company.fakes.queue.batches) == ([], [])
    assert with_access(company, LEAVERS) == set()
    assert events(company, EventName.SUSPENDED) == Counter(LEAVERS)
    assert not any(company.entry(user_id).mark for user_id in LEAVERS)
    run = company.services.runs.get("c1", batch.run_id)
    assert (run.state, run.unsettled) == (RunState.DONE, 0)
    assert run.counts["suspended"] == len(LEAVERS)
    assert writes["write"] == len(LEAVERS) - sent, "nothing is written twice"


def test_whom_an_earlier_delivery_holds_is_left_to_no_other_message_even_at_the_deadline(company, monkeypatch):
    batch, began, clock = only_batch(company), company.fakes.clock.now, company.fakes.clock

    company.keeper.meanwhile.append(die)
    with pytest.raises(Killed):
        deliver(company, batch)
    clock.advance(timedelta(seconds=10))
    looking = applying.converge

    def late(*asked: object) -> None:
        try:
            looking(*asked)
        finally:
            clock.advance(timedelta(minutes=9))

    monkeypatch.setattr(applying, "converge", late)
    assert isinstance(deliver(company, batch, began), Transient)
    assert (company.fakes.queue.looks, company.fakes.queue.batches) == ([], [])
    monkeypatch.undo()
    assert deliver(company, batch, began) is None
    assert with_access(company, LEAVERS) == set()
    assert events(company, EventName.SUSPENDED) == Counter(LEAVERS)
