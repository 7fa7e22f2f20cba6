"""What holds for every history: generated working days over the real use cases, with the ports in memory.

A history is a list of steps: an administrator changes a user, a notification is delivered (or again, or in another
order, or never), a run plans, a batch is applied. The oracle knows nothing of the code under test: it tells from the
directory alone who must have access, and with which attributes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoprovisioning.app.apply_batch import apply_batch
from autoprovisioning.app.converge import Asked, converge
from autoprovisioning.app.reconcile import reconcile
from autoprovisioning.app.sweep import sweep
from autoprovisioning.domain.connections import Connection, State, VolumeLimit
from autoprovisioning.domain.deprovisioning import Delays, Deprovisioning
from autoprovisioning.domain.errors import Transient
from autoprovisioning.domain.mapping import AttributeMapping
from autoprovisioning.domain.roster import Status
from autoprovisioning.domain.runs import Batch, Evidence, Look, Run, RunKind, RunState
from autoprovisioning.domain.users import DirectoryUser, Group, Presence, Scope
from tests.fakes import Desk

USERS = ("u1", "u2", "u3", "u4")
GROUP = Group("g1", "keeper@example.com", "Keeper users")
CONNECTION = Connection(
    "c1",
    state=State.ON,
    endpoint="https://keepersecurity.eu/api/rest/scim/v2/1",
    scope=Scope((GROUP,)),
    limit=VolumeLimit(1000),  # the guard has its own tests
)
BOUNDED = settings(
    max_examples=150, deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
MOMENT = timedelta(seconds=5)
LATER = timedelta(minutes=20)  # longer than a mark's lease, a contradiction, and a first failure's back-off
ADDRESSES = tuple(f"{name}@example.com" for name in ("ada", "bob", "cyd", "dan", "eve"))


class Office:
    """A directory, a Keeper node and everything between, with an administrator's verbs."""

    def __init__(self, delete_after: int | None = None, *, locks: bool = True) -> None:
        self.desk = Desk()
        self.directory = self.desk.directory
        self.keeper = self.desk.keeper
        self.services = self.desk.services
        self.sent: list[Look] = []  # notifications Google sent
        self.delivered = 0
        self.refused: list[Look] = []  # Pub/Sub keeps them, to deliver them again
        version = self.desk.tokens.add("c1", "secret")
        delays = Delays(0, delete_after)
        policy = Deprovisioning(delays, delays, delays)
        self.services.connections.create(replace(CONNECTION, token_version=version, deprovisioning=policy))
        self.keeper.locks = locks
        self.directory.groups[GROUP.id] = GROUP
        self.directory.live["admin"] = _person("admin", "admin@example.com", "Admin")
        self.plan()
        for user_id, address in zip(USERS[:3], ADDRESSES, strict=False):
            self.hire(user_id, address)

    # What an administrator does in the directory; a step that the directory would refuse does nothing.

    def hire(self, user_id: str, address: str) -> None:
        if user_id in self.directory.live or user_id in self.directory.removed or self._in_use(address):
            return
        self.directory.live[user_id] = _person(user_id, address, "New")
        self.directory.memberships[GROUP.id].add(user_id)
        self._notify(user_id, "add")

    def rename(self, user_id: str, name: str) -> None:
        self._edit(user_id, lambda user: _person(user_id, user.primary_email, name, user))

    def readdress(self, user_id: str, address: str) -> None:
        if not self._in_use(address):
            self._edit(user_id, lambda user: _person(user_id, address, user.profile["name"]["givenName"], user))

    def suspend(self, user_id: str) -> None:
        since = self.desk.clock.now
        self._edit(user_id, lambda user: replace(user, presence=Presence.SUSPENDED, since=since))

    def archive(self, user_id: str) -> None:
        since = self.desk.clock.now
        self._edit(user_id, lambda user: replace(user, presence=Presence.ARCHIVED, since=since))

    def restore(self, user_id: str) -> None:
        self._edit(user_id, lambda user: replace(user, presence=Presence.ACTIVE, since=None))

    def leave(self, user_id: str) -> None:
        self.directory.memberships[GROUP.id].discard(user_id)

    def join(self, user_id: str) -> None:
        if user_id in self.directory.live:
            self.directory.memberships[GROUP.id].add(user_id)

    def delete(self, user_id: str) -> None:
        user = self.directory.live.pop(user_id, None)
        if user is not None:
            gone = DirectoryUser(user_id, user.primary_email, Presence.DELETED, since=self.desk.clock.now)
            self.directory.removed[user_id] = gone
            self._notify(user_id, "delete")

    def undelete(self, user_id: str, address: str) -> None:
        if user_id in self.directory.removed and not self._in_use(address):
            del self.directory.removed[user_id]
            self.directory.live[user_id] = _person(user_id, address, "Back")
            self._notify(user_id, "undelete")

    def touch(self, user_id: str) -> None:
        """Change what no row of the mapping reads."""
        stamp = self.desk.clock.now.isoformat()
        self._edit(user_id, lambda user: replace(user, profile={**user.profile, "lastLoginTime": stamp}))

    def _edit(self, user_id: str, change: Callable[[DirectoryUser], DirectoryUser]) -> None:
        if user_id in self.directory.live:
            self.directory.live[user_id] = change(self.directory.live[user_id])
            self._notify(user_id, "update")

    def _in_use(self, address: str) -> bool:
        return any(user.primary_email == address for user in self.directory.live.values())

    def _notify(self, user_id: str, event: str) -> None:
        self.sent.append(Look(user_id, event, asked_at=self.desk.clock.now))

    # What our system does.

    def deliver(self, look: Look) -> None:
        """Deliver one "look again"."""
        self.delivered += 1
        now = self.desk.clock.now
        asked = Asked(look, f"m{self.delivered}", look.asked_at or now)
        try:
            converge(self.services, asked, now + timedelta(minutes=1))
        except Transient:
            self.refused.append(look)

    def wait(self) -> None:
        self.desk.clock.advance(timedelta(days=1))

    def sweep(self) -> None:
        """Look for changes of the scope group, and at the users it finds."""
        sweep(self.services)
        self.work_off()

    def run(self) -> None:
        """Plan a run and apply it."""
        self.plan()
        self.work_off()

    def deliver_the_rest(self) -> None:
        """Deliver what was refused until nothing is; time passes meanwhile."""
        for _ in range(10):
            self.desk.clock.advance(timedelta(minutes=2))
            again, self.refused = self.refused, []
            for look in again:
                self.deliver(look)
            self.work_off()
        assert self.refused == []

    def plan(self, kind: RunKind = RunKind.FULL, *, retry_failures: bool = False) -> Run:
        """Plan a run; its batches wait in the queue."""
        deadline = self.desk.clock.now + timedelta(minutes=25)
        return reconcile(self.services, kind, deadline, retry_failures=retry_failures)[0]

    def apply(self, batch: Batch) -> None:
        """Deliver one batch."""
        self.delivered += 1
        now = self.desk.clock.now
        with contextlib.suppress(Transient):
            apply_batch(self.services, batch, f"m{self.delivered}", now, now + timedelta(minutes=8))

    def work_off(self) -> None:
        """Deliver everything that is queued, and what that queues."""
        queue = self.desk.queue
        while queue.batches or queue.looks:
            batches, queue.batches = queue.batches, []
            looks, queue.looks = queue.looks, []
            for batch in batches:
                self.apply(batch)
            for look in looks:
                self.deliver(look)

    def reconcile_to_the_end(self, kind: RunKind = RunKind.FULL) -> Run:
        """Run, apply everything, and run again: what conflicted (an address not free yet) is tried anew."""
        for _ in range(4):
            self.desk.clock.advance(LATER)
            self.plan(kind, retry_failures=True)
            self.work_off()
        self.desk.clock.advance(LATER)
        return self.plan(kind)

    def entry(self, user_id: str) -> object:
        connection = self.services.connections.get("c1")
        return self.services.roster.entry(connection, user_id)

    # What must be true.

    def check_ownership(self) -> None:
        """Two users never share an account, nobody has two."""
        connection = self.services.connections.get("c1")
        assert connection is not None
        roster = self.services.roster.load(connection)
        ids = [entry.scim_id for entry in roster.values() if entry.scim_id]
        assert len(ids) == len(set(ids))
        owners = [account.external_id for account in self.keeper.accounts.values() if account.external_id]
        assert len(owners) == len(set(owners))
        for entry in roster.values():
            if entry.scim_id not in self.keeper.accounts:
                assert entry.status in (Status.NONE, Status.DELETED)
            else:
                assert self.keeper.accounts[entry.scim_id].external_id == entry.user_id

    def check_access(self, users: tuple[str, ...] = USERS) -> None:
        """Exactly the active members have access, with what the directory says of them, or a failure says why not."""
        mapping = AttributeMapping()
        for user_id in users:
            user = self.directory.live.get(user_id)
            if user is not None and user.presence is Presence.ARCHIVED:
                continue  # not operated on
            accounts = self.keeper.of(user_id)
            wanted = (
                user is not None
                and user.presence is Presence.ACTIVE
                and user_id in self.directory.memberships[GROUP.id]
            )
            if not wanted:
                assert [account for account in accounts if account.active] == [], user_id
                continue
            assert user is not None
            holder = self.keeper.named(user.primary_email)
            if holder is not None and holder.external_id not in ("", user_id):
                assert self.services.roster.entry(self._connection(), user_id).failure is not None, user_id
                continue
            assert [(account.active, dict(account.attributes)) for account in accounts] == [
                (True, mapping.apply(user.profile))
            ], user_id

    def _connection(self) -> Connection:
        connection = self.services.connections.get("c1")
        assert connection is not None
        return connection


def _person(user_id: str, address: str, name: str, was: DirectoryUser | None = None) -> DirectoryUser:
    profile = {
        "id": user_id,
        "primaryEmail": address,
        "name": {"givenName": name, "familyName": "Byron", "fullName": f"{name} Byron"},
        "emails": [{"address": address, "primary": True}],
    }
    base = was or DirectoryUser(user_id, address, Presence.ACTIVE)
    aliases = (*base.aliases, base.primary_email) if base.primary_email != address else base.aliases
    return replace(base, primary_email=address, aliases=tuple(dict.fromkeys(aliases)), profile=profile)


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


@BOUNDED
@given(st.data())
def test_a_change_made_while_another_is_being_written_is_not_lost(data):
    """Every notification is delivered, some while a change is on its way to Keeper."""
    office = Office(**data.draw(OFFICE, label="policy"))
    office.run()

    def happen(step: Step) -> None:
        known = len(office.sent)
        step.do(office)
        for look in office.sent[known:]:
            office.deliver(look)

    steps = st.one_of(STEP, STEP, STEP, st.just(Step("run")))
    for step, interrupts in data.draw(st.lists(st.tuples(steps, st.booleans()), max_size=16), label="history"):
        if interrupts:
            office.keeper.meanwhile.append(partial(happen, step))
        else:
            happen(step)
    while office.keeper.meanwhile:
        office.keeper.meanwhile.popleft()()
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
        office.plan(RunKind(kind), retry_failures=True)
        office.work_off()
        office.deliver_the_rest()
    for user_id in USERS:
        if user_id in office.directory.live:
            office.deliver(Look(user_id, "update", asked_at=office.desk.clock.now))
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
    left = user_id not in office.directory.memberships[GROUP.id]
    return Look(user_id, "", Evidence(left_scope=left), asked_at=office.desk.clock.now)


def _check_no_stale_access(office: Office) -> None:
    """Whoever was looked at is as the directory says now, whatever older plans said; failures are retried first."""
    office.desk.clock.advance(LATER)
    for user_id in USERS:
        entry = office.entry(user_id)
        if entry is not None and entry.failure is not None:
            office.deliver(_told(office, user_id))
    office.check_access()


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
    office.reconcile_to_the_end(RunKind.DRIFT)
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
