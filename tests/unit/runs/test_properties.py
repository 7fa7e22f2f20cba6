"""What holds for every history: generated working days over the real use cases, with the ports in memory.

A history is a list of steps: an administrator changes a user, a notification is delivered (or again, or in another
order, or never), a run plans, a batch is applied.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoprovisioning.domain.connections import State
from autoprovisioning.domain.directory_user import Presence
from autoprovisioning.domain.entry import Action
from autoprovisioning.domain.errors import (
    AuthorizationRefused,
    Incomplete,
    Rejected,
    SeatsExhausted,
    Throttled,
    Transient,
    Unresolved,
)
from autoprovisioning.domain.runs import Evidence, Look, RunKind, RunState
from tests.support.scenario import ADDRESSES, GROUP, LATER, USERS, Scenario

MOMENT = timedelta(seconds=5)
A_DAY = timedelta(hours=23)  # a reservation is a little older than its event
BOUNDED = settings(
    max_examples=150, deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


@dataclass(frozen=True)
class Step:
    """One step of a history; readable in a failing example."""

    verb: str
    arguments: tuple[str, ...] = ()

    def do(self, scenario: Scenario) -> None:
        getattr(scenario, self.verb)(*self.arguments)
        scenario.fakes.clock.advance(MOMENT)


def _steps(verb: str, *arguments: st.SearchStrategy[str]) -> st.SearchStrategy[Step]:
    return st.tuples(st.sampled_from(USERS), *arguments).map(lambda chosen: Step(verb, chosen))


ADDRESS = st.sampled_from(ADDRESSES)
NAME = st.sampled_from(("Ada", "Grace", "Łucja"))
STEP = st.one_of(
    _steps("hire", ADDRESS),
    _steps("hire", ADDRESS),
    _steps("rename", NAME),
    _steps("readdress", ADDRESS),
    _steps("suspend"),
    _steps("archive"),
    _steps("restore"),
    _steps("leave"),
    _steps("join"),
    _steps("delete"),
    _steps("undelete", ADDRESS),
    st.sampled_from([Step("wait"), Step("sweep")]),
)
POLICY = {"delete_after": st.sampled_from([None, 1]), "locks": st.booleans()}
OFFICE = st.fixed_dictionaries(POLICY)
HISTORY = st.lists(STEP, max_size=16)


def started(history: list[Step], **policy: Any) -> Scenario:
    """Return a scenario in step after a history."""
    scenario = Scenario(**policy)
    for step in history:
        step.do(scenario)
    scenario.reconcile_to_the_end()
    return scenario


@BOUNDED
@given(HISTORY, OFFICE)
def test_a_reconciled_directory_is_in_step_and_planning_again_plans_nothing(history, policy):
    scenario = started(history, **policy)
    scenario.check_access()
    scenario.check_ownership()
    run = scenario.plan()
    assert (run.state, dict(run.planned), scenario.fakes.queue.batches) == (RunState.DONE, {}, [])


@BOUNDED
@given(HISTORY, st.lists(st.sampled_from(USERS), min_size=1, max_size=3))
def test_changing_what_is_not_mapped_plans_nothing(history, touched):
    scenario = started(history)
    before = dict(scenario.keeper.accounts)
    for user_id in touched:
        scenario.touch(user_id)
    run = scenario.plan()
    assert (dict(run.planned), scenario.fakes.queue.batches) == ({}, [])
    for look in scenario.sent:
        scenario.deliver(look)
    assert scenario.keeper.accounts == before


@BOUNDED
@given(st.data())
def test_whatever_becomes_of_notifications_a_reconciliation_ends_in_the_same_state(data):
    scenario = Scenario(**data.draw(OFFICE, label="policy"))
    for step in data.draw(HISTORY, label="history"):
        step.do(scenario)
        if scenario.sent:
            chosen = st.lists(st.integers(0, len(scenario.sent) - 1), max_size=3)
            for number in data.draw(chosen, label="delivered"):
                scenario.deliver(scenario.sent[number])
                scenario.check_ownership()
        if data.draw(st.integers(0, 5), label="run") == 0:
            scenario.run()
            scenario.check_ownership()
    scenario.reconcile_to_the_end()
    scenario.check_access()
    scenario.check_ownership()


FAULTS = (
    None,
    "lost",
    Unresolved("the connection broke"),
    Transient("503"),
    Throttled("429", retry_after=3),
    Rejected("400"),
    SeatsExhausted("428"),
    AuthorizationRefused("403", status=403),
)


@BOUNDED
@given(st.data())
def test_whatever_keeper_answered_meanwhile_a_reconciliation_ends_in_the_same_state(data):
    scenario = Scenario(**data.draw(OFFICE, label="policy"))
    for step in data.draw(HISTORY, label="history"):
        scenario.keeper.faults.append(data.draw(st.sampled_from(FAULTS), label="fault"))
        step.do(scenario)
        for look in scenario.sent[-1:]:
            scenario.deliver(look)
        if data.draw(st.integers(0, 3), label="run") == 0:
            scenario.run()
        scenario.check_ownership()
    scenario.keeper.faults.clear()
    scenario.reconcile_to_the_end()
    scenario.check_access()
    scenario.check_ownership()
    assert scenario.connection.state is State.ON


@BOUNDED
@given(st.data())
def test_a_change_made_while_another_is_being_written_is_not_lost(data):
    """Every notification is delivered, some while a change is on its way to Keeper or into the roster."""
    scenario = Scenario(**data.draw(OFFICE, label="policy"))
    for address in data.draw(st.sets(ADDRESS, max_size=3), label="accounts of nobody"):
        scenario.keeper.seed(address)
    scenario.run()

    def happen(step: Step) -> None:
        known = len(scenario.sent)
        step.do(scenario)
        for look in scenario.sent[known:]:
            scenario.deliver(look)

    steps = st.one_of(STEP, STEP, STEP, st.just(Step("run")))

    def happen_late(step: Step) -> None:
        scenario.fakes.clock.advance(timedelta(minutes=12))  # every mark has run out
        happen(step)

    waiting = {
        "on its way to Keeper": (scenario.keeper.meanwhile, happen),
        "before Keeper's answer": (scenario.keeper.afterwards, happen),
        "long before Keeper's answer": (scenario.keeper.afterwards, happen_late),
        "on its way into the roster": (scenario.fakes.store.meanwhile, happen),
    }
    moments = st.sampled_from(["now", *waiting])
    for step, moment in data.draw(st.lists(st.tuples(steps, moments), max_size=16), label="history"):
        if moment == "now":
            happen(step)
        else:
            queue, act = waiting[moment]
            queue.append(partial(act, step))
    for steps_left, _ in waiting.values():
        while steps_left:
            steps_left.popleft()()
    scenario.deliver_the_rest()
    scenario.sweep()
    scenario.deliver_the_rest()
    scenario.check_ownership()
    _check_no_stale_access(scenario)


@BOUNDED
@given(HISTORY, st.integers(0, 9), st.sets(st.sampled_from(USERS)), st.sampled_from(["full", "drift", "sweep"]))
def test_users_missing_from_a_listing_that_broke_off_keep_their_access(history, page, hidden, kind):
    """Not even those whom the directory does not show one by one either: a 404 alone proves nothing."""
    scenario = started(history)
    active = _active(scenario)
    scenario.directory.hidden = hidden
    scenario.directory.broken_after = page % -(-len(scenario.directory.live) // 2)
    scenario.directory.removed.clear()
    for user_id, user in list(scenario.directory.live.items())[1:]:
        if user.presence is not Presence.ACTIVE or user_id not in scenario.directory.memberships[GROUP.id]:
            scenario.directory.live[user_id] = replace(user, presence=Presence.ARCHIVED)
    _look_everywhere(scenario, kind)
    assert active <= _active(scenario)


@BOUNDED
@given(HISTORY, st.sets(st.sampled_from(USERS)), st.sampled_from(["full", "drift", "sweep"]))
def test_nobody_is_taken_for_a_leaver_of_a_group_that_could_not_be_read(history, left, kind):
    scenario = started(history)
    active = _active(scenario)
    scenario.directory.memberships[GROUP.id] -= left
    scenario.directory.unreadable.add(GROUP.id)
    _look_everywhere(scenario, kind)
    assert active <= _active(scenario)


def _active(scenario: Scenario) -> set[str]:
    return {account.scim_id for account in scenario.keeper.accounts.values() if account.active}


def _look_everywhere(scenario: Scenario, kind: str) -> None:
    """Look by runs, the sweep and a notification for everybody."""
    scenario.fakes.clock.advance(LATER)
    if kind == "sweep":
        scenario.sweep()
    else:
        with contextlib.suppress(Incomplete):  # a listing that breaks off at once refuses the run
            scenario.plan(RunKind(kind), retry_failures=True)
        scenario.work_off()
        scenario.deliver_the_rest()
    for user_id in USERS:
        if user_id in scenario.directory.live:
            scenario.deliver(Look(user_id=user_id, event="update", asked_at=scenario.fakes.clock.now))
    scenario.work_off()


@BOUNDED
@given(st.data())
def test_a_plan_made_before_a_newer_decision_never_undoes_it(data):
    scenario = started(data.draw(HISTORY, label="before"), **data.draw(OFFICE, label="policy"))
    for step in data.draw(HISTORY, label="planned"):
        step.do(scenario)
    scenario.plan(retry_failures=True)
    stale, scenario.fakes.queue.batches = scenario.fakes.queue.batches, []
    for step in data.draw(HISTORY, label="newer"):
        step.do(scenario)
    scenario.fakes.clock.advance(timedelta(minutes=2))
    for user_id in data.draw(st.permutations(USERS), label="looked at"):
        scenario.deliver(_told(scenario, user_id))
    for batch in data.draw(st.permutations(stale + stale[:1]), label="applied"):
        scenario.apply(batch)
    scenario.work_off()
    scenario.check_ownership()
    _check_no_stale_access(scenario)


def _told(scenario: Scenario, user_id: str) -> Look:
    """Return a look with what a complete listing proved, as the scope sweep and the runs send it."""
    left = () if user_id in scenario.directory.memberships[GROUP.id] else ("c1",)
    return Look(user_id=user_id, event="", evidence=Evidence(left=left), asked_at=scenario.fakes.clock.now)


def _check_no_stale_access(scenario: Scenario) -> None:
    """Users with a look are as the directory says now, whatever older plans said; failures are retried first."""
    scenario.fakes.clock.advance(timedelta(days=1))  # the longest that a failure waits
    for user_id in USERS:
        entry = scenario.entry(user_id)
        if entry is not None and entry.failure is not None:
            scenario.deliver(_told(scenario, user_id))
    scenario.check_access()


@BOUNDED
@given(st.data())
def test_no_more_than_the_limit_lose_access_in_a_day_by_whatever_way(data):
    scenario = Scenario(**data.draw(OFFICE, label="policy"), limit=2)
    scenario.run()
    for step in data.draw(HISTORY, label="history"):
        step.do(scenario)
        for look in scenario.sent[-1:]:
            scenario.deliver(look)
        if data.draw(st.booleans(), label="run"):
            scenario.run()
    events = [
        event
        for event in scenario.fakes.store.events["c1"].values()
        if event.attempted in (Action.SUSPEND, Action.DELETE)
    ]
    for last in events:
        day = {(event.user_id, event.attempted) for event in events if last.at - A_DAY < event.at <= last.at}
        assert len(day) <= 2


@BOUNDED
@given(HISTORY, st.lists(st.tuples(ADDRESS, st.sampled_from(["other", "leaver", "x9"]), st.booleans()), max_size=4))
def test_accounts_we_neither_created_nor_adopted_are_never_touched(history, foreign):
    scenario = Scenario()
    seeded = [
        scenario.keeper.seed(address, f"{owner}-{number}", active=active)
        for number, (address, owner, active) in enumerate(foreign)
        if scenario.keeper.named(address) is None
    ]
    seeded.append(scenario.keeper.seed("somebody@elsewhere.org", active=True))
    for step in history:
        step.do(scenario)
        for look in scenario.sent[-1:]:
            scenario.deliver(look)
    scenario.reconcile_to_the_end()
    scenario.plan(RunKind.DRIFT)
    scenario.work_off()
    assert [scenario.keeper.accounts[account.scim_id] for account in seeded] == seeded
    scenario.check_ownership()
    scenario.check_access()


@BOUNDED
@given(HISTORY, st.lists(st.tuples(ADDRESS, st.booleans()), max_size=4, unique_by=lambda seed: seed[0]), st.booleans())
def test_two_users_never_share_an_adopted_account(history, seeds, notified):
    scenario = Scenario()
    for address, active in seeds:
        scenario.keeper.seed(address, active=active)
    for step in history:
        step.do(scenario)
        if notified and scenario.sent:
            scenario.deliver(scenario.sent[-1])
        scenario.check_ownership()
    scenario.reconcile_to_the_end()
    scenario.check_ownership()
