"""Two connections and one user: who stays, who moves, and what becomes of the access on both."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from autoprovisioning.app.ports.roster import Edit
from autoprovisioning.app.provisioning.converge import converge
from autoprovisioning.app.provisioning.read_user import Asked
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.entry import Status
from autoprovisioning.domain.errors import Busy, ConfigurationRefused, Rejected
from autoprovisioning.domain.events import EventName
from autoprovisioning.domain.guard import Kind
from autoprovisioning.domain.runs import Look, RunKind
from autoprovisioning.domain.scope import Group
from autoprovisioning.domain.settings import VolumeLimit
from tests.support.builders import notice
from tests.support.in_memory import FakeKeeper
from tests.support.scenario import GROUP, LATER, Scenario, sweep
from tests.support.settings import with_settings

SECOND = Group(id="g2", email="sales@example.com", name="Sales")


class Pair:
    """c1 is for GROUP and comes first, c2 is for SECOND; u1 to u3 are on c2, none of them in GROUP."""

    def __init__(self, *, shared: bool = True) -> None:
        self.scenario = scenario = Scenario()
        scenario.hire("u4", "dan@example.com")
        self.other: FakeKeeper = scenario.connect("c2", SECOND, shared=shared)
        for user_id in ("u1", "u2", "u3"):
            scenario.leave(user_id)
            self.join(user_id)
        scenario.run()
        self.sent = len(scenario.sent)

    def join(self, user_id: str) -> None:
        self.scenario.directory.memberships["g2"].add(user_id)

    def leave(self, user_id: str) -> None:
        self.scenario.directory.memberships["g2"].discard(user_id)

    def run(self) -> None:
        self.scenario.fakes.clock.advance(LATER)
        self.scenario.run()

    def access(self, user_id: str) -> list[list[bool]]:
        """Return whether the user's accounts are active, on each node."""
        return [[account.active for account in node.of(user_id)] for node in (self.scenario.keeper, self.other)]

    def unreadable(self, group_id: str) -> None:
        """Let a scope group be gone: the directory answers neither about its members nor about one of them."""
        directory = self.scenario.directory
        directory.unreadable.add(group_id)
        asked = directory.is_member

        def is_member(group: str, user_id: str) -> bool:
            if group == group_id:
                raise ConfigurationRefused("404")
            return asked(group, user_id)

        directory.is_member = is_member


@pytest.fixture(params=[True, False], ids=["one Keeper", "two"])
def pair(request) -> Pair:
    return Pair(shared=request.param)


@pytest.fixture
def shared() -> Pair:
    return Pair()


def look(pair: Pair, user_id: str) -> None:
    notice(pair.scenario, user_id)


def by_sweep(pair: Pair, _user_id: str) -> None:
    pair.scenario.sweep()


def by_run(pair: Pair, _user_id: str) -> None:
    pair.run()


@pytest.mark.parametrize("through", [look, by_sweep, by_run])
def test_who_has_an_account_stays_though_an_earlier_connection_would_have_them_too(pair, through):
    pair.scenario.join("u1")
    through(pair, "u1")
    pair.run()
    assert pair.access("u1") == [[], [True]]
    assert pair.scenario.entry("u1") is None
    assert sweep(pair.scenario.services) == 0


def test_who_is_suspended_and_comes_back_meanwhile_stays_too(pair):
    pair.scenario.suspend("u1")
    look(pair, "u1")
    pair.scenario.join("u1")
    pair.run()
    assert pair.access("u1") == [[], [False]]
    pair.scenario.restore("u1")
    look(pair, "u1")
    assert pair.access("u1") == [[], [True]]


@pytest.mark.parametrize("through", [by_sweep, by_run])
def test_who_left_the_one_for_the_other_moves_in_one_look(through):
    pair = Pair(shared=False)
    seen: list[list[list[bool]]] = []
    pair.scenario.join("u1")
    pair.leave("u1")
    for node in (pair.scenario.keeper, pair.other):
        node.afterwards.extend([lambda: seen.append(pair.access("u1"))] * 2)
    through(pair, "u1")
    assert seen == [[[True], [True]], [[True], [False]]], "never without access on both"
    assert (pair.scenario.entry("u1").status, pair.scenario.entry("u1", "c2").status) == (
        Status.ACTIVE,
        Status.SUSPENDED,
    )
    assert len(pair.scenario.fakes.store.guards["c2"].current(Kind.TAKING, pair.scenario.fakes.clock.now)) == 1


def test_who_cannot_be_let_in_there_keeps_what_they_have_and_the_failure_says_what_to_do(shared):
    shared.scenario.join("u1")
    shared.leave("u1")
    for _ in range(3):
        shared.run()
    assert shared.access("u1") == [[], [True]], "Keeper's addresses are unique across its nodes"
    told = shared.scenario.entry("u1")
    assert told.failure.text == (
        "ada@example.com is the address of this user's own account on the connection c2. In Keeper's Admin Console, "
        "move that account to this connection's node: it is then adopted here."
    )
    assert not told.pending
    assert sum(event.name is EventName.FAILED for event in shared.scenario.fakes.store.events["c1"].values()) == 2


def test_what_the_failure_says_ends_it_and_the_account_is_locked_on_neither_connection(shared):
    shared.scenario.join("u1")
    shared.leave("u1")
    shared.run()
    (account,) = shared.other.of("u1")
    shared.other.move(account.scim_id, shared.scenario.keeper)
    shared.scenario.reconcile_to_the_end()
    shared.scenario.reconcile_to_the_end(RunKind.DRIFT)
    assert shared.access("u1") == [[True], []]
    assert (shared.scenario.entry("u1").status, shared.scenario.entry("u1").failure) == (Status.ACTIVE, None)
    assert shared.scenario.entry("u1", "c2") is None


def test_an_account_that_the_old_node_could_still_reach_is_not_locked_there(shared):
    """Whether a node's token reaches an account of another node is not known."""
    shared.scenario.join("u1")
    shared.leave("u1")
    shared.run()
    (account,) = shared.other.of("u1")
    shared.other.move(account.scim_id, shared.scenario.keeper)
    shared.other.accounts = _Reaching(shared.other.accounts, shared.scenario.keeper.accounts)
    shared.scenario.reconcile_to_the_end()
    assert [account.active for account in shared.scenario.keeper.of("u1")] == [True]


class _Reaching(dict):
    """Accounts of one node, through which those of another can be read and written, but are not listed."""

    def __init__(self, own: dict, others: dict) -> None:
        super().__init__(own)
        self.others = others

    def __contains__(self, scim_id: object) -> bool:
        return super().__contains__(scim_id) or scim_id in self.others

    def __missing__(self, scim_id: str) -> object:
        return self.others[scim_id]

    def __setitem__(self, scim_id: str, account: object) -> None:
        (self.others if scim_id in self.others else super()).__setitem__(scim_id, account)


@pytest.mark.parametrize("kind", ["look", "run"])
@pytest.mark.parametrize("same_id", [True, False])
def test_a_lock_of_our_own_on_another_connection_is_nobody_elses(shared, kind, same_id):
    shared.leave("u1")
    shared.run()
    assert shared.access("u1") == [[], [False]]
    (account,) = shared.other.of("u1")
    del shared.other.accounts[account.scim_id]
    moved = account if same_id else replace(account, scim_id="k99")
    shared.scenario.keeper.accounts[moved.scim_id] = moved
    shared.scenario.join("u1")
    shared.scenario.fakes.clock.advance(LATER)
    if kind == "look":
        look(shared, "u1")
    else:
        for number in range(30):  # so many that the plan lists Keeper
            shared.scenario.hire(f"n{number}", f"n{number}@example.com")
        shared.scenario.run()
    assert shared.access("u1")[0] == [True]
    assert shared.scenario.entry("u1").status is Status.ACTIVE
    events = [event.name for event in shared.scenario.fakes.store.events["c1"].values() if event.user_id == "u1"]
    assert events[-2:] == [EventName.ADOPTED, EventName.UNSUSPENDED]


def test_a_lock_that_was_not_ours_stays(shared):
    account = shared.scenario.keeper.seed("eve@example.com", "u9", active=False)
    shared.scenario.hire("u9", "eve@example.com")
    look(shared, "u9")
    assert not shared.scenario.keeper.accounts[account.scim_id].active


@pytest.mark.parametrize("through", [look, by_sweep, by_run])
def test_a_scope_group_of_the_first_that_is_gone_does_not_stop_hiring_on_the_second(pair, through):
    pair.scenario.hire("u5", "eve@example.com")
    pair.scenario.leave("u5")
    pair.join("u5")
    pair.unreadable(GROUP.id)
    through(pair, "u5")
    assert pair.access("u5") == [[], [True]]
    assert pair.access("u4") == [[True], []], "and who is on the first stays there"
    del pair.scenario.directory.is_member
    pair.scenario.directory.unreadable.clear()
    pair.scenario.join("u5")
    pair.run()
    assert pair.access("u5") == [[], [True]]


def test_nobody_is_let_in_by_a_group_that_cannot_be_read(pair):
    pair.scenario.hire("u5", "eve@example.com")
    pair.unreadable(GROUP.id)
    pair.unreadable(SECOND.id)
    look(pair, "u5")
    pair.run()
    assert pair.access("u5") == [[], []]


def test_who_has_an_account_on_the_first_is_not_hired_by_the_second_while_its_group_is_gone(pair):
    pair.unreadable(GROUP.id)
    pair.join("u4")
    look(pair, "u4")
    pair.scenario.sweep()
    pair.run()
    assert pair.access("u4") == [[True], []]


def test_a_move_that_the_guard_refuses_leaves_the_old_account_open():
    pair = Pair(shared=False)
    pair.scenario.services.connections.change(
        "c2", lambda current: with_settings(current, limit=VolumeLimit(minimum=0, percent=0))
    )
    pair.scenario.join("u1")
    pair.leave("u1")
    pair.run()
    pair.run()
    assert pair.access("u1")[1] == [True]


def test_a_move_to_a_paused_connection_waits_with_the_old_account_open():
    pair = Pair(shared=False)
    pair.scenario.services.connections.change("c1", lambda current: replace(current, state=State.PAUSED))
    pair.scenario.join("u1")
    pair.leave("u1")
    pair.run()
    pair.scenario.sweep()
    assert pair.access("u1") == [[], [True]]
    pair.scenario.services.connections.change("c1", lambda current: replace(current, state=State.ON))
    pair.run()
    assert pair.access("u1") == [[True], [False]]


def test_a_move_meets_a_worker_that_is_making_the_new_account_and_is_seen_through_afterwards():
    pair = Pair(shared=False)
    pair.scenario.join("u1")
    pair.leave("u1")
    pair.scenario.fakes.clock.advance(LATER)
    pair.scenario.plan()
    batches, pair.scenario.fakes.queue.batches = pair.scenario.fakes.queue.batches, []
    (making,) = [batch for batch in batches if batch.connection_id == "c1"]
    (taking,) = [batch for batch in batches if batch.connection_id == "c2"]
    pair.scenario.keeper.meanwhile.append(lambda: pair.scenario.apply(taking))
    pair.scenario.apply(making)
    assert pair.access("u1") == [[True], [True]]
    pair.scenario.work_off()
    assert pair.access("u1") == [[True], [False]]


def test_one_look_reads_the_directory_once_for_all_connections(pair, monkeypatch):
    asked: Counter[tuple[str, ...]] = Counter()
    directory = pair.scenario.directory
    user, is_member = directory.user, directory.is_member
    monkeypatch.setattr(directory, "user", lambda *given: (asked.update([given]), user(*given))[1])
    monkeypatch.setattr(directory, "is_member", lambda *given: (asked.update([given]), is_member(*given))[1])
    look(pair, "u1")
    assert asked == {("u1",): 1, (GROUP.id, "u1"): 1, (SECOND.id, "u1"): 1}


def test_the_directory_is_read_after_every_roster(pair, monkeypatch):
    read: list[str] = []
    roster, directory = pair.scenario.services.roster, pair.scenario.directory
    entry, user = roster.entry, directory.user
    monkeypatch.setattr(roster, "entry", lambda each, user_id: (read.append(each.id), entry(each, user_id))[1])
    monkeypatch.setattr(directory, "user", lambda user_id: (read.append("directory"), user(user_id))[1])
    look(pair, "u1")
    assert read == ["c1", "c2", "directory"]


def test_each_write_rests_on_a_reading_of_its_own(monkeypatch):
    pair = Pair(shared=False)
    pair.scenario.join("u1")
    pair.leave("u1")
    happened: list[str] = []
    user = pair.scenario.directory.user
    monkeypatch.setattr(pair.scenario.directory, "user", lambda user_id: (happened.append("read"), user(user_id))[1])
    for node in (pair.scenario.keeper, pair.other):
        node.afterwards.append(lambda: happened.append("wrote"))
    pair.scenario.sweep()
    assert happened == ["read", "wrote", "read", "wrote", "read"]


def test_a_look_that_meets_a_move_under_way_waits_for_another_message_and_not_for_itself():
    pair = Pair(shared=False)
    scenario, now = pair.scenario, pair.scenario.fakes.clock.now
    scenario.join("u1")
    pair.leave("u1")
    sweep(scenario.services)
    (swept,), scenario.fakes.queue.looks = scenario.fakes.queue.looks, []
    refused: list[Busy] = []

    def again() -> None:
        asked = Asked(look=swept, message_id="another", published=now)
        with pytest.raises(Busy) as caught:
            converge(scenario.services, asked, now + timedelta(minutes=1))
        refused.append(caught.value)

    scenario.keeper.meanwhile.append(again)
    scenario.deliver(swept)
    assert [(type(error), error.retry_after) for error in refused] == [(Busy, 90)]
    assert pair.access("u1") == [[True], [False]]


def test_what_fails_on_one_connection_keeps_nothing_back_on_the_other(pair):
    pair.scenario.join("u1")
    pair.scenario.hire("u5", "eve@example.com")
    pair.scenario.rename("u4", "Grace")
    pair.scenario.keeper.faults.append(Rejected("no"))
    pair.scenario.rename("u2", "Grace")
    pair.run()
    assert pair.scenario.entry("u2", "c2").failure is None
    (account,) = pair.other.of("u2")
    assert account.attributes["name.givenName"] == "Grace"


def test_the_looks_of_a_day_leave_no_one_waiting(pair):
    for user_id in ("u1", "u2", "u3", "u4"):
        pair.scenario.deliver(
            Look(user_id=user_id, event="update", asked_at=pair.scenario.fakes.clock.now - timedelta(minutes=5))
        )
    assert pair.scenario.refused == []


class TestALockOfOursIsOlderThanTheAccessElsewhere:
    """u1 was suspended on c2, moved to c1 with the account, and moves back with it."""

    @pytest.fixture
    def back(self):
        pair = Pair()
        pair.leave("u1")
        pair.run()
        (account,) = pair.other.of("u1")
        pair.other.move(account.scim_id, pair.scenario.keeper)
        pair.scenario.join("u1")
        for _ in range(2):
            pair.run()
        assert pair.access("u1") == [[True], []]
        assert pair.scenario.entry("u1", "c2").status is Status.SUSPENDED
        pair.scenario.fakes.clock.advance(timedelta(days=30))
        return pair

    def move_back(self, pair: Pair, *, moved: bool = True) -> None:
        (account,) = pair.scenario.keeper.of("u1")
        if moved:
            pair.scenario.keeper.move(account.scim_id, pair.other)
        pair.scenario.leave("u1")
        pair.join("u1")
        for _ in range(3):
            pair.run()

    def test_it_is_somebodys_and_asked_about(self, back):
        (account,) = back.scenario.keeper.of("u1")
        back.scenario.keeper.accounts[account.scim_id] = replace(account, active=False)
        back.scenario.plan(RunKind.DRIFT)
        back.scenario.work_off()
        self.move_back(back)
        assert back.access("u1") == [[], [False]]
        (hold,) = back.scenario.services.holds.standing("c2")
        assert [(member.resource, member.kind) for member in hold.members] == [("u1", Kind.UNLOCKING)]

    def test_an_account_that_nobody_locked_is_found_active(self, back):
        self.move_back(back)
        assert back.access("u1") == [[], [True]]
        assert back.scenario.entry("u1", "c2").status is Status.ACTIVE
        assert back.scenario.services.holds.standing("c2") == []

    def test_one_that_was_not_moved_back_keeps_its_access_where_it_is(self, back):
        self.move_back(back, moved=False)
        back.scenario.plan(RunKind.DRIFT)
        back.scenario.work_off()
        assert back.access("u1") == [[True], []]
        assert "move that account to this connection's node" in back.scenario.entry("u1", "c2").failure.text
        (account,) = back.scenario.keeper.of("u1")
        back.scenario.keeper.move(account.scim_id, back.other)
        for _ in range(3):
            back.run()
        assert back.access("u1") == [[], [True]]

    def test_one_that_we_had_deleted_is_kept_current_again(self, back):
        services, there = back.scenario.services, back.scenario.services.connections.get("c2")
        deleted = replace(back.scenario.entry("u1", "c2"), deleted=True)
        services.roster.commit(there, ["u1"], lambda _: (Edit(entries={"u1": deleted}), None))
        self.move_back(back)
        assert back.access("u1") == [[], [True]]
        back.scenario.rename("u1", "Augusta")
        back.run()
        (account,) = back.other.of("u1")
        assert account.attributes["name.givenName"] == "Augusta"

    def test_nor_is_access_taken_by_the_record_of_somebodys_lock(self, back):
        services, there = back.scenario.services, back.scenario.services.connections.get("c2")
        locked = replace(back.scenario.entry("u1", "c2"), status=Status.LOCKED)
        services.roster.commit(there, ["u1"], lambda _: (Edit(entries={"u1": locked}), None))
        self.move_back(back, moved=False)
        assert back.access("u1") == [[True], []]
        (account,) = back.scenario.keeper.of("u1")
        back.scenario.keeper.move(account.scim_id, back.other)
        for _ in range(3):
            back.run()
        assert back.access("u1") == [[], [True]]
        assert back.scenario.entry("u1") is None
