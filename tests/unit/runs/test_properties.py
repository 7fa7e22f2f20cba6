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
from tests.support.scenario import ADDRESSES, GROUP, LATER, USERS, Office

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

    def do(self, office: Office) -> None:
        getattr(office, self.verb)(*self.arguments)
        office.desk.clock.advance(MOMENT)


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


def started(history: list[Step], **policy: Any) -> Office:
    """Return an office in step after a history."""
    office = Office(**policy)
    for step in history:
        step.do(office)
    office.reconcile_to_the_end()
    return office


@BOUNDED
@given(HISTORY, OFFICE)
def test_a_reconciled_directory_is_in_step_and_planning_again_plans_nothing(history, policy):
    office = started(history, **policy)
    office.check_access()
    office.check_ownership()
    run = office.plan()
    assert (run.state, dict(run.planned), office.desk.queue.batches) == (RunState.DONE, {}, [])


@BOUNDED
@given(HISTORY, st.lists(st.sampled_from(USERS), min_size=1, max_size=3))
def test_changing_what_is_not_mapped_plans_nothing(history, touched):
    office = started(history)
    before = dict(office.keeper.accounts)
    for user_id in touched:
        office.touch(user_id)
    run = office.plan()
    assert (dict(run.planned), office.desk.queue.batches) == ({}, [])
    for look in office.sent:
        office.deliver(look)
    assert office.keeper.accounts == before


@BOUNDED
@given(st.data())
def test_whatever_becomes_of_notifications_a_reconciliation_ends_in_the_same_state(data):
    office = Office(**data.draw(OFFICE, label="policy"))
    for step in data.draw(HISTORY, label="history"):
        step.do(office)
        if office.sent:
            chosen = st.lists(st.integers(0, len(office.sent) - 1), max_size=3)
            for number in data.draw(chosen, label="delivered"):
                office.deliver(office.sent[number])
                office.check_ownership()
        if data.draw(st.integers(0, 5), label="run") == 0:
            office.run()
            office.check_ownership()
    office.reconcile_to_the_end()
    office.check_access()
    office.check_ownership()


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
    office = Office(**data.draw(OFFICE, label="policy"))
    for step in data.draw(HISTORY, label="history"):
        office.keeper.faults.append(data.draw(st.sampled_from(FAULTS), label="fault"))
        step.do(office)
        for look in office.sent[-1:]:
            office.deliver(look)
        if data.draw(st.integers(0, 3), label="run") == 0:
            office.run()
        office.check_ownership()
    office.keeper.faults.clear()
    office.reconcile_to_the_end()
    office.check_access()
    office.check_ownership()
    assert office.connection.state is State.ON


@BOUNDED
@given(st.data())
def test_a_change_made_while_another_is_being_written_is_not_lost(data):
    """Every notification is delivered, some while a change is on its way to Keeper or into the roster."""
    office = Office(**data.draw(OFFICE, label="policy"))
    for address in data.draw(st.sets(ADDRESS, max_size=3), label="accounts of nobody"):
        office.keeper.seed(address)
    office.run()

    def happen(step: Step) -> None:
        known = len(office.sent)
        step.do(office)
        for look in office.sent[known:]:
            office.deliver(look)

    steps = st.one_of(STEP, STEP, STEP, st.just(Step("run")))

    def happen_late(step: Step) -> None:
        office.desk.clock.advance(timedelta(minutes=12))  # every mark has run out
        happen(step)

    waiting = {
        "on its way to Keeper": (office.keeper.meanwhile, happen),
        "before Keeper's answer": (office.keeper.afterwards, happen),
        "long before Keeper's answer": (office.keeper.afterwards, happen_late),
        "on its way into the roster": (office.desk.store.meanwhile, happen),
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
    office.deliver_the_rest()
    office.sweep()
    office.deliver_the_rest()
    office.check_ownership()
    _check_no_stale_access(office)


@BOUNDED
@given(HISTORY, st.integers(0, 9), st.sets(st.sampled_from(USERS)), st.sampled_from(["full", "drift", "sweep"]))
def test_users_missing_from_a_listing_that_broke_off_keep_their_access(history, page, hidden, kind):
    """Not even those whom the directory does not show one by one either: a 404 alone proves nothing."""
    office = started(history)
    active = _active(office)
    office.directory.hidden = hidden
    office.directory.broken_after = page % -(-len(office.directory.live) // 2)
    office.directory.removed.clear()
    for user_id, user in list(office.directory.live.items())[1:]:
        if user.presence is not Presence.ACTIVE or user_id not in office.directory.memberships[GROUP.id]:
            office.directory.live[user_id] = replace(user, presence=Presence.ARCHIVED)
    _look_everywhere(office, kind)
    assert active <= _active(office)


@BOUNDED
@given(HISTORY, st.sets(st.sampled_from(USERS)), st.sampled_from(["full", "drift", "sweep"]))
def test_nobody_is_taken_for_a_leaver_of_a_group_that_could_not_be_read(history, left, kind):
    office = started(history)
    active = _active(office)
    office.directory.memberships[GROUP.id] -= left
    office.directory.unreadable.add(GROUP.id)
    _look_everywhere(office, kind)
    assert active <= _active(office)


def _active(office: Office) -> set[str]:
    return {account.scim_id for account in office.keeper.accounts.values() if account.active}


def _look_everywhere(office: Office, kind: str) -> None:
    """Look by runs, the sweep and a notification for everybody."""
    office.desk.clock.advance(LATER)
    if kind == "sweep":
        office.sweep()
    else:
        with contextlib.suppress(Incomplete):  # a listing that breaks off at once refuses the run
            office.plan(RunKind(kind), retry_failures=True)
        office.work_off()
        office.deliver_the_rest()
    for user_id in USERS:
        if user_id in office.directory.live:
            office.deliver(Look(user_id=user_id, event="update", asked_at=office.desk.clock.now))
    office.work_off()


@BOUNDED
@given(st.data())
def test_a_plan_made_before_a_newer_decision_never_undoes_it(data):
    office = started(data.draw(HISTORY, label="before"), **data.draw(OFFICE, label="policy"))
    for step in data.draw(HISTORY, label="planned"):
        step.do(office)
    office.plan(retry_failures=True)
    stale, office.desk.queue.batches = office.desk.queue.batches, []
    for step in data.draw(HISTORY, label="newer"):
        step.do(office)
    office.desk.clock.advance(timedelta(minutes=2))
    for user_id in data.draw(st.permutations(USERS), label="looked at"):
        office.deliver(_told(office, user_id))
    for batch in data.draw(st.permutations(stale + stale[:1]), label="applied"):
        office.apply(batch)
    office.work_off()
    office.check_ownership()
    _check_no_stale_access(office)


def _told(office: Office, user_id: str) -> Look:
    """Return a look with what a complete listing proved, as the scope sweep and the runs send it."""
    left = () if user_id in office.directory.memberships[GROUP.id] else ("c1",)
    return Look(user_id=user_id, event="", evidence=Evidence(left=left), asked_at=office.desk.clock.now)


def _check_no_stale_access(office: Office) -> None:
    """Whoever was looked at is as the directory says now, whatever older plans said; failures are retried first."""
    office.desk.clock.advance(timedelta(days=1))  # the longest that a failure waits
    for user_id in USERS:
        entry = office.entry(user_id)
        if entry is not None and entry.failure is not None:
            office.deliver(_told(office, user_id))
    office.check_access()


@BOUNDED
@given(st.data())
def test_no_more_than_the_limit_lose_access_in_a_day_by_whatever_way(data):
    office = Office(**data.draw(OFFICE, label="policy"), limit=2)
    office.run()
    for step in data.draw(HISTORY, label="history"):
        step.do(office)
        for look in office.sent[-1:]:
            office.deliver(look)
        if data.draw(st.booleans(), label="run"):
            office.run()
    events = [
        event for event in office.desk.store.events["c1"].values() if event.attempted in (Action.SUSPEND, Action.DELETE)
    ]
    for last in events:
        day = {(event.user_id, event.attempted) for event in events if last.at - A_DAY < event.at <= last.at}
        assert len(day) <= 2


@BOUNDED
@given(HISTORY, st.lists(st.tuples(ADDRESS, st.sampled_from(["other", "leaver", "x9"]), st.booleans()), max_size=4))
def test_accounts_we_neither_created_nor_adopted_are_never_touched(history, foreign):
    office = Office()
    seeded = [
        office.keeper.seed(address, f"{owner}-{number}", active=active)
        for number, (address, owner, active) in enumerate(foreign)
        if office.keeper.named(address) is None
    ]
    seeded.append(office.keeper.seed("somebody@elsewhere.org", active=True))
    for step in history:
        step.do(office)
        for look in office.sent[-1:]:
            office.deliver(look)
    office.reconcile_to_the_end()
    office.plan(RunKind.DRIFT)
    office.work_off()
    assert [office.keeper.accounts[account.scim_id] for account in seeded] == seeded
    office.check_ownership()
    office.check_access()


@BOUNDED
@given(HISTORY, st.lists(st.tuples(ADDRESS, st.booleans()), max_size=4, unique_by=lambda seed: seed[0]), st.booleans())
def test_two_users_never_share_an_adopted_account(history, seeds, notified):
    office = Office()
    for address, active in seeds:
        office.keeper.seed(address, active=active)
    for step in history:
        step.do(office)
        if notified and office.sent:
            office.deliver(office.sent[-1])
        office.check_ownership()
    office.reconcile_to_the_end()
    office.check_ownership()
